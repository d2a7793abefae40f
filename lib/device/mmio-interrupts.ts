/** The two ways of a virtio-mmio card's one interrupt, and what InterruptStatus reads in each. */
import { valueError } from '../errors.js';
import { EventFd } from '../host/event-fd.js';
import { VIRTIO_MMIO_INT_CONFIG, VIRTIO_MMIO_INT_VRING } from '../uapi/virtio-mmio.js';
import { VIRTIO_CONFIG_S_DRIVER_OK } from '../uapi/virtio-net.js';
import { assignAll, type KvmEvents } from './assign-all.js';
import type { VirtioNetDevice } from './virtio-net-device.js';

export interface MmioInterrupt {
  /** Edge-triggered by irqfds, or a line with a level. */
  readonly kind: 'irqfd' | 'line';
  /** InterruptStatus: `VIRTIO_MMIO_INT_*`. */
  readonly status: number;
  /** Signalled by acknowledgements of used buffers, which then need not come here. */
  readonly acknowledged?: EventFd;
  configChanged(): void;
  /** The driver has handled these bits. */
  acknowledge(bits: number): void;
  /** What waits for the driver to acknowledge it, as far as this process knows: `VIRTIO_MMIO_INT_*`. */
  save(): number;
  restore(status: number): void;
  /** The card was reset. */
  reset(): void;
  close(): void;
}

/** A guest's interrupt line in KVM. */
export interface MmioIrq {
  vm: KvmEvents;
  /** Global system interrupt, edge-triggered. */
  gsi: number;
}

/** Exactly one of `interrupt` and `onInterrupt`. */
export interface MmioInterruptOptions {
  /** KVM interrupts the guest, by irqfds. The guest must be told that its line is edge-triggered. */
  interrupt?: MmioIrq;
  /** Called with each new level of the interrupt line, for a level-triggered one: an emulator. */
  onInterrupt?: (level: boolean) => void;
}

/**
 * `show` is called with each change of the status, before anybody is interrupted for it. Throws
 * `ERR_INVALID_ARG_VALUE`, `ERR_BUSY`, and what `KvmVm.assignIrqfd` throws.
 */
export function makeMmioInterrupt(
  device: VirtioNetDevice,
  { interrupt, onInterrupt }: MmioInterruptOptions,
  show: () => void,
): MmioInterrupt {
  if (interrupt && !onInterrupt) return new IrqfdInterrupt(device, interrupt, show);
  if (onInterrupt && !interrupt) return new LineInterrupt(device, onInterrupt, show);
  throw valueError('a transport has one of interrupt and onInterrupt');
}

/**
 * Every call is an irqfd, and KVM interrupts the guest without this process. Nobody here sees that, so the bit
 * of used buffers reads as set for as long as the driver is ready. To acknowledge it changes nothing.
 */
class IrqfdInterrupt implements MmioInterrupt {
  readonly kind = 'irqfd';
  /** Nobody reads it: KVM needs somewhere to put what has no consequence. */
  readonly acknowledged: EventFd;
  readonly #device: VirtioNetDevice;
  readonly #show: () => void;
  readonly #config: EventFd;
  readonly #deassign: () => void;
  #configChanged = false;

  constructor(device: VirtioNetDevice, { vm, gsi }: MmioIrq, show: () => void) {
    this.#device = device;
    this.#show = show;
    [this.#config, this.acknowledged] = twoEventFds();
    const eventFds = [...device.queues.map(({ call }) => call), this.#config];
    try {
      this.#deassign = assignAll(
        eventFds.map((eventFd) => ({ gsi, eventFd })),
        (irqfd) => vm.assignIrqfd(irqfd),
        (irqfd) => vm.deassignIrqfd(irqfd),
      );
    } catch (error) {
      this.#config.close();
      this.acknowledged.close();
      throw error;
    }
  }

  get status(): number {
    const ready = (this.#device.status & VIRTIO_CONFIG_S_DRIVER_OK) !== 0;
    return (ready ? VIRTIO_MMIO_INT_VRING : 0) | (this.#configChanged ? VIRTIO_MMIO_INT_CONFIG : 0);
  }

  configChanged(): void {
    this.#configChanged = true;
    this.#show();
    this.#config.signal();
  }

  acknowledge(bits: number): void {
    if (bits & VIRTIO_MMIO_INT_CONFIG) this.#configChanged = false;
  }

  /** Not that of used buffers, which follows from the card's status. */
  save(): number {
    return this.#configChanged ? VIRTIO_MMIO_INT_CONFIG : 0;
  }

  /** The interrupt itself is in KVM's controllers since it was signalled. */
  restore(status: number): void {
    this.#configChanged = (status & VIRTIO_MMIO_INT_CONFIG) !== 0;
  }

  reset(): void {
    this.#configChanged = false;
  }

  close(): void {
    try {
      this.#deassign();
    } finally {
      this.#config.close();
      this.acknowledged.close();
    }
  }
}

function twoEventFds(): [EventFd, EventFd] {
  const first = EventFd.create();
  try {
    return [first, EventFd.create()];
  } catch (error) {
    first.close();
    throw error;
  }
}

/** Calls come to this process: InterruptStatus is exact, and the line is high while it is not 0. */
class LineInterrupt implements MmioInterrupt {
  readonly kind = 'line';
  readonly #device: VirtioNetDevice;
  readonly #setLine: (level: boolean) => void;
  readonly #show: () => void;
  #status = 0;

  /** `setLine` is called with each change of the line's level. Throws `ERR_BUSY` where somebody listens already. */
  constructor(device: VirtioNetDevice, setLine: (level: boolean) => void, show: () => void) {
    this.#device = device;
    this.#setLine = setLine;
    this.#show = show;
    const listened: EventFd[] = [];
    try {
      for (const { call } of device.queues) {
        call.onSignal(() => this.#usedBuffers());
        listened.push(call);
      }
    } catch (error) {
      for (const call of listened) call.offSignal();
      throw error;
    }
  }

  get status(): number {
    return this.#status;
  }

  configChanged(): void {
    this.#change(this.#status | VIRTIO_MMIO_INT_CONFIG);
  }

  acknowledge(bits: number): void {
    this.#change(this.#status & ~bits);
  }

  save(): number {
    return this.#status;
  }

  restore(status: number): void {
    this.#change(status);
  }

  reset(): void {
    this.#change(0);
  }

  /** The line is low after it. */
  close(): void {
    for (const { call } of this.#device.queues) call.offSignal();
    this.#change(0);
  }

  #usedBuffers(): void {
    // What was signalled before a reset may arrive after it.
    if (!(this.#device.status & VIRTIO_CONFIG_S_DRIVER_OK)) return;
    this.#change(this.#status | VIRTIO_MMIO_INT_VRING);
  }

  #change(status: number): void {
    const before = this.#status !== 0;
    this.#status = status;
    this.#show();
    const level = status !== 0;
    if (level !== before) this.#setLine(level);
  }
}
