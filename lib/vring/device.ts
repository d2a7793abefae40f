/**
 * The device end of a split ring: takes the chains that a driver offers, gives them back. In place on guest
 * memory, of which the driver may change anything at any time: it can break its own ring, and nothing else.
 */
import { checkInteger, StateError } from '../errors.js';
import type { GuestMemory } from '../host/guest-memory.js';
import { logVring } from '../log.js';
import {
  VRING_AVAIL_F_NO_INTERRUPT,
  VRING_USED_ELEMENT_SIZE,
  VRING_USED_F_NO_NOTIFY,
} from '../uapi/virtio-ring.js';
import { Chain } from './chain.js';
import { ChainReader } from './chain-reader.js';
import type { VringAddresses } from './layout.js';
import { viewVring } from './views.js';

const MASK = 0xffff;

export interface VringDeviceOptions {
  /** Descriptors: a power of two from 1 to 32768. */
  size: number;
  addresses: VringAddresses;
  /** Whether VIRTIO_RING_F_EVENT_IDX was negotiated. Default: false. */
  eventIdx?: boolean;
  /** Whether VIRTIO_RING_F_INDIRECT_DESC was negotiated. Default: false. */
  indirect?: boolean;
  /** Position of the next chain in the avail ring, 0 to 65535. Default: 0. */
  base?: number;
}

export class VringDevice {
  readonly size: number;
  /** The chain that {@link VringDevice.take} took last. */
  readonly chain: Chain;
  /**
   * Called with what was written of the used ring, in bytes from its start, where a dirty log must know.
   */
  onWrite: ((offset: number, bytes: number) => void) | undefined;
  readonly #reader: ChainReader;
  readonly #avail: Uint16Array;
  readonly #used16: Uint16Array;
  readonly #used32: Uint32Array;
  readonly #eventIdx: boolean;
  /** The next position in the avail ring, and how far the driver was when we looked. */
  #availNext: number;
  #availSeen: number;
  /** The next position in the used ring, and how far the driver was told there. */
  #usedNext: number;
  #usedShown: number;
  #broken: StateError | undefined;

  /** Throws `ERR_OUT_OF_RANGE` for a size, alignment or address that cannot be. */
  constructor(memory: GuestMemory, options: VringDeviceOptions) {
    const { addresses, size, eventIdx = false, indirect = false, base = 0 } = options;
    const views = viewVring(memory, size, addresses);
    this.size = size;
    this.chain = new Chain(size);
    this.#reader = new ChainReader(memory, views.desc, indirect);
    this.#avail = views.avail;
    this.#used16 = views.used16;
    this.#used32 = views.used32;
    this.#eventIdx = eventIdx;
    this.#availNext = this.#availSeen = checkInteger('base', base, 0, MASK);
    // Where another device stopped, it had given back all that it had taken: so do all back ends.
    this.#usedNext = this.#usedShown = Atomics.load(this.#used16, 1);
  }

  /** Where another device goes on: the `base` of a ring. */
  get base(): number {
    return this.#availNext;
  }

  /** Whether the driver broke the ring; {@link VringDevice.take} throws then. */
  get broken(): boolean {
    return this.#broken !== undefined;
  }

