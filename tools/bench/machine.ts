/** Where the cases run: on this host if it has vhost-net, else in the test VM. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { VhostNet } from '../../lib/index.js';
import type { Options } from './options.js';
import { ROOT } from './programs.js';
import type { Progress } from './progress.js';
import type { Report } from './report.js';

const RUN = fileURLToPath(new URL('./run.js', import.meta.url));
const VM = fileURLToPath(new URL('../test-vm/main.js', import.meta.url));
/** The guest may write here and nowhere else. */
const REPORTS = join(ROOT, 'build/bench/reports');
/** Runs what follows in a network namespace of its own, which /sys shows. */
const ISOLATED = [
  ...['unshare', '--net', '--mount', 'sh', '-c'],
  ...['mount -t sysfs sysfs /sys && exec "$0" "$@"'],
];
/** The longest that a virtual machine may run, in seconds. */
const LIMIT = 1200;

/** Runs the cases, and shows which. Throws where the run fails. */
export async function runCases(options: Options, progress: Progress): Promise<Report> {
  const file = join(REPORTS, 'report.json');
  mkdirSync(REPORTS, { recursive: true });
  rmSync(file, { force: true });
  const effort = options.quick ? 'quick' : 'full';
  const job = [process.execPath, RUN, file, effort, options.cases?.source ?? ''];
  const why = options.kernel === undefined ? obstacle() : 'a kernel was named';
  const kernel = options.kernel === undefined ? [] : ['--kernel', options.kernel];
  const vm = [VM, '--quiet', ...kernel, '--timeout', String(LIMIT), '--share', REPORTS, '--'];
  if (why !== undefined) progress.show(`in a virtual machine (${why})`);
  const command = why === undefined ? [...ISOLATED, ...job] : [process.execPath, ...vm, ...job];
  const status = await follow(command, progress);
  // A case that failed was named already; the report has the others.
  process.exitCode = status;
  if (!existsSync(file)) throw new Error(`the run ended with ${status}`);
  return JSON.parse(readFileSync(file, 'utf8')) as Report;
}

/** Why this host cannot run the cases, or undefined. */
function obstacle(): string | undefined {
  try {
    VhostNet.open().close();
  } catch (error) {
    return (error as Error).message;
  }
  const [program = '', ...args] = [...ISOLATED, 'true'];
  const unshare = spawnSync(program, args, { encoding: 'utf8' });
  return unshare.status === 0 ? undefined : `no network namespace: ${unshare.stderr.trim()}`;
}

function follow(command: readonly string[], progress: Progress): Promise<number> {
  const [program = '', ...args] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
    createInterface({ input: child.stdout }).on('line', (line) => progress.show(line));
    child.on('error', reject);
    child.on('close', (status) => resolve(status ?? 1));
  });
}
