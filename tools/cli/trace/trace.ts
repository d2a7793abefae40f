/** `vhost-net trace SOCKET --to SOCKET`: sits between a front end and a back end, and tells what they say. */
import { once } from 'node:events';
import { chownSync, readFileSync, type Stats, statSync } from 'node:fs';
import { UnixListener, UnixSocket } from '../../../lib/index.js';
import { EXIT_DONE, UsageError } from '../output.js';
import { lookAtPeer } from '../peer-path.js';
import { jsonReporter } from './json-reporter.js';
import type { Process, TraceReporter } from './reporter.js';
import { Session } from './session.js';
import { textReporter } from './text-reporter.js';

export interface TraceOptions {
  /** Path of the socket to connect to. */
  to: string;
  json: boolean;
}

/** Relays until something stops it. Returns the exit code. */
export async function trace(
  socket: string,
  { to, json }: TraceOptions,
  stop: AbortSignal,
): Promise<number> {
  const other = lookAtPeer(to, '--to');
  const write = (text: string) => process.stdout.write(text);
  const reporter = json ? jsonReporter(write) : textReporter(write);
  using listener = listen(socket, other);
  if (isSameFile(socket, to)) {
    throw new UsageError(`it cannot connect to ${to}, on which it is to listen itself`);
  }
  using sessions = new Sessions(listener, to, reporter);
  reporter.listening({ socket, to });
  if (!other) reporter.waiting({ to });
  sessions.start();
  if (!stop.aborted) await once(stop, 'abort');
  sessions.close();
  reporter.stopped(String(stop.reason));
  return EXIT_DONE;
}

/** Whoever may connect to the other socket may connect to this one, which stands in its place. */
function listen(path: string, other: Stats | undefined): UnixListener {
  const mode = other && { mode: other.mode & 0o777 };
  const listener = UnixListener.listen(path, 'stream', mode);
  if (other && process.geteuid?.() === 0) chownSync(path, other.uid, other.gid);
  return listener;
}

/** Whatever the paths are. */
function isSameFile(one: string, other: string): boolean {
  const [a, b] = [one, other].map((path) =>
    statSync(path, { bigint: true, throwIfNoEntry: false }),
  );
  return a !== undefined && b !== undefined && a.dev === b.dev && a.ino === b.ino;
}

class Sessions {
  readonly #listener: UnixListener;
  readonly #to: string;
  readonly #reporter: TraceReporter;
  readonly #open = new Set<Session>();
  /** Connections so far. */
  #count = 0;

  constructor(listener: UnixListener, to: string, reporter: TraceReporter) {
    this.#listener = listener;
    this.#to = to;
    this.#reporter = reporter;
  }

  start(): void {
    // Who finds no descriptor left waits, and nobody need be told.
    this.#listener.onSocket(
      (near) => {
        this.#accept(near);
        return true;
      },
      () => {},
    );
  }

  close(): void {
    this.#listener.close();
    for (const session of this.#open) session.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #accept(near: UnixSocket): void {
    // Our own, where the other path came to lead here: each would bring the next.
    if (near.peer.pid === process.pid) near.close();
    else this.#begin(near, ++this.#count);
  }

  #begin(near: UnixSocket, connection: number): void {
    const from = processOf(near);
    let far: UnixSocket;
    try {
      far = this.#connect();
    } catch (error) {
      near.close();
      this.#reporter.refused(connection, from, error as Error);
      return;
    }
    this.#reporter.connected(connection, { from, to: processOf(far) });
    const session = new Session(near, far, {
      message: (message) => this.#reporter.message(connection, message),
      closed: (how) => {
        this.#open.delete(session);
        this.#reporter.closed(connection, how);
      },
    });
    this.#open.add(session);
    session.start();
  }

  #connect(): UnixSocket {
    const far = UnixSocket.connect(this.#to, 'stream');
    if (far.peer.pid !== process.pid) return far;
    far.close();
    throw new Error(`${this.#to} leads to its own socket`);
  }
}

function processOf({ peer }: UnixSocket): Process {
  try {
    return { ...peer, program: readFileSync(`/proc/${peer.pid}/comm`, 'utf8').trimEnd() };
  } catch {
    return peer;
  }
}
