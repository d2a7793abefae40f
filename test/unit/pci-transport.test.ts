/** A card brought up over PCI, its notifications, its resets and its end. */
import { describe, expect, test, vi } from 'vitest';
import { VirtioPciTransport } from '../../lib/device/virtio-pci-transport.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { FakeMsi, FakeVm, makePci } from '../support/pci.js';
import { BAR_AT, bytesOf, PciDriver } from '../support/pci-driver.js';

holdNothingLeaks();

const NOTIFY = 0x6000;

describe('§3.1.1: a driver', () => {
  test('brings the card up by reads and writes alone', async () => {
    const { driver, backend, device } = makePci({ msi: new FakeMsi() });
    await driver.bringUp();
    expect(driver.status).toBe(0xf);
    expect(backend.asked).toEqual(['start 0']);
    const ring = backend.rings.get(1);
    expect(ring).toMatchObject({
      size: 16,
      addresses: { desc: 0x11_000n, avail: 0x11_400n, used: 0x11_800n },
    });
    expect(ring?.call).toBe(device.queues[1]?.call);
  });

  test('waits for DRIVER_OK and for a reset of what runs, and for nothing else', async () => {
    const { driver } = makePci();
    await driver.bringUp();
    const reset = driver.setStatus(0);
    expect(reset).toBeInstanceOf(Promise);
    await reset;
    expect(driver.status).toBe(0);
    expect(driver.setStatus(0)).toBeUndefined();
    driver.negotiate();
    expect(driver.setUpQueue(0)).toBeUndefined();
    expect(driver.setUpQueue(1)).toBeUndefined();
    const start = driver.setStatus(0xf);
    expect(start).toBeInstanceOf(Promise);
    await start;
  });

  test('§4.1.5.1.2: finds no vectors after a reset, and no interrupt comes', async () => {
    const msi = new FakeMsi();
    const { driver, device } = makePci({ msi });
    await driver.bringUp();
    driver.mask(1, true);
    device.queues[0]?.call.signal();
    device.setLink(false);
    msi.poll();
    await driver.setStatus(0);
    device.queues[1]?.call.signal();
    await driver.bringUp();
    expect(msi.poll()).toEqual([]);
  });

  test('§4.1.4.6: reads the card’s own configuration, and cannot write it', () => {
    const { driver } = makePci();
    const at = driver.structure(4);
    const mac = [0, 1, 2, 3, 4, 5].map((i) => driver.bar(at + i, 1));
    expect(mac).toEqual([2, 0, 0, 0, 0, 1]);
    driver.setBar(at, 4, 0);
    expect(driver.bar(at, 4)).toBe(2);
    expect(driver.bar(at + 8, 2)).toBe(1);
  });

  test('sees NEEDS_RESET and is interrupted where the backend fails', async () => {
    const msi = new FakeMsi();
    const { driver, backend } = makePci({ msi });
    backend.failWith = new Error('no');
    await driver.bringUp();
    expect(driver.status & 0x40).toBe(0x40);
    expect(msi.poll()).toEqual([0x40]);
  });
});

describe('§4.1.4.4: a notification', () => {
  test('that comes here kicks its queue, whatever it writes', () => {
    const { driver, device } = makePci();
    for (const [index, { kick }] of device.queues.entries()) {
      for (const width of [2, 4, 1]) driver.setBar(NOTIFY + 4 * index, width, 0xff);
      expect(kick.read()).toBe(3);
    }
  });

  test('at an address that is no queue’s is dropped', () => {
    const { driver, device } = makePci();
    for (const offset of [1, 2, 3, 4 * device.queues.length, 0x1ffc]) {
      driver.setBar(NOTIFY + offset, 2, 0);
    }
    expect(device.queues.map(({ kick }) => kick.read())).toEqual(device.queues.map(() => 0));
    expect(driver.bar(NOTIFY, 2)).toBe(0);
  });
});

