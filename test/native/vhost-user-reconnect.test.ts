/** A front end whose back end goes away: what it keeps, and what the next back end is told. */
import { writeSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  bit,
  EventFd,
  UnixSocket,
  VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD,
  VhostUserConnection,
  VhostUserFrontend,
  type VhostUserMessage,
} from '../../lib/index.js';
import { FRONTEND_PROTOCOL_FEATURES } from '../../lib/vhost-user/handshake.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { expectCode } from '../support/errors.js';
import { FakeBackEnd } from '../support/fake-back-end.js';
import { type FrontendRig, frontendRig } from '../support/frontend-rig.js';
import { until } from '../support/host.js';
import { runModule } from '../support/node-child.js';
import { kept, socketPath } from '../support/sockets.js';
import { aWhile } from '../support/turns.js';

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

describe('a front end that listens', () => {
  test('waits for a back end, and for the next one', async () => {
    const path = socketPath();
    const open = VhostUserFrontend.open({ path, mode: 'server', reconnect: 5 });
    const first = FakeBackEnd.connect(path);
    const frontend = await open;
    cleanup(() => frontend.close());
    const next = FakeBackEnd.connect(path);
    await aWhile();
    // Who comes while another is there waits.
    expect(next.session.requests).toEqual([]);
    const links: boolean[] = [];
    frontend.on('link', (up) => links.push(up));
    first.close();
    await until(() => frontend.linkUp && links.length > 0, 'the next one to be taken');
    expect(links).toEqual([false, true]);
    await frontend.setMtu(9000);
    expect(next.session.payloads('NET_SET_MTU')).toEqual([9000n]);
  });

  test('lets go of the path when it is closed, also while nobody is there', async () => {
    const path = socketPath();
    const open = VhostUserFrontend.open({ path, mode: 'server', reconnect: 5 });
    const fake = FakeBackEnd.connect(path);
    const frontend = await open;
    fake.close();
    await until(() => !frontend.linkUp, 'the link goes down');
    await frontend.close();
    await frontend.close();
    await expectCode(() => frontend.start({} as never), 'ERR_CLOSED');
    kept(FakeBackEnd.listen(path));
  });
});

describe('what the back end asks', () => {
  /** The other end of the channel, as the back end has it. */
  async function channel() {
    const rig = await frontendRig();
    const [descriptor] = rig.fake.session.descriptors.get('SET_BACKEND_REQ_FD') ?? [];
    const socket = UnixSocket.fromFd(descriptor?.fd ?? -1);
    return { ...rig, socket };
  }

  test('is answered: a new configuration, and nothing else', async () => {
    const { frontend, socket } = await channel();
    const asks = kept(new VhostUserConnection(socket, { requester: 'back-end', role: 'asks' }));
    const replies: VhostUserMessage[] = [];
    asks.listen((message) => void replies.push(message));
    let changes = 0;
    frontend.on('config', () => changes++);
    const needReply = { needReply: true };
    asks.sendRequest('VHOST_USER_BACKEND_CONFIG_CHANGE_MSG', undefined, [], needReply);
    asks.sendRequest('VHOST_USER_BACKEND_CONFIG_CHANGE_MSG', undefined);
    const area = { index: 0, noDescriptor: false, size: 4096n, offset: 0n };
    const name = 'VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG';
    asks.sendRequest(name, area, [kept(EventFd.create())], needReply);
    await until(() => replies.length === 2, 'both are answered');
    expect(replies.map(({ payload }) => payload)).toEqual([0n, 1n]);
    expect(changes).toBe(2);
    asks.close();
    await aWhile();
    expect(frontend.linkUp).toBe(true);
  });

  test('ends the session where it is no request', async () => {
    const { frontend, socket } = await channel();
    kept(socket);
    const errors: (Error | undefined)[] = [];
    frontend.on('link', (_, error) => errors.push(error));
    socket.send(new Uint8Array(12).fill(0xff));
    await until(() => errors.length > 0, 'the link goes down');
    expect(errors[0]).toMatchObject({ code: 'ERR_VHOST_USER_PROTOCOL' });
  });
});

describe('a back end that says nonsense loses its session', () => {
  test.each([
    ['of another ring', { index: 5, num: 0 }],
    ['beyond what a ring has', { index: 0, num: 65_536 }],
  ])('where a ring stops: %s', async (_, reply) => {
    const { frontend, config, giveBack } = await frontendRig(
      {},
      { replies: { VHOST_USER_GET_VRING_BASE: reply } },
    );
    await frontend.start(config);
    giveBack(0, 6);
    const errors: (Error | undefined)[] = [];
    frontend.on('link', (_, error) => errors.push(error));
    expect(await frontend.stop()).toEqual([{ receive: 6, transmit: 0 }]);
    expect(errors[0]).toMatchObject({ code: 'ERR_VHOST_USER_PROTOCOL' });
  });
});

test('a ring that the back end gives up is told of, unless it tells itself', async () => {
  const { fake, frontend, config } = await frontendRig();
  const given: number[] = [];
  await frontend.start({ ...config, onRingError: (ring) => given.push(ring) });
  fake.session.eventFd('SET_VRING_ERR 1').signal();
  await until(() => given.length > 0, 'the ring is told of');
  expect(given).toEqual([1]);
});

test("what listeners of 'link' and 'config' throw is an uncaughtException, and costs no session", async () => {
  const { code, stdout, stderr } = await runModule(`
    import { setTimeout } from 'node:timers/promises';
    import * as vhost from './lib/index.js';
    const path = './front-end.sock';
    process.on('uncaughtException', ({ message }) => console.log('caught', message));
    const config = new Uint8Array(6);
    const backend = vhost.VhostUserBackend.listen({ path, config });
    const frontend = await vhost.VhostUserFrontend.open({ path, reconnect: 5 });
    frontend.on('link', (up) => {
      throw new Error(up ? 'up' : 'down');
    });
    frontend.on('config', () => {
      throw new Error('config');
    });
    let connections = 0;
    backend.on('connect', () => connections++);
    for (const device of backend.devices) device.close();
    await setTimeout(5);
    while (!frontend.linkUp) await setTimeout(1);
    for (const device of backend.devices) device.setConfig(0, config);
    await setTimeout(100);
    console.log(connections, 'connection', frontend.linkUp);
    await frontend.close();
    backend.close();
  `);
  expect({ code, stdout, stderr }).toEqual({
    code: 0,
    stdout: 'caught down\ncaught up\ncaught config\n1 connection true\n',
    stderr: '',
  });
});
