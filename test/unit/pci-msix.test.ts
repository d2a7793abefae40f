/** The interrupts of a virtio-pci card: MSI-X through routes and through a callback. */
import { describe, expect, test, vi } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { FakeMsi, makePci, turns } from '../support/pci.js';

holdNothingLeaks();

const ENABLE = 0x8000;
const MASK_ALL = 0x4000;
/** The `data` of the vector of queue 0. */
const FIRST = 0x41;

/** A card that runs: queue n has vector n + 1, the configuration vector 0, and their data are 0x40 on. */
async function running(queuePairs?: number) {
  const msi = new FakeMsi();
  const pci = makePci({ msi }, queuePairs);
  await pci.driver.bringUp();
  const calls = pci.device.queues.map(({ call }) => call);
  return { ...pci, msi, calls, call: calls[0] as (typeof calls)[0] };
}

describe('the table', () => {
  test('is masked at first, and takes 32 and 64 aligned bits', () => {
    const { driver } = makePci();
    const at = driver.tableAt;
    expect([12, 28, 44, 60].map((offset) => driver.bar(at + offset, 4))).toEqual([1, 1, 1, 1]);
    driver.setBar(at, 8, 0x1_fee0_0007n);
    expect(driver.bar(at, 8)).toBe(0x1_fee0_0004);
    driver.setBar(at + 4, 4, 2);
    driver.setBar(at + 8, 8, 0xffff_fffe_1234_5678n);
    expect(driver.bar(at, 8)).toBe(0x2_fee0_0004);
    expect(driver.bar(at + 8, 8)).toBe(0x1234_5678);
  });

  test('drops and reads 0 for all other accesses, and behind its end', () => {
    const { driver } = makePci();
    const at = driver.tableAt;
    driver.setMessage(0, 0x1_1010_1010n, 0x1010_1010);
    for (const [offset, width] of [
      [0, 1],
      [0, 2],
      [2, 4],
      [4, 8],
      [0, 16],
      [64, 4],
      [16 * 2047, 8],
    ] as const) {
      driver.setBar(at + offset, width, -1n);
      expect(driver.bar(at + offset, width)).toBe(0);
    }
    expect(driver.bar(at, 8)).toBe(0x1_1010_1010);
    expect(driver.bar(at + 16, 8)).toBe(0);
  });
});

describe('§4.1.5.3: a call', () => {
  test('goes by the route of its queue’s vector, not through this process', async () => {
    const { msi, calls } = await running();
    for (const [index, call] of calls.entries()) {
      call.signal();
      await turns();
      expect(call.read()).toBe(1);
      call.signal();
      expect(msi.poll()).toEqual([FIRST + index]);
    }
    expect([...msi.addresses]).toEqual([0xfee0_0000n]);
  });

  test('goes nowhere without a vector, and is not sent later', async () => {
    const { driver, msi, call } = await running();
    driver.setCommon(22, 2, 0);
    driver.setCommon(26, 2, 0xffff);
    call.signal();
    await turns();
    driver.setCommon(26, 2, 1);
    expect(msi.poll()).toEqual([]);
    call.signal();
    expect(msi.poll()).toEqual([FIRST]);
  });

  test('goes by the new vector where the old one was masked', async () => {
    const { driver, msi, call } = await running();
    driver.setCommon(22, 2, 0);
    driver.mask(1, true);
    call.signal();
    driver.setCommon(26, 2, 2);
    expect(msi.poll()).toEqual([FIRST + 1]);
    driver.mask(1, false);
    expect(msi.poll()).toEqual([]);
  });

  test('has the message that was written last', async () => {
    const { driver, msi, call } = await running();
    driver.setMessage(1, 0xfee0_1000n, 0x99);
    call.signal();
    expect(msi.poll()).toEqual([0x99]);
    expect(msi.addresses).toContain(0xfee0_1000n);
  });

  test('is held where no route can be had, and sent when one can', async () => {
    const msi = new FakeMsi();
    const allocate = vi.spyOn(msi, 'allocate').mockImplementation(() => {
      throw new Error('ENOSPC');
    });
    const { driver, device } = makePci({ msi });
    await driver.bringUp();
    device.queues[0]?.call.signal();
    expect(driver.isPending(1)).toBe(true);
    allocate.mockRestore();
    driver.msixControl(ENABLE | MASK_ALL);
    driver.msixControl(ENABLE);
    expect(msi.poll()).toEqual([FIRST]);
  });
});

