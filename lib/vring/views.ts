/** A split ring's parts as typed arrays, in place on guest memory. */
import type { GuestMemory } from '../host/guest-memory.js';
import { VRING_DESC_F_NEXT, VRING_DESC_F_WRITE, VRING_DESC_SIZE } from '../uapi/virtio-ring.js';
import {
  availBytes,
  checkAlignment,
  checkRingSize,
  descBytes,
  usedBytes,
  type VringAddresses,
} from './layout.js';

/** Words of a segment: address low, address high, length in bytes. */
export const SEGMENT_WORDS = 3;
/** Words of a descriptor: address low, address high, length, flags with `next` above them. */
export const DESC_WORDS = VRING_DESC_SIZE / 4;

export interface VringViews {
  desc: Uint32Array;
  /** flags, idx, ring[size], used_event. */
  avail: Uint16Array;
  /** flags, idx, …, avail_event. */
  used16: Uint16Array;
  /** (flags and idx), then id and length of each element. */
  used32: Uint32Array;
}

/** Throws `ERR_OUT_OF_RANGE` for a size, alignment or address that cannot be. */
export function viewVring(
  memory: GuestMemory,
  size: number,
  addresses: VringAddresses,
): VringViews {
  checkRingSize('size', size);
  checkAlignment(addresses);
  const desc = memory.translate(addresses.desc, descBytes(size));
  const avail = memory.translate(addresses.avail, availBytes(size));
  const used = memory.translate(addresses.used, usedBytes(size));
  return {
    desc: new Uint32Array(desc.region.buffer, desc.offset, size * DESC_WORDS),
    avail: new Uint16Array(avail.region.buffer, avail.offset, 3 + size),
    used16: new Uint16Array(used.region.buffer, used.offset, 3 + 4 * size),
    used32: new Uint32Array(used.region.buffer, used.offset, 1 + 2 * size),
  };
}

/** Writes descriptor `at` of a table from a segment. */
export function writeSegment(
  table: Uint32Array,
  at: number,
  segments: Uint32Array,
  segment: number,
  flags: number,
  next: number,
): void {
  const to = at * DESC_WORDS;
  const from = segment * SEGMENT_WORDS;
  table[to] = segments[from] as number;
  table[to + 1] = segments[from + 1] as number;
  table[to + 2] = segments[from + 2] as number;
  table[to + 3] = flags | (next << 16);
}

/**
 * Writes an indirect table from descriptor `at` on: `readable` segments that the device reads, then
 * ones that it writes. Returns how many bytes it may write.
 */
export function writeTable(
  tables: Uint32Array,
  at: number,
  segments: Uint32Array,
  readable: number,
  count: number,
): number {
  let room = 0;
  for (let i = 0; i < count; i++) {
    if (i >= readable) room += segments[i * SEGMENT_WORDS + 2] as number;
    writeSegment(tables, at + i, segments, i, segmentFlags(i, readable, count), i + 1);
  }
  return room;
}

/** The flags of segment `i` of a chain of `count`, of which the device reads the first `readable`. */
export function segmentFlags(i: number, readable: number, count: number): number {
  const next = i + 1 < count ? VRING_DESC_F_NEXT : 0;
  return i < readable ? next : next | VRING_DESC_F_WRITE;
}
