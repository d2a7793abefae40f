/**
 * VirtioMmioTransport: a card behind the registers of virtio-mmio, version 2 (virtio 1.3 §4.2).
 *
 * InterruptStatus must say why the guest was interrupted, and a driver ignores an interrupt for which it reads
 * 0 (Linux, `vm_interrupt()`). Calls that go from the backend to KVM as irqfds pass this process by, so it
 * cannot know of used buffers. There are two ways out. To bring every call here first costs a turn of the
 * event loop for each interrupt, and is what irqfds are there to spare. Or bit 0 reads as set whenever the
 * driver is ready: a driver that looks at a ring in vain finds nothing and goes on. With irqfds this does the
 * second. Without, calls come here anyway, and both bits are exact.
 */
import { checkUint64, closedError, StateError } from '../errors.js';
import type { EventFd } from '../host/event-fd.js';
import type { Ioeventfd } from '../host/kvm-vm.js';
import { logDevice } from '../log.js';
import {
  VIRTIO_MMIO_CONFIG,
  VIRTIO_MMIO_INT_VRING,
  VIRTIO_MMIO_INTERRUPT_ACK,
  VIRTIO_MMIO_QUEUE_NOTIFY,
} from '../uapi/virtio-mmio.js';
import { assignAll, type KvmEvents } from './assign-all.js';
import {
  type MmioInterrupt,
  type MmioInterruptOptions,
  makeMmioInterrupt,
} from './mmio-interrupts.js';
import { isRegister, MmioRegisterBank } from './mmio-register-bank.js';
import { MmioRegisterPage } from './mmio-register-page.js';
import { checkMmioRegisters, type MmioRegisters, type VirtioMmioState } from './mmio-state.js';
import { checkObject } from './state-fields.js';
import type { VirtioNetDevice } from './virtio-net-device.js';

export interface VirtioMmioTransportOptions extends MmioInterruptOptions {
  /** Guest-physical address of the registers; 0x200 bytes have room for all. */
  address: bigint;
  /**
   * Memory in which the transport keeps what the registers read, 0x200 bytes or more, aligned to 4: for a VMM that
   * lets the guest read it at `address` (`KVM_MEM_READONLY`), so that only writes leave the guest. Default: none.
   */
  registerPage?: Uint8Array | undefined;
}

/**
 * A card's registers on a bus. A VMM calls {@link VirtioMmioTransport.read} and
 * {@link VirtioMmioTransport.write} for the guest's accesses; whatever a guest does, they do not throw.
 * Registers take aligned accesses of 32 bits, the configuration space of 1, 2, 4 or 8 bytes; what is read
 * elsewhere or otherwise is 0, and what is written is dropped.
 *
 * **Interrupts.** With `interrupt`, the calls of all queues are irqfds of one edge-triggered line, and a guest
 * is interrupted without this process. InterruptStatus then reads bit 0, a used buffer, for as long as the
 * driver is ready, as nobody here sees whether there is one; bit 1, a changed configuration, is exact. With
 * `onInterrupt`, calls come to the event loop, both bits are exact, and the line is high until the driver has
 * acknowledged them; that keeps the process alive until `close()`.
 *
 * **Kicks.** A write of QueueNotify signals the queue's `kick`. After {@link VirtioMmioTransport.connect} KVM
 * does so itself and the write does not leave the guest.
 *
 * **Without exits.** An interrupt makes a driver read InterruptStatus and write InterruptACK. With a
 * `registerPage` that the guest has at `address`, the first is a read of memory. With `interrupt`, the second
 * changes nothing where it is for used buffers alone, so after `connect` KVM takes it. Then frames cost no exit at
 * all, as on PCI.
 *
 * Close it before the card, which stays the caller's.
 */
