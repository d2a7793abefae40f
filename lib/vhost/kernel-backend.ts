/** KernelBackend: `/dev/vhost-net` behind the VhostBackend interface, one device per queue pair. */
import { checkInteger, closedError, StateError, type VhostError, valueError } from '../errors.js';
import type { PacketQueue } from '../host/packet-queue.js';
import { logVhost } from '../log.js';
import { VHOST_F_LOG_ALL, VHOST_NET_VQ_RX, VHOST_NET_VQ_TX } from '../uapi/vhost.js';
import { featureNames, hasBit, VIRTIO_F_ACCESS_PLATFORM } from '../uapi/virtio-net.js';
import type {
  BackendConfig,
  QueuePairConfig,
  QueuePairState,
  VhostBackend,
  VringConfig,
} from './backend.js';
import type { DirtyLog } from './dirty-log.js';
import { Iotlb } from './iotlb.js';
import { type DeviceOptions, KernelPair, type PairContext, type RingIndex } from './kernel-pair.js';
import { checkHeader, checkPairCount } from './queue-rules.js';
import { VhostNet } from './vhost-net.js';

/** What a kernel says to an ioctl that it does not have. */
const UNKNOWN_IOCTL: ReadonlySet<string> = new Set(['EPERM', 'ENOTTY', 'ENOBUFS']);

export interface KernelBackendOptions extends DeviceOptions {
  /** One for each queue, opened by somebody with the right; they become the backend's. */
  devices?: readonly VhostNet[];
}

export class KernelBackend implements VhostBackend {
  readonly name = 'kernel';
  readonly features: bigint;
  readonly #pairs: KernelPair[];
  /** What runs, or undefined. */
  #config: BackendConfig | undefined;
  #iotlb: Iotlb | undefined;
  #log: DirtyLog | undefined;
  /** Starts and stops that are under way. */
  #changes = 0;
  #closed = false;

  private constructor(features: bigint, pairs: KernelPair[]) {
    this.features = features;
    this.#pairs = pairs;
  }

  /**
   * Opens one vhost device for each queue, or takes over those given. The queues stay the caller's:
   * close the backend first. Throws as {@link VhostNet.open}; then nothing stays open.
   */
  static open(queues: readonly PacketQueue[], options: KernelBackendOptions = {}): KernelBackend {
    const { devices: given = [], busyPoll = 0 } = options;
    checkInteger('busyPoll', busyPoll, 0, 0xffff_ffff);
    if (queues.length === 0) throw valueError('a backend needs at least one queue');
    if (given.length > 0 && given.length !== queues.length) {
      throw valueError(`${queues.length} queues need as many devices, not ${given.length}`);
    }
    const devices = [...given];
    try {
      while (devices.length < queues.length) devices.push(VhostNet.open());
      const features = offeredFeatures(devices[0] as VhostNet);
      const pairs = queues.map(
        (queue, i) => new KernelPair(devices[i] as VhostNet, queue, options),
      );
      return new KernelBackend(features, pairs);
    } catch (error) {
      for (const device of devices) device.close();
      throw error;
    }
  }

  get queuePairs(): number {
    return this.#pairs.length;
  }

  get running(): boolean {
    return this.#config !== undefined;
  }

  get iotlb(): Iotlb | undefined {
    return this.#iotlb;
  }

