/**
 * The driver's descriptors: which are free, which chain each head stands for, and writing them in place.
 *
 * The record of every chain is our own and not in the ring's memory, which is the device's to write.
 */
import { checkInteger, rangeError } from '../errors.js';
import type { GuestMemory } from '../host/guest-memory.js';
import { VRING_DESC_F_INDIRECT, VRING_DESC_F_WRITE, VRING_DESC_SIZE } from '../uapi/virtio-ring.js';
import { FreeList } from './free-list.js';
import { DESC_WORDS, SEGMENT_WORDS, segmentFlags, writeSegment, writeTable } from './views.js';

/** Room for indirect tables: one of `length` descriptors for each head, from `address` on. */
export interface IndirectTables {
  address: bigint;
  length: number;
}

/** A chain in flight: its head, the descriptors of the ring it takes, the bytes the device may write. */
export type ChainRecord = readonly [head: number, descriptors: number, writable: number];

/** What a descriptor is the head of: no chain, one that the device has, one that waits to be offered again. */
const NONE = 0;
const IN_FLIGHT = 1;
const HELD = 2;

export class DescriptorTable {
  readonly size: number;

  readonly #desc: Uint32Array;
  readonly #tables: Uint32Array | undefined;
  readonly #tableLow: number;
  readonly #tableHigh: number;
  readonly #tableLength: number;
  readonly #free: FreeList;
  /** {@link IN_FLIGHT}, {@link HELD} or {@link NONE} of each descriptor. */
  readonly #chain: Uint8Array;
  /** Bytes that the device may write into a chain, as far as it can say so: 32 bits. */
  readonly #room: Uint32Array;
  /** Descriptors of the ring that a chain takes, and the last of them. Chains of one are not recorded. */
  readonly #taken: Uint16Array;
  readonly #tail: Uint16Array;

  /**
   * To be reset or restored before use. Throws `ERR_OUT_OF_RANGE` where the tables are not in guest
   * memory.
   */
  constructor(memory: GuestMemory, desc: Uint32Array, indirect: IndirectTables | undefined) {
    const size = desc.length / DESC_WORDS;
    this.size = size;
    this.#desc = desc;
    const address = indirect?.address ?? 0n;
    this.#tableLow = Number(address & 0xffff_ffffn);
    this.#tableHigh = Number(address >> 32n);
    this.#tableLength = indirect?.length ?? 0;
    if (indirect) {
      const bytes = size * indirect.length * VRING_DESC_SIZE;
      const tables = memory.translate(address, bytes);
      this.#tables = new Uint32Array(tables.region.buffer, tables.offset, bytes / 4);
    }
    this.#free = new FreeList(size);
    this.#chain = new Uint8Array(size);
    this.#room = new Uint32Array(size);
    this.#taken = new Uint16Array(size);
    this.#tail = new Uint16Array(size);
  }

  reset(): void {
    this.#desc.fill(0);
    this.#chain.fill(NONE);
    this.#taken.fill(1);
    this.#free.fill(() => true);
  }

  /** Descriptors that no chain takes. */
  get free(): number {
    return this.#free.count;
  }

  /** Every chain in flight, by its head. */
  get chains(): ChainRecord[] {
    const chains: ChainRecord[] = [];
    this.#room.forEach((room, head) => {
      if (this.inFlight(head)) chains.push([head, this.#taken[head] as number, room]);
    });
    return chains;
  }

