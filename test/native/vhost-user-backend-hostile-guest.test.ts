/** What a guest writes to its rings and buffers against a vhost-user back end: as vhost-user-backend-hostile.test.ts. */
import { describe, expect, test } from 'vitest';
import {
  bit,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_MRG_RXBUF,
  type VringDriver,
} from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import {
  backendOf,
  FEATURES,
  FrontEnd,
  HEADER,
  numbered,
  RECEIVE_AT,
  RINGS,
  TRANSMIT_AT,
} from '../support/front-end.js';
import { until } from '../support/host.js';
import {
  offer,
  refused,
  servesOthers,
  up,
  writeDescriptorOf,
} from '../support/hostile-front-end.js';
import { aWhile } from '../support/turns.js';
import { le } from '../support/vhost-user.js';

holdNothingLeaks();

describe('CVE-2022-2132', () => {
  test.each([
    ['no longer than the header', [[0, 12]]],
    ['shorter than the header', [[0, 5]]],
    ['of nothing', [[0, 0]]],
    ['of nothing, many times', Array.from({ length: 15 }, () => [0, 0])],
    [
      'with the header in twelve pieces, and no frame',
      Array.from({ length: 12 }, (_, i) => [i, 1]),
    ],
  ])('a chain %s is no frame, and goes back', async (_, buffers) => {
    const { guest, frames, device } = await up();
    const words = buffers.flatMap(([at = 0, length = 0]) => [Number(TRANSMIT_AT) + at, 0, length]);
    (guest.drivers[1] as VringDriver).add(Uint32Array.from(words), buffers.length, 0);
    guest.kick();
    await until(() => guest.taken(1).length === 1, 'the chain');
    expect(frames).toEqual([]);
    expect(device().counters()).toMatchObject({ errors: 1, received: 0 });
  });

  test('a header in twelve pieces before a frame is read whole', async () => {
    const { guest, frames } = await up();
    guest.send(numbered(3), undefined, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    guest.kick();
    await until(() => frames.length === 1, 'a frame');
    expect(frames[0]?.bytes).toEqual(numbered(3));
  });
});

describe('CVE-2024-11614', () => {
  const inside = Uint8Array.of(1, 0, 0, 0, 0, 0, 34, 0, 6, 0, 0, 0);
  const outside = Uint8Array.of(1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0);
  const endless = Uint8Array.of(1, 1, 54, 0, 0, 0, 34, 0, 16, 0, 0, 0);

  test.each([
    ['a checksum that was not negotiated is no frame’s', false, inside, 0],
    ['a checksum that was negotiated is a frame’s', true, inside, 1],
    ['a checksum behind the end of the frame is no frame’s', true, outside, 0],
    ['segments of no bytes is no frame’s', true, endless, 0],
  ])('a header that asks for %s', async (_, offload, header, expected) => {
    const features =
      FEATURES | (offload ? bit(VIRTIO_NET_F_CSUM) | bit(VIRTIO_NET_F_HOST_TSO4) : 0n);
    const { guest, frames, device } = await up({ offload }, features);
    guest.send(numbered(1), header);
    guest.kick();
    await until(() => guest.taken(1).length === 1, 'the chain');
    expect(frames.map(({ offload: { flags } }) => flags)).toEqual(Array(expected).fill(1));
    expect(device().counters().errors).toBe(1 - expected);
  });
});

test('a double fetch: the header that was checked is the one that is handed out', async () => {
  const { backend } = backendOf();
  const seen: number[] = [];
  const guest = new FrontEnd(backend.path);
  backend.on('connect', (device) =>
    device.onFrames((burst) => {
      guest.memory.bytes(TRANSMIT_AT, HEADER).fill(0xff);
      for (const { offload } of burst) seen.push(offload.flags, offload.checksumStart);
    }),
  );
  await aWhile();
  await guest.bringUp();
  guest.send(numbered(1));
  guest.kick();
  await until(() => seen.length > 0, 'a frame');
  expect(seen).toEqual([0, 0]);
});

const BROKEN = { code: 'ERR_RING_BROKEN' };

describe('a ring of the guest', () => {
  test.each<[string, (guest: FrontEnd) => void]>([
    ['whose chain loops', (guest) => writeDescriptorOf(guest, 0, [TRANSMIT_AT, 64, 1, 0])],
    [
      'whose chain goes on outside',
      (guest) => writeDescriptorOf(guest, 0, [TRANSMIT_AT, 64, 1, 999]),
    ],
    [
      'with a table that was not negotiated',
      (guest) => writeDescriptorOf(guest, 0, [TRANSMIT_AT, 64, 4, 0]),
    ],
    ['with a buffer to write', (guest) => writeDescriptorOf(guest, 0, [TRANSMIT_AT, 64, 2, 0])],
  ])('%s is stopped and told of, and another is served', async (_, write) => {
    const made = await up();
    write(made.guest);
    offer(made.guest, 0);
    await until(() => made.told.some(([event]) => event === 'ringError'), 'the ring to break');
    expect(made.told).toContainEqual(['stop']);
    expect(made.errors).toEqual([]);
    await servesOthers(made);
  });

  test('has the good frames before a bad one taken, and their chains back', async () => {
    const { guest, frames, told } = await up();
    for (let i = 0; i < 3; i++) guest.send(numbered(i));
    const bad = guest.send(numbered(3));
    writeDescriptorOf(guest, bad, [1n << 40n, 72, 0, 0]);
    guest.kick();
    await until(() => told.some(([event]) => event === 'ringError'), 'the ring to break');
    expect(frames.map(({ bytes }) => bytes)).toEqual([0, 1, 2].map((i) => numbered(i)));
    expect(guest.taken(1)).toHaveLength(3);
    const { payload } = await guest.request('VHOST_USER_GET_VRING_BASE', { index: 1, num: 0 });
    expect(payload).toEqual({ index: 1, num: 3 });
  });

  test('whose consumer has a burst gets its chains back when it stops, broken as it is', async () => {
    const { backend, device } = backendOf();
    const guest = await new FrontEnd(backend.path).bringUp();
    guest.send(numbered(0));
    writeDescriptorOf(guest, guest.send(numbered(1)), [1n << 40n, 72, 0, 0]);
    guest.kick();
    expect(device().dequeue()).toHaveLength(1);
    await guest.request('VHOST_USER_GET_VRING_BASE', { index: 1, num: 0 });
    expect(guest.taken(1)).toHaveLength(1);
  });

  test('to receive by shows the frames before a bad buffer, and stops there', async () => {
    const { guest, told, device } = await up();
    guest.post(2);
    writeDescriptorOf(guest, 1, [RECEIVE_AT, 2048, 0, 0], 0);
    expect(device().enqueue([numbered(1), numbered(2), numbered(3)])).toBe(1);
    expect(told).toContainEqual(['ringError', 0, expect.objectContaining(BROKEN)]);
    expect(await guest.received(1)).toHaveLength(1);
    const { payload } = await guest.request('VHOST_USER_GET_VRING_BASE', { index: 0, num: 0 });
    expect(payload).toEqual({ index: 0, num: 1 });
  });

  test('to receive by keeps the buffers that a frame began in, where a bad one is behind them', async () => {
    const { guest, told, device } = await up({}, FEATURES | bit(VIRTIO_NET_F_MRG_RXBUF));
    guest.post(2, 500);
    writeDescriptorOf(guest, 1, [1n << 40n, 500, 2, 0], 0);
    expect(device().enqueue([numbered(1, 900)])).toBe(0);
    expect(told).toContainEqual(['ringError', 0, expect.objectContaining(BROKEN)]);
    const { payload } = await guest.request('VHOST_USER_GET_VRING_BASE', { index: 0, num: 0 });
    expect(payload).toEqual({ index: 0, num: 0 });
  });

  test('that offers more chains than it has is stopped', async () => {
    const made = await up();
    made.guest.memory.write(RINGS[1] + 256n, le([2, 0], [2, 17]));
    made.guest.kicks[1].signal();
    await until(() => made.told.some(([event]) => event === 'ringError'), 'the ring to break');
  });

  test.each([0, 3, 48, 65_536, 0x8000_0000])('of %i descriptors is refused', async (num) => {
    const { backend } = backendOf();
    const guest = new FrontEnd(backend.path);
    await guest.negotiate();
    await refused(guest, 'VHOST_USER_SET_VRING_NUM', { index: 0, num });
  });

  test.each([
    ['desc', 8n],
    ['avail', 1n],
    ['used', 2n],
  ] as const)('whose %s is %i bytes off its alignment is refused', async (part, off) => {
    const { backend } = backendOf();
    const guest = new FrontEnd(backend.path);
    await guest.negotiate();
    await guest.setMemory();
    const address = guest.addressOf(0);
    await refused(guest, 'VHOST_USER_SET_VRING_ADDR', { ...address, [part]: address[part] + off });
  });
});
