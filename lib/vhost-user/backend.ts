/** VhostUserBackend: serves the virtio-net devices of vhost-user front-ends, many at once. */
import { EventEmitter } from 'node:events';
import { checkInteger } from '../errors.js';
import { UnixListener } from '../host/unix-listener.js';
import { checkSocketPath, UnixSocket } from '../host/unix-socket.js';
import { VhostUserDevice } from './backend-device.js';
import type { BackendLimits } from './backend-features.js';
import {
  limitsOf,
  type VhostUserBackendEvents,
  type VhostUserBackendOptions,
} from './backend-options.js';
import { serveRequests } from './backend-session.js';
import { BackendState } from './backend-state.js';
import { VhostUserConnection } from './connection.js';
import { tell, uncaught } from './tell.js';

/** Nobody is there to connect to, yet or any more. */
const NOBODY = ['ENOENT', 'ECONNREFUSED', 'EAGAIN'];

/**
 * A back end: it listens, or connects and goes on doing so. What it tells of it tells with the device that it is
 * about. DPDK's `rte_vhost_driver_register` and its callbacks are the model.
 */
export class VhostUserBackend extends EventEmitter<VhostUserBackendEvents> {
  readonly path: string;
  readonly #options: VhostUserBackendOptions;
  readonly #limits: BackendLimits;
  readonly #devices = new Set<VhostUserDevice>();
  #listener: UnixListener | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(options: VhostUserBackendOptions) {
    super();
    this.path = checkSocketPath(options.path);
    this.#options = options;
    this.#limits = limitsOf(options);
  }

  /** Listens for front-ends, in the rights of the socket's file. Throws as {@link UnixListener.listen}. */
  static listen(options: VhostUserBackendOptions & { mode?: number }): VhostUserBackend {
    const backend = new VhostUserBackend(options);
    const { mode } = options;
    backend.#listener = UnixListener.listen(
      backend.path,
      'stream',
      mode === undefined ? {} : { mode },
    );
    try {
      backend.#accept();
    } catch (error) {
      backend.close();
      throw error;
    }
    return backend;
  }

  /**
   * Connects to a front-end that listens, and again `retryEvery` ms (default: 1000) after it went away, or was not
   * there.
   */
  static connect(options: VhostUserBackendOptions & { retryEvery?: number }): VhostUserBackend {
    const backend = new VhostUserBackend(options);
    const retryEvery = checkInteger('retryEvery', options.retryEvery ?? 1000, 1, 2 ** 31 - 1);
    // Listeners are there first.
    backend.#timer = setTimeout(() => backend.#connect(retryEvery), 0);
    return backend;
  }

  /** The devices of the front-ends that are connected. */
  get devices(): ReadonlySet<VhostUserDevice> {
    return this.#devices;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Ends every connection, and listens no more. Twice is no error. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#listener?.close();
    for (const device of [...this.#devices]) device.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #accept(): void {
    this.#listener?.onSocket(
      (socket) => this.#serveOrReport(socket),
      (error) => this.#report(error),
    );
  }

  #serveOrReport(socket: UnixSocket): boolean {
    try {
      this.#serve(socket);
      return true;
    } catch (error) {
      this.#report(error as Error);
      return false;
    }
  }

  #connect(retryEvery: number): void {
    const again = () => {
      if (!this.#closed) this.#timer = setTimeout(() => this.#connect(retryEvery), retryEvery);
    };
    try {
      this.#serve(UnixSocket.connect(this.path, 'stream'), again);
    } catch (error) {
      again();
      if (!NOBODY.includes((error as { code?: string }).code ?? '')) this.#report(error as Error);
    }
  }

  /** An `'error'` that nobody listens for would end the process. */
  #report(error: Error): void {
    if (this.listenerCount('error') > 0) this.emit('error', error);
  }

  /**
   * Begins to serve who connected. Throws where there is no descriptor left to wait for its requests with; then the
   * connection is over.
   */
  #serve(socket: UnixSocket, ended?: () => void): void {
    const connection = new VhostUserConnection(socket, { role: 'answers' });
    const state = new BackendState(this.#limits, {
      started: () => tell(() => this.emit('start', device)),
      stopped: () => tell(() => this.emit('stop', device)),
      ring: (ring, active) => tell(() => this.emit('ring', device, ring, active)),
      features: (features) => tell(() => this.emit('features', device, features)),
      notified: (ring) => this.#notified(device, ring),
      ringError: (ring, error) => tell(() => this.emit('ringError', device, ring, error)),
      failed: (error) => connection.close(error),
    });
    const device = new VhostUserDevice(state, socket.peer, (error) => connection.close(error));
    try {
      serveRequests(connection, state, this.#options);
    } catch (error) {
      connection.close();
      throw error;
    }
    connection.on('close', (error) => {
      state.close();
      this.#devices.delete(device);
      tell(() => this.emit('disconnect', device, error));
      ended?.();
    });
    this.#devices.add(device);
    tell(() => this.emit('connect', device));
  }

  /** As the others are told, for each burst, and so without a function of its own. */
  #notified(device: VhostUserDevice, ring: number): void {
    try {
      this.emit('notified', device, ring);
    } catch (error) {
      uncaught(error);
    }
  }
}
