/**
 * VirtioNetDevice: a network card as a guest sees it, whoever moves its packets. A transport turns accesses of
 * registers into calls of it; what has to wait for the backend is a promise, for which the vCPU is held.
 */
import { EventEmitter } from 'node:events';
import { closedError, StateError, valueError } from '../errors.js';
import { parseMac } from '../host/net-interface.js';
import { logDevice } from '../log.js';
import {
  hasBit,
  VIRTIO_CONFIG_S_DRIVER,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_CONFIG_S_NEEDS_RESET,
  VIRTIO_F_RING_RESET,
  VIRTIO_NET_F_CTRL_VQ,
  VIRTIO_NET_F_GUEST_ANNOUNCE,
  VIRTIO_NET_S_ANNOUNCE,
  VIRTIO_NET_S_LINK_UP,
} from '../uapi/virtio-net.js';
import type { VirtioNetDeviceEvents, VirtioNetDeviceOptions } from './card-options.js';
import { CardService } from './card-service.js';
import { type CardState, restoreCard, restoreFilter, saveCard, wakeQueues } from './card-state.js';
import { checkCardState, isServed } from './card-state-check.js';
import { ConfigSpace } from './config-space.js';
import { type DeviceQueue, openQueues } from './device-queue.js';
import { newBits } from './device-status.js';
import { objectionTo, offerFeatures } from './feature-offer.js';
import type { RxFilterState } from './rx-filter.js';
import { Turns } from './turns.js';

/** Descriptors of the control queue: its commands come one by one. */
const CONTROL_QUEUE_SIZE = 64;

export class VirtioNetDevice extends EventEmitter<VirtioNetDeviceEvents> {
  /** The features on offer. */
  readonly offered: bigint;
  /** Receive and transmit of each pair in turn, then control. */
  readonly queues: readonly DeviceQueue[];
  readonly config = new ConfigSpace();
  /** Queue pairs at most. */
  readonly queuePairs: number;
  readonly #service: CardService;
  readonly #mac: Uint8Array;
  #status = 0;
  #driverFeatures = 0n;
  /** What waits for the backend. */
  readonly #turns = new Turns();
  #closed = false;

  /** Throws `ERR_INVALID_ARG_VALUE`, `ERR_OUT_OF_RANGE`, `EMFILE`. */
  constructor(options: VirtioNetDeviceOptions) {
    super();
    const { memory, backend, taps = [], queueSize = 256, mtu, speed, fullDuplex } = options;
    if (taps.length > 0 && taps.length !== backend.queuePairs) {
      throw valueError(
        `${backend.queuePairs} queue pairs need as many TAP queues, not ${taps.length}`,
      );
    }
    const { queuePairs } = backend;
    this.queuePairs = queuePairs;
    this.#mac = Uint8Array.from(parseMac(options.mac));
    this.offered = offerFeatures({
      backend: backend.features,
      tun: taps[0]?.probeOffload(),
      allowed: options.features,
      queuePairs,
      hasMtu: mtu !== undefined,
    });
    this.config.mac = this.#mac;
    this.config.status = VIRTIO_NET_S_LINK_UP;
    this.config.maxQueuePairs = queuePairs;
    if (mtu !== undefined) this.config.mtu = mtu;
    if (speed !== undefined) this.config.speed = speed;
    if (fullDuplex !== undefined) this.config.duplex = fullDuplex ? 1 : 0;
    const sizes = new Array<number>(2 * queuePairs).fill(queueSize);
    if (hasBit(this.offered, VIRTIO_NET_F_CTRL_VQ)) sizes.push(CONTROL_QUEUE_SIZE);
    this.queues = openQueues(sizes);
    const { config, queues } = this;
    const fail = (error: Error) => this.#fail(error);
    try {
      this.#service = new CardService({ memory, backend, taps, queues, config, fail });
    } catch (error) {
      for (const queue of queues) queue.close();
      throw error;
    }
  }

  /** Queue pairs that the driver uses. */
  get activePairs(): number {
    return this.#service.activePairs;
  }

  /** `VIRTIO_CONFIG_S_*`. */
  get status(): number {
    return this.#status;
  }

  /** The features that the driver took, as far as it said. */
  get driverFeatures(): bigint {
    return this.#driverFeatures;
  }

  /** Which frames the guest asked for: a TAP filters most of it, but no VLANs. */
  get rxFilter(): RxFilterState {
    return this.#service.filter.state;
  }

