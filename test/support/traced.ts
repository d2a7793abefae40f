/** `vhost-net trace` with a bare socket on either side of it, on which a test does what it likes. */
import { readdirSync } from 'node:fs';
import {
  type Descriptor,
  EventFd,
  GuestMemory,
  type UnixListener,
  UnixSocket,
} from '../../lib/index.js';
import { cleanup } from './cleanup.js';
import { cli, type Line, type Run } from './cli.js';
import { until } from './host.js';
import { kept, listen, receive, sendable, socketPath } from './sockets.js';

export interface Trace {
  run: Run;
  /** Where front ends connect. */
  path: string;
}

export interface Traced extends Trace {
  /** Where the trace connects for each. */
  back: UnixListener;
}

/** A trace in front of who listens on `to`. */
export async function startTrace(to: string, args: readonly string[] = ['--json']): Promise<Trace> {
  const path = socketPath();
  const run = cli(['trace', path, '--to', to, ...args]);
  await until(() => run.stdout.includes('listening') || run.child.exitCode !== null, 'a trace');
  return { run, path };
}

/** A trace in front of a listener of the test's own. */
export async function trace(args?: readonly string[]): Promise<Traced> {
  const back = listen('stream');
  return { ...(await startTrace(back.path, args)), back };
}

/** One that connects, and the socket on the other side that comes of it. */
export async function connectThrough({ path, back }: Traced): Promise<[UnixSocket, UnixSocket]> {
  const near = kept(UnixSocket.connect(path, 'stream'));
  let far: UnixSocket | undefined;
  await until(() => {
    far ??= back.accept();
    return far !== undefined;
  }, 'a connection on the other side');
  return [near, kept(far as UnixSocket)];
}

/** What comes, exactly `size` bytes of it; descriptors are closed when the test is over. */
export async function hear(socket: UnixSocket, size: number) {
  const bytes = new Uint8Array(size);
  const descriptors: number[] = [];
  /** At which byte each came. */
  const places: number[] = [];
  for (let at = 0; at < size; ) {
    let got: ReturnType<typeof receive>;
    await until(() => {
      got = receive(socket, size - at, 253);
      return got !== undefined;
    }, `${size} bytes, of which ${at} came`);
    if (!got || got.size === 0) throw new Error(`the end after ${at} of ${size} bytes`);
    bytes.set(got.raw ?? [], at);
    descriptors.push(...got.descriptors.map(({ fd }) => fd));
    places.push(...got.descriptors.map(() => at));
    at += got.size;
  }
  return { bytes, descriptors, places };
}

/** Waits for the end of what comes. Returns what came before it. */
export async function hearEnd(socket: UnixSocket): Promise<Uint8Array> {
  const pieces: Buffer[] = [];
  await until(() => {
    for (;;) {
      const got = receiveOrReset(socket);
      if (!got) return false;
      if (got.size === 0) return true;
      pieces.push(Buffer.from(got.raw ?? []));
    }
  }, 'the end');
  return new Uint8Array(Buffer.concat(pieces));
}

function receiveOrReset(socket: UnixSocket) {
  try {
    return receive(socket, 65_536, 253);
  } catch (error) {
    if ((error as { code?: string }).code !== 'ECONNRESET') throw error;
    return receive(socket, 65_536, 253);
  }
}

/** The messages that it told of so far; once there are `count` of them. */
export async function messages({ run }: Trace, count: number): Promise<Line[]> {
  const told = () => run.lines.filter(({ event }) => event === 'message');
  await until(() => told().length >= count, `${count} messages of: ${run.stdout}${run.stderr}`);
  return told();
}

/** How many descriptors the trace has open. */
export function descriptorsOf({ run }: Trace): number {
  return readdirSync(`/proc/${run.child.pid}/fd`).length;
}

/** Memory that others can map, of so many bytes. */
export function memfd(size: number): Descriptor {
  const memory = GuestMemory.create([{ guestAddress: 0n, size: BigInt(size) }]);
  cleanup(() => memory.close());
  const fd = memory.regions[0]?.fd ?? -1;
  return sendable(fd);
}

/** The numbers in eventfds: which they are. */
export function counts(fds: readonly number[]): number[] {
  return fds.map((fd) => kept(EventFd.fromFd(fd)).read());
}
