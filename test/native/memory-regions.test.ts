/**
 * Several regions with holes between them:
 *
 *   guest    0x0000      0x2000      0x3000      0x5000      0x6000
 *              │ low, 2 pages │  hole  │ a, 2 pages │ b, 1 page │
 */
import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { GuestMemory } from '../../lib/host/guest-memory.js';
import { native } from '../../lib/native.js';
import { closedAfterwards } from '../support/ring.js';

const PAGE = native.pageSize;
const at = (pages: number, bytes = 0) => BigInt(pages * PAGE + bytes);
const OUT_OF_RANGE = expect.objectContaining({ name: 'RangeError', code: 'ERR_OUT_OF_RANGE' });

/** Given out of order, on purpose. */
const makeMemory = () =>
  closedAfterwards(
    GuestMemory.create([
      { guestAddress: at(5), size: PAGE },
      { guestAddress: at(0), size: 2 * PAGE },
      { guestAddress: at(3), size: 2 * PAGE },
    ]),
  );

test('regions are in the order of their addresses', () => {
  const memory = makeMemory();
  expect(memory.regions.map(({ guestAddress }) => guestAddress)).toEqual([at(0), at(3), at(5)]);
  expect(memory.end).toBe(at(6));
});

test.each([
  ['by a page', at(1)],
  ['wholly', at(0)],
])('regions that overlap %s are refused, and nothing stays open', (_, guestAddress) => {
  const before = readdirSync('/proc/self/fd').length;
  expect(() =>
    GuestMemory.create([
      { guestAddress: at(0), size: 2 * PAGE },
      { guestAddress, size: 2 * PAGE },
    ]),
  ).toThrow(
    expect.objectContaining({
      code: 'ERR_INVALID_ARG_VALUE',
      message: `the regions at 0x0 and 0x${guestAddress.toString(16)} overlap`,
    }),
  );
  expect(readdirSync('/proc/self/fd')).toHaveLength(before);
});

test('a region that cannot be mapped takes those before it along', () => {
  const before = readdirSync('/proc/self/fd').length;
  expect(() =>
    GuestMemory.create([
      { guestAddress: at(0), size: PAGE },
      { guestAddress: at(1), size: PAGE, backing: { path: '/does/not/exist' } },
    ]),
  ).toThrow(expect.objectContaining({ code: 'ENOENT' }));
  expect(readdirSync('/proc/self/fd')).toHaveLength(before);
});

test('guest memory of no region is refused', () => {
  expect(() => GuestMemory.create([])).toThrow(
    expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' }),
  );
});

describe('find()', () => {
  test.each([
    ['the first byte', at(0), 0, 0],
    ['the last byte before a hole', at(2, -1), 0, 2 * PAGE - 1],
    ['the first byte after a hole', at(3), 1, 0],
    ['the last byte of a region with a neighbour', at(5, -1), 1, 2 * PAGE - 1],
    ['the first byte of the neighbour', at(5), 2, 0],
    ['the last byte', at(6, -1), 2, PAGE - 1],
  ])('finds %s', (_, address, index, offset) => {
    const memory = makeMemory();
    expect(memory.find(address)).toEqual({ region: memory.regions[index], offset });
  });

  test.each([at(2), at(3, -1), at(6), -1n, 2n ** 64n])('finds nothing at %s', (address) => {
    expect(makeMemory().find(address)).toBeUndefined();
  });
});

describe('translate() and bytes()', () => {
  test('reach to the end of a region and not further', () => {
    const memory = makeMemory();
    expect(memory.translate(at(0), 2 * PAGE).offset).toBe(0);
    expect(memory.bytes(at(2, -10), 10)).toHaveLength(10);
    expect(() => memory.translate(at(0), 2 * PAGE + 1)).toThrow(OUT_OF_RANGE);
    expect(() => memory.bytes(at(2, -10), 11)).toThrow(OUT_OF_RANGE);
  });

  test('take no range over two regions, although they are neighbours', () => {
    expect(() => makeMemory().translate(at(5, -1), 2)).toThrow(OUT_OF_RANGE);
  });

  test.each([
    [at(2), 1],
    [at(6), 0],
    [-1n, 1],
    [at(0), -1],
    [at(0), Number.MAX_SAFE_INTEGER],
  ])('have nothing at %s of length %i', (address, length) => {
    expect(() => makeMemory().translate(address, length)).toThrow(OUT_OF_RANGE);
  });

  test('bytes() is a view, not a copy', () => {
    const memory = makeMemory();
    memory.bytes(at(3), 4).set([1, 2, 3, 4]);
    expect(memory.read(at(3, 1), 2)).toEqual(Uint8Array.of(2, 3));
  });
});

describe('slices(), read() and write()', () => {
  test('slices() cuts a range where regions meet', () => {
    const memory = makeMemory();
    const slices = memory.slices(at(4, 100), PAGE);
    expect(slices.map(({ byteOffset, length }) => [byteOffset, length])).toEqual([
      [PAGE + 100, PAGE - 100],
      [0, 100],
    ]);
    expect(slices[0]?.buffer).toBe(memory.regions[1]?.buffer);
    expect(slices[1]?.buffer).toBe(memory.regions[2]?.buffer);
  });

  test('what is written over two regions reads back, and lies where it should', () => {
    const memory = makeMemory();
    const bytes = Uint8Array.from({ length: 2 * PAGE }, (_, i) => i % 251);
    memory.write(at(3, 500), bytes);
    expect(memory.read(at(3, 500), bytes.length)).toEqual(bytes);
    expect(memory.bytes(at(5), 1)[0]).toBe((2 * PAGE - 500) % 251);
    expect(memory.read(at(3), 500)).toEqual(new Uint8Array(500));
  });

  test('read() is a copy', () => {
    const memory = makeMemory();
    const copy = memory.read(at(0), 4);
    memory.write(at(0), Uint8Array.of(9, 9, 9, 9));
    expect(copy).toEqual(new Uint8Array(4));
  });

  test('a range with a hole is refused as a whole: nothing is written', () => {
    const memory = makeMemory();
    const bytes = new Uint8Array(PAGE).fill(1);
    expect(() => memory.write(at(2, -10), bytes)).toThrow(OUT_OF_RANGE);
    expect(() => memory.read(at(2, -10), PAGE)).toThrow(
      expect.objectContaining({ message: `guest memory has a hole at 0x${at(2).toString(16)}` }),
    );
    expect(memory.read(at(2, -10), 10)).toEqual(new Uint8Array(10));
  });

  test('a range that runs off the end is refused', () => {
    expect(() => makeMemory().slices(at(6, -1), 2)).toThrow(OUT_OF_RANGE);
  });
});
