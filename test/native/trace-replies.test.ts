/** `vhost-net trace`: replies, the socket of the back end's own requests, and ends that do not read. */
import { describe, expect, test } from 'vitest';
import { encodeVhostUserReply, encodeVhostUserRequest, UnixSocket } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { until } from '../support/host.js';
import { kept, receive, socketPair } from '../support/sockets.js';
import { connectThrough, counts, hear, hearEnd, messages, trace } from '../support/traced.js';
import { events } from '../support/vhost-user-peer.js';

holdNothingLeaks();

const SET_OWNER = encodeVhostUserRequest('VHOST_USER_SET_OWNER', undefined);
const GET_FEATURES = encodeVhostUserRequest('VHOST_USER_GET_FEATURES', undefined);
const FEATURES = encodeVhostUserReply('VHOST_USER_GET_FEATURES', 0x1_4000_8001n);
const SET_BACKEND_REQ_FD = encodeVhostUserRequest('VHOST_USER_SET_BACKEND_REQ_FD', undefined, 1);

describe('a reply', () => {
  test('belongs to the request of its name, and those that have none are told at the end', async () => {
    const traced = await trace();
    const [front, back] = await connectThrough(traced);
    const status = encodeVhostUserRequest('VHOST_USER_SET_STATUS', 0xbn, 0, true);
    front.send(SET_OWNER);
    front.send(GET_FEATURES);
    front.send(status);
    await hear(back, 24 + status.length);
    back.send(FEATURES);
    await hear(front, FEATURES.length);
    back.close();
    await hearEnd(front);
    const [, , told, answered] = await messages(traced, 4);
    expect(told).toMatchObject({
      needReply: true,
      words: ['ACKNOWLEDGE', 'DRIVER', 'FEATURES_OK'],
    });
    expect(answered?.replyMs).toBeGreaterThanOrEqual(0);
    expect(await traced.run.line('closed')).toMatchObject({
      ...{ connection: 1, by: 'back-end', messages: 4, unanswered: ['VHOST_USER_SET_STATUS'] },
    });
  });

  test('that nobody asked for has no time, and passes', async () => {
    const traced = await trace();
    const [front, back] = await connectThrough(traced);
    front.send(SET_OWNER);
    await hear(back, 12);
    back.send(FEATURES);
    expect((await hear(front, FEATURES.length)).bytes).toEqual(FEATURES);
    const [, told] = await messages(traced, 2);
    expect(told).toMatchObject({ kind: 'reply', request: 'VHOST_USER_GET_FEATURES' });
    expect(told).not.toHaveProperty('replyMs');
  });
});

describe("the socket of the back end's requests", () => {
  test('is followed: its requests and their replies pass and are told', async () => {
    const traced = await trace();
    const [front, back] = await connectThrough(traced);
    const [own, given] = socketPair('stream');
    front.send(SET_BACKEND_REQ_FD, [given]);
    const { descriptors } = await hear(back, 12);
    const asks = kept(UnixSocket.fromFd(descriptors[0] as number));
    const changed = encodeVhostUserRequest(
      'VHOST_USER_BACKEND_CONFIG_CHANGE_MSG',
      undefined,
      0,
      true,
    );
    asks.send(changed, events(1));
    const heard = await hear(own, 12);
    expect(heard.bytes).toEqual(changed);
    expect(counts(heard.descriptors)).toEqual([1]);
    const done = encodeVhostUserReply('VHOST_USER_BACKEND_CONFIG_CHANGE_MSG', 0n);
    own.send(done);
    expect((await hear(asks, done.length)).bytes).toEqual(done);
    const [told, asked, answered] = await messages(traced, 3);
    expect(told).toMatchObject({
      ...{ request: 'VHOST_USER_SET_BACKEND_REQ_FD', descriptors: [{ kind: 'socket' }] },
    });
    expect(asked).toMatchObject({
      ...{ requester: 'back-end', from: 'back-end', kind: 'request' },
      ...{ request: 'VHOST_USER_BACKEND_CONFIG_CHANGE_MSG', needReply: true },
      problem: '1 descriptors came with it, not 0',
    });
    expect(answered).toMatchObject({
      ...{ requester: 'back-end', from: 'front-end', kind: 'reply', payload: '0x0' },
      replyMs: expect.any(Number),
    });
  });

  test('ends on both sides when either ends, and the connection goes on', async () => {
    const traced = await trace();
    const [front, back] = await connectThrough(traced);
    const [own, given] = socketPair('stream');
    front.send(SET_BACKEND_REQ_FD, [given]);
    given.close();
    const { descriptors } = await hear(back, 12);
    const asks = kept(UnixSocket.fromFd(descriptors[0] as number));
    own.close();
    // The one that came with the message is the same socket still.
    await hearEnd(asks);
    front.send(GET_FEATURES);
    expect((await hear(back, 12)).bytes).toEqual(GET_FEATURES);
  });

  test('is none where the descriptor is no socket: it passes as it is', async () => {
    const traced = await trace();
    const [front, back] = await connectThrough(traced);
    front.send(SET_BACKEND_REQ_FD, events(1));
    expect(counts((await hear(back, 12)).descriptors)).toEqual([1]);
  });
});

describe('who does not read', () => {
  test('is waited for: no more is taken than the sockets hold, and all of it comes in order', async () => {
    const traced = await trace();
    const [front, back] = await connectThrough(traced);
    const requests: Uint8Array[] = [];
    const send = () => {
      const request = encodeVhostUserRequest('VHOST_USER_SET_VRING_NUM', {
        index: 0,
        num: requests.length,
      });
      if (front.send(request) === 0) return false;
      requests.push(request);
      return true;
    };
    let still = 0;
    // Full for as long as it would take the trace to make room, and more.
    await until(() => {
      still = send() ? 0 : still + 1;
      while (send());
      return still > 50;
    }, 'nothing more fits');
    expect(requests.length).toBeLessThan(10_000);
    const { bytes } = await hear(back, requests.length * 20);
    expect(bytes).toEqual(Uint8Array.from(requests.flatMap((request) => [...request])));
    front.close();
    expect(await hearEnd(back)).toHaveLength(0);
  });

  test('still gets what was sent before the end', async () => {
    const traced = await trace();
    const [front, back] = await connectThrough(traced);
    let sent = 0;
    for (let still = 0; still < 50; ) {
      const took = front.send(SET_OWNER);
      sent += took;
      still = took > 0 ? 0 : still + 1;
      if (took === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    front.close();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await hearEnd(back)).toHaveLength(sent);
    expect(receive(back)?.size).toBe(0);
    expect((await traced.run.line('closed')).by).toBe('front-end');
  });
});
