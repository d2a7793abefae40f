/**
 * What a ring must look like from outside: which chains the device may give back, and what becomes of
 * each. Written from virtio 1.3 §2.7 and from nothing of lib/vring. It looks at what the driver wrote
 * at once, before anybody else can have written over it, and remembers that.
 */
import { DATA_AT, DATA_BYTES, type RingWords, TABLES_AT } from './ring-memory.js';

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

/** One chain that is the device's, or was added and not shown. */
export interface Chain {
  head: number;
  /** Descriptors of the ring. */
  descriptors: number[];
  /** Offset in the data, and bytes, of each buffer; those the device reads come first. */
  buffers: { at: number; length: number; writable: boolean }[];
  /** Bytes that the device may write. */
  room: number;
  shown: boolean;
}

/** What a driver must find that takes back the next chain. */
export type Finding = 'nothing' | 'lie' | 'chain';

export class Observer {
  readonly words: RingWords;
  /** Descriptors of an indirect table; 0 for none. */
  readonly tableLength: number;
  readonly chains: (Chain | undefined)[];
  /** The chain of each descriptor that is in one. */
  readonly #ownerOf: (Chain | undefined)[];
  free: number;
  inFlight = 0;
  shown = 0;
  availNext = 0;
  availShown = 0;
  usedNext = 0;
  /** The used index that the driver saw last. */
  usedSeen = 0;
  broken = false;
  #last: Chain | undefined;
  /** What {@link Observer.find} found. */
  head = 0;
  length = 0;

  constructor(words: RingWords, tableLength = 0) {
    this.words = words;
    this.tableLength = tableLength;
    this.free = words.size;
    this.chains = new Array<Chain | undefined>(words.size).fill(undefined);
    this.#ownerOf = new Array<Chain | undefined>(words.size).fill(undefined);
  }

  /** For a ring that is as good as new, its indices at `position`. */
  startAt(position: number): void {
    this.availNext = this.availShown = this.usedNext = this.usedSeen = position & 0xffff;
  }

  /** Reads the chain that was added last, strictly. Throws for anything that no driver may write. */
  added(): Chain {
    const { size, avail } = this.words;
    const head = avail[2 + (this.availNext & (size - 1))] as number;
    if (head >= size) throw new Error(`the avail ring holds head ${head} of ${size}`);
    if (this.chains[head]) throw new Error(`chain ${head} is on the avail ring twice`);
    const chain: Chain = { head, descriptors: [], buffers: [], room: 0, shown: false };
    this.#follow(this.words.desc, 0, size, head, chain, true);
    for (const index of chain.descriptors) {
      if (this.#ownerOf[index]) throw new Error(`descriptor ${index} is in two chains`);
      this.#ownerOf[index] = chain;
    }
    this.chains[head] = chain;
    this.free -= chain.descriptors.length;
    this.inFlight++;
    this.availNext = (this.availNext + 1) & 0xffff;
    return chain;
  }

  /** Chains that came back and keep their descriptors, by their heads. */
  readonly held = new Map<number, Chain>();

  /** The chain that {@link Observer.find} found last keeps its descriptors. */
  hold(): void {
    const chain = this.#last as Chain;
    this.held.set(chain.head, chain);
    for (const index of chain.descriptors) this.#ownerOf[index] = chain;
    this.free -= chain.descriptors.length;
  }

  /** A chain that was held is on the avail ring once more. Throws where it is not. */
  reposted(head: number): void {
    const chain = this.held.get(head) as Chain;
    const shown = this.words.avail[2 + (this.availNext & (this.words.size - 1))];
    if (shown !== head) throw new Error(`the avail ring holds head ${shown}, not ${head}`);
    this.held.delete(head);
    chain.shown = false;
    this.chains[head] = chain;
    this.inFlight++;
    this.availNext = (this.availNext + 1) & 0xffff;
  }

  /** Everything that was added has been shown. Throws where the index, if it is known, says otherwise. */
  published(index: number | undefined): void {
    if (this.availShown === this.availNext) return;
    if (index !== undefined && index !== this.availNext)
      throw new Error(`avail.idx is ${index}, not ${this.availNext}`);
    for (const chain of this.chains) if (chain) chain.shown = true;
    this.shown = this.inFlight;
    this.availShown = this.availNext;
  }

  /** Whether a device that says `avail_event` and `flags` wants a kick for what was added. */
  wantsKick(eventIdx: boolean, { availEvent, flags } = this.#says()): boolean {
    const count = (this.availNext - this.availShown) & 0xffff;
    if (count === 0) return false;
    if (!eventIdx) return (flags & 1) === 0;
    // vring_need_event of the kernel's headers: is avail_event among the entries that are new?
    return ((this.availNext - availEvent - 1) & 0xffff) < count;
  }

  /** Takes back the next chain, as the words stand now, or with the used index that the driver saw. */
  find(usedIndex = this.words.usedIndex): Finding {
    if (this.broken) return 'lie';
    const { words } = this;
    if (this.usedNext === this.usedSeen) {
      const count = (usedIndex - this.usedNext) & 0xffff;
      if (count === 0) return 'nothing';
      if (count > this.shown) return this.#lie();
      this.usedSeen = usedIndex;
    }
    const at = 1 + 2 * (this.usedNext & (words.size - 1));
    const head = words.used32[at] as number;
    const length = words.used32[at + 1] as number;
    const chain = this.chains[head];
    if (!chain?.shown || length > chain.room) return this.#lie();
    this.head = head;
    this.length = length;
    this.#last = chain;
    this.#remove(chain);
    this.usedNext = (this.usedNext + 1) & 0xffff;
    return 'chain';
  }

  #says(): { availEvent: number; flags: number } {
    return { availEvent: this.words.availEvent, flags: this.words.used16[0] as number };
  }

