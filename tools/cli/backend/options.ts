/** The options of `vhost-net backend`. */
import { isIP } from 'node:net';
import { type Command, InvalidArgumentError } from 'commander';
import { checkInterfaceName, parseMac } from '../../../lib/index.js';
import { integer, seconds } from '../number-options.js';
import { UsageError } from '../output.js';

/** Where the frames of front-ends go. */
export type Target =
  | { kind: 'responder'; addresses: string[] }
  | { kind: 'tap'; name: string }
  | { kind: 'pcap'; file: string }
  | { kind: 'socket'; path: string };

export interface BackendCommandOptions {
  socket: string;
  to: Target;
  connect: boolean;
  queues: number;
  /** Of the responder. */
  mac?: Uint8Array;
  sealed: boolean;
  /** Seconds. */
  duration?: number;
  json: boolean;
}

/** The responder's, unless another is wished for: a local one. */
export const RESPONDER_MAC = '02:00:00:00:00:01';

/** Throws a {@link UsageError} for a hardware address of what has none. */
export function checkMac({ mac, to }: BackendCommandOptions): void {
  if (mac && to.kind !== 'responder') {
    throw new UsageError(`--mac goes with --to responder:, not ${to.kind}:`);
  }
}

export function addBackendOptions(command: Command): Command {
  return command
    .requiredOption('--socket <PATH>', 'where front-ends connect')
    .requiredOption(
      '--to <TARGET>',
      'where frames go: responder:IP[,IP…], tap:NAME, pcap:FILE, socket:PATH2',
      target,
    )
    .option('--connect', 'connect to front-ends that listen, again and again', false)
    .option('--queues <N>', 'queue pairs on offer', integer(1, 128), 128)
    .option('--mac <MAC>', `with responder: its hardware address (default: ${RESPONDER_MAC})`, mac)
    .option('--sealed', 'refuse memory that its owner can cut short', false)
    .option('--duration <SECONDS>', 'end after this time', seconds)
    .option('--json', 'print JSON lines also on a terminal', false);
}

function target(text: string): Target {
  const [, kind, rest = ''] = /^([a-z]+):(.+)$/.exec(text) ?? [];
  switch (kind) {
    case 'responder': {
      const addresses = rest.split(',');
      if (addresses.every((address) => isIP(address) !== 0)) return { kind, addresses };
      throw new InvalidArgumentError('responder: takes IPv4 and IPv6 addresses with commas.');
    }
    case 'tap':
      return { kind, name: interfaceName(rest) };
    case 'pcap':
      return { kind, file: rest };
    case 'socket':
      return { kind, path: rest };
    default:
      throw new InvalidArgumentError(
        'It must be responder:IP, tap:NAME, pcap:FILE or socket:PATH2.',
      );
  }
}

function interfaceName(name: string): string {
  try {
    return checkInterfaceName(name);
  } catch (error) {
    throw new InvalidArgumentError(`${(error as Error).message}.`);
  }
}

function mac(text: string): Uint8Array {
  let address: Uint8Array;
  try {
    address = parseMac(text);
  } catch {
    throw new InvalidArgumentError('It must be of the form 52:54:00:12:34:56.');
  }
  if (((address[0] as number) & 1) === 0) return address;
  throw new InvalidArgumentError('It must be the address of one card, not of a group.');
}
