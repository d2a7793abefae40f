/** Configuration space of a virtio-pci card: what a driver finds there, the BAR, and the way through it. */
import { describe, expect, test, vi } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { makePci } from '../support/pci.js';
import { BAR_AT, bytesOf, type PciDriver } from '../support/pci-driver.js';

holdNothingLeaks();

const SIZE = 512 * 1024;

describe('§4.1.2.1: a driver tells the card', () => {
  test('by its vendor, its device and its revision', () => {
    const { driver } = makePci();
    expect(driver.config(0x00, 4)).toBe(0x1041_1af4);
    expect(driver.config(0x08, 4)).toBe(0x0200_0001);
    expect(driver.config(0x2c, 2)).toBe(0x1af4);
    expect(driver.config(0x2e, 2)).toBeGreaterThanOrEqual(0x40);
  });

  test('and nothing of that can be written', () => {
    const { driver } = makePci();
    const before = Array.from({ length: 64 }, (_, i) => driver.config(4 * i, 4));
    for (const offset of [0x00, 0x08, 0x2c, 0x34, 0x40, 0x44, 0x4c, 0x50]) {
      driver.setConfig(offset, 4, offset === 0x40 ? 0x3fff_ffff : 0xffff_ffff);
    }
    expect(Array.from({ length: 64 }, (_, i) => driver.config(4 * i, 4))).toEqual(before);
  });
});

describe('§4.1.4: the capabilities', () => {
  test('are found by walking, each within the BAR', () => {
    const { driver, device } = makePci();
    expect([...driver.capabilities.keys()].sort()).toEqual([1, 2, 3, 4, 5]);
    expect(driver.config(0x06, 2) & 0x10).toBe(0x10);
    for (const type of [1, 2, 3, 4]) {
      const { bar = -1, offset = -1, length = 0 } = driver.capabilities.get(type) ?? {};
      expect(bar).toBe(0);
      expect(length).toBeGreaterThan(0);
      expect(offset % 4).toBe(0);
      expect(offset + length).toBeLessThanOrEqual(SIZE);
    }
    // §4.1.4.4: the last queue's address is within.
    const notify = driver.capabilities.get(2);
    expect(driver.config((notify?.at ?? 0) + 16, 4)).toBe(4);
    expect(notify?.length).toBe(4 * device.queues.length);
  });

  test('give MSI-X a vector for each queue and one for the configuration', () => {
    const { driver, device } = makePci({}, 2);
    expect((driver.config(driver.msix + 2, 2) & 0x7ff) + 1).toBe(device.queues.length + 1);
    expect([driver.tableAt, driver.pendingAt]).toEqual([0x8000, 0x48000]);
  });

  test('the pin is none, unless somebody takes its level', () => {
    expect(makePci().driver.config(0x3d, 1)).toBe(0);
    expect(makePci({ onIntx: () => {} }).driver.config(0x3d, 1)).toBe(1);
  });
});

describe('the BAR', () => {
  test('tells its size where ones are written, and its kind', () => {
    const { driver } = makePci();
    driver.placeBar(0xffff_ffff_ffff_ffffn);
    const low = driver.config(0x10, 4);
    expect(low & 0xf).toBe(4);
    const mask = (BigInt(driver.config(0x14, 4)) << 32n) | BigInt((low & ~0xf) >>> 0);
    expect(BigInt.asUintN(64, -mask)).toBe(BigInt(SIZE));
    // No other BAR, and no ROM.
    for (const offset of [0x18, 0x1c, 0x20, 0x24, 0x30]) {
      driver.setConfig(offset, 4, 0xffff_ffff);
      expect(driver.config(offset, 4)).toBe(0);
    }
  });

  test('is where it was placed while memory space is on', () => {
    const onBarChange = vi.fn();
    const { driver, transport } = makePci({ onBarChange });
    driver.placeBar(0x12_c000_0000n);
    expect(transport.barAddress).toBeUndefined();
    expect(onBarChange).not.toHaveBeenCalled();
    driver.command(2);
    expect(transport.barAddress).toBe(0x12_c000_0000n);
    driver.command(6);
    driver.command(0);
    driver.placeBar(BAR_AT);
    driver.command(2);
    expect(onBarChange.mock.calls).toEqual([[0x12_c000_0000n], [undefined], [BAR_AT]]);
  });

  test('is nowhere while a driver asks for its size with memory space on', () => {
    const { driver, transport } = makePci();
    driver.command(2);
    expect(transport.barAddress).toBeUndefined();
    driver.placeBar(BAR_AT);
    expect(transport.barAddress).toBe(BAR_AT);
    driver.placeBar(0xffff_ffff_ffff_ffffn);
    expect(transport.barAddress).toBeUndefined();
    driver.placeBar(BAR_AT);
    expect(transport.barAddress).toBe(BAR_AT);
  });

  test('is where the VMM placed it, aligned', () => {
    const { driver, transport } = makePci({ barAddress: BAR_AT });
    expect(driver.config(0x10, 4)).toBe(Number(BAR_AT) + 4);
    driver.command(2);
    expect(transport.barAddress).toBe(BAR_AT);
    expect(() => makePci({ barAddress: BAR_AT + 0x1000n })).toThrow(
      expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }),
    );
  });
});

