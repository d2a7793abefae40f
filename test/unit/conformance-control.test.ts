/** The control queue (virtio 1.3 §5.1.6.5), by the registers of both transports; test/unit/control-queue.test.ts has more. */
import { describe, expect, test } from 'vitest';
import { bit } from '../../lib/uapi/virtio-net.js';
import { ControlDriver } from '../support/card-driver.js';
import { BUSES, type Bus, bringUp, makeBench } from '../support/conforming-driver.js';

const [OK, ERR] = [0, 1] as const;
const MAC = [2, 0, 0, 0, 0, 9];

/** A card that runs, without these features. */
async function running(bus: Bus, { without = 0n, queuePairs = 1 } = {}) {
  const bench = makeBench(bus, { queuePairs });
  const features = bench.device.offered & ~without;
  const control = new ControlDriver(bench, features);
  await bringUp(bench, features);
  return { ...bench, control };
}

describe.each(BUSES)('behind %s', (bus) => {
  test('5.1.6.5: a command without its feature is refused', async () => {
    const commands = [
      [18, [0, 0, 1]],
      [20, [0, 3, 1]],
      [18, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
      [23, [1, 1, ...MAC]],
      [19, [2, 0, 5, 0]],
      [21, [3, 0]],
      [22, [4, 0, 1, 0]],
    ] as const;
    for (const [feature, command] of commands) {
      const { control } = await running(bus, { without: bit(feature), queuePairs: 2 });
      expect(await control.send(command)).toBe(ERR);
    }
  });

  test('5.1.6.5: a class or a command that nobody knows is refused, and the next one obeyed', async () => {
    const { control, driver } = await running(bus, { queuePairs: 2 });
    for (const command of [
      [9, 0],
      [255, 255, 0],
      [0, 6, 1],
      [1, 2],
      [2, 2, 0, 0],
      [3, 1],
      [4, 1],
    ]) {
      expect(await control.send(command)).toBe(ERR);
    }
    expect(await control.send([0, 0, 1])).toBe(OK);
    expect(driver.status).toBe(15);
  });

  test('5.1.6.5: an answer interrupts', async () => {
    const { control, driver } = await running(bus);
    await driver.interrupts();
    expect(await control.send([0, 0, 0])).toBe(OK);
    expect(await driver.interrupts()).toEqual({ queue: true, config: false });
  });

  test('5.1.6.5.1.1: each receive mode is on with 1 and off with 0', async () => {
    const { control, device } = await running(bus);
    const modes = ['promisc', 'allmulti', 'alluni', 'nomulti', 'nouni', 'nobcast'] as const;
    for (const [code, mode] of modes.entries()) {
      for (const on of [1, 0]) {
        expect(await control.send([0, code, on])).toBe(OK);
        expect(device.rxFilter[mode]).toBe(on === 1);
      }
    }
  });

  test('5.1.6.5.2.1: the table of addresses is there with the answer, and empty after a reset', async () => {
    const { control, driver, device } = await running(bus);
    expect(await control.send([1, 0, 1, 0, 0, 0, ...MAC, 0, 0, 0, 0])).toBe(OK);
    expect(device.rxFilter.unicast).toEqual([Uint8Array.from(MAC)]);
    await driver.setStatus(0);
    expect(device.rxFilter).toMatchObject({ unicast: [], multicast: [], promisc: true });
  });

  test('5.1.6.5.3.1: VLANs are remembered and forgotten, and there are none after a reset', async () => {
    const { control, driver, device } = await running(bus);
    for (const id of [1, 4095]) expect(await control.send([2, 0, id & 255, id >> 8])).toBe(OK);
    expect(device.rxFilter.vlans).toEqual([1, 4095]);
    expect(await control.send([2, 0, 0, 16])).toBe(ERR);
    expect(await control.send([2, 1, 1, 0])).toBe(OK);
    expect(device.rxFilter.vlans).toEqual([4095]);
    await driver.setStatus(0);
    expect(device.rxFilter.vlans).toEqual([]);
  });

  test('5.1.6.5.4.2: an announcement is asked for by an interrupt, and over with its acknowledgement', async () => {
    const { control, driver, device } = await running(bus);
    expect(device.announce()).toBe(true);
    expect([...driver.readConfig(6, 2)]).toEqual([3, 0]);
    expect(await driver.interrupts()).toEqual({ queue: false, config: true });
    expect(await control.send([3, 0])).toBe(OK);
    expect([...driver.readConfig(6, 2)]).toEqual([1, 0]);
  });

  test('5.1.6.5.6.2: one pair is in use, before a command asks for more and after a reset', async () => {
    const bench = await running(bus, { queuePairs: 3 });
    const { control, driver, device, backend } = bench;
    expect([...backend.rings.keys()]).toEqual([0, 1]);
    expect(await control.send([4, 0, 3, 0])).toBe(OK);
    expect([...backend.rings.keys()]).toEqual([0, 1, 2, 3, 4, 5]);
    await driver.setStatus(0);
    // A ring as new: the old one has the command still.
    new ControlDriver(bench);
    await bringUp(bench);
    expect([...backend.rings.keys()]).toEqual([0, 1]);
    expect(device.activePairs).toBe(1);
  });

  test('5.1.6.5.6.2: no pair above the number of the command is served once it is answered', async () => {
    const { control, backend, device } = await running(bus, { queuePairs: 3 });
    expect(await control.send([4, 0, 3, 0])).toBe(OK);
    expect(await control.send([4, 0, 2, 0])).toBe(OK);
    expect([...backend.rings.keys()]).toEqual([0, 1, 2, 3]);
    for (const count of [0, 4, 0x8001]) {
      expect(await control.send([4, 0, count & 255, count >> 8])).toBe(ERR);
    }
    expect(device.activePairs).toBe(2);
  });

  test('5.1.6.5.6.2: a queue of a pair that is not in use is not served, though it is enabled', async () => {
    const { driver, device, backend } = await running(bus, { queuePairs: 2 });
    driver.notify(2);
    driver.notify(3);
    await driver.interrupts();
    expect(device.queues[2]?.enabled).toBe(true);
    expect([...backend.rings.keys()]).toEqual([0, 1]);
  });
});
