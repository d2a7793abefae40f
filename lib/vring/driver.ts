/**
 * The driver end of a split ring: what a guest's driver does, in place on shared memory.
 *
 * Nothing is allocated per chain. Descriptors are four u32 stores; the two indices are published and
 * read with Atomics, which order them against everything before and after on x86 and arm alike.
 * What the device writes is checked before it is used: a device that lies breaks the ring with
 * `ERR_RING_BROKEN`, and nothing else.
 */
import { rangeError, StateError } from '../errors.js';
import type { GuestMemory } from '../host/guest-memory.js';
import { logVring } from '../log.js';
import {
  VRING_AVAIL_F_NO_INTERRUPT,
  VRING_DESC_F_INDIRECT,
  VRING_DESC_F_NEXT,
  VRING_DESC_F_WRITE,
  VRING_DESC_SIZE,
  VRING_USED_F_NO_NOTIFY,
} from '../uapi/virtio-ring.js';
import type { VringAddresses } from './layout.js';
import { DESC_WORDS, SEGMENT_WORDS, viewVring, writeSegment, writeTable } from './views.js';

export { SEGMENT_WORDS };

export interface VringDriverOptions {
  /** Descriptors: a power of two from 1 to 32768. */
  size: number;
  addresses: VringAddresses;
  /** Whether VIRTIO_RING_F_EVENT_IDX was negotiated. Default: false. */
  eventIdx?: boolean;
  /**
   * Room for indirect tables, where VIRTIO_RING_F_INDIRECT_DESC was negotiated: `size` tables of
   * `length` descriptors from `address`. Chains of 2 to `length` buffers then take one descriptor.
   */
  indirect?: { address: bigint; length: number };
}

const MASK = 0xffff;

export class VringDriver {
  readonly size: number;
  readonly addresses: VringAddresses;
  /** Bytes that the device wrote into the chain that {@link VringDriver.pop} returned last. */
  usedLength = 0;

  readonly #desc: Uint32Array;
  readonly #avail: Uint16Array;
  readonly #used16: Uint16Array;
  readonly #used32: Uint32Array;
  readonly #eventIdx: boolean;
  /** Where `avail_event` is in #used16, and `used_event` in #avail. */
  readonly #availEvent: number;
  readonly #usedEvent: number;
  readonly #tables: Uint32Array | undefined;
  readonly #tableLow: number;
  readonly #tableHigh: number;
  readonly #tableLength: number;

  // Our own record of every chain, by its head: the ring's memory is the device's to write.
  readonly #next: Uint16Array;
  readonly #tail: Uint16Array;
  /** Descriptors of the ring that a chain takes; 0 when the head is not in flight. */
  readonly #taken: Uint16Array;
  readonly #writable: Uint32Array;
  #freeHead = 0;
  #free = 0;
  /** Next position in the avail ring, and how far the device was told. */
  #availNext = 0;
  #availShown = 0;
  #usedNext = 0;
  #usedSeen = 0;
  #chains = 0;
  #broken: StateError | undefined;

  /** Throws `ERR_OUT_OF_RANGE` for a size, alignment or address that cannot be. */
  constructor(memory: GuestMemory, options: VringDriverOptions) {
    const { addresses, size } = options;
    const views = viewVring(memory, size, addresses);
    this.size = size;
    this.addresses = addresses;
    this.#desc = views.desc;
    this.#avail = views.avail;
    this.#used16 = views.used16;
    this.#used32 = views.used32;
    this.#eventIdx = options.eventIdx ?? false;
    this.#availEvent = 2 + 4 * size;
    this.#usedEvent = 2 + size;
    const table = options.indirect?.address ?? 0n;
    this.#tableLow = Number(table & 0xffff_ffffn);
    this.#tableHigh = Number(table >> 32n);
    this.#tableLength = options.indirect?.length ?? 0;
    if (options.indirect) {
      const bytes = size * this.#tableLength * VRING_DESC_SIZE;
      const tables = memory.translate(table, bytes);
      this.#tables = new Uint32Array(tables.region.buffer, tables.offset, bytes / 4);
    }
    this.#next = new Uint16Array(size);
    this.#tail = new Uint16Array(size);
    this.#taken = new Uint16Array(size);
    this.#writable = new Uint32Array(size);
    this.reset();
  }

