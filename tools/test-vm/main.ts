#!/usr/bin/env node
/** `npm run vm`: boots a real kernel and runs a command in it. */
import { stat } from 'node:fs/promises';
import { CommanderError } from 'commander';
import { bootImage } from './boot-image.js';
import { VmError } from './errors.js';
import { passedEnv } from './job.js';
import { cachedKernel, findKernel } from './kernel-cache.js';
import { KERNEL_LINES } from './kernels.js';
import { type Options, parseOptions } from './options.js';
import { type Progress, progressOn, silent } from './progress.js';
import { findProgram, searchPath } from './search-path.js';
import { type Signal, STATUS_NOT_FOUND, STATUS_VM_FAILED, signalStatus } from './status.js';
import { runInVm } from './vm.js';

/** Aborted when a signal asks us to end, with that signal as its reason. */
const interrupted = new AbortController();

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  const progress = options.quiet ? silent : progressOn(process.stderr);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => interrupted.abort(signal));
  }
  // Who read our output has gone (`vm … | head`): nothing more to do.
  process.stdout.on('error', () => interrupted.abort('SIGPIPE'));

  if (options.list) return list();
  if (!options.fetch) return run(options, progress);
  for (const name of options.kernels) {
    await findKernel(name, { progress, signal: interrupted.signal });
  }
  return 0;
}

async function list(): Promise<number> {
  for (const line of KERNEL_LINES) {
    const kernel = await cachedKernel(line);
    const state = kernel ? `${kernel.release} (${kernel.version})` : 'not downloaded';
    process.stdout.write(`${line.line.padEnd(6)}${state.padEnd(44)}${line.suite}: ${line.why}\n`);
  }
  return 0;
}

async function run(options: Options, progress: Progress): Promise<number> {
  const { signal } = interrupted;
  if (process.arch !== 'x64') {
    throw new VmError('the guest is an x86-64 one, and this machine’s programs are not');
  }
  for (const share of options.shares) {
    if (!(await isFolder(share))) throw new VmError(`--share ${share}: no such folder`);
  }
  const [name = ''] = options.kernels;
  const [program = '', ...args] = options.command;
  const env = { ...passedEnv(process.env), ...options.env };
  const path = await findProgram(program, searchPath(env), process.cwd());
  if (path === undefined) throw new VmError(`${program}: not found`, undefined, STATUS_NOT_FOUND);
  const kernel = await findKernel(name, { progress, modulesDir: options.modulesDir, signal });
  const boot = await bootImage(kernel, options.modules);
  const step = progress.step(`booting ${kernel.release}`);
  try {
    return await runInVm({
      kernel,
      boot,
      machine: {
        ...{ accel: options.accel, memory: options.memory, cpus: options.cpus },
        console: options.console === undefined ? 'errors' : 'all',
      },
      job: {
        command: [path, ...args],
        cwd: process.cwd(),
        env,
        shares: options.shares,
      },
      timeout: options.timeout,
      stdout: process.stdout,
      stderr: process.stderr,
      consoleFile: options.console,
      signal,
      onRetry: (why) => progress.note(`${kernel.release}: ${why}; trying again`),
      onRunning: () => step.done(`${kernel.release} is up`),
    });
  } catch (error) {
    step.drop();
    throw error;
  }
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

function explain(error: unknown): number {
  if (interrupted.signal.aborted) return signalStatus(interrupted.signal.reason as Signal);
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : STATUS_VM_FAILED;
  if (!(error instanceof Error)) throw error;
  if (error instanceof VmError && error.detail) process.stderr.write(`${error.detail}\n`);
  // Whatever else went wrong has an errno, and a message that names the file.
  if (!(error instanceof VmError || 'code' in error)) throw error;
  process.stderr.write(`vm: ${error.message}\n`);
  return error instanceof VmError ? error.status : STATUS_VM_FAILED;
}

process.exitCode = await main().catch(explain);
