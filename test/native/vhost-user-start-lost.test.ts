/** A start whose back end goes away before it is done: the next one's, once one has served. */
import { describe, expect, test } from 'vitest';
import {
  bit,
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  type VhostUserFrontendOptions,
} from '../../lib/index.js';
import { frontendOn } from '../support/both-ends.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { expectCode } from '../support/errors.js';
import { frontendRig } from '../support/frontend-rig.js';
import { holdingBackEnd } from '../support/holding-back-end.js';
import { until } from '../support/host.js';
import { socketPath } from '../support/sockets.js';

holdNothingLeaks();

describe('a start whose back end goes away in it', () => {
  /** A front end whose rings were served once, and stopped. */
  async function served(options: Partial<VhostUserFrontendOptions> = {}) {
    const rig = await frontendRig({ queuePairs: 2, ...options });
    await rig.frontend.start({ ...rig.config, pairs: rig.pairs.slice(0, 1) });
    await rig.frontend.stop();
    return rig;
  }

  const startedIn = (session: { payloads(name: string): unknown[] }) =>
    session.payloads('SET_VRING_KICK').map((ring) => (ring as { index: number }).index);

  test.each([
    'SET_FEATURES',
    'SET_STATUS',
    'GET_STATUS',
    'GET_INFLIGHT_FD',
    'SET_VRING_NUM',
    'SET_VRING_ADDR',
    'SET_VRING_CALL',
    'SET_VRING_ENABLE',
    'SET_VRING_KICK',
  ])('at %s is ended by the next', async (step) => {
    const { fake, frontend, config, memory } = await served();
    fake.options.trouble = { [`VHOST_USER_${step}`]: 'hang up' };
    const first = fake.session;
    first.forget();
    await frontend.start(config);
    expect(first.requests).toContain(step);
    expect([frontend.running, frontend.linkUp]).toEqual([true, false]);
    fake.options.trouble = {};
    await until(() => frontend.linkUp, 'the link comes up');
    expect(startedIn(fake.session)).toEqual([0, 1, 2, 3]);
    await frontend.close();
    memory.close();
  });

  test.each(['SET_VRING_NUM', 'SET_VRING_KICK'])('of one ring at %s, as well', async (step) => {
    const { fake, frontend, config, pairs } = await served();
    await frontend.start({ ...config, pairs: pairs.slice(0, 1) });
    fake.options.trouble = { [`VHOST_USER_${step}`]: 'hang up' };
    await frontend.startRing(3, (pairs[1] as (typeof pairs)[0]).transmit);
    expect(frontend.linkUp).toBe(false);
    fake.options.trouble = {};
    await until(() => frontend.linkUp, 'the link comes up');
    expect(startedIn(fake.session)).toEqual([0, 1, 3]);
    expect(await frontend.stopRing(3)).toBe(0);
  });

  test('where the requests are not answered one by one, as well', async () => {
    const { fake, frontend, config } = await served({ protocolFeatures: 1n });
    fake.options.trouble = { VHOST_USER_SET_VRING_ADDR: 'hang up' };
    await frontend.start(config);
    fake.options.trouble = {};
    await until(() => frontend.linkUp, 'the link comes up');
    expect(startedIn(fake.session)).toEqual([0, 1, 2, 3]);
  });

  test('that went before this process heard of it, as well', async () => {
    const path = socketPath();
    const backend = await holdingBackEnd(path);
    // With no more than this there is no status to take back, which would tell that nobody is there.
    const protocolFeatures = bit(VHOST_USER_PROTOCOL_F_MQ) | bit(VHOST_USER_PROTOCOL_F_REPLY_ACK);
    const { frontend, config } = await frontendOn(path, { protocolFeatures });
    await frontend.start(config);
    await frontend.stop();
    const gone = backend.kill();
    // The event loop is busy meanwhile.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    await frontend.start(config);
    expect([frontend.running, frontend.linkUp]).toEqual([true, false]);
    await gone;
  });

  test('can be stopped, and closed, before there is a next', async () => {
    const { fake, frontend, config, memory } = await served({ reconnect: 60_000 });
    fake.options.trouble = { VHOST_USER_SET_VRING_ADDR: 'hang up' };
    await frontend.start(config);
    expect(await frontend.stop()).toEqual([
      { receive: 0, transmit: 0 },
      { receive: 0, transmit: 0 },
    ]);
    await frontend.start(config);
    await frontend.close();
    memory.close();
  });

  test('fails where no next is to come', async () => {
    const { fake, frontend, config, memory } = await served({ reconnect: 'never' });
    fake.options.trouble = { VHOST_USER_SET_VRING_ADDR: 'hang up' };
    await expectCode(() => frontend.start(config), 'ERR_VHOST_USER_DISCONNECTED');
    expect(frontend.running).toBe(false);
    memory.close();
  });

  test('fails where it said before that it refuses', async () => {
    const { fake, frontend, config } = await served();
    // As DPDK, which answers, and hangs up then.
    fake.options.trouble = {
      VHOST_USER_SET_VRING_ADDR: 'refuse',
      VHOST_USER_GET_VRING_BASE: 'hang up',
    };
    await expectCode(() => frontend.start(config), 'ERR_VHOST_USER_REFUSED');
    expect([frontend.running, frontend.linkUp]).toEqual([false, false]);
  });
});
