/** `vhost-net backend --connect`: what it says while it waits for front-ends that listen. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { VhostUserFrontend } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { cli } from '../support/cli.js';
import { until } from '../support/host.js';
import { kept, listen, socketPath } from '../support/sockets.js';

holdNothingLeaks();

const connecting = (path: string) =>
  cli(['backend', '--socket', path, '--to', 'responder:10.0.0.2', '--connect']);

test('it says that it connects, once that nobody is there, and that somebody came', async () => {
  const path = socketPath();
  const run = connecting(path);
  expect(await run.line('connecting')).toMatchObject({ sockets: [path] });
  expect(await run.line('waiting')).toMatchObject({ socket: path });
  const listener = listen('stream', path);
  await run.line('connected');
  const accepted = kept(listener.accept() as NonNullable<ReturnType<typeof listener.accept>>);
  listener.close();
  accepted.close();
  await run.line('waiting', 1);
  expect(run.lines.map(({ event }) => event)).toEqual([
    ...['connecting', 'waiting', 'connected', 'disconnected', 'waiting'],
  ]);
  run.child.kill('SIGINT');
  expect({ code: await run.exitCode(), stderr: run.stderr }).toEqual({ code: 0, stderr: '' });
});

test('a front-end that is there is nobody to wait for', async () => {
  const path = socketPath();
  const opening = VhostUserFrontend.open({ path, mode: 'server' });
  const run = connecting(path);
  const frontend = kept(await opening);
  await run.line('connected');
  await new Promise((resolve) => setTimeout(resolve, 2500));
  expect(run.lines.map(({ event }) => event)).toEqual(['connecting', 'connected']);
  frontend.close();
});

test.each([
  ['no path', () => '', /--socket has no path/],
  ['a path too long', (path: string) => path.padEnd(108, 'x'), /at most 107 bytes/],
  [
    'a file',
    (path: string) => {
      writeFileSync(path, '');
      return path;
    },
    /is no socket/,
  ],
])('%s is one clear error at the start', async (_, pathOf, reason) => {
  const run = connecting(pathOf(socketPath()));
  expect({ code: await run.exitCode(), stdout: run.stdout }).toEqual({ code: 2, stdout: '' });
  expect(run.stderr).toMatch(reason);
});

test('the second socket of a cable is looked at as well', async () => {
  const path = socketPath();
  mkdirSync(path);
  const to = `socket:${path}`;
  const run = cli(['backend', '--socket', socketPath(), '--to', to, '--connect']);
  expect(await run.exitCode()).toBe(2);
  expect(run.stderr).toContain(`--to: ${path} is no socket`);
});

test('an error that comes again and again is told once, with its hint', async () => {
  const path = socketPath();
  const other = listen('seqpacket', path);
  const run = connecting(path);
  const told = await run.line('failed');
  expect(told).toMatchObject({
    message: expect.stringContaining('EPROTOTYPE'),
    hint: expect.stringContaining('another type'),
  });
  // Meanwhile it tries twice more.
  await new Promise((resolve) => setTimeout(resolve, 2500));
  expect(run.lines.map(({ event }) => event)).toEqual(['connecting', 'failed']);
  other.close();
  rmSync(path, { force: true });
  const listener = listen('stream', path);
  await run.line('connected');
  await until(() => listener.accept() !== undefined, 'it');
});
