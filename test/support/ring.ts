/** A ring in shared memory with a driver at one end and the model device at the other. */
import { onTestFinished } from 'vitest';
import { GuestMemory } from '../../lib/host/guest-memory.js';
import { VringDriver } from '../../lib/vring/driver.js';
import type { VringDriverOptions } from '../../lib/vring/driver-options.js';
import { placeVring, type VringAddresses, vringBytes } from '../../lib/vring/layout.js';
import { ModelDevice } from './model-device.js';

export interface Ring {
  memory: GuestMemory;
  driver: VringDriver;
  device: ModelDevice;
  addresses: VringAddresses;
  /** Guest address of the bytes that are for buffers. */
  data: number;
}

const PAGE = 4096;

/** Memory of `data` bytes and the ring before them, from `guestAddress` on; closed with the test. */
export function makeRing(
  options: Partial<VringDriverOptions> & { size: number; data?: number; tables?: number },
): Ring {
  const { size, tables = 0 } = options;
  const tablesAt = Math.ceil(vringBytes(size) / 64) * 64;
  const data = Math.ceil((tablesAt + size * tables * 16) / PAGE) * PAGE;
  const total = Math.ceil((data + (options.data ?? PAGE)) / PAGE) * PAGE;
  const memory = closedAfterwards(GuestMemory.create([{ guestAddress: 0n, size: total }]));
  const addresses = placeVring(0n, size);
  const eventIdx = options.eventIdx ?? false;
  const driver = new VringDriver(memory, {
    size,
    addresses,
    eventIdx,
    ...(tables > 0 ? { indirect: { address: BigInt(tablesAt), length: tables } } : {}),
  });
  const device = new ModelDevice(memory, { size, addresses, eventIdx });
  return { memory, driver, device, addresses, data };
}

/** Closes what a test opened when the test is over. */
export function closedAfterwards<T extends { close(): unknown }>(object: T): T {
  onTestFinished(async () => {
    await object.close();
  });
  return object;
}

/** The words of `VringDriver.add` from [guest address, length] pairs. */
export function segments(...list: [address: number, length: number][]): Uint32Array {
  return Uint32Array.from(list.flatMap(([address, length]) => [address, 0, length]));
}

/** Takes chains back that keep their descriptors: [head, bytes written] of each. */
export function takeHeld(driver: VringDriver, most = driver.size): [number, number][] {
  const heads = new Uint16Array(most);
  const lengths = new Uint32Array(most);
  const count = driver.popHeld(heads, lengths);
  return Array.from({ length: count }, (_, i) => [heads[i] as number, lengths[i] as number]);
}

export function repost(driver: VringDriver, ...heads: number[]): void {
  driver.repost(Uint16Array.from(heads), heads.length);
}
