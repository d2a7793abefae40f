/** The common configuration of a virtio-pci card, field by field (virtio 1.3 §4.1.4.3). */
import { describe, expect, test } from 'vitest';
import { bit, VIRTIO_F_RING_RESET, VIRTIO_F_VERSION_1 } from '../../lib/uapi/virtio-net.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { makePci } from '../support/pci.js';

holdNothingLeaks();

const RING_RESET = bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_F_RING_RESET);

/** A card whose features are negotiated: its queues may be set up. */
function negotiated(features?: bigint) {
  const pci = makePci();
  expect(pci.driver.negotiate(features)).toBe(0xb);
  return pci;
}

describe('§4.1.4.3: features', () => {
  test('are offered in words, and those that no word has read 0', () => {
    const { driver, device } = makePci();
    expect(driver.features).toBe(device.offered);
    for (const word of [2, 3, 0x8000_0000, 0xffff_ffff]) {
      driver.setCommon(0, 4, word);
      expect(driver.common(0, 4)).toBe(word);
      expect(driver.common(4, 4)).toBe(0);
    }
  });

  test('are taken in words, and read back', () => {
    const { driver, device } = negotiated(RING_RESET);
    expect(device.driverFeatures).toBe(RING_RESET);
    driver.setCommon(8, 4, 1);
    expect(driver.common(12, 4)).toBe(0x101);
    driver.setCommon(8, 4, 0);
    expect(driver.common(12, 4)).toBe(0);
  });

  test('a word of no end is dropped', () => {
    const { driver, device } = makePci();
    driver.setStatus(3);
    driver.setCommon(8, 4, 0xffff_ffff);
    driver.setCommon(12, 4, 0xffff_ffff);
    expect(device.driverFeatures).toBe(0n);
  });

  test('§3.1.1 step 6: FEATURES_OK reads back clear where the driver takes what is not offered', () => {
    expect(makePci().driver.negotiate(bit(VIRTIO_F_VERSION_1) | bit(34))).toBe(3);
  });
});

describe('§4.1.4.3: a queue', () => {
  test('has its size, its address and its number for notifications', () => {
    const { driver, device } = negotiated();
    expect(driver.common(18, 2)).toBe(device.queues.length);
    for (const [index, { maxSize }] of device.queues.entries()) {
      driver.setCommon(22, 2, index);
      expect(driver.common(24, 2)).toBe(maxSize);
      expect(driver.common(30, 2)).toBe(index);
      expect(driver.common(28, 2)).toBe(0);
    }
  });

  test('that does not exist reads size 0, and takes nothing', () => {
    const { driver } = negotiated();
    driver.setCommon(22, 2, 9);
    driver.setUpQueue(9, 1);
    for (const at of [24, 28, 30, 58]) expect(driver.common(at, 2)).toBe(0);
    expect(driver.common(26, 2)).toBe(0xffff);
    for (const at of [32, 40, 48]) expect(driver.common(at, 8)).toBe(0);
  });

  test.each([0, 3, 24, 512, 0xffff])('cannot have %d descriptors', (size) => {
    const { driver } = negotiated();
    driver.setCommon(24, 2, 64);
    driver.setCommon(24, 2, size);
    expect(driver.common(24, 2)).toBe(64);
  });

  test.each([
    ['desc', 32],
    ['avail', 40],
    ['used', 48],
  ] as const)('has its %s at 64 bits, whole or by halves', (part, at) => {
    const { driver, device } = negotiated();
    driver.setCommon(at, 4, 0x8765_4320);
    driver.setCommon(at + 4, 4, 0x12);
    expect(device.queues[0]?.addresses[part]).toBe(0x12_8765_4320n);
    expect(driver.common(at, 8)).toBe(0x12_8765_4320);
    driver.setCommon(at, 8, 0xf_0000_1000n);
    expect([driver.common(at, 4), driver.common(at + 4, 4)]).toEqual([0x1000, 0xf]);
    const others = (['desc', 'avail', 'used'] as const).filter((other) => other !== part);
    for (const other of others) expect(device.queues[0]?.addresses[other]).toBe(0n);
  });

  test('is enabled by 1 and by nothing else, and not disabled', () => {
    const { driver } = negotiated();
    for (const value of [0, 2, 0xffff]) {
      driver.setCommon(28, 2, value);
      expect(driver.common(28, 2)).toBe(0);
    }
    driver.setCommon(28, 2, 1);
    driver.setCommon(28, 2, 0);
    expect(driver.common(28, 2)).toBe(1);
  });

  test('that is enabled stays where it is', () => {
    const { driver } = negotiated();
    driver.setUpQueue(0);
    driver.setCommon(24, 2, 64);
    driver.setCommon(32, 8, 0x5000);
    expect([driver.common(24, 2), driver.common(32, 8)]).toEqual([16, 0x10_000]);
  });

  test('is not set up before FEATURES_OK', () => {
    const { driver } = makePci();
    driver.setUpQueue(0);
    expect([driver.common(24, 2), driver.common(28, 2)]).toEqual([256, 0]);
    expect(driver.common(32, 8)).toBe(0);
  });
});

