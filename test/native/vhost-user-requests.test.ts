/** Requests whose replies are waited for, against a peer that answers what it likes. */
import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { EventFd, type UnixSocket, VhostUserRequests } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { expectCode, thrownSync } from '../support/errors.js';
import { kept } from '../support/sockets.js';
import { aWhile } from '../support/turns.js';
import { le, message } from '../support/vhost-user.js';
import { events, peerOf, sentTo } from '../support/vhost-user-peer.js';

holdNothingLeaks();

const openFds = () => readdirSync('/proc/self/fd').length;

function asking() {
  const peer = peerOf({ role: 'asks' }, false);
  return { ...peer, requests: new VhostUserRequests(peer.connection) };
}

const reply = (far: UnixSocket, id: number, payload: Uint8Array, flags = 0x5) =>
  far.send(message(id, flags, payload));

describe('a request', () => {
  test('resolves with its reply', async () => {
    const { far, requests } = asking();
    const features = requests.request('VHOST_USER_GET_FEATURES', undefined);
    expect(sentTo(far).bytes).toEqual(message(1, 0x1));
    reply(far, 1, le([8, 0x1_4000_0000n]));
    expect(await features).toEqual({
      kind: 'reply',
      request: 'VHOST_USER_GET_FEATURES',
      payload: 0x1_4000_0000n,
      descriptors: [],
    });
  });

  test('is one of several, which are answered in their order', async () => {
    const { far, requests } = asking();
    const state = (index: number) => ({ index, num: 0 });
    const bases = [0, 1, 2].map((i) => requests.request('VHOST_USER_GET_VRING_BASE', state(i)));
    for (const i of [0, 1, 2]) reply(far, 11, le([4, i], [4, 100 + i]));
    const nums = (await Promise.all(bases)).map(({ payload }) => payload.num);
    expect(nums).toEqual([100, 101, 102]);
  });

  test('without a reply of its own asks for one, where REPLY_ACK was negotiated', async () => {
    const { far, requests } = asking();
    const error = await expectCode(
      () => requests.request('VHOST_USER_SET_STATUS', 0xfn),
      'ERR_FEATURES_NOT_OFFERED',
    );
    expect(error.message).toMatch(/VHOST_USER_SET_STATUS .*REPLY_ACK/);
    expect(sentTo(far).bytes).toHaveLength(0);
    requests.replyAck = true;
    const done = requests.request('VHOST_USER_SET_STATUS', 0xfn);
    expect(sentTo(far).bytes).toEqual(message(39, 0x9, le([8, 0xf])));
    reply(far, 39, le([8, 1]));
    expect(await done).toMatchObject({ payload: 1n });
  });

  test('to log has a reply always where the descriptor goes along, whatever is in it', async () => {
    const { far, requests } = asking();
    for (const payload of [le(), le([8, 0]), le([8, 0x1000], [8, 0])]) {
      const log = { size: 0x1000n, offset: 0n };
      const done = requests.request('VHOST_USER_SET_LOG_BASE', log, events(1));
      expect(sentTo(far)).toMatchObject({
        bytes: message(6, 0x1, le([8, 0x1000], [8, 0])),
        descriptors: 1,
      });
      reply(far, 6, payload);
      await done;
    }
    await expectCode(
      () => requests.request('VHOST_USER_SET_LOG_BASE', 0n),
      'ERR_FEATURES_NOT_OFFERED',
    );
  });

  test('has the descriptors of its reply, which are its own to close', async () => {
    const { far, requests } = asking();
    const wanted = { mmapSize: 0n, mmapOffset: 0n, numQueues: 2, queueSize: 256 };
    const area = requests.request('VHOST_USER_GET_INFLIGHT_FD', wanted);
    const bytes = message(31, 0x5, le([8, 0x1000], [8, 0], [2, 2], [2, 256], [4, 0]));
    far.send(bytes, events(1));
    const { payload, descriptors } = await area;
    descriptors.forEach(kept);
    expect(payload).toEqual({ ...wanted, mmapSize: 0x1000n });
    expect(kept(EventFd.fromFd(descriptors[0]?.fd ?? -1)).read()).toBe(1);
  });

  test('that cannot be sent is rejected, and nobody waits for its reply', async () => {
    const { far, requests } = asking();
    await expectCode(
      () => requests.request('VHOST_USER_GET_VRING_BASE', { index: -1, num: 0 }),
      'ERR_INVALID_ARG_VALUE',
    );
    const features = requests.request('VHOST_USER_GET_FEATURES', undefined);
    reply(far, 1, le([8, 1]));
    expect(await features).toMatchObject({ payload: 1n });
  });
});

