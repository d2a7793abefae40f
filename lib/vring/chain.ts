/** A chain of buffers as the device end has it: where each lies, copied out of the ring and checked. */
import { rangeError } from '../errors.js';
import type { MemoryRegion } from '../host/memory-region.js';

/**
 * Pieces of a chain, at most, at which a buffer is taken that lies in several regions, each a piece of its own: as
 * many as a system call takes of them (UIO_MAXIOV), and vhost of a chain.
 */
export const MOST_PIECES = 1024;

/** The buffers of one chain; one object serves chain after chain. Nothing in it is the driver's to change. */
export class Chain {
  /** The descriptor that the chain begins with. */
  head = 0;
  /**
   * Buffers, and pieces of those in several regions, of which the device reads the first {@link Chain.readable} and
   * writes the others.
   */
  count = 0;
  readable = 0;
  /** Bytes that the device may read, and write. */
  readableBytes = 0;
  writableBytes = 0;
  readonly #regions: (MemoryRegion | undefined)[];
  /** Offsets in the regions: a region may be larger than 32 bits say. */
  readonly #offsets: Float64Array;
  readonly #lengths: Uint32Array;

  /** `buffers`: those of the longest chain. */
  constructor(buffers: number) {
    const capacity = buffers + MOST_PIECES;
    this.#regions = new Array<MemoryRegion | undefined>(capacity).fill(undefined);
    this.#offsets = new Float64Array(capacity);
    this.#lengths = new Uint32Array(capacity);
  }

  /** @internal Begins another chain. */
  begin(head: number): void {
    this.head = head;
    this.count = this.readable = this.readableBytes = this.writableBytes = 0;
  }

  /** @internal Takes one more buffer, which must lie in the region. */
  append(region: MemoryRegion, offset: number, length: number, writable: boolean): void {
    const at = this.count++;
    this.#regions[at] = region;
    this.#offsets[at] = offset;
    this.#lengths[at] = length;
    if (writable) {
      this.writableBytes += length;
    } else {
      this.readable++;
      this.readableBytes += length;
    }
  }

  /** Bytes of buffer `index`. */
  lengthOf(index: number): number {
    return this.#lengths[index] as number;
  }

  /** The region that buffer `index` lies in, and where, in bytes from its start. */
  regionOf(index: number): MemoryRegion {
    return this.#regions[index] as MemoryRegion;
  }

  offsetOf(index: number): number {
    return this.#offsets[index] as number;
  }

  /** The address of buffer `index` in this process, for a system call. */
  addressOf(index: number): number {
    return this.regionOf(index).address + this.offsetOf(index);
  }

  /** A view of buffer `index`: the driver may change it at any time. */
  bytesOf(index: number): Uint8Array {
    const { buffer } = this.#regions[index] as MemoryRegion;
    return new Uint8Array(buffer, this.#offsets[index], this.#lengths[index]);
  }

  /**
   * Copies what the device may read from byte `from` on, as much as there is and `target` holds. Returns how
   * many bytes. What is decided by them must be decided by the copy.
   */
  read(target: Uint8Array, from = 0): number {
    return this.#each(0, this.readable, from, target.length, (slice, at) => target.set(slice, at));
  }

  /**
   * Writes `source` to what the device may write, from byte `to` on. Returns how many bytes. Throws
   * `ERR_OUT_OF_RANGE` where there is no room for all of it; then nothing is written.
   */
  write(source: Uint8Array, to = 0): number {
    if (to + source.length > this.writableBytes) {
      throw rangeError(
        `the chain has room for ${this.writableBytes} bytes, not for ${source.length} from ${to} on`,
      );
    }
    return this.#each(this.readable, this.count, to, source.length, (slice, at) =>
      slice.set(source.subarray(at, at + slice.length)),
    );
  }

  /** Calls `visit` with each slice of `length` bytes from `from` on of the buffers, and where it belongs. */
  #each(
    first: number,
    end: number,
    from: number,
    length: number,
    visit: (slice: Uint8Array, at: number) => void,
  ): number {
    let skip = from;
    let done = 0;
    for (let i = first; i < end && done < length; i++) {
      const bytes = this.lengthOf(i);
      if (skip >= bytes) {
        skip -= bytes;
        continue;
      }
      const slice = this.bytesOf(i).subarray(skip, skip + length - done);
      visit(slice, done);
      done += slice.length;
      skip = 0;
    }
    return done;
  }
}
