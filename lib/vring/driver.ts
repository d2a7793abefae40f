/**
 * The driver end of a split ring: what a guest's driver does, in place on shared memory.
 *
 * Nothing is allocated per chain. Descriptors are four u32 stores; the two indices are published and
 * read with Atomics, which order them against everything before and after on x86 and arm alike.
 * What the device writes is checked before it is used: a device that lies breaks the ring with
 * `ERR_RING_BROKEN`, and nothing else.
 */
import { rangeError, type StateError } from '../errors.js';
import type { GuestMemory } from '../host/guest-memory.js';
import { VRING_DESC_F_WRITE, VRING_USED_F_NO_NOTIFY } from '../uapi/virtio-ring.js';
import { AvailRing } from './avail-ring.js';
import { DescriptorTable } from './descriptor-table.js';
import type { VringDriverOptions, VringDriverState } from './driver-options.js';
import type { VringAddresses } from './layout.js';
import { ringBroken } from './ring-broken.js';
import { viewVring } from './views.js';

const MASK = 0xffff;

export class VringDriver {
  readonly size: number;
  readonly addresses: VringAddresses;
  /** Bytes that the device wrote into the chain that {@link VringDriver.pop} returned last. */
  usedLength = 0;

  readonly #descriptors: DescriptorTable;
  readonly #avail: AvailRing;
  readonly #used16: Uint16Array;
  readonly #used32: Uint32Array;
  readonly #eventIdx: boolean;
  /** Where `avail_event` is in #used16. */
  readonly #availEvent: number;
  /** The next position in the used ring, and how far the device was when we looked. */
  #usedNext = 0;
  #usedSeen = 0;
  #broken: StateError | undefined;

  /** Throws `ERR_OUT_OF_RANGE` for a size, alignment or address that cannot be. */
  constructor(memory: GuestMemory, options: VringDriverOptions) {
    const { addresses, size } = options;
    const views = viewVring(memory, size, addresses);
    this.size = size;
    this.addresses = addresses;
    this.#descriptors = new DescriptorTable(memory, views.desc, options.indirect);
    this.#avail = new AvailRing(views.avail, size);
    this.#used16 = views.used16;
    this.#used32 = views.used32;
    this.#eventIdx = options.eventIdx ?? false;
    this.#availEvent = 2 + 4 * size;
    if (options.state) this.#resume(options.state);
    else this.reset();
  }

