/** What the registers of a virtio-pci card do (virtio 1.3 §4.1.3 to §4.1.5). */
import { expect, test, vi } from 'vitest';
import { bit } from '../../lib/uapi/virtio-net.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { FakeMsi, makePci, turns } from '../support/pci.js';
import { RINGS_AT } from '../support/pci-driver.js';

holdNothingLeaks();

const NO_VECTOR = 0xffff;
const RING_RESET = bit(32) | bit(40);
/** The `data` of the messages of vector 0 and on. */
const DATA = 0x40;

async function running() {
  const msi = new FakeMsi();
  const onIntx = vi.fn();
  const pci = makePci({ msi, onIntx }, 2);
  await pci.driver.bringUp(RING_RESET);
  return { ...pci, msi, onIntx };
}

test('4.1.3.2: both halves of a field of 64 bits are accessed alone', () => {
  const { driver, device } = makePci();
  driver.negotiate();
  for (const [offset, part] of [
    [32, 'desc'],
    [40, 'avail'],
    [48, 'used'],
  ] as const) {
    driver.setCommon(offset + 4, 4, 0x1234);
    driver.setCommon(offset, 4, 0x5678_9ab0);
    expect(device.queues[0]?.addresses[part]).toBe(0x1234_5678_9ab0n);
    expect([driver.common(offset, 4), driver.common(offset + 4, 4)]).toEqual([0x5678_9ab0, 0x1234]);
    driver.setCommon(offset, 4, 0x10);
    expect(driver.common(offset + 4, 4)).toBe(0x1234);
  }
});

test('4.1.4.3.1: what the driver takes reads back, word by word', () => {
  const { driver } = makePci();
  driver.negotiate(RING_RESET | bit(5));
  const words = [0, 1, 2].map((word) => {
    driver.setCommon(8, 4, word);
    return driver.common(12, 4);
  });
  expect(words).toEqual([1 << 5, (1 << 8) | 1, 0]);
});

test('4.1.4.3.1: a queue that is not there has size 0, all others powers of two', () => {
  const { driver } = makePci({}, 2);
  const sizes = Array.from({ length: 8 }, (_, queue) => {
    driver.setCommon(22, 2, queue);
    return driver.common(24, 2);
  });
  expect(sizes).toEqual([256, 256, 256, 256, 64, 0, 0, 0]);
  expect(driver.common(18, 2)).toBe(5);
});

test('4.1.4.3.1: a reset has queue_enable and queue_reset of every queue read 0', async () => {
  const { driver } = await running();
  driver.setCommon(22, 2, 1);
  const reset = driver.setCommon(58, 2, 1);
  await driver.setStatus(0);
  await reset;
  for (let queue = 0; queue < 5; queue++) {
    driver.setCommon(22, 2, queue);
    expect([driver.common(28, 2), driver.common(58, 2)]).toEqual([0, 0]);
  }
});

test('4.1.4.3.1: queue_reset reads 1 while it goes on, then it and queue_enable read 0', async () => {
  const { driver } = await running();
  driver.setCommon(22, 2, 0);
  const done = driver.setCommon(58, 2, 1);
  expect([driver.common(28, 2), driver.common(58, 2)]).toEqual([1, 1]);
  driver.setCommon(22, 2, 1);
  expect(driver.common(58, 2)).toBe(0);
  await done;
  driver.setCommon(22, 2, 0);
  expect([driver.common(28, 2), driver.common(58, 2)]).toEqual([0, 0]);
});

test('4.1.4.3.1: queue_reset reads 0 behind queue_enable', async () => {
  const { driver } = await running();
  driver.setCommon(22, 2, 0);
  await driver.setCommon(58, 2, 1);
  await driver.setUpQueue(0, 1);
  expect([driver.common(28, 2), driver.common(58, 2)]).toEqual([1, 0]);
  expect(driver.common(32, 8)).toBe(RINGS_AT);
});

test('4.1.4.5.1: with MSI-X too a changed configuration sets its bit before the message', async () => {
  const { driver, device, msi } = await running();
  device.setLink(false);
  expect(driver.bar(driver.structure(3), 1)).toBe(2);
  expect(msi.poll()).toEqual([DATA]);
  expect(driver.bar(driver.structure(3), 1)).toBe(0);
});

test('4.1.4.5.1: the interrupt bit of the PCI status is that any bit of the ISR status is set', async () => {
  const { driver, device, onIntx } = await running();
  driver.msixControl(0);
  const raised = () => (driver.config(0x06, 2) & 8) !== 0;
  expect(raised()).toBe(false);
  device.queues[3]?.call.signal();
  await turns();
  device.setLink(false);
  expect([raised(), onIntx.mock.calls]).toEqual([true, [[true]]]);
  expect(driver.bar(driver.structure(3), 1)).toBe(3);
  expect([raised(), onIntx.mock.calls]).toEqual([false, [[true], [false]]]);
});

test('4.1.5.1.2.1: every event can have every vector, several the same, and none', async () => {
  const { driver } = await running();
  const vectors = (driver.config(driver.msix + 2, 2) & 0x7ff) + 1;
  for (const vector of [...Array(vectors).keys(), NO_VECTOR]) {
    driver.setCommon(16, 2, vector);
    expect(driver.common(16, 2)).toBe(vector);
    for (let queue = 0; queue < 5; queue++) {
      driver.setCommon(22, 2, queue);
      driver.setCommon(26, 2, vector);
      expect(driver.common(26, 2)).toBe(vector);
    }
  }
});

test('4.1.5.1.2.1: a vector that is not there reads back as none', async () => {
  const { driver } = await running();
  for (const vector of [6, 0x7ff, 0x800, 0xfffe]) {
    driver.setCommon(16, 2, vector);
    expect(driver.common(16, 2)).toBe(NO_VECTOR);
    driver.setCommon(22, 2, 0);
    driver.setCommon(26, 2, vector);
    expect(driver.common(26, 2)).toBe(NO_VECTOR);
  }
});

test('4.1.5.1.2.1: after a reset no event has a vector', async () => {
  const { driver } = await running();
  await driver.setStatus(0);
  expect(driver.common(16, 2)).toBe(NO_VECTOR);
  for (let queue = 0; queue < 5; queue++) {
    driver.setCommon(22, 2, queue);
    expect(driver.common(26, 2)).toBe(NO_VECTOR);
  }
});

test('4.1.5.3.1: a queue without a vector interrupts nobody, by no other way either', async () => {
  const { driver, device, msi, onIntx } = await running();
  driver.setCommon(22, 2, 1);
  driver.setCommon(26, 2, NO_VECTOR);
  for (const { call } of device.queues) call.signal();
  await turns();
  expect(msi.poll().sort()).toEqual([DATA + 1, DATA + 3, DATA + 4, DATA + 5]);
  expect(onIntx).not.toHaveBeenCalled();
});

test('4.1.5.4.1: a configuration without a vector interrupts nobody', async () => {
  const { driver, device, msi, onIntx } = await running();
  driver.setCommon(16, 2, NO_VECTOR);
  device.setLink(false);
  await turns();
  expect(msi.poll()).toEqual([]);
  expect(onIntx).not.toHaveBeenCalled();
});
