/** What a front end can ask beside frames, asked of our own back end: each must come to what it is there for. */
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import {
  bit,
  DirtyLog,
  GuestMemory,
  VHOST_USER_PROTOCOL_F_CONFIG,
  VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  VHOST_USER_PROTOCOL_F_MTU,
  VHOST_USER_PROTOCOL_F_RARP,
  VHOST_USER_PROTOCOL_F_STATUS,
} from '../../lib/index.js';
import { bothEnds, frontendOn } from '../support/both-ends.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { expectCode } from '../support/errors.js';
import { collecting, numbered } from '../support/front-end.js';
import { holdingBackEnd } from '../support/holding-back-end.js';
import { until } from '../support/host.js';
import { kept, socketPath } from '../support/sockets.js';

holdNothingLeaks();

const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);

/** Closes a back end, and has another listen in its place, to which the front end comes. */
async function replace(ends: Awaited<ReturnType<typeof bothEnds>>) {
  const up = once(ends.frontend, 'link').then(() => once(ends.frontend, 'link'));
  ends.backend.close();
  const next = collecting({ path: ends.path });
  expect(await up).toEqual([true]);
  return next;
}

describe('a front end on our back end', () => {
  test('has the network told where its guest is', async () => {
    const { frontend, config, frames } = await bothEnds();
    await frontend.start(config);
    await frontend.sendRarp(MAC);
    await until(() => frames.length === 1, 'the frame');
    const text = Buffer.from(frames[0] ?? []).toString('hex');
    expect(text.slice(0, 28)).toBe(`ffffffffffff${Buffer.from(MAC).toString('hex')}8035`);
  });

  test('tells its MTU, also to the next back end', async () => {
    const ends = await bothEnds();
    await ends.frontend.setMtu(9000);
    expect(ends.device().mtu).toBe(9000);
    const next = await replace(ends);
    expect(next.device().mtu).toBe(9000);
  });

  test('tells what its driver is at', async () => {
    const { frontend, config, device, told } = await bothEnds();
    await frontend.start(config);
    expect(device().status).toBe(0xf);
    expect(told).toContainEqual(['start']);
    await frontend.stop();
    expect(device().status).toBe(0);
    expect(told).toContainEqual(['stop']);
  });

  test('resets a device that is not told', async () => {
    const { frontend, config, device, asked } = await bothEnds({
      withoutProtocol: bit(VHOST_USER_PROTOCOL_F_STATUS),
    });
    await frontend.start(config);
    await frontend.stop();
    expect(asked.at(-1)).toBe('RESET_DEVICE');
    expect(device().running).toBe(false);
    await frontend.start(config);
    expect(device().running).toBe(true);
  });

  test('gives its memory region by region, more than a table has', async () => {
    const regions = Array.from({ length: 20 }, (_, i) => ({
      guestAddress: BigInt(i) << 20n,
      size: 0x4_0000,
    }));
    const ends = await bothEnds({}, {}, regions);
    const { frontend, config, asked, device } = ends;
    await frontend.start(config);
    expect(asked.filter((request) => request === 'ADD_MEM_REG')).toHaveLength(20);
    expect(device().memory?.regions.map(({ guestAddress }) => guestAddress)).toEqual(
      regions.map(({ guestAddress }) => guestAddress),
    );
    await frontend.stop();
    const other = kept(GuestMemory.create([{ guestAddress: 0n, size: 0x4_0000 }]));
    await frontend.start({ ...config, memory: other });
    expect(asked.filter((request) => request === 'REM_MEM_REG')).toHaveLength(20);
    expect(device().memory?.regions).toHaveLength(1);
    await frontend.stop();
  });

  test('cannot without CONFIGURE_MEM_SLOTS, and has a table of up to 8 regions taken', async () => {
    const regions = Array.from({ length: 9 }, (_, i) => ({
      guestAddress: BigInt(i) << 20n,
      size: 0x4_0000,
    }));
    const withoutProtocol = bit(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS);
    const many = await bothEnds({ withoutProtocol }, {}, regions);
    await expectCode(() => many.frontend.start(many.config), 'ERR_OUT_OF_RANGE');
    const few = await bothEnds({ withoutProtocol }, {}, regions.slice(0, 8));
    await few.frontend.start(few.config);
    expect(few.asked).toContain('SET_MEM_TABLE');
    expect(few.device().memory?.regions).toHaveLength(8);
  });

  test('has its writes noted in one log, by this back end and the next', async () => {
    const ends = await bothEnds();
    const { frontend, config, memory, device, post } = ends;
    const log = kept(DirtyLog.create(memory));
    await frontend.start(config);
    await frontend.setDirtyLog(log);
    log.clear();
    // The ring to receive by, in a page of its own, and the buffer.
    const written = [0x0n, 0x8000n];
    post(1);
    device().enqueue([numbered(1)]);
    expect([...log.harvest()].map(({ guestAddress }) => guestAddress)).toEqual(written);
    await ends.receive.pop();
    const next = await replace(ends);
    log.clear();
    post(1);
    await until(() => next.device().enqueue([numbered(2)]) === 1, 'room for a frame');
    expect([...log.harvest()].map(({ guestAddress }) => guestAddress)).toEqual(written);
    await frontend.setDirtyLog(null);
  });
});

