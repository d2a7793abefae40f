/** KernelBackend: `/dev/vhost-net` behind the VhostBackend interface, one device per queue pair. */
import { checkInteger, closedError, StateError, valueError } from '../errors.js';
import type { Tap } from '../host/tap.js';
import { logVhost } from '../log.js';
import { VHOST_NET_VQ_RX, VHOST_NET_VQ_TX } from '../uapi/vhost.js';
import type {
  BackendConfig,
  QueuePairConfig,
  QueuePairState,
  VhostBackend,
  VringConfig,
} from './backend.js';
import { KernelPair, type RingIndex } from './kernel-pair.js';
import { VhostNet } from './vhost-net.js';

export class KernelBackend implements VhostBackend {
  readonly name = 'kernel';
  readonly features: bigint;
  readonly #pairs: KernelPair[];
  /** What runs, or undefined. */
  #config: BackendConfig | undefined;
  #closed = false;

  private constructor(features: bigint, pairs: KernelPair[]) {
    this.features = features;
    this.#pairs = pairs;
  }

  /**
   * Opens one vhost device for each TAP queue, or takes over those given, which somebody with the right
   * opened. The TAP queues stay the caller's: close the backend first. Throws as {@link VhostNet.open};
   * then nothing stays open.
   */
  static open(taps: readonly Tap[], given: readonly VhostNet[] = []): KernelBackend {
    if (taps.length === 0) throw valueError('a backend needs at least one TAP queue');
    if (given.length > 0 && given.length !== taps.length) {
      throw valueError(`${taps.length} TAP queues need as many devices, not ${given.length}`);
    }
    const devices = [...given];
    try {
      while (devices.length < taps.length) devices.push(VhostNet.open());
      const features = (devices[0] as VhostNet).getFeatures();
      const pairs = taps.map((tap, i) => new KernelPair(devices[i] as VhostNet, tap));
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

  async start(config: BackendConfig): Promise<void> {
    if (this.#closed) throw closedError('the backend');
    if (this.#config) throw new StateError('ERR_BUSY', 'the backend is running');
    const count = config.pairs.length;
    if (count < 1 || count > this.#pairs.length) {
      throw valueError(
        `the backend has ${this.#pairs.length} queue pairs, ${count} are configured`,
      );
    }
    for (const pair of this.#pairs) pair.checkHeader(config.features);
    this.#config = config;
    const starting = config.pairs.map(
      async (rings, i) => rings && this.#startPair(i, rings, config),
    );
    const failed = (await Promise.allSettled(starting)).find(isRejected);
    if (!failed) return;
    // Back to the state after open: no ring served, no memory held.
    await Promise.all(this.#pairs.map((pair) => pair.reset()));
    this.#config = undefined;
    throw failed.reason;
  }

  async stop(): Promise<QueuePairState[]> {
    this.#running();
    this.#config = undefined;
    await Promise.all(this.#pairs.map((pair) => pair.stop()));
    const states = this.#pairs.map(({ state }) => state);
    logVhost('stopped at %o', states);
    return states;
  }

  async startRing(index: number, ring: VringConfig): Promise<void> {
    const config = this.#running();
    const { pair, at } = this.#ring(index);
    if (pair.serves(at)) throw new StateError('ERR_BUSY', `ring ${index} is served already`);
    // A pair that did not start with the others has a device that knows nothing yet.
    await pair.prepare(config);
    if (this.#running() !== config) throw new StateError('ERR_BUSY', 'the backend was stopped');
    await pair.startRing(at, config.memory, ring);
  }

  async stopRing(index: number): Promise<number> {
    this.#running();
    const { pair, at } = this.#ring(index);
    if (!pair.serves(at)) throw new StateError('ERR_BUSY', `ring ${index} is not being served`);
    await pair.stopRing(at);
    const { receive, transmit } = pair.state;
    return at === VHOST_NET_VQ_RX ? receive : transmit;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#config = undefined;
    await Promise.all(this.#pairs.map((pair) => pair.close()));
  }

  async #startPair(index: number, rings: QueuePairConfig, config: BackendConfig): Promise<void> {
    const pair = this.#pairs[index] as KernelPair;
    await pair.prepare(config);
    await pair.startRing(VHOST_NET_VQ_RX, config.memory, rings.receive);
    await pair.startRing(VHOST_NET_VQ_TX, config.memory, rings.transmit);
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
