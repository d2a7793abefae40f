/** Registers that a guest reads as memory: what they show, and when. */
import { expect, test } from 'vitest';
import { VirtioMmioTransport } from '../../lib/device/virtio-mmio-transport.js';
import { makeCard } from '../support/card-driver.js';
import { FakeVm } from '../support/fake-vm.js';
import { makeMmioCard, REG, word } from '../support/mmio-driver.js';

const [VRING, CONFIG] = [1, 2];
const FAILED = 0x40;

/** A card whose registers lie in `page` too, and what a guest reads there. */
function makePagedCard() {
  const vm = new FakeVm();
  const registerPage = new Uint8Array(4096);
  const card = makeMmioCard({ queuePairs: 2 }, { interrupt: { vm, gsi: 5 }, registerPage });
  const view = new DataView(registerPage.buffer);
  return {
    vm,
    ...card,
    shown: (register: keyof typeof REG) => view.getUint32(REG[register], true),
  };
}

test('the page shows a new card before anybody wrote to it', () => {
  const { shown, transport } = makePagedCard();
  expect([shown('MagicValue'), shown('Version'), shown('DeviceID')]).toEqual([0x7472_6976, 2, 1]);
  expect([shown('Config'), shown('SHMLenLow')]).toEqual([0x0000_0002, 0xffff_ffff]);
  expect(transport.read(REG.MagicValue, 4)).toEqual(word(shown('MagicValue')));
});

test('a write shows what it selected when it returns, and what it waited for when that is done', async () => {
  const { shown, driver } = makePagedCard();
  await driver.takeFeatures();
  driver.write('QueueSel', 1);
  expect(shown('QueueSizeMax')).toBe(256);
  driver.write('QueueSel', 9);
  expect(shown('QueueSizeMax')).toBe(0);
  for (let index = 0; await driver.setUpQueue(index); index++) expect(shown('QueueReady')).toBe(1);
  const started = driver.write('Status', 15);
  expect(shown('Status')).toBe(15);
  await started;
  const reset = driver.write('Status', 0);
  expect(shown('Status')).toBe(15);
  await reset;
  expect(shown('Status')).toBe(0);
});

test('a queue that is being reset says so while it lasts', async () => {
  const { shown, driver } = makePagedCard();
  await driver.bringUp();
  driver.write('QueueSel', 0);
  const reset = driver.write('QueueReset', 1);
  expect([shown('QueueReset'), shown('QueueReady')]).toEqual([1, 1]);
  await reset;
  expect([shown('QueueReset'), shown('QueueReady')]).toEqual([0, 0]);
});

test('a change of the configuration is shown before the guest is interrupted for it', async () => {
  const { vm, shown, driver, device } = makePagedCard();
  await driver.bringUp();
  const config = vm.irqfds.at(-1)?.eventFd;
  const seen: number[] = [];
  const signal = config?.signal.bind(config);
  Object.assign(config as object, {
    signal: () => {
      seen.push(shown('InterruptStatus'));
      signal?.();
    },
  });
  const before = shown('ConfigGeneration');
  device.setLink(false);
  expect(seen).toEqual([VRING | CONFIG]);
  expect(shown('ConfigGeneration')).not.toBe(before);
  driver.write('InterruptACK', VRING | CONFIG);
  expect(shown('InterruptStatus')).toBe(VRING);
});

test('a backend that fails is shown as it is told', async () => {
  const { shown, driver, backend } = makePagedCard();
  await driver.bringUp();
  backend.config?.onRingError?.(0);
  expect(shown('Status') & FAILED).toBe(FAILED);
  expect(shown('InterruptStatus')).toBe(VRING | CONFIG);
});

test('a reset that the VMM asks for is shown when it is done', async () => {
  const { shown, driver, device, transport } = makePagedCard();
  await driver.bringUp();
  await device.reset();
  expect(shown('Status')).toBe(0);
  await driver.bringUp();
  await transport.reset();
  expect([shown('Status'), shown('InterruptStatus')]).toEqual([0, 0]);
});

test('a card that goes on elsewhere shows there what it showed here', async () => {
  const { shown, driver, transport } = makePagedCard();
  await driver.bringUp();
  driver.write('QueueSel', 1);
  const state = await transport.stop();
  expect([shown('Status'), shown('QueueReady')]).toEqual([0, 0]);
  const other = makePagedCard();
  await other.transport.start(state);
  expect([other.shown('Status'), other.shown('QueueReady')]).toEqual([15, 1]);
  await other.driver.reset();
});

test('a page reads zeroes when its transport is closed', () => {
  const { shown, transport, device } = makePagedCard();
  transport.close();
  device.setLink(false);
  expect([shown('MagicValue'), shown('Config')]).toEqual([0, 0]);
});

test('KVM takes acknowledgements of used buffers alone, and the guest exits for the others', () => {
  const { vm, transport, device } = makePagedCard();
  transport.connect(vm);
  const acknowledgement = vm.ioeventfds.at(-1);
  expect(vm.ioeventfds).toHaveLength(device.queues.length + 1);
  expect(acknowledgement).toMatchObject({ address: 0xd000_0064n, length: 4, datamatch: 1n });
  transport.close();
  expect(acknowledgement?.eventFd.closed).toBe(true);
});

test.each([
  ['too short', new Uint8Array(0x110)],
  ['not aligned', new Uint8Array(4096).subarray(2)],
])('a page that is %s is misuse, and leaves no irqfd', (_, registerPage) => {
  const { device } = makeCard();
  const vm = new FakeVm();
  const make = () =>
    new VirtioMmioTransport(device, {
      address: 0n,
      interrupt: { vm, gsi: 5 },
      registerPage,
    });
  expect(make).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' }));
  expect(vm.irqfds).toEqual([]);
});
