/** VringDriver with the observer at its side: every answer is compared with what it must be. */
import { StateError } from '../../../lib/errors.js';
import { VringDriver } from '../../../lib/vring/driver.js';
import { Observer } from './observer.js';
import type { Random } from './random.js';
import { DATA_AT, DATA_BYTES, memory, RingWords, TABLES_AT } from './ring-memory.js';
import { same } from './run.js';

export interface RingShape {
  size: number;
  eventIdx: boolean;
  /** Descriptors of an indirect table; 0 for none. */
  tableLength: number;
}

export function makeDriver(words: RingWords, { size, eventIdx, tableLength }: RingShape) {
  return new VringDriver(memory, {
    size,
    addresses: words.addresses,
    eventIdx,
    ...(tableLength > 0 ? { indirect: { address: BigInt(TABLES_AT), length: tableLength } } : {}),
  });
}

export class CheckedDriver {
  readonly driver: VringDriver;
  readonly #shape: RingShape;
  readonly #words: RingWords;
  readonly #segments = new Uint32Array(3 * 64);
  /** What the driver saw of a word that the device changes at the same time, if it does. */
  readonly #seen: () => number | undefined;
  readonly #alone: boolean;
  readonly #heads: Uint16Array;
  readonly #lengths: Uint32Array;
  observer: Observer;

  /** `seen` where the device writes while the driver reads. */
  constructor(shape: RingShape, seen?: () => number | undefined) {
    this.#shape = shape;
    this.#alone = seen === undefined;
    this.#seen = seen ?? (() => undefined);
    this.#words = new RingWords(shape.size);
    this.#heads = new Uint16Array(shape.size);
    this.#lengths = new Uint32Array(shape.size);
    this.driver = makeDriver(this.#words, shape);
    this.observer = this.#observe();
  }

  /** A fresh ring, whatever became of the last one. */
  reset(): void {
    this.driver.reset();
    this.observer = this.#observe();
    this.#agree();
  }

  /** A ring through which `count` chains went and came back. */
  age(count: number): void {
    this.reset();
    const { driver } = this;
    const words = this.#words;
    for (let i = 0; i < count; i++) {
      words.setUsed(i, driver.addReadable(0, 0, 1), 0);
      driver.publish();
      words.usedIndex = i + 1;
      driver.pop();
    }
    this.observer.startAt(count);
  }

  /** One call of the driver. Returns its name. */
  step(random: Random): string {
    switch (random.below(9)) {
      case 0:
      case 1:
      case 2:
        return this.#add(random);
      case 3:
      case 4:
        return this.#publish();
      case 5:
      case 6:
        return random.chance(400) ? this.#takeMany(random) : this.#drain(random);
      case 7:
        return this.#repost(random);
      default:
        return this.#ask(random);
    }
  }

  /** Shows chains that are held once more; one that is not held, or twice, is refused. */
  #repost(random: Random): string {
    const { driver, observer } = this;
    const repost = (heads: readonly number[]) => {
      driver.repost(Uint16Array.from(heads), heads.length);
    };
    if (observer.broken) return this.#refuses('repost', () => repost([0]));
    const good = [...observer.held.keys()].slice(0, random.between(1, 4));
    const bad = this.#notHeld(random, good);
    if (bad === undefined && good.length === 0) return 'nothing';
    let code: unknown;
    try {
      repost(bad === undefined ? good : [...good, bad]);
    } catch (error) {
      code = Reflect.get(error as Error, 'code');
    }
    same('the error', code, bad === undefined ? undefined : 'ERR_OUT_OF_RANGE');
    for (const head of good) observer.reposted(head);
    this.#agree();
    return `repost ${good.length}${bad === undefined ? '' : ' and one refused'}`;
  }

  /** Now and then a chain that cannot be shown behind these. */
  #notHeld(random: Random, before: readonly number[]): number | undefined {
    if (!random.chance(100)) return undefined;
    if (before.length > 0 && random.chance(300)) return before[0];
    const head = random.edge(this.#shape.size) & 0xffff;
    return this.observer.held.has(head) ? undefined : head;
  }

  #add(random: Random): string {
    const { driver, observer } = this;
    const { size, tableLength } = this.#shape;
    const most = Math.min(size, 1 + random.below(8));
    const readable = random.below(most + 1);
    const writable = readable === 0 ? random.between(1, most) : random.below(most - readable + 1);
    const count = readable + writable;
    const starts = this.#draw(random, count);
    const needed = count > 1 && count <= tableLength ? 1 : count;
    const [low, high, length] = this.#segments as unknown as [number, number, number];
    const add = () => {
      if (count > 1) return driver.add(this.#segments, readable, writable);
      return readable === 1
        ? driver.addReadable(low, high, length)
        : driver.addWritable(low, high, length);
    };
    if (observer.broken) return this.#refuses('add', add);
    const head = add();
    if (needed > observer.free) {
      same('the head without room', head, -1);
    } else {
      const chain = observer.added();
      same('the head', head, chain.head);
      same('the number of buffers', chain.buffers.length, count);
      same('the number of descriptors', chain.descriptors.length, needed);
      for (const [i, { at, length: bytes, writable: writes }] of chain.buffers.entries()) {
        same('the start of a buffer', at, starts[i]);
        same('the length of a buffer', bytes, this.#segments[3 * i + 2]);
        same('whether it is written', writes, i >= readable);
      }
    }
    this.#agree();
    return `add ${readable} + ${writable}`;
  }

  /** Buffers for a chain, in the segments' words. Returns where they lie in the data. */
  #draw(random: Random, count: number): number[] {
    return Array.from({ length: count }, (_, i) => {
      const length = random.between(1, 2048);
      const at = random.below(DATA_BYTES - length);
      const address = DATA_AT + at;
      this.#segments[3 * i] = address;
      this.#segments[3 * i + 1] = Math.floor(address / 2 ** 32);
      this.#segments[3 * i + 2] = length;
      return at;
    });
  }

