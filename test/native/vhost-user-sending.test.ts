/** What a vhost-user connection sends, and what becomes of it where the other end does not read. */
import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  EventFd,
  encodeVhostUserRequest,
  StateError,
  type UnixSocket,
  VhostUserConnection,
} from '../../lib/index.js';
import { SendQueue } from '../../lib/vhost-user/send-queue.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { expectCode, expectSystemError, thrownSync } from '../support/errors.js';
import { kept, receive, socketPair } from '../support/sockets.js';
import { aWhile } from '../support/turns.js';
import { le, message } from '../support/vhost-user.js';
import { events, peerOf, sentTo } from '../support/vhost-user-peer.js';

holdNothingLeaks();

const openFds = () => readdirSync('/proc/self/fd').length;

describe('what is sent', () => {
  test('is the message, with its descriptors, which stay the sender’s', () => {
    const { connection, far } = peerOf({ role: 'asks' });
    const own = events(1);
    connection.sendRequest('VHOST_USER_SET_VRING_CALL', { index: 1, noDescriptor: false }, own);
    connection.sendRequest('VHOST_USER_SET_FEATURES', 5n, [], { needReply: true });
    const arrived = receive(far, 20, 8);
    expect(arrived?.raw).toEqual(message(13, 0x1, le([8, 1])));
    expect(arrived?.descriptors.map(({ fd }) => kept(EventFd.fromFd(fd)).read())).toEqual([1]);
    expect(own[0]?.closed).toBe(false);
    expect(sentTo(far)).toEqual({ bytes: message(2, 0x9, le([8, 5])), descriptors: 0 });
  });

  test('by who answers is a reply', () => {
    const { connection, far } = peerOf({ role: 'answers' });
    connection.sendReply('VHOST_USER_SET_MEM_TABLE', 1n);
    expect(sentTo(far).bytes).toEqual(message(5, 0x5, le([8, 1])));
  });

  test('over the back-end’s socket is the back-end’s', () => {
    const { connection, far } = peerOf({ requester: 'back-end', role: 'asks' });
    connection.sendRequest('VHOST_USER_BACKEND_CONFIG_CHANGE_MSG', undefined);
    expect(sentTo(far).bytes).toEqual(message(2, 0x1));
  });

  test('is refused before a byte goes where this end may not, or cannot, send it', () => {
    const asks = peerOf({ role: 'asks' });
    const answers = peerOf({ role: 'answers' });
    for (const [call, reason] of [
      [() => asks.connection.sendReply('VHOST_USER_GET_FEATURES', 0n), /sends requests only/],
      [() => answers.connection.sendRequest('VHOST_USER_GET_FEATURES', undefined), /replies only/],
      [
        () => asks.connection.sendRequest('VHOST_USER_BACKEND_CONFIG_CHANGE_MSG', undefined),
        /is the back-end's, and goes over another socket/,
      ],
      [
        () =>
          asks.connection.sendRequest('VHOST_USER_SET_VRING_CALL', {
            index: 0,
            noDescriptor: false,
          }),
        /0 descriptors came with it, not 1/,
      ],
      [() => asks.connection.sendRequest('VHOST_USER_SET_FEATURES', 1n << 64n), /2\^64/],
      [() => asks.connection.sendRequest('nonsense' as never, 0n as never), /no request is called/],
    ] as const) {
      const error = thrownSync(call);
      expect(error).toMatchObject({ name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' });
      expect(error.message).toMatch(reason);
    }
    for (const { far } of [asks, answers]) expect(sentTo(far).bytes).toHaveLength(0);
  });

  test('to nobody throws EPIPE, and the end is told by what is read', async () => {
    const { connection, far, closed } = peerOf({ role: 'answers' });
    far.close();
    await expectSystemError(
      () => connection.sendReply('VHOST_USER_GET_FEATURES', 0n),
      'EPIPE',
      'sendmsg(AF_UNIX)',
    );
    await aWhile();
    expect(closed).toEqual([undefined]);
  });
});

test('a connection is for one of two requesters, and has one of two roles', () => {
  const [near] = socketPair('stream');
  for (const options of [{ role: 'both' }, {}, { role: 'asks', requester: 'guest' }]) {
    expect(thrownSync(() => new VhostUserConnection(near, options as never)).code).toBe(
      'ERR_INVALID_ARG_VALUE',
    );
  }
});

describe('where the other end does not read', () => {
  /** Sends numbered requests with a descriptor each until no more are taken; returns how many were. */
  function fill(connection: VhostUserConnection): { sent: number; error: StateError } {
    const event = EventFd.create();
    try {
      for (let sent = 0; ; sent++) {
        try {
          const file = { index: sent % 256, noDescriptor: false };
          connection.sendRequest('VHOST_USER_SET_VRING_KICK', file, [event]);
        } catch (error) {
          return { sent, error: error as StateError };
        }
      }
    } finally {
      event.close();
    }
  }

  test('64 messages wait with their descriptors, in order, and one more is refused', async () => {
    const { connection, far } = peerOf({ role: 'asks' });
    const before = openFds();
    const { sent, error } = fill(connection);
    expect(error).toBeInstanceOf(StateError);
    expect(error).toMatchObject({ code: 'ERR_VHOST_USER_BACKLOG' });
    expect(connection.waiting).toBe(64);
    expect(openFds()).toBe(before + 64);
    const arrived: number[] = [];
    while (arrived.length < sent) {
      await aWhile();
      for (let got = receive(far, 20, 8); got; got = receive(far, 20, 8)) {
        expect(got).toMatchObject({ size: 20, descriptors: [{ closed: false }] });
        arrived.push(got.raw?.[12] ?? -1);
        got.descriptors[0]?.close();
      }
    }
    expect(arrived).toEqual(Array.from({ length: sent }, (_, i) => i % 256));
    expect(connection.waiting).toBe(0);
    expect(openFds()).toBe(before);
    connection.sendRequest('VHOST_USER_SET_OWNER', undefined);
    expect(sentTo(far).bytes).toEqual(message(3, 0x1));
  });

  test('closing forgets what waits, and closes its descriptors', async () => {
    const { connection } = peerOf({ role: 'asks' });
    const before = openFds();
    fill(connection);
    connection.close();
    await aWhile();
    expect(openFds()).toBe(before - 2);
  });

  test('and goes, what waits is forgotten', async () => {
    const { connection, far, closed } = peerOf({ role: 'asks' });
    const before = openFds();
    fill(connection);
    far.close();
    await aWhile();
    expect(closed).toEqual([undefined]);
    expect(openFds()).toBe(before - 3);
  });

  test('nothing is kept of a message whose descriptors cannot be', async () => {
    const { connection } = peerOf({ role: 'asks' });
    fill(connection);
    const closed = EventFd.create();
    closed.close();
    const file = { index: 0, noDescriptor: false };
    await expectCode(
      () => connection.sendRequest('VHOST_USER_SET_VRING_KICK', file, [closed]),
      'ERR_VHOST_USER_BACKLOG',
    );
    expect(connection.waiting).toBe(64);
  });
});

test('a message of which a part was taken goes on where it stopped, its descriptors not again', async () => {
  const bytes = encodeVhostUserRequest('VHOST_USER_SET_FEATURES', 0x0123_4567_89ab_cdefn);
  const taken: { bytes: number[]; descriptors: number }[] = [];
  // The kernel takes a message of this size whole or not at all; nothing promises that it will.
  const room = [7, 0, 3, 100, 0, 5, 100];
  const socket = {
    send(part: Uint8Array, descriptors: readonly unknown[]) {
      const size = Math.min(room.shift() ?? 0, part.length);
      if (size > 0) {
        taken.push({ bytes: [...part.subarray(0, size)], descriptors: descriptors.length });
      }
      return size;
    },
  } as unknown as UnixSocket;
  const queue = new SendQueue(socket, () => {});
  const before = openFds();
  queue.send(bytes, events(1));
  queue.send(bytes, events(2));
  while (queue.length > 0) await aWhile();
  expect(taken.flatMap((part) => part.bytes)).toEqual([...bytes, ...bytes]);
  expect(taken.map((part) => part.descriptors)).toEqual([1, 0, 0, 2, 0]);
  expect(openFds()).toBe(before + 3);
});

test.each([
  ['EPIPE', 0],
  ['ECONNRESET', 0],
  // More descriptors are on their way than this user may have: what comes after would make no sense.
  ['ETOOMANYREFS', 1],
])('%s, when it was to be sent later, is told %i times', async (code, times) => {
  const results: (() => number)[] = [
    () => 0,
    () => {
      throw Object.assign(new Error('not sent'), { code });
    },
  ];
  const socket = { send: () => results.shift()?.() ?? 0 } as unknown as UnixSocket;
  const told: Error[] = [];
  const queue = new SendQueue(socket, (error) => told.push(error));
  const before = openFds();
  queue.send(message(3, 0x1), events(1));
  await aWhile();
  expect(told).toHaveLength(times);
  expect(queue.length).toBe(0);
  expect(openFds()).toBe(before + 1);
});
