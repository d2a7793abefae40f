/** A driver brings a card up through virtio-mmio, resets it, and does what no driver should (virtio 1.3 §4.2.3). */
import { describe, expect, test } from 'vitest';
import { bit } from '../../lib/uapi/virtio-net.js';
import { NEEDS_RESET } from '../support/card-driver.js';
import { makeMmioCard, type Register } from '../support/mmio-driver.js';

const ALL = 15;
const VERSION_1 = bit(32);
const RING_RESET = bit(40);
const WITHOUT_RING_RESET = ~RING_RESET;

describe('§3.1.1 and §4.2.3.1 bring-up', () => {
  test('hands the rings over as the driver laid them out, with DRIVER_OK', async () => {
    const { driver, device, backend, memory } = makeMmioCard();
    await driver.takeFeatures(VERSION_1 | bit(15));
    await driver.setUpQueue(0, 32);
    await driver.setUpQueue(1, 16);
    expect(backend.asked).toEqual([]);
    const started = driver.write('Status', ALL);
    expect(started).toBeInstanceOf(Promise);
    expect(backend.asked).toEqual([]);
    await started;
    expect(backend.asked).toEqual(['start 0']);
    expect(backend.config).toMatchObject({ memory, features: VERSION_1 | bit(15) });
    expect(backend.rings.get(0)).toMatchObject({
      size: 32,
      addresses: { desc: 0x10_0000n, avail: 0x10_0200n, used: 0x10_0280n },
      kick: device.queues[0]?.kick,
      call: device.queues[0]?.call,
    });
    expect(backend.rings.get(1)).toMatchObject({ size: 16 });
    expect(driver.read('Status')).toBe(ALL);
  });

  test('holds no vCPU for a step that is done at once', () => {
    const { driver } = makeMmioCard();
    const steps: [Register, number][] = [
      ['Status', 0],
      ['Status', 1],
      ['Status', 3],
      ['QueueSel', 1],
      ['QueueSize', 8],
      ['QueueReady', 1],
      ['QueueReady', 0],
      ['Status', 0],
    ];
    for (const [register, value] of steps) {
      expect(driver.write(register, value)).toBeUndefined();
    }
  });

  test('§2.2.2 FEATURES_OK reads back 0 where features were refused', async () => {
    const { driver } = makeMmioCard();
    await expect(driver.takeFeatures(bit(15))).rejects.toThrow('features refused');
    expect(driver.read('Status')).toBe(3);
  });

  test('§2.1.2 a backend that fails shows as NEEDS_RESET', async () => {
    const { driver, backend } = makeMmioCard();
    backend.failWith = new Error('no worker');
    await driver.bringUp();
    expect(driver.read('Status')).toBe(ALL | NEEDS_RESET);
    await driver.bringUp();
    expect(driver.read('Status')).toBe(ALL);
  });
});