describe('ioeventfds', () => {
  /** Where they are, each as the queue that it kicks. */
  const places = (vm: FakeVm, kicks: readonly unknown[]) =>
    [...vm.ioeventfds].map(([at, { eventFd }]) => [at, kicks.indexOf(eventFd)]);
  const from = (bar: bigint) => [0, 1, 2].map((i) => [bar + BigInt(NOTIFY + 4 * i), i]);

  function connected() {
    const onBarChange = vi.fn();
    const pci = makePci({ onBarChange });
    const vm = new FakeVm();
    const kicks = pci.device.queues.map(({ kick }) => kick);
    pci.driver.placeBar(BAR_AT);
    return { ...pci, vm, onBarChange, now: () => places(vm, kicks) };
  }

  test('are where the BAR is, and move with it', () => {
    const { driver, transport, vm, now } = connected();
    transport.connect(vm);
    expect(now()).toEqual([]);
    driver.command(2);
    expect(now()).toEqual(from(BAR_AT));
    driver.command(0);
    expect(now()).toEqual([]);
    driver.placeBar(0x40_0000_0000n);
    driver.command(2);
    expect(now()).toEqual(from(0x40_0000_0000n));
    transport.disconnect();
    expect(now()).toEqual([]);
    driver.command(0);
    driver.command(2);
    expect(now()).toEqual([]);
  });

  test('have moved when the VMM hears of it', () => {
    const { driver, transport, vm, now, onBarChange } = connected();
    transport.connect(vm);
    onBarChange.mockImplementation(() => expect(now()).toEqual(from(BAR_AT)));
    driver.command(2);
    expect(onBarChange).toHaveBeenCalledTimes(1);
  });

  test('match a write of any length', () => {
    const { driver, transport, vm } = connected();
    driver.command(2);
    transport.connect(vm);
    expect([...vm.ioeventfds.values()].map(({ length }) => length)).toEqual([0, 0, 0]);
  });

  test('are all taken back where one cannot be had', () => {
    const { driver, transport, vm, now } = connected();
    driver.command(2);
    vm.room = 2;
    expect(() => transport.connect(vm)).toThrow('ENOSPC');
    expect(now()).toEqual([]);
    vm.room = 9;
    transport.connect(vm);
    expect(now()).toEqual(from(BAR_AT));
    expect(() => transport.connect(vm)).toThrow(expect.objectContaining({ code: 'ERR_BUSY' }));
  });

  test('that cannot follow the BAR leave the kicks to this process, until they can', () => {
    const { driver, transport, device, vm, now, onBarChange } = connected();
    transport.connect(vm);
    vm.room = 1;
    driver.command(2);
    expect(now()).toEqual([]);
    expect(onBarChange).toHaveBeenCalledWith(BAR_AT);
    driver.setBar(NOTIFY, 2, 0);
    expect(device.queues[0]?.kick.read()).toBe(1);
    vm.room = 9;
    driver.command(0);
    driver.command(2);
    expect(now()).toEqual(from(BAR_AT));
  });
});

describe('a reset of the card', () => {
  test('holds every vCPU that writes meanwhile, and drops what it wrote', async () => {
    const { driver, device } = makePci();
    await driver.bringUp();
    const reset = driver.setStatus(0);
    expect(driver.setCommon(8, 4, 1)).toBe(reset);
    expect(driver.setStatus(0)).toBe(reset);
    await reset;
    expect(driver.common(8, 4)).toBe(0);
    expect(device.status).toBe(0);
    expect(driver.setCommon(8, 4, 1)).toBeUndefined();
    expect(driver.common(8, 4)).toBe(1);
  });

  test('that fails leaves the vectors to the interrupt that says so', async () => {
    const { driver, backend } = makePci();
    await driver.bringUp();
    backend.failWith = new Error('stuck');
    await driver.setStatus(0);
    expect(driver.status).toBe(0x4f);
    expect(driver.common(16, 2)).toBe(0);
    await driver.setStatus(0);
    expect(driver.status).toBe(0);
    expect(driver.common(16, 2)).toBe(0xffff);
  });
});

describe('close', () => {
  test('gives back routes, ioeventfds and listeners; the card stays', async () => {
    const msi = new FakeMsi();
    const onIntx = vi.fn();
    const { driver, transport, device } = makePci({ msi, onIntx });
    const vm = new FakeVm();
    transport.connect(vm);
    await driver.bringUp();
    expect(msi.routes.map(({ connected }) => connected.size)).toEqual([1, 1, 1, 1]);
    transport.close();
    transport.close();
    expect(msi.routes.map(({ connected, closed }) => [connected.size, closed])).toEqual(
      msi.routes.map(() => [0, true]),
    );
    expect(vm.ioeventfds.size).toBe(0);
    expect(device.listenerCount('config')).toBe(0);
    expect(device.status).toBe(0xf);
    expect(transport.barAddress).toBeUndefined();
    expect([...transport.readConfig(0, 2), ...transport.readBar(0, 2)]).toEqual([
      0xff, 0xff, 0xff, 0xff,
    ]);
    transport.writeBar(20, bytesOf(0, 1));
    transport.writeConfig(4, bytesOf(2, 2));
    expect(device.status).toBe(0xf);
  });

  test('lowers the line', async () => {
    const onIntx = vi.fn();
    const { driver, transport, device } = makePci({ onIntx });
    await driver.bringUp();
    driver.msixControl(0);
    device.setLink(false);
    transport.close();
    expect(onIntx.mock.calls).toEqual([[true], [false]]);
  });

  test('while a reset waits is no harm, and another transport may follow', async () => {
    const first = makePci({ msi: new FakeMsi() });
    await first.driver.bringUp();
    const reset = first.driver.setStatus(0);
    first.transport.close();
    await reset;
    const msi = new FakeMsi();
    using second = new VirtioPciTransport(first.device, { msi });
    await new PciDriver(second).bringUp();
    first.device.queues[0]?.call.signal();
    expect(msi.poll()).toEqual([0x41]);
  });

  test('a second transport of one card is refused', () => {
    const { device } = makePci();
    expect(() => new VirtioPciTransport(device)).toThrow(
      expect.objectContaining({ code: 'ERR_BUSY' }),
    );
  });

  test('a card that is closed first is gone to the guest, which is no error', async () => {
    const { driver, device, transport } = makePci({ msi: new FakeMsi() });
    transport.connect(new FakeVm());
    await driver.bringUp();
    await device.close();
    await driver.bringUp();
    driver.setBar(NOTIFY, 2, 0);
    driver.mask(1, true);
    expect(driver.isPending(1)).toBe(false);
    driver.msixControl(0);
    transport.close();
  });
});
