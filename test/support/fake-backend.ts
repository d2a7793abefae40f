/** A backend that moves nothing and writes down what it was asked for: for what a card asks, and when. */
import type {
  BackendConfig,
  QueuePairState,
  VhostBackend,
  VringConfig,
} from '../../lib/vhost/backend.js';

export class FakeBackend implements VhostBackend {
  readonly name = 'fake';
  readonly queuePairs: number;
  readonly features: bigint;
  readonly iotlb = undefined;
  /** What it was asked for, in order: `'start 0'`, `'stop'`, `'startRing 2'`. */
  readonly asked: string[] = [];
  config: BackendConfig | undefined;
  /** The rings that are served. */
  readonly rings = new Map<number, VringConfig>();
  /** The next call rejects with it. */
  failWith: Error | undefined;
  /** Called while it does what it was asked. */
  during: (what: string) => void = () => {};
  /** Position that every ring stops at. */
  base = 7;

  constructor(queuePairs: number, features: bigint) {
    this.queuePairs = queuePairs;
    this.features = features;
  }

  get running(): boolean {
    return this.config !== undefined;
  }

  async start(config: BackendConfig): Promise<void> {
    const pairs = config.pairs.flatMap((pair, i) => (pair ? [i] : []));
    await this.#ask(`start ${pairs.join(' ')}`.trim());
    this.config = config;
    for (const [i, pair] of config.pairs.entries()) {
      if (pair) this.rings.set(2 * i, pair.receive).set(2 * i + 1, pair.transmit);
    }
  }

  async stop(): Promise<QueuePairState[]> {
    await this.#ask('stop');
    this.config = undefined;
    this.rings.clear();
    return Array.from({ length: this.queuePairs }, () => ({
      receive: this.base,
      transmit: this.base,
    }));
  }

  async startRing(index: number, ring: VringConfig): Promise<void> {
    await this.#ask(`startRing ${index}`);
    this.rings.set(index, ring);
  }

  async stopRing(index: number): Promise<number> {
    await this.#ask(`stopRing ${index}`);
    this.rings.delete(index);
    return this.base;
  }

  async setDirtyLog(): Promise<void> {
    await this.#ask('setDirtyLog');
  }

  async close(): Promise<void> {
    await this.#ask('close');
  }

  /** Later than at once, as a real one. */
  async #ask(what: string): Promise<void> {
    await new Promise(setImmediate);
    this.asked.push(what);
    this.during(what);
    const error = this.failWith;
    this.failWith = undefined;
    if (error) throw error;
  }
}
