/**
 * The driver end of a split ring: what a guest's driver does, in place on shared memory.
 *
 * Nothing is allocated per chain. Descriptors are four u32 stores; the two indices are published and
 * read with Atomics, which order them against everything before and after on x86 and arm alike.
 * What the device writes is checked before it is used: a device that lies breaks the ring with
 * `ERR_RING_BROKEN`, and nothing else.
 */
import { StateError } from '../errors.js';
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
import {
  availBytes,
  checkAlignment,
  checkRingSize,
  descBytes,
  usedBytes,
  type VringAddresses,
} from './layout.js';

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
/** Words of a segment in {@link VringDriver.add}: address low, address high, length. */
export const SEGMENT_WORDS = 3;

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
  /** Index of `avail_event` in #used16. */
  readonly #availEvent: number;
  /** Index of `used_event` in #avail. */
  readonly #usedEvent: number;
  readonly #tables: Uint32Array | undefined;
  readonly #tableAddress: bigint;
  readonly #tableLength: number;

  // Our own record of every chain, by its head: the ring's memory is the device's to write.
  readonly #next: Uint16Array;
  readonly #tail: Uint16Array;
  /** Descriptors of the ring that a chain takes; 0 when the head is not in flight. */
  readonly #taken: Uint16Array;
  readonly #writable: Uint32Array;
  #freeHead = 0;
  #free: number;
  /** Next position in the avail ring, and how far the device was told. */
  #availNext = 0;
  #availShown = 0;
  #usedNext = 0;
  #usedSeen = 0;
  #chains = 0;
  #broken: StateError | undefined;

  /** Throws `ERR_OUT_OF_RANGE` for a size, alignment or address that cannot be. */
  constructor(memory: GuestMemory, options: VringDriverOptions) {
    const { addresses } = options;
    const size = checkRingSize('size', options.size);
    checkAlignment(addresses);
    this.size = size;
    this.addresses = addresses;
    const desc = memory.translate(addresses.desc, descBytes(size));
    const avail = memory.translate(addresses.avail, availBytes(size));
    const used = memory.translate(addresses.used, usedBytes(size));
    this.#desc = new Uint32Array(desc.region.buffer, desc.offset, size * 4);
    this.#avail = new Uint16Array(avail.region.buffer, avail.offset, 3 + size);
    this.#used16 = new Uint16Array(used.region.buffer, used.offset, 3 + 4 * size);
    this.#used32 = new Uint32Array(used.region.buffer, used.offset, 1 + 2 * size);
    this.#eventIdx = options.eventIdx ?? false;
    this.#availEvent = 2 + 4 * size;
    this.#usedEvent = 2 + size;
    this.#tableAddress = options.indirect?.address ?? 0n;
    this.#tableLength = options.indirect?.length ?? 0;
    if (options.indirect) {
      const bytes = size * this.#tableLength * VRING_DESC_SIZE;
      const tables = memory.translate(this.#tableAddress, bytes);
      this.#tables = new Uint32Array(tables.region.buffer, tables.offset, bytes / 4);
    }
    this.#next = new Uint16Array(size);
    this.#tail = new Uint16Array(size);
    this.#taken = new Uint16Array(size);
    this.#writable = new Uint32Array(size);
    this.#free = size;
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

  /** Whether the device broke the ring; every call throws then. */
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
   * the ring has too few free descriptors.
   */
  add(segments: Uint32Array, readable: number, writable: number): number {
    const count = readable + writable;
    if (count > 1 && count <= this.#tableLength)
      return this.#addIndirect(segments, readable, count);
    if (this.#broken) throw this.#broken;
    if (count === 0 || count > this.#free) return -1;
    const desc = this.#desc;
    const next = this.#next;
    const head = this.#freeHead;
    let at = head;
    let tail = head;
    let room = 0;
    for (let i = 0; i < count; i++) {
      const length = segments[i * SEGMENT_WORDS + 2] as number;
      let flags = i + 1 < count ? VRING_DESC_F_NEXT : 0;
      if (i >= readable) {
        flags |= VRING_DESC_F_WRITE;
        room += length;
      }
      const word = at * 4;
      desc[word] = segments[i * SEGMENT_WORDS] as number;
      desc[word + 1] = segments[i * SEGMENT_WORDS + 1] as number;
      desc[word + 2] = length;
      tail = at;
      at = next[at] as number;
      desc[word + 3] = flags | (at << 16);
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
    const word = head * 4;
    desc[word] = low;
    desc[word + 1] = high;
    desc[word + 2] = length;
    desc[word + 3] = flags;
    this.#freeHead = this.#next[head] as number;
    this.#offer(head, head, 1, room);
    return head;
  }

  #addIndirect(segments: Uint32Array, readable: number, count: number): number {
    const tables = this.#tables as Uint32Array;
    const at = this.#freeHead * this.#tableLength * 4;
    const table = this.#tableAddress + BigInt(at * 4);
    const head = this.#addOne(
      Number(table & 0xffff_ffffn),
      Number(table >> 32n),
      count * VRING_DESC_SIZE,
      VRING_DESC_F_INDIRECT,
      0,
    );
    if (head < 0) return -1;
    let room = 0;
    for (let i = 0; i < count; i++) {
      const word = at + i * 4;
      const length = segments[i * SEGMENT_WORDS + 2] as number;
      let flags = i + 1 < count ? VRING_DESC_F_NEXT : 0;
      if (i >= readable) {
        flags |= VRING_DESC_F_WRITE;
        room += length;
      }
      tables[word] = segments[i * SEGMENT_WORDS] as number;
      tables[word + 1] = segments[i * SEGMENT_WORDS + 1] as number;
      tables[word + 2] = length;
      tables[word + 3] = flags | ((i + 1) << 16);
    }
    this.#writable[head] = room;
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

  /** Shows the device every chain added since the last call. Returns whether it wants a kick. */
  publish(): boolean {
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
    const position = this.#usedNext;
    if (position === this.#usedSeen) {
      if (this.#broken) throw this.#broken;
      const seen = Atomics.load(this.#used16, 1);
      if (seen === position) return -1;
      const count = (seen - position) & MASK;
      if (count > this.#chains) {
        throw this.#break(`it gave back ${count} chains, ${this.#chains} are in flight`);
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
