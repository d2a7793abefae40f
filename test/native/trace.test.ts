/** `vhost-net trace`: what passes through it, between two ends that are scripted here. */
import { describe, expect, test } from 'vitest';
import { EventFd, encodeVhostUserReply, encodeVhostUserRequest } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { kept } from '../support/sockets.js';
import {
  connectThrough,
  counts,
  descriptorsOf,
  hear,
  hearEnd,
  memfd,
  messages,
  trace,
} from '../support/traced.js';
import { le, message } from '../support/vhost-user.js';
import { events } from '../support/vhost-user-peer.js';

holdNothingLeaks();

const SET_OWNER = encodeVhostUserRequest('VHOST_USER_SET_OWNER', undefined);
const GET_FEATURES = encodeVhostUserRequest('VHOST_USER_GET_FEATURES', undefined);
const FEATURES = encodeVhostUserReply('VHOST_USER_GET_FEATURES', 0x1_4000_8001n);
describe('what passes', () => {
  test('is what was sent, in both directions, and each message is told', async () => {
    const traced = await trace();
    const [front, back] = await connectThrough(traced);
    front.send(GET_FEATURES);
    expect((await hear(back, GET_FEATURES.length)).bytes).toEqual(GET_FEATURES);
    back.send(FEATURES);
    expect((await hear(front, FEATURES.length)).bytes).toEqual(FEATURES);
    const [asked, answered] = await messages(traced, 2);
    expect(asked).toMatchObject({
      ...{ connection: 1, from: 'front-end', kind: 'request', needReply: false, descriptors: [] },
      ...{ request: 'VHOST_USER_GET_FEATURES', id: 1, flags: 1, size: 0, ms: expect.any(Number) },
    });
    expect(answered).toMatchObject({
      ...{ connection: 1, from: 'back-end', kind: 'reply', request: 'VHOST_USER_GET_FEATURES' },
      payload: '0x140008001',
      words: ['CSUM', 'MRG_RXBUF', 'PROTOCOL_FEATURES', 'VERSION_1'],
      replyMs: expect.any(Number),
    });
  });

  test('has its descriptors, and they are told by their kind', async () => {
    const traced = await trace();
    const [front, back] = await connectThrough(traced);
    const region = {
      guestAddress: 0n,
      size: 8192n,
      userAddress: 0x7f00_0000_0000n,
      mmapOffset: 0n,
    };
    const table = encodeVhostUserRequest('VHOST_USER_SET_MEM_TABLE', [region], 1, true);
    front.send(table, [memfd(8192)]);
    const heard = await hear(back, table.length);
    expect(heard.bytes).toEqual(table);
    expect(heard.places).toEqual([0]);
    const kick = encodeVhostUserRequest(
      'VHOST_USER_SET_VRING_KICK',
      { index: 3, noDescriptor: false },
      1,
    );
    front.send(kick, [kept(EventFd.create(7))]);
    expect(counts((await hear(back, kick.length)).descriptors)).toEqual([7]);
    const [told, second] = await messages(traced, 2);
    expect(told).toMatchObject({
      needReply: true,
      payload: [{ guestAddress: '0x0', size: '0x2000', userAddress: '0x7f0000000000' }],
      descriptors: [{ kind: 'memfd', size: 8192 }],
    });
    expect(second).toMatchObject({
      payload: { index: 3, noDescriptor: false },
      descriptors: [{ kind: 'eventfd' }],
    });
  });

  test('has each descriptor at the first byte of its own message, however the messages come', async () => {
    const traced = await trace();
    const [front, back] = await connectThrough(traced);
    const fds = events(3);
    const kicks = fds.map((_, index) =>
      encodeVhostUserRequest('VHOST_USER_SET_VRING_KICK', { index, noDescriptor: false }, 1),
    );
    // Without a descriptor first: read together with the next it would get that one's.
    front.send(SET_OWNER);
    kicks.forEach((kick, i) => {
      front.send(kick.subarray(0, 5 + i), [fds[i] as EventFd]);
      front.send(kick.subarray(5 + i));
    });
    front.send(SET_OWNER);
    // Message by message, as peers read: a read of two cannot tell whose descriptors came.
    for (const [i, sent] of [SET_OWNER, ...kicks, SET_OWNER].entries()) {
      const heard = await hear(back, sent.length);
      expect(heard.bytes).toEqual(sent);
      const its = i >= 1 && i <= 3 ? [i] : [];
      expect(counts(heard.descriptors)).toEqual(its);
      expect(heard.places).toEqual(its.map(() => 0));
    }
    const told = await messages(traced, 5);
    expect(told.map(({ descriptors }) => (descriptors as unknown[]).length)).toEqual([
      0, 1, 1, 1, 0,
    ]);
    expect(told.some(({ problem }) => problem !== undefined)).toBe(false);
  });

  test('keeps nothing open of what passed', async () => {
    const traced = await trace();
    const [front, back] = await connectThrough(traced);
    front.send(SET_OWNER);
    await messages(traced, 1);
    const before = descriptorsOf(traced);
    const kick = encodeVhostUserRequest(
      'VHOST_USER_SET_VRING_KICK',
      { index: 0, noDescriptor: false },
      1,
    );
    const [event] = events(1) as [EventFd];
    await hear(back, 12);
    for (let i = 0; i < 50; i++) {
      front.send(kick, [event]);
      await hear(back, kick.length);
    }
    await messages(traced, 51);
    expect(descriptorsOf(traced)).toBe(before);
  });
});

