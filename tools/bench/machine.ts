/** Where the cases run: on this host if it has what they need, else in the test VM. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { VhostNet } from '../../lib/index.js';
import type { CommonOptions, Options } from './options.js';
import { ROOT } from './programs.js';
import type { Progress } from './progress.js';
import type { Report } from './report.js';

const RUN = fileURLToPath(new URL('./run.js', import.meta.url));
const VM = fileURLToPath(new URL('../test-vm/main.js', import.meta.url));
/** The guest may write here and nowhere else. */
const REPORTS = join(ROOT, 'build/bench/reports');
const REPORT = join(REPORTS, 'report.json');
/** Runs what follows in a network namespace of its own, which /sys shows. */
const ISOLATED = [
  ...['unshare', '--net', '--mount', 'sh', '-c'],
  ...['mount -t sysfs sysfs /sys && exec "$0" "$@"'],
];
/** The longest that a virtual machine may run, in seconds. */
const LIMIT = 1200;

/** Runs the cases, and shows which. Throws where the run fails. */
export async function runCases(options: Options, progress: Progress): Promise<Report> {
  const job = jobOf('vhost', options);
  const why = options.kernel === undefined ? obstacle() : 'a kernel was named';
  const kernel = options.kernel === undefined ? [] : ['--kernel', options.kernel];
  const vm = [VM, '--quiet', ...kernel, '--timeout', String(LIMIT), '--share', REPORTS, '--'];
  if (why !== undefined) progress.show(`in a virtual machine (${why})`);
  const command = why === undefined ? [...ISOLATED, ...job] : [process.execPath, ...vm, ...job];
  return follow(command, progress);
}

/** Runs the cases that need no vhost-net, on this host. Throws where that cannot be. */
export async function runUserCases(options: CommonOptions, progress: Progress): Promise<Report> {
  const why = noNamespace();
  if (why !== undefined) throw new Error(why);
  return follow([...ISOLATED, ...jobOf('user', options)], progress);
}

function jobOf(which: 'vhost' | 'user', { quick, cases }: CommonOptions): string[] {
  const effort = quick ? 'quick' : 'full';
  return [process.execPath, RUN, which, REPORT, effort, cases?.source ?? ''];
}

/** Runs a command that writes a report, and returns that. */
async function follow(command: readonly string[], progress: Progress): Promise<Report> {
  mkdirSync(REPORTS, { recursive: true });
  rmSync(REPORT, { force: true });
  const status = await run(command, progress);
  // A case that failed was named already; the report has the others.
  process.exitCode = status;
  if (!existsSync(REPORT)) throw new Error(`the run ended with ${status}`);
  return JSON.parse(readFileSync(REPORT, 'utf8')) as Report;
}

/** Why this host cannot run the cases, or undefined. */
function obstacle(): string | undefined {
  try {
    VhostNet.open().close();
  } catch (error) {
    return (error as Error).message;
  }
  return noNamespace();
}

function noNamespace(): string | undefined {
  const [program = '', ...args] = [...ISOLATED, 'true'];
  const unshare = spawnSync(program, args, { encoding: 'utf8' });
  return unshare.status === 0 ? undefined : `no network namespace: ${unshare.stderr.trim()}`;
}

function run(command: readonly string[], progress: Progress): Promise<number> {
  const [program = '', ...args] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
    createInterface({ input: child.stdout }).on('line', (line) => progress.show(line));
    child.on('error', reject);
    child.on('close', (status) => resolve(status ?? 1));
  });
}
