/**
 * SendArena: room for frames on their way out, as a ring of bytes. Each frame lies in one piece,
 * whatever its length, so that it takes one descriptor and one copy. Room is given back in the order
 * it was taken, also where the device is done with frames in another order. After as many pieces as there
 * can be at a time it begins anew where it began, if there is room: frames of one length lie where those of
 * the last lap lay, in few pages, and their descriptors stay as they are.
 */

import { rangeError } from '../errors.js';

/** Bytes of a cache line: each piece has its own. */
export const CACHE_LINE = 64;

function roundUp(length: number): number {
  return (length + CACHE_LINE - 1) & ~(CACHE_LINE - 1);
}

export class SendArena {
  readonly capacity: number;
  /** Where the next piece begins, unless it goes to the start; and the bytes that are taken. */
  #offset = 0;
  #taken = 0;
  /** The pieces in the order they were taken: their bytes with those skipped, less than 0 when done with. */
  readonly #sizes: Int32Array;
  #oldest = 0;
  #next = 0;
  #pieces = 0;
  /** The piece that {@link SendArena.take} handed out last, for {@link SendArena.giveBack}. */
  piece = 0;

  /** `capacity` bytes, a multiple of 64 below 2^32, for at most `pieces` frames at a time. */
  constructor(capacity: number, pieces: number) {
    this.capacity = capacity;
    this.#sizes = new Int32Array(pieces);
  }

  /** The offset of `length` bytes in one piece, or -1 when there is no room. Sets `piece`. */
  take(length: number): number {
    let size = roundUp(length);
    let offset = this.#offset;
    let end = offset + size;
    // What does not fit before the end of the ring goes to its start.
    if (end > this.capacity || this.#beginsLap(size)) {
      end = size;
      if (this.#pieces > 0) size += this.capacity - offset;
      offset = 0;
    }
    const taken = this.#taken + size;
    if (taken > this.capacity || this.#pieces === this.#sizes.length) return -1;
    const piece = this.#next;
    this.#sizes[piece] = size;
    this.#next = this.#after(piece);
    this.#pieces++;
    this.#taken = taken;
    this.#offset = end;
    this.piece = piece;
    return offset;
  }

  /**
   * Takes over pieces of another arena of the same capacity, oldest first; `pieces[i]` is piece `i` here.
   * Throws `ERR_OUT_OF_RANGE` for pieces that cannot follow one another in it.
   */
  restore(pieces: readonly { offset: number; length: number }[]): void {
    this.#offset = pieces[0]?.offset ?? 0;
    this.#oldest = this.#next = this.#pieces = this.#taken = 0;
    for (const { offset, length } of pieces) {
      const gap = offset - this.#offset;
      const size = (gap < 0 ? gap + this.capacity : gap) + roundUp(length);
      const fits = offset >= 0 && offset % CACHE_LINE === 0 && offset + length <= this.capacity;
      const taken = this.#taken + size;
      if (!fits || taken > this.capacity || this.#pieces === this.#sizes.length) {
        throw rangeError(`${length} bytes at ${offset} are no piece that was taken after the last`);
      }
      this.#sizes[this.#next] = size;
      this.#next = this.#after(this.#next);
      this.#pieces++;
      this.#taken = taken;
      this.#offset = offset + roundUp(length);
    }
  }

  /** How many pieces were taken, and not given back, before this one. */
  ageOf(piece: number): number {
    return (piece - this.#oldest + this.#sizes.length) % this.#sizes.length;
  }

  giveBack(piece: number): void {
    const sizes = this.#sizes;
    sizes[piece] = -(sizes[piece] as number);
    while (this.#pieces > 0 && (sizes[this.#oldest] as number) < 0) {
      this.#taken += sizes[this.#oldest] as number;
      this.#oldest = this.#after(this.#oldest);
      this.#pieces--;
    }
    // What was skipped before a piece that is gone is nobody's: the largest frame fits into an idle arena.
    if (this.#pieces === 0) this.#taken = 0;
  }

  /** Whether the next piece is the first of a lap, and `size` bytes are free at the start. */
  #beginsLap(size: number): boolean {
    return this.#next === 0 && (this.#pieces === 0 || this.#taken + size <= this.#offset);
  }

  #after(piece: number): number {
    return piece + 1 === this.#sizes.length ? 0 : piece + 1;
  }
}
