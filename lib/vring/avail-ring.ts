/**
 * The avail ring: the chains that the driver offers, and how many of them the device was told of.
 *
 * Where each chain stands is our own record: the ring's memory is the device's to write.
 */
import { VRING_AVAIL_F_NO_INTERRUPT } from '../uapi/virtio-ring.js';
import { checkPositions, type VringDriverState } from './driver-options.js';

const MASK = 0xffff;

export class AvailRing {
  /** Position of the next chain, and of the first that the device was not told of; 16 bits. */
  next = 0;
  shown = 0;
  /** flags, idx, ring[size], used_event. */
  readonly #words: Uint16Array;
  readonly #size: number;
  readonly #positionOf: Uint16Array;

  constructor(words: Uint16Array, size: number) {
    this.#words = words;
    this.#size = size;
    this.#positionOf = new Uint16Array(size);
  }

  /** Clears the ring's memory. */
  reset(): void {
    this.#words.fill(0);
    this.next = this.shown = 0;
  }

  /** Goes on with the chains of another driver. Throws `ERR_OUT_OF_RANGE` for positions that no ring has. */
  resume(state: VringDriverState): void {
    checkPositions(state);
    const { avail, used, chains } = state;
    this.next = this.shown = avail;
    chains.forEach(([head], i) => {
      this.#positionOf[head] = used + i;
    });
  }

  offer(head: number): void {
    const { next } = this;
    const at = 2 + (next & (this.#size - 1));
    // What is there already is not written: the device's processor need not fetch it again.
    if (this.#words[at] !== head) this.#words[at] = head;
    this.#positionOf[head] = next;
    this.next = (next + 1) & MASK;
  }

  /** Puts these chains, as many as there are from position `from` on, there, oldest first. */
  reoffer(heads: readonly number[], from: number): void {
    if (heads.length !== ((this.next - from) & MASK)) return;
    const age = (head: number) => (this.next - (this.#positionOf[head] as number)) & MASK;
    const sorted = [...heads].sort((a, b) => age(b) - age(a));
    sorted.forEach((head, i) => {
      const position = (from + i) & MASK;
      this.#words[2 + (position & (this.#size - 1))] = head;
      this.#positionOf[head] = position;
    });
  }

  /** Whether the device was told of every chain. */
  get allShown(): boolean {
    return this.next === this.shown;
  }

  /** Tells the device of every chain. */
  show(): void {
    Atomics.store(this.#words, 1, this.next);
    this.shown = this.next;
  }

  /**
   * Whether the device was told of the chain that begins at `head`; `inFlight` says of the others whether
   * it has them.
   */
  wasShown(head: number, inFlight: (head: number) => boolean): boolean {
    const position = this.#positionOf[head] as number;
    const unshown = (this.next - this.shown) & MASK;
    if (((position - this.shown) & MASK) >= unshown) return true;
    // A chain that the device kept while 65536 others went by has the position of a newer one.
    for (let other = 0; other < this.#size; other++) {
      if (other === head || this.#positionOf[other] !== position) continue;
      if (inFlight(other)) return true;
    }
    return false;
  }

  /** Asks for a call for every chain, or for none; for a ring without an event index. */
  setCalls(wanted: boolean): void {
    Atomics.store(this.#words, 0, wanted ? 0 : VRING_AVAIL_F_NO_INTERRUPT);
  }

  /** Asks for a call when the device is done with the chain at this position of the used ring. */
  setUsedEvent(position: number): void {
    Atomics.store(this.#words, 2 + this.#size, position & MASK);
  }
}
