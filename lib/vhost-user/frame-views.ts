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

export class FrameViews {
  readonly #pair: number;
  readonly #frames = new Array<Frame | undefined>(SLOTS).fill(undefined);
  readonly #regions = new Array<MemoryRegion | undefined>(SLOTS).fill(undefined);
  readonly #offsets = new Float64Array(SLOTS);
  /** The batch that each frame was handed out in. */
  readonly #batches = new Float64Array(SLOTS);
  #batch = 1;

  constructor(pair: number) {
    this.#pair = pair;
  }

  /** Begins another batch: the frames of the last one may be handed out again. */
  next(): void {
    this.#batch++;
  }

  /** The frame of `length` bytes at this place. No other of its batch, even where two chains name one buffer. */
  at(region: MemoryRegion, offset: number, length: number): Frame {
    const slot = Math.imul(offset, SPREAD) >>> 20;
    const known = this.#frames[slot];
    const used = this.#batches[slot] === this.#batch;
    if (
      known !== undefined &&
      !used &&
      this.#offsets[slot] === offset &&
      this.#regions[slot] === region &&
      known.buffer.length === length
    ) {
      this.#batches[slot] = this.#batch;
      known.length = length;
      return known;
    }
    const frame = new Frame(region.bytes.subarray(offset, offset + length), this.#pair);
    frame.length = length;
    if (used) return frame;
    this.#frames[slot] = frame;
    this.#regions[slot] = region;
    this.#offsets[slot] = offset;
    this.#batches[slot] = this.#batch;
    return frame;
  }
}
