/** The system's ping, through an interface, to an address that a test answers for. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type NetInterface, parseAddress, parseMac } from '../../lib/index.js';
import type { Identity } from './responder.js';

const run = promisify(execFile);

export const HOST = { ipv4: '10.73.0.1', ipv6: 'fd73::1' } as const;
export const PEER = { ipv4: '10.73.0.2', ipv6: 'fd73::2' } as const;

/** Who answers. */
export const SELF: Identity = {
  mac: parseMac('02:00:00:00:73:02'),
  ipv4: parseAddress(PEER.ipv4),
  ipv6: parseAddress(PEER.ipv6),
};

/** Gives the host's side of an interface its addresses. */
export function address(host: NetInterface): void {
  host.addAddress(`${HOST.ipv4}/24`);
  host.addAddress(`${HOST.ipv6}/64`);
}

/** Echo requests sent and answered. */
export async function ping(
  family: 4 | 6,
  interfaceName: string,
  { count = 2, bytes = 56 } = {},
): Promise<{ sent: number; received: number }> {
  const to = family === 4 ? PEER.ipv4 : PEER.ipv6;
  const args = [`-${family}`, '-n', '-I', interfaceName, '-i', '0.2', '-W', '2'];
  args.push('-c', String(count), '-s', String(bytes), to);
  // Unanswered requests are an exit code of 1; the summary says it better.
  const { stdout } = await run('ping', args).catch((error: { stdout?: string }) => {
    if (error.stdout) return { stdout: error.stdout };
    throw error;
  });
  const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(stdout) ?? [];
  return { sent: Number(sent), received: Number(received) };
}
