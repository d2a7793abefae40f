/** The card: what its driver may do, in order and out of it (virtio 1.3 §2.1, §3.1, §5.1). */
import { describe, expect, test } from 'vitest';
import { offerFeatures } from '../../lib/device/feature-offer.js';
import { TUN_OFFLOADS } from '../../lib/net/offload-features.js';
import { bit } from '../../lib/uapi/virtio-net.js';
import {
  ACKNOWLEDGE,
  bringUp,
  DRIVER,
  DRIVER_OK,
  enableQueue,
  FEATURES_OK,
  makeCard,
  NEEDS_RESET,
  RING_FEATURES,
  takeFeatures,
} from '../support/card-driver.js';

const ALL = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
const VERSION_1 = bit(32);

describe('§3.1.1 the handshake', () => {
  test('starts the backend with DRIVER_OK, and not before', async () => {
    const card = makeCard();
    const { device, backend, memory } = card;
    takeFeatures(card, VERSION_1 | bit(15));
    enableQueue(card, 0, 32);
    enableQueue(card, 1, 16);
    expect(backend.asked).toEqual([]);
    await device.setStatus(ALL);
    expect(backend.asked).toEqual(['start 0']);
    expect(device.status).toBe(ALL);
    expect(backend.config).toMatchObject({ memory, features: VERSION_1 | bit(15) });
    const [receive, transmit] = device.queues;
    expect(backend.rings.get(0)).toMatchObject({
      size: 32,
      base: 0,
      addresses: receive?.addresses,
      kick: receive?.kick,
      call: receive?.call,
    });
    expect(backend.rings.get(1)).toMatchObject({ size: 16, kick: transmit?.kick });
  });

  test.each([
    ['DRIVER before ACKNOWLEDGE', [DRIVER], 0],
    ['FEATURES_OK before DRIVER', [ACKNOWLEDGE, ACKNOWLEDGE | FEATURES_OK], ACKNOWLEDGE],
    ['DRIVER_OK before FEATURES_OK', [3, 3 | DRIVER_OK], 3],
    ['a bit that was set and is not written again', [3, DRIVER], 3],
    ['NEEDS_RESET, which is the card’s', [ACKNOWLEDGE, ACKNOWLEDGE | NEEDS_RESET], ACKNOWLEDGE],
    ['a bit that means nothing', [0x10], 0],
    ['a step after FAILED', [0x80, 0x81], 0x80],
  ])('drops %s', async (_, writes, status) => {
    const { device, backend } = makeCard();
    for (const write of writes) await device.setStatus(write);
    expect(device.status).toBe(status);
    expect(backend.asked).toEqual([]);
  });

  test('drops a whole write that clears a bit', async () => {
    const card = makeCard();
    takeFeatures(card);
    await card.device.setStatus(DRIVER | FEATURES_OK | DRIVER_OK);
    expect([card.device.status, card.backend.asked]).toEqual([
      ACKNOWLEDGE | DRIVER | FEATURES_OK,
      [],
    ]);
  });

  test('takes several steps in one write', async () => {
    const { device } = makeCard();
    device.setStatus(ACKNOWLEDGE | DRIVER);
    expect(device.status).toBe(3);
  });

  test('features count only between DRIVER and FEATURES_OK', () => {
    const card = makeCard();
    const { device } = card;
    device.setDriverFeatures(0, 0xffff_ffff);
    expect(device.driverFeatures).toBe(0n);
    takeFeatures(card, VERSION_1);
    device.setDriverFeatures(0, 1 << 15);
    expect(device.driverFeatures).toBe(VERSION_1);
    device.setStatus(0);
    device.setStatus(ACKNOWLEDGE | DRIVER);
    device.setDriverFeatures(4, 1);
    device.setDriverFeatures(0xffff_ffff, 1);
    expect(device.driverFeatures).toBe(0n);
  });
});

