/**
 * FrameBatch: some frames of a ring as the addon moves them by system calls: where each lies in guest memory,
 * in the kernel's `struct iovec`. Made once, filled again and again.
 */
import type { MemoryRegion } from '../host/memory-region.js';
import type { Chain } from '../vring/chain.js';

/** Frames of a batch at most. */
export const MOST_FRAMES = 64;
/** Vectors of a frame at most: the kernel's UIO_MAXIOV. */
export const MOST_VECTORS = 1024;
/** Vectors of all frames: room for one more of any length while fewer are there than the rest. */
const CAPACITY = 4 * MOST_VECTORS;
/** Words of a `struct iovec`: address and length, of 64 bits each. */
const VECTOR_WORDS = 4;
const WORD_RANGE = 2 ** 32;

export class FrameBatch {
  /** For {@link MoveFrames}. */
  readonly vectors = new Uint32Array(CAPACITY * VECTOR_WORDS);
  readonly ends = new Uint32Array(MOST_FRAMES);
  readonly results = new Int32Array(MOST_FRAMES);
  /** Frames. */
  count = 0;
  /** Vectors of all frames, and of the one under way. */
  #used = 0;
  readonly #regions = new Array<MemoryRegion | undefined>(CAPACITY).fill(undefined);
  readonly #offsets = new Float64Array(CAPACITY);
  /** Each region as a whole, made once. */
  readonly #views = new Map<MemoryRegion, Uint8Array>();

  clear(): void {
    this.count = this.#used = 0;
  }

  /** Whether one more frame fits, of whatever length. */
  get hasRoom(): boolean {
    return this.count < MOST_FRAMES && this.#used + MOST_VECTORS <= CAPACITY;
  }

  /** Vectors of the frame under way. */
  get open(): number {
    return this.#used - this.#start(this.count);
  }

  /** Adds every buffer of a chain to the frame under way, which must have room for them. */
  append(chain: Chain): void {
    for (let i = 0; i < chain.count; i++) {
      this.#regions[this.#used] = chain.regionOf(i);
      this.#offsets[this.#used] = chain.offsetOf(i);
      this.#vector(chain.addressOf(i), chain.lengthOf(i));
    }
  }

  /** Ends the frame under way. */
  end(): void {
    this.ends[this.count++] = this.#used;
  }

  /** As {@link FrameBatch.end}, with a vector of memory of our own behind its buffers. */
  endWith(address: number, length: number): void {
    this.#regions[this.#used] = undefined;
    this.#vector(address, length);
    this.end();
  }

  /** Writes a little-endian word of 16 bits into a frame's buffers, from its byte `at` on. */
  writeU16(frame: number, at: number, value: number): void {
    this.#writeByte(frame, at, value);
    this.#writeByte(frame, at + 1, value >> 8);
  }

  /** Calls `visit` with where the first `length` bytes of a frame lie in guest memory. */
  eachPlace(
    frame: number,
    length: number,
    visit: (region: MemoryRegion, offset: number, bytes: number) => void,
  ): void {
    let left = length;
    for (let i = this.#start(frame); i < (this.ends[frame] as number) && left > 0; i++) {
      const region = this.#regions[i];
      if (!region) return;
      const bytes = Math.min(left, this.#lengthOf(i));
      if (bytes > 0) visit(region, this.#offsets[i] as number, bytes);
      left -= bytes;
    }
  }

  /** Copies the first bytes of a frame out of guest memory. Returns how many those were. */
  copyTo(frame: number, target: Uint8Array): number {
    let at = 0;
    this.eachPlace(frame, target.length, (region, offset, bytes) => {
      target.set(this.#viewOf(region).subarray(offset, offset + bytes), at);
      at += bytes;
    });
    return at;
  }

  /** Copies bytes into a frame's buffers, which must have room for them. */
  copyFrom(frame: number, source: Uint8Array): void {
    let at = 0;
    this.eachPlace(frame, source.length, (region, offset, bytes) => {
      this.#viewOf(region).set(source.subarray(at, at + bytes), offset);
      at += bytes;
    });
  }

  #start(frame: number): number {
    return frame === 0 ? 0 : (this.ends[frame - 1] as number);
  }

  #vector(address: number, length: number): void {
    const at = this.#used++ * VECTOR_WORDS;
    // The low word: a remainder of such numbers would be a call.
    this.vectors[at] = address;
    this.vectors[at + 1] = address / WORD_RANGE;
    this.vectors[at + 2] = length;
    this.vectors[at + 3] = 0;
  }

  #lengthOf(vector: number): number {
    return this.vectors[vector * VECTOR_WORDS + 2] as number;
  }

  #writeByte(frame: number, at: number, value: number): void {
    let left = at;
    let vector = this.#start(frame);
    for (; left >= this.#lengthOf(vector); vector++) left -= this.#lengthOf(vector);
    const region = this.#regions[vector] as MemoryRegion;
    this.#viewOf(region)[(this.#offsets[vector] as number) + left] = value;
  }

  #viewOf(region: MemoryRegion): Uint8Array {
    let view = this.#views.get(region);
    if (!view) {
      view = new Uint8Array(region.buffer);
      this.#views.set(region, view);
    }
    return view;
  }
}