describe('a configuration of the back end', () => {
  const config = Uint8Array.of(...MAC, 1, 0, 1, 0, 0xdc, 5);

  test('is read and written by the front end, each device its own', async () => {
    const one = await bothEnds({ config });
    const { frontend, device } = one;
    expect(await frontend.getConfig(0, 12)).toEqual(config);
    expect(await frontend.getConfig(10, 2)).toEqual(Uint8Array.of(0xdc, 5));
    await frontend.setConfig(0, Uint8Array.of(0x02));
    expect(await frontend.getConfig(0, 6)).toEqual(Uint8Array.of(0x02, ...MAC.subarray(1)));
    expect(device().config?.[0]).toBe(0x02);
    const other = await frontendOn(one.path);
    expect(await other.frontend.getConfig(0, 6)).toEqual(MAC);
  });

  test('beyond its end is refused, and the connection stays', async () => {
    const { frontend } = await bothEnds({ config });
    await expectCode(() => frontend.getConfig(10, 3), 'ERR_VHOST_USER_REFUSED');
    await expectCode(() => frontend.setConfig(12, Uint8Array.of(1)), 'ERR_VHOST_USER_REFUSED');
    await expectCode(() => frontend.setConfig(4096, Uint8Array.of(1)), 'ERR_VHOST_USER_REFUSED');
    expect(await frontend.getConfig(11, 1)).toEqual(Uint8Array.of(5));
  });

  test('that changes is told of over the back end’s own socket', async () => {
    const { frontend, device } = await bothEnds({ config });
    const changed = once(frontend, 'config');
    device().setConfig(6, Uint8Array.of(0, 0));
    await changed;
    expect(await frontend.getConfig(6, 2)).toEqual(Uint8Array.of(0, 0));
    await expectCode(() => device().setConfig(11, new Uint8Array(2)), 'ERR_OUT_OF_RANGE');
  });

  test('can be none, of 256 bytes at most, and bytes', async () => {
    const { frontend, device } = await bothEnds();
    expect(device().config).toBeUndefined();
    await expectCode(() => frontend.getConfig(0, 6), 'ERR_FEATURES_NOT_OFFERED');
    await expectCode(() => device().setConfig(0, MAC), 'ERR_FEATURES_NOT_OFFERED');
    const wrong = (config: unknown) => () => collecting({ config: config as Uint8Array });
    await expectCode(wrong(new Uint8Array(257)), 'ERR_OUT_OF_RANGE');
    await expectCode(wrong(new Uint8Array()), 'ERR_OUT_OF_RANGE');
    await expectCode(wrong('mac'), 'ERR_INVALID_ARG_TYPE');
  });
});

test.each([
  ['RARP', VHOST_USER_PROTOCOL_F_RARP],
  ['MTU', VHOST_USER_PROTOCOL_F_MTU],
  ['CONFIG', VHOST_USER_PROTOCOL_F_CONFIG],
])('a back end without %s is not asked for it', async (name, feature) => {
  const { frontend, asked } = await bothEnds({ config: MAC, withoutProtocol: bit(feature) });
  asked.length = 0;
  const asks: Record<string, () => Promise<unknown>> = {
    RARP: () => frontend.sendRarp(MAC),
    MTU: () => frontend.setMtu(1500),
    CONFIG: () => frontend.getConfig(0, 6),
  };
  await expectCode(asks[name] as () => Promise<unknown>, 'ERR_FEATURES_NOT_OFFERED');
  expect(asked).toEqual([]);
});

test('frames that a killed back end had taken are served by the next, once and in order', async () => {
  const path = socketPath();
  const killed = await holdingBackEnd(path);
  const { frontend, config, transmit, send } = await frontendOn(path);
  await frontend.start(config);
  send(numbered(0));
  await transmit.pop();
  // One burst, which stays with its consumer for good.
  send(numbered(1));
  await killed.holds(1);
  send(numbered(2));
  const down = once(frontend, 'link');
  await killed.kill();
  expect(await down).toEqual([false, undefined]);
  send(numbered(3));
  const { frames } = collecting({ path });
  await until(() => frames.length === 3, 'three frames');
  expect(frames).toEqual([1, 2, 3].map((i) => numbered(i)));
  for (let i = 0; i < 3; i++) await transmit.pop();
  expect(await frontend.stop()).toEqual([{ receive: 0, transmit: 4 }]);
});