describe('§2.2.2 FEATURES_OK is not set', () => {
  test.each([
    ['without VERSION_1', bit(15)],
    ['for a feature that was not offered', VERSION_1 | bit(34)],
    ['for MQ without CTRL_VQ', VERSION_1 | bit(22)],
    ['for GUEST_ANNOUNCE without STATUS', VERSION_1 | bit(17) | bit(21)],
    ['for a filter without CTRL_VQ', VERSION_1 | bit(18)],
  ])('%s', (_, features) => {
    const card = makeCard({ queuePairs: 2 });
    takeFeatures(card, features);
    expect(card.device.status).toBe(ACKNOWLEDGE | DRIVER);
  });

  test('and another try is allowed', () => {
    const card = makeCard();
    takeFeatures(card, bit(15));
    takeFeatures(card, VERSION_1);
    expect(card.device.status).toBe(ACKNOWLEDGE | DRIVER | FEATURES_OK);
  });
});

describe('what is offered', () => {
  test('is what the card, the backend and the user have in common', () => {
    const names = (offered: bigint) =>
      [...Array(64).keys()].filter((n) => (offered >> BigInt(n)) & 1n);
    expect(names(makeCard().device.offered)).toEqual([
      5, 15, 16, 17, 18, 19, 20, 21, 23, 28, 29, 32, 40, 63,
    ]);
    expect(names(makeCard({ queuePairs: 2, mtu: 1400 }).device.offered)).toEqual([
      3, 5, 15, 16, 17, 18, 19, 20, 21, 22, 23, 28, 29, 32, 40, 63,
    ]);
    const few = makeCard({ features: VERSION_1 | bit(5) | bit(18) | bit(21) });
    // Without CTRL_VQ there is no filter, and nothing to announce.
    expect(names(few.device.offered)).toEqual([5, 32]);
    expect(few.device.queues).toHaveLength(2);
  });
});

test('tunnel offloads, which make the header longer, are offered where the backend has them too', () => {
  const tunnel = bit(65) | bit(66) | bit(67) | bit(68);
  const from = { tun: TUN_OFFLOADS, queuePairs: 1, hasMtu: false };
  const without = offerFeatures({ ...from, backend: RING_FEATURES });
  expect([without & tunnel, without & bit(7)]).toEqual([0n, bit(7)]);
  expect(offerFeatures({ ...from, backend: RING_FEATURES | tunnel }) & tunnel).toBe(tunnel);
});

describe('§5.1.4 the configuration', () => {
  test('has the fields where they belong', () => {
    const { device } = makeCard({ queuePairs: 3, mtu: 1400, speed: 10_000, fullDuplex: true });
    const hex = Buffer.from(device.config.read(0, 20)).toString('hex');
    expect(hex).toBe('020000000001' + '0100' + '0300' + '7805' + '10270000' + '01' + '000000');
    const unknown = makeCard().device.config;
    expect(Buffer.from(unknown.read(10, 7)).toString('hex')).toBe('0000ffffffffff');
    expect(unknown.read(1000, 4)).toEqual(new Uint8Array(4));
  });

  test('a link change and an announcement interrupt a driver that is ready, and no other', async () => {
    const card = makeCard();
    const { device } = card;
    let interrupts = 0;
    device.on('config', () => interrupts++);
    device.setLink(false);
    expect([device.config.status, interrupts]).toEqual([0, 0]);
    expect(device.announce()).toBe(false);
    await bringUp(card);
    device.setLink(true);
    device.setLink(true);
    expect([device.config.status, interrupts]).toEqual([1, 1]);
    const { generation } = device.config;
    expect(device.announce()).toBe(true);
    expect([device.config.status, interrupts]).toEqual([3, 2]);
    expect(device.config.generation).not.toBe(generation);
  });
});

