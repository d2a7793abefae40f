/** PciCommonConfig: `struct virtio_pci_common_cfg`, through which a driver sets a card up (virtio 1.3 §4.1.4.3). */
import { logDevice } from '../log.js';
import { VIRTIO_CONFIG_S_FEATURES_OK } from '../uapi/virtio-net.js';
import {
  VIRTIO_MSI_NO_VECTOR,
  VIRTIO_PCI_COMMON_CFGGENERATION,
  VIRTIO_PCI_COMMON_DF,
  VIRTIO_PCI_COMMON_DFSELECT,
  VIRTIO_PCI_COMMON_GF,
  VIRTIO_PCI_COMMON_GFSELECT,
  VIRTIO_PCI_COMMON_MSIX,
  VIRTIO_PCI_COMMON_NUMQ,
  VIRTIO_PCI_COMMON_Q_AVAILLO,
  VIRTIO_PCI_COMMON_Q_DESCLO,
  VIRTIO_PCI_COMMON_Q_ENABLE,
  VIRTIO_PCI_COMMON_Q_MSIX,
  VIRTIO_PCI_COMMON_Q_NOFF,
  VIRTIO_PCI_COMMON_Q_RESET,
  VIRTIO_PCI_COMMON_Q_SELECT,
  VIRTIO_PCI_COMMON_Q_SIZE,
  VIRTIO_PCI_COMMON_Q_USEDLO,
  VIRTIO_PCI_COMMON_STATUS,
} from '../uapi/virtio-pci.js';
import type { VringAddresses } from '../vring/layout.js';
import type { DeviceQueue } from './device-queue.js';
import { FeatureRegisters } from './feature-registers.js';
import type { PciInterrupts } from './pci-interrupts.js';
import { QueueResets } from './queue-resets.js';
import type { VirtioNetDevice } from './virtio-net-device.js';

/** What a write may have to wait for. */
type Wait = Promise<void> | undefined;

interface Field {
  read(): number | bigint;
  /** Undefined for one that is read only. */
  write?: (value: bigint) => Wait;
}

export class PciCommonConfig {
  readonly #device: VirtioNetDevice;
  readonly #interrupts: PciInterrupts;
  /** By offset and width. */
  readonly #fields: ReadonlyMap<number, Field>;
  readonly features: FeatureRegisters;
  readonly resets: QueueResets;
  queueSelect = 0;
  /** The card's reset, until it is done. */
  #cardReset: Wait;

  constructor(device: VirtioNetDevice, interrupts: PciInterrupts) {
    this.#device = device;
    this.features = new FeatureRegisters(device);
    this.resets = new QueueResets(device);
    this.#interrupts = interrupts;
    this.#fields = new Map([...this.#cardFields(), ...this.#queueFields()]);
  }

  /** A field, of its own width, or half of one of 64 bits; all else reads zeroes. */
  read(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    putNumber(bytes, BigInt(this.#fieldAt(offset, length)?.read() ?? 0));
    return bytes;
  }

  /** As {@link PciCommonConfig.read}; all else is dropped. A promise where the vCPU is to wait. */
  write(offset: number, bytes: Uint8Array): Wait {
    // Another vCPU waits for the reset; what this one writes meanwhile would be lost, or half of it.
    if (this.#cardReset) return this.#cardReset;
    const field = this.#fieldAt(offset, bytes.length);
    if (field?.write) return field.write(takeNumber(bytes));
    logDevice('%d bytes written to the common configuration at %d', bytes.length, offset);
    return undefined;
  }

  /** The card was reset. */
  reset(): void {
    this.features.reset();
    this.queueSelect = 0;
  }

  #fieldAt(offset: number, width: number): Field | undefined {
    return width <= 8 ? this.#fields.get(key(offset, width)) : undefined;
  }

  get #queue(): DeviceQueue | undefined {
    return this.#device.queues[this.queueSelect];
  }

  #cardFields(): [number, Field][] {
    const device = this.#device;
    const features = this.features;
    return [
      field(VIRTIO_PCI_COMMON_DFSELECT, 4, {
        read: () => features.deviceWord,
        write: (word) => {
          features.deviceWord = Number(word);
        },
      }),
      field(VIRTIO_PCI_COMMON_DF, 4, {
        read: () => features.offered,
      }),
      field(VIRTIO_PCI_COMMON_GFSELECT, 4, {
        read: () => features.driverWord,
        write: (word) => {
          features.driverWord = Number(word);
        },
      }),
      field(VIRTIO_PCI_COMMON_GF, 4, {
        read: () => features.taken,
        write: (bits) => {
          features.take(Number(bits));
        },
      }),
      field(VIRTIO_PCI_COMMON_MSIX, 2, {
        read: () => this.#interrupts.configVector,
        write: (vector) => {
          this.#interrupts.configVector = Number(vector);
        },
      }),
      field(VIRTIO_PCI_COMMON_NUMQ, 2, { read: () => device.queues.length }),
      field(VIRTIO_PCI_COMMON_STATUS, 1, {
        read: () => device.status,
        write: (status) => this.#setStatus(Number(status)),
      }),
      field(VIRTIO_PCI_COMMON_CFGGENERATION, 1, { read: () => device.config.generation }),
    ];
  }

