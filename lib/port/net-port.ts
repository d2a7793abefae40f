/** NetPort: a fast layer-2 port on a TAP for a program without a guest. */
import { EventEmitter } from 'node:events';
import { closedError, StateError, typeError } from '../errors.js';
import type { Tap } from '../host/tap.js';
import { logPort } from '../log.js';
import { systemError } from '../syscall.js';
import type { VhostBackend } from '../vhost/backend.js';
import { type PortParts, withParts } from './bring-up.js';
import type { PortCounters } from './counters.js';
import type { Frame, Sendable } from './frame.js';
import { giveBack } from './give-back.js';
import { LinkState } from './link-state.js';
import { checkPortOptions, type NetPortOptions } from './port-options.js';
import type { QueuePair } from './queue-pair.js';
import { ReceiveLoop } from './receive-loop.js';
import { SendQueue } from './send-queue.js';
import { checkFrame } from './transmitter.js';

const ENETDOWN = -100;
const ENODEV = -19;
/** How long `close()` lets the device finish what was sent, in ms. */
const FLUSH_LIMIT = 1000;

interface NetPortEvents {
  /** The interface's link went up or down. */
  link: [up: boolean];
  /** The port failed and can only be closed: the TAP is gone, or the device broke a ring. */
  error: [error: Error];
  /** The port is closed and everything is given back. */
  close: [];
}

/**
 * A port on a TAP: what the host sends to the interface is received here, what is sent here arrives
 * at the host. The kernel's vhost-net moves the frames between the TAP and shared memory.
 *
 * A port keeps the process alive until it is closed, or `unref()`. When it fails, the iterator, the
 * pending sends and every later call throw the error; `'error'` is emitted only where somebody listens.
 */
export class NetPort extends EventEmitter<NetPortEvents> {
  /** The TAP queue; `tap.interface` is the host's side of the port. */
  readonly tap: Tap;
  /** The acknowledged virtio features. */
  readonly features: bigint;
  readonly #backend: VhostBackend;
  readonly #pair: QueuePair;
  readonly #counters: PortCounters;
  readonly #link: LinkState;
  readonly #receiving: ReceiveLoop;
  readonly #sending: SendQueue;
  #failure: Error | undefined;
  #closing: Promise<void> | undefined;

