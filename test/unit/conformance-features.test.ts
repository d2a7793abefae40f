/** Feature bits (virtio 1.3 §2.2, §5.1.3.1, §6), by the registers of both transports. */
import { describe, expect, test } from 'vitest';
import { offerFeatures } from '../../lib/device/feature-offer.js';
import { bit, featureNames } from '../../lib/uapi/virtio-net.js';
import { BUSES, makeBench, negotiate, offeredBy } from '../support/conforming-driver.js';

const VERSION_1 = 32;
const ALL = (1n << 128n) - 1n;
/** §5.1.3.1, as it is read there: a bit, and those of which one must come with it. */
const NEEDS: readonly [number, ...number[]][] = [
  [7, 1],
  [8, 1],
  [9, 7, 8],
  [10, 1],
  [54, 1],
  [55, 1],
  [11, 0],
  [12, 0],
  [13, 11, 12],
  [14, 0],
  [56, 0],
  [18, 17],
  [19, 17],
  [20, 17],
  [21, 17],
  [22, 17],
  [23, 17],
];
const has = (features: bigint, number: number) => (features & bit(number)) !== 0n;
const unmet = (features: bigint) =>
  NEEDS.filter(([one, ...needs]) => has(features, one) && !needs.some((n) => has(features, n)));

test('2.2.2: no feature is offered without one that it needs, whatever is not allowed', () => {
  const from = { backend: ALL, queuePairs: 2, hasMtu: true };
  const offers = [undefined, 0x1f].flatMap((tun) =>
    Array.from({ length: 128 }, (_, number) =>
      offerFeatures({ ...from, tun, allowed: ALL & ~bit(number) }),
    ),
  );
  expect(offers.flatMap(unmet)).toEqual([]);
  // A feature that others need takes those along, and the others stay.
  expect(has(offerFeatures({ ...from, allowed: ALL & ~bit(17) }), 22)).toBe(false);
  expect(has(offerFeatures({ ...from, allowed: ALL & ~bit(18) }), 22)).toBe(true);
});

test('2.2.2: no feature is offered that is reserved, or that nobody here has', () => {
  const offered = offerFeatures({ backend: ALL, queuePairs: 2, hasMtu: true });
  // §6: SR_IOV, NOTIFICATION_DATA, ADMIN_VQ and their like; §5.1.3: RSS, coalescing, statistics, standby.
  const absent = [24, 27, 30, 31, 33, 34, 35, 36, 37, 38, 39, 41, 42, 43, 44, 50, 51, 52, 53];
  const alsoAbsent = [57, 59, 60, 61, 62];
  const wrong = [...absent, ...alsoAbsent].filter((number) => has(offered, number));
  expect(featureNames(wrong.reduce((sum, number) => sum | bit(number), 0n))).toEqual([]);
});

describe.each(BUSES)('behind %s', (bus) => {
  test('2.2.2: what is offered is what the card has, and words without an end read 0', () => {
    const { driver, device } = makeBench(bus, { queuePairs: 2, mtu: 1500 });
    expect(offeredBy(driver)).toBe(device.offered);
    for (const word of [4, 5, 31, 32, 0x7fff_ffff, 0xffff_ffff]) {
      expect(driver.offeredWord(word)).toBe(0);
    }
  });

  test('2.2.2: every subset that has what it needs is accepted', async () => {
    const { driver, device } = makeBench(bus, { queuePairs: 2, mtu: 1500 });
    const bits = Array.from({ length: 128 }, (_, n) => n).filter((n) => has(device.offered, n));
    let accepted = 0;
    for (let i = 0; i < 100; i++) {
      // A third of the bits, another one each time.
      const chosen = bits.filter((n) => (n * 7 + i * 13 + ((i * n) % 11)) % 3 === 0);
      const features = chosen.reduce((sum, n) => sum | bit(n), bit(VERSION_1));
      const valid = unmet(features).length === 0 && (!has(features, 21) || has(features, 16));
      expect(await negotiate(driver, features)).toBe(valid);
      if (valid) accepted++;
    }
    expect(accepted).toBeGreaterThan(5);
    expect(accepted).toBeLessThan(95);
  });

  test('2.2.2: each feature alone without what it needs is refused', async () => {
    const { driver, device } = makeBench(bus, { queuePairs: 2 });
    const offered = NEEDS.filter(([one]) => has(device.offered, one));
    expect(offered.length).toBeGreaterThan(4);
    for (const [one] of offered) {
      expect(await negotiate(driver, bit(VERSION_1) | bit(one))).toBe(false);
    }
  });

  test('2.2.2: what was not offered is refused, in any word', async () => {
    const { driver, device } = makeBench(bus);
    for (let number = 0; number < 128; number++) {
      if (has(device.offered, number)) continue;
      expect(await negotiate(driver, bit(VERSION_1) | bit(number))).toBe(false);
    }
  });

  test('2.2.2: what was accepted once is accepted again after a reset', async () => {
    const { driver, device } = makeBench(bus);
    for (let i = 0; i < 3; i++) expect(await negotiate(driver, device.offered)).toBe(true);
  });

  test('2.2.1: what is written before DRIVER or behind FEATURES_OK does not count', async () => {
    const { driver, device } = makeBench(bus);
    driver.takeWord(0, 0xffff_ffff);
    expect(device.driverFeatures).toBe(0n);
    await negotiate(driver, bit(VERSION_1));
    driver.takeWord(0, 1 << 5);
    expect(device.driverFeatures).toBe(bit(VERSION_1));
  });

  test('6.2: VERSION_1 is offered, and a driver that does not take it gets no further', async () => {
    const { driver, device } = makeBench(bus);
    expect(driver.offeredWord(1) & 1).toBe(1);
    expect(await negotiate(driver, device.offered & ~bit(VERSION_1))).toBe(false);
    driver.setStatus(15);
    expect(driver.status).toBe(3);
  });
});
