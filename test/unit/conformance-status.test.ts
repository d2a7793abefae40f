/** Status and reset (virtio 1.3 §2.1, §2.4), by the registers of both transports. */
import { describe, expect, test } from 'vitest';
import { ControlDriver, NEEDS_RESET } from '../support/card-driver.js';
import {
  type Bench,
  BUSES,
  bringUp,
  makeBench,
  negotiate,
  setUpQueue,
} from '../support/conforming-driver.js';

const NONE = { queue: false, config: false };

/** Offers a command that the card answers once it serves its control queue. */
function offerCommand({ driver, device }: Bench, { ring }: ControlDriver): void {
  ring.add(Uint32Array.of(0x1000, 0, 3, 0x3000, 0, 1), 1, 1);
  ring.enableCalls();
  ring.publish();
  driver.notify(device.queues.length - 1);
}

describe.each(BUSES)('behind %s', (bus) => {
  test('2.1.2: before DRIVER_OK no buffer is consumed and nobody is interrupted', async () => {
    const bench = makeBench(bus);
    const { driver, device, backend } = bench;
    const control = new ControlDriver(bench);
    await negotiate(driver, device.offered);
    for (const queue of device.queues.keys()) setUpQueue(driver, queue);
    offerCommand(bench, control);
    driver.notify(0);
    expect(await driver.interrupts()).toEqual(NONE);
    expect(control.ring.pop()).toBe(-1);
    expect(backend.asked).toEqual([]);
    await driver.setStatus(15);
    expect(await driver.interrupts()).toEqual({ queue: true, config: false });
    expect(control.ring.pop()).toBeGreaterThanOrEqual(0);
    expect(backend.asked).toEqual(['start 0']);
  });

  test('2.1.2: a card that is broken says NEEDS_RESET, and interrupts a driver that is ready', async () => {
    const bench = makeBench(bus);
    const { driver, backend } = bench;
    await bringUp(bench);
    backend.config?.onRingError?.(1);
    expect(driver.status).toBe(15 | NEEDS_RESET);
    expect(await driver.interrupts()).toEqual({ queue: false, config: true });
    await driver.setStatus(0);
    expect(driver.status).toBe(0);
    await bringUp(bench);
    expect(driver.status).toBe(15);
  });

  test('2.1.1: a driver clears no bit but by a reset, and sets none of the card’s', async () => {
    const { driver, device } = makeBench(bus);
    await negotiate(driver, device.offered);
    for (const status of [3, 1, 13, 11 | NEEDS_RESET, 11 | 0x10, 11 | 0x20]) {
      driver.setStatus(status);
      expect(driver.status).toBe(11);
    }
    driver.setStatus(11 | 0x80);
    expect(driver.status).toBe(0x8b);
    driver.setStatus(0x8f);
    expect(driver.status).toBe(0x8b);
  });

  test('2.4.1: a reset reads 0 when it is done, from every status on the way', async () => {
    const bench = makeBench(bus);
    const { driver } = bench;
    expect(driver.status).toBe(0);
    for (const status of [1, 3, 11, 0x8b]) {
      for (const step of [1, 3, 11, 0x8b]) if (step <= status) driver.setStatus(step);
      await driver.setStatus(0);
      expect(driver.status).toBe(0);
    }
    await bringUp(bench);
    const done = driver.setStatus(0);
    expect(driver.status).toBe(15);
    await done;
    expect(driver.status).toBe(0);
  });

  test('2.4.1: after a reset no ring is touched and nobody is interrupted', async () => {
    const bench = makeBench(bus);
    const { driver, device, backend } = bench;
    const control = new ControlDriver(bench);
    await bringUp(bench);
    // On its way when the card is reset.
    device.queues[0]?.call.signal();
    await driver.setStatus(0);
    expect(backend.running).toBe(false);
    expect(backend.rings.size).toBe(0);
    offerCommand(bench, control);
    device.setLink(false);
    expect(await driver.interrupts()).toEqual(NONE);
    expect(control.ring.pop()).toBe(-1);
    expect(backend.asked).toEqual(['start 0', 'stop']);
  });

  test('2.4.1: a reset takes every queue, every feature and every selection back', async () => {
    const bench = makeBench(bus);
    const { driver, device } = bench;
    await bringUp(bench);
    driver.select(1);
    await driver.setStatus(0);
    expect(device.driverFeatures).toBe(0n);
    for (const queue of device.queues.keys()) {
      driver.select(queue);
      expect([driver.enabled, driver.resetting]).toEqual([false, false]);
      expect(device.queues[queue]?.addresses).toEqual({ desc: 0n, avail: 0n, used: 0n });
    }
  });
});
