/** NetPort: a fast layer-2 port on a TAP, or a socket, for a program without a guest. */
import { typeError, valueError } from '../errors.js';
import { logPort } from '../log.js';
import { checkFrame, type Frame, isFrame, type Sendable } from '../net/frame.js';
import { systemError } from '../syscall.js';
import { type Stopped, withParts } from './bring-up.js';
import { type PairBacklog, type PortCounters, sumCounters } from './counters.js';
import { checkGsoType } from './offload.js';
import { PortLifecycle } from './port-lifecycle.js';
import { checkPortOptions, type NetPortOptions, type QueueDescriptors } from './port-options.js';
import { checkPortState, type PortState } from './port-state.js';

const ENETDOWN = -100;

/**
 * A port on a TAP: what the host sends to the interface is received here, what is sent here arrives
 * at the host. The kernel's vhost-net moves the frames between the TAP and shared memory; on a host without it
 * this process does. On the socket of a vhost-user back end the frames are that one's: a switch's, or another
 * program's.
 *
 * With several queue pairs each has a worker of its own. A flow stays on its pair, in both directions,
 * and so in order; two flows may overtake each other.
 *
 * A port keeps the process alive until it is closed, or `unref()`. When it fails, the iterator, the
 * pending sends and every later call throw the error; `'error'` is emitted only where somebody listens.
 */
export class NetPort extends PortLifecycle {
  /**
   * Opens a port. Throws what {@link Tap.open} and `VhostNet.open` throw (`EPERM`, `EBUSY`, `EINVAL`,
   * `ENOENT`, …), `ERR_FEATURES_NOT_OFFERED`, and misuse of the options; then nothing stays open.
   */
  static async open(options: NetPortOptions): Promise<NetPort> {
    return NetPort.#open(options);
  }

  /**
   * Goes on where a port was stopped, in this process or another: with its state, and descriptors of its
   * memory and queues, which are duplicated. The port that stopped may be closed before or after; frames
   * that its consumer still looks at are overwritten. Throws as {@link NetPort.open}, `ERR_OUT_OF_RANGE`
   * for a state that the memory belies.
   */
  static async resume(
    state: PortState,
    descriptors: { memory: number; queues: readonly QueueDescriptors[] },
  ): Promise<NetPort> {
    const features = checkPortState(state);
    const { queueSize, bufferSize, offload, pairs } = state;
    const { memory, queues } = descriptors;
    if (pairs.length !== queues.length) {
      throw valueError(
        `the port has ${pairs.length} queue pairs, and ${queues.length} queues are given`,
      );
    }
    return NetPort.#open({ queues, queueSize, bufferSize, features, offload }, { state, memory });
  }

  static #open(options: NetPortOptions, stopped?: Stopped): Promise<NetPort> {
    return withParts(checkPortOptions(options), stopped, (parts) => {
      const port = new NetPort(parts);
      port.traffic.receiving.post();
      if (logPort.enabled) {
        logPort('open %s, features 0x%s', port.name, port.features.toString(16));
      }
      return port;
    });
  }

  /** What the port counted so far; a copy. */
  get counters(): PortCounters {
    return sumCounters(this.traffic.counters);
  }

  /** What each queue pair counted so far; copies. */
  get pairCounters(): PortCounters[] {
    return this.traffic.counters;
  }

  /** What waits in each queue pair's rings now. Throws `ERR_CLOSED`, or the port's failure. */
  get pairBacklogs(): PairBacklog[] {
    this.checkUsable();
    return this.traffic.backlogs;
  }

  /** Frames given to the device and not yet sent. */
  get inFlight(): number {
    return this.traffic.inFlight;
  }

  /**
   * Sends one frame or many, the frames of a flow in order. The promise is fulfilled when the device has
   * them all: at once where there is room, else when there is; await it, and the sender goes no faster
   * than the device. Frames must stay as they are until then. Rejects with `ENETDOWN` while the link is
   * down, `ERR_FRAME_SIZE`, `ERR_FEATURES_NOT_OFFERED` for an offload that the port has not, `ERR_CLOSED`, or the port's failure.
   */
  send(frames: Sendable | readonly Sendable[]): Promise<void> {
    try {
      this.#checkSendable(frames);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.traffic.sending.send(frames);
  }

  /**
   * Sends as many of the frames as there is room for now, and returns how many: the first ones. Where
   * those are not all, `'drain'` is emitted when there is room. Never waits and allocates nothing. Throws as {@link NetPort.send} rejects.
   */
  trySend(frames: Sendable | readonly Sendable[]): number {
    this.#checkSendable(frames);
    return this.traffic.sending.trySend(frames);
  }

  /**
   * Fulfilled when the device has sent everything it was given. Rejects with `ERR_CLOSED`, or the
   * port's failure.
   */
  async flush(): Promise<void> {
    this.checkUsable();
    await this.traffic.sending.flush();
  }

  /**
   * Calls `listener` with batches of 1 to 64 frames of one queue pair, each valid until it returns. What
   * it throws becomes an `uncaughtException`. Throws `ERR_BUSY` where the port has a consumer already.
   */
  onFrames(listener: (frames: readonly Frame[]) => void): void {
    if (typeof listener !== 'function') throw typeError('listener must be a function');
    this.checkUsable();
    this.traffic.receiving.listen(listener);
  }

  /**
   * Batches of 1 to 64 frames of one queue pair, each valid until the iteration goes on; it ends when
   * the port is closed. While nobody takes the next batch, the rings fill up and the kernel drops what
   * the host sends. Throws `ERR_BUSY` where the port has a consumer already.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<readonly Frame[]> {
    this.checkUsable();
    return this.traffic.receiving.iterate();
  }

  /** Lets the process end although the port is open. */
  unref(): this {
    this.traffic.receiving.unref();
    return this;
  }

  /** Undoes {@link NetPort.unref}. */
  ref(): this {
    this.traffic.receiving.ref();
    return this;
  }

  #checkSendable(frames: Sendable | readonly Sendable[]): void {
    this.checkUsable();
    if (Array.isArray(frames)) {
      for (let i = 0; i < frames.length; i++) this.#checkOne(frames[i] as Sendable);
    } else {
      this.#checkOne(frames as Sendable);
    }
    if (!this.link.isUpNow()) throw systemError(ENETDOWN, 'send', this.name);
  }

  #checkOne(frame: Sendable): void {
    checkFrame(frame);
    if (isFrame(frame)) checkGsoType(frame.offload.gsoType, this.offloads);
  }
}