describe('masking', () => {
  type Running = Awaited<ReturnType<typeof running>>;
  const WAYS: [string, (pci: Running, masked: boolean) => void][] = [
    ['of the vector', ({ driver }, masked) => driver.mask(1, masked)],
    ['of all', ({ driver }, masked) => driver.msixControl(masked ? ENABLE | MASK_ALL : ENABLE)],
    ['by the bus master bit', ({ driver }, masked) => driver.command(masked ? 2 : 6)],
  ];

  test.each(WAYS)('%s holds what is called, which sends once', async (_, mask) => {
    const pci = await running();
    const { driver, msi, call } = pci;
    mask(pci, true);
    expect(driver.isPending(1)).toBe(false);
    for (let i = 0; i < 3; i++) call.signal();
    await turns();
    for (let i = 0; i < 2; i++) expect(driver.isPending(1)).toBe(true);
    expect(driver.isPending(2)).toBe(false);
    expect(msi.poll()).toEqual([]);
    mask(pci, false);
    expect(msi.poll()).toEqual([FIRST]);
    expect(driver.isPending(1)).toBe(false);
    expect(msi.poll()).toEqual([]);
  });

  test('a vector of two queues that both called sends once', async () => {
    const { driver, msi, calls } = await running();
    driver.setCommon(22, 2, 1);
    driver.setCommon(26, 2, 1);
    driver.mask(1, true);
    for (const call of calls) call.signal();
    driver.mask(1, false);
    expect(msi.poll().filter((data) => data === FIRST)).toEqual([FIRST]);
  });

  test('leaves a route alone whose message stays the same', async () => {
    const { driver, msi } = await running();
    const updates = () => msi.routes.map((route) => route.updates);
    const before = updates();
    driver.mask(1, true);
    driver.mask(1, false);
    driver.msixControl(ENABLE | MASK_ALL);
    driver.msixControl(ENABLE);
    expect(updates()).toEqual(before);
    driver.mask(1, true);
    driver.setMessage(1, 0xfee0_2000n, 0x77);
    expect(updates()).toEqual(before);
    driver.mask(1, false);
    expect(msi.addresses).toContain(0xfee0_2000n);
  });

  test('the pending bits cannot be written', async () => {
    const { driver } = await running();
    driver.setBar(driver.pendingAt, 8, -1n);
    expect(driver.bar(driver.pendingAt, 8)).toBe(0);
    driver.mask(1, true);
    expect(driver.bar(driver.pendingAt, 8)).toBe(0);
  });

  test('a storm of it loses no call and invents none', async () => {
    const pci = await running();
    const { driver, msi, call } = pci;
    const masked = [false, false, false];
    let pending = false;
    let expected = 0;
    let sent = 0;
    let seed = 1;
    for (let i = 0; i < 5000; i++) {
      seed = (seed * 1103515245 + 12345) & 0x7fff_ffff;
      const choice = (seed >> 16) % 6;
      if (choice < 3) {
        masked[choice] = !masked[choice];
        WAYS[choice]?.[1](pci, masked[choice] === true);
      } else if (choice === 3) {
        expect(driver.isPending(1)).toBe(pending);
      } else {
        call.signal();
        pending = true;
      }
      // Listening that should have ended would take a call meanwhile.
      if (i % 16 === 0) await turns();
      sent += msi.poll().length;
      if (pending && !masked.includes(true)) {
        expected++;
        pending = false;
      }
      expect(sent).toBe(expected);
    }
    expect(expected).toBeGreaterThan(200);
  });

  test('a storm of it within one turn takes no descriptors', async () => {
    const onMsi = vi.fn();
    const { driver, device } = makePci({ onMsi });
    await driver.bringUp();
    for (let i = 0; i < 20_000; i++) driver.msixControl(i % 2 ? ENABLE : 0);
    device.queues[0]?.call.signal();
    await turns();
    expect(onMsi.mock.calls).toEqual([[0xfee0_0000n, FIRST]]);
  });
});

describe('without routes', () => {
  test('messages go by the callback, and wait while their vector is masked', async () => {
    const onMsi = vi.fn();
    const { driver, device } = makePci({ onMsi });
    await driver.bringUp();
    const call = device.queues[1]?.call;
    call?.signal();
    await turns();
    expect(onMsi.mock.calls).toEqual([[0xfee0_0000n, FIRST + 1]]);
    driver.mask(2, true);
    call?.signal();
    await turns();
    expect(driver.isPending(2)).toBe(true);
    expect(onMsi).toHaveBeenCalledTimes(1);
    driver.mask(2, false);
    await turns();
    expect(onMsi).toHaveBeenCalledTimes(2);
    expect(driver.isPending(2)).toBe(false);
  });
});

describe('§4.1.5.4: a change of the configuration', () => {
  test('has a vector of its own', async () => {
    const { device, driver, msi } = await running();
    device.setLink(false);
    expect(msi.poll()).toEqual([0x40]);
    driver.setCommon(16, 2, 0xffff);
    device.setLink(true);
    driver.setCommon(16, 2, 0);
    expect(msi.poll()).toEqual([]);
  });

  test('waits while that is masked', async () => {
    const { device, driver, msi } = await running();
    driver.mask(0, true);
    device.setLink(false);
    expect(driver.isPending(0)).toBe(true);
    driver.mask(0, false);
    expect(msi.poll()).toEqual([0x40]);
  });
});