  #publish(): string {
    const { driver, observer } = this;
    if (observer.broken) return this.#refuses('publish', () => driver.publish());
    const kick = driver.publish();
    const seen = this.#seen();
    const says = seen === undefined ? undefined : { availEvent: seen, flags: seen };
    same('whether a kick is wanted', kick, observer.wantsKick(this.#shape.eventIdx, says));
    observer.published(this.#alone ? this.#words.avail[1] : undefined);
    return kick ? 'publish and kick' : 'publish';
  }

  /** Takes back everything, or a few: some that were announced are then left for later. */
  #drain(random: Random): string {
    const { driver, observer } = this;
    const most = random.chance(700) ? this.#shape.size + 1 : random.between(1, 3);
    for (let i = 0; i < most; i++) {
      let head = -2;
      const refused = this.#refusal(() => {
        head = driver.pop();
      });
      const finding = observer.find(this.#seen());
      if (finding === 'lie') return this.#told('pop', refused);
      if (refused) throw refused;
      same('the head that came back', head, finding === 'nothing' ? -1 : observer.head);
      this.#agree();
      if (finding === 'nothing') return `take back ${i}`;
      same('its length', driver.usedLength, observer.length);
    }
    if (most > this.#shape.size)
      throw new Error('more chains came back than there are descriptors');
    return `take back ${most}`;
  }

  /** Takes back a few at once; of half the bursts the descriptors stay. */
  #takeMany(random: Random): string {
    const { driver, observer } = this;
    const most = random.between(1, this.#shape.size);
    const holds = random.chance(500);
    const many = observer.availNext === observer.availShown;
    const heads = this.#heads.subarray(0, most);
    let count = -1;
    const refused = this.#refusal(() => {
      count = holds ? driver.popHeld(heads, this.#lengths) : driver.popMany(heads);
    });
    for (let i = 0; i < most; i++) {
      // A burst is of what the driver knew of when it began.
      if (i > 0 && (!many || observer.usedNext === observer.usedSeen)) return this.#took(count, i);
      const finding = observer.find(this.#seen());
      if (finding === 'lie' && i === 0) return this.#told('take many', refused);
      if (refused) throw refused;
      if (finding !== 'chain') return this.#took(count, i);
      if (holds) observer.hold();
      same('the head that came back', heads[i], observer.head);
      if (holds) same('its length', this.#lengths[i], observer.length);
    }
    return this.#took(count, most);
  }

  #took(count: number, expected: number): string {
    same('how many came back', count, expected);
    same('whether the ring is broken', this.driver.broken, this.observer.broken);
    this.#agree();
    return `take many ${count}`;
  }

  #ask(random: Random): string {
    const { driver, observer } = this;
    const { eventIdx, size } = this.#shape;
    if (random.chance(300)) {
      driver.disableCalls();
      if (!eventIdx) same('avail.flags', this.#words.avail[0], 1);
      return 'disableCalls';
    }
    const after = random.below(size + 1);
    const again = driver.enableCalls(after);
    const waiting = ((this.#seen() ?? this.#words.usedIndex) - observer.usedNext) & 0xffff;
    same('whether to look again', again, waiting > after);
    // Another may have written over it by now.
    if (!this.#alone) return `enableCalls ${after}`;
    if (eventIdx) same('used_event', this.#words.usedEvent, (observer.usedNext + after) & 0xffff);
    else same('avail.flags', this.#words.avail[0], 0);
    return `enableCalls ${after}`;
  }

  /** The ring is broken, for good and in words, and nothing is lost of its counts. */
  #refuses(what: string, call: () => unknown): string {
    return this.#told(what, this.#refusal(call));
  }

  #told(what: string, refused: StateError | undefined): string {
    if (!refused) throw new Error(`${what} on a broken ring is not refused`);
    same('whether the ring is broken', this.driver.broken, true);
    this.#agree();
    return `${what}: ${refused.message}`;
  }

  /** The only error that a call may throw, if it does. */
  #refusal(call: () => unknown): StateError | undefined {
    this.#seen();
    try {
      call();
      return undefined;
    } catch (error) {
      if (error instanceof StateError && error.code === 'ERR_RING_BROKEN') return error;
      throw error;
    }
  }

  #agree(): void {
    same('free', this.driver.free, this.observer.free);
    same('inFlight', this.driver.inFlight, this.observer.inFlight);
  }

  #observe(): Observer {
    return new Observer(this.#words, this.#shape.tableLength);
  }
}
