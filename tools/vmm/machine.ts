/** Machine: a PC with Linux in its memory, a serial console and network cards, from power-on to its end. */
import { GuestMemory } from '../../lib/index.js';
import { SERIAL_PORT, SERIAL_PORTS } from './acpi/machine.js';
import { acpiTables } from './acpi/tables.js';
import { LAYOUT, LINES } from './boot/layout.js';
import { loadLinux } from './boot/load.js';
import { Bus } from './devices/bus.js';
import { PCI_HOST_PORT, PCI_HOST_PORTS, PciHost } from './devices/pci-host.js';
import {
  KEYBOARD_PORT,
  KeyboardReset,
  POWER_PORT,
  POWER_PORTS,
  Power,
  RESET_CODE,
} from './devices/power.js';
import { Uart } from './devices/uart.js';
import type { Vcpu } from './kvm/vcpu.js';
import { Vm } from './kvm/vm.js';
import { type Cable, NetCard, type NetCardOptions } from './net-card.js';
import { Undo } from './undo.js';

export interface MachineOptions {
  kernel: Buffer;
  initrd?: Buffer | undefined;
  commandLine: string;
  /** Bytes. */
  memory: number;
  cpus: number;
  cards: readonly (NetCardOptions & Cable)[];
  /** A byte that the guest writes to its serial port. */
  onSerial(byte: number): void;
}

export class Machine {
  readonly cards: readonly NetCard[];
  /** `'poweroff'`, `'reset'`, or what a processor could not go on for. */
  readonly ended: Promise<string>;
  readonly #uart: Uart;
  readonly #undo: Undo;

  private constructor(options: MachineOptions, undo: Undo) {
    this.#undo = undo;
    let end!: (reason: string) => void;
    this.ended = new Promise((resolve) => {
      end = resolve;
    });
    const memory = undo.add(createMemory(options), (created) => created.close());
    const vm = undo.add(new Vm(memory), (created) => created.close());
    const [pio, mmio, pci] = [new Bus(), new Bus(), new PciHost()];
    this.#uart = new Uart(options.onSerial, (level) => vm.setLine(LINES.serial, level));
    pio.add(SERIAL_PORT, SERIAL_PORTS, this.#uart);
    pio.add(PCI_HOST_PORT, PCI_HOST_PORTS, pci);
    pio.add(POWER_PORT, POWER_PORTS, new Power(end));
    pio.add(KEYBOARD_PORT, 1, new KeyboardReset(end));
    const slots = { vm, memory, mmio, pci, undo };
    const counts = { pci: 0, mmio: 0 };
    this.cards = options.cards.map(
      (card) => new NetCard(slots, card, counts[card.transport]++, card),
    );

    const tables = { address: LAYOUT.acpi, cpus: options.cpus, mmioCards: counts.mmio };
    memory.write(BigInt(LAYOUT.acpi), acpiTables(tables));
    memory.write(BigInt(LAYOUT.resetVector), RESET_CODE);
    const start = loadLinux(memory, { ...options, acpi: LAYOUT.acpi });
    const vcpus: Vcpu[] = [];
    for (let id = 0; id < options.cpus; id++) {
      vcpus.push(undo.add(vm.createVcpu(id), (created) => created.close()));
    }
    // The others wait until the first one starts them.
    vcpus[0]?.setLongMode(start);
    for (const vcpu of vcpus) {
      vcpu.run(pio, mmio);
      vcpu.ended.then(end);
    }
  }

  /** Switches one on. Throws where something is missing; then nothing is left of it. */
  static async start(options: MachineOptions): Promise<Machine> {
    const undo = new Undo();
    try {
      return new Machine(options, undo);
    } catch (error) {
      await undo.run();
      throw error;
    }
  }

  /** What is typed into the serial console. */
  type(bytes: Uint8Array): void {
    this.#uart.receive(bytes);
  }

  /** Switches it off, whatever it does. */
  close(): Promise<void> {
    return this.#undo.run();
  }
}

/** Memory up to the hole below 4 GiB, and the rest behind it. */
function createMemory({ memory: size, cards }: MachineOptions): GuestMemory {
  const low = Math.min(size, LAYOUT.memoryHole);
  const parts = [{ guestAddress: 0n, size: low }];
  if (size > low) {
    parts.push({ guestAddress: BigInt(LAYOUT.memoryAfterHole), size: size - low });
  }
  // Who is behind a socket maps it too. Where nobody does it may have huge pages.
  const backing = cards.some((card) => 'frontend' in card) ? 'memfd' : 'anonymous';
  return GuestMemory.create(parts.map((part) => ({ ...part, backing })));
}
