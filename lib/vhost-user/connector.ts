/** Connector: where a front end gets its connections from, one after another. */
import { UnixListener } from '../host/unix-listener.js';
import { UnixSocket } from '../host/unix-socket.js';

export interface Connector {
  /** The next connection: at once, or when somebody connects. Rejects as {@link UnixSocket.connect}, or when aborted. */
  next(signal?: AbortSignal): Promise<UnixSocket>;
  /** Nobody is waited for any more. */
  close(): void;
}

/** To who listens on `path`, or from who connects to it. Throws as {@link UnixListener.listen}. */
export function openConnector(path: string, mode: 'client' | 'server'): Connector {
  if (mode === 'server') return new Server(UnixListener.listen(path, 'stream'));
  return {
    next: async () => UnixSocket.connect(path, 'stream'),
    close() {},
  };
}

class Server implements Connector {
  readonly #listener: UnixListener;

  constructor(listener: UnixListener) {
    this.#listener = listener;
  }

  async next(signal?: AbortSignal): Promise<UnixSocket> {
    signal?.throwIfAborted();
    return this.#listener.accept() ?? this.#waitFor(signal);
  }

  close(): void {
    this.#listener.close();
  }

  /** Without a signal it does not keep the process alive. */
  #waitFor(signal: AbortSignal | undefined): Promise<UnixSocket> {
    const listener = this.#listener;
    return new Promise((resolve, reject) => {
      const abort = () => {
        listener.offConnection();
        reject(signal?.reason);
      };
      listener.onConnection(() => {
        try {
          const socket = listener.accept();
          // Who gave up before they were accepted.
          if (!socket) return;
          signal?.removeEventListener('abort', abort);
          listener.offConnection();
          resolve(socket);
        } catch (error) {
          listener.offConnection();
          reject(error);
        }
      });
      if (signal) signal.addEventListener('abort', abort, { once: true });
      else listener.unref();
    });
  }
}