  /**
   * Takes over the chains that another driver's table had in flight, as their descriptors lie in memory.
   * Throws `ERR_OUT_OF_RANGE` for what cannot be chains of this table.
   */
  restore(chains: readonly ChainRecord[]): void {
    const inUse = new Uint8Array(this.size);
    this.#chain.fill(NONE);
    this.#taken.fill(1);
    for (const [head, count, writable] of chains) {
      checkInteger('head', head, 0, this.size - 1);
      checkInteger('descriptors', count, 1, this.size);
      checkInteger('writable', writable, 0, 0xffff_ffff);
      let tail = head;
      for (let i = 0, at = head; i < count; i++) {
        if (!(at < this.size) || inUse[at] === 1) {
          throw rangeError(`chain ${head} of ${count} descriptors cannot be in flight`);
        }
        inUse[at] = 1;
        tail = at;
        at = (this.#desc[at * DESC_WORDS + 3] as number) >>> 16;
        this.#free.link(tail, at);
      }
      this.#recordMany(head, tail, count, writable);
    }
    this.#free.fill((at) => inUse[at] === 0);
  }

  /** Guest address of the first buffer of a chain, and its length in bytes, as memory has them now. */
  bufferOf(head: number): { address: number; length: number } {
    const word = head * DESC_WORDS;
    const [low = 0, high = 0, length = 0] = this.#desc.subarray(word, word + 3);
    return { address: low + high * 2 ** 32, length };
  }

  /** Whether a chain of `count` buffers takes one descriptor, by an indirect table. */
  isIndirect(count: number): boolean {
    return count > 1 && count <= this.#tableLength;
  }

  /** Takes a descriptor for one buffer. Returns its head, or -1 when none is free. */
  takeOne(low: number, high: number, length: number, flags: number): number {
    if (this.#free.count === 0) return -1;
    const head = this.#free.take();
    const desc = this.#desc;
    const word = head * DESC_WORDS;
    // A word that is as it should be is not written: the device's processor need not fetch it again.
    if (desc[word] !== low) desc[word] = low;
    if (desc[word + 1] !== high) desc[word + 1] = high;
    if (desc[word + 2] !== length) desc[word + 2] = length;
    if (desc[word + 3] !== flags) desc[word + 3] = flags;
    this.#chain[head] = IN_FLIGHT;
    this.#room[head] = flags === VRING_DESC_F_WRITE ? length : 0;
    return head;
  }

  /** Takes a descriptor for an indirect table of `count` segments. Returns as {@link takeOne}. */
  takeIndirect(segments: Uint32Array, readable: number, count: number): number {
    const at = this.#free.first * this.#tableLength;
    const low = this.#tableLow + at * VRING_DESC_SIZE;
    const high = this.#tableHigh + Math.floor(low / 2 ** 32);
    const head = this.takeOne(low, high, count * VRING_DESC_SIZE, VRING_DESC_F_INDIRECT);
    if (head < 0) return -1;
    const tables = this.#tables as Uint32Array;
    this.#room[head] = inWord(writeTable(tables, at, segments, readable, count));
    return head;
  }

  /**
   * Takes a descriptor for each of `count` segments. Returns as {@link takeOne}. Throws `ERR_OUT_OF_RANGE` for more
   * than there are, free or not.
   */
  takeChain(segments: Uint32Array, readable: number, count: number): number {
    if (count < 1 || count > this.size) {
      throw rangeError(`a chain has 1 to ${this.size} buffers here, not ${count}`);
    }
    if (count > this.free) return -1;
    const free = this.#free;
    const head = free.first;
    let tail = head;
    let room = 0;
    for (let i = 0; i < count; i++) {
      if (i >= readable) room += segments[i * SEGMENT_WORDS + 2] as number;
      tail = free.take();
      writeSegment(this.#desc, tail, segments, i, segmentFlags(i, readable, count), free.first);
    }
    this.#recordMany(head, tail, count, room);
    return head;
  }

  /** Whether a chain begins at `head`. */
  inFlight(head: number): boolean {
    return this.#chain[head] === IN_FLIGHT;
  }

  /** Whether the device may give back `length` bytes in chain `head`, which may be any number. */
  allows(head: number, length: number): boolean {
    return this.#chain[head] === IN_FLIGHT && length <= (this.#room[head] as number);
  }

  /** Why {@link DescriptorTable.allows} does not. */
  objection(head: number, length: number): string {
    if (head >= this.size) return `it gave back chain ${head} of ${this.size}`;
    if (!this.inFlight(head)) return `it gave back chain ${head}, which is not in flight`;
    return `it wrote ${length} bytes to ${this.#room[head]} in chain ${head}`;
  }

  /** The same, of the entry at this position of the used ring. */
  objectionAt(ring: Uint32Array, position: number): string {
    const at = 1 + 2 * (position & (this.size - 1));
    const [head = 0, length = 0] = ring.subarray(at, at + 2);
    return this.objection(head, length);
  }

  /** The chains in flight that the entries of the used ring from position `from` up to `to` do not give back. */
  lacking(ring: Uint32Array, from: number, to: number): number[] {
    const returned = new Set<number>();
    for (let at = from; at !== to && returned.size <= this.size; at = (at + 1) & 0xffff) {
      returned.add(ring[1 + 2 * (at & (this.size - 1))] as number);
    }
    return this.chains.map(([head]) => head).filter((head) => !returned.has(head));
  }

  /** Frees a chain that {@link DescriptorTable.allows} allows. */
  release(head: number): void {
    this.#chain[head] = NONE;
    const count = this.#taken[head] as number;
    const tail = count === 1 ? head : (this.#tail[head] as number);
    this.#taken[head] = 1;
    this.#free.give(head, tail, count);
  }

  /**
   * Frees the chains that `count` entries of the used ring give back, from position `used` on; their heads
   * go to `heads`. Returns how many there are before the first that {@link DescriptorTable.allows} does
   * not allow.
   */
  releaseMany(ring: Uint32Array, used: number, count: number, heads: Uint16Array): number {
    const mask = this.size - 1;
    for (let i = 0; i < count; i++) {
      const at = 1 + 2 * ((used + i) & mask);
      const head = ring[at] as number;
      if (!this.allows(head, ring[at + 1] as number)) return i;
      this.release(head);
      heads[i] = head;
    }
    return count;
  }

  /** As {@link DescriptorTable.releaseMany}, for chains that keep their descriptors; `to` is where they go. */
  holdMany(
    ring: Uint32Array,
    used: number,
    count: number,
    heads: Uint16Array,
    lengths: Uint32Array,
    to: number,
  ): number {
    const mask = this.size - 1;
    for (let i = 0; i < count; i++) {
      const at = 1 + 2 * ((used + i) & mask);
      const head = ring[at] as number;
      const length = ring[at + 1] as number;
      if (!this.allows(head, length)) return i;
      this.#chain[head] = HELD;
      heads[to + i] = head;
      lengths[to + i] = length;
    }
    return count;
  }

  /** Puts a chain that is held in flight again. Returns whether it was held. */
  unhold(head: number): boolean {
    if (this.#chain[head] !== HELD) return false;
    this.#chain[head] = IN_FLIGHT;
    return true;
  }

  #recordMany(head: number, tail: number, count: number, room: number): void {
    this.#chain[head] = IN_FLIGHT;
    this.#room[head] = inWord(room);
    this.#taken[head] = count;
    this.#tail[head] = tail;
  }
}

/** The device counts what it wrote in 32 bits, also where a chain has more room. */
function inWord(room: number): number {
  return Math.min(room, 0xffff_ffff);
}
