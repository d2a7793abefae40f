/** NetCard: a virtio card and who moves its packets, put where the guest finds it. */
import {
  GuestMemory,
  KernelBackend,
  type Tap,
  type VhostUserFrontend,
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

/**
 * Where a card's cable leads: to a TAP, by vhost-net, with a queue for each queue pair; or to a vhost-user back end.
 * Its end stays the caller's, and outlives the machine.
 */
export type Cable =
  | { taps: readonly Tap[] }
  /** `path`: of the socket. */
  | { frontend: VhostUserFrontend; path: string };

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
  /** Where its cable leads: the TAP's name, or the socket's path. */
  readonly name: string;
  readonly #bus: Bus;
  #mapping: Mapping | undefined;
  /** Accesses where the registers were before. */
  #accesses = 0;

  /** `number` counts a machine's cards of the transport. */
  constructor(slots: Slots, cable: Cable, number: number, options: NetCardOptions) {
    const { memory, mmio, undo } = slots;
    const { mac, mtu } = options;
    const taps = 'taps' in cable ? cable.taps : [];
    this.name = 'taps' in cable ? (taps[0]?.name ?? '') : cable.path;
    this.#bus = mmio;
    const backend =
      'taps' in cable
        ? undo.add(KernelBackend.open(taps), (opened) => opened.close())
        : cable.frontend;
    const size = mtu === undefined ? {} : { mtu };
    this.device = undo.add(new VirtioNetDevice({ memory, backend, taps, mac, ...size }), (device) =>
      device.close(),
    );
    if ('frontend' in cable) this.#followLink(cable.frontend, undo);
    if (options.transport === 'pci') this.#onPci(slots, number);
    else this.#onMmio(slots, number, options.registerPage ?? slots.vm.trapsWrites);
  }

  /** Times that a processor left the guest for this card: traffic does not add to it. */
  get exits(): number {
    return this.#accesses + (this.#mapping?.accesses ?? 0);
  }

  /** The guest sees its link down while no back end is there. */
  #followLink(frontend: VhostUserFrontend, undo: Undo): void {
    const follow = (up: boolean) => this.device.setLink(up);
    follow(frontend.linkUp);
    undo.add(frontend.on('link', follow), (heard) => heard.off('link', follow));
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
