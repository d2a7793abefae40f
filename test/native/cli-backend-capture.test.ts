/** The file of `vhost-net backend --to pcap:FILE`: when it is begun, and when it has what was sent. */
import { execFileSync } from 'node:child_process';
import { closeSync, constants, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { cli } from '../support/cli.js';
import { FrontEnd, numbered } from '../support/front-end.js';
import { until } from '../support/host.js';
import { socketPath } from '../support/sockets.js';

holdNothingLeaks();

/** Bytes before the frames, and before each. */
const FILE_HEADER = 24;
const RECORD = 16;

async function capturing() {
  const path = socketPath();
  const file = join(dirname(path), 'guest.pcap');
  const run = cli(['backend', '--socket', path, '--to', `pcap:${file}`]);
  await run.line('listening');
  const guest = await new FrontEnd(path).bringUp();
  await run.line('started');
  return { run, guest, file };
}

/** The frames of a capture, each of 60 bytes. */
function framesIn(file: string): Uint8Array[] {
  const bytes = readFileSync(file).subarray(FILE_HEADER);
  const count = Math.floor(bytes.length / (RECORD + 60));
  return Array.from({ length: count }, (_, i) => {
    const at = i * (RECORD + 60) + RECORD;
    return new Uint8Array(bytes.subarray(at, at + 60));
  });
}

test('a capture that is there stays as it is where the command cannot listen', async () => {
  const path = socketPath();
  const file = join(dirname(path), 'guest.pcap');
  writeFileSync(file, 'frames');
  const run = cli(['backend', '--socket', `${path}/none`, '--to', `pcap:${file}`]);
  expect(await run.exitCode()).toBe(1);
  expect(run.stderr).toContain('ENOENT');
  expect(readFileSync(file, 'utf8')).toBe('frames');
});

test('a file that cannot be written to is an error, and leaves no socket behind', async () => {
  const path = socketPath();
  const run = cli(['backend', '--socket', path, '--to', `pcap:${path}.d/guest.pcap`]);
  expect(await run.exitCode()).toBe(1);
  expect(run.stderr).toContain('ENOENT');
  expect(run.stdout).toBe('');
  expect(existsSync(path)).toBe(false);
});

test('a running capture has a header at once, and soon the frames', async () => {
  const { guest, file } = await capturing();
  expect(readFileSync(file)).toHaveLength(FILE_HEADER);
  for (const number of [1, 2]) {
    guest.send(numbered(number));
    guest.kick();
    await until(() => framesIn(file).length === number, `frame ${number} in the file`);
  }
  expect(framesIn(file)).toEqual([numbered(1), numbered(2)]);
});

test.each(['SIGTERM', 'SIGINT'] as const)('%s has all written that was sent', async (signal) => {
  const { run, guest, file } = await capturing();
  for (let number = 0; number < 8; number++) guest.send(numbered(number));
  guest.kick();
  await until(() => guest.taken(1).length > 0, 'the frames to be taken');
  run.child.kill(signal);
  expect(await run.exitCode()).toBe(0);
  expect(framesIn(file)).toEqual(Array.from({ length: 8 }, (_, n) => numbered(n)));
});

test('a disk that is full ends the command with the error', async () => {
  const path = socketPath();
  const run = cli(['backend', '--socket', path, '--to', 'pcap:/dev/full']);
  expect(await run.exitCode()).toBe(1);
  expect(run.stderr).toContain('ENOSPC');
  expect(existsSync(path)).toBe(false);
});

test('where frames cannot be written any more the command ends, and says why', async () => {
  const path = socketPath();
  const file = join(dirname(path), 'pipe');
  execFileSync('mkfifo', [file]);
  const reader = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  const run = cli(['backend', '--socket', path, '--to', `pcap:${file}`]);
  await run.line('listening');
  closeSync(reader);
  const guest = await new FrontEnd(path).bringUp();
  guest.send(numbered(1));
  guest.kick();
  expect(await run.exitCode()).toBe(1);
  expect(run.stderr).toContain('EPIPE');
});