describe('what is no message of the protocol', () => {
  test.each([
    [
      'an id that nobody knows',
      message(777, 1, le([8, 5])),
      /no request of the front-end has this id/,
    ],
    [
      'a size that the message cannot have',
      message(2, 1, le([4, 5])),
      /payload has 4 bytes, not 8/,
    ],
    ['flags that no request has', message(3, 5), /flags 0x5 among requests/],
    ['another version', message(3, 2), /version 2/],
    [
      'contents that contradict themselves',
      message(5, 1, le([4, 2], [4, 0], [8, 0], [8, 1], [8, 0], [8, 0])),
      /counts 2 regions and has 1/,
    ],
    [
      'a payload that is far too long',
      message(24, 1, new Uint8Array(100_000)),
      /100000 bytes is above 4096/,
    ],
  ])('%s is told as such, and passes', async (_what, bytes, problem) => {
    const traced = await trace();
    const [front, back] = await connectThrough(traced);
    front.send(bytes, events(2));
    front.send(GET_FEATURES);
    const heard = await hear(back, bytes.length);
    expect(heard.bytes).toEqual(bytes);
    expect(counts(heard.descriptors)).toEqual([1, 2]);
    expect(heard.places).toEqual([0, 0]);
    expect((await hear(back, GET_FEATURES.length)).bytes).toEqual(GET_FEATURES);
    const [told, next] = await messages(traced, 2);
    expect(told?.problem).toMatch(problem);
    expect(told).not.toHaveProperty('payload');
    expect(Buffer.from(bytes.subarray(12)).toString('hex')).toMatch(new RegExp(`^${told?.bytes}`));
    expect(next).toMatchObject({ request: 'VHOST_USER_GET_FEATURES' });
    expect(next).not.toHaveProperty('problem');
  });

  test('passes with more descriptors than any message may have', async () => {
    const traced = await trace();
    const [front, back] = await connectThrough(traced);
    front.send(SET_OWNER, events(100));
    expect((await hear(back, 12)).descriptors).toHaveLength(100);
    const [told] = await messages(traced, 1);
    expect(told?.problem).toBe('100 descriptors came with it, not 0');
  });

  test('passes as far as it came where the rest does not come', async () => {
    const traced = await trace();
    const [front, back] = await connectThrough(traced);
    front.send(message(2, 1, le([2, 5]), 8), events(1));
    const heard = await hear(back, 14);
    expect(heard.descriptors).toHaveLength(1);
    front.close();
    expect(await hearEnd(back)).toHaveLength(0);
    const [told] = await messages(traced, 1);
    expect(told).toMatchObject({
      ...{ request: 'VHOST_USER_SET_FEATURES', problem: '6 bytes of it did not come' },
      ...{ bytes: '0500', descriptors: [{ kind: 'eventfd' }] },
    });
    expect((await traced.run.line('closed')).by).toBe('front-end');
  });
});