  #lie(): Finding {
    this.broken = true;
    return 'lie';
  }

  #remove(chain: Chain): void {
    this.chains[chain.head] = undefined;
    for (const index of chain.descriptors) this.#ownerOf[index] = undefined;
    this.free += chain.descriptors.length;
    this.inFlight--;
    this.shown--;
  }

  #follow(
    table: Uint32Array,
    start: number,
    size: number,
    first: number,
    chain: Chain,
    inRing: boolean,
  ): void {
    let index = first;
    for (let steps = 0; ; steps++) {
      if (index >= size) throw new Error(`descriptor ${index} of ${size}`);
      if (steps >= size) throw new Error('the chain has a loop');
      const word = 4 * (start + index);
      const address = (table[word] as number) + (table[word + 1] as number) * 2 ** 32;
      const length = table[word + 2] as number;
      const last = table[word + 3] as number;
      const flags = last & 0xffff;
      if (inRing) chain.descriptors.push(index);
      if (flags & INDIRECT) {
        this.#followTable(address, length, flags, steps, inRing, chain);
        return;
      }
      if (flags & ~(NEXT | WRITE)) throw new Error(`flags ${flags} of descriptor ${index}`);
      this.#buffer(address, length, (flags & WRITE) !== 0, chain);
      if (!(flags & NEXT)) return;
      index = last >>> 16;
    }
  }

  #followTable(
    address: number,
    length: number,
    flags: number,
    steps: number,
    inRing: boolean,
    chain: Chain,
  ): void {
    const count = length / 16;
    const start = (address - TABLES_AT) / 16;
    const inside = start >= 0 && start + count <= this.words.size * this.tableLength;
    const whole = Number.isInteger(start) && Number.isInteger(count) && count > 0;
    if (flags !== INDIRECT || steps > 0 || !inRing || !inside || !whole) {
      throw new Error('an indirect table out of place');
    }
    this.#follow(this.words.tables, start, count, 0, chain, false);
    if (chain.buffers.length !== count) throw new Error('an indirect table that ends early');
  }

  #buffer(address: number, length: number, writable: boolean, chain: Chain): void {
    const at = address - DATA_AT;
    if (at < 0 || at + length > DATA_BYTES) throw new Error(`a buffer at ${address}`);
    if (!writable && chain.room > 0) throw new Error('a readable buffer after a writable one');
    if (writable) chain.room += length;
    chain.buffers.push({ at, length, writable });
  }
}
