/** Runs one of the host's tools (apt, dpkg, depmod, cpio, xz) to its end. */
import { spawn } from 'node:child_process';
import { VmError } from './errors.js';

export interface RunOptions {
  cwd?: string;
  /** Added to our own. */
  env?: Record<string, string>;
  /** Bytes for the tool's standard input. */
  input?: Uint8Array | string;
  /** Kills the tool. */
  signal?: AbortSignal | undefined;
}

/** The tool's standard output, as bytes; throws `VmError` with the tool's own words if it fails. */
export async function run(
  command: string,
  args: string[],
  options: RunOptions = {},
): Promise<Buffer> {
  options.signal?.throwIfAborted();
  const { PATH = '' } = process.env;
  const child = spawn(command, args, {
    cwd: options.cwd,
    // Users other than root seldom have the sbin folders, where depmod is, on their path.
    env: { ...process.env, LC_ALL: 'C', PATH: `${PATH}:/usr/sbin:/sbin`, ...options.env },
    signal: options.signal,
  });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
  // A tool that stops reading early says so with its exit status; EPIPE would only hide that.
  child.stdin.on('error', () => {});
  child.stdin.end(options.input);
  let failure: NodeJS.ErrnoException | undefined;
  child.on('error', (error) => {
    failure = error;
  });
  // Even a killed tool is waited for: until its children are gone they write to our folders.
  const status = await new Promise<number | string>((resolve) =>
    child.on('close', (code, signal) => resolve(signal ?? code ?? 'unknown')),
  );
  if (failure?.code === 'ENOENT') throw new VmError(`${command} is not installed`);
  if (failure !== undefined) throw failure;
  if (status !== 0) {
    const said = Buffer.concat(err.length > 0 ? err : out).toString();
    throw new VmError(`${command} ${args[0] ?? ''} failed with ${status}`, said);
  }
  return Buffer.concat(out);
}
