/** A card behind registers that is stopped, and another that goes on with its state. */
import { describe, expect, test } from 'vitest';
import type { VirtioMmioState } from '../../lib/device/mmio-state.js';
import { FakeVm } from '../support/fake-vm.js';
import { until } from '../support/host.js';
import { type MmioCard, makeMmioCard, REG } from '../support/mmio-driver.js';
import { aWhile } from '../support/turns.js';

const [VRING, CONFIG] = [1, 2];

function makeIrqfdCard() {
  const vm = new FakeVm();
  return { vm, ...makeMmioCard({}, { interrupt: { vm, gsi: 5 } }) };
}

/** Stops a card, and has another go on with its state, as JSON carries it. */
async function move(from: MmioCard, next = makeMmioCard()): Promise<MmioCard> {
  const state = JSON.parse(JSON.stringify(await from.transport.stop())) as VirtioMmioState;
  next.memory.write(0n, from.memory.read(0n, 4 << 20));
  await next.transport.start(state);
  return next;
}

/** All that a driver can read, but the generation. */
function seen({ driver }: MmioCard): number[] {
  const registers = Object.keys(REG) as (keyof typeof REG)[];
  return registers.filter((name) => name !== 'ConfigGeneration').map((name) => driver.read(name));
}

describe('what a driver sees is the same afterwards', () => {
  test('of a card that runs', async () => {
    const card = makeMmioCard();
    const { driver } = card;
    await driver.bringUp();
    driver.write('DeviceFeaturesSel', 1);
    driver.write('DriverFeaturesSel', 0xffff_ffff);
    driver.write('QueueSel', 1);
    const before = seen(card);
    const next = await move(card);
    expect(seen(next)).toEqual(before);
    expect(next.backend.asked).toEqual(['start 0']);
    // The word that was selected for writing is beyond the last.
    next.driver.write('DriverFeatures', 1);
    expect(next.device.driverFeatures).not.toBe(1n);
  });

  test('of a card whose driver is half through a queue, which it ends there', async () => {
    const card = makeMmioCard();
    const { driver } = card;
    await driver.takeFeatures();
    await driver.setUpQueue(0);
    driver.write('QueueSel', 1);
    driver.write('QueueSize', 16);
    driver.write('QueueDescLow', 0x4000);
    driver.write('QueueDriverLow', 0x5000);
    const next = await move(card);
    next.driver.write('QueueDescHigh', 1);
    next.driver.write('QueueDeviceLow', 0x6000);
    await next.driver.write('QueueReady', 1);
    expect(next.device.queues.map(({ enabled }) => enabled)).toEqual([true, true, false]);
    expect(next.device.queues[1]).toMatchObject({
      size: 16,
      addresses: { desc: 0x1_0000_4000n, avail: 0x5000n, used: 0x6000n },
    });
  });

  test('half through its features, which it ends there', async () => {
    const card = makeMmioCard();
    const { driver } = card;
    driver.write('Status', 1);
    driver.write('Status', 3);
    driver.write('DriverFeatures', 1 << 15);
    driver.write('DriverFeaturesSel', 1);
    const next = await move(card);
    next.driver.write('DriverFeatures', 1);
    next.driver.write('Status', 11);
    expect(next.driver.read('Status')).toBe(11);
    expect(next.device.driverFeatures).toBe((1n << 32n) | (1n << 15n));
  });
});

