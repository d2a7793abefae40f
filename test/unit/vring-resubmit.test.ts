/** A ring whose device goes away, and another that goes on from the used index. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GuestMemory, placeVring, VringDriver } from '../../lib/index.js';

const SIZE = 16;

/** A device that looks at what it was offered from `seen` on, and gives back in any order. */
class Device {
  readonly taken: number[] = [];
  readonly #avail: Uint16Array;
  readonly #used16: Uint16Array;
  readonly #used32: Uint32Array;
  #seen: number;

  constructor(memory: GuestMemory, { addresses }: VringDriver) {
    const { buffer } = memory.regions[0] as GuestMemory['regions'][number];
    this.#avail = new Uint16Array(buffer, Number(addresses.avail), 3 + SIZE);
    this.#used16 = new Uint16Array(buffer, Number(addresses.used), 3 + 4 * SIZE);
    this.#used32 = new Uint32Array(buffer, Number(addresses.used), 1 + 2 * SIZE);
    this.#seen = this.#used16[1] as number;
  }

  takeAll(): number[] {
    for (; this.#seen !== this.#avail[1]; this.#seen = (this.#seen + 1) & 0xffff) {
      this.taken.push(this.#avail[2 + (this.#seen % SIZE)] as number);
    }
    return this.taken;
  }

  /** The chain that it took as number `at` of those that it has. */
  giveBack(at: number): void {
    const [head] = this.taken.splice(at % this.taken.length, 1) as [number];
    const used = this.#used16[1] as number;
    this.#used32[1 + 2 * (used % SIZE)] = head;
    this.#used32[2 + 2 * (used % SIZE)] = 0;
    this.#used16[1] = used + 1;
  }
}

function ring() {
  const memory = GuestMemory.create([{ guestAddress: 0n, size: 0x10_000 }]);
  const driver = new VringDriver(memory, { size: SIZE, addresses: placeVring(0n, SIZE) });
  return { memory, driver };
}

test('what did not come back is offered again, in the order in which it was offered', () => {
  const { memory, driver } = ring();
  using _ = memory;
  const heads = [0, 1, 2, 3, 4].map((i) => driver.addReadable(0x1000 + i, 0, 1));
  driver.publish();
  const first = new Device(memory, driver);
  first.takeAll();
  // The last and the third come back; the driver has seen the one and not the other.
  first.giveBack(4);
  expect(driver.pop()).toBe(heads[4]);
  first.giveBack(2);
  driver.resubmit();
  expect(new Device(memory, driver).takeAll()).toEqual([heads[0], heads[1], heads[3]]);
  expect(driver.pop()).toBe(heads[2]);
});

test('every chain comes back once, however often its device goes away and whatever its order', () => {
  const step = fc.oneof(
    fc.constant('add' as const),
    fc.constant('publish' as const),
    fc.constant('pop' as const),
    fc.constant('die' as const),
    fc.nat({ max: SIZE }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (steps) => {
      const { memory, driver } = ring();
      using _ = memory;
      let device = new Device(memory, driver);
      const out = new Map<number, number>();
      let added = 0;
      let back = 0;
      const pop = () => {
        for (let head = driver.pop(); head >= 0; head = driver.pop()) {
          expect(out.delete(head)).toBe(true);
          back++;
        }
      };
      for (const next of steps) {
        if (next === 'add') {
          const head = driver.addReadable(added, 0, 1);
          if (head >= 0) out.set(head, added++);
        } else if (next === 'publish') driver.publish();
        else if (next === 'pop') pop();
        else if (next === 'die') {
          driver.resubmit();
          device = new Device(memory, driver);
        } else if (device.takeAll().length > 0) device.giveBack(next);
      }
      driver.publish();
      driver.resubmit();
      device = new Device(memory, driver);
      while (device.takeAll().length > 0) device.giveBack(0);
      pop();
      expect([back, out.size]).toEqual([added, 0]);
    }),
  );
});