describe('§4.1.5.1.2: vectors', () => {
  test('are none at first, and read back', () => {
    const { driver } = negotiated();
    for (const at of [16, 26]) {
      expect(driver.common(at, 2)).toBe(0xffff);
      driver.setCommon(at, 2, 3);
      expect(driver.common(at, 2)).toBe(3);
    }
  });

  test('that do not exist read back as none', () => {
    const { driver } = negotiated();
    for (const at of [16, 26]) {
      driver.setCommon(at, 2, 1);
      driver.setCommon(at, 2, 4);
      expect(driver.common(at, 2)).toBe(0xffff);
    }
  });
});

describe('§2.6.1: a queue reset', () => {
  test('waits, reads 1 until it is done, and then the queue is as new', async () => {
    const { driver, backend } = makePci();
    await driver.bringUp(RING_RESET);
    driver.setCommon(22, 2, 1);
    const done = driver.setCommon(58, 2, 1);
    expect(driver.common(58, 2)).toBe(1);
    await done;
    expect(backend.asked.at(-1)).toBe('stopRing 1');
    expect([58, 28, 24, 26].map((at) => driver.common(at, 2))).toEqual([0, 0, 256, 0xffff]);
    await driver.setUpQueue(1, 2);
    expect(backend.asked.at(-1)).toBe('startRing 1');
    expect([28, 26].map((at) => driver.common(at, 2))).toEqual([1, 2]);
  });

  test('holds who enables the queue until it is done, which is dropped', async () => {
    const { driver, backend } = makePci();
    await driver.bringUp(RING_RESET);
    driver.setCommon(22, 2, 1);
    void driver.setCommon(58, 2, 1);
    const enabled = driver.setCommon(28, 2, 1);
    expect(enabled).toBeInstanceOf(Promise);
    await enabled;
    expect([58, 28].map((at) => driver.common(at, 2))).toEqual([0, 0]);
    expect(backend.asked.filter((what) => what.startsWith('startRing'))).toEqual([]);
  });

  test('is dropped without RING_RESET, and for anything but 1', async () => {
    const { driver, backend } = makePci();
    await driver.bringUp();
    driver.setCommon(22, 2, 0);
    expect(driver.setCommon(58, 2, 1)).toBeUndefined();
    await driver.bringUp(RING_RESET);
    driver.setCommon(22, 2, 0);
    expect(driver.setCommon(58, 2, 0)).toBeUndefined();
    expect(driver.common(28, 2)).toBe(1);
    expect(backend.asked.filter((what) => what.startsWith('stopRing'))).toEqual([]);
  });
});

test('§4.1.3.1: other widths than a field’s own read 0 and are dropped', () => {
  const { driver, transport, device } = negotiated();
  driver.setCommon(22, 2, 1);
  const whole = [...transport.readBar(0, 64)];
  expect(whole.every((byte) => byte === 0)).toBe(true);
  for (const [at, width] of [
    [18, 1],
    [18, 4],
    [20, 2],
    [4, 2],
    [34, 2],
    [32, 2],
    [36, 8],
    [19, 17],
  ] as const) {
    expect(driver.common(at, width)).toBe(0);
    driver.setCommon(at, width, 0);
  }
  expect(device.status).toBe(0xb);
  expect(driver.common(22, 2)).toBe(1);
});

test('§4.1.4.3.1: config_generation changes with the configuration', () => {
  const { driver, device } = makePci();
  const before = driver.common(21, 1);
  device.setLink(false);
  expect(driver.common(21, 1)).not.toBe(before);
});

test('§4.1.4.3.1: a reset takes back what the driver selected', async () => {
  const { driver } = makePci();
  await driver.bringUp();
  for (const at of [0, 8]) driver.setCommon(at, 4, 1);
  await driver.setStatus(0);
  expect([driver.common(0, 4), driver.common(8, 4), driver.common(22, 2)]).toEqual([0, 0, 0]);
  for (const at of [16, 26]) expect(driver.common(at, 2)).toBe(0xffff);
});
