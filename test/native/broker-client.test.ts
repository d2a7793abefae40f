/** A broker's client, against brokers that do what they should not. */
import { readdirSync, readlinkSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { encode } from '../../lib/broker/protocol.js';
import { EventFd, requestQueues, UnixListener, type UnixSocket } from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { expectCode, expectSystemError, thrownBy } from '../support/errors.js';
import { bytes, kept, receive, socketPath } from '../support/sockets.js';

holdNothingLeaks();

/** A broker that does `answer` to each client, and lets it go. Returns its path and what it heard. */
function fakeBroker(answer: (client: UnixSocket) => void): { path: string; heard: string[] } {
  const listener = kept(UnixListener.listen(socketPath(), 'seqpacket'));
  const heard: string[] = [];
  listener.onConnection(() => {
    const client = listener.accept();
    if (!client) return;
    client.onReadable(() => {
      heard.push(receive(client)?.text ?? '');
      answer(client);
      client.close();
    });
    cleanup(() => client.close());
  });
  return { path: listener.path, heard };
}

function openEventFds(): number {
  const open = readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      // It was the folder's own.
      return [];
    }
  });
  return open.filter((path) => path === 'anon_inode:[eventfd]').length;
}

test('asks in one message of JSON', async () => {
  const { path, heard } = fakeBroker((client) =>
    client.send(encode({ answer: 'refused', reason: 'no', hint: 'ask another' })),
  );
  const error = await expectCode(() => requestQueues(path, 'vnet0', 2), 'ERR_BROKER_REFUSED');
  expect(error).toMatchObject({ name: 'StateError', message: 'no', hint: 'ask another' });
  expect(heard).toEqual(['{"version":1,"tap":"vnet0","queues":2}']);
});

test('what failed in the broker is thrown here, and says where it was', async () => {
  const { path } = fakeBroker((client) =>
    client.send(
      encode({ answer: 'failed', errno: -16, syscall: 'ioctl(TUNSETIFF)', path: 'vnet0' }),
    ),
  );
  const request = () => requestQueues(path, 'vnet0');
  await expectSystemError(request, 'EBUSY', 'broker: ioctl(TUNSETIFF)', 'vnet0');
});

test('hears a refusal that came before it asked', async () => {
  const listener = kept(UnixListener.listen(socketPath(), 'seqpacket'));
  listener.onConnection(() => {
    const client = listener.accept();
    client?.send(encode({ answer: 'refused', reason: 'you never may' }));
    client?.close();
  });
  for (let i = 0; i < 20; i++) {
    const error = await expectCode(
      () => requestQueues(listener.path, 'vnet0'),
      'ERR_BROKER_REFUSED',
    );
    expect(error.message).toBe('you never may');
  }
});

test('waits for its turn where too many are waiting', async () => {
  const path = socketPath();
  const listener = kept(UnixListener.listen(path, 'seqpacket', { backlog: 1 }));
  const requests = [1, 2, 3, 4].map(() =>
    requestQueues(path, 'vnet0').catch((error) => error.code),
  );
  setTimeout(() => {
    listener.onConnection(() => {
      const client = listener.accept();
      client?.send(encode({ answer: 'refused', reason: 'no' }));
      client?.close();
    });
  }, 100);
  expect(await Promise.all(requests)).toEqual(new Array(4).fill('ERR_BROKER_REFUSED'));
});

describe('is not taken in by', () => {
  const queues = (pairs: number, left: number) => encode({ answer: 'queues', pairs, left });
  test.each([
    ['an answer that is no JSON', bytes('HTTP/1.1 400'), 0],
    ['an answer of another version', bytes('{"version":9}'), 0],
    ['an answer that is too long', new Uint8Array(5000), 2],
    ['an answer without descriptors', queues(1, 0), 0],
    ['more descriptors than were announced', queues(1, 0), 3],
    ['more pairs than were asked for', queues(2, 0), 4],
    ['fewer pairs than were asked for', queues(1, 1), 2],
    ['descriptors with a refusal', encode({ answer: 'refused', reason: 'no' }), 253],
    ['descriptors that are no TAP queues', queues(1, 0), 2],
  ])('%s, and closes what came', async (_what, answer, count) => {
    const fds = Array.from({ length: count }, () => kept(EventFd.create()));
    const { path } = fakeBroker((client) => client.send(answer, fds));
    const before = openEventFds();
    const error = await thrownBy(() => requestQueues(path, 'vnet0'));
    expect(error.code).toMatch(/^(ERR_BROKER_PROTOCOL|ERR_BROKER_REFUSED|ENOTTY)$/);
    // At once: the garbage collector would close them too, some time.
    expect(openEventFds()).toBe(before);
  });

  test('a broker that says nothing', async () => {
    const { path } = fakeBroker(() => {});
    const error = await expectCode(() => requestQueues(path, 'vnet0'), 'ERR_BROKER_PROTOCOL');
    expect(error.message).toContain(path);
    expect(error.hint).toMatch(/another version/);
  });

  test('descriptors of another kind', async () => {
    const { path } = fakeBroker((client) => {
      const event = kept(EventFd.create());
      client.send(queues(1, 0), [event, event]);
    });
    const request = () => requestQueues(path, 'vnet0');
    await expectSystemError(request, 'ENOTTY', 'ioctl(TUNGETIFF)');
  });
});

test('checks what it is asked to ask for', async () => {
  const nowhere = '/nonexistent/socket';
  await expectCode(() => requestQueues(nowhere, 'a/b'), 'ERR_INVALID_ARG_VALUE');
  await expectCode(() => requestQueues(nowhere, 'vnet0', 0), 'ERR_OUT_OF_RANGE');
  await expectCode(() => requestQueues(nowhere, 'vnet0', 257), 'ERR_OUT_OF_RANGE');
  const request = () => requestQueues(nowhere, 'vnet0');
  await expectSystemError(request, 'ENOENT', 'connect(AF_UNIX)', nowhere);
});
