/** Configuration space of a network card (virtio 1.3 §2.5, §5.1.4), by the registers of both transports. */
import { describe, expect, test } from 'vitest';
import { bit } from '../../lib/uapi/virtio-net.js';
import { ControlDriver } from '../support/card-driver.js';
import { BUSES, bringUp, makeBench, negotiate } from '../support/conforming-driver.js';
import { number } from '../support/pci-driver.js';

const [MAC, STATUS, PAIRS, MTU, SPEED, DUPLEX] = [0, 6, 8, 10, 12, 16] as const;

describe.each(BUSES)('behind %s', (bus) => {
  test('2.5.2: every field that is offered is read before FEATURES_OK, in any status', async () => {
    const { driver } = makeBench(bus, { queuePairs: 3, mtu: 1400, speed: 10_000 });
    const read = () => [...driver.readConfig(0, 17)];
    const before = read();
    expect(number(Uint8Array.from(before.slice(PAIRS, MTU)))).toBe(3);
    expect(number(Uint8Array.from(before.slice(MTU, SPEED)))).toBe(1400);
    for (const status of [1, 3, 0x83]) {
      driver.setStatus(status);
      expect(read()).toEqual(before);
    }
  });

  test('2.5.2: a change between two accesses shows in the generation, however many there were', async () => {
    const { driver, device } = makeBench(bus);
    for (const changes of [1, 2, 255, 256, 257]) {
      const { generation } = driver;
      driver.readConfig(MAC, 4);
      for (let i = 0; i < changes; i++) device.setLink(device.config.status === 0);
      driver.readConfig(4, 4);
      expect(driver.generation).not.toBe(generation);
    }
    const { generation } = driver;
    driver.readConfig(MAC, 8);
    expect(driver.generation).toBe(generation);
  });

  test('2.5: fields are read in bytes, in their own width, and all at once', () => {
    const { driver } = makeBench(bus, { mtu: 0x1234, speed: 0x0102_0304, fullDuplex: true });
    const whole = [...driver.readConfig(0, 17)];
    expect(whole.flatMap((_, at) => [...driver.readConfig(at, 1)])).toEqual(whole);
    expect(number(driver.readConfig(MTU, 2))).toBe(0x1234);
    expect(number(driver.readConfig(SPEED, 4))).toBe(0x0102_0304);
    expect([...driver.readConfig(17, 8)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });

  test('5.1.4: a driver that writes a field changes nothing', async () => {
    const bench = makeBench(bus, { mtu: 1400 });
    const { driver } = bench;
    await bringUp(bench);
    const before = driver.readConfig(0, 17);
    for (let at = 0; at < 17; at++) driver.writeConfig(at, Uint8Array.of(0x5a));
    driver.writeConfig(MAC, Uint8Array.of(1, 2, 3, 4));
    expect(driver.readConfig(0, 17)).toEqual(before);
  });

  test('5.1.4.1: max_virtqueue_pairs is what the card has, from 1 on', () => {
    for (const queuePairs of [1, 2, 5]) {
      const { driver, device } = makeBench(bus, { queuePairs });
      expect(number(driver.readConfig(PAIRS, 2))).toBe(queuePairs);
      expect((device.offered & bit(22)) !== 0n).toBe(queuePairs > 1);
    }
  });

  test('5.1.4.1: the MTU stays as it was set, over a reset and with the driver', async () => {
    const bench = makeBench(bus, { mtu: 9000 });
    const { driver, device } = bench;
    const mtu = () => number(driver.readConfig(MTU, 2));
    expect((device.offered & bit(3)) !== 0n).toBe(true);
    await bringUp(bench);
    device.setLink(false);
    expect(mtu()).toBe(9000);
    await driver.setStatus(0);
    expect(mtu()).toBe(9000);
    expect((makeBench(bus).device.offered & bit(3)) !== 0n).toBe(false);
  });

  test('5.1.4.1: speed and duplex are what is known, else all ones, and stay while the link is up', async () => {
    const known = makeBench(bus, { speed: 25_000, fullDuplex: true });
    const read = ({ driver }: typeof known) => [
      number(driver.readConfig(SPEED, 4)),
      number(driver.readConfig(DUPLEX, 1)),
    ];
    expect(read(known)).toEqual([25_000, 1]);
    await bringUp(known);
    await known.driver.setStatus(0);
    expect(read(known)).toEqual([25_000, 1]);
    expect(read(makeBench(bus, { fullDuplex: false }))).toEqual([0xffff_ffff, 0]);
    expect(read(makeBench(bus))).toEqual([0xffff_ffff, 0xff]);
  });

  test('5.1.4: the link is a bit of the status, whose change interrupts', async () => {
    const bench = makeBench(bus);
    const { driver, device } = bench;
    const status = () => number(driver.readConfig(STATUS, 2));
    expect(status()).toBe(1);
    await bringUp(bench);
    device.setLink(false);
    expect(status()).toBe(0);
    expect(await driver.interrupts()).toEqual({ queue: false, config: true });
    device.setLink(false);
    expect(await driver.interrupts()).toEqual({ queue: false, config: false });
    device.setLink(true);
    expect(status()).toBe(1);
    expect(await driver.interrupts()).toEqual({ queue: false, config: true });
  });

  test('5.1.6.5.2: the address of a command is in the configuration, until a reset', async () => {
    const bench = makeBench(bus);
    const { driver } = bench;
    const control = new ControlDriver(bench);
    await bringUp(bench);
    const own = [...driver.readConfig(MAC, 6)];
    const { generation } = driver;
    expect(await control.send([1, 1, 2, 0, 0, 0, 0, 9])).toBe(0);
    expect([...driver.readConfig(MAC, 6)]).toEqual([2, 0, 0, 0, 0, 9]);
    expect(driver.generation).not.toBe(generation);
    await driver.setStatus(0);
    expect([...driver.readConfig(MAC, 6)]).toEqual(own);
    await negotiate(driver, bench.device.offered);
    expect([...driver.readConfig(MAC, 6)]).toEqual(own);
  });
});