  #queueFields(): [number, Field][] {
    return [
      field(VIRTIO_PCI_COMMON_Q_SELECT, 2, {
        read: () => this.queueSelect,
        write: (index) => {
          this.queueSelect = Number(index);
        },
      }),
      field(VIRTIO_PCI_COMMON_Q_SIZE, 2, {
        read: () => this.#queue?.size ?? 0,
        write: (size) => this.#setSize(Number(size)),
      }),
      field(VIRTIO_PCI_COMMON_Q_MSIX, 2, {
        read: () => this.#interrupts.queueVector(this.queueSelect),
        write: (vector) => {
          this.#interrupts.setQueueVector(this.queueSelect, Number(vector));
        },
      }),
      field(VIRTIO_PCI_COMMON_Q_ENABLE, 2, {
        read: () => (this.#queue?.enabled ? 1 : 0),
        write: (value) => this.#enable(value),
      }),
      field(VIRTIO_PCI_COMMON_Q_NOFF, 2, { read: () => (this.#queue ? this.queueSelect : 0) }),
      ...this.#addressFields(VIRTIO_PCI_COMMON_Q_DESCLO, 'desc'),
      ...this.#addressFields(VIRTIO_PCI_COMMON_Q_AVAILLO, 'avail'),
      ...this.#addressFields(VIRTIO_PCI_COMMON_Q_USEDLO, 'used'),
      field(VIRTIO_PCI_COMMON_Q_RESET, 2, {
        read: () => (this.resets.of(this.queueSelect) ? 1 : 0),
        write: (value) => this.#resetQueue(value),
      }),
    ];
  }

  /** 64 bits at once, or the lower and the upper half. */
  #addressFields(at: number, part: keyof VringAddresses): [number, Field][] {
    const whole = (): bigint => this.#queue?.addresses[part] ?? 0n;
    const change = (value: bigint): undefined => {
      const queue = this.#settable('address');
      if (queue) queue.addresses = { ...queue.addresses, [part]: value };
    };
    return [
      field(at, 8, { read: whole, write: change }),
      field(at, 4, {
        read: () => BigInt.asUintN(32, whole()),
        write: (low) => change(((whole() >> 32n) << 32n) | low),
      }),
      field(at + 4, 4, {
        read: () => whole() >> 32n,
        write: (high) => change((high << 32n) | BigInt.asUintN(32, whole())),
      }),
    ];
  }

  #setStatus(status: number): Wait {
    const done = this.#device.setStatus(status);
    if (status !== 0) return done;
    this.#cardReset = done?.finally(() => {
      this.#cardReset = undefined;
    });
    return this.#cardReset;
  }

  /** The queue, where its size and addresses may be written: after FEATURES_OK and before it is enabled. */
  #settable(what: string): DeviceQueue | undefined {
    const queue = this.#queue;
    if (queue && this.#mayEnable && !queue.enabled) return queue;
    logDevice('the %s of queue %d written out of its time', what, this.queueSelect);
    return undefined;
  }

  get #mayEnable(): boolean {
    return (this.#device.status & VIRTIO_CONFIG_S_FEATURES_OK) !== 0;
  }

  #setSize(size: number): undefined {
    const queue = this.#settable('size');
    if (!queue) return undefined;
    const possible = size > 0 && size <= queue.maxSize && (size & (size - 1)) === 0;
    if (possible) queue.size = size;
    else logDevice('queue %d cannot have %d descriptors', this.queueSelect, size);
  }

  #enable(value: bigint): Wait {
    const index = this.queueSelect;
    const underWay = this.resets.of(index);
    if (!underWay && value === 1n && this.#queue && this.#mayEnable) {
      return this.#device.enableQueue(index);
    }
    logDevice('queue_enable of queue %d: %d is dropped', index, value);
    return underWay;
  }

  /** It reads 1 until the reset is done (virtio 1.3 §2.6.1.1). */
  #resetQueue(value: bigint): Wait {
    const index = this.queueSelect;
    const { resets } = this;
    if (value !== 1n || !this.#queue || !resets.negotiated || resets.of(index)) {
      logDevice('queue_reset of queue %d: %d is dropped', index, value);
      return undefined;
    }
    return resets.start(index, () => this.#interrupts.setQueueVector(index, VIRTIO_MSI_NO_VECTOR));
  }
}

const key = (offset: number, width: number): number => 16 * offset + width;

function field(offset: number, width: number, access: Field): [number, Field] {
  return [key(offset, width), access];
}

function putNumber(bytes: Uint8Array, value: bigint): void {
  let rest = value;
  for (let i = 0; i < bytes.length; i++, rest >>= 8n) bytes[i] = Number(rest & 0xffn);
}

function takeNumber(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}
