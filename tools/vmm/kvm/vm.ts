/** Vm: a KVM virtual machine with memory, interrupt controllers and their routing. */
import { closeSync } from 'node:fs';
import { type GuestMemory, KvmVm, type MsiRoutes } from '../../../lib/index.js';
import { type Addon, loadAddon } from './addon.js';
import { GsiTable } from './gsi-table.js';
import { Vcpu } from './vcpu.js';

export class Vm {
  /** Takes the eventfds of kicks and calls. */
  readonly events: KvmVm;
  /** Gives each MSI-X vector a way to the guest. */
  readonly msi: MsiRoutes;
  /**
   * Whether a guest may write to memory that it can only read, as an access of a device. Linux 7.3's KVM takes such a
   * write for a part of an interrupt's delivery, and gives the guest up, where QEMU emulates the processor.
   */
  readonly trapsWrites: boolean;
  readonly #addon: Addon;
  readonly #kvm: number;
  readonly #fd: number;
  #slots = 0;

  /** Throws where there is no KVM, or none that this process may use. */
  constructor(memory: GuestMemory) {
    this.#addon = loadAddon();
    this.trapsWrites = !this.#addon.isEmulated;
    this.#kvm = this.#addon.open();
    try {
      this.#fd = this.#addon.createVm(this.#kvm, true);
    } catch (error) {
      closeSync(this.#kvm);
      throw error;
    }
    this.events = KvmVm.fromFd(this.#fd);
    this.map(memory, 'writable');
    const setRouting = this.#addon.setRouting.bind(this.#addon, this.#fd);
    this.msi = new GsiTable(this.events, setRouting);
  }

  /** Memory of the guest. A write to what it may only read is one to a device: the bus's. */
  map(memory: GuestMemory, access: 'writable' | 'read-only'): void {
    for (const { guestAddress, size, userAddress } of memory.regions) {
      const slot = this.#slots++;
      const readOnly = access === 'read-only';
      this.#addon.setMemory(this.#fd, slot, guestAddress, BigInt(size), userAddress, readOnly);
    }
  }

  createVcpu(id: number): Vcpu {
    return new Vcpu(this.#addon, this.#kvm, this.#fd, id);
  }

  /** An interrupt line of the I/O APIC. */
  setLine(gsi: number, level: boolean): void {
    this.#addon.setLine(this.#fd, gsi, level);
  }

  /** After the vCPUs, and after what was given eventfds. The memory stays the caller's. */
  close(): void {
    this.events.close();
    closeSync(this.#fd);
    closeSync(this.#kvm);
  }
}
