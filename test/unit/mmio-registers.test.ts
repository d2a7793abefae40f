/** What the registers of virtio-mmio read, and which accesses mean anything (virtio 1.3 §4.2.2). */
import { describe, expect, test } from 'vitest';
import { bit } from '../../lib/uapi/virtio-net.js';
import { makeMmioCard, number, REG, type Register, word } from '../support/mmio-driver.js';

const ALL_ONES = 0xffff_ffff;

describe('§4.2.2 identity', () => {
  test('a card says what it is', () => {
    const { transport, driver } = makeMmioCard();
    expect(Buffer.from(transport.read(REG.MagicValue, 4)).toString()).toBe('virt');
    expect(driver.read('Version')).toBe(2);
    expect(driver.read('DeviceID')).toBe(1);
    expect(Buffer.from(transport.read(REG.VendorID, 4)).toString()).toBe('VHNT');
  });

  test('there is no shared memory: length and base are all ones, whichever is selected', () => {
    const { driver } = makeMmioCard();
    for (const selected of [0, 1, ALL_ONES]) {
      driver.write('SHMSel', selected);
      const registers = ['SHMLenLow', 'SHMLenHigh', 'SHMBaseLow', 'SHMBaseHigh'] as const;
      expect(registers.map((register) => driver.read(register))).toEqual(Array(4).fill(ALL_ONES));
    }
  });

  test.each<Register>([
    'DeviceFeaturesSel',
    'DriverFeatures',
    'DriverFeaturesSel',
    'QueueSel',
    'QueueSize',
    'QueueNotify',
    'InterruptACK',
    'QueueDescLow',
    'QueueDeviceHigh',
    'SHMSel',
  ])('%s is for writing: it reads 0', (register) => {
    const { driver } = makeMmioCard();
    driver.write(register, 1);
    expect(driver.read(register)).toBe(0);
  });

  test.each<Register>(['MagicValue', 'Version', 'QueueSizeMax', 'ConfigGeneration', 'SHMLenLow'])(
    '%s is for reading: it does not change',
    (register) => {
      const { driver } = makeMmioCard();
      const before = driver.read(register);
      expect(driver.write(register, 0x1234)).toBeUndefined();
      expect(driver.read(register)).toBe(before);
    },
  );
});

describe('§4.2.2.2 the driver uses aligned accesses of 32 bits', () => {
  test.each([
    [0x000, 1],
    [0x000, 2],
    [0x000, 8],
    [0x001, 4],
    [0x002, 4],
    [0x0fe, 4],
    [0x040, 4],
    [0x0f8, 4],
    [0x000, 3],
    [0x000, 0],
    [-4, 4],
    [Number.NaN, 4],
    [0.5, 4],
  ])('a read at %d of %d bytes gives zeroes', (offset, length) => {
    const { transport } = makeMmioCard();
    expect(transport.read(offset, length)).toEqual(new Uint8Array(length));
  });

  test.each([1, 2, 3, 5, 8])('a write of %d bytes is dropped', (length) => {
    const { transport, device } = makeMmioCard();
    expect(transport.write(REG.Status, new Uint8Array(length).fill(1))).toBeUndefined();
    expect(transport.write(REG.Status + 1, word(1))).toBeUndefined();
    expect(device.status).toBe(0);
  });

  test('a write takes bytes from wherever they lie in their buffer', () => {
    const { transport, device } = makeMmioCard();
    transport.write(REG.Status, Uint8Array.of(9, 9, 9, 1, 0, 0, 0, 9).subarray(3, 7));
    expect(device.status).toBe(1);
  });
});

