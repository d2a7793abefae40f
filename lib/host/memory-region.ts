/** One region of guest memory: a file, a memfd or pages of this process alone, mapped once. */
import { constants as fs } from 'node:fs';
import {
  checkInteger,
  closedError,
  rangeError,
  StateError,
  typeError,
  valueError,
} from '../errors.js';
import { type Fd, native } from '../native.js';
import { checked, checkedValue } from '../syscall.js';
import { duplicate } from './descriptor.js';

const MFD_HUGETLB = 0x4;
const MFD_HUGE_SHIFT = 26;
const MADV_DONTFORK = 10;
const MADV_HUGEPAGE = 14;
/** What a transparent huge page has to lie at. */
const HUGE_PAGE = 2 << 20;
const F_SEAL_SEAL = 1;
const F_SEAL_SHRINK = 2;
const F_SEAL_GROW = 4;

/** Node 20 cannot make an ArrayBuffer over more than this; 22 and newer can. */
const LARGEST_BUFFER = Number(process.versions.node.split('.')[0]) >= 22 ? 2 ** 52 : 2 ** 32;

/** Where a region's bytes come from. */
export type RegionBacking =
  /** A new memfd of ordinary pages, sealed against shrinking and growing. */
  | 'memfd'
  /**
   * Pages of this process alone, which no peer can map: for a guest on KVM with vhost-net. They are huge
   * where the host has transparent huge pages, which a memfd's seldom are: fewer faults and shorter walks of
   * page tables in a guest. Children that this process forks do not have them.
   */
  | 'anonymous'
  /** A new memfd of huge pages of this many bytes, a power of two (2 MiB: `2 << 20`). */
  | { hugePageSize: number }
  /** A file, as one in `/dev/shm` or on hugetlbfs; it must be large enough. */
  | { path: string; offset?: number }
  /** A descriptor that somebody else owns; it is duplicated. */
  | { fd: number; offset?: number };

export interface RegionOptions {
  /** Guest-physical address of the first byte, a multiple of the page size. */
  guestAddress: bigint;
  /** Bytes, a multiple of the page size. */
  size: number | bigint;
  /** Default: `'memfd'`. */
  backing?: RegionBacking;
}

/** A region of {@link GuestMemory}. */
export class MemoryRegion {
  readonly guestAddress: bigint;
  /** Bytes. */
  readonly size: number;
  /** The address of the first byte in this process. */
  readonly userAddress: bigint;
  /** @internal The same as a number, which holds it exactly: no mapping begins above 2^53. */
  readonly address: number;
  /** Offset of the first byte in the file, in bytes; 0 where there is none. */
  readonly fileOffset: number;
  readonly #buffer: ArrayBuffer;
  readonly #fd: Fd | undefined;
  #bytes: Uint8Array | undefined;
  #words: Uint32Array | undefined;
  #closed = false;

  private constructor(guestAddress: bigint, size: number, source: Source | undefined) {
    const mapped = source ? mapShared(source, size) : mapAnonymous(size);
    this.guestAddress = guestAddress;
    this.size = size;
    this.userAddress = mapped.address;
    this.address = Number(mapped.address);
    this.fileOffset = source?.offset ?? 0;
    this.#buffer = mapped.buffer;
    this.#fd = source?.fd;
  }

  /**
   * Maps a region. Throws `ERR_INVALID_ARG_VALUE` for a size or address that is no multiple of the
   * page size, `ERR_REGION_TOO_LARGE` above 4 GiB on Node 20, `ENOMEM` where there is no memory (or no
   * free huge page), `ERR_OUT_OF_RANGE` for a file that is too short.
   */
  static create(options: RegionOptions): MemoryRegion {
    const size = Number(options.size);
    const { guestAddress } = options;
    if (typeof guestAddress !== 'bigint') throw typeError('guestAddress must be a bigint');
    if (!Number.isSafeInteger(size) || size <= 0) {
      throw rangeError(`the size of a region must be positive, not ${options.size}`);
    }
    if (guestAddress < 0n || guestAddress + BigInt(size) > 1n << 64n) {
      throw rangeError('a region must lie in the 64-bit guest address space');
    }
    if (size % native.pageSize !== 0 || guestAddress % BigInt(native.pageSize) !== 0n) {
      throw valueError(
        `the size and address of a region must be multiples of ${native.pageSize} bytes`,
      );
    }
    if (size > LARGEST_BUFFER) {
      throw rangeError(
        `Node ${process.versions.node} cannot share a region of ${size} bytes`,
        'use Node 22 or newer, or regions of at most 4 GiB',
        'ERR_REGION_TOO_LARGE',
      );
    }
    const { backing = 'memfd' } = options;
    const source = backing === 'anonymous' ? undefined : open(backing, size);
    try {
      return new MemoryRegion(guestAddress, size, source);
    } catch (error) {
      source?.fd.close();
      throw error;
    }
  }