export class VirtioMmioTransport {
  readonly device: VirtioNetDevice;
  /** Guest-physical address of the registers. */
  readonly address: bigint;
  readonly #registers: MmioRegisterBank;
  readonly #interrupt: MmioInterrupt;
  readonly #page: MmioRegisterPage | undefined;
  readonly #onConfig = () => this.#interrupt.configChanged();
  readonly #onReset = () => {
    this.#registers.forget();
    this.#show();
  };
  #resetting: Promise<void> | undefined;
  #disconnect: (() => void) | undefined;
  #closed = false;

  /** Throws `ERR_INVALID_ARG_VALUE`, `ERR_BUSY`, and what `KvmVm.assignIrqfd` throws; nothing is left of it then. */
  constructor(device: VirtioNetDevice, options: VirtioMmioTransportOptions) {
    this.device = device;
    this.address = checkUint64('address', options.address);
    const { registerPage } = options;
    this.#page = registerPage && new MmioRegisterPage(registerPage);
    this.#interrupt = makeMmioInterrupt(device, options, () => this.#show());
    this.#registers = new MmioRegisterBank(device, this.#interrupt, () => this.reset());
    device.on('config', this.#onConfig);
    device.on('reset', this.#onReset);
    device.config.onChange = () => this.#show();
    this.#show();
  }

  /** What the guest reads: `length` bytes at `offset` of the registers. */
  read(offset: number, length: number): Uint8Array {
    if (offset >= VIRTIO_MMIO_CONFIG && !this.#gone) {
      return this.device.config.read(offset - VIRTIO_MMIO_CONFIG, length);
    }
    const bytes = new Uint8Array(length);
    if (isRegister(offset, length) && !this.#gone) {
      new DataView(bytes.buffer).setUint32(0, this.#registers.read(offset), true);
    }
    return bytes;
  }

  /** What the guest writes. A promise where its vCPU is to be held until that is done; it never rejects. */
  write(offset: number, bytes: Uint8Array): Promise<void> | undefined {
    if (!isRegister(offset, bytes.length) || this.#gone) {
      logDevice('%d bytes written at 0x%x, where they mean nothing', bytes.length, offset);
      return undefined;
    }
    // Another vCPU waits for the reset; what this one writes meanwhile would be lost, or half of it.
    if (this.#resetting) return this.#resetting;
    const value = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
    const done = this.#registers.write(offset, value);
    // Also while it lasts: another vCPU may look how far it is.
    this.#show();
    return this.#page ? done?.then(() => this.#show()) : done;
  }

  /** As a write of 0 to Status: for a VMM that resets the machine. */
  reset(): Promise<void> | undefined {
    if (this.#gone) return undefined;
    if (this.#resetting) return this.#resetting;
    const reset = this.device.reset();
    this.#resetting = reset?.finally(() => {
      this.#resetting = undefined;
    });
    return this.#resetting;
  }

  /**
   * Stops the card, whose guest stands still, and returns all that it was, the transport included: for
   * {@link VirtioMmioTransport.start} of this one or another. Until then the card is as after a reset. With
   * irqfds, save KVM's interrupt controllers after this one is closed. Throws `ERR_CLOSED`.
   */
  async stop(): Promise<VirtioMmioState> {
    if (this.#closed) throw closedError('the transport');
    const own: MmioRegisters[] = [];
    const card = await this.device.stop(() => own.push(this.#registers.save()));
    return { card, ...(own[0] as MmioRegisters) };
  }

  /**
   * Goes on where a card was stopped whose interrupt is of the same kind; what waited to interrupt does so now.
   * Restore KVM's interrupt controllers before. Throws as {@link VirtioNetDevice.start}, `ERR_CLOSED` too.
   */
  async start(state: VirtioMmioState): Promise<void> {
    if (this.#closed) throw closedError('the transport');
    checkObject('it', state);
    checkMmioRegisters(state, this.#interrupt.kind);
    await this.device.start(state.card, () => this.#registers.restore(state));
    this.#show();
  }

  /** What to register with KVM, so that neither kicks nor acknowledgements of used buffers leave the guest. */
  ioeventfds(): Ioeventfd[] {
    const { acknowledged } = this.#interrupt;
    const written = (offset: number, value: number, eventFd: EventFd): Ioeventfd => ({
      ...{ address: this.address + BigInt(offset), length: 4, datamatch: BigInt(value), eventFd },
    });
    const kicks = this.device.queues.map(({ kick }, index) =>
      written(VIRTIO_MMIO_QUEUE_NOTIFY, index, kick),
    );
    if (!acknowledged) return kicks;
    return [...kicks, written(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING, acknowledged)];
  }

  /** Registers all {@link VirtioMmioTransport.ioeventfds}, or none. Throws `ERR_BUSY`, `EEXIST`, `ENOSPC`. */
  connect(vm: KvmEvents): void {
    if (this.#closed) throw closedError('the transport');
    if (this.#disconnect) throw new StateError('ERR_BUSY', 'the transport is connected already');
    this.#disconnect = assignAll(
      this.ioeventfds(),
      (ioeventfd) => vm.assignIoeventfd(ioeventfd),
      (ioeventfd) => vm.deassignIoeventfd(ioeventfd),
    );
  }

  /** Takes them back: kicks come by {@link VirtioMmioTransport.write} again. */
  disconnect(): void {
    const disconnect = this.#disconnect;
    this.#disconnect = undefined;
    disconnect?.();
  }

  /** Gives the interrupt and the ioeventfds back; the guest then reads zeroes. The card goes on as it is. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.device.off('config', this.#onConfig);
    this.device.off('reset', this.#onReset);
    this.device.config.onChange = undefined;
    try {
      this.disconnect();
    } finally {
      this.#interrupt.close();
      this.#page?.clear();
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Whether there is no card here any more: this was closed, or the card, and its eventfds with it. */
  get #gone(): boolean {
    return this.#closed || this.device.queues.some(({ kick }) => kick.closed);
  }

  #show(): void {
    this.#page?.show((offset) => this.#registers.read(offset), this.device.config);
  }
}
