/** INTx and the ISR status of a virtio-pci card (virtio 1.3 §4.1.4.5). */
import { describe, expect, test, vi } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { FakeMsi, makePci, turns } from '../support/pci.js';

holdNothingLeaks();

/** A card that runs without MSI-X. */
async function running() {
  const onIntx = vi.fn();
  const msi = new FakeMsi();
  const pci = makePci({ onIntx, msi });
  await pci.driver.bringUp();
  pci.driver.msixControl(0);
  const isr = () => pci.driver.bar(pci.driver.structure(3), 1);
  const levels = () => onIntx.mock.calls.map(([level]) => level as boolean);
  const status = () => (pci.driver.config(0x06, 2) & 8) !== 0;
  return { ...pci, isr, levels, status, msi, call: pci.device.queues[0]?.call };
}

describe('§4.1.4.5: without MSI-X', () => {
  test('a call raises the line and sets bit 0, which reading clears', async () => {
    const { isr, levels, status, call } = await running();
    call?.signal();
    await turns();
    expect([levels(), status()]).toEqual([[true], true]);
    expect(isr()).toBe(1);
    expect([levels(), status()]).toEqual([[true, false], false]);
    expect(isr()).toBe(0);
    call?.signal();
    await turns();
    expect(levels()).toEqual([true, false, true]);
  });

  test('a change of the configuration sets bit 1', async () => {
    const { isr, levels, device, call } = await running();
    device.setLink(false);
    expect(levels()).toEqual([true]);
    call?.signal();
    await turns();
    expect(isr()).toBe(3);
    expect(levels()).toEqual([true, false]);
  });

  test('INTx disable keeps the line low, not the status', async () => {
    const { driver, levels, status, device } = await running();
    driver.command(0x406);
    device.setLink(false);
    expect([levels(), status()]).toEqual([[], true]);
    driver.command(6);
    expect(levels()).toEqual([true]);
    driver.command(0x406);
    expect(levels()).toEqual([true, false]);
  });

  test('a reset lowers the line', async () => {
    const { driver, isr, levels, device } = await running();
    device.setLink(false);
    await driver.setStatus(0);
    expect(levels()).toEqual([true, false]);
    expect(isr()).toBe(0);
  });
});

describe('with MSI-X', () => {
  test('there is no line, and a call sets no bit', async () => {
    const { driver, isr, levels, call, msi } = await running();
    driver.msixControl(0x8000);
    call?.signal();
    await turns();
    expect(msi.poll()).toEqual([0x41]);
    expect([isr(), levels()]).toEqual([0, []]);
  });

  test('what was called before it was enabled is sent', async () => {
    const { driver, call, msi } = await running();
    call?.signal();
    driver.msixControl(0x8000);
    expect(msi.poll()).toEqual([0x41]);
  });

  test('what was held when it was disabled raises the line', async () => {
    const { driver, call, isr, levels } = await running();
    driver.msixControl(0xc000);
    call?.signal();
    driver.msixControl(0);
    await turns();
    expect(levels()).toEqual([true]);
    expect(isr()).toBe(1);
  });

  test('§4.1.4.5.1: a change of the configuration sets bit 1 all the same', async () => {
    const { driver, device, isr, levels } = await running();
    driver.msixControl(0x8000);
    device.setLink(false);
    expect([isr(), levels()]).toEqual([2, []]);
  });
});
