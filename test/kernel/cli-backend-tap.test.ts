/** Several front-ends on a socket of `vhost-net backend --to tap:NAME`, of whom one has the TAP. */
import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { PacketSocket, UnixSocket } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { cli } from '../support/cli.js';
import { FrontEnd, HEADER, numbered } from '../support/front-end.js';
import { tapName } from '../support/host.js';
import { ip } from '../support/network.js';
import { hush } from '../support/ports.js';
import { kept, socketPath } from '../support/sockets.js';

holdNothingLeaks();

async function joined() {
  const path = socketPath();
  const name = tapName();
  const run = cli(['backend', '--socket', path, '--to', `tap:${name}`]);
  await run.line('listening');
  hush(name);
  const socket = kept(PacketSocket.open(name, { ignoreOutgoing: true }));
  let started = 0;
  return {
    ...{ run, path, name },
    /** A front-end that runs, the last one that does, with so many buffers. */
    async guest(buffers: number): Promise<FrontEnd> {
      const guest = await new FrontEnd(path).bringUp();
      await run.line('started', started++);
      guest.post(buffers);
      return guest;
    },
    /** The host sends. */
    send(number: number): void {
      const frame = numbered(number);
      expect(socket.send(frame, frame.length, Uint32Array.of(frame.length), 1)).toBe(1);
    },
  };
}

/** Waits until the frame came to a guest, among whatever else the host sends. */
async function hears(guest: FrontEnd, number: number): Promise<void> {
  for (;;) {
    const [bytes = new Uint8Array()] = await guest.received(1);
    if (Buffer.compare(bytes.subarray(HEADER), numbered(number)) === 0) return;
  }
}

test('its first line says which TAP it is, and who moves the frames', async () => {
  const { run, path, name } = await joined();
  expect(await run.line('listening')).toMatchObject({
    ...{ sockets: [path], tap: name },
    backend: existsSync('/dev/vhost-net') ? 'kernel' : 'in-process',
  });
});

test('who connects and says nothing takes no TAP from a guest that runs', async () => {
  const { run, path, guest, send } = await joined();
  const first = await guest(8);
  const stray = kept(UnixSocket.connect(path, 'stream'));
  await run.line('connected', 1);
  send(1);
  await hears(first, 1);
  stray.close();
  await run.line('disconnected');
  send(2);
  await hears(first, 2);
});

test('the guest before has the TAP again when the last one is gone, also with frames that it did not read', async () => {
  const { run, guest, send } = await joined();
  const first = await guest(8);
  const second = await guest(1);
  send(1);
  await hears(second, 1);
  send(2);
  second.connection.close();
  await hears(first, 2);
  await run.line('disconnected');
  send(3);
  await hears(first, 3);
});

test('a TAP that is gone ends the command, also while a guest has no room for its frames', async () => {
  const { run, name, guest, send } = await joined();
  await guest(0);
  send(1);
  // It waits for the guest when it has looked at the frame.
  await new Promise((resolve) => setTimeout(resolve, 500));
  ip(`link del ${name}`);
  expect(await run.exitCode()).toBe(1);
  expect(run.stderr).toContain('ENODEV');
});
