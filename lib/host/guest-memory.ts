/**
 * GuestMemory: what a guest, a vhost worker and JavaScript share. A set of regions, each a range of
 * guest-physical addresses backed by one shared mapping, possibly with holes between them.
 */
import { closedError, rangeError, StateError, valueError } from '../errors.js';
import { logHost } from '../log.js';
import { MemoryRegion, type RegionOptions } from './memory-region.js';

/** Where a guest address is: a region, and the offset in its buffer. */
export interface Location {
  region: MemoryRegion;
  /** Bytes from the start of the region. */
  offset: number;
}

/**
 * Shared guest memory. A backend that was told about it keeps it: `close()` throws
 * `ERR_MEMORY_IN_USE` until that backend is stopped and closed.
 */
export class GuestMemory {
  /** In the order of their guest addresses, none overlapping. */
  readonly regions: readonly MemoryRegion[];
  #holders = new Set<object>();
  #closed = false;

  private constructor(regions: MemoryRegion[]) {
    this.regions = regions;
    logHost('guest memory of %d regions', regions.length);
  }

  /**
   * Maps every region. Throws `ERR_INVALID_ARG_VALUE` for none or overlapping ones, and what
   * {@link MemoryRegion} throws; then nothing stays mapped.
   */
  static create(options: readonly RegionOptions[]): GuestMemory {
    if (options.length === 0) throw valueError('guest memory needs at least one region');
    const regions: MemoryRegion[] = [];
    try {
      for (const region of options) regions.push(MemoryRegion.create(region));
      return new GuestMemory(inOrder(regions));
    } catch (error) {
      for (const region of regions) region.close();
      throw error;
    }
  }

  /**
   * @internal Memory of regions that are mapped already. Whoever mapped them may close them one by one
   * instead of all. Throws `ERR_INVALID_ARG_VALUE` for none or overlapping ones.
   */
  static over(regions: readonly MemoryRegion[]): GuestMemory {
    if (regions.length === 0) throw valueError('guest memory needs at least one region');
    return new GuestMemory(inOrder([...regions]));
  }

  /** The end of the highest region, in guest-physical bytes. */
  get end(): bigint {
    const last = this.regions[this.regions.length - 1] as MemoryRegion;
    return last.guestAddress + BigInt(last.size);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Where `length` bytes at a guest address are; they must lie in one region. Throws
   * `ERR_OUT_OF_RANGE` for a hole, an end beyond the region, or a range over two regions.
   */
  translate(guestAddress: bigint, length: number): Location {
    const location = this.find(guestAddress);
    if (!location || location.offset + length > location.region.size || length < 0) {
      throw rangeError(
        `guest memory has no ${length} bytes at 0x${guestAddress.toString(16)} in one region`,
      );
    }
    return location;
  }

  /** Where a guest address is, or undefined for a hole. Throws `ERR_CLOSED`. */
  find(guestAddress: bigint): Location | undefined {
    if (this.#closed) throw closedError('the guest memory');
    for (const region of this.regions) {
      if (guestAddress < region.guestAddress) return undefined;
      const offset = guestAddress - region.guestAddress;
      if (offset < BigInt(region.size)) return { region, offset: Number(offset) };
    }
    return undefined;
  }

  /** A view of bytes that lie in one region. Throws as {@link GuestMemory.translate}. */
  bytes(guestAddress: bigint, length: number): Uint8Array {
    const { region, offset } = this.translate(guestAddress, length);
    return new Uint8Array(region.buffer, offset, length);
  }

  /** The views that make up a range, one for each region it crosses. Throws `ERR_OUT_OF_RANGE`. */
  slices(guestAddress: bigint, length: number): Uint8Array[] {
    const slices: Uint8Array[] = [];
    for (let done = 0; done < length; ) {
      const address = guestAddress + BigInt(done);
      const location = this.find(address);
      if (!location) throw rangeError(`guest memory has a hole at 0x${address.toString(16)}`);
      const { region, offset } = location;
      const size = Math.min(length - done, region.size - offset);
      slices.push(new Uint8Array(region.buffer, offset, size));
      done += size;
    }
    return slices;
  }

  /** Copies bytes into guest memory, over several regions if need be. Throws `ERR_OUT_OF_RANGE`. */
  write(guestAddress: bigint, bytes: Uint8Array): void {
    let done = 0;
    for (const slice of this.slices(guestAddress, bytes.length)) {
      slice.set(bytes.subarray(done, done + slice.length));
      done += slice.length;
    }
  }

  /** A copy of bytes of guest memory. Throws `ERR_OUT_OF_RANGE`. */
  read(guestAddress: bigint, length: number): Uint8Array {
    const copy = new Uint8Array(length);
    let done = 0;
    for (const slice of this.slices(guestAddress, length)) {
      copy.set(slice, done);
      done += slice.length;
    }
    return copy;
  }

  /** @internal Forbids `close()` until `holder` lets go. */
  hold(holder: object): void {
    if (this.#closed) throw closedError('the guest memory');
    this.#holders.add(holder);
  }

  /** @internal Undoes {@link GuestMemory.hold}. */
  release(holder: object): void {
    this.#holders.delete(holder);
  }

  /**
   * Detaches every region's buffer: all views of it become empty. Throws `ERR_MEMORY_IN_USE` while a
   * vhost device knows of it. Closing twice is no error.
   */
  close(): void {
    if (this.#closed) return;
    if (this.#holders.size > 0) {
      throw new StateError(
        'ERR_MEMORY_IN_USE',
        'the guest memory is in use by a vhost device',
        'close the device or reset its owner first: the kernel would write to freed memory',
      );
    }
    this.#closed = true;
    for (const region of this.regions) region.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Sorts regions by their guest addresses. Throws `ERR_INVALID_ARG_VALUE` where two overlap. */
function inOrder(regions: MemoryRegion[]): MemoryRegion[] {
  regions.sort((a, b) => (a.guestAddress < b.guestAddress ? -1 : 1));
  for (let i = 1; i < regions.length; i++) {
    const before = regions[i - 1] as MemoryRegion;
    const region = regions[i] as MemoryRegion;
    if (region.guestAddress < before.guestAddress + BigInt(before.size)) {
      throw valueError(
        `the regions at 0x${before.guestAddress.toString(16)} and 0x${region.guestAddress.toString(16)} overlap`,
      );
    }
  }
  return regions;
}