  /** What another driver needs to go on with this ring. Every chain added must have been published. */
  get state(): VringDriverState {
    const { chains } = this.#descriptors;
    return { avail: this.#avail.shown, used: this.#usedNext, chains };
  }

  /** Forgets every chain and clears the ring's memory: for a device that was reset. */
  reset(): void {
    this.#descriptors.reset();
    this.#avail.reset();
    this.#used16.fill(0);
    this.#usedNext = this.#usedSeen = 0;
    this.#broken = undefined;
  }

  /** Guest address and length in bytes of a chain's first buffer, as its descriptor has them. */
  bufferOf(head: number): { address: number; length: number } {
    return this.#descriptors.bufferOf(head);
  }

  /** Descriptors that a new chain can take. */
  get free(): number {
    return this.#descriptors.free;
  }

  /** Chains that the device has not given back. */
  get inFlight(): number {
    return (this.#avail.next - this.#usedNext) & MASK;
  }

  /** Chains of these that it gave back, as it says, and that {@link VringDriver.pop} has yet to take. */
  get returned(): number {
    const count = (Atomics.load(this.#used16, 1) - this.#usedNext) & MASK;
    return Math.min(count, this.inFlight);
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
    if (this.#broken) throw this.#broken;
    return this.#offer(this.#descriptors.takeOne(low, high, length, 0));
  }

  /** As {@link VringDriver.addReadable}, for a buffer that the device writes. */
  addWritable(low: number, high: number, length: number): number {
    if (this.#broken) throw this.#broken;
    return this.#offer(this.#descriptors.takeOne(low, high, length, VRING_DESC_F_WRITE));
  }

  /**
   * Adds a chain: `readable` buffers that the device reads, then `writable` that it writes, each three
   * words of `segments` (address low, address high, length in bytes). Returns the head, or -1 when
   * the ring has too few free descriptors. Throws `ERR_OUT_OF_RANGE` for a chain that fits into no
   * empty ring.
   */
  add(segments: Uint32Array, readable: number, writable: number): number {
    if (this.#broken) throw this.#broken;
    const count = readable + writable;
    if (this.#descriptors.isIndirect(count)) {
      return this.#offer(this.#descriptors.takeIndirect(segments, readable, count));
    }
    return this.#offer(this.#descriptors.takeChain(segments, readable, count));
  }

  /** Puts a chain that was taken on the avail ring. */
  #offer(head: number): number {
    if (head < 0) return -1;
    this.#avail.offer(head);
    return head;
  }

  /**
   * Shows the device every chain added since the last call. Returns whether it wants a kick. Throws
   * `ERR_RING_BROKEN`.
   */
  publish(): boolean {
    if (this.#broken) throw this.#broken;
    const avail = this.#avail;
    if (avail.allShown) return false;
    const { next: now, shown: before } = avail;
    avail.show();
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
    if (position === this.#usedSeen && this.#look() === 0) return -1;
    const at = 1 + 2 * (position & (this.size - 1));
    const head = this.#used32[at] as number;
    const length = this.#used32[at + 1] as number;
    if (!this.#descriptors.allows(head, length)) throw this.#breakAt(position);
    if (!this.#avail.allShown) this.#checkShown(head);
    this.#descriptors.release(head);
    this.#usedNext = (position + 1) & MASK;
    this.usedLength = length;
    return head;
  }

  /**
   * As {@link VringDriver.pop}, as many chains as `heads` takes at most: their heads go there. Returns how
   * many, 0 when there is none; see {@link VringDriver.popHeld} for those that are bad.
   */
  popMany(heads: Uint16Array): number {
    // A chain of which the device was not told must be found before its descriptors are given back.
    if (!this.#avail.allShown) {
      const head = heads.length === 0 ? -1 : this.pop();
      if (head >= 0) heads[0] = head;
      return head < 0 ? 0 : 1;
    }
    const wanted = this.#burst(heads.length);
    if (wanted <= 0) return 0;
    return this.#taken(
      wanted,
      this.#descriptors.releaseMany(this.#used32, this.#usedNext, wanted, heads),
      heads[0] as number,
    );
  }

  /**
   * Takes back chains that the device is done with, `to - from` at most, which keep their descriptors for
   * {@link VringDriver.repost}: their heads go to `heads[from]` and on, the bytes that it wrote into each
   * to `lengths`. Returns how many, 0 when there is none; one at a time while chains that were added are
   * not published. Throws `ERR_RING_BROKEN`; for a bad chain behind good ones when those were taken.
   */
  popHeld(heads: Uint16Array, lengths: Uint32Array, from = 0, to = heads.length): number {
    const wanted = this.#burst(Math.min(to, heads.length, lengths.length) - from);
    if (wanted <= 0) return 0;
    const table = this.#descriptors;
    return this.#taken(
      wanted,
      table.holdMany(this.#used32, this.#usedNext, wanted, heads, lengths, from),
      heads[from] as number,
    );
  }

  /**
   * Adds `count` chains that {@link VringDriver.popHeld} returned once more, of the same buffers. Throws
   * `ERR_OUT_OF_RANGE` for a chain that is not held; those before it are added.
   */
  repost(heads: Uint16Array, count: number): void {
    if (this.#broken) throw this.#broken;
    for (let i = 0; i < count; i++) {
      const head = heads[i] as number;
      if (!this.#descriptors.unhold(head)) throw rangeError(`chain ${head} is not held`);
      this.#offer(head);
    }
  }

  /**
   * The device is gone, and another goes on from the used index: offers it what did not come back, oldest first,
   * whatever the order of what did. Nothing where that makes no sense: {@link VringDriver.pop} will say so.
   */
  resubmit(): void {
    if (this.#broken) return;
    const used = Atomics.load(this.#used16, 1);
    this.#avail.reoffer(this.#descriptors.lacking(this.#used32, this.#usedNext, used), used);
  }

  /** How many chains to take back at once, where there is room for `room`. Throws `ERR_RING_BROKEN`. */
  #burst(room: number): number {
    if (this.#broken) throw this.#broken;
    const waiting = (this.#usedSeen - this.#usedNext) & MASK || this.#look();
    return Math.min(waiting, this.#avail.allShown ? room : 1);
  }

  /** `count` chains of a burst of `wanted` were good, of which `first` was the first. Returns `count`. */
  #taken(wanted: number, count: number, first: number): number {
    const position = this.#usedNext;
    if (count < wanted) {
      const broken = this.#breakAt((position + count) & MASK);
      if (count === 0) throw broken;
    }
    if (!this.#avail.allShown) this.#checkShown(first);
    this.#usedNext = (position + count) & MASK;
    return count;
  }

  /** How many chains came back. Throws `ERR_RING_BROKEN`. */
  #look(): number {
    const position = this.#usedNext;
    const seen = Atomics.load(this.#used16, 1);
    const count = (seen - position) & MASK;
    const shown = (this.#avail.shown - position) & MASK;
    if (count > shown) {
      throw this.#break(`it gave back ${count} chains, ${shown} are in flight`);
    }
    this.#usedSeen = seen;
    return count;
  }

  /** Asks the device for no calls. With EVENT_IDX it stays quiet by itself until it is asked. */
  disableCalls(): void {
    if (!this.#eventIdx) this.#avail.setCalls(false);
  }

  /**
   * Asks for a call when more than `after` chains have come back since the last {@link VringDriver.pop}
   * (without EVENT_IDX: for every one). Returns true where that is so already: no call will come for
   * those, so look again.
   */
  enableCalls(after = 0): boolean {
    if (this.#eventIdx) this.#avail.setUsedEvent(this.#usedNext + after);
    else this.#avail.setCalls(true);
    return ((Atomics.load(this.#used16, 1) - this.#usedNext) & MASK) > after;
  }

  /** Throws `ERR_RING_BROKEN` for a chain in flight that was not published. */
  #checkShown(head: number): void {
    if (this.#avail.wasShown(head, (other) => this.#descriptors.inFlight(other))) return;
    throw this.#break(`it gave back chain ${head}, of which it was not told`);
  }

  /** Throws `ERR_OUT_OF_RANGE` for a state that cannot be this ring's. */
  #resume(state: VringDriverState): void {
    this.#descriptors.restore(state.chains);
    this.#avail.resume(state);
    this.#usedNext = this.#usedSeen = state.used;
  }

  /** Breaks the ring for what the device wrote at this position of the used ring. */
  #breakAt(position: number): StateError {
    return this.#break(this.#descriptors.objectionAt(this.#used32, position));
  }

  #break(what: string): StateError {
    this.#broken = ringBroken(what);
    return this.#broken;
  }
}
