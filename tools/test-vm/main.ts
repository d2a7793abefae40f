#!/usr/bin/env node
/** `npm run vm`: boots a real kernel and runs a command in it. */
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

/** The caller was interrupted; carries the signal that did it. */
class Interrupted extends Error {
  constructor(readonly signal: Signal) {
    super(signal);
  }
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  const progress = options.quiet ? silent : progressOn(process.stderr);
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => interrupted.abort(new Interrupted(signal)));
  }
  // Who read our output has gone (`vm … | head`): nothing more to do.
  process.stdout.on('error', () => interrupted.abort(new Interrupted('SIGPIPE')));

  if (options.list) return list();
  if (options.fetch) {
    for (const name of options.kernels)
      await findKernel(name, { progress, signal: interrupted.signal });
    return 0;
  }
  return run(options, progress, interrupted.signal);
}

async function list(): Promise<number> {
  for (const line of KERNEL_LINES) {
    const kernel = await cachedKernel(line);
    const state = kernel ? `${kernel.release} (${kernel.version})` : 'not downloaded';
    process.stdout.write(`${line.line.padEnd(6)}${state.padEnd(44)}${line.suite}: ${line.why}\n`);
  }
  return 0;
}

async function run(options: Options, progress: Progress, signal: AbortSignal): Promise<number> {
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
      machine: { accel: options.accel, memory: options.memory, cpus: 2 },
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
      onRunning: () => step.done(`${kernel.release} is up`),
    });
  } catch (error) {
    step.drop();
    throw error;
  }
}

function explain(error: unknown): number {
  if (error instanceof Interrupted) return signalStatus(error.signal);
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : STATUS_VM_FAILED;
  if (!(error instanceof VmError)) throw error;
  if (error.detail) process.stderr.write(`${error.detail}\n`);
  process.stderr.write(`vm: ${error.message}\n`);
  return error.status;
}

process.exitCode = await main().catch(explain);
