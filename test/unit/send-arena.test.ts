import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SendArena } from '../../lib/port/send-arena.js';

/*
 * An arena of 256 bytes with pieces of 100, 60 and 20 bytes:
 *
 *   0         128   192  256
 *   │ 100 +28 │60+4 │20+44│      each piece begins on a cache line
 */

test('pieces lie one after another on cache lines of their own', () => {
  const arena = new SendArena(256, 8);
  expect([arena.take(100), arena.take(60), arena.take(20)]).toEqual([0, 128, 192]);
  expect(arena.take(1)).toBe(-1);
});

test('a lap begins at the start where that is free, and goes on where it is not', () => {
  const arena = new SendArena(4096, 3);
  const lap = (...lengths: number[]) =>
    lengths.map((length) => {
      const at = arena.take(length);
      return { at, piece: arena.piece };
    });
  const first = lap(64, 128, 64);
  expect(first.map(({ at }) => at)).toEqual([0, 64, 192]);
  arena.giveBack(first[0]?.piece as number);
  // One line is free there: enough for the one, too little for the other.
  const [again] = lap(64);
  expect(again?.at).toBe(0);
  arena.giveBack(first[1]?.piece as number);
  arena.giveBack(first[2]?.piece as number);
  const second = lap(64, 64);
  expect(second.map(({ at }) => at)).toEqual([64, 128]);
  arena.giveBack(again?.piece as number);
  expect(lap(128)[0]?.at).toBe(192);
});

test('an arena gives no more pieces than it was made for', () => {
  const arena = new SendArena(4096, 2);
  expect([arena.take(1), arena.take(1), arena.take(1)]).toEqual([0, 64, -1]);
});

test('a piece that does not fit before the end lies at the start, in one piece', () => {
  const arena = new SendArena(512, 8);
  arena.take(128);
  const first = arena.piece;
  arena.take(256);
  const second = arena.piece;
  arena.giveBack(first);
  // 128 bytes are left at the end, 128 are free at the start.
  expect(arena.take(129)).toBe(-1);
  expect(arena.take(128)).toBe(384);
  expect(arena.take(128)).toBe(0);
  expect(arena.take(1)).toBe(-1);
  arena.giveBack(second);
  expect(arena.take(200)).toBe(128);
});

test('room skipped at the end comes back with the piece that skipped it', () => {
  const arena = new SendArena(256, 8);
  arena.take(128);
  const first = arena.piece;
  arena.take(64);
  const second = arena.piece;
  arena.giveBack(first);
  expect(arena.take(128)).toBe(0);
  const skipping = arena.piece;
  arena.giveBack(second);
  expect(arena.take(64)).toBe(128);
  arena.giveBack(skipping);
  expect(arena.take(64)).toBe(192);
});

test('pieces given back out of order make room only from the oldest on', () => {
  const arena = new SendArena(256, 8);
  const pieces = Array.from({ length: 4 }, () => {
    arena.take(64);
    return arena.piece;
  });
  arena.giveBack(pieces[1] as number);
  arena.giveBack(pieces[2] as number);
  expect(arena.take(64)).toBe(-1);
  arena.giveBack(pieces[0] as number);
  expect([arena.take(192), arena.take(1)]).toEqual([0, -1]);
});

test('an empty arena takes the largest piece, wherever it stood', () => {
  const arena = new SendArena(1024, 8);
  arena.take(320);
  arena.giveBack(arena.piece);
  expect(arena.take(1024)).toBe(0);
  arena.giveBack(arena.piece);
  expect(arena.take(1025)).toBe(-1);
});

interface Piece {
  id: number;
  start: number;
  end: number;
}

const step = fc.oneof(
  fc.record({ take: fc.integer({ min: 1, max: 700 }) }),
  fc.record({ back: fc.nat(100) }),
);

test('pieces never overlap, stay inside, and keep their room until they are given back', () => {
  let most = 0;
  const property = fc.property(
    fc.integer({ min: 1, max: 40 }),
    fc.integer({ min: 1, max: 12 }),
    fc.array(step, { maxLength: 300, size: 'max' }),
    (lines, pieces, steps) => {
      const capacity = lines * 64;
      const arena = new SendArena(capacity, pieces);
      const live: Piece[] = [];
      for (const one of steps) {
        if ('back' in one) {
          const [piece] = live.splice(one.back % Math.max(1, live.length), 1);
          if (piece) arena.giveBack(piece.id);
          continue;
        }
        const start = arena.take(one.take);
        if (start < 0) {
          if (live.length === 0) expect(one.take).toBeGreaterThan(capacity);
          continue;
        }
        const piece = { id: arena.piece, start, end: start + one.take };
        expect(start % 64).toBe(0);
        expect(piece.end).toBeLessThanOrEqual(capacity);
        for (const other of live) {
          expect(other.id).not.toBe(piece.id);
          expect(piece.start >= other.end || other.start >= piece.end).toBe(true);
        }
        live.push(piece);
        most = Math.max(most, live.length);
      }
      for (const piece of live) arena.giveBack(piece.id);
      expect(arena.take(capacity)).toBe(0);
    },
  );
  fc.assert(property, { numRuns: 200 });
  expect(most, 'pieces at once in the busiest run').toBeGreaterThan(4);
});