describe('§4.2.2 features through a window', () => {
  test('what is offered is read word by word, and 0 beyond the last', () => {
    const { driver, device } = makeMmioCard();
    expect(driver.offered()).toBe(device.offered);
    for (const selected of [4, 5, 0x8000_0000, ALL_ONES]) {
      driver.write('DeviceFeaturesSel', selected);
      expect(driver.read('DeviceFeatures')).toBe(0);
    }
  });

  test('the two selectors are two', () => {
    const { driver, device } = makeMmioCard();
    driver.write('Status', 1);
    driver.write('Status', 3);
    driver.write('DeviceFeaturesSel', 0);
    driver.write('DriverFeaturesSel', 1);
    driver.write('DriverFeatures', 1);
    expect(device.driverFeatures).toBe(bit(32));
    driver.write('DeviceFeaturesSel', 1);
    driver.write('DriverFeatures', 0);
    expect(device.driverFeatures).toBe(0n);
    expect(driver.read('DeviceFeatures')).toBe(Number(device.offered >> 32n));
  });

  test.each([4, 0x8000_0000, ALL_ONES])('what is written to word %d is dropped', (selected) => {
    const { driver, device } = makeMmioCard();
    driver.write('Status', 3);
    driver.write('DriverFeaturesSel', selected);
    driver.write('DriverFeatures', ALL_ONES);
    expect(device.driverFeatures).toBe(0n);
    driver.write('DriverFeaturesSel', 3);
    driver.write('DriverFeatures', 0x8000_0000);
    expect(device.driverFeatures).toBe(bit(127));
  });
});

describe('§5.1.4 the configuration from 0x100 on', () => {
  test('is read in bytes, in 16, 32 and 64 bits', () => {
    const { transport } = makeMmioCard({ queuePairs: 3, mtu: 1400, speed: 10_000 });
    const mac = [0, 1, 2, 3, 4, 5].map((i) => transport.read(REG.Config + i, 1)[0]);
    expect(mac).toEqual([2, 0, 0, 0, 0, 1]);
    expect(number(transport.read(REG.Config + 6, 2))).toBe(1);
    expect(number(transport.read(REG.Config + 8, 2))).toBe(3);
    expect(number(transport.read(REG.Config + 10, 2))).toBe(1400);
    expect(number(transport.read(REG.Config + 12, 4))).toBe(10_000);
    expect(Buffer.from(transport.read(REG.Config, 8)).toString('hex')).toBe('0200000000010100');
  });

  test('is zeroes behind its end, to wherever', () => {
    const { transport } = makeMmioCard();
    expect(transport.read(REG.Config + 16, 4)).toEqual(Uint8Array.of(0xff, 0, 0, 0));
    for (const offset of [0x111, 0x200, 0xfff, 2 ** 40, Number.POSITIVE_INFINITY]) {
      expect(transport.read(offset, 8)).toEqual(new Uint8Array(8));
    }
  });

  test('is not written by a driver of VERSION_1', () => {
    const { transport } = makeMmioCard();
    expect(transport.write(REG.Config, word(ALL_ONES))).toBeUndefined();
    expect(transport.read(REG.Config, 4)).toEqual(Uint8Array.of(2, 0, 0, 0));
  });

  test('§4.2.2.1 ConfigGeneration changes with it', () => {
    const { device, driver } = makeMmioCard();
    const before = driver.read('ConfigGeneration');
    device.setLink(false);
    expect(driver.read('ConfigGeneration')).not.toBe(before);
  });
});

describe('a transport without a card', () => {
  test.each(['transport', 'device'] as const)('closed by its %s reads zeroes', async (which) => {
    const card = makeMmioCard();
    const { transport, driver, backend } = card;
    await driver.bringUp();
    await card[which].close();
    for (const offset of [REG.MagicValue, REG.Status, REG.Config]) {
      expect(transport.read(offset, 4)).toEqual(new Uint8Array(4));
    }
    const before = [...backend.asked];
    for (const value of [0, 1, 3, 11, 15, 0]) expect(driver.write('Status', value)).toBeUndefined();
    driver.write('QueueReady', 1);
    driver.write('QueueNotify', 0);
    expect(transport.reset()).toBeUndefined();
    expect(backend.asked).toEqual(before);
  });
});