  private constructor(parts: PortParts) {
    super();
    this.tap = parts.tap;
    this.features = parts.features;
    this.#backend = parts.backend;
    this.#pair = parts.pair;
    this.#counters = parts.counters;
    const { receive, transmit } = this.#pair.config;
    const fail = (error: Error) => this.#fail(error);
    this.#receiving = new ReceiveLoop(this.#pair.receiver, receive.call, this.#counters, fail);
    this.#sending = new SendQueue(this.#pair.transmitter, transmit.call, this.#counters, fail);
    for (const [name, ring] of Object.entries({ receive, transmit })) {
      ring.err?.onSignal(() => fail(ringGivenUp(name)));
      ring.err?.unref();
    }
    this.#link = new LinkState(this.tap, parts.monitor, {
      changed: (up) => {
        logPort('link %s', up ? 'up' : 'down');
        this.emit('link', up);
      },
      gone: () => fail(systemError(ENODEV, 'tap', this.tap.interface.name)),
    });
  }

  /**
   * Opens a port. Throws what {@link Tap.open} and `VhostNet.open` throw (`EPERM`, `EBUSY`, `EINVAL`,
   * `ENOENT`, …), `ERR_FEATURES_NOT_OFFERED`, and misuse of the options; then nothing stays open.
   */
  static async open(options: NetPortOptions): Promise<NetPort> {
    const checked = checkPortOptions(options);
    return withParts(checked, (parts) => {
      const port = new NetPort(parts);
      port.#receiving.post();
      logPort('open %s, features 0x%s', port.tap.interface.name, port.features.toString(16));
      return port;
    });
  }

  /** What the port counted so far; a copy. */
  get counters(): PortCounters {
    return { ...this.#counters };
  }

  /** Whether the interface is up, as the kernel last said. */
  get linkUp(): boolean {
    return this.#link.up;
  }

  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** Frames given to the device and not yet sent. */
  get inFlight(): number {
    return this.#pair.transmitter.inFlight;
  }

  /**
   * Sends one frame or many, in order. The promise is fulfilled when the device has them all: at once
   * where there is room, else when there is; await it, and the sender goes no faster than the device.
   * Frames must stay as they are until then. Rejects with `ENETDOWN` while the link is down,
   * `ERR_FRAME_SIZE`, `ERR_CLOSED`, or the port's failure.
   */
  send(frames: Sendable | readonly Sendable[]): Promise<void> {
    try {
      this.#checkSendable(frames);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#sending.send(frames);
  }

  /**
   * Sends as many of the frames as there is room for now, and returns how many: the first ones. Never
   * waits and allocates nothing. Throws as {@link NetPort.send} rejects.
   */
  trySend(frames: Sendable | readonly Sendable[]): number {
    this.#checkSendable(frames);
    return this.#sending.trySend(frames);
  }

  /**
   * Fulfilled when the device has sent everything it was given. Rejects with `ERR_CLOSED`, or the
   * port's failure.
   */
  async flush(): Promise<void> {
    this.#checkUsable();
    await this.#sending.flush();
  }

  /**
   * Calls `listener` with batches of 1 to 64 frames, each valid until it returns. What it throws
   * becomes an `uncaughtException`. Throws `ERR_BUSY` where the port has a consumer already.
   */
  onFrames(listener: (frames: readonly Frame[]) => void): void {
    if (typeof listener !== 'function') throw typeError('listener must be a function');
    this.#checkUsable();
    this.#receiving.listen(listener);
  }

  /**
   * Batches of 1 to 64 frames, each valid until the iteration goes on; it ends when the port is
   * closed. While nobody takes the next batch, the ring fills up and the kernel drops what the host
   * sends. Throws `ERR_BUSY` where the port has a consumer already.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<readonly Frame[]> {
    this.#checkUsable();
    return this.#receiving.iterate();
  }

  /** Lets the process end although the port is open. */
  unref(): this {
    this.#receiving.unref();
    return this;
  }

  /** Undoes {@link NetPort.unref}. */
  ref(): this {
    this.#receiving.ref();
    return this;
  }

  /**
   * Lets the device finish what it was given (at most a second), then stops it and gives everything
   * back: descriptors, memory, the worker's thread, and the TAP, unless it is persistent. Sends that
   * still wait for room are rejected with `ERR_CLOSED`. Closing twice is no error.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    // First of all: a loop that answers must not get frames that it cannot answer any more.
    this.#receiving.end(this.#failure);
    this.#sending.end(closedError('the port'));
    if (!this.#failure && this.#link.up) await this.#sending.flushFor(FLUSH_LIMIT);
    await giveBack([
      () => this.#link.close(),
      () => this.#pair.silence(),
      () => this.#backend.close(),
      () => this.#pair.close(),
      () => this.tap.closeAsync(),
    ]);
    logPort('closed %s', this.tap.interface.name);
    this.emit('close');
  }

  #fail(error: Error): void {
    if (this.#failure || this.#closing) return;
    logPort('failed: %o', error);
    this.#failure = error;
    this.#pair.silence();
    this.#sending.end(error);
    this.#receiving.end(error);
    if (this.listenerCount('error') > 0) this.emit('error', error);
  }

  #checkUsable(): void {
    if (this.#closing) throw closedError('the port');
    if (this.#failure) throw this.#failure;
  }

  #checkSendable(frames: Sendable | readonly Sendable[]): void {
    this.#checkUsable();
    if (Array.isArray(frames)) {
      for (let i = 0; i < frames.length; i++) checkFrame(frames[i] as Sendable);
    } else {
      checkFrame(frames as Sendable);
    }
    if (!this.#link.isUpNow()) throw systemError(ENETDOWN, 'send', this.tap.interface.name);
  }
}

function ringGivenUp(name: string): StateError {
  return new StateError(
    'ERR_RING_BROKEN',
    `vhost gave up the ${name} ring`,
    'the kernel log may say more: dmesg | grep vhost',
  );
}