  /** The mapping. Throws `ERR_CLOSED` after the memory was closed. */
  get buffer(): ArrayBuffer {
    if (this.#closed) throw closedError('the guest memory');
    return this.#buffer;
  }

  /** The mapping in bytes, one view for all who need it. Throws `ERR_CLOSED`. */
  get bytes(): Uint8Array {
    this.#bytes ??= new Uint8Array(this.buffer);
    return this.#bytes;
  }

  /** The mapping in words of 32 bits. Throws `ERR_CLOSED`. */
  get words(): Uint32Array {
    this.#words ??= new Uint32Array(this.buffer);
    return this.#words;
  }

  /**
   * @internal Makes it harmless that whoever owns the file cuts it short, which would otherwise end this
   * process: what was cut away becomes pages of this process alone. A file that is sealed against it needs
   * no guard. Throws `ENOSPC` where 4096 regions of this process are guarded.
   */
  guard(): void {
    if (!this.#fd || isSealed(this.#fd)) return;
    checked(native.memoryGuard(this.buffer), 'sigaction(SIGBUS)');
  }

  /** Whether the file is sealed against being cut short (`F_SEAL_SHRINK`). */
  get sealed(): boolean {
    return this.#fd !== undefined && isSealed(this.#fd);
  }

  /** @internal Whether the file was cut short, as seen when what is missing was touched. */
  get cut(): boolean {
    return !this.#closed && native.memoryIsCut(this.#buffer);
  }

  /** The memfd or file, for peers that map it too. Throws `ERR_CLOSED`, `ERR_MEMORY_NOT_SHARED`. */
  get fd(): number {
    if (this.#closed) throw closedError('the guest memory');
    if (!this.#fd) {
      throw new StateError(
        'ERR_MEMORY_NOT_SHARED',
        'anonymous memory has no descriptor that a peer could map',
        "create it with backing 'memfd'",
      );
    }
    return this.#fd.number();
  }

  /** @internal Only {@link GuestMemory.close} knows when this is safe. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#fd?.close();
    if (!native.memoryDetach(this.#buffer)) {
      throw new StateError('ERR_BUFFERS_REFUSED', 'the runtime did not detach the buffer');
    }
  }
}

/** Whether a file cannot become shorter any more. What knows no seals has none. */
export function isSealed(fd: Fd): boolean {
  const seals = native.getSeals(fd);
  return seals >= 0 && (seals & F_SEAL_SHRINK) !== 0;
}

/** What is mapped from a file. */
interface Source {
  fd: Fd;
  offset: number;
}

interface Mapped {
  address: bigint;
  buffer: ArrayBuffer;
}

function mapShared({ fd, offset }: Source, size: number): Mapped {
  const mapped = native.memoryMap(fd, BigInt(offset), BigInt(size));
  return checkedValue<Mapped>(mapped, 'mmap', undefined, [fd.number(), offset, size]);
}

function mapAnonymous(size: number): Mapped {
  // A small region has no room for a huge page.
  const alignment = size < HUGE_PAGE ? native.pageSize : HUGE_PAGE;
  const mapped = checkedValue<Mapped>(
    native.memoryMapAnonymous(BigInt(size), BigInt(alignment)),
    'mmap',
    undefined,
    ['anonymous', size],
  );
  try {
    // After a fork every page that is written would be copied first, for a child that executes something else.
    checked(native.memoryAdvise(mapped.buffer, MADV_DONTFORK), 'madvise(MADV_DONTFORK)');
  } catch (error) {
    native.memoryDetach(mapped.buffer);
    throw error;
  }
  // A kernel without huge pages has no such advice; then they are small.
  native.memoryAdvise(mapped.buffer, MADV_HUGEPAGE);
  return mapped;
}

function open(backing: Exclude<RegionBacking, 'anonymous'>, size: number): Source {
  if (backing === 'memfd') return { fd: sealedMemfd(size, 0), offset: 0 };
  if ('hugePageSize' in backing) {
    const { hugePageSize } = backing;
    const shift = Math.log2(hugePageSize);
    if (!Number.isInteger(shift) || hugePageSize <= native.pageSize || size % hugePageSize !== 0) {
      throw valueError(
        `hugePageSize must be a power of two over ${native.pageSize} that divides the size of the region`,
      );
    }
    return { fd: sealedMemfd(size, (MFD_HUGETLB | (shift << MFD_HUGE_SHIFT)) >>> 0), offset: 0 };
  }
  const offset = checkInteger('offset', backing.offset ?? 0, 0, Number.MAX_SAFE_INTEGER - size);
  if (offset % native.pageSize !== 0) {
    throw valueError(`the offset of a region must be a multiple of ${native.pageSize} bytes`);
  }
  const fd =
    'path' in backing
      ? checkedValue<Fd>(native.open(backing.path, fs.O_RDWR), 'open', backing.path)
      : duplicate(backing.fd);
  // Touching a page beyond the end of the file would kill the process with SIGBUS.
  try {
    const fileSize = checkedValue<bigint>(native.fileSize(fd), 'statx', undefined, [fd.number()]);
    if (fileSize < BigInt(offset + size)) {
      throw rangeError(`the file has ${fileSize} bytes, ${offset + size} are needed`);
    }
    return { fd, offset };
  } catch (error) {
    fd.close();
    throw error;
  }
}

/** A new memfd of `size` bytes, which it keeps: sealed against shrinking and growing. */
export function sealedMemfd(size: number, flags: number): Fd {
  const fd = checkedValue<Fd>(
    native.memfdCreate('guest-memory', flags),
    'memfd_create',
    undefined,
    ['guest-memory', flags],
  );
  try {
    checked(native.truncate(fd, BigInt(size)), 'ftruncate', undefined, [fd.number(), size]);
    const seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    checked(native.addSeals(fd, seals), 'fcntl(F_ADD_SEALS)', undefined, [fd.number(), seals]);
    return fd;
  } catch (error) {
    fd.close();
    throw error;
  }
}
