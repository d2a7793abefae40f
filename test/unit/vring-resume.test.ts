import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GuestMemory } from '../../lib/host/guest-memory.js';
import { SendArena } from '../../lib/port/send-arena.js';
import { VringDriver } from '../../lib/vring/driver.js';
import type { VringDriverState } from '../../lib/vring/driver-options.js';
import { closedAfterwards, makeRing, segments } from '../support/ring.js';

/** Another driver, on the same ring. */
function heirOf(ring: ReturnType<typeof makeRing>, state: VringDriverState): VringDriver {
  const { addresses, size } = ring.driver;
  return new VringDriver(ring.memory, { size, addresses, state });
}

test('another driver goes on with the chains in flight, wherever the ring stopped', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.boolean()), { maxLength: 60 }),
      (steps) => {
        const ring = makeRing({ size: 8 });
        let { driver } = ring;
        for (const [buffers, handOver] of steps) {
          const chain = segments(
            ...Array.from({ length: buffers }, (): [number, number] => [ring.data, 64]),
          );
          if (driver.add(chain, 0, buffers) < 0) {
            ring.device.serve();
            ring.device.show();
            expect(driver.pop()).toBeGreaterThanOrEqual(0);
          }
          driver.publish();
          if (!handOver) continue;
          const { free, inFlight } = driver;
          driver = heirOf(ring, JSON.parse(JSON.stringify(driver.state)));
          expect({ free: driver.free, inFlight: driver.inFlight }).toEqual({ free, inFlight });
        }
        // Every chain comes back, once, and then the ring is as good as new.
        while (ring.device.waiting > 0) ring.device.serve(new Uint8Array(64));
        ring.device.show();
        while (driver.pop() >= 0) expect(driver.usedLength).toBe(64);
        expect({ free: driver.free, inFlight: driver.inFlight }).toEqual({ free: 8, inFlight: 0 });
        ring.memory.close();
      },
    ),
    { numRuns: 200 },
  );
});

test('what the device gave back before is taken by the driver that goes on', () => {
  const ring = makeRing({ size: 4 });
  const heads = [1, 2, 3].map(() => ring.driver.addWritable(ring.data, 0, 100));
  ring.driver.publish();
  for (const length of [10, 20]) ring.device.serve(new Uint8Array(length));
  ring.device.show();
  expect(ring.driver.pop()).toBe(heads[0]);
  const heir = heirOf(ring, ring.driver.state);
  expect([heir.pop(), heir.usedLength, heir.pop()]).toEqual([heads[1], 20, -1]);
  expect(heir.inFlight).toBe(1);
});

test.each<[string, (state: VringDriverState) => VringDriverState]>([
  ['a chain beyond the ring', (state) => ({ ...state, chains: [[4, 1, 0]] })],
  ['a chain twice', ({ chains, ...rest }) => ({ ...rest, chains: [...chains, ...chains] })],
  ['a chain of no descriptor', (state) => ({ ...state, chains: [[0, 0, 0]] })],
  ['a chain longer than the ring', (state) => ({ ...state, chains: [[0, 5, 0]] })],
  ['a chain that runs in a circle', (state) => ({ ...state, chains: [[0, 2, 0]] })],
  ['fewer chains than positions', (state) => ({ ...state, chains: [] })],
  ['a position that is none', (state) => ({ ...state, avail: 65_536 })],
  ['a position before the other', (state) => ({ ...state, used: 2 })],
])('a state with %s is refused', (_, change) => {
  const ring = makeRing({ size: 4 });
  ring.driver.addWritable(ring.data, 0, 100);
  ring.driver.publish();
  // Its descriptor's `next` is 0: itself.
  expect(() => heirOf(ring, change(ring.driver.state))).toThrow(
    expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }),
  );
});

test('an arena takes over the pieces of another, and gives room as that would have', () => {
  const before = new SendArena(512, 8);
  before.take(128);
  const first = before.piece;
  before.take(256);
  before.take(128);
  before.giveBack(first);
  before.take(100);
  const heir = new SendArena(512, 8);
  heir.restore([
    { offset: 128, length: 256 },
    { offset: 384, length: 128 },
    { offset: 0, length: 100 },
  ]);
  expect([before.take(1), heir.take(1)]).toEqual([-1, -1]);
  for (const piece of [0, 1]) heir.giveBack(piece);
  expect([heir.take(256), heir.take(128), heir.take(1)]).toEqual([128, 384, -1]);
});

test.each([
  [[{ offset: 64, length: 600 }]],
  [[{ offset: -64, length: 64 }]],
  [[{ offset: 1, length: 64 }]],
  [
    [
      { offset: 0, length: 512 },
      { offset: 0, length: 64 },
    ],
  ],
])('an arena refuses the pieces %o', (pieces) => {
  expect(() => new SendArena(512, 8).restore(pieces)).toThrow(
    expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }),
  );
});

test('memory that closed cannot be gone on with', () => {
  const memory = closedAfterwards(GuestMemory.create([{ guestAddress: 0n, size: 4096 }]));
  memory.close();
  const addresses = { desc: 0n, avail: 128n, used: 256n };
  const state = { avail: 0, used: 0, chains: [] };
  expect(() => new VringDriver(memory, { size: 4, addresses, state })).toThrow(
    expect.objectContaining({ code: 'ERR_CLOSED' }),
  );
});
