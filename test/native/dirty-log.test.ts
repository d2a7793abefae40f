import { describe, expect, test } from 'vitest';
import { DirtyLog, type DirtyRange, GuestMemory } from '../../lib/index.js';
import { native } from '../../lib/native.js';
import { keep } from '../support/device.js';
import { expectCode, thrownBy } from '../support/errors.js';

const PAGE = 4096;
const page = (number: number) => BigInt(number) * BigInt(PAGE);

/** A log, and what a device does: sets the bit of a page. */
function logOf(...regions: [first: number, pages: number][]) {
  const memory = keep(
    GuestMemory.create(
      regions.map(([first, pages]) => ({ guestAddress: page(first), size: pages * PAGE })),
    ),
  );
  const log = keep(DirtyLog.create(memory));
  const words = new Uint32Array(log.bitmap);
  const write = (...pages: number[]) => {
    for (const number of pages) Atomics.or(words, number >> 5, 1 << (number & 31));
  };
  return { log, write };
}

const range = (first: number, pages: number): DirtyRange => ({
  guestAddress: page(first),
  size: pages * PAGE,
});

describe('harvesting a dirty log', () => {
  test('gives nothing where nothing was written to', () => {
    expect([...logOf([0, 64]).log.harvest()]).toEqual([]);
  });

  test('gives each page once, neighbours joined, over the ends of words', () => {
    const { log, write } = logOf([0, 256]);
    write(0, 5, 6, 31, 32, 33, 63, 65, 127, 255);
    expect([...log.harvest()]).toEqual([
      range(0, 1),
      range(5, 2),
      range(31, 3),
      range(63, 1),
      range(65, 1),
      range(127, 1),
      range(255, 1),
    ]);
    expect([...log.harvest()]).toEqual([]);
  });

  test('joins whole words', () => {
    const { log, write } = logOf([0, 256]);
    write(...Array.from({ length: 200 }, (_, i) => i + 8));
    expect([...log.harvest()]).toEqual([range(8, 200)]);
  });

  test('skips holes, and reaches high addresses', () => {
    const high = 1 << 24;
    const { log, write } = logOf([0, 8], [16, 8], [high, 32]);
    write(7, 16, 23, high, high + 31);
    expect([...log.harvest()]).toEqual([
      range(7, 1),
      range(16, 1),
      range(23, 1),
      range(high, 1),
      range(high + 31, 1),
    ]);
    expect(log.end).toBe(page(high + 32));
  });

  test('that ends early leaves in the log what it has not given', () => {
    const all = [1, 3, 4, 5, 20, 31, 32, 40, 100];
    for (let taken = 0; taken <= 6; taken++) {
      const { log, write } = logOf([0, 128]);
      write(...all);
      const given: DirtyRange[] = [];
      for (const dirty of log.harvest()) {
        if (given.length === taken) {
          // This one was given: whoever gets it has it.
          given.push(dirty);
          break;
        }
        given.push(dirty);
      }
      expect([...given, ...log.harvest()].flatMap(pagesOf)).toEqual(all);
    }
  });

  test('gives what is written meanwhile now or next time', () => {
    const { log, write } = logOf([0, 4096]);
    for (let i = 0; i < 4096; i += 2) write(i);
    const seen = new Map<number, number>();
    let extra = 1;
    for (const dirty of log.harvest()) {
      for (const number of pagesOf(dirty)) seen.set(number, (seen.get(number) ?? 0) + 1);
      extra = (extra * 5) % 4096;
      write(extra);
    }
    for (const dirty of log.harvest()) {
      for (const number of pagesOf(dirty)) seen.set(number, (seen.get(number) ?? 0) + 1);
    }
    for (let i = 0; i < 4096; i += 2) expect(seen.get(i)).toBe(1);
    expect(seen.size).toBeGreaterThan(2048);
    expect([...log.harvest()]).toEqual([]);
  });

  test('is all that clear() does', () => {
    const { log, write } = logOf([0, 64]);
    write(1, 2, 50);
    log.clear();
    expect([...log.harvest()]).toEqual([]);
  });
});

describe('a dirty log', () => {
  test('that is closed gives nothing any more, and may be closed again', async () => {
    const { log, write } = logOf([0, 64]);
    write(1, 3, 40);
    const harvest = log.harvest();
    harvest.next();
    log.close();
    await expectCode(() => [...harvest], 'ERR_CLOSED');
    await expectCode(() => [...log.harvest()], 'ERR_CLOSED');
    await expectCode(() => log.userAddress, 'ERR_CLOSED');
    log.close();
    expect(log.closed).toBe(true);
  });

  test('cannot be had for memory whose end is beyond what a bitmap can have', async () => {
    const memory = keep(
      GuestMemory.create([{ guestAddress: (1n << 64n) - page(16), size: 16 * PAGE }]),
    );
    const error = await thrownBy(() => DirtyLog.create(memory));
    expect(['ENOMEM', 'ERR_REGION_TOO_LARGE']).toContain(error.code);
  });

  test('has a bit a page, in whole pages', () => {
    const { log } = logOf([0, 1]);
    expect(log.bitmap.byteLength).toBe(native.pageSize);
  });
});

function pagesOf({ guestAddress, size }: DirtyRange): number[] {
  const first = Number(guestAddress) / PAGE;
  return Array.from({ length: size / PAGE }, (_, i) => first + i);
}