  /** Forgets every chain and clears the ring's memory: for a device that was reset. */
  reset(): void {
    this.#desc.fill(0);
    this.#avail.fill(0);
    this.#used16.fill(0);
    for (let i = 0; i < this.size; i++) this.#next[i] = i + 1;
    this.#taken.fill(0);
    this.#freeHead = 0;
    this.#free = this.size;
    this.#availNext = this.#availShown = this.#usedNext = this.#usedSeen = 0;
    this.#chains = 0;
    this.#broken = undefined;
  }

  /** Descriptors that a new chain can take. */
  get free(): number {
    return this.#free;
  }

  /** Chains that the device has not given back. */
  get inFlight(): number {
    return this.#chains;
  }

  /** Whether the device broke the ring; adding, publishing and taking back throw then. */
  get broken(): boolean {
    return this.#broken !== undefined;
  }

  /**
   * Adds a chain of one buffer that the device reads. Returns its head, or -1 when the ring is full.
   * The address is guest-physical, in two words.
   */
  addReadable(low: number, high: number, length: number): number {
    return this.#addOne(low, high, length, 0, 0);
  }

  /** As {@link VringDriver.addReadable}, for a buffer that the device writes. */
  addWritable(low: number, high: number, length: number): number {
    return this.#addOne(low, high, length, VRING_DESC_F_WRITE, length);
  }

