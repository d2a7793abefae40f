/**
 * SendArena: room for frames on their way out, as a ring of bytes. Each frame lies in one piece,
 * whatever its length, so that it takes one descriptor and one copy. Room is given back in the order
 * it was taken, also where the device is done with frames in another order.
 */

import { rangeError } from '../errors.js';

/** Frames begin on cache lines of their own. */
const ALIGNMENT = 64;

function roundUp(length: number): number {
  return (length + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
}

export class SendArena {
  readonly capacity: number;
  /** Free-running byte positions (exact up to 2^53): taken up to, given back up to. */
  #head = 0;
  #tail = 0;
  /** The pieces in the order they were taken: where each ends, and whether it is done with. */
  readonly #ends: Float64Array;
  readonly #done: Uint8Array;
  #oldest = 0;
  #pieces = 0;
  /** The piece that {@link SendArena.take} handed out last, for {@link SendArena.giveBack}. */
  piece = 0;

  /** `capacity` bytes, a multiple of 64, for at most `pieces` frames at a time. */
  constructor(capacity: number, pieces: number) {
    this.capacity = capacity;
    this.#ends = new Float64Array(pieces);
    this.#done = new Uint8Array(pieces);
  }

  /** The offset of `length` bytes in one piece, or -1 when there is no room. Sets `piece`. */
  take(length: number): number {
    const bytes = roundUp(length);
    const offset = this.#head % this.capacity;
    // What does not fit before the end of the ring goes to its start.
    const skipped = offset + bytes > this.capacity ? this.capacity - offset : 0;
    const end = this.#head + skipped + bytes;
    if (end - this.#tail > this.capacity || this.#pieces === this.#ends.length) return -1;
    this.piece = (this.#oldest + this.#pieces) % this.#ends.length;
    this.#ends[this.piece] = end;
    this.#done[this.piece] = 0;
    this.#pieces++;
    this.#head = end;
    return skipped > 0 ? 0 : offset;
  }

  /**
   * Takes over pieces of another arena of the same capacity, oldest first; `pieces[i]` is piece `i` here.
   * Throws `ERR_OUT_OF_RANGE` for pieces that cannot follow one another in it.
   */
  restore(pieces: readonly { offset: number; length: number }[]): void {
    this.#head = this.#tail = pieces[0]?.offset ?? 0;
    this.#oldest = 0;
    this.#pieces = pieces.length;
    pieces.forEach(({ offset, length }, piece) => {
      const gap = offset - (this.#head % this.capacity);
      const end = this.#head + (gap < 0 ? gap + this.capacity : gap) + roundUp(length);
      const fits = offset >= 0 && offset % ALIGNMENT === 0 && offset + length <= this.capacity;
      if (!fits || end - this.#tail > this.capacity || piece >= this.#ends.length) {
        throw rangeError(`${length} bytes at ${offset} are no piece that was taken after the last`);
      }
      this.#head = this.#ends[piece] = end;
      this.#done[piece] = 0;
    });
  }

  /** How many pieces were taken, and not given back, before this one. */
  ageOf(piece: number): number {
    return (piece - this.#oldest + this.#ends.length) % this.#ends.length;
  }

  giveBack(piece: number): void {
    this.#done[piece] = 1;
    while (this.#pieces > 0 && this.#done[this.#oldest] === 1) {
      this.#tail = this.#ends[this.#oldest] as number;
      this.#oldest = (this.#oldest + 1) % this.#ends.length;
      this.#pieces--;
    }
    // An empty arena starts over, so that the largest frame always fits into an idle one.
    if (this.#pieces === 0) this.#head = this.#tail = 0;
  }
}
