/** The interrupt of virtio-mmio, by irqfd and by a line, and what KVM is given (virtio 1.3 §4.2.2, §4.2.3.4). */
import { describe, expect, test } from 'vitest';
import { VirtioMmioTransport } from '../../lib/device/virtio-mmio-transport.js';
import { makeCard } from '../support/card-driver.js';
import { FakeVm } from '../support/fake-vm.js';
import { until } from '../support/host.js';
import { makeMmioCard } from '../support/mmio-driver.js';
import { aWhile } from '../support/turns.js';

const GSI = 5;
const [VRING, CONFIG] = [1, 2];
const address = 0xd000_0000n;

function makeIrqfdCard() {
  const vm = new FakeVm();
  return { vm, ...makeMmioCard({}, { interrupt: { vm, gsi: GSI } }) };
}

describe('§4.2.3.4 a line that the transport holds', () => {
  test('goes high with a used buffer, and low when the driver acknowledges it', async () => {
    const { driver, device, levels } = makeMmioCard();
    await driver.bringUp();
    expect(driver.read('InterruptStatus')).toBe(0);
    for (const [i, { call }] of device.queues.entries()) {
      call.signal();
      await until(() => levels.length === 2 * i + 1, 'an interrupt');
      expect(driver.read('InterruptStatus')).toBe(VRING);
      driver.write('InterruptACK', VRING);
      expect(driver.read('InterruptStatus')).toBe(0);
    }
    expect(levels).toEqual([true, false, true, false, true, false]);
  });

  test('stays high until both reasons are acknowledged', async () => {
    const { driver, device, levels } = makeMmioCard();
    await driver.bringUp();
    device.setLink(false);
    device.queues[0]?.call.signal();
    await until(() => driver.read('InterruptStatus') === (VRING | CONFIG), 'both reasons');
    driver.write('InterruptACK', VRING);
    expect(driver.read('InterruptStatus')).toBe(CONFIG);
    expect(levels).toEqual([true]);
    driver.write('InterruptACK', 0xffff_fffc);
    expect(levels).toEqual([true]);
    driver.write('InterruptACK', 0xffff_ffff);
    expect(levels).toEqual([true, false]);
  });

  test('§3.1.1 is not touched before DRIVER_OK', async () => {
    const { driver, device, levels } = makeMmioCard();
    await driver.takeFeatures();
    device.queues[0]?.call.signal();
    device.setLink(false);
    await aWhile();
    expect([levels, driver.read('InterruptStatus')]).toEqual([[], 0]);
  });

  test('is low, and nobody listens, after close', async () => {
    const { driver, device, transport, levels } = makeMmioCard();
    await driver.bringUp();
    device.setLink(false);
    transport.close();
    transport.close();
    expect(levels).toEqual([true, false]);
    device.setLink(true);
    device.queues[0]?.call.signal();
    await aWhile();
    expect(levels).toEqual([true, false]);
    expect(device.listenerCount('config')).toBe(0);
    // The card is as it was, and free for another transport.
    using again = new VirtioMmioTransport(device, { address, onInterrupt: (l) => levels.push(l) });
    await until(() => levels.length === 3, 'the call that waited');
    expect(again.read(0x70, 4)[0]).toBe(15);
  });

  test('cannot be had where somebody listens to a call already; the others are let go', () => {
    const { device } = makeCard();
    const [first, second] = device.queues;
    second?.call.onSignal(() => {});
    const make = () => new VirtioMmioTransport(device, { address, onInterrupt: () => {} });
    expect(make).toThrow(expect.objectContaining({ code: 'ERR_BUSY' }));
    expect(() => first?.call.onSignal(() => {})).not.toThrow();
    expect(device.listenerCount('config')).toBe(0);
  });
});

