/**
 * AddressMap: where guest addresses are, looked up by numbers. {@link GuestMemory.find} says the same, and
 * allocates; here a buffer of every frame is looked up.
 */
import type { GuestMemory } from '../host/guest-memory.js';
import type { MemoryRegion } from '../host/memory-region.js';

const WORD_RANGE = 2 ** 32;
/** Bytes of a region that a view of words reaches on every Node. */
const MOST_VIEWED = 2 ** 32;

export class AddressMap {
  /** What {@link AddressMap.find} found: the region, and bytes from its start. */
  region: MemoryRegion;
  offset = 0;
  readonly #regions: readonly MemoryRegion[];
  /** First address of each region in two words, and its size. */
  readonly #lows: Float64Array;
  readonly #highs: Float64Array;
  readonly #sizes: Float64Array;
  readonly #words: (Uint32Array | undefined)[];
  #found = 0;

  constructor({ regions }: GuestMemory) {
    this.#regions = regions;
    this.region = regions[0] as MemoryRegion;
    const low = ({ guestAddress }: MemoryRegion) => Number(guestAddress & 0xffff_ffffn);
    this.#lows = Float64Array.from(regions, low);
    this.#highs = Float64Array.from(regions, ({ guestAddress }) => Number(guestAddress >> 32n));
    this.#sizes = Float64Array.from(regions, ({ size }) => size);
    this.#words = new Array(regions.length).fill(undefined);
  }

  /** Whether `bytes` at an address, which is in two words, lie in one region. */
  find(low: number, high: number, bytes: number): boolean {
    // Most often it is the region of the buffer before.
    if (this.#isIn(this.#found, low, high, bytes)) return true;
    for (let i = 0; i < this.#regions.length; i++) {
      if (!this.#isIn(i, low, high, bytes)) continue;
      this.#found = i;
      this.region = this.#regions[i] as MemoryRegion;
      return true;
    }
    return false;
  }

  /**
   * How many of the `most` bytes from `skip` behind an address on lie in the region of the first of them, which is
   * found; 0 where it is in none.
   */
  findPart(low: number, high: number, skip: number, most: number): number {
    if (!this.find(low + skip, high, 1)) return 0;
    return Math.min(most, (this.#sizes[this.#found] as number) - this.offset);
  }

  /** The words of the region found, from its start on, made once. A huge region is viewed in part. */
  get words(): Uint32Array {
    const { buffer, size } = this.region;
    const at = this.#found;
    this.#words[at] ??= new Uint32Array(buffer, 0, Math.min(size, MOST_VIEWED) / 4);
    return this.#words[at] as Uint32Array;
  }

  #isIn(at: number, low: number, high: number, bytes: number): boolean {
    // A difference too large to be exact is far from any region.
    const words = high - (this.#highs[at] as number);
    const offset = words * WORD_RANGE + (low - (this.#lows[at] as number));
    const size = this.#sizes[at] as number;
    if (offset < 0 || offset >= size || offset + bytes > size) return false;
    this.offset = offset;
    return true;
  }
}
