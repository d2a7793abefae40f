/**
 * Frames over buffers of a guest, in place. A driver uses the same buffers again and again, so the views of them
 * are kept; one that it has not used lately, or not with this length, costs a new one.
 */
import type { MemoryRegion } from '../host/memory-region.js';
import { Frame } from '../net/frame.js';

/** A power of two: rings are shorter, and what drivers have in turn is not much more. */
const SLOTS = 4096;
/** Knuth's multiplier: neighbouring buffers spread over all slots. */
const SPREAD = 0x9e37_79b1;

/** A frame and where it lies; all of it in one object, for what is looked at of each costs a line of the cache. */
interface Place {
  frame: Frame;
  region: MemoryRegion;
  offset: number;
  length: number;
  /** The batch that it was handed out in. */
  batch: number;
}

export class FrameViews {
  readonly #pair: number;
  readonly #places = new Array<Place | undefined>(SLOTS).fill(undefined);
  #batch = 1;

  constructor(pair: number) {
    this.#pair = pair;
  }

  /** Begins another batch: the frames of the last one may be handed out again. */
  next(): void {
    // Small for ever: a batch of the same number long ago costs a view, and nothing else.
    this.#batch = (this.#batch + 1) & 0x3fff_ffff;
  }

  /** The frame of `length` bytes at this place. No other of its batch, even where two chains name one buffer. */
  at(region: MemoryRegion, offset: number, length: number): Frame {
    const batch = this.#batch;
    const slot = Math.imul(offset, SPREAD) >>> 20;
    const known = this.#places[slot];
    const used = known?.batch === batch;
    if (
      known !== undefined &&
      !used &&
      known.offset === offset &&
      known.length === length &&
      known.region === region
    ) {
      known.batch = batch;
      known.frame.length = length;
      return known.frame;
    }
    const frame = new Frame(region.bytes.subarray(offset, offset + length), this.#pair);
    frame.length = length;
    if (!used) this.#places[slot] = { frame, region, offset, length, batch };
    return frame;
  }
}
