import { describe, expect, test } from 'vitest';
import { EventFd, LinkMonitor, UnixSocket } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { expectCode, expectSystemError } from '../support/errors.js';
import { bytes, kept, listen, receive, socketPair } from '../support/sockets.js';
import { aWhile } from '../support/turns.js';

holdNothingLeaks();

describe('a message socket', () => {
  test('keeps the boundaries of messages', () => {
    const [near, far] = socketPair();
    expect(receive(far)).toBeUndefined();
    expect(near.send(bytes('one'))).toBe(3);
    expect(near.send(bytes('two'))).toBe(3);
    expect(receive(far)?.text).toBe('one');
    expect(receive(far)?.text).toBe('two');
    expect(receive(far)).toBeUndefined();
  });

  test('says so when a message is longer than the buffer, and drops the rest', () => {
    const [near, far] = socketPair();
    near.send(bytes('too long'));
    near.send(bytes('next'));
    expect(receive(far, 3)).toMatchObject({ size: 3, truncated: true, text: 'too' });
    expect(receive(far, 4)).toMatchObject({ size: 4, truncated: false, text: 'next' });
  });

  test('takes what the other end can hold, then nothing until it was read', () => {
    const [near, far] = socketPair();
    let sent = 0;
    while (near.send(new Uint8Array(1000)) > 0) sent++;
    expect(sent).toBeGreaterThan(10);
    for (let i = 0; i < sent; i++) expect(receive(far)?.size).toBe(1000);
    expect(near.send(new Uint8Array(1000))).toBe(1000);
  });
});

describe('a stream socket', () => {
  test('has no boundaries', () => {
    const [near, far] = socketPair('stream');
    near.send(bytes('one'));
    near.send(bytes('two'));
    expect(receive(far, 4)?.text).toBe('onet');
    expect(receive(far)?.text).toBe('wo');
  });

  test('takes a part of what does not fit, and its descriptors with the first byte', () => {
    const [near, far] = socketPair('stream');
    const event = kept(EventFd.create(7));
    const size = 8 << 20;
    const taken = near.send(new Uint8Array(size), [event]);
    expect(taken).toBeGreaterThan(0);
    expect(taken).toBeLessThan(size);
    const first = receive(far, 1, 8);
    expect(first?.descriptors).toHaveLength(1);
    let left = taken - 1;
    while (left > 0) left -= receive(far, 1 << 20, 8)?.size ?? left;
    expect(receive(far, 1, 8)).toBeUndefined();
  });
});

describe('a pair', () => {
  test('is connected with itself, without a path', () => {
    const [near, far] = UnixSocket.pair('seqpacket').map(kept) as [UnixSocket, UnixSocket];
    near.send(bytes('one'));
    near.send(bytes('two'));
    expect(receive(far)?.text).toBe('one');
    far.send(bytes('back'));
    expect(receive(near)?.text).toBe('back');
    expect(near.peer.pid).toBe(process.pid);
  });

  test('of streams has no boundaries, and its ends never block', () => {
    const [near, far] = UnixSocket.pair('stream').map(kept) as [UnixSocket, UnixSocket];
    expect(receive(far)).toBeUndefined();
    near.send(bytes('one'));
    near.send(bytes('two'));
    expect(receive(far)?.text).toBe('onetwo');
  });
});

describe('the end of a connection', () => {
  test('is a message of 0 bytes, again and again, after what was sent', () => {
    const [near, far] = socketPair();
    near.send(bytes('last'));
    near.close();
    expect(receive(far)?.text).toBe('last');
    expect(receive(far)).toMatchObject({ size: 0, descriptors: [], truncated: false });
    expect(receive(far)?.size).toBe(0);
  });

  test('is EPIPE for who sends, and no signal', async () => {
    const [near, far] = socketPair();
    far.close();
    await expectSystemError(() => near.send(bytes('x')), 'EPIPE', 'sendmsg(AF_UNIX)');
  });

  test('is ECONNRESET where something was not read, and what was sent can be read after it', async () => {
    const [near, far] = socketPair();
    near.send(bytes('never read'));
    far.send(bytes('goodbye'));
    far.close();
    await expectSystemError(() => receive(near), 'ECONNRESET', 'recvmsg(AF_UNIX)');
    expect(receive(near)?.text).toBe('goodbye');
    expect(receive(near)?.size).toBe(0);
  });
});

describe('the listener of a socket', () => {
  test('is called when something arrives, and for the end', async () => {
    const [near, far] = socketPair();
    const seen: string[] = [];
    far.onReadable(() => {
      for (let message = receive(far); message; message = receive(far)) {
        seen.push(message.text);
        if (message.size === 0) return far.close();
      }
    });
    await aWhile();
    expect(seen).toEqual([]);
    near.send(bytes('a'));
    near.send(bytes('b'));
    await aWhile();
    near.close();
    await aWhile();
    expect(seen).toEqual(['a', 'b', '']);
  });

  test('is one, and is not called after close()', async () => {
    const [near, far] = socketPair();
    let calls = 0;
    far.onReadable(() => calls++);
    await expectCode(() => far.onReadable(() => {}), 'ERR_BUSY');
    near.send(bytes('a'));
    far.close();
    await aWhile();
    expect(calls).toBe(0);
  });

  test('hears of who connects', async () => {
    const listener = listen();
    const accepted: UnixSocket[] = [];
    listener.onConnection(() => {
      const socket = listener.accept();
      if (socket) accepted.push(kept(socket));
    });
    const connect = () => kept(UnixSocket.connect(listener.path, 'seqpacket'));
    connect();
    connect();
    await aWhile();
    expect(accepted).toHaveLength(2);
    listener.offConnection();
    connect();
    await aWhile();
    expect(accepted).toHaveLength(2);
  });
});

test('each end knows who the other is', () => {
  const [near, far] = socketPair();
  const self = { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() };
  expect(near.peer).toEqual(self);
  expect(far.peer).toEqual(self);
});

test('a foreign socket is duplicated, and never blocks', () => {
  const [near, far] = socketPair();
  const own = kept(UnixSocket.fromFd(far.fd));
  far.close();
  near.send(bytes('x'));
  expect(receive(own)?.text).toBe('x');
  expect(receive(own)).toBeUndefined();
});

test('a foreign descriptor that is no such socket is left as it is', async () => {
  const event = kept(EventFd.create());
  const [near] = socketPair('seqpacket');
  const call = 'getsockopt(SO_TYPE)';
  await expectSystemError(() => UnixSocket.fromFd(event.fd), 'ENOTSOCK', call);
  await expectSystemError(() => UnixSocket.fromFd(near.fd, 'stream'), 'EPROTOTYPE', call);
  await expectSystemError(
    () => UnixSocket.fromFd(kept(LinkMonitor.open()).fd),
    'EAFNOSUPPORT',
    call,
  );
  kept(UnixSocket.fromFd(near.fd, 'seqpacket'));
});

test('after close() every method throws ERR_CLOSED', async () => {
  const [near] = socketPair();
  near.close();
  near.close();
  for (const call of [
    () => near.peer,
    () => near.send(bytes('x')),
    () => near.receive(new Uint8Array(1)),
    () => near.onReadable(() => {}),
  ]) {
    await expectCode(call, 'ERR_CLOSED');
  }
  const listener = listen();
  listener.close();
  listener.close();
  await expectCode(() => listener.accept(), 'ERR_CLOSED');
});
