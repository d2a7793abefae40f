/**
 * InProcessBackend: rings served by this process behind the VhostBackend interface, for hosts without vhost-net.
 * Frames go between the rings' buffers and a queue by system calls, many in one call of the addon; headers pass
 * as they are.
 */
import { checkInteger, closedError, StateError, valueError } from '../errors.js';
import type { PacketQueue } from '../host/packet-queue.js';
import { logVhost } from '../log.js';
import { type IoUring, native } from '../native.js';
import {
  bit,
  featureNames,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO,
  VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_RING_F_EVENT_IDX,
  VIRTIO_RING_F_INDIRECT_DESC,
} from '../uapi/virtio-net.js';
import type { BackendConfig, QueuePairState, VhostBackend, VringConfig } from '../vhost/backend.js';
import type { DirtyLog } from '../vhost/dirty-log.js';
import { checkHeader, checkPairCount } from '../vhost/queue-rules.js';
import { MOST_FRAMES } from './frame-batch.js';
import type { InProcessCounters } from './in-process-counters.js';
import { InProcessPair } from './in-process-pair.js';

/** What `/dev/vhost-net` offers, less what needs an IOTLB or has vhost supply the header. */
const OFFERED = [
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_RING_F_INDIRECT_DESC,
  VIRTIO_RING_F_EVENT_IDX,
  VIRTIO_F_RING_RESET,
  VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO,
  VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO,
].reduce((features, feature) => features | bit(feature), 0n);

export class InProcessBackend implements VhostBackend {
  readonly name = 'in-process';
  readonly features = OFFERED;
  /** Addresses are the guest's own: VIRTIO_F_ACCESS_PLATFORM is not offered. */
  readonly iotlb = undefined;
  readonly #pairs: readonly InProcessPair[];
  readonly #uring: IoUring | undefined;
  /** What runs, or undefined. */
  #config: BackendConfig | undefined;
  #log: DirtyLog | undefined;
  #closed = false;

  private constructor(pairs: readonly InProcessPair[], uring: IoUring | undefined) {
    this.#pairs = pairs;
    this.#uring = uring;
  }

  /**
   * A backend that serves a pair of rings for each queue. The queues stay the caller's: close the backend
   * first. It runs on this thread's event loop, and does not keep the process alive. Throws `ENOMEM`; then
   * nothing stays open.
   */
  static open(queues: readonly PacketQueue[]): InProcessBackend {
    if (queues.length === 0) throw valueError('a backend needs at least one queue');
    const uring = openUring();
    const pairs: InProcessPair[] = [];
    try {
      for (const queue of queues) pairs.push(new InProcessPair(queue, uring));
      return new InProcessBackend(pairs, uring);
    } catch (error) {
      for (const pair of pairs) pair.close();
      uring?.close();
      throw error;
    }
  }

  get queuePairs(): number {
    return this.#pairs.length;
  }

  get running(): boolean {
    return this.#config !== undefined;
  }

  /** What each pair counted since the backend was opened; copies. */
  get counters(): InProcessCounters[] {
    return this.#pairs.map(({ counters }) => ({ ...counters }));
  }

  async start(config: BackendConfig): Promise<void> {
    if (this.#closed) throw closedError('the backend');
    if (this.#config) throw new StateError('ERR_BUSY', 'the backend is running');
    checkPairCount(config.pairs.length, this.#pairs.length);
    checkFeatures(config);
    for (const { queue } of this.#pairs) checkHeader(config.features, queue);
    this.#log?.checkCovers(config.memory);
    config.memory.hold(this);
    this.#config = config;
    try {
      for (const [i, rings] of config.pairs.entries()) {
        if (rings) this.#startRings([2 * i, rings.receive], [2 * i + 1, rings.transmit]);
      }
    } catch (error) {
      this.#stopAll();
      throw error;
    }
  }

  async stop(): Promise<QueuePairState[]> {
    this.#running();
    this.#stopAll();
    await closing();
    const states = this.#pairs.map(({ state }) => state);
    logVhost('stopped at %o', states);
    return states;
  }

  async startRing(index: number, ring: VringConfig): Promise<void> {
    this.#running();
    if (this.#pairOf(index).serves(index % 2)) {
      throw new StateError('ERR_BUSY', `ring ${index} is served already`);
    }
    this.#startRings([index, ring]);
  }

  async stopRing(index: number): Promise<number> {
    this.#running();
    const pair = this.#pairOf(index);
    if (!pair.serves(index % 2)) {
      throw new StateError('ERR_BUSY', `ring ${index} is not being served`);
    }
    pair.stopRing(index % 2);
    await closing();
    const { receive, transmit } = pair.state;
    return index % 2 === 0 ? receive : transmit;
  }

  async setDirtyLog(log: DirtyLog | null): Promise<void> {
    if (this.#closed) throw closedError('the backend');
    const next = log ?? undefined;
    if (next && this.#config) next.checkCovers(this.#config.memory);
    next?.hold(this);
    const before = this.#log;
    this.#log = next;
    for (const pair of this.#pairs) pair.setLog(next);
    if (before !== next) before?.release(this);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopAll();
    this.#log?.release(this);
    for (const pair of this.#pairs) pair.close();
    this.#uring?.close();
    await closing();
  }

  /** All are set up before the first starts. */
  #startRings(...rings: readonly (readonly [index: number, ring: VringConfig])[]): void {
    const { memory, features, onRingError } = this.#running();
    const prepared: number[] = [];
    try {
      for (const [index, config] of rings) {
        const onError = () => onRingError?.(index);
        const options = { memory, features, config, log: this.#log, onError };
        this.#pairOf(index).prepareRing(index % 2, options);
        prepared.push(index);
      }
    } catch (error) {
      for (const index of prepared) this.#pairOf(index).stopRing(index % 2);
      throw error;
    }
    for (const [index, { base }] of rings) {
      const pair = this.#pairOf(index);
      pair.startRing(index % 2);
      if (logVhost.enabled) {
        logVhost('%s serves ring %d from %d', pair.queue.interface.name, index, base);
      }
    }
  }

  #stopAll(): void {
    for (const pair of this.#pairs) pair.stop();
    this.#config?.memory.release(this);
    this.#config = undefined;
  }

  #running(): BackendConfig {
    if (this.#closed) throw closedError('the backend');
    if (!this.#config) throw new StateError('ERR_BUSY', 'the backend is not running');
    return this.#config;
  }

  #pairOf(index: number): InProcessPair {
    checkInteger('index', index, 0, 2 * this.#pairs.length - 1);
    return this.#pairs[index >> 1] as InProcessPair;
  }
}

/** Undefined where the kernel has none, or who runs this process forbids it, as containers do. */
function openUring(): IoUring | undefined {
  const uring = new native.IoUring(MOST_FRAMES);
  if (uring.error === 0) return uring;
  logVhost('no io_uring: %d', uring.error);
  return undefined;
}

/** The event loop closes what it polled in its own time: two of its turns. */
async function closing(): Promise<void> {
  for (let i = 0; i < 2; i++) await new Promise(setImmediate);
}

function checkFeatures({ features, iotlb }: BackendConfig): void {
  const missing = features & ~OFFERED;
  if (missing !== 0n) {
    throw new StateError(
      'ERR_FEATURES_NOT_OFFERED',
      `the in-process back end does not offer ${featureNames(missing).join(', ')}`,
      'leave it out: acknowledge a subset of `features`',
    );
  }
  if (iotlb) {
    throw valueError(
      'an `iotlb` is given, but VIRTIO_F_ACCESS_PLATFORM is not among the features',
      'leave the iotlb out: the in-process back end does not offer the feature',
    );
  }
}
