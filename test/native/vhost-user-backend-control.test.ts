import { describe, expect, test } from 'vitest';
import { bit, VHOST_F_LOG_ALL, VhostUserConnection } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import {
  backendOf,
  collecting,
  FEATURES,
  FrontEnd,
  IN_BAND,
  numbered,
  PROTOCOL,
  STATUS,
} from '../support/front-end.js';
import { until } from '../support/host.js';
import { offer, writeDescriptorOf } from '../support/hostile-front-end.js';
import { runModule } from '../support/node-child.js';
import { kept, sendable, socketPair } from '../support/sockets.js';
import { aWhile } from '../support/turns.js';

holdNothingLeaks();

const ring = (index: number, num: number) => ({ index, num });

describe('a front-end', () => {
  test('may enable rings before it acknowledged any features, as QEMU does', async () => {
    const { backend, told } = backendOf();
    const guest = new FrontEnd(backend.path);
    guest.connection.sendRequest('VHOST_USER_SET_VRING_ENABLE', ring(0, 1));
    guest.connection.sendRequest('VHOST_USER_SET_VRING_ENABLE', ring(1, 1));
    await guest.negotiate();
    await guest.setMemory();
    await guest.startRing(0);
    await guest.startRing(1);
    expect(told).toContainEqual(['start']);
  });

  test('without features of the protocol need not enable rings', async () => {
    const { backend, told } = backendOf();
    const guest = new FrontEnd(backend.path);
    await guest.negotiate(PROTOCOL, FEATURES & ~bit(30));
    await guest.setMemory();
    await guest.startRing(0);
    await guest.startRing(1);
    expect(told).toContainEqual(['start']);
  });

  test('may acknowledge the same features again while rings run, and no others', async () => {
    const { backend, told } = backendOf();
    const guest = await new FrontEnd(backend.path).bringUp();
    await guest.ack('VHOST_USER_SET_FEATURES', FEATURES | bit(VHOST_F_LOG_ALL));
    await expect(guest.ack('VHOST_USER_SET_FEATURES', FEATURES | bit(28))).rejects.toThrow();
    expect(told).not.toContainEqual(['stop']);
  });

  test('has a ring it never set up at position 0', async () => {
    const { backend } = backendOf();
    const guest = new FrontEnd(backend.path);
    await guest.negotiate();
    const { payload } = await guest.request('VHOST_USER_GET_VRING_BASE', ring(5, 0));
    expect(payload).toEqual(ring(5, 0));
  });

  test('stops a ring under traffic, and every chain came back that was taken', async () => {
    const { backend, frames } = collecting();
    const guest = await new FrontEnd(backend.path).bringUp();
    let next = 0;
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 7; i++) guest.send(numbered(next++));
      guest.kick();
      const { payload } = await guest.request('VHOST_USER_GET_VRING_BASE', ring(1, 0));
      const taken = guest.taken(1).length;
      const { num: base } = payload as { num: number };
      expect(frames).toHaveLength(base);
      expect(taken).toBe(base - 7 * round);
      // What had not been taken is taken when it goes on.
      await guest.startRing(1, { base });
      await until(() => frames.length === next, 'the rest');
      guest.taken(1);
    }
    expect(frames).toEqual(Array.from({ length: next }, (_, i) => numbered(i)));
  });

  test('that tells position 0 of rings in use is served from where their used rings are, as DPDK needs it', async () => {
    const first = collecting();
    const guest = await new FrontEnd(first.backend.path).bringUp();
    for (let i = 0; i < 3; i++) guest.send(numbered(i));
    guest.kick();
    await until(() => first.frames.length === 3, 'three frames');
    const second = collecting();
    const again = new FrontEnd(second.backend.path, guest.memory);
    again.drivers = guest.drivers;
    await again.bringUp();
    guest.send(numbered(3));
    again.kick();
    await until(() => second.frames.length > 0, 'a frame');
    expect(second.frames).toEqual([numbered(3)]);
  });

  test('learns of a switch where the guest cannot say it itself, and sets an MTU', async () => {
    const { backend, frames, device } = collecting();
    const guest = await new FrontEnd(backend.path).bringUp();
    await guest.ack('VHOST_USER_SEND_RARP', 0x0000_5634_1200_5452n);
    await until(() => frames.length === 1, 'the RARP frame');
    expect(Buffer.from(frames[0]?.subarray(0, 22) ?? []).toString('hex')).toBe(
      'ffffffffffff52540012345680350001080006040003',
    );
    await guest.ack('VHOST_USER_NET_SET_MTU', 9000n);
    expect(device().mtu).toBe(9000);
    await expect(guest.ack('VHOST_USER_NET_SET_MTU', 67n)).rejects.toThrow();
  });

  test('can signal over the sockets in the place of eventfds', async () => {
    const { backend, frames, device } = collecting();
    const guest = new FrontEnd(backend.path);
    await guest.negotiate(PROTOCOL | IN_BAND);
    const [near, far] = socketPair('stream');
    await guest.ack('VHOST_USER_SET_BACKEND_REQ_FD', undefined, [sendable(far.fd)]);
    const answers = kept(new VhostUserConnection(near, { requester: 'back-end', role: 'answers' }));
    const calls: unknown[] = [];
    answers.listen(({ request, payload }) => void calls.push([request, payload]));
    await guest.setMemory();
    await guest.startRing(0);
    await guest.startRing(1);
    for (const index of [0, 1]) {
      const none = { index, noDescriptor: true };
      await guest.ack('VHOST_USER_SET_VRING_CALL', none);
      await guest.ack('VHOST_USER_SET_VRING_KICK', none);
    }
    await guest.enable(0, 1);
    guest.send(numbered(1));
    guest.drivers[1]?.publish();
    await guest.ack('VHOST_USER_VRING_KICK', ring(1, 0));
    expect(frames).toEqual([numbered(1)]);
    guest.post(1);
    device().enqueue([numbered(2)]);
    await until(() => calls.length === 2, 'two calls');
    expect(calls).toEqual([
      ['VHOST_USER_BACKEND_VRING_CALL', ring(1, 0)],
      ['VHOST_USER_BACKEND_VRING_CALL', ring(0, 0)],
    ]);
  });

  test('learns over its socket of a ring that broke, where it has no eventfd for that', async () => {
    const { backend, told } = collecting();
    const guest = new FrontEnd(backend.path);
    await guest.negotiate(PROTOCOL | IN_BAND);
    const [near, far] = socketPair('stream');
    await guest.ack('VHOST_USER_SET_BACKEND_REQ_FD', undefined, [sendable(far.fd)]);
    const answers = kept(new VhostUserConnection(near, { requester: 'back-end', role: 'answers' }));
    const heard: unknown[] = [];
    answers.listen(({ request, payload }) => void heard.push([request, payload]));
    await guest.setMemory();
    await guest.startRing(1);
    await guest.ack('VHOST_USER_SET_VRING_ERR', { index: 1, noDescriptor: true });
    await guest.enable(1);
    writeDescriptorOf(guest, 0, [1n << 40n, 64, 0, 0]);
    offer(guest, 0);
    await until(() => told.some(([event]) => event === 'ringError'), 'the ring to break');
    await until(() => heard.length > 0, 'the front-end to be told');
    expect(heard).toEqual([['VHOST_USER_BACKEND_VRING_ERR', ring(1, 0)]]);
    expect(guest.errs[1].read()).toBe(0);
  });

  test.each(['VHOST_USER_RESET_OWNER', 'VHOST_USER_RESET_DEVICE'] as const)(
    'has its rings stopped and its status taken back by a %s, and starts again',
    async (name) => {
      const { backend, frames, told, device } = collecting();
      const guest = await new FrontEnd(backend.path).bringUp(PROTOCOL | STATUS);
      await guest.ack('VHOST_USER_SET_STATUS', 0xfn);
      guest.send(numbered(1));
      guest.kick();
      await until(() => frames.length === 1, 'a frame');
      told.length = 0;
      await guest.ack(name, undefined);
      expect(told).toEqual([['ring', 0, false], ['ring', 1, false], ['stop']]);
      expect((await guest.request('VHOST_USER_GET_STATUS', undefined)).payload).toBe(0n);
      const { payload: at } = await guest.request('VHOST_USER_GET_VRING_BASE', ring(1, 0));
      expect(at).toEqual(ring(1, 1));
      await guest.startRing(0);
      await guest.startRing(1, { base: 1 });
      await guest.ack('VHOST_USER_SET_STATUS', 0xfn);
      // Whether rings are enabled is to be said anew as well.
      expect(device().running).toBe(false);
      await guest.enable(0, 1);
      guest.send(numbered(2));
      guest.kick();
      await until(() => frames.length === 2, 'the next frame');
    },
  );

  test('whose rings have no kick is looked at now and then', async () => {
    const { backend, frames } = collecting();
    const guest = await new FrontEnd(backend.path).bringUp();
    await guest.ack('VHOST_USER_SET_VRING_KICK', { index: 1, noDescriptor: true });
    await aWhile();
    guest.send(numbered(1));
    guest.drivers[1]?.publish();
    await until(() => frames.length === 1, 'a frame without a kick');
  });
});

