/** One driver for both transports: what a test of virtio itself asks of registers, whichever they are. */
import { onTestFinished } from 'vitest';
import type { VirtioNetDeviceOptions } from '../../lib/device/card-options.js';
import { VirtioMmioTransport } from '../../lib/device/virtio-mmio-transport.js';
import { VirtioPciTransport } from '../../lib/device/virtio-pci-transport.js';
import { placeVring, type VringAddresses } from '../../lib/vring/layout.js';
import { type Card, makeCard } from './card-driver.js';
import { MmioDriver, REG } from './mmio-driver.js';
import { turns } from './pci.js';
import { PciDriver } from './pci-driver.js';

export const BUSES = ['mmio', 'pci'] as const;
export type Bus = (typeof BUSES)[number];
export type Wait = Promise<void> | undefined;

/** Why the driver was interrupted. */
export interface Interrupts {
  queue: boolean;
  config: boolean;
}

export interface ConformingDriver {
  readonly status: number;
  setStatus(status: number): Wait;
  /** Word `word` of what is offered. */
  offeredWord(word: number): number;
  takeWord(word: number, bits: number): void;
  /** All registers of queues are this one's from now on. */
  select(queue: number): void;
  /** Descriptors, 0 for a queue that is not there. */
  readonly queueSize: number;
  setSize(descriptors: number): void;
  place(addresses: VringAddresses): void;
  readonly enabled: boolean;
  enable(): Wait;
  resetQueue(): Wait;
  readonly resetting: boolean;
  notify(queue: number): void;
  readonly generation: number;
  readConfig(offset: number, length: number): Uint8Array;
  writeConfig(offset: number, bytes: Uint8Array): void;
  /** Since the last time; acknowledged. */
  interrupts(): Promise<Interrupts>;
}

export interface Bench extends Card {
  driver: ConformingDriver;
}

/** A card behind a transport, closed with the test. */
export function makeBench(
  bus: Bus,
  options: Partial<VirtioNetDeviceOptions> & { queuePairs?: number } = {},
): Bench {
  const card = makeCard(options);
  const driver = bus === 'mmio' ? new Mmio(card) : new Pci(card);
  return { ...card, driver };
}

/** §3.1.1, steps 1 to 6; only what is given is taken. Whether FEATURES_OK stands. */
export async function negotiate(driver: ConformingDriver, features: bigint): Promise<boolean> {
  await driver.setStatus(0);
  driver.setStatus(1);
  driver.setStatus(3);
  for (let i = 0; i < 4; i++) driver.takeWord(i, wordOf(features, i));
  driver.setStatus(11);
  return driver.status === 11;
}

/** §3.1.1, step 7, for one queue. */
export function setUpQueue(driver: ConformingDriver, queue: number, size = 64): Wait {
  driver.select(queue);
  driver.setSize(size);
  driver.place(ringOf(queue, size));
  return driver.enable();
}

/** Where {@link setUpQueue} has a queue's ring. */
export function ringOf(queue: number, size = 64): VringAddresses {
  return placeVring(0x10_0000n + 0x4000n * BigInt(queue), size);
}

/** All of §3.1.1, every queue enabled. */
export async function bringUp({ driver, device }: Bench, features = device.offered) {
  if (!(await negotiate(driver, features))) throw new Error('features refused');
  for (const queue of device.queues.keys()) setUpQueue(driver, queue);
  await driver.setStatus(15);
}

/** What is offered, 128 bits. */
export function offeredBy(driver: ConformingDriver): bigint {
  return [0, 1, 2, 3].reduce(
    (sum, word) => sum | (BigInt(driver.offeredWord(word)) << BigInt(32 * word)),
    0n,
  );
}

const wordOf = (features: bigint, word: number) =>
  Number((features >> BigInt(32 * word)) & 0xffff_ffffn);

class Mmio implements ConformingDriver {
  readonly #transport: VirtioMmioTransport;
  readonly #driver: MmioDriver;
  #level = false;

