/** VhostUserDevice: the virtio-net device of one front-end, as whoever serves its frames has it. */

import { checkInteger, StateError } from '../errors.js';
import type { GuestMemory } from '../host/guest-memory.js';
import type { PeerCredentials } from '../host/unix-socket.js';
import { checkFrame, type Frame, isFrame, type Sendable } from '../net/frame.js';
import type { OffloadRules } from '../net/offload-rules.js';
import type { BackendCounters } from './backend-counters.js';
import type { BackendPair } from './backend-pair.js';
import type { BackendState } from './backend-state.js';
import type { FramesListener } from './pair-host.js';

/**
 * A front-end's device. Its frames come by {@link VhostUserDevice.onFrames}, or are taken with
 * {@link VhostUserDevice.dequeue}; {@link VhostUserDevice.enqueue} gives it frames.
 */
export class VhostUserDevice {
  /** Who is at the other end of the connection. */
  readonly peer: PeerCredentials;
  readonly #state: BackendState;
  readonly #close: (error?: Error) => void;

  /** @internal Back ends make devices. */
  constructor(state: BackendState, peer: PeerCredentials, close: (error?: Error) => void) {
    this.#state = state;
    this.peer = peer;
    this.#close = close;
  }

  /** The virtio features that the front-end acknowledged. */
  get features(): bigint {
    return this.#state.features;
  }

  /** The features of the protocol that it acknowledged. */
  get protocolFeatures(): bigint {
    return this.#state.protocolFeatures;
  }

  /** The device status, `VIRTIO_CONFIG_S_*`, where the front-end tells of it; else 0. */
  get status(): number {
    return this.#state.status;
  }

  /** As the front-end set it, in bytes; 0 where it did not. */
  get mtu(): number {
    return this.#state.mtu;
  }

  /** The configuration, as the front-end wrote it last; a copy. Undefined where the back end has none. */
  get config(): Uint8Array | undefined {
    return this.#state.config.bytes;
  }

  /**
   * Changes bytes of the configuration from `offset` on, and tells the front-end, where it can be told. Throws
   * `ERR_FEATURES_NOT_OFFERED` without a configuration, `ERR_OUT_OF_RANGE` beyond its end.
   */
  setConfig(offset: number, bytes: Uint8Array): void {
    this.#state.config.write(offset, bytes);
    this.#state.configChanged();
  }

  /** Queue pairs that it may use. */
  get queuePairs(): number {
    return this.#state.pairs.length;
  }

  /** Whether frames go: both rings of the first pair are started and enabled, and the driver is ready. */
  get running(): boolean {
    return this.#state.running;
  }

  /** The guest's memory, while it is known; another object after it changed. */
  get memory(): GuestMemory | undefined {
    return this.#state.memory?.guest;
  }

  /** Whether frames go by this queue pair. */
  isActive(pair: number): boolean {
    return this.#state.serving && this.#pair(pair).active;
  }

  /** What became of the frames of a queue pair; the object stays the same. */
  counters(pair = 0): Readonly<BackendCounters> {
    return this.#pair(pair).counters;
  }

  /**
   * Calls `listener` with each burst, of up to 64 frames, that the guest sends by any pair. The frames lie in the
   * guest's memory, and are valid until it returns, or its promise resolves, or the ring stops: they are to be read
   * and not written to, and what is decided by their bytes must be decided by a copy, for the guest can change
   * them. What it throws, or rejects with, ends the connection. Throws `ERR_BUSY` the second time.
   */
  onFrames(listener: FramesListener): void {
    if (this.#state.listener) {
      throw new StateError('ERR_BUSY', 'the device has a listener already');
    }
    this.#state.listener = listener;
    for (const pair of this.#state.pairs) pair.look();
  }

  /**
   * The next burst that the guest sends by a pair, of up to 64 frames, as {@link VhostUserDevice.onFrames}; empty
   * for none. It gives the last burst back. For a device without a listener, that is looked at again and again.
   */
  dequeue(pair = 0): readonly Frame[] {
    return this.#pair(pair).dequeue();
  }

  /** Gives the last burst of {@link VhostUserDevice.dequeue} back; its frames are not valid any more. */
  release(pair = 0): void {
    this.#pair(pair).release();
  }

  /**
   * Copies frames to the guest, with their headers. Returns how many: the guest may have room for fewer. A frame
   * that is longer than every buffer of the guest's, or than all that its ring holds, is dropped, and counted.
   * Throws `ERR_FRAME_SIZE`, `ERR_INVALID_ARG_TYPE`, `ERR_FEATURES_NOT_OFFERED` for an offload that the guest does
   * not take.
   */
  enqueue(frames: readonly Sendable[], pair = 0): number {
    const { given } = this.#state.use;
    for (const frame of frames) {
      checkFrame(frame);
      if (isFrame(frame)) checkTaken(frame, given);
    }
    return this.#pair(pair).enqueue(frames);
  }

  /** Resolves when the guest has made room for what {@link VhostUserDevice.enqueue} could not take, or stopped. */
  whenRoom(pair = 0): Promise<void> {
    return this.#pair(pair).whenRoom();
  }

  /** Ends the connection, for the reason that `'disconnect'` will give. Twice is no error. */
  close(error?: Error): void {
    this.#close(error);
  }

  #pair(index: number): BackendPair {
    const { pairs } = this.#state;
    return pairs[checkInteger('pair', index, 0, pairs.length - 1)] as BackendPair;
  }
}

function checkTaken({ offload }: Frame, rules: OffloadRules): void {
  if (rules.allow(offload)) return;
  throw new StateError(
    'ERR_FEATURES_NOT_OFFERED',
    'the frame leaves work to the guest that its driver does not take',
    'send what completeChecksum or Segmenter make of it',
  );
}
