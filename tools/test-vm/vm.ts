/** One run of a command in a virtual machine, from QEMU's start to its end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Duplex, Readable, Writable } from 'node:stream';
import type { BootImage } from './boot-image.js';
import { ConsoleTail } from './console-tail.js';
import { VmError } from './errors.js';
import { Heartbeat, SILENCE_LIMIT, stoodStill } from './heartbeat.js';
import { type Job, writeJob } from './job.js';
import type { Kernel } from './kernel-cache.js';
import { type Machine, PORT_FD, QEMU, qemuArguments } from './qemu.js';
import { STATUS_TIMEOUT } from './status.js';

export interface VmOptions {
  kernel: Kernel;
  boot: BootImage;
  machine: Machine;
  job: Job;
  /** Seconds from QEMU's start to the command's end. */
  timeout: number;
  stdout: Writable;
  stderr: Writable;
  /** Receives everything the guest's kernel prints. */
  consoleFile?: string | undefined;
  /** Ends the machine. */
  signal?: AbortSignal | undefined;
  /** Called when the command starts. */
  onRunning?: () => void;
  /** Called when a boot failed, for this reason, and the next is begun. */
  onRetry?: (why: string) => void;
}

/**
 * Times a boot that crashes or stands still is begun. QEMU's emulation of two processors sometimes lets
 * one of them run code that the other is patching, which the kernel does most while it boots ("Oops:
 * int3"). Nothing of the command has run then, so that a second try is safe.
 */
const BOOT_ATTEMPTS = 3;

class BootFailure extends VmError {}

/** The command's exit status. Throws `VmError` if the machine fails or the time is over. */
export async function runInVm(options: VmOptions): Promise<number> {
  const jobDir = await mkdtemp(join(jobRoot(), 'vhost-net-vm-'));
  try {
    await writeJob(jobDir, options.job, options.kernel);
    for (let attempt = 1; ; attempt++) {
      try {
        return await runQemu(options, jobDir);
      } catch (error) {
        if (!(error instanceof BootFailure) || attempt === BOOT_ATTEMPTS) throw error;
        options.onRetry?.(error.message);
      }
    }
  } finally {
    await rm(jobDir, { recursive: true, force: true });
  }
}

/** The job's path stands on the kernel's command line, where there is no quoting. */
function jobRoot(): string {
  return /^[\w./-]+$/.test(tmpdir()) ? tmpdir() : '/tmp';
}

async function runQemu(options: VmOptions, jobDir: string): Promise<number> {
  options.signal?.throwIfAborted();
  const file =
    options.consoleFile === undefined
      ? undefined
      : (await open(options.consoleFile, 'w')).createWriteStream();
  const args = qemuArguments(options.machine, options.boot, jobDir, options.job.shares);
  // A process group of its own: the terminal's Ctrl-C is for us, who then clean up.
  const qemu = spawn(QEMU, args, {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
  });
  const exited = new Promise<void>((resolve) => qemu.once('close', () => resolve()));
  const tail = new ConsoleTail();
  for (const stream of [qemu.stdout, qemu.stderr] as Readable[]) {
    stream.on('data', (chunk: Buffer) => {
      tail.add(chunk);
      file?.write(chunk);
    });
  }
  try {
    return await outcome(qemu, options, tail);
  } finally {
    if (qemu.pid !== undefined && qemu.exitCode === null && qemu.signalCode === null) {
      process.kill(-qemu.pid, 'SIGKILL');
    }
    for (const name of PORTS) port(qemu, name).destroy();
    await exited;
    file?.end();
  }
}

/** Follows the guest through its ports until the command has ended and all it wrote is here. */
function outcome(qemu: ChildProcess, options: VmOptions, tail: ConsoleTail): Promise<number> {
  return new Promise((resolve, reject) => {
    let running = false;
    let ended: { status: number; stdout: number; stderr: number } | undefined;
    const fail = (message: string, status?: number, Failure = VmError) => {
      stopClocks();
      reject(new Failure(message, tail.text(), status));
    };

    const finish = () => {
      if (ended === undefined || stdout.received < ended.stdout || stderr.received < ended.stderr)
        return;
      stopClocks();
      resolve(ended.status);
    };
    const stdout = forward(port(qemu, 'stdout'), options.stdout, finish);
    const stderr = forward(port(qemu, 'stderr'), options.stderr, finish);

    const control = createInterface({ input: port(qemu, 'control') });
    control.on('line', (line) => {
      const [word, ...numbers] = line.split(' ');
      if (word === 'running') {
        running = true;
        heartbeat.stop();
        heartbeat = new Heartbeat(Number(numbers[0]), (...still) => fail(stoodStill(...still)));
        options.onRunning?.();
      } else if (word === 'beat' && running) {
        heartbeat.beat(Number(numbers[0]));
      } else if (word === 'exit') {
        const [status = 0, out = 0, err = 0] = numbers.map(Number);
        ended = { status, stdout: out, stderr: err };
        finish();
      }
    });

    qemu.once('error', (error: NodeJS.ErrnoException) =>
      fail(error.code === 'ENOENT' ? `${QEMU} is not installed` : `${QEMU}: ${error.message}`),
    );
    qemu.once('close', (code) => {
      if (code) fail(`QEMU failed with ${code}`);
      else if (running) fail('the guest went down before the command ended');
      else fail('the guest did not boot', undefined, BootFailure);
    });

    // Of a boot there is one sign of life: that it has ended.
    let heartbeat = new Heartbeat(1, () =>
      fail(`the guest did not boot within ${SILENCE_LIMIT} s`, undefined, BootFailure),
    );
    const clock = setTimeout(
      () => fail(`the command did not end within ${options.timeout} s`, STATUS_TIMEOUT),
      options.timeout * 1000,
    );
    const abort = () => {
      stopClocks();
      reject(options.signal?.reason);
    };
    options.signal?.addEventListener('abort', abort, { once: true });
    const stopClocks = () => {
      heartbeat.stop();
      clearTimeout(clock);
      options.signal?.removeEventListener('abort', abort);
    };
  });
}

type PortName = keyof typeof PORT_FD;
const PORTS = Object.keys(PORT_FD) as PortName[];

/** Our end of a port: Node makes these pipes from socket pairs, so they carry both directions. */
function port(qemu: ChildProcess, name: PortName): Duplex {
  return (qemu.stdio as readonly unknown[])[PORT_FD[name]] as Duplex;
}

/** Copies a port's bytes at the pace of their reader, and counts them. */
function forward(from: Duplex, to: Writable, onData: () => void): { readonly received: number } {
  const count = { received: 0 };
  from.on('data', (chunk: Buffer) => {
    count.received += chunk.length;
    if (!to.write(chunk)) {
      from.pause();
      to.once('drain', () => from.resume());
    }
    onData();
  });
  // QEMU's end resets when it is killed; how the run ended is known from elsewhere.
  from.on('error', () => {});
  return count;
}