describe('§4.2.3.2 queue configuration', () => {
  test('every queue says its size, and one that is not there 0', () => {
    const { driver } = makeMmioCard({ queuePairs: 2, queueSize: 512 });
    const sizes = [0, 1, 2, 3, 4, 5, 6, 0xffff_ffff].map((index) => {
      driver.write('QueueSel', index);
      return driver.read('QueueSizeMax');
    });
    expect(sizes).toEqual([512, 512, 512, 512, 64, 0, 0, 0]);
  });

  test.each([0, 3, 24, 512, 0x100_0000, 0x8000_0000, 0xffff_ffff])(
    'a size of %d is dropped',
    (size) => {
      const { driver, device } = makeMmioCard();
      driver.write('QueueSize', 128);
      driver.write('QueueSize', size);
      expect(device.queues[0]?.size).toBe(128);
    },
  );

  test.each([1, 2, 64, 256])('a size of %d is taken', (size) => {
    const { driver, device } = makeMmioCard();
    driver.write('QueueSize', size);
    expect(device.queues[0]?.size).toBe(size);
  });

  test('addresses are put together from their halves, in either order', () => {
    const { driver, device } = makeMmioCard();
    driver.write('QueueSel', 1);
    driver.write('QueueDescLow', 0xffff_fff0);
    driver.write('QueueDescHigh', 0x8000_0001);
    driver.write('QueueDriverHigh', 0x2);
    driver.write('QueueDriverLow', 0x8000_0002);
    driver.write('QueueDeviceLow', 0x1234);
    driver.write('QueueDeviceHigh', 0x3);
    driver.write('QueueDeviceLow', 0x4);
    expect(device.queues[1]?.addresses).toEqual({
      desc: 0x8000_0001_ffff_fff0n,
      avail: 0x2_8000_0002n,
      used: 0x3_0000_0004n,
    });
    expect(device.queues[0]?.addresses).toEqual({ desc: 0n, avail: 0n, used: 0n });
  });

  test('§4.2.2.2 registers of an enabled queue are not changed', async () => {
    const { driver, device } = makeMmioCard();
    await driver.takeFeatures();
    await driver.setUpQueue(0, 64);
    const { size, addresses } = { ...device.queues[0] };
    for (const register of ['QueueSize', 'QueueDescLow', 'QueueDeviceHigh'] as const) {
      driver.write(register, 16);
    }
    expect(device.queues[0]).toMatchObject({ size, addresses });
    driver.write('QueueReady', 0);
    driver.write('QueueSize', 16);
    expect(device.queues[0]).toMatchObject({ size: 16, addresses });
  });

  test('QueueReady 0 before DRIVER_OK takes the queue back, and what is neither 0 nor 1 is dropped', async () => {
    const { driver, device } = makeMmioCard();
    await driver.takeFeatures();
    await driver.setUpQueue(0);
    for (const value of [2, 0x8000_0000, 0xffff_fffe]) driver.write('QueueReady', value);
    expect(driver.read('QueueReady')).toBe(1);
    driver.write('QueueReady', 0);
    expect(driver.read('QueueReady')).toBe(0);
    driver.write('QueueReady', 3);
    expect(device.queues[0]?.enabled).toBe(false);
  });

  test('writes to a queue that is not there change none that is', async () => {
    const { driver, device } = makeMmioCard();
    driver.write('QueueSel', 77);
    for (const register of ['QueueSize', 'QueueReady', 'QueueDescLow', 'QueueReset'] as const) {
      expect(driver.write(register, 1)).toBeUndefined();
    }
    expect([driver.read('QueueReady'), driver.read('QueueReset')]).toEqual([0, 0]);
    expect(device.queues.some(({ enabled, size }) => enabled || size === 1)).toBe(false);
  });
});

describe('§4.2.3.3 notifications', () => {
  test('a write of QueueNotify signals the kick of that queue, and no other', async () => {
    const { driver, device } = makeMmioCard();
    await driver.bringUp(VERSION_1);
    for (const index of [1, 1, 3, 0x1_0001, 0xffff_ffff]) {
      expect(driver.write('QueueNotify', index)).toBeUndefined();
    }
    expect(device.queues.map(({ kick }) => kick.read())).toEqual([0, 2, 0]);
  });
});

describe('§2.4 and §4.2.2.1 a reset', () => {
  test('reads as done when it is, holds every vCPU till then, and clears all', async () => {
    const { driver, device, backend, levels } = makeMmioCard();
    await driver.bringUp();
    driver.write('QueueSel', 1);
    driver.write('DeviceFeaturesSel', 1);
    device.setLink(false);
    expect(levels).toEqual([true]);
    const done = driver.write('Status', 0);
    expect(driver.read('Status')).toBe(ALL);
    // Another vCPU, meanwhile.
    expect(driver.write('QueueReady', 1)).toBe(done);
    expect(driver.write('Status', 0)).toBe(done);
    await done;
    expect(backend.asked).toEqual(['start 0', 'stop']);
    expect(levels).toEqual([true, false]);
    expect([driver.read('Status'), driver.read('InterruptStatus')]).toEqual([0, 0]);
    expect(driver.read('QueueSizeMax')).toBe(256);
    expect(driver.read('DeviceFeatures')).toBe(Number(device.offered & 0xffff_ffffn));
    for (const index of device.queues.keys()) {
      driver.write('QueueSel', index);
      expect(driver.read('QueueReady')).toBe(0);
    }
    await driver.bringUp();
    expect(backend.asked).toEqual(['start 0', 'stop', 'start 0']);
  });

  test('in status 0 takes back queues that were enabled too early', () => {
    const { driver } = makeMmioCard();
    driver.write('QueueReady', 1);
    expect(driver.read('QueueReady')).toBe(1);
    expect(driver.write('Status', 0)).toBeUndefined();
    expect(driver.read('QueueReady')).toBe(0);
  });

  test('by the VMM is the same', async () => {
    const { driver, transport } = makeMmioCard();
    await driver.bringUp();
    driver.write('QueueSel', 2);
    await transport.reset();
    expect([driver.read('Status'), driver.read('QueueSizeMax')]).toEqual([0, 256]);
  });

  test('that fails says so, and another one mends it', async () => {
    const { driver, backend } = makeMmioCard();
    await driver.bringUp();
    backend.failWith = new Error('stuck');
    await driver.write('Status', 0);
    expect(driver.read('Status')).toBe(ALL | NEEDS_RESET);
    expect(driver.read('InterruptStatus')).toBe(2);
    await driver.bringUp();
    expect(driver.read('Status')).toBe(ALL);
  });
});