describe('a reply ends the connection', () => {
  test.each<[string, Uint8Array, number, RegExp]>([
    ['to another request', message(15, 0x5, le([8, 0])), 0, /in the place of the reply to/],
    ['of another size', message(1, 0x5, le([4, 0])), 0, /has 4 bytes, not 8/],
    ['that keeps NEED_REPLY', message(1, 0xd, le([8, 0])), 0, /flags 0xd among replies/],
    ['without the flag of one', message(1, 0x1, le([8, 0])), 0, /flags 0x1 among replies/],
    ['with a descriptor too many', message(1, 0x5, le([8, 0])), 1, /1 descriptors came/],
    [
      'to another request, with a descriptor that it may have',
      message(31, 0x5, le([8, 1], [8, 0], [2, 1], [2, 1], [4, 0])),
      1,
      /in the place of/,
    ],
  ])('%s', async (_, bytes, count, reason) => {
    const { far, requests, closed } = asking();
    const own = kept(EventFd.create());
    const before = openFds();
    const features = requests.request('VHOST_USER_GET_FEATURES', undefined);
    const next = requests.request('VHOST_USER_GET_PROTOCOL_FEATURES', undefined);
    const failures = [features, next].map((waiting) =>
      expectCode(() => waiting, 'ERR_VHOST_USER_PROTOCOL'),
    );
    far.send(bytes, Array(count).fill(own));
    for (const error of await Promise.all(failures)) expect(error.message).toMatch(reason);
    expect(closed).toMatchObject([{ code: 'ERR_VHOST_USER_PROTOCOL' }]);
    await aWhile();
    expect(openFds()).toBe(before - 2);
  });

  test('that nobody waits for', async () => {
    const { far, closed } = asking();
    reply(far, 1, le([8, 0]));
    await aWhile();
    expect(closed[0]?.message).toBe('VHOST_USER_GET_FEATURES: nobody waits for this reply');
  });

  test('that is more than the acknowledgement that was asked for', async () => {
    const { far, requests } = asking();
    requests.replyAck = true;
    const region = { guestAddress: 0n, size: 1n, userAddress: 0n, mmapOffset: 0n };
    const added = requests.request('VHOST_USER_ADD_MEM_REG', region, events(1));
    const failure = expectCode(() => added, 'ERR_VHOST_USER_PROTOCOL');
    reply(far, 37, le([8, 0], [8, 0], [8, 1], [8, 0], [8, 0]));
    expect((await failure).message).toMatch(/no acknowledgement/);
  });
});

describe('a request that is not answered', () => {
  test.each(['the other end', 'this end'])('is rejected when %s closes', async (who) => {
    const { connection, far, requests } = asking();
    const features = requests.request('VHOST_USER_GET_FEATURES', undefined);
    const failure = expectCode(() => features, 'ERR_VHOST_USER_DISCONNECTED');
    sentTo(far);
    if (who === 'this end') connection.close();
    else far.close();
    expect((await failure).message).toBe(
      'the vhost-user connection ended before VHOST_USER_GET_FEATURES was answered',
    );
    await expectCode(() => requests.request('VHOST_USER_GET_FEATURES', undefined), 'ERR_CLOSED');
  });

  test('is rejected with the reason for which the connection is closed', async () => {
    const { connection, requests } = asking();
    const features = requests.request('VHOST_USER_GET_FEATURES', undefined);
    const failure = expectCode(() => features, 'ERR_LATE');
    connection.close(Object.assign(new Error('late'), { code: 'ERR_LATE' }));
    await failure;
  });
});

test('requests need a connection that asks, of which nobody else hears the replies', async () => {
  const answers = peerOf({ role: 'answers' }, false);
  expect(thrownSync(() => new VhostUserRequests(answers.connection)).code).toBe(
    'ERR_INVALID_ARG_VALUE',
  );
  const asks = peerOf({ role: 'asks' });
  await expectCode(() => new VhostUserRequests(asks.connection), 'ERR_BUSY');
});
