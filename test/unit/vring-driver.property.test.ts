/**
 * Random work at both ends of a ring, then silence: whatever happened, every chain comes back exactly
 * once with its data, although the device sleeps unless it is kicked and the driver unless it is
 * called.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Chain, ModelDevice } from '../support/model-device.js';
import { makeRing, type Ring } from '../support/ring.js';

const SLOT = 64;
const SLOTS = 128;

interface Sent {
  id: number;
  /** Where its buffers begin, and how many it has of each kind. */
  slot: number;
  readable: number;
  writable: number;
}

type Step =
  | { do: 'add'; readable: number; writable: number }
  | { do: 'publish' }
  | { do: 'drain' }
  | { do: 'ask'; after: number }
  | { do: 'take' }
  | { do: 'complete'; which: number }
  | { do: 'show' }
  | { do: 'rest' };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant('add' as const),
    readable: fc.nat(3),
    writable: fc.nat(3),
  }),
  fc.record({ do: fc.constant('publish' as const) }),
  fc.record({ do: fc.constant('drain' as const) }),
  fc.record({ do: fc.constant('ask' as const), after: fc.nat(6) }),
  fc.record({ do: fc.constant('take' as const) }),
  fc.record({ do: fc.constant('complete' as const), which: fc.nat(100) }),
  fc.record({ do: fc.constant('show' as const) }),
  fc.record({ do: fc.constant('rest' as const) }),
);

/** Both ends, each with the state of one who sleeps until it is woken. */
class World {
  readonly sent = new Map<number, Sent>();
  readonly returned: number[] = [];
  readonly wrong: string[] = [];
  readonly #ring: Ring;
  readonly #device: ModelDevice;
  readonly #held: Chain[] = [];
  #nextId = 1;
  #unshown = 0;
  #slots = Array.from({ length: SLOTS / 8 }, (_, i) => i * 8);
  deviceAwake = false;
  driverAwake = false;

  constructor(size: number, eventIdx: boolean, tables: number) {
    this.#ring = makeRing({ size, eventIdx, tables, data: SLOT * SLOTS });
    this.#device = this.#ring.device;
    this.#ring.driver.enableCalls();
  }

  run(one: Step): void {
    if (one.do === 'add') this.#add(one.readable, one.writable);
    else if (one.do === 'publish') this.#publish();
    else if (one.do === 'drain') this.#drain();
    else if (one.do === 'ask') this.#ask(one.after);
    else if (!this.deviceAwake) return;
    else if (one.do === 'take') this.#take();
    else if (one.do === 'complete') this.#complete(one.which);
    else if (one.do === 'show') this.#show();
    else this.#rest();
  }

  /** Publishes the rest, and lets nobody run who was not woken. */
  settle(): void {
    this.#publish();
    for (let turns = 0; this.deviceAwake || this.driverAwake; turns++) {
      if (turns > 10_000) throw new Error('neither end comes to rest');
      if (this.driverAwake) this.#drain();
      if (this.deviceAwake) {
        while (this.#take());
        while (this.#held.length > 0) this.#complete(turns);
        this.#show();
        this.#rest();
      }
      if (this.driverAwake) this.#ask(turns % 5);
    }
  }

  #add(readable: number, writable: number): void {
    const slot = this.#slots[0];
    const count = readable + writable;
    if (slot === undefined || count === 0 || count > this.#ring.driver.size) return;
    const id = this.#nextId;
    const words = new Uint32Array(3 * count);
    for (let i = 0; i < count; i++) {
      const address = this.#ring.data + (slot + i) * SLOT;
      words.set([address, 0, SLOT], 3 * i);
      this.#ring.memory.bytes(BigInt(address), SLOT).fill(i < readable ? id + i : 0);
    }
    const { free } = this.#ring.driver;
    const head = this.#ring.driver.add(words, readable, writable);
    if (head < 0) {
      if (count <= free) this.wrong.push(`no room for ${count} in ${free}`);
      return;
    }
    if (this.sent.has(head)) this.wrong.push(`head ${head} is in flight`);
    this.#slots.shift();
    this.sent.set(head, { id, slot, readable, writable });
    this.#nextId = (id + 1) & 0x7f || 1;
    this.#unshown++;
  }

  #publish(): void {
    if (this.#ring.driver.publish()) this.deviceAwake = true;
    this.#unshown = 0;
  }

  /** Takes back what there is. The device goes on meanwhile, so it must ask before it sleeps. */
  #drain(): void {
    const { driver } = this.#ring;
    this.driverAwake = true;
    driver.disableCalls();
    for (let head = driver.pop(); head >= 0; head = driver.pop()) this.#check(head);
  }

  /** Goes to sleep, asking to be called, unless more came meanwhile. */
  #ask(after: number): void {
    const { driver } = this.#ring;
    const left = driver.inFlight - this.#unshown;
    this.driverAwake = driver.enableCalls(Math.max(0, Math.min(after, left - 1)));
  }

  #check(head: number): void {
    const chain = this.sent.get(head);
    if (!chain) {
      this.wrong.push(`chain ${head} came back and is not in flight`);
      return;
    }
    this.sent.delete(head);
    this.returned.push(head);
    this.#slots.push(chain.slot);
    const length = chain.writable * SLOT;
    if (this.#ring.driver.usedLength !== length) this.wrong.push(`length of ${head}`);
    const from = this.#ring.data + (chain.slot + chain.readable) * SLOT;
    const bytes = this.#ring.memory.read(BigInt(from), length);
    if (bytes.some((byte) => byte !== (chain.id | 0x80))) this.wrong.push(`data of ${head}`);
  }

  #take(): boolean {
    this.#device.refuseKicks();
    const chain = this.#device.take();
    if (!chain) return false;
    this.#held.push(chain);
    const { id, readable } = this.sent.get(chain.head) as Sent;
    if (chain.readable.length !== readable) this.wrong.push(`buffers of ${chain.head}`);
    chain.readable.forEach((buffer, i) => {
      if (buffer.some((byte) => byte !== id + i)) this.wrong.push(`data read of ${chain.head}`);
    });
    return true;
  }

  #complete(which: number): void {
    const [chain] = this.#held.splice(which % Math.max(1, this.#held.length), 1);
    if (!chain) return;
    const { id } = this.sent.get(chain.head) as Sent;
    const length = chain.writable.length * SLOT;
    this.#device.fill(chain, new Uint8Array(length).fill(id | 0x80));
    this.#device.complete(chain.head, length);
  }

  #show(): void {
    if (this.#device.show()) this.driverAwake = true;
  }

  /** Goes to sleep if there is nothing to do, asking for a kick and looking once more. */
  #rest(): void {
    if (this.#held.length > 0 || this.#device.written !== this.#device.shown) return;
    this.#device.askForKicks();
    this.deviceAwake = this.#device.waiting > 0;
  }
}

test.each([
  { size: 1, eventIdx: false, tables: 0 },
  { size: 8, eventIdx: false, tables: 0 },
  { size: 8, eventIdx: true, tables: 0 },
  { size: 8, eventIdx: true, tables: 4 },
  { size: 16, eventIdx: false, tables: 6 },
])('no chain is lost, doubled or damaged, and no kick or call missed: %o', (ring) => {
  let most = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
      const world = new World(ring.size, ring.eventIdx, ring.tables);
      for (const one of steps) world.run(one);
      world.settle();
      expect(world.wrong).toEqual([]);
      expect([...world.sent.keys()], 'chains that never came back').toEqual([]);
      most = Math.max(most, world.returned.length);
    }),
    { numRuns: 150 },
  );
  expect(most, 'chains of the busiest run').toBeGreaterThan(ring.size);
});