describe('§2.6.1 and §4.2.2.1 the reset of one queue', () => {
  test('reads 1 while it is under way, then QueueReset and QueueReady read 0', async () => {
    const { driver, backend } = makeMmioCard();
    await driver.bringUp();
    driver.write('QueueSel', 1);
    const done = driver.write('QueueReset', 1);
    expect([driver.read('QueueReset'), driver.read('QueueReady')]).toEqual([1, 1]);
    // What is written meanwhile would be lost: the vCPU waits as well.
    expect(driver.write('QueueReady', 1)).toBe(done);
    expect(driver.write('QueueReset', 1)).toBe(done);
    driver.write('QueueSel', 0);
    expect(driver.read('QueueReset')).toBe(0);
    await done;
    driver.write('QueueSel', 1);
    expect([driver.read('QueueReset'), driver.read('QueueReady')]).toEqual([0, 0]);
    expect(backend.asked).toEqual(['start 0', 'stopRing 1']);
    await driver.setUpQueue(1, 8);
    expect(backend.asked).toEqual(['start 0', 'stopRing 1', 'startRing 1']);
    expect(backend.rings.get(1)).toMatchObject({ size: 8 });
    expect(driver.read('QueueReset')).toBe(0);
  });

  test('is what QueueReady 0 means while the card runs', async () => {
    const { driver, backend } = makeMmioCard();
    await driver.bringUp();
    driver.write('QueueSel', 1);
    await driver.write('QueueReady', 0);
    expect(driver.read('QueueReady')).toBe(0);
    expect(backend.asked).toEqual(['start 0', 'stopRing 1']);
  });

  test('is not done where RING_RESET was not negotiated: the queue goes on', async () => {
    const { driver, backend } = makeMmioCard();
    await driver.bringUp(WITHOUT_RING_RESET);
    driver.write('QueueSel', 1);
    expect(driver.write('QueueReset', 1)).toBeUndefined();
    expect(driver.write('QueueReady', 0)).toBeUndefined();
    expect([driver.read('QueueReset'), driver.read('QueueReady')]).toEqual([0, 1]);
    expect(backend.asked).toEqual(['start 0']);
  });

  test('is for a written 1 only', async () => {
    const { driver, backend } = makeMmioCard();
    await driver.bringUp();
    driver.write('QueueSel', 0);
    for (const value of [0, 2, 0xffff_ffff]) {
      expect(driver.write('QueueReset', value)).toBeUndefined();
    }
    expect(driver.read('QueueReady')).toBe(1);
    expect(backend.asked).toEqual(['start 0']);
  });

  test('under way ends with a reset of the card', async () => {
    const { driver, backend } = makeMmioCard();
    await driver.bringUp();
    driver.write('QueueSel', 0);
    driver.write('QueueReset', 1);
    await driver.write('Status', 0);
    expect(backend.asked).toEqual(['start 0', 'stopRing 0', 'stop']);
    expect([driver.read('QueueReset'), driver.read('Status')]).toEqual([0, 0]);
  });
});