test("what a listener of 'connect' throws is an uncaughtException, and the front-end is served", async () => {
  const { code, stdout, stderr } = await runModule(`
    import * as vhost from './lib/index.js';
    const path = './back-end.sock';
    process.on('uncaughtException', ({ message }) => console.log('caught', message));
    const backend = vhost.VhostUserBackend.listen({ path });
    backend.on('connect', () => {
      throw new Error('from the listener');
    });
    const socket = vhost.UnixSocket.connect(path, 'stream');
    const connection = new vhost.VhostUserConnection(socket, { role: 'asks' });
    const requests = new vhost.VhostUserRequests(connection);
    const { payload } = await requests.request('VHOST_USER_GET_FEATURES', undefined);
    console.log('offered', payload !== 0n);
    connection.close();
    backend.close();
  `);
  expect({ code, stdout, stderr }).toEqual({
    code: 0,
    stdout: 'caught from the listener\noffered true\n',
    stderr: '',
  });
});

test('what any other listener throws is one as well, and costs no device anything, nor its end', async () => {
  const { code, stdout, stderr } = await runModule(`
    import { setTimeout } from 'node:timers/promises';
    import * as vhost from './lib/index.js';
    const path = './back-end.sock';
    const thrown = [];
    process.on('uncaughtException', ({ message }) => thrown.push(message));
    const backend = vhost.VhostUserBackend.listen({ path });
    for (const event of ['features', 'ring', 'start', 'stop', 'disconnect']) {
      backend.on(event, () => {
        throw new Error(event);
      });
    }
    const frontend = await vhost.VhostUserFrontend.open({ path, reconnect: 'never' });
    const memory = vhost.GuestMemory.create([{ guestAddress: 0n, size: 0x4000 }]);
    const ring = (at) => {
      const [kick, call] = [vhost.EventFd.create(), vhost.EventFd.create()];
      return { size: 16, base: 0, addresses: vhost.placeVring(at, 16), kick, call };
    };
    const pairs = [{ receive: ring(0n), transmit: ring(0x2000n) }];
    await frontend.start({ memory, features: 1n << 32n, pairs });
    const [device] = backend.devices;
    console.log(device.running);
    device.close();
    await setTimeout(20);
    console.log(device.memory, backend.devices.size, thrown.join(' '));
    await frontend.close();
    backend.close();
  `);
  expect({ code, stdout, stderr }).toEqual({
    code: 0,
    stdout: 'true\nundefined 0 features ring ring start ring ring stop disconnect\n',
    stderr: '',
  });
});
