/** The programs of the guide, as they stand there. */
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { NetInterface, PacketSocket, VhostUserBackend } from '../../lib/index.js';
import { BUILT } from '../support/child.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { Run } from '../support/cli.js';
import { codeBlocks } from '../support/code-blocks.js';
import { until } from '../support/host.js';

holdNothingLeaks();

/** Sends frames to an interface, as soon as that is up, so that who waits for some goes on. */
async function feed(name: string, run: Run): Promise<void> {
  const up = () => {
    try {
      return new NetInterface(name).up;
    } catch {
      return false;
    }
  };
  await until(() => up() || run.child.exitCode !== null, 'the port opens');
  if (!up()) return;
  try {
    const socket = PacketSocket.open(name);
    socket.send(new Uint8Array(8 * 60), 60, new Uint32Array(8).fill(60), 8);
    socket.close();
  } catch {
    // It ended by itself meanwhile.
  }
}

/** The switch of the guide. Resolves when a port's rings are there. */
function listenAt(path: string): Promise<unknown> {
  mkdirSync(dirname(path), { recursive: true });
  cleanup(() => rmSync(dirname(path), { recursive: true }));
  const backend = VhostUserBackend.listen({ path });
  cleanup(() => backend.close());
  return once(backend, 'start');
}

test.each(codeBlocks('docs/guide-network-programs.md'))('$title', async ({ source }) => {
  const folder = mkdtempSync(join(tmpdir(), 'vhost-net-guide-'));
  cleanup(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'program.mjs');
  writeFileSync(file, source.replace("'vhost-net'", JSON.stringify(BUILT)));
  const [, socket] = /socket: '([^']+)'/.exec(source) ?? [];
  const connected = socket === undefined ? undefined : listenAt(socket);
  const run = new Run(process.execPath, [file]);
  if (connected) await connected;
  else await feed(source.includes("'left0'") ? 'left0' : 'vnet0', run);
  if (source.includes('SIGINT')) {
    // The handler is there before the first frame can be.
    await new Promise((resolve) => setTimeout(resolve, 500));
    run.child.kill('SIGINT');
  }
  const ended = await run.ended;
  expect({ ...ended, stderr: run.stderr }).toEqual({ code: 0, signal: null, stderr: '' });
  expect(new NetInterface('vnet0').exists).toBe(false);
});
