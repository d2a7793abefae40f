/** The page for VMMs: its blocks are one module, and a guest's driver finds the card that it makes. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type {
  GuestMemory,
  KernelBackend,
  KvmEvents,
  MsiRoutes,
  Tap,
  VirtioMmioTransport,
  VirtioNetDevice,
  VirtioPciTransport,
} from '../../lib/index.js';
import { NEEDS_RESET } from '../support/card-driver.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { codeBlocks } from '../support/code-blocks.js';
import { type Bus, type Message, RegisterGuest } from '../support/embedded-guest.js';
import { FakeVm } from '../support/fake-vm.js';
import { tapName, until } from '../support/host.js';
import { ROOT } from '../support/sources.js';

holdNothingLeaks();

interface Card {
  tap: Tap;
  backend: KernelBackend;
  device: VirtioNetDevice;
}
type Transport = VirtioPciTransport | VirtioMmioTransport;
type Level = (level: boolean) => void;
interface Slot {
  bus: Bus;
  host: object;
  slot: number;
  barAddress: bigint;
}

/** What the page exports. */
interface Page {
  openMemory(): GuestMemory;
  openCard(memory: GuestMemory, name: string): Card;
  Bus: new () => Bus;
  PciHost: new () => object;
  GsiTable: new (vm: KvmEvents, setRouting: (messages: Message[]) => void) => MsiRoutes;
  putOnPciOfKvm(
    device: VirtioNetDevice,
    slot: Slot,
    vm: KvmEvents,
    msi: MsiRoutes,
    setLine: Level,
  ): Transport;
  putOnMmio(
    device: VirtioNetDevice,
    place: { bus: Bus; address: bigint; vm: KvmEvents; gsi: number },
  ): Transport;
  putOnEmulatedPci(
    device: VirtioNetDevice,
    slot: Slot,
    send: (address: bigint, data: number) => void,
    setLine: Level,
  ): Transport;
  putOnEmulatedMmio(
    device: VirtioNetDevice,
    place: { bus: Bus; address: bigint },
    setLine: Level,
  ): Transport;
  watch(device: VirtioNetDevice, tell: (text: string) => void): void;
  resetMachine(device: VirtioNetDevice): Promise<void>;
  closeCard(transport: Transport, card: Card): Promise<void>;
}

/** The module of the page's blocks, on this library. */
async function page(): Promise<Page> {
  mkdirSync(join(ROOT, 'build'), { recursive: true });
  const folder = mkdtempSync(join(ROOT, 'build', 'embedding-'));
  cleanup(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'page.ts');
  const source = codeBlocks('docs/embedding.md').map((block) => block.source);
  writeFileSync(file, source.join('\n').replace("'vhost-net'", "'../../lib/index.js'"));
  return import(file);
}

const SLOT = 3;
const BAR_AT = 0xc000_0000n;
const MMIO_AT = 0xd000_0000n;
const PCI_PORTS = 0xcf8n;

/** What every VMM of this file has: the page's functions, a card, a guest that reads and writes. */
async function build() {
  const vmm = await page();
  const memory = vmm.openMemory();
  cleanup(() => memory.close());
  const card = vmm.openCard(memory, tapName());
  // Where the test fails before the page closes them; twice is no error.
  cleanup(() => card.tap.closeAsync());
  cleanup(() => card.backend.close());
  cleanup(() => card.device.close());
  const told: string[] = [];
  vmm.watch(card.device, (text) => told.push(text));
  const [bus, ports, host, vm] = [new vmm.Bus(), new vmm.Bus(), new vmm.PciHost(), new FakeVm()];
  ports.add(host, PCI_PORTS, 8);
  const guest = new RegisterGuest({ memory, bus, ports, vm, tap: card.tap.name });
  cleanup(() => guest.close());
  const slot = { bus, host, slot: SLOT, barAddress: BAR_AT };
  return { vmm, memory, card, told, bus, vm, guest, slot };
}

/** Frames both ways, a reset that begins anew, and an end that leaves nothing of it. */
async function lives(
  { vmm, card, guest, vm, told }: Awaited<ReturnType<typeof build>>,
  transport: Transport,
  interrupted: () => boolean,
) {
  cleanup(() => transport.close());
  const onPci = 'readConfig' in transport;
  const up = () => (onPci ? guest.findOnPci(SLOT) : guest.findOnMmio(MMIO_AT));
  await up();
  await guest.sends(1);
  await guest.receives(2);
  await until(() => {
    guest.takeInterrupts();
    return interrupted();
  }, 'the interrupts');
  await vmm.resetMachine(card.device);
  expect(card.backend.running).toBe(false);
  expect(told).toContain('the card is as it was at first');
  await up();
  await guest.receives(3);
  await guest.sends(4);
  // A ring that is nowhere: the VMM is told, and closing is as ever.
  await card.device.setStatus(0);
  await guest.breaks(card.device);
  expect(card.device.status & NEEDS_RESET).toBe(NEEDS_RESET);
  expect(told.filter((text) => text.startsWith('the card needs a reset'))).toHaveLength(1);
  guest.close();
  await vmm.closeCard(transport, card);
  expect([vm.ioeventfds, vm.irqfds]).toEqual([[], []]);
}

/** Queue n has vector n + 1, and the data 0x40 on: both directions interrupted. */
const bothMessages = ({ messages }: RegisterGuest) => messages.has(0x41) && messages.has(0x42);

test('on PCI, KVM has the kicks, and each vector is a route', async () => {
  const built = await build();
  const { vmm, card, vm, guest, slot } = built;
  const msi = new vmm.GsiTable(vm, (messages) => guest.setRouting(messages));
  const transport = vmm.putOnPciOfKvm(card.device, slot, vm, msi, () => {});
  await lives(built, transport, () => bothMessages(guest));
  expect(guest.kicksByKvm).toBeGreaterThan(0);
});

test('on virtio-mmio, KVM has the kicks, and all calls are one line', async () => {
  const built = await build();
  const { vmm, card, bus, vm, guest } = built;
  const registerPage = new Uint8Array(4096);
  const place = { bus, address: MMIO_AT, vm, gsi: 5, registerPage };
  const transport = vmm.putOnMmio(card.device, place);
  expect(Buffer.from(registerPage).toString('latin1', 0, 4)).toBe('virt');
  expect(vm.irqfds.every(({ gsi }) => gsi === 5)).toBe(true);
  await lives(built, transport, () => guest.lines.has(5));
  expect(guest.kicksByKvm).toBeGreaterThan(0);
});

test('on PCI without KVM, messages are sent by a call', async () => {
  const built = await build();
  const { vmm, card, guest, slot } = built;
  const send = (_: bigint, data: number) => guest.messages.add(data);
  const transport = vmm.putOnEmulatedPci(card.device, slot, send, () => {});
  await lives(built, transport, () => bothMessages(guest));
  expect(guest.kicksByKvm).toBe(0);
});

test('on virtio-mmio without KVM, the line rises and falls', async () => {
  const built = await build();
  const { vmm, card, bus } = built;
  const levels: boolean[] = [];
  const place = { bus, address: MMIO_AT };
  const transport = vmm.putOnEmulatedMmio(card.device, place, (level) => levels.push(level));
  await lives(built, transport, () => levels.includes(true));
  expect(levels.at(-1)).toBe(false);
});
