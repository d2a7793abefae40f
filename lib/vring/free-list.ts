/**
 * The descriptors that no chain takes, in the order in which they became free, which they are taken in. So a device that
 * gives back in order meets the same heads again in each lap of the ring, and most of what a chain would write there is
 * there already.
 */
export class FreeList {
  /** How many there are. */
  count = 0;
  /** The first, where there is one. */
  first = 0;
  #last = 0;
  /** What follows each: in this list, or in its chain. */
  readonly #next: Uint16Array;

  constructor(size: number) {
    this.#next = new Uint16Array(size);
  }

  /** Those that `isFree` says are free, from the lowest on. */
  fill(isFree: (descriptor: number) => boolean): void {
    this.count = 0;
    for (let at = 0; at < this.#next.length; at++) if (isFree(at)) this.give(at, at, 1);
  }

  /** Takes the first of at least one. Until it is given back, what follows it is its chain's. */
  take(): number {
    const { first } = this;
    this.first = this.#next[first] as number;
    this.count--;
    return first;
  }

  /** Says what follows a descriptor in its chain. */
  link(descriptor: number, next: number): void {
    this.#next[descriptor] = next;
  }

  /** Takes back a chain of `count` descriptors. */
  give(first: number, last: number, count: number): void {
    if (this.count === 0) this.first = first;
    else this.#next[this.#last] = first;
    this.#last = last;
    this.count += count;
  }
}
