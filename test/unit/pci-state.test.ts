/** A card on a PCI bus that is stopped, and another that goes on with its state. */
import { describe, expect, test, vi } from 'vitest';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { move, running, seen } from '../support/moving-pci.js';
import { FakeMsi, FakeVm, makePci, turns } from '../support/pci.js';
import { BAR_AT } from '../support/pci-driver.js';

holdNothingLeaks();

const [ENABLE, MASK_ALL] = [0x8000, 0x4000];
const [MEMORY, MASTER] = [2, 4];

describe('what a driver sees is the same afterwards', () => {
  test('of a card that runs', async () => {
    const card = await running();
    const { driver } = card;
    driver.setCommon(0, 4, 1);
    driver.setCommon(8, 4, 0xffff_ffff);
    driver.setCommon(22, 2, 1);
    driver.mask(2, true);
    driver.setMessage(0, 0x1_fee0_1004n, 0xabcd);
    driver.setConfig(0x3c, 1, 11);
    // 4 bytes of the BAR at 0x4000, where the address begins.
    const at = driver.capabilities.get(5)?.at ?? 0;
    driver.setConfig(at + 8, 4, 0x4000);
    driver.setConfig(at + 12, 4, 4);
    const before = seen(card);
    const next = await move(card, { msi: new FakeMsi() });
    expect(seen(next)).toEqual(before);
    expect(next.driver.config(at + 16, 4)).toBe(2);
    expect(next.transport.barAddress).toBe(BAR_AT);
    expect(next.backend.asked).toEqual(['start 0']);
  });

  test('of a card whose driver is half through', async () => {
    const card = makePci();
    const { driver } = card;
    driver.placeBar(BAR_AT);
    driver.setCommon(16, 2, 2);
    expect(driver.negotiate()).toBe(0xb);
    driver.setCommon(22, 2, 1);
    driver.setCommon(24, 2, 32);
    driver.setCommon(26, 2, 1);
    driver.setCommon(36, 4, 0x12);
    const before = seen(card);
    const next = await move(card, {});
    expect(seen(next)).toEqual(before);
    expect(next.driver.common(36, 4)).toBe(0x12);
    expect(next.transport.barAddress).toBeUndefined();
  });

  test('with the same transport too, which is as after a reset until then', async () => {
    const card = await running();
    card.driver.setCommon(22, 2, 2);
    const before = seen(card);
    const state = await card.transport.stop();
    const { driver } = card;
    expect([driver.status, driver.common(22, 2), driver.common(16, 2)]).toEqual([0, 0, 0xffff]);
    expect(card.transport.barAddress).toBe(BAR_AT);
    await card.transport.start(state);
    expect(seen(card)).toEqual(before);
  });
});