test('the command register has memory space, bus master and INTx disable', () => {
  const { driver } = makePci();
  driver.command(0xffff);
  expect(driver.config(0x04, 2)).toBe(0x406);
  // The status beside it is read only.
  driver.setConfig(0x04, 4, 0xffff_0000);
  expect(driver.config(0x04, 4)).toBe(0x10_0000);
});

test('what is behind configuration space reads 0', () => {
  const { transport } = makePci();
  transport.writeConfig(0x100, bytesOf(0xffff_ffff, 4));
  expect([...transport.readConfig(0xfe, 4)]).toEqual([0, 0, 0, 0]);
  expect([...transport.readConfig(0x100, 4)]).toEqual([0, 0, 0, 0]);
});

describe('§4.1.4.9: through configuration space', () => {
  function through(driver: PciDriver, offset: number, length: number) {
    const at = driver.capabilities.get(5)?.at ?? 0;
    driver.setConfig(at + 4, 1, 0);
    driver.setConfig(at + 8, 4, offset);
    driver.setConfig(at + 12, 4, length);
    return at + 16;
  }

  test.each([
    [1, 1],
    [2, 2],
    [4, 4],
  ])('%d bytes of the BAR are read', (width) => {
    const { driver } = makePci();
    const data = through(driver, 0x4000, width);
    expect(driver.config(data, width)).toBe(driver.bar(0x4000, width));
    expect(driver.config(data, width)).not.toBe(0);
  });

  test('and written, without memory space on', () => {
    const { driver } = makePci();
    driver.setConfig(through(driver, 22, 2), 2, 1);
    expect(driver.common(22, 2)).toBe(1);
    driver.setConfig(through(driver, 20, 1), 1, 1);
    expect(driver.status).toBe(1);
    driver.setConfig(through(driver, 0, 4), 4, 0x1234_5678);
    expect(driver.common(0, 4)).toBe(0x1234_5678);
  });

  test('a reset waits as it does in the BAR', async () => {
    const { driver, backend } = makePci();
    await driver.bringUp();
    const done = driver.setConfig(through(driver, 20, 1), 1, 0);
    expect(done).toBeInstanceOf(Promise);
    await done;
    expect(backend.running).toBe(false);
  });

  test.each([
    ['a width of 3', 0, 3],
    ['a width of 0', 0, 0],
    ['a width of 8', 0, 8],
    ['a field that is not aligned', 21, 4],
  ])('%s is no access', (_, offset, width) => {
    const { driver } = makePci();
    driver.setConfig(through(driver, offset, width), 4, 0x0101_0101);
    expect(driver.common(0, 4)).toBe(0);
    expect(driver.status).toBe(0);
    expect(driver.config(through(driver, offset, width), 4)).toBe(0x0101_0101);
  });

  test('nor is one of another BAR', () => {
    const { driver } = makePci();
    const data = through(driver, 20, 1);
    driver.setConfig(data - 12, 1, 2);
    driver.setConfig(data, 1, 1);
    expect(driver.status).toBe(0);
  });
});
