/** What the registers of a virtio-mmio card do (virtio 1.3 §4.2.2.1). */
import { expect, test } from 'vitest';
import { ControlDriver } from '../support/card-driver.js';
import { makeMmioCard } from '../support/mmio-driver.js';
import { turns } from '../support/pci.js';

const [VRING, CONFIG] = [1, 2] as const;

test('4.2.2.1: the magic number and the version are there in every status', async () => {
  const { driver } = makeMmioCard();
  const look = () => [driver.read('MagicValue'), driver.read('Version'), driver.read('DeviceID')];
  const expected = [0x7472_6976, 2, 1];
  expect(look()).toEqual(expected);
  for (const register of ['MagicValue', 'Version', 'DeviceID', 'VendorID'] as const) {
    driver.write(register, 0);
  }
  await driver.bringUp();
  expect(look()).toEqual(expected);
});

test('4.2.2.1: an event stands in InterruptStatus until it is acknowledged, each alone', async () => {
  const { driver, device, levels } = makeMmioCard();
  await driver.bringUp();
  expect(driver.read('InterruptStatus')).toBe(0);
  device.queues[0]?.call.signal();
  await turns();
  device.setLink(false);
  expect(driver.read('InterruptStatus')).toBe(VRING | CONFIG);
  expect(driver.read('InterruptStatus')).toBe(VRING | CONFIG);
  driver.write('InterruptACK', CONFIG);
  expect(driver.read('InterruptStatus')).toBe(VRING);
  expect(levels).toEqual([true]);
  driver.write('InterruptACK', VRING);
  expect(driver.read('InterruptStatus')).toBe(0);
  expect(levels).toEqual([true, false]);
});

test('4.2.2.1: bits that are no event are never set, whatever is acknowledged', async () => {
  const { driver, device } = makeMmioCard();
  await driver.bringUp();
  for (const bits of [0xffff_ffff, 0xffff_fffc, 0]) {
    driver.write('InterruptACK', bits);
    driver.write('InterruptStatus', bits);
    expect(driver.read('InterruptStatus')).toBe(0);
  }
  device.setLink(false);
  driver.write('InterruptACK', 0xffff_fffc);
  expect(driver.read('InterruptStatus')).toBe(CONFIG);
});

test('4.2.2.1: a reset clears InterruptStatus, and QueueReady and QueueReset of every queue', async () => {
  const { driver, device, levels } = makeMmioCard({ queuePairs: 2 });
  await driver.bringUp();
  device.setLink(false);
  driver.write('QueueSel', 1);
  const queueReset = driver.write('QueueReset', 1);
  await driver.reset();
  await queueReset;
  expect(driver.read('InterruptStatus')).toBe(0);
  expect(levels.at(-1)).toBe(false);
  for (let queue = 0; queue < 5; queue++) {
    driver.write('QueueSel', queue);
    expect([driver.read('QueueReady'), driver.read('QueueReset')]).toEqual([0, 0]);
  }
});

test('4.2.2.1: a queue whose QueueReady reads 0 is not touched, though the card runs', async () => {
  const card = makeMmioCard();
  const { driver, backend, memory } = card;
  await driver.takeFeatures();
  await driver.setUpQueue(0);
  await driver.setUpQueue(2, 64);
  driver.write('QueueReady', 0);
  const control = new ControlDriver(card);
  control.ring.add(Uint32Array.of(0x1000, 0, 3, 0x3000, 0, 1), 1, 1);
  control.ring.publish();
  const before = memory.read(0n, 4 << 20);
  await driver.write('Status', 15);
  driver.write('QueueNotify', 2);
  await turns();
  expect(backend.rings.size).toBe(0);
  expect(Buffer.compare(memory.read(0n, 4 << 20), before)).toBe(0);
});

test('4.2.2.1: QueueReset reads 1 while it goes on, then it and QueueReady read 0', async () => {
  const { driver } = makeMmioCard();
  await driver.bringUp();
  driver.write('QueueSel', 1);
  const done = driver.write('QueueReset', 1);
  expect([driver.read('QueueReset'), driver.read('QueueReady')]).toEqual([1, 1]);
  driver.write('QueueSel', 0);
  expect([driver.read('QueueReset'), driver.read('QueueReady')]).toEqual([0, 1]);
  await done;
  driver.write('QueueSel', 1);
  expect([driver.read('QueueReset'), driver.read('QueueReady')]).toEqual([0, 0]);
});

test('4.2.2.1: QueueReset reads 0 behind QueueReady', async () => {
  const { driver } = makeMmioCard();
  await driver.bringUp();
  driver.write('QueueSel', 0);
  await driver.write('QueueReset', 1);
  await driver.setUpQueue(0);
  expect([driver.read('QueueReset'), driver.read('QueueReady')]).toEqual([0, 1]);
});

test('4.2.2.2: registers that a driver only writes read 0', async () => {
  const { driver } = makeMmioCard();
  await driver.bringUp();
  const writeOnly = [
    'DeviceFeaturesSel',
    'DriverFeatures',
    'DriverFeaturesSel',
    'QueueSel',
  ] as const;
  const more = ['QueueSize', 'QueueNotify', 'InterruptACK', 'QueueDescLow', 'SHMSel'] as const;
  for (const register of [...writeOnly, ...more]) {
    driver.write(register, 1);
    expect(driver.read(register)).toBe(0);
  }
});
