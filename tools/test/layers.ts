/** Runs one layer of tests, its output shown as it comes. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type NodeLine, nodeBinary } from '../addon/node-lines.js';
import { progressOn } from '../test-vm/progress.js';
import { STATUS_VM_FAILED } from '../test-vm/status.js';
import { GUEST_PROGRAMS, guestFiles } from '../vmm/guest/guest-files.js';
import { MODULES_FILE } from './module-reporter.js';
import { countReport, type LayerResult, readReport } from './results.js';

/** The package's folder; this file runs from `dist/tools/test/`. */
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** Reports land here; the guest may write to it and to nothing else. */
const REPORTS = join(ROOT, 'build', 'reports');
const VM = fileURLToPath(new URL('../test-vm/main.js', import.meta.url));
/** Paths from the package's folder, so that they hold in a guest as well. */
const VITEST = 'node_modules/vitest/vitest.mjs';
/** Longest run of the kernel layer on one kernel, in seconds. */
const KERNEL_LIMIT = 2400;
/**
 * How often a machine that failed is started again. Of those whose guests have guests one in some ten minutes stands
 * still (seen on 7.3: no processor time at all, no interrupt taken).
 */
const REPEATS = 4;

/** What the lint layer checks, each one check. */
const LINTERS = [
  ['node_modules/@biomejs/biome/bin/biome', 'check', '.'],
  ['node_modules/typescript/bin/tsc', '--noEmit'],
  ['tools/setup/clang-format.mjs', '--check'],
  ['dist/tools/docs/main.js', '--check'],
] as const;

export async function lint(): Promise<LayerResult> {
  heading('lint');
  const started = performance.now();
  let failed = 0;
  for (const command of LINTERS) if ((await run([...command])) !== 0) failed++;
  return {
    layer: 'lint',
    node: '',
    kernel: '',
    passed: LINTERS.length - failed,
    failed,
    skipped: 0,
    seconds: since(started),
  };
}

/** A layer that runs on this machine: all but `lint`, `kernel` on the host's own vhost-net. */
export async function onHost(project: string): Promise<LayerResult> {
  return onNode(project, process.execPath);
}

/** A layer that runs on this machine, under the Nodes of these lines: two at once, as it takes one processor. */
export async function onNodeLines(
  project: string,
  lines: readonly NodeLine[],
): Promise<LayerResult[]> {
  const results: LayerResult[] = [];
  for (let i = 0; i < lines.length; i += 2) {
    const binaries: string[] = [];
    for (const line of lines.slice(i, i + 2)) binaries.push(await nodeBinary(line));
    const pair = binaries.map((binary) => onNode(project, binary, { beside: binaries.length > 1 }));
    results.push(...(await Promise.all(pair)));
  }
  return results;
}

/** `beside`: others run at the same time. */
async function onNode(
  project: string,
  binary: string,
  { beside = false } = {},
): Promise<LayerResult> {
  const node = execFileSync(binary, ['-p', 'process.versions.node'], { encoding: 'utf8' }).trim();
  const title = `${project}, Node ${node}`;
  if (!beside) heading(title);
  const report = reportFile(`${project}-${node}`);
  const started = performance.now();
  const exitCode = await run(vitest(project), { binary, report, ...(beside ? { title } : {}) });
  const kernel = project === 'kernel' ? release() : '';
  return {
    layer: project,
    node,
    kernel,
    ...countReport(report, exitCode),
    seconds: since(started),
  };
}

/** The layers that run in a machine with a kernel of its own. */
const MACHINES = {
  kernel: [],
  // One processor: QEMU's emulation of several loses the state of a guest's guests.
  vmm: ['--cpus', '1'],
} as const;

/** A layer under `kernel`: a line (`6.1`) or the path of an image. */
export async function inVm(layer: keyof typeof MACHINES, kernel: string): Promise<LayerResult> {
  if (layer === 'kernel') heading(`${layer} ${kernel}`);
  const report = reportFile(`${layer}-${kernel.replaceAll('/', '_')}`);
  const releaseFile = `${report}.release`;
  const started = performance.now();
  const script = `uname -r > '${releaseFile}' && exec "$@"`;
  const attempt = () => {
    // What has ended is not run again: a machine's run takes a quarter of an hour.
    const ended = readReport(report).flatMap(({ file }) => ['--exclude', file]);
    const machine = ['--kernel', kernel, ...MACHINES[layer], '--timeout', String(KERNEL_LIMIT)];
    return run(
      [
        ...[VM, ...machine, '--share', REPORTS, '--'],
        ...['sh', '-c', script, 'sh', process.execPath, ...vitest(layer), ...ended],
      ],
      { report, ...(layer === 'vmm' ? { title: `${layer} ${kernel}` } : {}) },
    );
  };
  let exitCode = await attempt();
  // The software emulation crashes a guest or lets it stand still now and then, whatever runs in it: that
  // is no result. A test that fails, or hangs, is never repeated.
  for (let again = 0; exitCode === STATUS_VM_FAILED && again < REPEATS; again++) {
    process.stdout.write(
      `\nthe machine of kernel ${kernel} failed, not a test: the rest on another\n`,
    );
    exitCode = await attempt();
  }
  return {
    layer,
    node: process.versions.node,
    kernel: read(releaseFile) ?? kernel,
    ...countReport(report, exitCode),
    seconds: since(started),
  };
}

/** The VMM's layer, on all of these kernels at once: each has one processor. */
export async function vmmInVms(kernels: readonly string[]): Promise<LayerResult[]> {
  // A machine of its own has no network to download the guest's kernel by.
  await guestFiles(GUEST_PROGRAMS, progressOn(process.stderr));
  return Promise.all(kernels.map((kernel) => inVm('vmm', kernel)));
}

/** No test at all is no error here: `countReport` sees to it. */
function vitest(project: string): string[] {
  // Otherwise vitest leaves one processor to itself, which is half of many machines.
  const workers = project === 'fuzz' ? ['--maxWorkers', '100%'] : [];
  return [VITEST, 'run', '--project', project, '--passWithNoTests', ...workers];
}

/** A place for a report, with no older one in it. */
function reportFile(name: string): string {
  mkdirSync(REPORTS, { recursive: true });
  const file = join(REPORTS, `${name}.json`);
  rmSync(file, { force: true });
  return file;
}

interface RunOptions {
  /** The Node to run it under. Default: this one. */
  binary?: string;
  /** Where vitest's results go. */
  report?: string;
  /** Heads the output, which comes all at once: others may run beside it. Default: as it comes. */
  title?: string;
}

/** Runs a script in the package's folder. Returns its exit code. */
function run(args: string[], options: RunOptions = {}): Promise<number> {
  const { binary = process.execPath, report, title } = options;
  const env = { ...process.env, ...(report === undefined ? {} : { [MODULES_FILE]: report }) };
  return new Promise((resolve, reject) => {
    const stdio = title === undefined ? 'inherit' : 'pipe';
    const child = spawn(binary, args, { cwd: ROOT, stdio, env });
    const chunks: Buffer[] = [];
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => chunks.push(chunk));
    }
    child.on('error', reject);
    child.on('close', (code) => {
      if (title !== undefined) heading(title);
      process.stdout.write(Buffer.concat(chunks));
      resolve(code ?? 1);
    });
  });
}

function heading(text: string): void {
  process.stdout.write(`\n── ${text} ──\n`);
}

function since(started: number): number {
  return (performance.now() - started) / 1000;
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return undefined;
  }
}
