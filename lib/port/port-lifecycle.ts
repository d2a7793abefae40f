/** PortLifecycle: how a port runs, stops, goes on, fails and ends, whatever frames it carries. */
import { EventEmitter } from 'node:events';
import { closedError, StateError } from '../errors.js';
import type { GuestMemory } from '../host/guest-memory.js';
import type { Tap } from '../host/tap.js';
import { logPort } from '../log.js';
import { type OffloadName, offloadNames } from '../net/offload-names.js';
import type { VhostBackend } from '../vhost/backend.js';
import type { PortParts } from './bring-up.js';
import { giveBack } from './give-back.js';
import type { PortLink } from './link-state.js';
import type { QueueDescriptors } from './port-options.js';
import type { PortState } from './port-state.js';
import type { PairState, QueuePair } from './queue-pair.js';
import type { Serving } from './serving.js';
import { Traffic } from './traffic.js';

/** How long `close()` and `stopPair()` let the device finish what was sent, in ms. */
const FLUSH_LIMIT = 1000;

export interface NetPortEvents {
  /** The interface's link went up or down; with a socket, its back end came or went. */
  link: [up: boolean];
  /** There is room again, after `trySend` took fewer frames than it was given. */
  drain: [];
  /** The port failed and can only be closed: the TAP is gone, or the device broke a ring. */
  error: [error: Error];
  /** The port is closed and everything is given back. */
  close: [];
}

export abstract class PortLifecycle extends EventEmitter<NetPortEvents> {
  /** The interface as it was opened, or the path of the socket: for messages. */
  readonly name: string;
  /** The TAP's queues, one for each pair; none on a socket. */
  readonly taps: readonly Tap[];
  /** The acknowledged virtio features. */
  readonly features: bigint;
  /**
   * The offloads that the port has, of those that it was opened with: what {@link Frame.offload} may say,
   * received or sent. Checksums and super-frames of TCP every kernel takes of a port in any case.
   */
  readonly offloads: readonly OffloadName[];
  /** @internal */
  protected readonly traffic: Traffic;
  /** @internal */
  protected readonly link: PortLink;
  readonly #memory: GuestMemory;
  readonly #pairs: readonly QueuePair[];
  readonly #serving: Serving;
  #failure: Error | undefined;
  #closing: Promise<void> | undefined;

  /** @internal */
  protected constructor(parts: PortParts) {
    super();
    const { name, taps, features, offload, memory, pairs, serving, watch } = parts;
    this.name = name;
    this.taps = taps;
    this.features = features;
    this.offloads = offloadNames(offload);
    this.#memory = memory;
    this.#pairs = pairs;
    this.#serving = serving;
    this.traffic = new Traffic(pairs, {
      fail: (error) => this.#fail(error),
      room: () => this.emit('drain'),
    });
    this.traffic.use(serving.served);
    this.link = watch({
      changed: (up) => {
        logPort('link %s', up ? 'up' : 'down');
        this.emit('link', up);
      },
      gone: (error) => this.#fail(error),
    });
  }

  /** The first TAP queue; `tap.interface` is the host's side of the port. Throws `ERR_NO_TAP` on a socket. */
  get tap(): Tap {
    const [tap] = this.taps;
    if (tap) return tap;
    throw new StateError(
      'ERR_NO_TAP',
      `the port on ${this.name} has no TAP`,
      'what is on the other side is the back end’s',
    );
  }

  /** Whether the interface is up, as the kernel last said; with a socket, whether the back end is there. */
  get linkUp(): boolean {
    return this.link.up;
  }

  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** Whether the device serves the rings: false from {@link PortLifecycle.stop} to `start`. */
  get running(): boolean {
    return this.#serving.running;
  }

  /** Who moves the frames: `'kernel'`, `'in-process'`, or what the backend is called that it was started with. */
  get backend(): string {
    return this.#serving.name;
  }

