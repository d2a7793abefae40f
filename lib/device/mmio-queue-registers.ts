/** MmioQueueRegisters: the virtio-mmio registers that speak of the queue that QueueSel names (virtio 1.3 §4.2.2). */
import { logDevice } from '../log.js';
import {
  VIRTIO_MMIO_QUEUE_AVAIL_HIGH,
  VIRTIO_MMIO_QUEUE_AVAIL_LOW,
  VIRTIO_MMIO_QUEUE_DESC_HIGH,
  VIRTIO_MMIO_QUEUE_DESC_LOW,
  VIRTIO_MMIO_QUEUE_NUM,
  VIRTIO_MMIO_QUEUE_NUM_MAX,
  VIRTIO_MMIO_QUEUE_READY,
  VIRTIO_MMIO_QUEUE_RESET,
  VIRTIO_MMIO_QUEUE_SEL,
  VIRTIO_MMIO_QUEUE_USED_HIGH,
  VIRTIO_MMIO_QUEUE_USED_LOW,
} from '../uapi/virtio-mmio.js';
import { VIRTIO_CONFIG_S_DRIVER_OK } from '../uapi/virtio-net.js';
import type { VringAddresses } from '../vring/layout.js';
import type { DeviceQueue } from './device-queue.js';
import { QueueResets } from './queue-resets.js';
import type { VirtioNetDevice } from './virtio-net-device.js';

/** Which half of which address a register is: the part, and its lowest bit. */
const ADDRESS_HALVES = new Map<number, [part: keyof VringAddresses, lowestBit: bigint]>([
  [VIRTIO_MMIO_QUEUE_DESC_LOW, ['desc', 0n]],
  [VIRTIO_MMIO_QUEUE_DESC_HIGH, ['desc', 32n]],
  [VIRTIO_MMIO_QUEUE_AVAIL_LOW, ['avail', 0n]],
  [VIRTIO_MMIO_QUEUE_AVAIL_HIGH, ['avail', 32n]],
  [VIRTIO_MMIO_QUEUE_USED_LOW, ['used', 0n]],
  [VIRTIO_MMIO_QUEUE_USED_HIGH, ['used', 32n]],
]);

export class MmioQueueRegisters {
  readonly #device: VirtioNetDevice;
  readonly resets: QueueResets;
  /** QueueSel: 32 bits without a sign. */
  selected = 0;

  constructor(device: VirtioNetDevice) {
    this.#device = device;
    this.resets = new QueueResets(device);
  }

  /** 0 for a queue that does not exist, and for what is no register of a queue. */
  read(offset: number): number {
    const queue = this.#queue;
    if (offset === VIRTIO_MMIO_QUEUE_NUM_MAX) return queue?.maxSize ?? 0;
    if (offset === VIRTIO_MMIO_QUEUE_READY) return queue?.enabled ? 1 : 0;
    if (offset === VIRTIO_MMIO_QUEUE_RESET) return this.resets.of(this.selected) ? 1 : 0;
    return 0;
  }

  /** `value`: 32 bits without a sign. What is wrong is dropped. A promise where the vCPU is to wait. */
  write(offset: number, value: number): Promise<void> | undefined {
    if (offset === VIRTIO_MMIO_QUEUE_SEL) {
      this.selected = value;
      return undefined;
    }
    const queue = this.#queue;
    if (!queue) {
      logDevice('0x%x written to register 0x%x of no queue, %d', value, offset, this.selected);
      return undefined;
    }
    // What is written meanwhile would be lost, or half of it.
    const underWay = this.resets.of(this.selected);
    if (underWay) return underWay;
    if (offset === VIRTIO_MMIO_QUEUE_READY) return this.#writeReady(queue, value);
    if (offset === VIRTIO_MMIO_QUEUE_RESET) return this.#writeReset(value);
    this.#setUp(queue, offset, value);
    return undefined;
  }

  /** The driver made buffers available. Whatever state the queue is in, as an ioeventfd would. */
  notify(index: number): void {
    const queue = this.#device.queues[index];
    if (queue) queue.kick.signal();
    else logDevice('queue %d notified, which there is not', index);
  }

  /** The card was reset, behind whatever was under way. */
  reset(): void {
    this.selected = 0;
  }

  get #queue(): DeviceQueue | undefined {
    return this.#device.queues[this.selected];
  }

  #setUp(queue: DeviceQueue, offset: number, value: number): void {
    const half = ADDRESS_HALVES.get(offset);
    if (queue.enabled) {
      logDevice('register 0x%x of queue %d written while it is enabled', offset, this.selected);
    } else if (half) {
      const [part, lowestBit] = half;
      const other = queue.addresses[part] & ~(0xffff_ffffn << lowestBit);
      queue.addresses = { ...queue.addresses, [part]: other | (BigInt(value) << lowestBit) };
    } else if (offset === VIRTIO_MMIO_QUEUE_NUM && isSize(value, queue.maxSize)) {
      queue.size = value;
    } else {
      logDevice('0x%x is nothing for register 0x%x', value, offset);
    }
  }

  #writeReady(queue: DeviceQueue, value: number): Promise<void> | undefined {
    if (value === 1) return this.#device.enableQueue(this.selected);
    if (value !== 0) {
      logDevice('QueueReady is 0 or 1, not 0x%x', value);
    } else if (!(this.#device.status & VIRTIO_CONFIG_S_DRIVER_OK)) {
      queue.enabled = false;
    } else if (queue.enabled) {
      if (this.resets.negotiated) return this.resets.start(this.selected);
      logDevice('queue %d stays enabled while the card runs', this.selected);
    }
    return undefined;
  }

  #writeReset(value: number): Promise<void> | undefined {
    // QueueReset reads 1 until it is done, and QueueReady too.
    if (value === 1 && this.resets.negotiated) return this.resets.start(this.selected);
    logDevice('0x%x written to QueueReset', value);
    return undefined;
  }
}

function isSize(value: number, most: number): boolean {
  return value >= 1 && value <= most && (value & (value - 1)) === 0;
}
