import { describe, expect, test } from 'vitest';
import { VmError } from '../../tools/test-vm/errors.js';
import { BEAT, Heartbeat, SILENCE_LIMIT, stoodStill } from '../../tools/test-vm/heartbeat.js';
import { STATUS_VM_FAILED } from '../../tools/test-vm/status.js';

/** Ticks of the silence that is too long. */
const LIMIT = SILENCE_LIMIT / BEAT;

/** A heartbeat whose timer ticks by hand, and what it has told. */
function listener(hearts: number) {
  let tick: (() => void) | undefined;
  const told: string[] = [];
  const heartbeat = new Heartbeat(
    hearts,
    (...still) => told.push(stoodStill(...still)),
    (seconds, callback) => {
      expect(seconds).toBe(BEAT);
      tick = callback;
      return () => {
        tick = undefined;
      };
    },
  );
  const pass = (ticks: number, ...beating: number[]) => {
    for (let count = 0; count < ticks; count++) {
      for (const heart of beating) heartbeat.beat(heart);
      tick?.();
    }
  };
  return { heartbeat, told, pass, ticking: () => tick !== undefined };
}

describe('a guest whose hearts beat', () => {
  test('runs as long as its command does', () => {
    const { told, pass } = listener(2);
    pass(100 * LIMIT, 0, 1);
    expect(told).toEqual([]);
  });

  test('may be silent for less than the limit, again and again', () => {
    const { heartbeat, told, pass } = listener(1);
    for (let round = 0; round < 10; round++) {
      pass(LIMIT - 1);
      heartbeat.beat(0);
    }
    expect(told).toEqual([]);
  });
});

describe('a guest that stands still', () => {
  test('is told once, with when it was last heard of', () => {
    const { told, pass, ticking } = listener(2);
    pass(10, 0, 1);
    pass(2 * LIMIT);
    // The last beat came in time for the tenth tick, after the ninth.
    expect(told).toEqual([
      'the guest has stood still since second 45 of its run; last sign of life: processor 0 120 s ago, processor 1 120 s ago',
    ]);
    expect(ticking()).toBe(false);
  });

  test('is told though one of its processors goes on', () => {
    const { told, pass } = listener(2);
    pass(LIMIT, 0);
    expect(told).toEqual([
      'the guest has stood still since second 0 of its run; last sign of life: processor 0 5 s ago, processor 1 120 s ago',
    ]);
  });

  test('is told if it never gave a sign of life, as a boot that stands still does not', () => {
    const { told, pass } = listener(1);
    pass(LIMIT - 1);
    expect(told).toEqual([]);
    pass(1);
    expect(told).toHaveLength(1);
  });

  test('is not kept alive by a heart that it does not have', () => {
    const { told, pass } = listener(1);
    pass(LIMIT, 1, Number.NaN, -1);
    expect(told).toHaveLength(1);
  });

  test('is the machine’s failure, not the command’s', () => {
    expect(new VmError(stoodStill([SILENCE_LIMIT], 0)).status).toBe(STATUS_VM_FAILED);
  });
});

test('a host that was itself stopped for longer than the limit has missed one beat', async () => {
  const told: unknown[] = [];
  // A timer that is late fires once, however late it is: here is Node's own, and a host that holds it up.
  const heartbeat = new Heartbeat(
    1,
    (...still) => told.push(still),
    (_, tick) => {
      const timer = setInterval(tick, 5);
      return () => clearInterval(timer);
    },
  );
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2 * LIMIT * 5);
  await new Promise((resolve) => setImmediate(resolve));
  expect(told).toEqual([]);
  heartbeat.stop();
});

test('a heartbeat that was stopped tells nothing', () => {
  const { heartbeat, told, pass } = listener(1);
  heartbeat.stop();
  pass(2 * LIMIT);
  expect(told).toEqual([]);
});
