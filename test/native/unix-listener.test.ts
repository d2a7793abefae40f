import { existsSync, lstatSync, rmSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { UnixListener, UnixSocket, type UnixSocketType } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { expectCode, expectSystemError } from '../support/errors.js';
import { runModule } from '../support/node-child.js';
import { kept, listen, socketPath } from '../support/sockets.js';

holdNothingLeaks();

describe('the file of a listener', () => {
  test('has the mode that was asked for, 0600 by default, and is gone after close()', () => {
    const listener = listen();
    expect(lstatSync(listener.path).mode & 0o777).toBe(0o600);
    listener.close();
    expect(existsSync(listener.path)).toBe(false);
    const open = kept(UnixListener.listen(listener.path, 'stream', { mode: 0o666 }));
    expect(lstatSync(open.path).mode & 0o777).toBe(0o666);
  });

  test('that a crash left is replaced', async () => {
    const path = socketPath();
    await runModule(`
      import { UnixListener } from './lib/index.js';
      UnixListener.listen(${JSON.stringify(path)}, 'seqpacket');
      process.kill(process.pid, 'SIGKILL');
    `);
    expect(lstatSync(path).isSocket()).toBe(true);
    const listener = listen('seqpacket', path);
    kept(UnixSocket.connect(path, 'seqpacket'));
    const accepted = listener.accept();
    expect(accepted).toMatchObject({ closed: false });
    accepted?.close();
  });

  test.each(['seqpacket', 'stream'] as const)(
    'on which somebody listens (%s) is left alone: EADDRINUSE',
    async (type) => {
      const path = socketPath();
      listen(type, path);
      const again = () => UnixListener.listen(path, 'seqpacket');
      await expectSystemError(again, 'EADDRINUSE', 'bind(AF_UNIX)', path);
      expect(existsSync(path)).toBe(true);
    },
  );

  test('that is no socket is left alone: EADDRINUSE', async () => {
    const path = socketPath();
    writeFileSync(path, 'mine');
    const over = () => UnixListener.listen(path, 'seqpacket');
    await expectSystemError(over, 'EADDRINUSE', 'bind(AF_UNIX)', path);
    expect(existsSync(path)).toBe(true);
  });

  test('that another put in its place is left alone', () => {
    const listener = listen();
    rmSync(listener.path);
    writeFileSync(listener.path, 'mine');
    listener.close();
    expect(existsSync(listener.path)).toBe(true);
  });
});

describe('connecting fails with what to do', () => {
  const connect = (path: string, type: UnixSocketType = 'seqpacket') =>
    expectSystemError.bind(null, () => UnixSocket.connect(path, type));
  const CONNECT = 'connect(AF_UNIX)';

  test('where there is no socket: ENOENT', async () => {
    const path = socketPath();
    await connect(path)('ENOENT', CONNECT, path);
  });

  test('where the file is no socket: ECONNREFUSED', async () => {
    const path = socketPath();
    writeFileSync(path, '');
    await connect(path)('ECONNREFUSED', CONNECT, path);
  });

  test('where the listener is of another type: EPROTOTYPE', async () => {
    const { path } = listen('stream');
    await connect(path)('EPROTOTYPE', CONNECT, path);
  });

  test('where too many wait: EAGAIN', async () => {
    const path = socketPath();
    kept(UnixListener.listen(path, 'seqpacket', { backlog: 1 }));
    for (let i = 0; i < 2; i++) kept(UnixSocket.connect(path, 'seqpacket'));
    await connect(path)('EAGAIN', CONNECT, path);
  });

  test('where the path is too long: ENAMETOOLONG', async () => {
    const path = `/${'x'.repeat(107)}`;
    await connect(path)('ENAMETOOLONG', CONNECT, path);
    await connect(path.slice(1))('ENOENT', CONNECT, path.slice(1));
  });

  test.each(['', 'a\0b'])('with a path that cannot be meant: %j', async (path) => {
    await expectCode(() => UnixSocket.connect(path, 'stream'), 'ERR_INVALID_ARG_VALUE');
    await expectCode(() => UnixListener.listen(path, 'stream'), 'ERR_INVALID_ARG_VALUE');
  });
});
