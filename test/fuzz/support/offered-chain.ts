/**
 * What a device must find in a chain that a driver offers: written from virtio 1.3 §2.7.5 and from nothing of
 * lib/vring, over the bare words.
 */
import { DATA_AT, DATA_BYTES, memory } from './ring-memory.js';

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

export interface OfferedBuffer {
  /** Guest address: numbers of memory this small are exact. */
  at: number;
  length: number;
  writable: boolean;
}

const [low] = memory.regions;
const LOW_BYTES = low?.size ?? 0;

/** The chain's buffers in order, or undefined for a chain that no driver may offer. */
export function offeredChain(
  desc: Uint32Array,
  size: number,
  head: number,
  indirect: boolean,
): OfferedBuffer[] | undefined {
  const buffers: OfferedBuffer[] = [];
  let table = desc;
  let entries = size;
  let inTable = false;
  let index = head;
  for (let steps = 0; steps < entries; steps++) {
    if (index >= entries || buffers.length >= size) return undefined;
    const [lo = 0, hi = 0, length = 0, last = 0] = table.subarray(4 * index, 4 * index + 4);
    const at = hi * 2 ** 32 + lo;
    if (!lies(at, length)) return undefined;
    if (last & INDIRECT) {
      if (inTable || !indirect || last & NEXT || length === 0 || length % 16 !== 0)
        return undefined;
      const bytes = memory.read(BigInt(at), length);
      table = new Uint32Array(bytes.buffer);
      entries = length / 16;
      inTable = true;
      index = 0;
      steps = -1;
      continue;
    }
    const writable = (last & WRITE) !== 0;
    if (!writable && buffers.at(-1)?.writable) return undefined;
    buffers.push({ at, length, writable });
    if (!(last & NEXT)) return buffers;
    index = last >>> 16;
  }
  return undefined;
}

/** Whether bytes lie in one region of the memory. */
function lies(at: number, length: number): boolean {
  const within = (start: number, size: number) =>
    at >= start && at < start + size && at + length <= start + size;
  return within(0, LOW_BYTES) || within(DATA_AT, DATA_BYTES);
}
