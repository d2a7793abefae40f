/** Runs one layer of tests, its output shown as it comes. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type NodeLine, nodeBinary } from '../addon/node-lines.js';
import { STATUS_VM_FAILED } from '../test-vm/status.js';
import { MODULES_FILE } from './module-reporter.js';
import { countReport, type LayerResult, readReport } from './results.js';

/** The package's folder; this file runs from `dist/tools/test/`. */
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** Reports land here; the guest may write to it and to nothing else. */
const REPORTS = join(ROOT, 'build', 'reports');
const VM = fileURLToPath(new URL('../test-vm/main.js', import.meta.url));
/** Paths from the package's folder, so that they hold in a guest as well. */
const VITEST = 'node_modules/vitest/vitest.mjs';
/**
 * A machine of one layer. One processor: QEMU's emulation of several loses the state of a guest's guests, and two
 * machines of one each are sooner done than one of two after another. Its longest run is in seconds.
 */
const MACHINE = ['--cpus', '1', '--timeout', '4500'];
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
  const started = performance.now();
  const failures: string[] = [];
  for (const command of LINTERS) {
    if ((await run('lint', [...command])) !== 0) failures.push(command.join(' '));
  }
  return {
    layer: 'lint',
    node: '',
    kernel: '',
    passed: LINTERS.length - failures.length,
    failed: failures.length,
    failures,
    skipped: 0,
    seconds: since(started),
  };
}

/** A layer that runs on this machine, under the Node of this line, or this one. */
export async function onHost(project: string, line?: NodeLine): Promise<LayerResult> {
  const binary = line === undefined ? process.execPath : await nodeBinary(line);
  const node = execFileSync(binary, ['-p', 'process.versions.node'], { encoding: 'utf8' }).trim();
  const report = reportFile(`${project}-${node}`);
  const started = performance.now();
  const title = line === undefined ? project : `${project}, Node ${line}`;
  const exitCode = await run(title, vitest(project), { binary, report });
  const kernel = project === 'kernel' || project === 'vmm' ? release() : '';
  return {
    layer: project,
    node,
    kernel,
    ...countReport(report, exitCode),
    seconds: since(started),
  };
}

/**
 * What a layer leaves, on a line, to the others. Tests of whole programs, and of many processes, take longest, being
 * emulated, and are about this package more than about a kernel; the back ends that do without vhost-net need no more
 * than one, and the oldest offers them least.
 */
const LEFT_OUT: Readonly<Record<string, readonly string[]>> = {
  'kernel 6.1': ['bench', 'cli-top', 'endurance', 'guide'],
  'kernel 6.12': [
    ...['cli-attach*', 'cli-broker', 'cli-doctor', 'faults-process'],
    ...['in-process-*', 'port-process', 'vhost-user-*'],
  ],
  'kernel 7.3': [
    ...['bench', 'cli-broker', 'cli-top', 'endurance', 'guide'],
    ...['in-process-*', 'vhost-user-*'],
  ],
  'vmm 7.3': ['socket', 'tour'],
};

/** A layer in a machine of its own under `kernel`: a line (`6.1`) or the path of an image. */
export async function inVm(layer: 'kernel' | 'vmm', kernel: string): Promise<LayerResult> {
  const title = `${layer} ${kernel}`;
  const report = reportFile(`${layer}-${kernel.replaceAll('/', '_')}`);
  const releaseFile = `${report}.release`;
  const started = performance.now();
  const script = `uname -r > '${releaseFile}' && exec "$@"`;
  const attempt = () => {
    // What has ended is not run again: a machine's run takes a quarter of an hour.
    const ended = readReport(report).map(({ file }) => file);
    const elsewhere = (LEFT_OUT[title] ?? []).map((name) => `test/${layer}/${name}.test.ts`);
    return run(
      title,
      [
        ...[VM, '--kernel', kernel, ...MACHINE, '--share', REPORTS, '--'],
        ...['sh', '-c', script, 'sh', process.execPath, ...vitest(layer)],
        ...[...ended, ...elsewhere].flatMap((file) => ['--exclude', file]),
      ],
      { report },
    );
  };
  let exitCode = await attempt();
  // The software emulation crashes a guest or lets it stand still now and then, whatever runs in it: that
  // is no result. A test that fails, or hangs, is never repeated.
  for (let again = 0; exitCode === STATUS_VM_FAILED && again < REPEATS; again++) {
    print(title, 'the machine failed, not a test: the rest on another');
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

/** No test at all is no error here: `countReport` sees to it. */
function vitest(project: string): string[] {
  return [VITEST, 'run', '--project', project, '--passWithNoTests', '--maxWorkers', '1'];
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
}

/** Runs a script in the package's folder, its lines headed by `title`. Returns its exit code. */
function run(title: string, args: string[], options: RunOptions = {}): Promise<number> {
  const { binary = process.execPath, report } = options;
  const env = { ...process.env, ...(report === undefined ? {} : { [MODULES_FILE]: report }) };
  return new Promise((resolve, reject) => {
    const child = spawn(binary, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'], env });
    for (const input of [child.stdout, child.stderr]) {
      createInterface({ input }).on('line', (line) => print(title, line));
    }
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? 1));
  });
}

/** Several print at once: each line says whose it is. */
function print(title: string, line: string): void {
  process.stdout.write(line.trim() === '' ? '' : `${title} │ ${line}\n`);
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
