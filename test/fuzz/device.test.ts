/** The device end of a ring against a driver that writes whatever it can, wherever it can. */
import { StateError } from '../../lib/errors.js';
import { VringDevice } from '../../lib/vring/device.js';
import { type OfferedBuffer, offeredChain } from './support/offered-chain.js';
import type { Random } from './support/random.js';
import { DATA_AT, DATA_BYTES, memory, RingWords, TABLES_AT } from './support/ring-memory.js';
import { fuzz, same, see } from './support/run.js';

const SIZES = [1, 2, 4, 8, 16, 256];
const STATES = 100;
/** Of a thousand descriptors. */
const LIES = [200, 30, 5];
const TABLE_ENTRIES = 8;

interface Shape {
  size: number;
  eventIdx: boolean;
  indirect: boolean;
  lies: number;
}

/** A ring and what its driver knows of it. */
class HostileDriver {
  readonly words: RingWords;
  readonly #shape: Shape;
  readonly #random: Random;
  avail: number;
  /** How far the device saw it: it looks again when it took everything up to there. */
  seen: number;
  device: VringDevice;

  constructor(shape: Shape, random: Random) {
    this.#shape = shape;
    this.#random = random;
    this.words = new RingWords(shape.size);
    this.avail = this.seen = 0;
    this.device = this.restart();
  }

  /** A ring as new, its indices anywhere. */
  restart(): VringDevice {
    const { words } = this;
    for (const part of [words.desc, words.avail, words.used16]) part.fill(0);
    this.avail = this.#random.chance(500) ? 0 : 65_535 - this.#random.below(20);
    words.avail[1] = this.seen = this.avail;
    words.usedIndex = this.avail;
    const { size, eventIdx, indirect } = this.#shape;
    const { addresses } = words;
    this.device = new VringDevice(memory, {
      size,
      addresses,
      eventIdx,
      indirect,
      base: this.avail,
    });
    return this.device;
  }

  /** Writes a chain and offers it, or lies about that. Returns its head. */
  offer(): number {
    const random = this.#random;
    const { size, lies } = this.#shape;
    const head = random.chance(lies) ? random.edge(size) & 0xffff : random.below(size);
    this.#chain(this.words.desc, size, head % size, true);
    this.words.avail[2 + (this.avail & (size - 1))] = head;
    const step = random.chance(lies) ? random.edge(size) : 1;
    this.avail = (this.avail + step) & 0xffff;
    this.words.avail[1] = this.avail;
    this.words.avail[2 + size] = random.chance(500) ? random.u32() : this.words.usedIndex;
    this.words.avail[0] = random.below(2);
    return head;
  }

  #chain(table: Uint32Array, entries: number, head: number, inRing: boolean): void {
    const random = this.#random;
    const count = random.between(1, Math.min(entries, 6));
    const writableFrom = random.below(count + 1);
    let index = head;
    for (let i = 0; i < count; i++) {
      const next = (index + 1) % entries;
      const more = i + 1 < count;
      if (inRing && random.chance(150)) {
        this.#table(table, index);
        return;
      }
      const length = random.between(0, 2048);
      let at = DATA_AT + random.below(DATA_BYTES - length);
      let flags = (more ? 1 : 0) | (i >= writableFrom ? 2 : 0);
      if (this.#lie())
        at = random.pick([random.edge(DATA_AT), DATA_AT + DATA_BYTES - 1, TABLES_AT]);
      if (this.#lie()) flags = random.below(16);
      const high = this.#lie() ? random.u32() : Math.floor(at / 2 ** 32);
      const bytes = this.#lie() ? random.edge(DATA_BYTES) : length;
      const to = this.#lie() ? random.edge(entries) & 0xffff : next;
      table.set([at, high, bytes, flags | (to << 16)], 4 * index);
      index = next;
    }
  }

  #table(desc: Uint32Array, index: number): void {
    const random = this.#random;
    const { tables } = this.words;
    const slot = random.below(16) * TABLE_ENTRIES * 4;
    const table = tables.subarray(slot, slot + 4 * TABLE_ENTRIES);
    this.#chain(table, TABLE_ENTRIES, 0, false);
    const at = TABLES_AT + 4 * slot + (this.#lie() ? random.below(16) : 0);
    const bytes = this.#lie() ? random.edge(16 * TABLE_ENTRIES) : 16 * TABLE_ENTRIES;
    const flags = this.#lie() ? 4 | random.below(16) : 4;
    desc.set([at, 0, bytes, flags], 4 * index);
  }

  #lie(): boolean {
    return this.#random.chance(this.#shape.lies);
  }
}

