/** How long things take: a frame's way to the program and back, and from nothing to the first frame. */
import { randomBytes } from 'node:crypto';
import { runFile } from '../programs.js';
import { compare, type Measure, type Result, type Series } from '../report.js';
import { interleave, type Stage } from '../stage.js';
import type { Case } from './case.js';

/** Rounds before those that count: a program's code must be compiled. */
const WARM_UP = 5;

export function latencyCases(): Case[] {
  return [
    { name: 'round trip 64 B batch 1', run: roundTrip },
    { name: 'open to first frame', run: firstFrame },
  ];
}

/** A host's socket asks, the program answers; each waits for the other. */
async function roundTrip(stage: Stage): Promise<Result[]> {
  const count = stage.effort.quick ? 200 : 1000;
  // A port has one consumer: this one's stays until it is closed.
  await stage.clear();
  const lanes = await stage.lanes(['ours', 'c'], 1);
  const measure = { case: 'round trip 64 B batch 1', metric: 'round trip time', unit: 'µs' };
  const times = lanes.map(({ contestant }): Series => ({ name: contestant.name, values: [] }));
  const ask = async (name: string, pings: number) =>
    JSON.parse(await runFile('wire', ['ping', name, String(pings)])) as { median: number };
  for (let round = 0; round < WARM_UP; round++) {
    for (const { contestant, tap } of lanes) {
      await Promise.all([contestant.command('respond', count), ask(tap.name, count)]);
    }
  }
  await interleave(lanes, stage.effort.rounds, async ({ contestant, tap }, index) => {
    const answering = contestant.command('respond', count);
    const { median } = await ask(tap.name, count);
    await answering;
    times[index]?.values.push(median / 1000);
  });
  await stage.clear();
  return compareFirst({ ...measure, better: 'less' }, times);
}

/** From the call that opens to the moment when the host has a frame, in a process that runs already. */
async function firstFrame(stage: Stage): Promise<Result[]> {
  // A program must have nothing open: it uses what it opened first, and closes all.
  await stage.clear();
  const contestants = [stage.contestant('ours'), stage.contestant('c')];
  const measure = { case: 'open to first frame', metric: 'time', unit: 'ms' };
  const times = contestants.map(({ name }): Series => ({ name, values: [] }));
  for (let round = 0; round < 4 * WARM_UP; round++) {
    for (const contestant of contestants) await contestant.command('first', nameOf());
  }
  await interleave(contestants, 2 * stage.effort.rounds + 1, async (contestant, index) => {
    const { ns } = await contestant.command('first', nameOf());
    times[index]?.values.push(ns / 1e6);
  });
  return compareFirst({ ...measure, better: 'less' }, times);
}

const nameOf = () => `first${randomBytes(4).toString('hex')}`;

function compareFirst(measure: Measure, [ours, ...others]: Series[]): Result[] {
  return compare(measure, ours as Series, others);
}
