/**
 * Runs fuzz targets: the fixed corpus, or what the environment asks for (tools/fuzz sets it):
 * FUZZ_SEED and FUZZ_SECONDS for a longer run, FUZZ_CASE for one case, told step by step.
 */
import { expect, test } from 'vitest';
import { Random } from './random.js';

/** Told what happens, where somebody wants to know. */
export type Trace = ((line: string) => void) | undefined;

/** How often something was reached, by name. */
export type Sights = Map<string, number>;

export interface Target {
  name: string;
  /** One state is one change of shared memory and what the code under test then did with it. */
  states: number;
  /** Plays one case; returns how many states it went through. Throws what it finds. */
  play: (random: Random, sights: Sights, trace: Trace) => number | Promise<number>;
  /** What the corpus must reach: a fuzzer that no longer gets there finds nothing either. */
  reaches: readonly string[];
}

/** The corpus is the first cases of this seed. */
const CORPUS_SEED = 1;

const { FUZZ_SEED, FUZZ_SECONDS, FUZZ_CASE } = process.env;
const seed = Number(FUZZ_SEED ?? CORPUS_SEED);
const seconds = Number(FUZZ_SECONDS ?? 0);

export function fuzz(target: Target): void {
  const { name, states } = target;
  if (FUZZ_CASE !== undefined) replay(target, Number(FUZZ_CASE));
  else if (seconds > 0) longRun(target);
  else {
    test(`${name}: ${states} states`, async () => {
      const { done, sights } = await play(target, (sofar) => sofar < states);
      expect(done).toBeGreaterThanOrEqual(states);
      expect(target.reaches.filter((sight) => !sights.has(sight))).toEqual([]);
    });
  }
}

export function see(sights: Sights, name: string, times = 1): void {
  sights.set(name, (sights.get(name) ?? 0) + times);
}

/** Fails unless `actual` is `wanted`; cheaper than `expect`, for what is asked millions of times. */
export function same(what: string, actual: unknown, wanted: unknown): void {
  if (actual !== wanted) throw new Error(`${what} is ${actual}, not ${wanted}`);
}

function replay({ name, play: playOne }: Target, at: number): void {
  test(`${name}: case ${seed}:${at}`, async () => {
    await playOne(new Random(seed, at), new Map(), (line) => process.stdout.write(`${line}\n`));
  });
}

function longRun(target: Target): void {
  test(`${target.name}: ${seconds} s of seed ${seed}`, {
    timeout: 60_000 + 2000 * seconds,
  }, async () => {
    const end = performance.now() + seconds * 1000;
    const { done, sights } = await play(target, () => performance.now() < end);
    const seen = [...sights].map(([sight, times]) => `  ${sight}: ${times}`);
    process.stdout.write(`${[`${target.name}: ${done} states`, ...seen].join('\n')}\n`);
  });
}

async function play({ name, play: playOne }: Target, goesOn: (done: number) => boolean) {
  const sights: Sights = new Map();
  let done = 0;
  for (let at = 0; goesOn(done); at++) {
    try {
      const states = playOne(new Random(seed, at), sights, undefined);
      done += typeof states === 'number' ? states : await states;
    } catch (error) {
      const again = `npm run fuzz -- --target ${name} --replay ${seed}:${at}`;
      throw new Error(`${name}: ${again}`, { cause: error });
    }
  }
  return { done, sights };
}