describe('interrupts', () => {
  test('that were not acknowledged hold the line, until they are', async () => {
    const card = makeMmioCard();
    await card.driver.bringUp();
    card.device.setLink(false);
    card.device.queues[0]?.call.signal();
    await until(() => card.driver.read('InterruptStatus') === (VRING | CONFIG), 'both reasons');
    const { driver, levels } = await move(card);
    expect([levels, driver.read('InterruptStatus')]).toEqual([[true], VRING | CONFIG]);
    driver.write('InterruptACK', VRING | CONFIG);
    await aWhile();
    expect([levels, driver.read('InterruptStatus')]).toEqual([[true, false], 0]);
    expect([card.levels, card.driver.read('InterruptStatus')]).toEqual([[true, false], 0]);
  });

  test('that came too late for the event loop come to the next one', async () => {
    const card = makeMmioCard();
    await card.driver.bringUp();
    card.backend.during = () => card.device.queues[1]?.call.signal();
    const { driver, levels } = await move(card);
    await until(() => levels.length > 0, 'an interrupt');
    expect(driver.read('InterruptStatus')).toBe(VRING);
    expect(card.levels).toEqual([]);
  });

  test('of a backend that is quick come while the card starts', async () => {
    const card = makeMmioCard();
    await card.driver.bringUp();
    const next = makeMmioCard();
    next.backend.during = () => next.device.queues[0]?.call.signal();
    await move(card, next);
    await until(() => next.levels.length > 0, 'an interrupt');
  });

  test('are not invented', async () => {
    const card = makeMmioCard();
    await card.driver.bringUp();
    const { driver, levels } = await move(card);
    await aWhile();
    expect([levels, driver.read('InterruptStatus')]).toEqual([[], 0]);
  });

  test('by irqfds: what KVM has it has, and what it had not the next one gets', async () => {
    const card = makeIrqfdCard();
    await card.driver.bringUp();
    card.device.setLink(false);
    card.device.queues[1]?.call.signal();
    const next = makeIrqfdCard();
    await move(card, next);
    expect(next.driver.read('InterruptStatus')).toBe(VRING | CONFIG);
    // Nobody took it from this VM’s irqfds, which are not KVM’s.
    expect(next.device.queues.map(({ call }) => call.read())).toEqual([0, 1, 0]);
    expect(next.vm.irqfds.at(-1)?.eventFd.read()).toBe(0);
    next.driver.write('InterruptACK', CONFIG);
    expect(next.driver.read('InterruptStatus')).toBe(VRING);
  });
});

test('a queue’s reset that is under way is done before', async () => {
  const card = makeMmioCard();
  await card.driver.bringUp();
  card.driver.write('QueueSel', 1);
  void card.driver.write('QueueReset', 1);
  const { driver } = await move(card);
  expect([driver.read('QueueReset'), driver.read('QueueReady')]).toEqual([0, 0]);
});

describe('a state that is refused changes nothing', () => {
  const assign = (fields: object) => (state: VirtioMmioState) => void Object.assign(state, fields);
  test.each<[string, (state: VirtioMmioState) => void, string]>([
    ['interrupts otherwise', assign({ interrupt: 'irqfd' }), "its interrupt is 'irqfd'"],
    ['waits for another reason', assign({ interruptStatus: 4 }), 'interruptStatus is 4'],
    ['has a wrong selector', assign({ queueSelect: 2 ** 32 }), 'queueSelect is 4294967296'],
    ['has a wrong word', assign({ deviceFeatureSelect: -1 }), 'deviceFeatureSelect is -1'],
    ['has no word', assign({ driverFeatureSelect: null }), 'driverFeatureSelect is null'],
    ['has no card', assign({ card: null }), 'it is missing'],
    ['has a card that is not this one', ({ card }) => void card.queues.pop(), 'has 2 queues'],
  ])('as it %s', async (_, spoil, words) => {
    const card = makeMmioCard();
    await card.driver.bringUp();
    const state = await card.transport.stop();
    spoil(state);
    const next = makeMmioCard();
    next.driver.write('QueueSel', 1);
    const before = seen(next);
    await expect(next.transport.start(state)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
      message: expect.stringContaining(words) as unknown,
    });
    expect([seen(next), next.levels, next.backend.asked]).toEqual([before, [], []]);
  });

  test('as there is a driver already, or no card any more', async () => {
    const card = makeMmioCard();
    await card.driver.bringUp();
    const state = await card.transport.stop();
    await card.driver.bringUp();
    const before = seen(card);
    await expect(card.transport.start(state)).rejects.toMatchObject({ code: 'ERR_BUSY' });
    expect(seen(card)).toEqual(before);
    card.transport.close();
    await expect(card.transport.start(state)).rejects.toMatchObject({ code: 'ERR_CLOSED' });
    await expect(card.transport.stop()).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  });
});

test('a reset of the card itself, or its stop, reaches the transport', async () => {
  for (const end of ['reset', 'stop'] as const) {
    const card = makeMmioCard();
    const { device, driver, levels } = card;
    const fresh = seen(card);
    await driver.bringUp();
    driver.write('QueueSel', 1);
    driver.write('DeviceFeaturesSel', 1);
    device.setLink(false);
    device.setLink(true);
    expect(levels).toEqual([true]);
    await device[end]();
    expect(levels).toEqual([true, false]);
    expect(seen(card)).toEqual(fresh);
    card.transport.close();
    expect(device.listenerCount('reset')).toBe(0);
  }
});
