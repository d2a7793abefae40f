/**
 * DirtyLog: which pages of guest memory a device has written to, for copying a guest while it runs.
 * The device sets a bit for each page of 4 KiB; harvesting takes the bits away.
 */
import { closedError, rangeError, StateError } from '../errors.js';
import type { EventFd } from '../host/event-fd.js';
import type { GuestMemory } from '../host/guest-memory.js';
import { MemoryRegion } from '../host/memory-region.js';
import { native } from '../native.js';
import { VHOST_PAGE_SIZE } from '../uapi/vhost.js';

const PAGES_PER_WORD = 32;

/** Pages that were written to, one after another. */
export interface DirtyRange {
  /** Guest-physical address of the first page. */
  guestAddress: bigint;
  /** Bytes, a multiple of 4096. */
  size: number;
}

export interface DirtyLogOptions {
  /** Signalled when something was logged. It stays the caller's. */
  event?: EventFd;
}

/**
 * A log for one guest's memory, of one bit a page up to the memory's end; a gigabyte takes 32 KiB. A
 * backend that writes to it keeps it: `close()` throws `ERR_MEMORY_IN_USE` until it was taken off.
 */
export class DirtyLog {
  readonly event: EventFd | undefined;
  /** The end of what it covers, in guest-physical bytes. */
  readonly end: bigint;
  readonly #region: MemoryRegion;
  readonly #words: Uint32Array;
  /** First and last word of each stretch that has memory. What is between them stays untouched. */
  readonly #spans: readonly (readonly [first: number, last: number])[];
  readonly #holders = new Set<object>();
  #closed = false;

  private constructor(memory: GuestMemory, region: MemoryRegion, event: EventFd | undefined) {
    this.event = event;
    this.end = memory.end;
    this.#region = region;
    this.#words = new Uint32Array(region.buffer);
    this.#spans = spansOf(memory);
  }

  /**
   * An empty log. Throws `ENOMEM`, on Node 20 `ERR_REGION_TOO_LARGE`, for memory that ends too high for
   * a bit a page.
   */
  static create(memory: GuestMemory, options: DirtyLogOptions = {}): DirtyLog {
    const pages = (memory.end + BigInt(VHOST_PAGE_SIZE) - 1n) / BigInt(VHOST_PAGE_SIZE);
    const bytes = Math.ceil(Number(pages) / 8 / native.pageSize) * native.pageSize;
    const region = MemoryRegion.create({ guestAddress: 0n, size: bytes });
    return new DirtyLog(memory, region, options.event);
  }

  /** The address of the bitmap in this process. Throws `ERR_CLOSED`. */
  get userAddress(): bigint {
    if (this.#closed) throw closedError('the dirty log');
    return this.#region.userAddress;
  }

  /** The file of the bits, for peers that map it too. Throws `ERR_CLOSED`. */
  get fd(): number {
    return this.#region.fd;
  }

  /** The bits: of page `n` bit `n % 8` of byte `n / 8`. Throws `ERR_CLOSED`. */
  get bitmap(): ArrayBuffer {
    return this.#region.buffer;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /**
   * The pages that were written to since they were harvested last, neighbours joined, in ascending
   * order. A page that is written to meanwhile comes now or at the next harvest: none is lost, and none
   * comes twice for one write. What an iteration that ends early has not given stays in the log. Stop
   * the device before the last harvest. Throws `ERR_CLOSED`.
   */
  *harvest(): Generator<DirtyRange, void, undefined> {
    const words = this.#words;
    let word = 0;
    let bits = 0;
    /** The run of pages that may still grow. */
    let first = 0;
    let end = 0;
    try {
      for (const [from, to] of this.#spans) {
        for (word = from; word <= to; word++) {
          if (this.#closed) throw closedError('the dirty log');
          // A look costs little; only what is set is worth the exchange.
          if (words[word] === 0) continue;
          bits = Atomics.exchange(words, word, 0);
          while (bits !== 0) {
            const at = trailingZeros(bits);
            const length = trailingZeros(~(bits >>> at));
            const page = word * PAGES_PER_WORD + at;
            if (page !== end) {
              if (end > first) yield rangeOf(first, end);
              first = page;
            }
            end = page + length;
            bits = at + length >= PAGES_PER_WORD ? 0 : bits & (-1 << (at + length));
          }
        }
      }
      if (end > first) yield rangeOf(first, end);
    } finally {
      if (bits !== 0 && !this.#closed) Atomics.or(words, word, bits);
    }
  }

  /** Forgets what was logged. Throws `ERR_CLOSED`. */
  clear(): void {
    for (const _ of this.harvest());
  }

  /** @internal Marks pages `first` to `last` of guest memory: for a device of this process. */
  mark(first: number, last: number): void {
    for (let page = first; page <= last; page++) {
      Atomics.or(this.#words, Math.floor(page / PAGES_PER_WORD), 1 << (page % PAGES_PER_WORD));
    }
  }

  /** @internal Signals the event: something was marked. */
  tell(): void {
    this.event?.wake();
  }

  /** @internal Throws `ERR_OUT_OF_RANGE` for memory that ends behind what the log covers. */
  checkCovers({ end }: { end: bigint }): void {
    if (this.end >= end) return;
    throw rangeError(
      `the dirty log covers memory up to 0x${this.end.toString(16)}, the guest has some up to 0x${end.toString(16)}`,
      'make the log with DirtyLog.create() for the memory that the backend has',
    );
  }

  /** @internal Forbids `close()` until `holder` lets go. */
  hold(holder: object): void {
    if (this.#closed) throw closedError('the dirty log');
    this.#holders.add(holder);
  }

  /** @internal Undoes {@link DirtyLog.hold}. */
  release(holder: object): void {
    this.#holders.delete(holder);
  }

  /** Throws `ERR_MEMORY_IN_USE` while a device writes to it. Closing twice is no error. */
  close(): void {
    if (this.#closed) return;
    if (this.#holders.size > 0) {
      throw new StateError(
        'ERR_MEMORY_IN_USE',
        'the dirty log is in use by a vhost device',
        'take it off with setDirtyLog(null), or close the device, first: the kernel would write to freed memory',
      );
    }
    this.#closed = true;
    this.#region.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The words that have a bit of a region, none in two spans. */
function spansOf(memory: GuestMemory): [number, number][] {
  const bytesPerWord = BigInt(VHOST_PAGE_SIZE * PAGES_PER_WORD);
  const spans: [number, number][] = [];
  for (const { guestAddress, size } of memory.regions) {
    const first = Number(guestAddress / bytesPerWord);
    const last = Number((guestAddress + BigInt(size) - 1n) / bytesPerWord);
    const before = spans[spans.length - 1];
    if (before && first <= before[1]) before[1] = last;
    else spans.push([first, last]);
  }
  return spans;
}

function rangeOf(first: number, end: number): DirtyRange {
  return {
    guestAddress: BigInt(first) * BigInt(VHOST_PAGE_SIZE),
    size: (end - first) * VHOST_PAGE_SIZE,
  };
}

/** Of 32 bits; 32 for none set. */
function trailingZeros(bits: number): number {
  return bits === 0 ? 32 : 31 - Math.clz32(bits & -bits);
}