describe('§2.4 a reset', () => {
  test('stops the backend before the status reads 0, and forgets all', async () => {
    const card = makeCard();
    const { device, backend } = card;
    await bringUp(card);
    device.queues[0]?.kick.signal();
    const seen: number[] = [];
    backend.during = () => seen.push(device.status);
    await device.setStatus(0);
    expect(seen).toEqual([ALL]);
    expect(backend.asked).toEqual(['start 0', 'stop']);
    expect([device.status, device.driverFeatures]).toEqual([0, 0n]);
    expect(device.queues.map(({ enabled, size }) => [enabled, size])).toEqual([
      [false, 256],
      [false, 256],
      [false, 64],
    ]);
    expect(device.queues[0]?.kick.read()).toBe(0);
    await bringUp(card);
    expect(backend.asked).toEqual(['start 0', 'stop', 'start 0']);
  });

  test('while the backend starts comes after that', async () => {
    const card = makeCard();
    const { device, backend } = card;
    takeFeatures(card);
    enableQueue(card, 0);
    enableQueue(card, 1);
    const started = device.setStatus(ALL);
    const done = device.setStatus(0);
    await Promise.all([started, done]);
    expect(backend.asked).toEqual(['start 0', 'stop']);
    expect(device.status).toBe(0);
  });

  test('before DRIVER_OK is done at once', () => {
    const card = makeCard();
    takeFeatures(card);
    expect(card.device.setStatus(0)).toBeUndefined();
    expect(card.device.status).toBe(0);
  });
});

describe('a backend that fails', () => {
  test('at the start: NEEDS_RESET, an interrupt, and a reset mends it', async () => {
    const card = makeCard();
    const { device, backend } = card;
    const failures: string[] = [];
    let interrupts = 0;
    device.on('failed', ({ message }) => failures.push(message)).on('config', () => interrupts++);
    backend.failWith = new Error('no worker');
    await bringUp(card);
    expect([device.status, failures, interrupts]).toEqual([ALL | NEEDS_RESET, ['no worker'], 1]);
    await device.setStatus(0);
    expect([device.status, backend.asked]).toEqual([0, ['start 0']]);
    await bringUp(card);
    expect(device.status).toBe(ALL);
  });

  test('or a control ring outside the memory: what was started is stopped', async () => {
    const card = makeCard();
    const { device, backend } = card;
    takeFeatures(card);
    for (const index of device.queues.keys()) enableQueue(card, index);
    const control = device.queues.at(-1);
    if (control) control.addresses = { desc: 1n << 40n, avail: 0n, used: 0n };
    await device.setStatus(ALL);
    expect([device.status, backend.asked]).toEqual([ALL | NEEDS_RESET, ['start 0', 'stop']]);
    await device.setStatus(0);
    await bringUp(card);
    expect(device.status).toBe(ALL);
  });

  test('at the start: no queue that is enabled after it is served', async () => {
    const { device, backend } = makeCard();
    takeFeatures({ device });
    backend.failWith = new Error('no worker');
    await device.setStatus(ALL);
    for (const index of [0, 1]) await enableQueue({ device }, index);
    expect([backend.asked, backend.rings.size]).toEqual([['start'], 0]);
  });

  test('that gives a ring up', async () => {
    const card = makeCard();
    await bringUp(card);
    card.backend.config?.onRingError?.(1);
    expect(card.device.status).toBe(ALL | NEEDS_RESET);
  });
});

describe('§2.6.1 a queue reset', () => {
  test('stops one queue, which is then enabled as new', async () => {
    const card = makeCard();
    const { device, backend } = card;
    await bringUp(card);
    await device.resetQueue(1);
    expect(backend.asked).toEqual(['start 0', 'stopRing 1']);
    expect(device.queues[1]).toMatchObject({ enabled: false, base: 0, size: 256 });
    await enableQueue(card, 1, 8);
    expect(backend.asked).toEqual(['start 0', 'stopRing 1', 'startRing 1']);
    expect(backend.rings.get(1)).toMatchObject({ size: 8, base: 0 });
  });

  test('is needed to enable a queue while the card runs', async () => {
    const card = makeCard({ features: VERSION_1 });
    takeFeatures(card);
    enableQueue(card, 0);
    await card.device.setStatus(ALL);
    expect(card.backend.asked).toEqual(['start']);
    expect(enableQueue(card, 1)).toBeUndefined();
    expect(card.device.queues[1]?.enabled).toBe(false);
  });
});

test('a card that is closed stops, and knows its misuse', async () => {
  const card = makeCard();
  await bringUp(card);
  await card.device.close();
  await card.device.close();
  expect(card.backend.asked).toEqual(['start 0', 'stop']);
  expect(() => card.device.enableQueue(0)).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
});
