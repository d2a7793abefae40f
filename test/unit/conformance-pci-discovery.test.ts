/** How a driver finds a card on a PCI bus, and its way about it (virtio 1.3 §4.1.1, §4.1.2, §4.1.4). */
import { expect, test } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { makePci } from '../support/pci.js';
import type { PciDriver } from '../support/pci-driver.js';

holdNothingLeaks();

const [COMMON, NOTIFY, ISR, DEVICE, PCI_CFG, SHARED_MEMORY, VENDOR] = [1, 2, 3, 4, 5, 8, 9];
const BAR_SIZE = 0x8_0000;

/** Every capability: where it is and its identity, in the order of the list. */
function capabilities(driver: PciDriver): [at: number, id: number][] {
  const found: [number, number][] = [];
  for (let at = driver.config(0x34, 1); at !== 0; at = driver.config(at + 1, 1)) {
    if (found.length > 48) throw new Error('the list has no end');
    found.push([at, driver.config(at, 1)]);
  }
  return found;
}

const typesOf = (driver: PciDriver) =>
  capabilities(driver).flatMap(([at, id]) => (id === 9 ? [driver.config(at + 3, 1)] : []));

test('4.1.1: the header is that of an ordinary function, and its list of capabilities ends', () => {
  const { driver } = makePci();
  expect(driver.config(0x0e, 1) & 0x7f).toBe(0);
  expect(driver.config(0x06, 2) & 0x10).toBe(0x10);
  const list = capabilities(driver);
  expect(list.length).toBe(6);
  for (const [at] of list) {
    expect(at).toBeGreaterThanOrEqual(0x40);
    expect(at % 4).toBe(0);
  }
  expect(new Set(list.map(([at]) => at)).size).toBe(list.length);
});

test('4.1.2.1: it is a modern network card, which no legacy driver takes for its own', () => {
  const { driver } = makePci();
  expect(driver.config(0x00, 2)).toBe(0x1af4);
  expect(driver.config(0x02, 2)).toBe(0x1040 + 1);
  expect(driver.config(0x08, 1)).toBeGreaterThanOrEqual(1);
  expect(driver.config(0x2e, 2)).toBeGreaterThanOrEqual(0x40);
  expect(driver.config(0x0b, 1)).toBe(2);
});

test('4.1.4.2: a capability says its length, with what belongs to its type', () => {
  const { driver } = makePci();
  const lengths = new Map([
    [COMMON, 16],
    [NOTIFY, 20],
    [ISR, 16],
    [DEVICE, 16],
    [PCI_CFG, 20],
  ]);
  for (const [type, { at }] of driver.capabilities) {
    expect(driver.config(at + 2, 1)).toBe(lengths.get(type));
  }
  expect(driver.capabilities.size).toBe(lengths.size);
});

test('4.1.4.3.1: there is a common configuration, at an offset that is aligned, with all its fields', () => {
  const { driver } = makePci();
  const { offset = -1, length = 0, bar } = driver.capabilities.get(COMMON as number) ?? {};
  expect([offset % 4, bar]).toEqual([0, 0]);
  expect(length).toBeGreaterThanOrEqual(60);
});

test.each([1, 2, 8])(
  '4.1.4.4.1: %d queue pairs and their control have room for notifications',
  (pairs) => {
    const { driver, device } = makePci({}, pairs);
    const { at = 0, offset = -1, length = 0 } = driver.capabilities.get(NOTIFY as number) ?? {};
    const multiplier = driver.config(at + 16, 4);
    expect(offset % 2).toBe(0);
    expect([0, 2, 4, 8, 16, 4096]).toContain(multiplier);
    const places = device.queues.map((_, queue) => {
      driver.setCommon(22, 2, queue);
      return driver.common(30, 2) * multiplier;
    });
    expect(new Set(places).size).toBe(2 * pairs + 1);
    for (const place of places) expect(place + 2).toBeLessThanOrEqual(length);
    expect(offset + length).toBeLessThanOrEqual(BAR_SIZE);
  },
);

test('4.1.4.5.1: there is an ISR status, of one byte at least', () => {
  const { driver } = makePci();
  expect(driver.capabilities.get(ISR as number)?.length).toBeGreaterThanOrEqual(1);
});

test('4.1.4.6.1: the configuration of the card is at an offset that is aligned, and all of it', () => {
  const { driver } = makePci();
  const { offset = -1, length = 0 } = driver.capabilities.get(DEVICE as number) ?? {};
  expect(offset % 4).toBe(0);
  expect(length).toBeGreaterThanOrEqual(17);
});

test('4.1.4.7: there is no shared memory', () => {
  expect(typesOf(makePci().driver)).not.toContain(SHARED_MEMORY);
});

test('4.1.4.8: there is no data of a vendor’s', () => {
  expect(typesOf(makePci().driver)).not.toContain(VENDOR);
});

test('4.1.4: each structure is there once, in a BAR that there is, and none lies on another', () => {
  const { driver } = makePci();
  expect(typesOf(driver).sort()).toEqual([COMMON, NOTIFY, ISR, DEVICE, PCI_CFG]);
  const places = [COMMON, NOTIFY, ISR, DEVICE].map((type) => {
    const { offset = -1, length = 0 } = driver.capabilities.get(type as number) ?? {};
    return [offset, offset + length] as const;
  });
  const msixTable = [driver.tableAt, driver.tableAt + 16 * 4] as const;
  const pending = [driver.pendingAt, driver.pendingAt + 8] as const;
  const sorted = [...places, msixTable, pending].sort(([a], [b]) => a - b);
  for (const [i, [, end]] of sorted.entries()) {
    expect(end).toBeLessThanOrEqual(sorted[i + 1]?.[0] ?? BAR_SIZE);
  }
});

test('4.1.4.9.1: the window of configuration space reads and writes what the BAR has there', async () => {
  const { driver } = makePci();
  const { at = 0 } = driver.capabilities.get(PCI_CFG as number) ?? {};
  const look = (offset: number, length: number) => {
    driver.setConfig(at + 4, 1, 0);
    driver.setConfig(at + 8, 4, offset);
    driver.setConfig(at + 12, 4, length);
  };
  for (const [offset, length] of [
    [0x4000, 4],
    [0x4004, 2],
    [0x4006, 1],
  ] as const) {
    look(offset, length);
    expect(driver.config(at + 16, length)).toBe(driver.bar(offset, length));
  }
  // A whole handshake by the window alone.
  for (const status of [1, 3]) {
    look(20, 1);
    await driver.setConfig(at + 16, 1, status);
  }
  expect(driver.status).toBe(3);
  look(0, 4);
  driver.setConfig(at + 16, 4, 1);
  look(4, 4);
  expect(driver.config(at + 16, 4) & 1).toBe(1);
});

test('4.1.5.1.2.1: the MSI-X table has a vector for each queue and one more, at most 0x800', () => {
  for (const pairs of [1, 2, 4]) {
    const { driver } = makePci({}, pairs);
    expect((driver.config(driver.msix + 2, 2) & 0x7ff) + 1).toBe(2 * pairs + 2);
  }
});
