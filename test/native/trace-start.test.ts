/** `vhost-net trace` and the socket that it is to connect to, before anybody connects. */
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { UnixSocket } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { cli } from '../support/cli.js';
import { kept, listen, socketPath } from '../support/sockets.js';
import { hearEnd, startTrace } from '../support/traced.js';

holdNothingLeaks();

test('its own socket by another path is wrong usage', async () => {
  const path = socketPath();
  const link = `${dirname(path)}/link`;
  symlinkSync('.', link);
  const run = cli(['trace', path, '--to', join(link, 'socket')]);
  expect(await run.exitCode()).toBe(2);
  expect(run.stderr).toContain(`it cannot connect to ${link}/socket, on which it is to listen`);
  expect(existsSync(path)).toBe(false);
});

test('its own socket, where --to leads there later, is not connected to again and again', async () => {
  const to = socketPath();
  const { path, run } = await startTrace(to);
  symlinkSync(path, to);
  await hearEnd(kept(UnixSocket.connect(path, 'stream')));
  await run.line('refused');
  await hearEnd(kept(UnixSocket.connect(path, 'stream')));
  await run.line('refused', 1);
  const told = run.lines.filter(({ event }) => event === 'refused');
  expect(told.map(({ connection }) => connection)).toEqual([1, 2]);
  expect(told[0]?.error).toContain('its own socket');
});

test.each([
  ['no path', () => '', 'has no path'],
  [
    'a path too long',
    (path: string) => path.padEnd(108, 'x'),
    'at most 107 bytes, and this has 108',
  ],
  ['a path too long in UTF-8', (path: string) => path.padEnd(100, 'ä'), 'at most 107 bytes'],
  [
    'a file',
    (path: string) => {
      writeFileSync(path, '');
      return path;
    },
    'is no socket',
  ],
  [
    'a folder',
    (path: string) => {
      mkdirSync(path);
      return path;
    },
    'is no socket',
  ],
])('--to with %s is one clear error, and nothing is begun', async (_, toOf, reason) => {
  const path = socketPath();
  const run = cli(['trace', path, '--to', toOf(socketPath())]);
  expect({ code: await run.exitCode(), stdout: run.stdout }).toEqual({ code: 2, stdout: '' });
  expect(run.stderr).toContain(reason);
  expect(run.stderr).toContain('See vhost-net trace --help');
});

test('a path of 107 bytes is none too long', async () => {
  const { run } = await startTrace(listen('stream', socketPath().padEnd(107, 'x')).path);
  expect(run.lines.map(({ event }) => event)).toEqual(['listening']);
});

test.each([
  [[], 'nothing is at PATH yet'],
  [['--json'], '"event":"waiting"'],
])('a socket that is not there yet is worth a line (%j)', async (how, words) => {
  const to = socketPath();
  const { run } = await startTrace(to, how);
  run.child.kill('SIGINT');
  expect(await run.exitCode()).toBe(0);
  expect(run.stdout).toContain(words.replace('PATH', to));
});
