/** What a frame leaves for the garbage collector. */
import { BenchTap } from '../bench-tap.js';
import { Contestant } from '../contestant.js';
import { runFile } from '../programs.js';
import { compare, type Result } from '../report.js';
import { BUFFER_SIZE } from '../stage.js';
import type { Case } from './case.js';

const FRAMES = 16_000;
const WARM_UP = 10;
const ROUNDS = 3;

export function garbageCases(): Case[] {
  return [{ name: 'allocation', run: allocation }];
}

/** The best of some rounds: what the compiler allocates is not the frames'. */
async function allocation(): Promise<Result[]> {
  const ours = Contestant.quiet();
  const tap = new BenchTap(1);
  try {
    await ours.command('open', tap.name, 1, BUFFER_SIZE);
    const send: number[] = [];
    const receive: number[] = [];
    for (let round = 0; round < WARM_UP + ROUNDS; round++) {
      const sent = await ours.command('send', 64, 32, FRAMES);
      const receiving = ours.command('receive', 32, FRAMES);
      await runFile('wire', ['fill', tap.name, '64', String(FRAMES)]);
      const received = await receiving;
      if (round < WARM_UP) continue;
      send.push((sent.garbage ?? 0) / FRAMES);
      receive.push((received.garbage ?? 0) / FRAMES);
    }
    await ours.command('close');
    return [...result('send', send), ...result('receive', receive)];
  } finally {
    ours.end();
    tap.remove();
  }
}

function result(direction: string, values: readonly number[]): Result[] {
  return compare(
    {
      case: `${direction} 64 B batch 32, allocation`,
      metric: 'garbage per frame',
      unit: 'B',
      better: 'less',
    },
    { name: 'vhost-net', values: [Math.min(...values)] },
    [{ name: 'C program', values: [0] }],
  );
}
