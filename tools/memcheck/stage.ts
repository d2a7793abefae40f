/** A copy of the tree whose addon was built for a checker, so that the tree's own stays as it is. */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildAddon, ROOT } from '../addon/build.js';
import { hostArch } from '../addon/node-lines.js';

/** What a copy does without, or has of its own. */
const NOT_COPIED = new Set(['.git', 'build', 'native', 'node_modules', 'prebuilds']);

export interface Stage {
  /** The copy's folder. */
  folder: string;
  /** Where checkers leave what they found, one file for each process. */
  reports: string;
  /** What of a report is about the addon; undefined where nothing is. */
  ofOurs: (report: string) => string | undefined;
}

/** The copy named `name`, its addon built with `flags`, and beside it one full of bugs. */
export async function stage(
  name: string,
  flags: readonly string[],
  ofOurs: Stage['ofOurs'],
): Promise<Stage> {
  const folder = await buildAddon({
    name,
    arch: hostArch(),
    flags,
    beside: { name: 'bugs', source: 'tools/memcheck/bugs.cc' },
  });
  for (const entry of readdirSync(ROOT).filter((each) => !NOT_COPIED.has(each))) {
    rmSync(join(folder, entry), { recursive: true, force: true });
    cpSync(join(ROOT, entry), join(folder, entry), { recursive: true });
  }
  const reports = join(folder, 'build/reports');
  mkdirSync(reports, { recursive: true });
  return { folder, reports, ofOurs };
}

/** What a checker has found in the addon since the last time this was asked, in its own words. */
function takeReports({ reports, ofOurs }: Stage): string[] {
  const files = readdirSync(reports).map((name) => join(reports, name));
  const found = files.map((file) => ofOurs(readFileSync(file, 'utf8')));
  for (const file of files) rmSync(file);
  return found.filter((report) => report !== undefined);
}

/** A library that comes with the compiler, for `LD_PRELOAD`. */
export function compilerLibrary(name: string): string {
  return execFileSync('gcc', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim();
}

/**
 * Commits each of the bugs under the checker, `node` being how it runs Node, and says whether all of them
 * were told of, in the words that `expected` has for each.
 */
export function provesItself(
  copy: Stage,
  expected: Readonly<Record<string, RegExp>>,
  [program = '', ...args]: readonly string[],
  env: Record<string, string>,
): boolean {
  takeReports(copy);
  const missed = Object.keys(expected).filter((bug) => {
    const script = `require('./build/Release/bugs.node').${bug}()`;
    const { stderr } = spawnSync(program, [...args, '-e', script], {
      cwd: copy.folder,
      env: { ...process.env, ...env },
      encoding: 'utf8',
    });
    return ![stderr, ...takeReports(copy)].some((told) => expected[bug]?.test(told));
  });
  for (const bug of missed) process.stderr.write(`not detected: ${bug} of bugs.cc\n`);
  return missed.length === 0;
}

/** Runs a command in the copy. Returns whether it ended well, and the checker found nothing; else says so. */
export function runsClean(
  copy: Stage,
  [program = '', ...args]: readonly string[],
  env: Record<string, string>,
): boolean {
  const { status, signal, error } = spawnSync(program, args, {
    cwd: copy.folder,
    env: { ...process.env, ...env },
    stdio: 'inherit',
  });
  if (error) throw error;
  const ended = status ?? signal;
  if (ended !== 0) process.stderr.write(`ended with ${ended}: ${program} ${args.join(' ')}\n`);
  const found = takeReports(copy);
  for (const report of found) process.stderr.write(`${report}\n`);
  return ended === 0 && found.length === 0;
}
