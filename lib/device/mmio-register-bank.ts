/** MmioRegisterBank: which register of virtio-mmio reads what, and what a write of it does (virtio 1.3 §4.2.2). */
import {
  VIRTIO_MMIO_CONFIG,
  VIRTIO_MMIO_CONFIG_GENERATION,
  VIRTIO_MMIO_DEVICE_FEATURES,
  VIRTIO_MMIO_DEVICE_FEATURES_SEL,
  VIRTIO_MMIO_DEVICE_ID,
  VIRTIO_MMIO_DRIVER_FEATURES,
  VIRTIO_MMIO_DRIVER_FEATURES_SEL,
  VIRTIO_MMIO_INTERRUPT_ACK,
  VIRTIO_MMIO_INTERRUPT_STATUS,
  VIRTIO_MMIO_MAGIC,
  VIRTIO_MMIO_MAGIC_VALUE,
  VIRTIO_MMIO_QUEUE_NOTIFY,
  VIRTIO_MMIO_QUEUE_NUM_MAX,
  VIRTIO_MMIO_QUEUE_READY,
  VIRTIO_MMIO_QUEUE_RESET,
  VIRTIO_MMIO_SHM_BASE_HIGH,
  VIRTIO_MMIO_SHM_BASE_LOW,
  VIRTIO_MMIO_SHM_LEN_HIGH,
  VIRTIO_MMIO_SHM_LEN_LOW,
  VIRTIO_MMIO_SHM_SEL,
  VIRTIO_MMIO_STATUS,
  VIRTIO_MMIO_VENDOR_ID,
  VIRTIO_MMIO_VERSION,
} from '../uapi/virtio-mmio.js';
import { VIRTIO_ID_NET } from '../uapi/virtio-net.js';
import { FeatureRegisters } from './feature-registers.js';
import type { MmioInterrupt } from './mmio-interrupts.js';
import { MmioQueueRegisters } from './mmio-queue-registers.js';
import type { MmioRegisters } from './mmio-state.js';
import type { VirtioNetDevice } from './virtio-net-device.js';

const VERSION = 2;
/** `VHNT`, for vhost-net, as the bytes lie in memory. */
const VENDOR_ID = 0x544e_4856;
const ALL_ONES = 0xffff_ffff;

/** Registers that always read the same. */
const FIXED = new Map<number, number>([
  [VIRTIO_MMIO_MAGIC_VALUE, VIRTIO_MMIO_MAGIC],
  [VIRTIO_MMIO_VERSION, VERSION],
  [VIRTIO_MMIO_DEVICE_ID, VIRTIO_ID_NET],
  [VIRTIO_MMIO_VENDOR_ID, VENDOR_ID],
  // There is no shared memory: its length and its base are −1, whichever was selected.
  [VIRTIO_MMIO_SHM_LEN_LOW, ALL_ONES],
  [VIRTIO_MMIO_SHM_LEN_HIGH, ALL_ONES],
  [VIRTIO_MMIO_SHM_BASE_LOW, ALL_ONES],
  [VIRTIO_MMIO_SHM_BASE_HIGH, ALL_ONES],
]);

/** Those that a driver reads something of; the others read 0. */
export const READABLE_REGISTERS: readonly number[] = [
  ...FIXED.keys(),
  VIRTIO_MMIO_DEVICE_FEATURES,
  VIRTIO_MMIO_QUEUE_NUM_MAX,
  VIRTIO_MMIO_QUEUE_READY,
  VIRTIO_MMIO_QUEUE_RESET,
  VIRTIO_MMIO_INTERRUPT_STATUS,
  VIRTIO_MMIO_STATUS,
  VIRTIO_MMIO_CONFIG_GENERATION,
];

export class MmioRegisterBank {
  readonly #device: VirtioNetDevice;
  readonly #interrupt: MmioInterrupt;
  readonly #features: FeatureRegisters;
  readonly #queues: MmioQueueRegisters;
  readonly #reset: () => Promise<void> | undefined;

  /** `reset`: what a write of 0 to Status does. */
  constructor(
    device: VirtioNetDevice,
    interrupt: MmioInterrupt,
    reset: () => Promise<void> | undefined,
  ) {
    this.#device = device;
    this.#interrupt = interrupt;
    this.#features = new FeatureRegisters(device);
    this.#queues = new MmioQueueRegisters(device);
    this.#reset = reset;
  }

  /** The register at `offset`; 0 where there is none, or none to read. */
  read(offset: number): number {
    const device = this.#device;
    switch (offset) {
      case VIRTIO_MMIO_DEVICE_FEATURES:
        return this.#features.offered;
      case VIRTIO_MMIO_INTERRUPT_STATUS:
        return this.#interrupt.status;
      case VIRTIO_MMIO_STATUS:
        return device.status;
      case VIRTIO_MMIO_CONFIG_GENERATION:
        return device.config.generation;
      default:
        return FIXED.get(offset) ?? this.#queues.read(offset);
    }
  }

  /** `value`: 32 bits without a sign. A promise where the vCPU is to wait. */
  write(offset: number, value: number): Promise<void> | undefined {
    switch (offset) {
      case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        this.#features.deviceWord = value;
        return undefined;
      case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        this.#features.driverWord = value;
        return undefined;
      case VIRTIO_MMIO_DRIVER_FEATURES:
        this.#features.take(value);
        return undefined;
      case VIRTIO_MMIO_QUEUE_NOTIFY:
        this.#queues.notify(value);
        return undefined;
      case VIRTIO_MMIO_INTERRUPT_ACK:
        this.#interrupt.acknowledge(value);
        return undefined;
      case VIRTIO_MMIO_STATUS:
        return value === 0 ? this.#reset() : this.#device.setStatus(value);
      case VIRTIO_MMIO_SHM_SEL:
        return undefined;
      default:
        return this.#queues.write(offset, value);
    }
  }

  save(): MmioRegisters {
    return {
      queueSelect: this.#queues.selected,
      ...this.#features.save(),
      interrupt: this.#interrupt.kind,
      interruptStatus: this.#interrupt.save(),
    };
  }

  restore(state: MmioRegisters): void {
    this.#features.restore(state);
    this.#queues.selected = state.queueSelect;
    this.#interrupt.restore(state.interruptStatus);
  }

  /** The card was reset. */
  forget(): void {
    this.#features.reset();
    this.#queues.reset();
    this.#interrupt.reset();
  }
}

/** As far as its width goes: an offset between two registers is one of none. */
export function isRegister(offset: number, length: number): boolean {
  return length === 4 && offset < VIRTIO_MMIO_CONFIG;
}
