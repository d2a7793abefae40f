/** The ring alone: the TypeScript driver beside the same loop in C, each with a C device of its own. */
import { Contestant } from '../contestant.js';
import type { Took } from '../contestants/commands.js';
import type { Effort } from '../options.js';
import { compare, type Result } from '../report.js';

interface RingLoad {
  direction: 'send' | 'receive';
  length: number;
  batch: number;
}

/** Frames before the clock starts: the compiler, which has its own thread, must have done its work. */
const WARM_UP = [500_000, 500_000, 1_000_000];
const RATE = { metric: 'frames per second', unit: 'frames/s', better: 'more' } as const;

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
  return loads.map((load) => {
    const name = `ring ${load.direction} ${load.length} B batch ${load.batch}`;
    return { name, run: (effort) => measure(name, load, effort) };
  });
}

/** Only one of the two has its device polling at a time. */
async function measure(name: string, load: RingLoad, effort: Effort): Promise<Result[]> {
  const words = [load.direction, String(load.length), String(load.batch)];
  const ours: number[] = [];
  const c: number[] = [];
  for (let round = 0; round < effort.rounds; round++) {
    ours.push(rate(await runOnce(Contestant.ringOurs(words), effort)));
    c.push(rate(await runOnce(Contestant.ringC(words), effort)));
  }
  const baseline = { name: Contestant.C, values: c };
  return compare({ ...RATE, case: name }, { name: 'vhost-net', values: ours }, [baseline]);
}

async function runOnce(contestant: Contestant, effort: Effort): Promise<Took> {
  try {
    let last = 0;
    for (const frames of WARM_UP) last = rate(await contestant.command(frames));
    return await contestant.command(Math.ceil((last * effort.roundMs) / 1000 / 256) * 256);
  } finally {
    contestant.end();
  }
}

const rate = ({ frames, ns }: Took): number => (frames / ns) * 1e9;
