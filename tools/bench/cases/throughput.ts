/** Frames per second, and what a frame costs the main thread, both ways. */
import type { Took } from '../contestants/commands.js';
import { QUEUE_SIZE } from '../contestants/frames.js';
import type { Effort } from '../options.js';
import { runFile } from '../programs.js';
import { compare, type Measure, type Result, type Series } from '../report.js';
import {
  BUFFER_SIZE,
  interleave,
  LARGEST_BUFFER_SIZE,
  type Lane,
  type Role,
  type Stage,
} from '../stage.js';
import { Testpmd } from '../testpmd.js';
import type { Case } from './case.js';

export interface Load {
  direction: 'send' | 'receive';
  /** Bytes of a frame. */
  length: number;
  batch: number;
  pairs: number;
}

/** Frames that wait to be received, at least: rings full of them, one of which is so before the clock starts. */
const LEAST_RINGS = 4;
/** Their bytes, at most. */
const MOST_WAITING = 256 << 20;
/** Rounds in which a program's code gets warm, at most. */
const WARM_UP_ROUNDS = 30;

const SUPER_FRAME = 64_294;
const LENGTHS = [64, 256, 1514, SUPER_FRAME];

/** Every load; for `quick` those alone that the targets name. */
export function throughputCases(quick: boolean): Case[] {
  const lengths = quick ? LENGTHS.filter((length) => length !== 256) : LENGTHS;
  const batches = quick ? [32] : [1, 32, 256];
  const counts = quick ? [1] : [1, 2, 4];
  const loads = counts.flatMap((pairs) =>
    lengths.flatMap((length) =>
      batches.flatMap((batch) =>
        (['send', 'receive'] as const).map((direction) => ({ direction, length, batch, pairs })),
      ),
    ),
  );
  return loads.map((load) => ({
    name: caseName(load),
    run: (stage) => measureLoad(caseName(load), load, rolesOf(load, stage.effort.quick), stage),
  }));
}

/**
 * The first two are ours and C. Without the library a program has one queue, no super-frames and no batches. `fs.read` takes so long
 * that it has no place in a quick run, and testpmd to start.
 */
function rolesOf({ direction, length, batch, pairs }: Load, quick: boolean): Role[] {
  const roles: Role[] = ['ours', 'c'];
  if (pairs > 1 || batch !== 32 || length === SUPER_FRAME) return roles;
  if (!quick || direction === 'send') roles.push('fs');
  if (!quick && Testpmd.isInstalled()) roles.push('testpmd');
  return roles;
}

/** Super-frames come only where a buffer holds one. */
const bufferSizeOf = ({ length }: Load) =>
  length === SUPER_FRAME ? LARGEST_BUFFER_SIZE : BUFFER_SIZE;

/** What each of the programs, ours the first, makes of a load. */
export async function measureLoad(
  name: string,
  load: Load,
  roles: readonly Role[],
  stage: Stage,
): Promise<Result[]> {
  const { effort } = stage;
  const lanes = await stage.lanes(roles, load.pairs, bufferSizeOf(load));
  const move = load.direction === 'send' ? sendOnce : receiveOnce;
  const counts: number[] = [];
  for (const lane of lanes) counts.push(await calibrate(load, lane, effort, move));
  // What lies in the rings before the clock starts must be the same part of the frames of both. The others
  // are too slow for it to matter, and for as many frames.
  if (load.direction === 'receive') counts.fill(Math.max(...counts.slice(0, 2)), 0, 2);
  const rates = lanes.map((lane): Series => ({ name: baselineName(lane, load), values: [] }));
  const costs = lanes.map((lane): Series => ({ name: baselineName(lane, load), values: [] }));
  await interleave(lanes, effort.rounds, async (lane, index) => {
    const took = await move(load, lane, counts[index] as number);
    rates[index]?.values.push((took.frames / took.ns) * 1e9);
    costs[index]?.values.push(took.cpu / took.frames);
  });
  return [
    ...compareFirst({ ...RATE, case: name }, rates),
    // One that tells no processor time spent none.
    ...compareFirst(
      { ...COST, case: name },
      costs.filter(({ values }) => values.some((cost) => cost > 0)),
    ),
  ];
}

const RATE = { metric: 'frames per second', unit: 'frames/s', better: 'more' } as const;
const COST = { metric: 'main-thread CPU per frame', unit: 'ns', better: 'less' } as const;

export function caseName({ direction, length, batch, pairs }: Load): string {
  const size = length === SUPER_FRAME ? '64 KB' : `${length} B`;
  return `${direction} ${size} batch ${batch}${pairs > 1 ? `, ${pairs} queue pairs` : ''}`;
}

function compareFirst(measure: Measure, [ours, ...others]: Series[]): Result[] {
  return compare(measure, ours as Series, others);
}

function baselineName({ contestant }: Lane, { direction }: Load): string {
  if (contestant.name !== 'fs') return contestant.name;
  return direction === 'send' ? 'fs.writeSync' : 'fs.read';
}

type Move = (load: Load, lane: Lane, count: number) => Promise<Took>;

/** How many frames a program moves in a round; before, its code gets warm, where it never did this. */
async function calibrate(load: Load, lane: Lane, effort: Effort, move: Move): Promise<number> {
  const { direction, length, pairs } = load;
  const warm = lane.contestant.mustWarmUp(`${direction} ${length === SUPER_FRAME} ${pairs > 1}`)
    ? effort.warmUpMs
    : effort.roundMs;
  const most = lane.tap.queueLength;
  let count = whole(load, 1024, most);
  for (let spent = 0, round = 0; spent < warm && round < WARM_UP_ROUNDS; round++) {
    const { frames, ns } = await move(load, lane, count);
    spent += ns / 1e6;
    count = whole(load, (frames / ns) * effort.roundMs * 1e6, most);
  }
  return count;
}

/** Whole batches; of what is received many times what the rings take, and no more than may wait. */
function whole({ direction, length, batch }: Load, frames: number, queueLength: number): number {
  const least = LEAST_RINGS * QUEUE_SIZE;
  const most = Math.min(queueLength, MOST_WAITING / length);
  const count = direction === 'receive' ? Math.min(Math.max(frames, least), most) : frames;
  return Math.max(1, Math.floor(count / batch)) * batch;
}

async function sendOnce({ length, batch }: Load, lane: Lane, count: number): Promise<Took> {
  const { contestant, tap } = lane;
  const before = tap.sent;
  const took = await contestant.command('send', length, batch, count);
  const arrived = tap.sent - before;
  if (arrived !== took.frames) {
    throw new Error(`${contestant.name} sent ${took.frames}, ${arrived} arrived`);
  }
  return took;
}

/** The frames wait at the TAP before the clock starts: their source takes no time from their receiver. */
async function receiveOnce({ length, batch }: Load, lane: Lane, count: number): Promise<Took> {
  const { contestant, tap } = lane;
  const before = tap.dropped;
  await runFile('wire', ['fill', tap.name, String(length), String(count)]);
  const lost = tap.dropped - before;
  if (lost > 0) throw new Error(`the TAP dropped ${lost} of ${count} frames`);
  return contestant.command('receive', batch, count);
}
