/** A virtio-mmio driver for tests: all it knows of the card it reads and writes in registers (virtio 1.3 §4.2). */
import { onTestFinished } from 'vitest';
import type { VirtioNetDeviceOptions } from '../../lib/device/card-options.js';
import {
  VirtioMmioTransport,
  type VirtioMmioTransportOptions,
} from '../../lib/device/virtio-mmio-transport.js';
import { placeVring } from '../../lib/vring/layout.js';
import { ACKNOWLEDGE, type Card, DRIVER, DRIVER_OK, FEATURES_OK, makeCard } from './card-driver.js';

const RINGS_AT = 0x10_0000n;
const RING_BYTES = 0x4000n;

/** The registers by the names of §4.2.2. */
export const REG = {
  MagicValue: 0x000,
  Version: 0x004,
  DeviceID: 0x008,
  VendorID: 0x00c,
  DeviceFeatures: 0x010,
  DeviceFeaturesSel: 0x014,
  DriverFeatures: 0x020,
  DriverFeaturesSel: 0x024,
  QueueSel: 0x030,
  QueueSizeMax: 0x034,
  QueueSize: 0x038,
  QueueReady: 0x044,
  QueueNotify: 0x050,
  InterruptStatus: 0x060,
  InterruptACK: 0x064,
  Status: 0x070,
  QueueDescLow: 0x080,
  QueueDescHigh: 0x084,
  QueueDriverLow: 0x090,
  QueueDriverHigh: 0x094,
  QueueDeviceLow: 0x0a0,
  QueueDeviceHigh: 0x0a4,
  SHMSel: 0x0ac,
  SHMLenLow: 0x0b0,
  SHMLenHigh: 0x0b4,
  SHMBaseLow: 0x0b8,
  SHMBaseHigh: 0x0bc,
  QueueReset: 0x0c0,
  ConfigGeneration: 0x0fc,
  Config: 0x100,
} as const;
export type Register = keyof typeof REG;

export interface MmioCard extends Card {
  transport: VirtioMmioTransport;
  driver: MmioDriver;
  /** The levels that the interrupt line had, where nothing else was asked for. */
  levels: boolean[];
}

/** A card behind registers at 0xd0000000; closed with the test. */
export function makeMmioCard(
  card: Partial<VirtioNetDeviceOptions> & { queuePairs?: number } = {},
  options?: Omit<VirtioMmioTransportOptions, 'address'>,
): MmioCard {
  const made = makeCard(card);
  const levels: boolean[] = [];
  const transport = new VirtioMmioTransport(made.device, {
    address: 0xd000_0000n,
    ...(options ?? { onInterrupt: (level) => levels.push(level) }),
  });
  onTestFinished(() => transport.close());
  return { ...made, transport, driver: new MmioDriver(transport), levels };
}

export class MmioDriver {
  readonly #transport: VirtioMmioTransport;

  constructor(transport: VirtioMmioTransport) {
    this.#transport = transport;
  }

  read(register: Register): number {
    return number(this.#transport.read(REG[register], 4));
  }

  write(register: Register, value: number): Promise<void> | undefined {
    return this.#transport.write(REG[register], word(value));
  }

  /** §4.2.3.1.1: a driver begins with MagicValue and Version, and ignores device 0. */
  probe(): void {
    const found = [this.read('MagicValue'), this.read('Version'), this.read('DeviceID')];
    if (found.join() !== [0x7472_6976, 2, 1].join()) throw new Error(`no card: ${found}`);
  }

  /** §2.4.2: a driver waits until the status reads 0. */
  async reset(): Promise<void> {
    for (let tries = 0; tries < 3; tries++) {
      await this.write('Status', 0);
      if (this.read('Status') === 0) return;
    }
    throw new Error(`status 0x${this.read('Status').toString(16)} after resets`);
  }

  /** What is on offer, word by word. */
  offered(): bigint {
    let features = 0n;
    for (let i = 0; i < 4; i++) {
      this.write('DeviceFeaturesSel', i);
      features |= BigInt(this.read('DeviceFeatures')) << BigInt(32 * i);
    }
    return features;
  }

  /** §3.1.1, steps 1 to 6: takes features (default: all). Throws where the card refuses them. */
  async takeFeatures(wanted = ~0n): Promise<void> {
    this.probe();
    await this.reset();
    this.write('Status', ACKNOWLEDGE);
    this.write('Status', ACKNOWLEDGE | DRIVER);
    const features = this.offered() & wanted;
    for (let i = 0; i < 4; i++) {
      this.write('DriverFeaturesSel', i);
      this.write('DriverFeatures', Number((features >> BigInt(32 * i)) & 0xffff_ffffn));
    }
    this.write('Status', ACKNOWLEDGE | DRIVER | FEATURES_OK);
    if (!(this.read('Status') & FEATURES_OK)) throw new Error('features refused');
  }

  /** §4.2.3.2, step by step. Returns whether there is such a queue. */
  async setUpQueue(index: number, size?: number): Promise<boolean> {
    this.write('QueueSel', index);
    if (this.read('QueueReady') !== 0) throw new Error(`queue ${index} is in use`);
    const most = this.read('QueueSizeMax');
    if (most === 0) return false;
    const { desc, avail, used } = placeVring(RINGS_AT + RING_BYTES * BigInt(index), size ?? most);
    this.write('QueueSize', size ?? most);
    this.#writeHalves('QueueDescLow', 'QueueDescHigh', desc);
    this.#writeHalves('QueueDriverLow', 'QueueDriverHigh', avail);
    this.#writeHalves('QueueDeviceLow', 'QueueDeviceHigh', used);
    await this.write('QueueReady', 1);
    if (this.read('QueueReady') !== 1) throw new Error(`queue ${index} is not ready`);
    return true;
  }

  /** §3.1.1, all of it. */
  async bringUp(wanted?: bigint): Promise<void> {
    await this.takeFeatures(wanted);
    for (let index = 0; await this.setUpQueue(index); index++);
    await this.write('Status', ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
  }

  #writeHalves(low: Register, high: Register, address: bigint): void {
    this.write(low, Number(address & 0xffff_ffffn));
    this.write(high, Number(address >> 32n));
  }
}

/** Four bytes, as a processor stores them. */
export function word(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

/** A little-endian number of up to four bytes. */
export function number(bytes: Uint8Array): number {
  return bytes.reduceRight((sum, byte) => sum * 256 + byte, 0);
}