  /** Word `word`, 0 to 3, of 32 bits, of what the driver takes. Dropped outside its time, and for other words. */
  setDriverFeatures(word: number, bits: number): void {
    if (word > 3 || !this.#has(VIRTIO_CONFIG_S_DRIVER) || this.#has(VIRTIO_CONFIG_S_FEATURES_OK)) {
      logDevice('features written in status %d', this.#status);
      return;
    }
    const shift = BigInt(32 * word);
    const others = this.#driverFeatures & ~(0xffff_ffffn << shift);
    this.#driverFeatures = others | (BigInt(bits >>> 0) << shift);
  }

  /**
   * A write of the status: a step of the handshake, or 0 for a reset. Wrong ones are dropped. Undefined where
   * it is done at once; else the vCPU is to wait.
   */
  setStatus(written: number): Promise<void> | undefined {
    if (written === 0) return this.reset();
    const bits = newBits(this.#status, written);
    if (typeof bits === 'string') {
      logDevice('status %d written over %d: %s', written, this.#status, bits);
      return undefined;
    }
    for (const bit of bits) {
      if (bit === VIRTIO_CONFIG_S_FEATURES_OK && !this.#acceptsFeatures()) break;
      this.#status |= bit;
      if (bit === VIRTIO_CONFIG_S_DRIVER_OK) {
        return this.#change(() => this.#service.start(this.#driverFeatures));
      }
    }
    return undefined;
  }

  /** Back to the beginning: when it is done nothing of the guest's is touched any more. */
  reset(): Promise<void> | undefined {
    if (this.#closed) return undefined;
    // In status 0 too: a driver may have set queues up before it said that it is there.
    if (!this.#has(VIRTIO_CONFIG_S_DRIVER_OK) && this.#turns.idle) {
      this.#forget();
      return undefined;
    }
    return this.#change(async () => {
      await this.#service.stop();
      this.#forget();
    });
  }

  /** The driver enables a queue. While the card runs only with RING_RESET; then it is served at once. */
  enableQueue(index: number): Promise<void> | undefined {
    const queue = this.#queue(index);
    if (queue.enabled) return undefined;
    const running = this.#has(VIRTIO_CONFIG_S_DRIVER_OK);
    if (running && !hasBit(this.#driverFeatures, VIRTIO_F_RING_RESET)) {
      logDevice('queue %d enabled while the card runs', index);
      return undefined;
    }
    queue.enabled = true;
    return running ? this.#change(() => this.#service.startQueue(index)) : undefined;
  }

  /** The driver resets one queue, as it may with RING_RESET. */
  resetQueue(index: number): Promise<void> | undefined {
    const queue = this.#queue(index);
    if (!this.#has(VIRTIO_CONFIG_S_DRIVER_OK)) {
      queue.reset();
      return undefined;
    }
    return this.#change(async () => {
      await this.#service.stopQueue(index);
      queue.reset();
    });
  }

  /** The link goes up or down, as the guest sees it. */
  setLink(up: boolean): void {
    const { status } = this.config;
    const next = up ? status | VIRTIO_NET_S_LINK_UP : status & ~VIRTIO_NET_S_LINK_UP;
    if (next !== status) this.#setConfigStatus(next);
  }

  /** Asks the guest to tell the network where it is, as after a migration. False where it cannot. */
  announce(): boolean {
    if (!hasBit(this.#driverFeatures, VIRTIO_NET_F_GUEST_ANNOUNCE)) return false;
    this.#setConfigStatus(this.config.status | VIRTIO_NET_S_ANNOUNCE);
    return true;
  }

  /**
   * Stops the card, whose guest stands still, and returns all that it was but for its transport: for
   * {@link VirtioNetDevice.start} of this one or another, in this process or one that has the memory, or a copy.
   * Until then it is as after a reset. `save` is called between the two: for a transport, which has a `stop()`
   * of its own.
   */
  stop(save?: () => void): Promise<CardState> {
    return this.#turns.take(async () => {
      const { activePairs } = this;
      const { offloads } = this.#service;
      await this.#service.stop();
      save?.();
      const state = saveCard(this, { activePairs, offloads });
      this.#forget();
      return state;
    });
  }

  /**
   * Goes on where a card was stopped. Throws `ERR_BUSY` where it has a driver, `ERR_INVALID_ARG_VALUE` for a
   * state that cannot be this card's, and changes nothing then; and what the backend throws, and is as after a
   * reset then. `restore` is called when the state was found good, and nothing runs yet.
   */
  start(state: CardState, restore?: () => void): Promise<void> {
    return this.#turns.take(async () => {
      if (this.#closed) throw closedError('the card');
      if (this.#status !== 0) throw new StateError('ERR_BUSY', 'the card has a driver already');
      checkCardState(state, this);
      const { status, activePairs } = state;
      const [features, offloads] = [BigInt(state.features), BigInt(state.offloads)];
      try {
        restore?.();
        restoreCard(this, state);
        this.#driverFeatures = features;
        this.#service.filter.restore(restoreFilter(state.rxFilter), this.config.mac);
        // Before anything is served: what interrupts a driver depends on it.
        this.#status = status;
        if (isServed(status)) await this.#service.start(features, { activePairs, offloads });
      } catch (error) {
        this.#forget();
        throw error;
      }
      wakeQueues(this.queues, state);
    });
  }

  /** Stops, and gives its eventfds back. Memory, backend and TAPs stay the caller's. */
  async close(): Promise<void> {
    if (this.#closed) return;
    await this.reset();
    this.#closed = true;
    for (const queue of this.queues) queue.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #acceptsFeatures(): boolean {
    const objection = objectionTo(this.#driverFeatures, this.offered);
    if (objection !== undefined) logDevice('features refused: %s', objection);
    return objection === undefined;
  }

  #has(bit: number): boolean {
    return (this.#status & bit) !== 0;
  }

  #queue(index: number): DeviceQueue {
    if (this.#closed) throw closedError('the card');
    const queue = this.queues[index];
    if (!queue) throw valueError(`the card has ${this.queues.length} queues, and none ${index}`);
    return queue;
  }

  /** What the guest asks for: what fails makes the card need a reset. */
  #change(work: () => Promise<void>): Promise<void> {
    return this.#turns.take(work).catch((error: unknown) => this.#fail(error as Error));
  }

  #forget(): void {
    this.#status = 0;
    this.#driverFeatures = 0n;
    for (const queue of this.queues) queue.reset();
    this.#service.filter.reset(this.#mac);
    this.config.mac = this.#mac;
    this.config.status &= ~VIRTIO_NET_S_ANNOUNCE;
    this.emit('reset');
  }

  #fail(error: Error): void {
    logDevice('needs a reset: %o', error);
    this.#status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    if (this.#has(VIRTIO_CONFIG_S_DRIVER_OK)) this.emit('config');
    this.emit('failed', error);
  }

  #setConfigStatus(status: number): void {
    this.config.status = status;
    if (this.#has(VIRTIO_CONFIG_S_DRIVER_OK)) this.emit('config');
  }
}