  async start(config: BackendConfig): Promise<void> {
    if (this.#closed) throw closedError('the backend');
    if (this.#config) throw new StateError('ERR_BUSY', 'the backend is running');
    checkPairCount(config.pairs.length, this.#pairs.length);
    checkFeatures(config, this.features);
    for (const { queue } of this.#pairs) checkHeader(config.features, queue);
    this.#iotlb = config.iotlb && new Iotlb(config.memory, config.iotlb);
    this.#config = config;
    await this.#change(async () => {
      const starting = config.pairs.map(
        async (rings, i) => rings && this.#startPair(i, rings, config),
      );
      const failed = (await Promise.allSettled(starting)).find(isRejected);
      if (!failed) return;
      // Back to the state after open: no ring served, no memory held.
      await Promise.all(this.#pairs.map((pair) => pair.reset()));
      this.#config = undefined;
      this.#iotlb = undefined;
      throw failed.reason;
    });
  }

  async stop(): Promise<QueuePairState[]> {
    this.#running();
    this.#config = undefined;
    await this.#change(() => Promise.all(this.#pairs.map((pair) => pair.stop())));
    this.#iotlb = undefined;
    const states = this.#pairs.map(({ state }) => state);
    logVhost('stopped at %o', states);
    return states;
  }

  async startRing(index: number, ring: VringConfig): Promise<void> {
    const config = this.#running();
    const { pair, at } = this.#ring(index);
    if (pair.serves(at)) throw new StateError('ERR_BUSY', `ring ${index} is served already`);
    // A pair that did not start with the others has a device that knows nothing yet.
    await this.#change(async () => {
      await pair.prepare(this.#context(index >> 1, config));
      if (this.#running() !== config) throw new StateError('ERR_BUSY', 'the backend was stopped');
      await pair.startRings([at, ring]);
    });
  }

  async stopRing(index: number): Promise<number> {
    this.#running();
    const { pair, at } = this.#ring(index);
    if (!pair.serves(at)) throw new StateError('ERR_BUSY', `ring ${index} is not being served`);
    await this.#change(() => pair.stopRing(at));
    const { receive, transmit } = pair.state;
    return at === VHOST_NET_VQ_RX ? receive : transmit;
  }

  async setDirtyLog(log: DirtyLog | null): Promise<void> {
    if (this.#closed) throw closedError('the backend');
    if (this.#changes > 0) throw new StateError('ERR_BUSY', 'rings are being started or stopped');
    const before = this.#log;
    this.#log = log ?? undefined;
    try {
      for (const pair of this.#pairs) pair.setLog(this.#log);
    } catch (error) {
      this.#log = before;
      for (const pair of this.#pairs) pair.setLog(before);
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#config = undefined;
    await Promise.all(this.#pairs.map((pair) => pair.close()));
  }

  async #startPair(index: number, rings: QueuePairConfig, config: BackendConfig): Promise<void> {
    const pair = this.#pairs[index] as KernelPair;
    await pair.prepare(this.#context(index, config));
    await pair.startRings([VHOST_NET_VQ_RX, rings.receive], [VHOST_NET_VQ_TX, rings.transmit]);
  }

  #context(index: number, config: BackendConfig): PairContext {
    const onError = (at: RingIndex) => config.onRingError?.(2 * index + at);
    return { config, iotlb: this.#iotlb, log: this.#log, onError };
  }

  /** Forbids {@link KernelBackend.setDirtyLog} for as long as `work` goes on. */
  async #change<T>(work: () => Promise<T>): Promise<T> {
    this.#changes++;
    try {
      return await work();
    } finally {
      this.#changes--;
    }
  }

  #running(): BackendConfig {
    if (this.#closed) throw closedError('the backend');
    if (!this.#config) throw new StateError('ERR_BUSY', 'the backend is not running');
    return this.#config;
  }

  #ring(index: number): { pair: KernelPair; at: RingIndex } {
    checkInteger('index', index, 0, 2 * this.#pairs.length - 1);
    const pair = this.#pairs[index >> 1] as KernelPair;
    return { pair, at: index % 2 === 0 ? VHOST_NET_VQ_RX : VHOST_NET_VQ_TX };
  }
}

function isRejected(result: PromiseSettledResult<unknown>): result is PromiseRejectedResult {
  return result.status === 'rejected';
}

/** Whether the kernel was found to have no features array: an error for each port opened is not cheap. */
let onlyOneWord = false;

/** Bits 0 to 127 where the kernel has so many, else 0 to 63. */
function offeredFeatures(vhost: VhostNet): bigint {
  if (!onlyOneWord) {
    try {
      return vhost.getFeaturesArray();
    } catch (error) {
      if (!UNKNOWN_IOCTL.has((error as VhostError).code)) throw error;
      onlyOneWord = true;
    }
  }
  return vhost.getFeatures();
}

/** Throws for features that would stall the rings, or let the kernel write where nobody expects it. */
function checkFeatures({ features, iotlb }: BackendConfig, offered: bigint): void {
  const high = (features & ~offered) >> 64n;
  if (high !== 0n) {
    throw new StateError(
      'ERR_FEATURES_NOT_OFFERED',
      `this kernel does not offer ${featureNames(high << 64n).join(', ')}`,
      'features beyond bit 63 need Linux 6.17 or newer: leave them out',
    );
  }
  if (hasBit(features, VHOST_F_LOG_ALL)) {
    throw valueError(
      'VHOST_F_LOG_ALL is not negotiated with a driver',
      'turn the dirty log on with setDirtyLog()',
    );
  }
  if (hasBit(features, VIRTIO_F_ACCESS_PLATFORM) && !iotlb) {
    throw valueError(
      'with VIRTIO_F_ACCESS_PLATFORM every address must be translated, and nobody is named who does',
      'give start() an `iotlb` with a translate(), or leave the feature out: the rings would wait forever',
    );
  }
  if (iotlb && !hasBit(features, VIRTIO_F_ACCESS_PLATFORM)) {
    throw valueError(
      'an `iotlb` is given, but VIRTIO_F_ACCESS_PLATFORM is not among the features',
      'acknowledge the feature, or leave the iotlb out',
    );
  }
}