  constructor({ device }: Card) {
    this.#transport = new VirtioMmioTransport(device, {
      address: 0xd000_0000n,
      onInterrupt: (level) => {
        this.#level = level;
      },
    });
    onTestFinished(() => this.#transport.close());
    this.#driver = new MmioDriver(this.#transport);
  }

  get status() {
    return this.#driver.read('Status');
  }
  setStatus(status: number) {
    return this.#driver.write('Status', status);
  }
  offeredWord(word: number) {
    this.#driver.write('DeviceFeaturesSel', word);
    return this.#driver.read('DeviceFeatures');
  }
  takeWord(word: number, bits: number) {
    this.#driver.write('DriverFeaturesSel', word);
    this.#driver.write('DriverFeatures', bits);
  }
  select(queue: number) {
    this.#driver.write('QueueSel', queue);
  }
  get queueSize() {
    return this.#driver.read('QueueSizeMax');
  }
  setSize(descriptors: number) {
    this.#driver.write('QueueSize', descriptors);
  }
  place({ desc, avail, used }: VringAddresses) {
    const halves = [
      ['QueueDescLow', 'QueueDescHigh', desc],
      ['QueueDriverLow', 'QueueDriverHigh', avail],
      ['QueueDeviceLow', 'QueueDeviceHigh', used],
    ] as const;
    for (const [low, high, address] of halves) {
      this.#driver.write(low, wordOf(address, 0));
      this.#driver.write(high, wordOf(address, 1));
    }
  }
  get enabled() {
    return this.#driver.read('QueueReady') === 1;
  }
  enable() {
    return this.#driver.write('QueueReady', 1);
  }
  resetQueue() {
    return this.#driver.write('QueueReset', 1);
  }
  get resetting() {
    return this.#driver.read('QueueReset') === 1;
  }
  notify(queue: number) {
    this.#driver.write('QueueNotify', queue);
  }
  get generation() {
    return this.#driver.read('ConfigGeneration');
  }
  readConfig(offset: number, length: number) {
    return this.#transport.read(REG.Config + offset, length);
  }
  writeConfig(offset: number, bytes: Uint8Array) {
    this.#transport.write(REG.Config + offset, bytes);
  }
  async interrupts() {
    await turns();
    const bits = this.#level ? this.#driver.read('InterruptStatus') : 0;
    this.#driver.write('InterruptACK', bits);
    return { queue: (bits & 1) !== 0, config: (bits & 2) !== 0 };
  }
}

/** Without MSI-X: the tests of PCI alone have that. */
class Pci implements ConformingDriver {
  readonly #driver: PciDriver;
  #level = false;

  constructor({ device }: Card) {
    const onIntx = (level: boolean) => {
      this.#level = level;
    };
    const transport = new VirtioPciTransport(device, { onIntx });
    onTestFinished(() => transport.close());
    this.#driver = new PciDriver(transport);
    this.#driver.command(6);
  }

  get status() {
    return this.#driver.status;
  }
  setStatus(status: number) {
    return this.#driver.setStatus(status);
  }
  offeredWord(word: number) {
    this.#driver.setCommon(0, 4, word);
    return this.#driver.common(4, 4);
  }
  takeWord(word: number, bits: number) {
    this.#driver.setCommon(8, 4, word);
    this.#driver.setCommon(12, 4, bits);
  }
  select(queue: number) {
    this.#driver.setCommon(22, 2, queue);
  }
  get queueSize() {
    return this.#driver.common(24, 2);
  }
  setSize(descriptors: number) {
    this.#driver.setCommon(24, 2, descriptors);
  }
  place({ desc, avail, used }: VringAddresses) {
    this.#driver.setCommon(32, 8, desc);
    this.#driver.setCommon(40, 8, avail);
    this.#driver.setCommon(48, 8, used);
  }
  get enabled() {
    return this.#driver.common(28, 2) === 1;
  }
  enable() {
    return this.#driver.setCommon(28, 2, 1);
  }
  resetQueue() {
    return this.#driver.setCommon(58, 2, 1);
  }
  get resetting() {
    return this.#driver.common(58, 2) === 1;
  }
  notify(queue: number) {
    this.#driver.setBar(this.#driver.structure(2) + 4 * queue, 2, queue);
  }
  get generation() {
    return this.#driver.common(21, 1);
  }
  readConfig(offset: number, length: number) {
    return this.#driver.transport.readBar(this.#driver.structure(4) + offset, length);
  }
  writeConfig(offset: number, bytes: Uint8Array) {
    this.#driver.transport.writeBar(this.#driver.structure(4) + offset, bytes);
  }
  async interrupts() {
    await turns();
    const bits = this.#level ? this.#driver.bar(this.#driver.structure(3), 1) : 0;
    return { queue: (bits & 1) !== 0, config: (bits & 2) !== 0 };
  }
}
