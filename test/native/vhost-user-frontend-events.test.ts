import { describe, expect, test } from 'vitest';
import {
  EventFd,
  UnixSocket,
  VhostUserConnection,
  VhostUserFrontend,
  type VhostUserMessage,
} from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { expectCode } from '../support/errors.js';
import { FakeBackEnd } from '../support/fake-back-end.js';
import { frontendRig } from '../support/frontend-rig.js';
import { until } from '../support/host.js';
import { runModule } from '../support/node-child.js';
import { kept, socketPath } from '../support/sockets.js';
import { aWhile } from '../support/turns.js';

holdNothingLeaks();

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