describe('interrupts', () => {
  test('that waited for their vector wait on, and are sent when it is unmasked', async () => {
    const card = await running();
    card.driver.mask(0, true);
    card.driver.mask(2, true);
    card.device.setLink(false);
    card.device.queues[1]?.call.signal();
    const msi = new FakeMsi();
    const { driver } = await move(card, { msi });
    expect(msi.poll()).toEqual([]);
    expect([0, 1, 2, 3].map((vector) => driver.isPending(vector))).toEqual([
      true,
      false,
      true,
      false,
    ]);
    driver.mask(2, false);
    expect(msi.poll()).toEqual([0x42]);
    driver.mask(0, false);
    expect(msi.poll()).toEqual([0x40]);
  });

  test('that waited for all vectors wait on', async () => {
    const card = await running();
    card.driver.msixControl(ENABLE | MASK_ALL);
    card.device.queues[0]?.call.signal();
    const msi = new FakeMsi();
    const { driver } = await move(card, { msi });
    expect(msi.poll()).toEqual([]);
    driver.msixControl(ENABLE);
    expect(msi.poll()).toEqual([0x41]);
  });

  test('that went by a route are neither lost nor sent twice', async () => {
    const before = new FakeMsi();
    const card = await running({ msi: before });
    card.device.queues[0]?.call.signal();
    card.device.setLink(false);
    const after = new FakeMsi();
    const next = await move(card, { msi: after });
    await turns();
    expect(before.poll().sort()).toEqual([0x40, 0x41]);
    expect(after.poll()).toEqual([]);
    expect(before.routes.every(({ connected }) => connected.size === 0)).toBe(true);
    next.device.queues[0]?.call.signal();
    next.device.setLink(true);
    expect(after.poll().sort()).toEqual([0x40, 0x41]);
    expect([...after.addresses]).toEqual([0xfee0_0000n]);
  });

  test('that this process had not sent yet, the next one sends', async () => {
    const sent: [string, bigint, number][] = [];
    const onMsi = (who: string) => ({
      onMsi: (address: bigint, data: number) => void sent.push([who, address, data]),
    });
    const card = await running(onMsi('old'));
    await turns();
    // The last moment before the end: the event loop does not come to it.
    card.backend.during = () => card.device.queues[0]?.call.signal();
    await move(card, onMsi('new'));
    await turns();
    expect(sent).toEqual([['new', 0xfee0_0000n, 0x41]]);
  });

  test('by a pin: what was not read yet holds the line, and one that came too late does too', async () => {
    for (const when of ['read', 'late'] as const) {
      const levels: boolean[] = [];
      const next: boolean[] = [];
      const card = makePci({ onIntx: (level) => levels.push(level) });
      await card.driver.bringUp();
      card.driver.msixControl(0);
      await turns();
      const signal = () => card.device.queues[0]?.call.signal();
      if (when === 'late') card.backend.during = signal;
      else signal();
      await turns();
      const moved = await move(card, { onIntx: (level) => next.push(level) });
      await turns();
      expect(levels).toEqual(when === 'late' ? [] : [true, false]);
      expect(next).toEqual([true]);
      expect(moved.driver.config(0x06, 2) & 8).toBe(8);
      expect(moved.driver.bar(moved.driver.structure(3), 1)).toBe(1);
      expect(next).toEqual([true, false]);
    }
  });

  test('are not invented: a card that nothing happened to is quiet', async () => {
    const msi = new FakeMsi();
    const next = await move(await running(), { msi });
    await turns();
    expect([msi.poll(), next.driver.bar(next.driver.pendingAt, 4)]).toEqual([[], 0]);
    expect(next.driver.bar(next.driver.structure(3), 1)).toBe(0);
  });
});

test('KVM is told where the notifications are, and no longer by the card that stopped', async () => {
  const card = await running();
  const state = await card.transport.stop();
  const moves: (bigint | undefined)[] = [];
  const next = makePci({ msi: new FakeMsi(), onBarChange: (address) => moves.push(address) });
  const vm = new FakeVm();
  next.transport.connect(vm);
  expect(vm.ioeventfds.size).toBe(0);
  await next.transport.start(state);
  expect(moves).toEqual([BAR_AT]);
  expect([...vm.ioeventfds.keys()]).toEqual([0n, 4n, 8n].map((at) => BAR_AT + 0x6000n + at));
});

test('a queue’s reset that is under way is done before: its vector is gone', async () => {
  const card = makePci({ msi: new FakeMsi() });
  await card.driver.bringUp((1n << 32n) | (1n << 40n));
  card.driver.setCommon(22, 2, 1);
  void card.driver.setCommon(58, 2, 1);
  const { driver } = await move(card, { msi: new FakeMsi() });
  expect([driver.common(58, 2), driver.common(28, 2), driver.common(26, 2)]).toEqual([
    0, 0, 0xffff,
  ]);
});

test('the vector of a queue is saved when its reset is done with, however long that takes', async () => {
  const card = makePci({ msi: new FakeMsi() });
  await card.driver.bringUp((1n << 32n) | (1n << 40n));
  vi.spyOn(card.device, 'resetQueue').mockImplementation(turns);
  card.driver.setCommon(22, 2, 1);
  void card.driver.setCommon(58, 2, 1);
  expect((await card.transport.stop()).queueVectors).toEqual([1, 0xffff, 3]);
});

test('a reset of the card itself, or its stop, reaches the transport', async () => {
  for (const end of ['reset', 'stop'] as const) {
    const { device, driver } = await running();
    driver.setCommon(22, 2, 1);
    driver.setCommon(8, 4, 1);
    device.setLink(false);
    await device[end]();
    expect([driver.common(8, 4), driver.common(16, 2), driver.common(22, 2)]).toEqual([
      0, 0xffff, 0,
    ]);
    expect(driver.bar(driver.structure(3), 1)).toBe(0);
    expect(driver.config(0x04, 2)).toBe(MEMORY | MASTER);
    driver.setCommon(22, 2, 1);
    expect(driver.common(26, 2)).toBe(0xffff);
  }
});

test('a transport that is closed listens to its card no more', async () => {
  const { device, transport } = await running();
  cleanup(() => device.close());
  transport.close();
  expect([device.listenerCount('reset'), device.listenerCount('config')]).toEqual([0, 0]);
});