/** Takes the next chain, and holds it to what the words say. Returns whether the ring still stands. */
function takeOne(driver: HostileDriver, { indirect, eventIdx }: Shape, random: Random): string {
  const { device, words } = driver;
  const { size } = words;
  const position = device.base;
  const looks = position === driver.seen;
  const waiting = ((looks ? driver.avail : driver.seen) - position) & 0xffff;
  if (looks && waiting <= size) driver.seen = driver.avail;
  const head = words.avail[2 + (position & (size - 1))] as number;
  const expected: OfferedBuffer[] | undefined =
    waiting > size ? undefined : offeredChain(words.desc, size, head, indirect);
  let taken: boolean;
  try {
    taken = device.take();
  } catch (error) {
    if (!(error instanceof StateError) || error.code !== 'ERR_RING_BROKEN') throw error;
    if (waiting > 0 && waiting <= size && expected) throw error;
    same('whether it is broken', device.broken, true);
    same('the position of a broken ring', device.base, position);
    return error.message.replace(/0x[\da-f]+|\d+/g, '#');
  }
  same('whether there was one', taken, waiting > 0);
  if (!taken) return 'nothing';
  if (!expected) throw new Error(`chain ${head} must not be taken`);
  const { chain } = device;
  same('the head', chain.head, head);
  same('the number of buffers', chain.count, expected.length);
  for (const [i, { at, length, writable }] of expected.entries()) {
    const bytes = chain.bytesOf(i);
    const start = at < DATA_AT ? at : at - DATA_AT;
    same('where a buffer begins', bytes.byteOffset, start);
    same('its length', bytes.length, length);
    same('whether it is written', i >= chain.readable, writable);
  }
  const before = words.usedIndex;
  const written = random.u32();
  device.give(head, written);
  same('the used index before it is shown', words.usedIndex, before);
  const calls = device.publish();
  const slot = 1 + 2 * (before & (size - 1));
  same('the element', words.used32[slot], head);
  same('its bytes', words.used32[slot + 1], written);
  same('the used index', words.usedIndex, (before + 1) & 0xffff);
  const flags = words.avail[0] as number;
  const wanted = eventIdx ? words.avail[2 + size] === before : (flags & 1) === 0;
  same('whether a call is wanted', calls, wanted);
  return chain.count > 1 ? 'a chain' : 'a buffer';
}

fuzz({
  name: 'device',
  states: 1_000_000,
  reaches: [
    'nothing',
    'a chain',
    'a buffer',
    ...[
      '# chains at once',
      'descriptor # of #',
      'a chain longer than the ring',
      'an indirect table within an indirect table',
      'an indirect table, which was not negotiated',
      'an indirect table that goes on in the ring',
      'an indirect table of # bytes',
      'an indirect table of # bytes at #, outside the memory',
      'a buffer to read behind one to write',
      'a buffer of # bytes at #, outside the memory',
    ].map((what) => `the driver broke the ring: it offers ${what}`),
  ],
  play: (random, sights, trace) => {
    const shape = {
      size: random.pick(SIZES),
      eventIdx: random.chance(500),
      indirect: random.chance(800),
      lies: random.pick(LIES),
    };
    trace?.(JSON.stringify(shape));
    const driver = new HostileDriver(shape, random);
    for (let state = 0; state < STATES; state++) {
      const head = driver.offer();
      for (let takes = 0; takes < 3; takes++) {
        const result = takeOne(driver, shape, random);
        trace?.(`${state}: offered ${head}, ${result}`);
        see(sights, result);
        if (driver.device.broken) driver.restart();
        if (result === 'nothing') break;
      }
    }
    return STATES;
  },
});
