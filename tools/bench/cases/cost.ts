/** What open ports cost: descriptors, threads, memory and set-up time; and time while nothing happens. */
import { setTimeout as sleep } from 'node:timers/promises';
import { BenchTap } from '../bench-tap.js';
import type { Contestant } from '../contestant.js';
import { timeOf, type Usage, usageOf } from '../processes.js';
import { compare, type Measure, type Result } from '../report.js';
import { BUFFER_SIZE, type Stage } from '../stage.js';
import type { Case } from './case.js';

/** Ports that are open and idle, and how long they are watched, in ms. */
const IDLE_PORTS = 100;
const IDLE_TIME = 10_000;
/** What is waited for after opening, in ms: a process settles. */
const SETTLING = 1000;

export function costCases(quick: boolean): Case[] {
  const counts = quick ? [1, 16] : [1, 16, 64, 256];
  return [
    ...counts.map((count) => ({
      name: `${count} queue ${count === 1 ? 'pair' : 'pairs'}`,
      run: (stage: Stage) => costOfPairs(count, stage),
    })),
    { name: `${IDLE_PORTS} idle ports`, run: idleTime },
  ];
}

async function costOfPairs(count: number, stage: Stage): Promise<Result[]> {
  await stage.clear();
  const name = `${count} queue ${count === 1 ? 'pair' : 'pairs'}`;
  const rounds = stage.effort.quick || count > 16 ? 1 : 3;
  const contestants = [stage.contestant('ours'), stage.contestant('c')];
  const costs = contestants.map(
    (): Record<keyof Usage | 'time', number[]> => ({
      descriptors: [],
      threads: [],
      resident: [],
      time: [],
    }),
  );
  for (let round = 0; round < rounds; round++) {
    for (const [i, contestant] of contestants.entries()) {
      const cost = await costOnce(contestant, count);
      for (const key of ['descriptors', 'threads', 'resident', 'time'] as const) {
        costs[i]?.[key].push(cost[key]);
      }
    }
  }
  const result = (key: keyof Usage | 'time', metric: string, unit: string) =>
    compare(
      { case: name, metric, unit, better: 'less' },
      { name: 'vhost-net', values: costs[0]?.[key] ?? [] },
      [{ name: 'C program', values: costs[1]?.[key] ?? [] }],
    );
  return [
    ...result('descriptors', 'descriptors', ''),
    ...result('threads', 'threads', ''),
    ...result('resident', 'memory', 'MiB'),
    ...result('time', 'set-up time', 'ms'),
  ];
}

/** What is more than before. */
async function costOnce(contestant: Contestant, count: number): Promise<Usage & { time: number }> {
  const tap = new BenchTap(count);
  const before = usageOf(contestant.pid);
  const { ns } = await contestant.command('open', tap.name, count, BUFFER_SIZE);
  const after = usageOf(contestant.pid);
  await contestant.command('close');
  tap.remove();
  return {
    descriptors: after.descriptors - before.descriptors,
    threads: after.threads - before.threads,
    resident: Math.max(0, after.resident - before.resident),
    time: ns / 1e6,
  };
}

async function idleTime(stage: Stage): Promise<Result[]> {
  await stage.clear();
  const contestants = [stage.contestant('ours'), stage.contestant('c')];
  const taps: BenchTap[] = [];
  for (const contestant of contestants) {
    for (let i = 0; i < IDLE_PORTS; i++) {
      const tap = new BenchTap(1);
      taps.push(tap);
      await contestant.command('open', tap.name, 1, BUFFER_SIZE);
    }
  }
  await sleep(SETTLING);
  const before = contestants.map(({ pid }) => timeOf(pid));
  await sleep(IDLE_TIME);
  const used = contestants.map(({ pid }, i) => timeOf(pid) - (before[i] as number));
  for (const contestant of contestants) await contestant.command('close');
  for (const tap of taps) tap.remove();
  const [ours = 0, c = 0] = used.map((ns) => Number(((ns / (IDLE_TIME * 1e6)) * 100).toFixed(1)));
  const measure: Measure = {
    case: `${IDLE_PORTS} idle ports`,
    metric: 'CPU of all threads',
    unit: '%',
    better: 'less',
  };
  return compare(measure, { name: 'vhost-net', values: [ours] }, [
    { name: 'C program', values: [c] },
  ]);
}
