#!/usr/bin/env node
/** `npm run fuzz`: the fuzz targets for longer than the tests have time, or one case of them again. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';

/** The package's folder; this file runs from `dist/tools/fuzz/`. */
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const VITEST = ['node_modules/vitest/vitest.mjs', 'run', '--project', 'fuzz'];

interface Options {
  seconds: number;
  seed?: number;
  replay?: { seed: number; at: number };
  target?: string;
}

function whole(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > 0xffff_ffff) throw new InvalidArgumentError('a whole number');
  return value;
}

function caseOf(text: string): { seed: number; at: number } {
  const [seed, at, ...more] = text.split(':');
  if (seed === undefined || at === undefined || more.length > 0) {
    throw new InvalidArgumentError('a seed and a case, as 1:4711');
  }
  return { seed: whole(seed), at: whole(at) };
}

const { seconds, seed, replay, target } = new Command('fuzz')
  .description(
    'Fuzzes the rings and the cards: each target for a time, or one case again, step by step.',
  )
  .option('--seconds <n>', 'how long, for each target', whole, 60)
  .option('--seed <n>', 'of all cases (default: one that nobody had yet)', whole)
  .option('--replay <seed:case>', 'one case', caseOf)
  .option('--target <name>', 'only this one, as ring-races (default: all)')
  .parse()
  .opts<Options>();

const settings = replay
  ? { FUZZ_SEED: String(replay.seed), FUZZ_CASE: String(replay.at) }
  : { FUZZ_SEED: String(seed ?? Date.now() % 2 ** 32), FUZZ_SECONDS: String(seconds) };
const only = target === undefined ? [] : ['--testNamePattern', `^${target}:`];
const child = spawn(process.execPath, [...VITEST, ...only], {
  cwd: ROOT,
  stdio: 'inherit',
  env: { ...process.env, ...settings },
});
child.on('exit', (code) => {
  process.exitCode = code ?? 1;
});
