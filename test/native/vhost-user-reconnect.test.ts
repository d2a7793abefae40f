/** A front end whose back end goes away: what it keeps, and what the next back end is told. */
import { writeSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { bit, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD } from '../../lib/index.js';
import { FRONTEND_PROTOCOL_FEATURES } from '../../lib/vhost-user/handshake.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { expectCode } from '../support/errors.js';
import { FakeBackEnd } from '../support/fake-back-end.js';
import { type FrontendRig, frontendRig } from '../support/frontend-rig.js';
import { until } from '../support/host.js';
import { socketPath } from '../support/sockets.js';

holdNothingLeaks();

describe('a front end whose back end goes away', () => {
  test('tells the next one all that the one before had, from the used index on', async () => {
    const rig = await frontendRig({ queuePairs: 2 });
    const { fake, frontend, config, pairs, giveBack } = rig;
    const links: [boolean, string | undefined][] = [];
    frontend.on('link', (up, error) => links.push([up, (error as { code?: string })?.code]));
    await frontend.setMtu(9000);
    await frontend.start(config);
    const calls = pairs[0]?.receive.call.read();
    expect(calls).toBe(0);
    giveBack(0, 5);
    giveBack(3, 65_535);
    fake.session.connection.close();
    await until(() => !frontend.linkUp, 'the link goes down');
    // The driver was maybe not told of the last that came.
    expect(pairs[0]?.receive.call.read()).toBe(1);
    const next = await fake.sessionOf(1);
    await until(() => frontend.linkUp, 'the link comes up');
    expect(links).toEqual([
      [false, undefined],
      [true, undefined],
    ]);
    expect(next.payloads('NET_SET_MTU')).toEqual([9000n]);
    expect(next.payloads('SET_VRING_BASE')).toEqual([
      { index: 0, num: 5 },
      { index: 1, num: 0 },
      { index: 2, num: 0 },
      { index: 3, num: 65_535 },
    ]);
    // The record of what is in flight is the one that the back end before kept.
    expect(next.requests).not.toContain('GET_INFLIGHT_FD');
    expect(next.payloads('SET_INFLIGHT_FD')).toEqual([
      { mmapSize: 4096n, mmapOffset: 0n, numQueues: 4, queueSize: 1024 },
    ]);
    expect(next.status).toBe(0xfn);
    expect(next.payloads('SET_VRING_ENABLE')).toHaveLength(4);
    const states = await frontend.stop();
    expect(states[1]).toEqual({ receive: 0, transmit: 65_535 });
    // After a stop in order nothing is in flight.
    next.forget();
    await frontend.start(config);
    expect(next.requests).toContain('GET_INFLIGHT_FD');
  });

  test('has drivers offer again what did not come back, before the next one looks', async () => {
    const { fake, frontend, config, pairs } = await frontendRig();
    const [pair] = pairs as [(typeof pairs)[0]];
    const asked: number[] = [];
    const onDeviceLost = () =>
      asked.push(fake.sessions.at(-1)?.payloads('SET_VRING_NUM').length ?? -1);
    const receive = { ...pair.receive, onDeviceLost };
    await frontend.start({ ...config, pairs: [{ ...pair, receive }] });
    fake.session.connection.close();
    await fake.sessionOf(1);
    await until(() => frontend.linkUp, 'the link comes up');
    expect(asked).toEqual([0]);
  });

  test('stops, starts and changes its rings meanwhile, and the next one serves those', async () => {
    const path = socketPath();
    const rig = await frontendRig({ path, queuePairs: 2 });
    const { fake, frontend, config, pairs, giveBack } = rig;
    const [first, second] = pairs as [(typeof pairs)[0], (typeof pairs)[0]];
    await frontend.start(config);
    giveBack(1, 4);
    fake.close();
    await until(() => !frontend.linkUp, 'the link goes down');
    await expectCode(() => frontend.setMtu(1500), 'ERR_VHOST_USER_DISCONNECTED');
    expect((await frontend.stop())[0]).toEqual({ receive: 0, transmit: 4 });
    expect(frontend.running).toBe(false);
    await frontend.start({ ...config, pairs: [first] });
    await frontend.startRing(2, second.receive);
    expect(await frontend.stopRing(0)).toBe(0);
    const outside = { ...second.transmit, addresses: { desc: 1n, avail: 2n, used: 4n } };
    await expectCode(() => frontend.startRing(3, outside), 'ERR_OUT_OF_RANGE');
    const again = FakeBackEnd.listen(path);
    const session = await again.sessionOf(0);
    await until(() => frontend.linkUp, 'the link comes up');
    const rings = session
      .payloads('SET_VRING_NUM')
      .map((ring) => (ring as { index: number }).index);
    expect(rings).toEqual([1, 2]);
  });

  test('gives the next one no record of what is in flight where one served that kept none', async () => {
    const { fake, frontend, config } = await frontendRig();
    await frontend.start(config);
    const protocolFeatures =
      FRONTEND_PROTOCOL_FEATURES & ~bit(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD);
    fake.options = { protocolFeatures };
    fake.session.connection.close();
    const second = await fake.sessionOf(1);
    await until(() => second.status === 0xfn, 'it serves');
    fake.options = {};
    second.connection.close();
    const third = await fake.sessionOf(2);
    await until(() => third.status === 0xfn, 'it serves');
    expect(third.requests).toContain('GET_INFLIGHT_FD');
  });

  test('nor where a ring was stopped meanwhile, whose driver may begin anew', async () => {
    const { fake, frontend, config } = await frontendRig();
    await frontend.start(config);
    const stopped = new Promise((resolve) =>
      frontend.once('link', () => resolve(frontend.stopRing(1))),
    );
    fake.session.connection.close();
    expect(await stopped).toBe(0);
    const next = await fake.sessionOf(1);
    await until(() => next.status === 0xfn, 'it serves');
    expect(next.requests).toContain('GET_INFLIGHT_FD');
  });

  test('does not go on with one that lacks what its driver took, and tries again', async () => {
    const { fake, frontend, config } = await frontendRig();
    await frontend.start(config);
    fake.options = { features: 1n << 30n };
    fake.session.connection.close();
    await fake.sessionOf(2);
    expect(frontend.linkUp).toBe(false);
    fake.options = {};
    await until(() => frontend.linkUp, 'the link comes up');
  });

  test('tries again where the next one refuses a ring, or dies itself', async () => {
    const { fake, frontend, config } = await frontendRig();
    await frontend.start(config);
    const first = fake.session;
    fake.options = { trouble: { VHOST_USER_SET_VRING_ADDR: 'refuse' } };
    first.connection.close();
    await fake.sessionOf(1);
    await until(() => fake.sessions[1]?.connection.closed === true, 'it is left');
    fake.options = { trouble: { VHOST_USER_SET_VRING_KICK: 'hang up' } };
    await fake.sessionOf(fake.sessions.length);
    fake.options = {};
    await until(() => frontend.linkUp, 'the link comes up');
    expect(frontend.running).toBe(true);
  });

  test('where it is not to come again, starts nothing and ends at the used index', async () => {
    const { fake, frontend, config, giveBack } = await frontendRig({ reconnect: 'never' });
    await frontend.start(config);
    giveBack(0, 9);
    fake.session.connection.close();
    await until(() => !frontend.linkUp, 'the link goes down');
    expect(await frontend.stop()).toEqual([{ receive: 9, transmit: 0 }]);
    await expectCode(() => frontend.start(config), 'ERR_VHOST_USER_DISCONNECTED');
    expect(fake.sessions).toHaveLength(1);
  });

  test('outlives what that one did to the eventfds of its rings', async () => {
    const { fake, frontend, config, pairs } = await frontendRig();
    await frontend.start(config);
    const call = fake.session.eventFd('SET_VRING_CALL 0');
    // As full as it gets, which is 2^64 - 2: to signal it once more fails.
    writeSync(call.fd, Uint8Array.of(0xfe, ...new Array(7).fill(0xff)));
    await expectCode(() => pairs[0]?.receive.call.signal(), 'EAGAIN');
    fake.session.connection.close();
    await fake.sessionOf(1);
    await until(() => frontend.linkUp, 'the link comes up');
  });
});

describe('a front end whose next back end has begun to be told', () => {
  /** Does something when that one is told of the MTU, before all else that is told of the one before. */
  async function meanwhile<T>({ fake, frontend }: FrontendRig, act: () => Promise<T>): Promise<T> {
    const acted = new Promise<T>((resolve) => {
      const replies = {
        get VHOST_USER_NET_SET_MTU(): bigint {
          resolve(act());
          return 0n;
        },
      };
      fake.options = { replies };
    });
    await frontend.setMtu(1500);
    fake.session.connection.close();
    return acted;
  }

  test('starts its rings once', async () => {
    const rig = await frontendRig();
    await meanwhile(rig, () => rig.frontend.start(rig.config));
    expect(rig.fake.sessions).toHaveLength(2);
    expect(rig.fake.session.payloads('SET_VRING_KICK')).toHaveLength(2);
  });

  test('stops its rings where they are', async () => {
    const rig = await frontendRig();
    await rig.frontend.start(rig.config);
    rig.giveBack(0, 5);
    const states = await meanwhile(rig, () => rig.frontend.stop());
    expect(states).toEqual([{ receive: 5, transmit: 0 }]);
  });
});