  /** Takes the next chain that the driver offers into {@link VringDevice.chain}. Throws `ERR_RING_BROKEN`. */
  take(): boolean {
    if (this.#broken) throw this.#broken;
    const position = this.#availNext;
    if (position === this.#availSeen && !this.#look()) return false;
    const head = this.#avail[2 + (position & (this.size - 1))] as number;
    const wrong = this.#reader.read(head, this.chain);
    if (wrong !== undefined) throw this.#break(`it offers ${wrong}`);
    this.#availNext = (position + 1) & MASK;
    return true;
  }

  /** Whether more chains wait than were seen. Throws `ERR_RING_BROKEN`. */
  #look(): boolean {
    const seen = Atomics.load(this.#avail, 1);
    const waiting = (seen - this.#availNext) & MASK;
    if (waiting > this.size) throw this.#break(`it offers ${waiting} chains at once`);
    this.#availSeen = seen;
    return waiting > 0;
  }

  /** As {@link VringDevice.take}, of a ring that sends: a chain with a buffer that the device is to write breaks it. */
  takeReadable(): boolean {
    if (!this.take()) return false;
    if (this.chain.readable < this.chain.count) throw this.refuse('a buffer to write, to be sent');
    return true;
  }

  /** As {@link VringDevice.take}, of a ring that receives: a chain with a buffer that the device is to read breaks it. */
  takeWritable(): boolean {
    if (!this.take()) return false;
    if (this.chain.readable > 0) throw this.refuse('a buffer to read, to be received into');
    return true;
  }

  /**
   * Takes a chain by its head, wherever the avail ring is: one that another device had taken and not given
   * back, which is not offered again. Throws `ERR_RING_BROKEN`.
   */
  takeAgain(head: number): void {
    if (this.#broken) throw this.#broken;
    const wrong = this.#reader.read(head, this.chain);
    if (wrong !== undefined) throw this.#break(`it had offered ${wrong}`);
  }

  /**
   * Leaves the last `count` chains that were taken in the ring: none of them must have been given back. They
   * are taken, and looked at, anew.
   */
  untake(count: number): void {
    this.#availNext = (this.#availNext - count) & MASK;
  }

  /** Leaves the chain taken last in the ring and breaks it: for a chain that is none for this ring. */
  refuse(what: string): StateError {
    this.untake(1);
    return this.#break(`it offers ${what}`);
  }

  /** Lets {@link VringDevice.take} look once more at what broke the ring. */
  mend(): void {
    this.#broken = undefined;
  }

  /** Gives the chain of this head back, with `written` bytes in it; the driver sees it after {@link publish}. */
  give(head: number, written: number): void {
    const at = 1 + 2 * (this.#usedNext & (this.size - 1));
    // What is there already is not written: the driver's processor need not fetch it again.
    if (this.#used32[at] !== head) this.#used32[at] = head;
    if (this.#used32[at + 1] !== written) this.#used32[at + 1] = written;
    this.#usedNext = (this.#usedNext + 1) & MASK;
    this.onWrite?.(4 * at, VRING_USED_ELEMENT_SIZE);
  }

  /** Shows the driver what was given back. Returns whether it wants a call. */
  publish(): boolean {
    const before = this.#usedShown;
    const now = this.#usedNext;
    if (now === before) return false;
    Atomics.store(this.#used16, 1, now);
    this.#usedShown = now;
    this.onWrite?.(2, 2);
    if (!this.#eventIdx) return (Atomics.load(this.#avail, 0) & VRING_AVAIL_F_NO_INTERRUPT) === 0;
    const event = Atomics.load(this.#avail, 2 + this.size);
    return ((now - event - 1) & MASK) < ((now - before) & MASK);
  }

  /** Asks for no kicks. */
  disableKicks(): void {
    // With an event index it is quiet until it is asked.
    if (!this.#eventIdx) this.#store(0, VRING_USED_F_NO_NOTIFY);
  }

  /**
   * Asks for a kick when more than `after` chains wait (without EVENT_IDX: for every one). Returns true where
   * that is so already: look again.
   */
  enableKicks(after = 0): boolean {
    if (this.#eventIdx) this.#store(2 + 4 * this.size, (this.#availNext + after) & MASK);
    else this.#store(0, 0);
    return ((Atomics.load(this.#avail, 1) - this.#availNext) & MASK) > after;
  }

  /** Writes a word of the used ring that says how the driver may kick. */
  #store(word: number, value: number): void {
    Atomics.store(this.#used16, word, value);
    this.onWrite?.(2 * word, 2);
  }

  #break(what: string): StateError {
    logVring('broken by the driver: %s', what);
    this.#broken = new StateError(
      'ERR_RING_BROKEN',
      `the driver broke the ring: ${what}`,
      'the guest is at fault: it must reset the device',
    );
    return this.#broken;
  }
}
