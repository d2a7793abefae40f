/** What a vhost-user connection makes of a stream, over real sockets. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  EventFd,
  encodeVhostUserRequest,
  type UnixSocket,
  VhostUserConnection,
  type VhostUserMessage,
} from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { expectCode } from '../support/errors.js';
import { kept, listen } from '../support/sockets.js';
import { aWhile } from '../support/turns.js';
import { le, message } from '../support/vhost-user.js';
import { countsOf, events, peerOf, sendPieces } from '../support/vhost-user-peer.js';

holdNothingLeaks();

const openFds = () => readdirSync('/proc/self/fd').length;
const region = { guestAddress: 0n, size: 0x1000n, userAddress: 0n, mmapOffset: 0n };
const tableOf = (regions: number) =>
  encodeVhostUserRequest('VHOST_USER_SET_MEM_TABLE', Array(regions).fill(region), regions);
const kick = (index: number) =>
  encodeVhostUserRequest('VHOST_USER_SET_VRING_KICK', { index, noDescriptor: false }, 1);
const owner = message(3, 0x1);
const join = (...parts: Uint8Array[]) => new Uint8Array(Buffer.concat(parts));

describe('a message', () => {
  const bytes = tableOf(2);

  test.each(Array.from({ length: bytes.length - 1 }, (_, i) => i + 1))(
    'arrives whole when it was sent in two pieces, cut at byte %i',
    async (cut) => {
      const { far, messages, closed } = peerOf({ role: 'answers' });
      far.send(bytes.subarray(0, cut), events(2));
      // Whether the first piece is read alone is a matter of time: both ways have their turn.
      if (cut % 2 === 0) await aWhile();
      expect(messages).toEqual([]);
      far.send(bytes.subarray(cut));
      await aWhile();
      expect(closed).toEqual([]);
      expect(messages).toMatchObject([{ request: 'VHOST_USER_SET_MEM_TABLE', kind: 'request' }]);
      expect(countsOf(messages[0] as VhostUserMessage)).toEqual([1, 2]);
    },
  );

  test('arrives whole when it was sent byte by byte', async () => {
    const { far, messages } = peerOf({ role: 'answers' });
    sendPieces(far, bytes, [...Array(bytes.length).keys()].slice(1), events(2));
    await aWhile();
    expect(messages.map(countsOf)).toEqual([[1, 2]]);
  });

  test('is the first of those that were sent at once, where descriptors came with them', async () => {
    const { far, messages, closed } = peerOf({ role: 'answers' });
    far.send(join(owner, kick(0)), events(1));
    await aWhile();
    // They go with the first byte of what was sent, and so with SET_OWNER, which may have none.
    expect(closed).toMatchObject([{ code: 'ERR_VHOST_USER_PROTOCOL' }]);
    expect(messages).toEqual([]);
  });

  test('arrives with its own descriptors when many wait to be read', async () => {
    const { far, messages, closed } = peerOf({ role: 'answers' });
    const own = events(6);
    far.send(owner);
    far.send(kick(0), own.slice(0, 1));
    far.send(owner);
    far.send(tableOf(3), own.slice(1, 4));
    far.send(kick(1), own.slice(4, 5));
    far.send(join(owner, owner));
    far.send(kick(2), own.slice(5, 6));
    await aWhile();
    expect(closed).toEqual([]);
    expect(messages.map(countsOf)).toEqual([[], [1], [], [2, 3, 4], [5], [], [], [6]]);
  });

  test('may have its descriptors with a later byte, of which it is sure that it is its own', async () => {
    const { far, messages, closed } = peerOf({ role: 'answers' });
    const own = events(2);
    far.send(kick(0).subarray(0, 5));
    await aWhile();
    far.send(kick(0).subarray(5), own.slice(0, 1));
    far.send(kick(1).subarray(0, 5));
    far.send(kick(1).subarray(5), own.slice(1));
    await aWhile();
    expect(closed).toEqual([]);
    expect(messages.map(countsOf)).toEqual([[1], [2]]);
  });

  test('in the hundreds gives other work its turn after every 16', async () => {
    const { connection, far } = peerOf({ role: 'answers' }, false);
    let turn = 0;
    const perTurn = new Map<number, number>();
    connection.listen(() => void perTurn.set(turn, (perTurn.get(turn) ?? 0) + 1));
    for (let i = 0; i < 20; i++) far.send(join(...Array(20).fill(owner)));
    const total = () => [...perTurn.values()].reduce((sum, count) => sum + count, 0);
    while (total() < 400) {
      await new Promise((resolve) => setImmediate(resolve));
      turn++;
    }
    expect(Math.max(...perTurn.values())).toBe(16);
  });

  test('with an empty control message, as DPDK sends it, is one without descriptors', async () => {
    const listener = listen('stream');
    const script = `
import array, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
s.connect(sys.argv[1])
s.sendmsg([bytes.fromhex(sys.argv[2])], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i'))])
`;
    const hex = Buffer.from(owner).toString('hex');
    const python = spawnSync('python3', ['-c', script, listener.path, hex], { encoding: 'utf8' });
    expect(python.stderr).toBe('');
    const connection = kept(
      new VhostUserConnection(kept(listener.accept() as UnixSocket), { role: 'answers' }),
    );
    const messages: VhostUserMessage[] = [];
    connection.listen((arrived) => void messages.push(arrived));
    await aWhile();
    expect(messages).toMatchObject([{ request: 'VHOST_USER_SET_OWNER', descriptors: [] }]);
  });
});

describe('a connection ends, and no descriptor of its peer’s stays open,', () => {
  test.each<[string, Uint8Array, number, RegExp]>([
    ['an unknown id', message(45, 1), 2, /^message 45: no request of the front-end/],
    ['a reply among requests', message(1, 0x5, le([8, 0])), 1, /flags 0x5 among requests$/],
    ['another version', message(1, 0x2), 1, /version 2/],
    ['a size that is not the message’s', message(2, 1, le([4, 0])), 3, /has 4 bytes, not 8$/],
    ['a size without end', message(2, 1, le([8, 0]), 2 ** 32 - 1), 3, /is above 4096$/],
    ['descriptors with a message that has none', owner, 1, /1 descriptors came with it, not 0$/],
    ['too few descriptors', tableOf(3), 2, /2 descriptors came with it, not 3$/],
    ['too many descriptors', tableOf(3), 4, /4 descriptors came with it, not 3$/],
    ['more descriptors than any message has', tableOf(8), 9, /more than 8 descriptors/],
    ['as many descriptors as go', tableOf(8), 253, /more than 8 descriptors/],
    ['bit 8, and a descriptor', message(12, 1, le([8, 0x100])), 1, /not 0$/],
    [
      'a region that wraps',
      message(37, 1, le([8, 0], [8, 2n ** 64n - 1n], [8, 2], [8, 0], [8, 0])),
      1,
      /beyond 2\^64$/,
    ],
  ])('for %s', async (_, bytes, count, reason) => {
    const { connection, far, messages, closed } = peerOf({ role: 'answers' });
    const own = kept(EventFd.create());
    const before = openFds();
    far.send(bytes, Array(count).fill(own));
    await aWhile();
    expect(messages).toEqual([]);
    expect(closed).toMatchObject([{ code: 'ERR_VHOST_USER_PROTOCOL' }]);
    expect(closed[0]?.message).toMatch(reason);
    expect(connection.closed).toBe(true);
    // Its own socket, and the poller's duplicate of it, are closed too.
    expect(openFds()).toBe(before - 2);
  });

  test('for descriptors that dribble in with one message', async () => {
    const { far, closed } = peerOf({ role: 'answers' });
    const own = kept(EventFd.create());
    const before = openFds();
    const bytes = tableOf(8);
    for (let i = 0; i < 9; i++) far.send(bytes.subarray(i, i + 1), [own]);
    await aWhile();
    expect(closed[0]?.message).toMatch(/^a message: more than 8 descriptors/);
    expect(openFds()).toBe(before - 2);
  });

  test.each([1, 11, 12, 13, 40, 75])('for its end after %i bytes of a message', async (size) => {
    const { far, messages, closed } = peerOf({ role: 'answers' });
    const own = kept(EventFd.create());
    const before = openFds();
    far.send(owner);
    far.send(tableOf(2).subarray(0, size), [own, own]);
    await aWhile();
    expect(openFds()).toBe(before + 2);
    far.close();
    await aWhile();
    expect(messages).toHaveLength(1);
    expect(closed).toMatchObject([{ code: 'ERR_VHOST_USER_DISCONNECTED' }]);
    expect(closed[0]?.message).toBe(
      size < 12
        ? 'the vhost-user connection ended in the middle of a header'
        : 'the vhost-user connection ended in the middle of VHOST_USER_SET_MEM_TABLE',
    );
    expect(openFds()).toBe(before - 3);
  });

  test('when it is closed in the middle of a message', async () => {
    const { connection, far, closed } = peerOf({ role: 'answers' });
    const own = kept(EventFd.create());
    const before = openFds();
    far.send(tableOf(2).subarray(0, 20), [own, own]);
    await aWhile();
    connection.close();
    connection.close();
    await aWhile();
    expect(closed).toEqual([undefined]);
    expect(openFds()).toBe(before - 2);
  });
});

describe('the end of a connection', () => {
  test('between two messages is no error, and comes after what was sent', async () => {
    const { far, messages, closed } = peerOf({ role: 'answers' });
    far.send(owner);
    far.close();
    await aWhile();
    expect(messages).toHaveLength(1);
    expect(closed).toEqual([undefined]);
  });

  test('comes after what was sent also where the other end left something unread', async () => {
    const { connection, far, messages, closed } = peerOf({ role: 'asks' });
    connection.sendRequest('VHOST_USER_GET_FEATURES', undefined);
    far.send(message(1, 0x5, le([8, 7])));
    far.close();
    await aWhile();
    expect(messages).toMatchObject([{ kind: 'reply', payload: 7n }]);
    expect(closed).toEqual([undefined]);
  });

  test('is what the listener throws, or rejects with', async () => {
    for (const thrower of [
      () => {
        throw new Error('no');
      },
      async () => {
        throw new Error('no');
      },
    ]) {
      const { connection, far, closed } = peerOf({ role: 'answers' }, false);
      connection.listen(thrower);
      far.send(join(owner, owner));
      await aWhile();
      expect(closed).toMatchObject([{ message: 'no' }]);
    }
  });

  test('may be the listener’s doing, and then no other message is read', async () => {
    const { connection, far, closed } = peerOf({ role: 'answers' }, false);
    let count = 0;
    connection.listen(() => {
      count++;
      connection.close(new Error('enough'));
    });
    far.send(join(owner, owner));
    await aWhile();
    expect(count).toBe(1);
    expect(closed).toMatchObject([{ message: 'enough' }]);
  });
});

test('a message is not read while the one before is being handled', async () => {
  const { connection, far } = peerOf({ role: 'answers' }, false);
  const seen: string[] = [];
  let finish = () => {};
  connection.listen(({ request }) => {
    seen.push(request);
    return new Promise((resolve) => {
      finish = resolve;
    });
  });
  far.send(join(owner, message(4, 0x1)));
  await aWhile();
  expect(seen).toEqual(['VHOST_USER_SET_OWNER']);
  finish();
  await aWhile();
  expect(seen).toEqual(['VHOST_USER_SET_OWNER', 'VHOST_USER_RESET_OWNER']);
});

test('a connection has one listener, and after close() throws ERR_CLOSED', async () => {
  const { connection } = peerOf({ role: 'answers' });
  await expectCode(() => connection.listen(() => {}), 'ERR_BUSY');
  connection.close();
  await expectCode(() => connection.listen(() => {}), 'ERR_CLOSED');
  await expectCode(() => connection.sendReply('VHOST_USER_GET_FEATURES', 0n), 'ERR_CLOSED');
});