  /**
   * Adds a chain: `readable` buffers that the device reads, then `writable` that it writes, each three
   * words of `segments` (address low, address high, length in bytes). Returns the head, or -1 when
   * the ring has too few free descriptors. Throws `ERR_OUT_OF_RANGE` for a chain that fits into no
   * empty ring.
   */
  add(segments: Uint32Array, readable: number, writable: number): number {
    const count = readable + writable;
    if (count > 1 && count <= this.#tableLength)
      return this.#addIndirect(segments, readable, count);
    if (this.#broken) throw this.#broken;
    if (count < 1 || count > this.size) {
      throw rangeError(`a chain has 1 to ${this.size} buffers here, not ${count}`);
    }
    if (count > this.#free) return -1;
    const desc = this.#desc;
    const next = this.#next;
    const head = this.#freeHead;
    let at = head;
    let tail = head;
    let room = 0;
    for (let i = 0; i < count; i++) {
      let flags = i + 1 < count ? VRING_DESC_F_NEXT : 0;
      if (i >= readable) {
        flags |= VRING_DESC_F_WRITE;
        room += segments[i * SEGMENT_WORDS + 2] as number;
      }
      tail = at;
      at = next[tail] as number;
      writeSegment(desc, tail, segments, i, flags, at);
    }
    this.#freeHead = at;
    this.#offer(head, tail, count, room);
    return head;
  }

  #addOne(low: number, high: number, length: number, flags: number, room: number): number {
    if (this.#broken) throw this.#broken;
    if (this.#free === 0) return -1;
    const head = this.#freeHead;
    const desc = this.#desc;
    const word = head * DESC_WORDS;
    desc[word] = low;
    desc[word + 1] = high;
    desc[word + 2] = length;
    desc[word + 3] = flags;
    this.#freeHead = this.#next[head] as number;
    this.#offer(head, head, 1, room);
    return head;
  }

  #addIndirect(segments: Uint32Array, readable: number, count: number): number {
    const at = this.#freeHead * this.#tableLength;
    const low = this.#tableLow + at * VRING_DESC_SIZE;
    const high = this.#tableHigh + (low > 0xffff_ffff ? 1 : 0);
    const head = this.#addOne(low, high, count * VRING_DESC_SIZE, VRING_DESC_F_INDIRECT, 0);
    if (head < 0) return -1;
    const tables = this.#tables as Uint32Array;
    this.#writable[head] = writeTable(tables, at, segments, readable, count);
    return head;
  }

  #offer(head: number, tail: number, count: number, room: number): void {
    this.#tail[head] = tail;
    this.#taken[head] = count;
    this.#writable[head] = room;
    this.#free -= count;
    this.#chains++;
    this.#avail[2 + (this.#availNext & (this.size - 1))] = head;
    this.#availNext = (this.#availNext + 1) & MASK;
  }

  /**
   * Shows the device every chain added since the last call. Returns whether it wants a kick. Throws
   * `ERR_RING_BROKEN`.
   */
  publish(): boolean {
    if (this.#broken) throw this.#broken;
    const now = this.#availNext;
    const before = this.#availShown;
    if (now === before) return false;
    Atomics.store(this.#avail, 1, now);
    this.#availShown = now;
    if (this.#eventIdx) {
      const event = Atomics.load(this.#used16, this.#availEvent);
      return ((now - event - 1) & MASK) < ((now - before) & MASK);
    }
    return (Atomics.load(this.#used16, 0) & VRING_USED_F_NO_NOTIFY) === 0;
  }

  /**
   * Takes back the next chain that the device is done with: its head, or -1 when there is none.
   * Sets {@link VringDriver.usedLength}. Throws `ERR_RING_BROKEN`.
   */
  pop(): number {
    if (this.#broken) throw this.#broken;
    const position = this.#usedNext;
    if (position === this.#usedSeen) {
      const seen = Atomics.load(this.#used16, 1);
      if (seen === position) return -1;
      const count = (seen - position) & MASK;
      const shown = (this.#availShown - position) & MASK;
      if (count > shown) {
        throw this.#break(`it gave back ${count} chains, ${shown} are in flight`);
      }
      this.#usedSeen = seen;
    }
    const at = 1 + 2 * (position & (this.size - 1));
    const head = this.#used32[at] as number;
    const length = this.#used32[at + 1] as number;
    if (head >= this.size) throw this.#break(`it gave back chain ${head} of ${this.size}`);
    const taken = this.#taken[head] as number;
    if (taken === 0) throw this.#break(`it gave back chain ${head}, which is not in flight`);
    if (length > (this.#writable[head] as number)) {
      throw this.#break(`it wrote ${length} bytes to ${this.#writable[head]} in chain ${head}`);
    }
    this.#taken[head] = 0;
    this.#next[this.#tail[head] as number] = this.#freeHead;
    this.#freeHead = head;
    this.#free += taken;
    this.#chains--;
    this.#usedNext = (position + 1) & MASK;
    this.usedLength = length;
    return head;
  }

  /** Asks the device for no calls. With EVENT_IDX it stays quiet by itself until it is asked. */
  disableCalls(): void {
    if (!this.#eventIdx) Atomics.store(this.#avail, 0, VRING_AVAIL_F_NO_INTERRUPT);
  }

  /**
   * Asks for a call when more than `after` chains have come back since the last {@link VringDriver.pop}
   * (without EVENT_IDX: for every one). Returns true where that is so already: no call will come for
   * those, so look again.
   */
  enableCalls(after = 0): boolean {
    if (this.#eventIdx) {
      Atomics.store(this.#avail, this.#usedEvent, (this.#usedNext + after) & MASK);
    } else {
      Atomics.store(this.#avail, 0, 0);
    }
    return ((Atomics.load(this.#used16, 1) - this.#usedNext) & MASK) > after;
  }

  #break(what: string): StateError {
    logVring('broken: %s', what);
    this.#broken = new StateError(
      'ERR_RING_BROKEN',
      `the device broke the ring: ${what}`,
      'the backend is at fault: close the port and report what served the ring',
    );
    return this.#broken;
  }
}
