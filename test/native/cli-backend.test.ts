/** `vhost-net backend` beside a front-end by hand. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { cli } from '../support/cli.js';
import { FrontEnd, HEADER, numbered } from '../support/front-end.js';
import { until } from '../support/host.js';
import { socketPath } from '../support/sockets.js';

holdNothingLeaks();

const GUEST_MAC = '525400123456';
const OUR_MAC = '020000000001';

async function served(path: string, to: string) {
  const run = cli(['backend', '--socket', path, '--to', to]);
  await run.line('listening');
  const guest = await new FrontEnd(path).bringUp();
  await run.line('started');
  return { run, guest };
}

test('a responder answers ARP, and does not write to what the guest sent', async () => {
  const { run, guest } = await served(socketPath(), 'responder:10.0.0.2');
  guest.post(2);
  const question = Buffer.from(
    `ffffffffffff${GUEST_MAC}08060001080006040001${GUEST_MAC}0a0000010000000000000a000002`,
    'hex',
  );
  guest.send(question);
  guest.kick();
  const [answer = new Uint8Array()] = await guest.received(1);
  expect(Buffer.from(answer.subarray(HEADER)).toString('hex')).toBe(
    `${GUEST_MAC}${OUR_MAC}08060001080006040002${OUR_MAC}0a000002${GUEST_MAC}0a000001`,
  );
  const { address } = guest.drivers[1]?.bufferOf(0) ?? { address: 0 };
  expect(guest.memory.read(BigInt(address + HEADER), question.length)).toEqual(
    new Uint8Array(question),
  );
  run.child.kill('SIGINT');
  expect(await run.exitCode()).toBe(0);
  expect(run.lines.at(-1)).toMatchObject({ event: 'stopped', answered: { arp: 1 } });
});

test.each([
  ['names a back end', (path: string) => ['--backend', `user:${path}`]],
  [
    'names a back end and its socket',
    (path: string) => ['--backend', `user:${path}`, '--socket', path],
  ],
])('attach that %s has its frames served by it', async (_, where) => {
  const path = socketPath();
  const file = join(dirname(path), 'sent.pcap');
  const server = cli(['backend', '--socket', path, '--to', `pcap:${file}`]);
  await server.line('listening');
  const count = ['--forward-mode', 'txonly', '--count', '100'];
  const run = cli(['attach', ...where(path), ...count]);
  expect(await run.exitCode(), run.stderr).toBe(0);
  expect(await run.line('attached')).toMatchObject({ socket: path, backend: 'vhost-user' });
  expect(await run.line('detached')).toMatchObject({ counters: { txFrames: 100 } });
  expect(await server.line('disconnected')).toMatchObject({ counters: { received: 100 } });
  server.child.kill('SIGINT');
  expect(await server.exitCode()).toBe(0);
  expect(readFileSync(file)).toHaveLength(24 + 100 * (16 + 64));
});

test('a capture has what the guest sent', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vhost-net-'));
  cleanup(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'guest.pcap');
  const { run, guest } = await served(socketPath(), `pcap:${file}`);
  guest.send(numbered(1, 100));
  guest.kick();
  await until(() => guest.taken(1).length === 1, 'the frame to be taken');
  guest.connection.close();
  await run.line('disconnected');
  run.child.kill('SIGINT');
  expect(await run.exitCode()).toBe(0);
  expect(new Uint8Array(readFileSync(file).subarray(24 + 16))).toEqual(numbered(1, 100));
});

test('a cable carries frames both ways', async () => {
  const [one, other] = [socketPath(), socketPath()];
  const { run, guest } = await served(one, `socket:${other}`);
  const far = await new FrontEnd(other).bringUp();
  for (const end of [guest, far]) end.post(4);
  for (const end of [guest, far]) {
    end.send(numbered(5));
    end.kick();
  }
  expect((await far.received(1)).map((bytes) => bytes.subarray(HEADER))).toEqual([numbered(5)]);
  expect((await guest.received(1)).map((bytes) => bytes.subarray(HEADER))).toEqual([numbered(5)]);
  run.child.kill('SIGTERM');
  expect(await run.exitCode()).toBe(0);
});

test.each([
  ['responder:nobody', 'addresses'],
  ['tap:', 'It must be'],
  ['nowhere', 'It must be'],
])('--to %s is wrong usage', async (to, reason) => {
  const run = cli(['backend', '--socket', socketPath(), '--to', to]);
  expect(await run.exitCode()).toBe(2);
  expect(run.stderr).toContain(reason);
});
