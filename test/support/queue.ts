/** The rings of a port with the model device in the kernel's place. */
import { EventFd } from '../../lib/host/event-fd.js';
import { GuestMemory } from '../../lib/host/guest-memory.js';
import type { HeaderLength } from '../../lib/net/header.js';
import { noCounters, type PortCounters } from '../../lib/port/counters.js';
import type { BufferArea } from '../../lib/port/port-memory.js';
import { VringDriver } from '../../lib/vring/driver.js';
import { placeVring, vringBytes } from '../../lib/vring/layout.js';
import { ModelDevice } from './model-device.js';
import { closedAfterwards } from './ring.js';

export interface Queue {
  memory: GuestMemory;
  ring: VringDriver;
  device: ModelDevice;
  kick: EventFd;
  counters: PortCounters;
  area: BufferArea;
}

const PAGE = 4096;

/** A ring and `areaBytes` for frames behind it, whose first byte is at `areaAddress`. */
export function makeQueue(options: {
  size: number;
  areaBytes: number;
  areaAddress?: bigint;
  eventIdx?: boolean;
}): Queue {
  const { size, areaBytes, eventIdx = false } = options;
  const pages = (bytes: number) => Math.ceil(bytes / PAGE) * PAGE;
  const areaAddress = options.areaAddress ?? 0x10_0000n;
  const memory = closedAfterwards(
    GuestMemory.create([
      { guestAddress: 0n, size: pages(vringBytes(size)) },
      { guestAddress: areaAddress, size: pages(areaBytes) },
    ]),
  );
  const addresses = placeVring(0n, size);
  return {
    memory,
    ring: new VringDriver(memory, { size, addresses, eventIdx }),
    device: new ModelDevice(memory, { size, addresses, eventIdx }),
    kick: closedAfterwards(EventFd.create()),
    counters: noCounters(),
    area: { address: areaAddress, bytes: memory.bytes(areaAddress, areaBytes) },
  };
}

/** A virtio-net header, its fields little-endian. */
export function header(length: HeaderLength, fields: { numBuffers?: number } = {}): number[] {
  const bytes = new Array<number>(length).fill(0);
  if (length >= 12) {
    bytes[10] = (fields.numBuffers ?? 1) & 0xff;
    bytes[11] = (fields.numBuffers ?? 1) >> 8;
  }
  return bytes;
}

/** `length` bytes that tell one offset, and one `seed`, from another. */
export function pattern(length: number, seed = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8) + seed * 31) & 0xff);
}
