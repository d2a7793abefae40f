import { expect, test } from 'vitest';
import { GuestMemory } from '../../lib/host/guest-memory.js';
import { VringDriver } from '../../lib/vring/driver.js';
import {
  availBytes,
  checkRingSize,
  descBytes,
  placeVring,
  usedBytes,
  vringBytes,
} from '../../lib/vring/layout.js';
import { closedAfterwards } from '../support/ring.js';

/*
 * A split ring of 4 descriptors from 0x1000, as placeVring() lays it out:
 *
 *   0x1000  desc    4 × { addr u64, len u32, flags u16, next u16 }      64 bytes
 *   0x1040  avail   flags u16, idx u16, ring u16 × 4, used_event u16    14 bytes
 *   0x104e  …       up to the next cache line
 *   0x1080  used    flags u16, idx u16, { id u32, len u32 } × 4,
 *                   avail_event u16                                     38 bytes
 *   0x10a6  …       up to the next cache line
 *   0x10c0
 */

const SIZES = Array.from({ length: 16 }, (_, power) => 1 << power);

test('a ring of 4 lies as the drawing shows', () => {
  expect(placeVring(0x1000n, 4)).toEqual({ desc: 0x1000n, avail: 0x1040n, used: 0x1080n });
  expect(vringBytes(4)).toBe(0xc0);
});

test('the parts have the sizes of virtio 1.3 §2.7, with both event fields', () => {
  for (const size of SIZES) {
    expect([descBytes(size), availBytes(size), usedBytes(size)]).toEqual([
      16 * size,
      2 + 2 + 2 * size + 2,
      2 + 2 + 8 * size + 2,
    ]);
  }
});

test.each(SIZES)('the parts of a ring of %i are aligned, apart, and inside its bytes', (size) => {
  const { desc, avail, used } = placeVring(0x4_0000_0000n, size);
  expect(desc % 16n).toBe(0n);
  expect(avail % 2n).toBe(0n);
  expect(used % 4n).toBe(0n);
  expect(avail).toBeGreaterThanOrEqual(desc + BigInt(16 * size));
  expect(used).toBeGreaterThanOrEqual(avail + BigInt(6 + 2 * size));
  expect(used + BigInt(6 + 8 * size)).toBeLessThanOrEqual(desc + BigInt(vringBytes(size)));
});

test.each(SIZES)('what driver and device write of a ring of %i shares no cache line', (size) => {
  const { avail, used } = placeVring(0n, size);
  const lastOfDriver = avail + BigInt(availBytes(size)) - 1n;
  expect(used / 64n).toBeGreaterThan(lastOfDriver / 64n);
  expect(vringBytes(size) % 64).toBe(0);
});

test.each([0, 3, 65_536, 1.5, -2, Number.NaN])('a ring of %d descriptors is refused', (size) => {
  expect(() => checkRingSize('size', size)).toThrow(
    expect.objectContaining({ name: 'RangeError', code: 'ERR_OUT_OF_RANGE' }),
  );
});

test('a size that is no number is refused as such', () => {
  expect(() => checkRingSize('size', '256')).toThrow(
    expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }),
  );
});

test.each([
  ['desc', 16, { desc: 8n, avail: 0x100n, used: 0x200n }],
  ['avail', 2, { desc: 0n, avail: 0x101n, used: 0x200n }],
  ['used', 4, { desc: 0n, avail: 0x100n, used: 0x202n }],
])('a %s part that is not aligned to %i bytes is refused', (part, alignment, addresses) => {
  const memory = closedAfterwards(GuestMemory.create([{ guestAddress: 0n, size: 4096 }]));
  expect(() => new VringDriver(memory, { size: 4, addresses })).toThrow(
    expect.objectContaining({
      code: 'ERR_OUT_OF_RANGE',
      message: expect.stringMatching(`${part} ring .* not aligned to ${alignment} bytes`),
    }),
  );
});

test('a ring that reaches beyond the memory is refused', () => {
  const memory = closedAfterwards(GuestMemory.create([{ guestAddress: 0n, size: 4096 }]));
  const addresses = placeVring(4096n - BigInt(vringBytes(16)) + 64n, 16);
  expect(() => new VringDriver(memory, { size: 16, addresses })).toThrow(
    expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }),
  );
});

test('the largest ring works at its last descriptor', () => {
  const size = 32_768;
  const bytes = Math.ceil(vringBytes(size) / 4096) * 4096;
  const memory = closedAfterwards(GuestMemory.create([{ guestAddress: 0n, size: bytes }]));
  const driver = new VringDriver(memory, { size, addresses: placeVring(0n, size) });
  for (let i = 0; i < size; i++) expect(driver.addReadable(0, 0, 64)).toBe(i);
  expect(driver.addReadable(0, 0, 64)).toBe(-1);
});
