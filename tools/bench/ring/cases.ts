/** The ring alone: the TypeScript driver beside the same loop in C, each with a C device of its own. */
import { Contestant } from '../contestant.js';
import type { Took } from '../contestants/commands.js';
import type { Effort } from '../options.js';
import { compare, type Result } from '../report.js';

interface RingLoad {
  direction: 'send' | 'receive' | 'echo';
  length: number;
  batch: number;
}

/** Frames before the clock starts: the compiler, which has its own thread, must have done its work. */
const WARM_UP = [500_000, 500_000, 1_000_000];
/** The same where each frame waits for the one before, and two wake-ups. */
const ECHO_WARM_UP = [5000, 5000];
const RATE = { metric: 'frames per second', unit: 'frames/s', better: 'more' } as const;
const ROUND_TRIP = { metric: 'round trip time', unit: 'µs', better: 'less' } as const;

export interface RingCase {
  name: string;
  run(effort: Effort): Promise<Result[]>;
}

export function ringCases(quick: boolean): RingCase[] {
  const lengths = quick ? [64] : [64, 1514];
  const batches = quick ? [32] : [1, 32, 256];
  const loads = (['send', 'receive'] as const).flatMap((direction) =>
    lengths.flatMap((length) => batches.map((batch) => ({ direction, length, batch }))),
  );
  const echo: RingLoad = { direction: 'echo', length: 64, batch: 1 };
  return [...loads, echo].map((load) => {
    const what = load.direction === 'echo' ? 'round trip' : load.direction;
    const name = `ring ${what} ${load.length} B batch ${load.batch}`;
    return { name, run: (effort) => measure(name, load, effort) };
  });
}

/** Only one of the two has its device running at a time. */
async function measure(name: string, load: RingLoad, effort: Effort): Promise<Result[]> {
  const { direction, length, batch } = load;
  const words = [direction, String(length), String(batch)];
  const warmUp = direction === 'echo' ? ECHO_WARM_UP : WARM_UP;
  const ours: Took[] = [];
  const c: Took[] = [];
  for (let round = 0; round < effort.rounds; round++) {
    ours.push(await runOnce(Contestant.ringOurs(words), warmUp, effort));
    c.push(await runOnce(Contestant.ringC(words), warmUp, effort));
  }
  const [measured, value] = direction === 'echo' ? [ROUND_TRIP, roundTrip] : [RATE, rate];
  const baseline = { name: Contestant.C, values: c.map(value) };
  return compare({ ...measured, case: name }, { name: 'vhost-net', values: ours.map(value) }, [
    baseline,
  ]);
}

async function runOnce(
  contestant: Contestant,
  warmUp: readonly number[],
  effort: Effort,
): Promise<Took> {
  try {
    let last = 0;
    for (const frames of warmUp) last = rate(await contestant.command(frames));
    return await contestant.command(Math.ceil((last * effort.roundMs) / 1000 / 256) * 256);
  } finally {
    contestant.end();
  }
}

/** Frames per second. */
const rate = ({ frames, ns }: Took): number => (frames / ns) * 1e9;
/** Microseconds for each frame. */
const roundTrip = ({ frames, ns }: Took): number => ns / frames / 1000;