  /** Whether each queue pair is served while the port runs. */
  get servedPairs(): readonly boolean[] {
    return [...this.#serving.served];
  }

  /** The descriptors that `NetPort.resume` needs, the port's own: pass them on before `close()`. */
  get descriptors(): { memory: number; queues: QueueDescriptors[] } {
    this.checkUsable();
    const [region] = this.#memory.regions as [GuestMemory['regions'][number]];
    return { memory: region.fd, queues: this.taps.map(({ fd }) => ({ tap: fd })) };
  }

  /**
   * Stops the device; the frames of both directions stay where they are, in order, and sends wait.
   * {@link PortLifecycle.start} goes on with them, or `NetPort.resume` elsewhere. A send that still waits
   * when this port is closed is rejected, so let them finish before that. Throws `ERR_BUSY` where the
   * port is stopped.
   */
  async stop(): Promise<PortState> {
    this.checkUsable();
    this.traffic.pause();
    let stopped: PairState[];
    try {
      stopped = await this.#serving.stop();
    } catch (error) {
      if (this.running) this.traffic.resume();
      throw error;
    }
    const [{ bufferSize, config }] = this.#pairs as [QueuePair];
    const served = this.servedPairs;
    return {
      version: 1,
      features: `0x${this.features.toString(16)}`,
      offload: this.offloads,
      queueSize: config.receive.size,
      bufferSize,
      pairs: stopped.map((pair, i) => ({ ...pair, served: served[i] === true })),
    };
  }

  /**
   * Goes on after {@link PortLifecycle.stop}, with another backend where one is given: it becomes the
   * port's, which closes the one before. Throws `ERR_BUSY` where the port runs, and what the backend
   * throws; then the port stays stopped and the backend is not taken.
   */
  async start(backend?: VhostBackend): Promise<void> {
    this.checkUsable();
    const { up } = this.link;
    await this.#serving.start(backend);
    if (backend) this.link.follow?.(backend, up);
    this.traffic.resume();
  }

  /**
   * Stops one queue pair while the others run: the flows that were sent by it go by those, and the kernel
   * gives it no more frames (those that wait in its TAP queue are lost: so it is with `TUNSETQUEUE`).
   * Throws `ERR_BUSY` where it is stopped, `ERR_OUT_OF_RANGE`.
   */
  async stopPair(index: number): Promise<void> {
    this.checkUsable();
    this.traffic.use(this.servedPairs.map((served, i) => served && i !== index));
    try {
      if (this.link.up) await this.traffic.drain(FLUSH_LIMIT, index);
      await this.#serving.stopPair(index);
    } finally {
      this.traffic.use(this.#serving.served);
    }
  }

  /** Starts a queue pair that {@link PortLifecycle.stopPair} stopped. Throws `ERR_BUSY` where it runs. */
  async startPair(index: number): Promise<void> {
    this.checkUsable();
    await this.#serving.startPair(index);
    this.traffic.use(this.#serving.served);
  }

  /**
   * Lets the device finish what it was given (at most a second), then stops it and gives everything
   * back: descriptors, memory, the workers' threads, and the TAP, unless it is persistent. Sends that
   * still wait for room are rejected with `ERR_CLOSED`. Closing twice is no error.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @internal Throws `ERR_CLOSED`, or what the port failed of. */
  protected checkUsable(): void {
    if (this.#closing) throw closedError('the port');
    if (this.#failure) throw this.#failure;
  }

  async #close(): Promise<void> {
    const { receiving, sending } = this.traffic;
    // First of all: a loop that answers must not get frames that it cannot answer any more.
    receiving.end(this.#failure);
    sending.end(closedError('the port'));
    if (!this.#failure && this.link.up && this.running) await this.traffic.drain(FLUSH_LIMIT);
    await giveBack([
      () => this.link.close(),
      () => this.traffic.silence(),
      () => this.#serving.close(),
      ...this.#pairs.map((pair) => () => pair.close()),
      () => this.#memory.close(),
      () => Promise.all(this.taps.map((tap) => tap.closeAsync())),
    ]);
    logPort('closed %s', this.name);
    this.emit('close');
  }

  #fail(error: Error): void {
    if (this.#failure || this.#closing) return;
    logPort('failed: %o', error);
    this.#failure = error;
    this.traffic.silence();
    this.traffic.sending.end(error);
    this.traffic.receiving.end(error);
    if (this.listenerCount('error') > 0) this.emit('error', error);
  }
}
