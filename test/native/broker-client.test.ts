/** A broker's client, against brokers that do what they should not. */
import { describe, expect, test } from 'vitest';
import { encode } from '../../lib/broker/protocol.js';
import { EventFd, requestQueues, UnixListener, type UnixSocket } from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { expectCode, expectSystemError } from '../support/errors.js';
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

const eventFds = (count: number) => Array.from({ length: count }, () => kept(EventFd.create()));

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
  const cases: [string, (client: UnixSocket) => void][] = [
    ['no answer', () => {}],
    ['an answer that is no JSON', (client) => client.send(bytes('HTTP/1.1 400'))],
    ['an answer of another version', (client) => client.send(bytes('{"version":9}'))],
    ['an answer that is too long', (client) => client.send(new Uint8Array(5000))],
    [
      'an answer without descriptors',
      (client) => client.send(encode({ answer: 'queues', pairs: 1, left: 0 })),
    ],
    [
      'more descriptors than were announced',
      (client) => client.send(encode({ answer: 'queues', pairs: 1, left: 0 }), eventFds(3)),
    ],
    [
      'more pairs than were asked for',
      (client) => client.send(encode({ answer: 'queues', pairs: 2, left: 0 }), eventFds(4)),
    ],
    [
      'fewer pairs than were asked for',
      (client) => client.send(encode({ answer: 'queues', pairs: 1, left: 1 }), eventFds(2)),
    ],
  ];
  test.each(cases)('%s', async (_what, answer) => {
    const { path } = fakeBroker(answer);
    const error = await expectCode(() => requestQueues(path, 'vnet0'), 'ERR_BROKER_PROTOCOL');
    expect(error.message).toContain(path);
    expect(error.hint).toMatch(/\w+ \w+/);
  });

  test('descriptors that are no TAP queues', async () => {
    const { path } = fakeBroker((client) => {
      const fds = eventFds(2);
      client.send(encode({ answer: 'queues', pairs: 1, left: 0 }), fds);
      for (const fd of fds) fd.close();
    });
    await expectSystemError(() => requestQueues(path, 'vnet0'), 'ENOTTY', 'ioctl(TUNGETIFF)');
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
