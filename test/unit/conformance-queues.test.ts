/** Virtqueues, their notifications and their resets (virtio 1.3 §2.3, §2.6), by the registers of both transports. */
import { describe, expect, test } from 'vitest';
import { bit, VIRTIO_F_RING_RESET } from '../../lib/uapi/virtio-net.js';
import { ControlDriver } from '../support/card-driver.js';
import {
  BUSES,
  bringUp,
  makeBench,
  negotiate,
  ringOf,
  setUpQueue,
} from '../support/conforming-driver.js';

describe.each(BUSES)('behind %s', (bus) => {
  test('2.3: a notification is for the queue that it names, and for no other', async () => {
    const bench = makeBench(bus, { queuePairs: 2 });
    const { driver, device } = bench;
    await bringUp(bench);
    for (const queue of [0, 1, 2, 3]) {
      driver.notify(queue);
      const kicked = device.queues.slice(0, 4).map(({ kick }) => kick.read());
      expect(kicked).toEqual([0, 1, 2, 3].map((other) => (other === queue ? 1 : 0)));
    }
    driver.notify(5);
    driver.notify(0xffff);
    expect(device.queues.map(({ kick }) => kick.read())).toEqual([0, 0, 0, 0, 0]);
  });

  test('2.6: rings are handed over with the size and the place that the driver gave them', async () => {
    const { driver, device, backend } = makeBench(bus);
    await negotiate(driver, device.offered);
    setUpQueue(driver, 0, 32);
    setUpQueue(driver, 1, 256);
    await driver.setStatus(15);
    const rings = [0, 1].map((queue) => backend.rings.get(queue));
    expect(rings.map((ring) => ring?.size)).toEqual([32, 256]);
    expect(rings.map((ring) => ring?.addresses)).toEqual([ringOf(0, 32), ringOf(1, 256)]);
    expect(rings.map((ring) => ring?.base)).toEqual([0, 0]);
  });

  test('2.6: a queue’s size is a power of two, and what is none is dropped', async () => {
    const { driver, device } = makeBench(bus, { queueSize: 128 });
    await negotiate(driver, device.offered);
    for (const queue of device.queues.keys()) {
      driver.select(queue);
      expect(driver.queueSize).toBe(queue === 2 ? 64 : 128);
      driver.setSize(16);
      for (const size of [0, 3, 100, 256, 0x8000, 0xffff]) driver.setSize(size);
      expect(device.queues[queue]?.size).toBe(16);
    }
    driver.select(device.queues.length);
    expect(driver.queueSize).toBe(0);
  });

  test('2.6.1.1.1: a queue that was reset is not served, and the others are', async () => {
    const bench = makeBench(bus);
    const { driver, backend } = bench;
    await bringUp(bench);
    driver.select(0);
    const done = driver.resetQueue();
    expect([driver.resetting, driver.enabled]).toEqual([true, true]);
    await done;
    expect([driver.resetting, driver.enabled]).toEqual([false, false]);
    expect([...backend.rings.keys()]).toEqual([1]);
    expect(driver.status).toBe(15);
  });

  test('2.6.1.1.1: a queue that was reset is in its first state, position included', async () => {
    const bench = makeBench(bus);
    const { driver, device, backend } = bench;
    await bringUp(bench);
    backend.base = 41;
    driver.select(1);
    driver.notify(1);
    await driver.resetQueue();
    const queue = device.queues[1];
    expect(queue).toMatchObject({ size: 256, enabled: false, base: 0 });
    expect(queue?.addresses).toEqual({ desc: 0n, avail: 0n, used: 0n });
    expect(queue?.kick.read()).toBe(0);
    await setUpQueue(driver, 1);
    expect(backend.rings.get(1)?.base).toBe(0);
  });

  test('2.6.1.1.1: commands are not obeyed while their queue is reset, and are after', async () => {
    const bench = makeBench(bus);
    const { driver, device } = bench;
    const control = new ControlDriver(bench);
    await bringUp(bench);
    expect(await control.send([0, 1, 1])).toBe(0);
    driver.select(2);
    await driver.resetQueue();
    control.ring.add(Uint32Array.of(0x1000, 0, 3, 0x3000, 0, 1), 1, 1);
    control.ring.publish();
    driver.notify(2);
    await driver.interrupts();
    expect(control.ring.pop()).toBe(-1);
    const again = new ControlDriver(bench);
    await setUpQueue(driver, 2);
    expect(await again.send([0, 1, 0])).toBe(0);
    expect(device.rxFilter.allmulti).toBe(false);
  });

  test('2.6.1.2.1: a queue that is enabled again has what was written since its reset', async () => {
    const bench = makeBench(bus);
    const { driver, backend } = bench;
    await bringUp(bench);
    driver.select(0);
    await driver.resetQueue();
    driver.setSize(32);
    driver.place(ringOf(7, 32));
    await driver.enable();
    expect([driver.resetting, driver.enabled]).toEqual([false, true]);
    expect(backend.rings.get(0)).toMatchObject({ size: 32, addresses: ringOf(7, 32) });
    driver.setSize(16);
    driver.place(ringOf(0));
    expect(bench.device.queues[0]).toMatchObject({ size: 32, addresses: ringOf(7, 32) });
  });

  test('2.6.1: without RING_RESET no queue is reset, nor enabled behind DRIVER_OK', async () => {
    const bench = makeBench(bus);
    const { driver, device, backend } = bench;
    await negotiate(driver, device.offered & ~bit(VIRTIO_F_RING_RESET));
    setUpQueue(driver, 0);
    setUpQueue(driver, 1);
    await driver.setStatus(15);
    driver.select(0);
    expect(driver.resetQueue()).toBeUndefined();
    expect([driver.resetting, driver.enabled]).toEqual([false, true]);
    await setUpQueue(driver, 2);
    driver.select(2);
    expect(driver.enabled).toBe(false);
    expect(backend.asked).toEqual(['start 0']);
  });

  test('2.7.10.2: notifications for which there is no reason do no harm', async () => {
    const bench = makeBench(bus);
    const { driver } = bench;
    const control = new ControlDriver(bench);
    await bringUp(bench);
    for (let i = 0; i < 20; i++) driver.notify(2);
    expect(await driver.interrupts()).toEqual({ queue: false, config: false });
    expect(await control.send([0, 0, 1])).toBe(0);
    for (let i = 0; i < 20; i++) driver.notify(2);
    expect(await control.send([0, 0, 0])).toBe(0);
    expect(driver.status).toBe(15);
  });
});
