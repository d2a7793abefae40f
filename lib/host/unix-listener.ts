/** UnixListener: a unix socket on a path, to which other processes of this host connect. */
import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { checkInteger, StateError } from '../errors.js';
import { type Fd, native, type Poller } from '../native.js';
import { checked, checkedValue, systemError } from '../syscall.js';
import { Descriptor } from './descriptor.js';
import { checkSocketPath, socketType, UnixSocket, type UnixSocketType } from './unix-socket.js';

const EAGAIN = -11;
const EADDRINUSE = -98;
/** Who gave up before they were accepted: there may be others. */
const ECONNABORTED = -103;

/** Connections that are accepted in one turn of the event loop. */
const BATCH = 16;
/** How long nobody is accepted when a descriptor was missing, in ms. */
const REST = 100;

export interface UnixListenerOptions {
  /** Mode of the socket's file: who may write to it may connect. Default: 0o600. */
  mode?: number;
  /** How many may wait to be accepted, at most the system's `net.core.somaxconn`. Default: 128. */
  backlog?: number;
}

/** A listening AF_UNIX socket, never blocking and close-on-exec; it owns the file at its path. */
export class UnixListener extends Descriptor {
  readonly path: string;
  readonly #file: string;
  #poller: Poller | undefined;
  #rest: NodeJS.Timeout | undefined;

  private constructor(fd: Fd, path: string) {
    super(fd, `unix listener ${path}`);
    this.path = path;
    this.#file = identity(path);
  }

  /**
   * Listens on `path`. A socket's file on which nobody listens any more, as a crash leaves it, is
   * replaced. Throws `EADDRINUSE` where somebody listens or the file is no socket, `ENOENT`,
   * `EACCES`, `ENAMETOOLONG`.
   */
  static listen(
    path: string,
    type: UnixSocketType,
    options: UnixListenerOptions = {},
  ): UnixListener {
    checkSocketPath(path);
    const mode = checkInteger('mode', options.mode ?? 0o600, 0, 0o777);
    const backlog = checkInteger('backlog', options.backlog ?? 128, 1, 65_535);
    const fd = checkedValue<Fd>(native.unixOpen(socketType(type)), 'socket(AF_UNIX)');
    try {
      let result = native.unixBind(fd, path);
      if (result === EADDRINUSE && isStale(path, type)) {
        unlinkSync(path);
        result = native.unixBind(fd, path);
      }
      checked(result, 'bind(AF_UNIX)', path);
    } catch (error) {
      fd.close();
      throw error;
    }
    const listener = new UnixListener(fd, path);
    try {
      // Nobody can connect before listen(): the mode is the file's from the first moment that counts.
      chmodSync(path, mode);
      checked(native.unixListen(fd, backlog), 'listen(AF_UNIX)', path, [backlog]);
      return listener;
    } catch (error) {
      listener.close();
      throw error;
    }
  }

  /** The next connection, or undefined when nobody waits. Throws `EMFILE`, `ENFILE`. */
  accept(): UnixSocket | undefined {
    for (;;) {
      const result = native.unixAccept(this.handle);
      if (typeof result !== 'number') return new UnixSocket(result);
      if (result === EAGAIN) return undefined;
      if (result !== ECONNABORTED) throw systemError(result, 'accept4(AF_UNIX)', this.path);
    }
  }

  /**
   * Calls `listener` while somebody waits to be accepted, until {@link UnixListener.offConnection} or
   * `close()`. Keeps the process alive. Throws `ERR_BUSY` where there is a listener already.
   */
  onConnection(listener: () => void): void {
    if (this.#poller || this.#rest) {
      throw new StateError('ERR_BUSY', 'the socket has a listener already');
    }
    const poller = new native.Poller(this.handle, false, () => listener());
    checked(poller.error, 'uv_poll_start');
    this.#poller = poller;
  }

  /**
   * Accepts whoever comes, and calls `accepted` with each, until {@link UnixListener.offConnection} or `close()`.
   * Keeps the process alive. Where one cannot be accepted (`EMFILE`, `ENFILE`) `failed` hears why, and whoever waits
   * does so for another 100 ms, for it would fail at once again; so they do where `accepted` returns false, which
   * found no descriptor left for one. Throws `ERR_BUSY` where there is a listener already, `EMFILE`.
   */
  onSocket(accepted: (socket: UnixSocket) => boolean, failed: (error: Error) => void): void {
    this.onConnection(() => this.#acceptSome(accepted, failed));
  }

  /** Ends the subscription; who connects meanwhile waits. */
  offConnection(): void {
    clearTimeout(this.#rest);
    this.#rest = undefined;
    this.#poller?.close();
    this.#poller = undefined;
  }

  /** Lets the process end although there is a listener. */
  unref(): this {
    this.#poller?.unref();
    return this;
  }

  /** Stops listening and removes the file, unless another took its place. */
  override close(): void {
    if (this.closed) return;
    this.offConnection();
    if (identity(this.path) === this.#file) unlinkSync(this.path);
    super.close();
  }

  override async closeAsync(): Promise<void> {
    this.close();
  }

  #acceptSome(accepted: (socket: UnixSocket) => boolean, failed: (error: Error) => void): void {
    // Who is told of one may close the listener.
    for (let i = 0; i < BATCH && !this.closed; i++) {
      let socket: UnixSocket | undefined;
      try {
        socket = this.accept();
      } catch (error) {
        this.#pause(accepted, failed);
        failed(error as Error);
        return;
      }
      if (!socket) return;
      if (accepted(socket)) continue;
      this.#pause(accepted, failed);
      return;
    }
  }

  #pause(accepted: (socket: UnixSocket) => boolean, failed: (error: Error) => void): void {
    if (this.closed) return;
    this.offConnection();
    this.#rest = setTimeout(() => {
      this.#rest = undefined;
      try {
        this.onSocket(accepted, failed);
      } catch (error) {
        this.#pause(accepted, failed);
        failed(error as Error);
      }
    }, REST);
  }
}

/** Which file is at a path; empty for none. */
function identity(path: string): string {
  const file = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return file ? `${file.dev}:${file.ino}` : '';
}

/** Whether the file is a socket and nobody listens on it. Connecting is the only way to know. */
function isStale(path: string, type: UnixSocketType): boolean {
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSocket()) return false;
  try {
    UnixSocket.connect(path, type).close();
    return false;
  } catch (error) {
    return (error as { code?: string }).code === 'ECONNREFUSED';
  }
}