describe('irqfds', () => {
  test('are the calls of all queues and one for the configuration, on one line', () => {
    const { vm, device } = makeIrqfdCard();
    expect(vm.irqfds.map(({ gsi }) => gsi)).toEqual([GSI, GSI, GSI, GSI]);
    const eventFds = vm.irqfds.map(({ eventFd }) => eventFd);
    expect(eventFds.slice(0, 3)).toEqual(device.queues.map(({ call }) => call));
    expect(new Set(eventFds).size).toBe(4);
  });

  test('bit 0 reads as set while the driver is ready, acknowledged or not', async () => {
    const { driver } = makeIrqfdCard();
    await driver.takeFeatures();
    expect(driver.read('InterruptStatus')).toBe(0);
    await driver.bringUp();
    expect(driver.read('InterruptStatus')).toBe(VRING);
    driver.write('InterruptACK', VRING);
    expect(driver.read('InterruptStatus')).toBe(VRING);
    await driver.reset();
    expect(driver.read('InterruptStatus')).toBe(0);
  });

  test('bit 1 is exact, and comes with a signal', async () => {
    const { vm, driver, device } = makeIrqfdCard();
    await driver.bringUp();
    const signals = () => vm.irqfds.map(({ eventFd }) => eventFd.read());
    device.setLink(false);
    expect(signals()).toEqual([0, 0, 0, 1]);
    expect(driver.read('InterruptStatus')).toBe(VRING | CONFIG);
    driver.write('InterruptACK', VRING);
    expect(driver.read('InterruptStatus')).toBe(VRING | CONFIG);
    driver.write('InterruptACK', CONFIG);
    expect(driver.read('InterruptStatus')).toBe(VRING);
    expect(signals()).toEqual([0, 0, 0, 0]);
    device.setLink(true);
    await driver.bringUp();
    expect(driver.read('InterruptStatus')).toBe(VRING);
  });

  test('leave the calls to KVM', async () => {
    const { driver, device } = makeIrqfdCard();
    await driver.bringUp();
    device.queues[0]?.call.signal();
    await aWhile();
    expect(device.queues[0]?.call.read()).toBe(1);
  });

  test('are taken back by close, even where one is stuck, and by the end of a scope', () => {
    const { vm, transport, device } = makeIrqfdCard();
    const config = vm.irqfds[3]?.eventFd;
    vm.stuck = true;
    expect(() => transport.close()).toThrow('stuck');
    expect([vm.irqfds, config?.closed]).toEqual([[], true]);
    expect(() => transport.close()).not.toThrow();
    expect(device.queues[0]?.call.closed).toBe(false);
    vm.stuck = false;
    {
      using _ = new VirtioMmioTransport(device, { address, interrupt: { vm, gsi: GSI } });
      expect(vm.irqfds).toHaveLength(4);
    }
    expect(vm.irqfds).toEqual([]);
  });

  test('that do not all fit are none', () => {
    const { device } = makeCard();
    const vm = new FakeVm();
    vm.room = 3;
    const make = () => new VirtioMmioTransport(device, { address, interrupt: { vm, gsi: GSI } });
    expect(make).toThrow('no room for an irqfd');
    expect(vm.irqfds).toEqual([]);
    expect(device.listenerCount('config')).toBe(0);
    vm.stuck = true;
    expect(make).toThrow('no room for an irqfd');
  });
});

describe('ioeventfds', () => {
  test('§4.2.3.3 are one for each queue: its number, written to QueueNotify', () => {
    const { transport, device } = makeMmioCard({ queuePairs: 2 });
    expect(transport.ioeventfds()).toEqual(
      device.queues.map(({ kick }, index) => ({
        address: 0xd000_0050n,
        length: 4,
        datamatch: BigInt(index),
        eventFd: kick,
      })),
    );
  });

  test('are given to KVM and taken back', () => {
    const { transport } = makeMmioCard();
    const vm = new FakeVm();
    transport.connect(vm);
    expect(vm.ioeventfds).toEqual(transport.ioeventfds());
    expect(() => transport.connect(vm)).toThrow(expect.objectContaining({ code: 'ERR_BUSY' }));
    transport.disconnect();
    transport.disconnect();
    expect(vm.ioeventfds).toEqual([]);
    transport.connect(vm);
    transport.close();
    expect(vm.ioeventfds).toEqual([]);
    expect(() => transport.connect(vm)).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
  });

  test('that do not all fit are none, and another try is allowed', () => {
    const { transport } = makeMmioCard();
    const vm = new FakeVm();
    vm.room = 2;
    expect(() => transport.connect(vm)).toThrow('no room for an ioeventfd');
    expect(vm.ioeventfds).toEqual([]);
    vm.room = 3;
    transport.connect(vm);
    expect(vm.ioeventfds).toHaveLength(3);
  });

  test('that are stuck keep no irqfd back', () => {
    const { vm, transport } = makeIrqfdCard();
    transport.connect(vm);
    vm.stuck = true;
    expect(() => transport.close()).toThrow('stuck');
    expect([vm.ioeventfds, vm.irqfds]).toEqual([[], []]);
  });
});

test.each([
  ['neither', {}],
  ['both', { onInterrupt: () => {}, interrupt: { vm: new FakeVm(), gsi: GSI } }],
])('an interrupt is one of the two: %s is misuse', (_, options) => {
  const { device } = makeCard();
  const make = () => new VirtioMmioTransport(device, { address, ...options });
  expect(make).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' }));
});
