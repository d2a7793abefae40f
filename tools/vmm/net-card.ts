/** NetCard: a TAP, vhost-net and a virtio card, put where the guest finds it. */
import {
  GuestMemory,
  KernelBackend,
  type Tap,
  VirtioMmioTransport,
  VirtioNetDevice,
  VirtioPciTransport,
} from '../../lib/index.js';
import { mmioCardAddress, pciLine } from './acpi/machine.js';
import { LAYOUT, LINES } from './boot/layout.js';
import type { Bus, Mapping } from './devices/bus.js';
import type { PciHost } from './devices/pci-host.js';
import type { Vm } from './kvm/vm.js';
import type { Undo } from './undo.js';

export type CardTransport = 'pci' | 'mmio';

export interface NetCardOptions {
  transport: CardTransport;
  mac: string;
  mtu?: number | undefined;
  /** On virtio-mmio: the guest reads the registers as memory, without an exit. Default: where KVM is known to bear it. */
  registerPage?: boolean | undefined;
}

/** Bytes of a card's BAR, which it is aligned to. */
const BAR_BYTES = 512 << 10;

/** What a card is put into. */
export interface Slots {
  vm: Vm;
  memory: GuestMemory;
  mmio: Bus;
  pci: PciHost;
  undo: Undo;
}

/** The card's registers, as either transport has them. */
type Registers = Mapping['device'];

export class NetCard {
  readonly device: VirtioNetDevice;
  /** The TAP's name. */
  readonly tap: string;
  readonly #bus: Bus;
  #mapping: Mapping | undefined;
  /** Accesses where the registers were before. */
  #accesses = 0;

  /** `number` counts a machine's cards of the transport. The TAP's queues stay the caller's. */
  constructor(slots: Slots, taps: readonly Tap[], number: number, options: NetCardOptions) {
    const { memory, mmio, undo } = slots;
    const { mac, mtu } = options;
    this.tap = taps[0]?.name ?? '';
    this.#bus = mmio;
    const backend = undo.add(KernelBackend.open(taps), (opened) => opened.close());
    const size = mtu === undefined ? {} : { mtu };
    this.device = undo.add(new VirtioNetDevice({ memory, backend, taps, mac, ...size }), (device) =>
      device.close(),
    );
    if (options.transport === 'pci') this.#onPci(slots, number);
    else this.#onMmio(slots, number, options.registerPage ?? slots.vm.trapsWrites);
  }

  /** Times that a processor left the guest for this card: traffic does not add to it. */
  get exits(): number {
    return this.#accesses + (this.#mapping?.accesses ?? 0);
  }

  #onPci({ vm, pci, undo }: Slots, number: number): void {
    const line = pciLine(pci.nextSlot);
    const transport: VirtioPciTransport = new VirtioPciTransport(this.device, {
      // As firmware would place it; the guest may move it.
      barAddress: BigInt(LAYOUT.pciWindow + number * BAR_BYTES),
      onBarChange: (address) => this.#place(address, BAR_BYTES, registers),
      msi: vm.msi,
      onIntx: (level) => vm.setLine(line, level),
    });
    const registers: Registers = {
      read: (offset, length) => transport.readBar(offset, length),
      write: (offset, bytes) => transport.writeBar(offset, bytes),
    };
    undo.add(transport, (opened) => opened.close());
    transport.connect(vm.events);
    pci.add(transport);
  }

  #onMmio(slots: Slots, number: number, paged: boolean): void {
    const { vm, undo } = slots;
    const address = BigInt(mmioCardAddress(number));
    const interrupt = { vm: vm.events, gsi: LINES.mmioCards + number };
    const registerPage = paged ? mapPage(slots, address) : undefined;
    const transport = new VirtioMmioTransport(this.device, { address, interrupt, registerPage });
    undo.add(transport, (opened) => opened.close());
    transport.connect(vm.events);
    this.#place(address, LAYOUT.mmioCardBytes, transport);
  }

  /** The registers are there now, or nowhere. */
  #place(address: bigint | undefined, length: number, registers: Registers): void {
    if (this.#mapping) {
      this.#accesses += this.#mapping.accesses;
      this.#bus.remove(this.#mapping);
      this.#mapping = undefined;
    }
    if (address !== undefined) this.#mapping = this.#bus.add(Number(address), length, registers);
  }
}

/** Registers that the guest reads as memory; what it writes to them is an access of the bus. */
function mapPage({ vm, undo }: Slots, address: bigint): Uint8Array {
  const size = LAYOUT.mmioCardBytes;
  const page = GuestMemory.create([{ guestAddress: address, size }]);
  undo.add(page, (mapped) => mapped.close());
  vm.map(page, 'read-only');
  return page.bytes(address, size);
}
