/** A backend that moves nothing and holds its card to what a real one demands of its user. */
import type {
  BackendConfig,
  QueuePairState,
  VhostBackend,
  VringConfig,
} from '../../../lib/vhost/backend.js';
import { userAddresses } from '../../../lib/vhost/ring-addresses.js';

export class CheckedBackend implements VhostBackend {
  readonly name = 'checked';
  readonly queuePairs: number;
  readonly features: bigint;
  readonly iotlb = undefined;
  config: BackendConfig | undefined;
  /** The rings that are served. */
  readonly rings = new Map<number, VringConfig>();
  /** The next call rejects, as a real one may at any time. */
  fails = false;
  /** What the card asked for and must not. */
  wrong: string | undefined;
  /** Calls in all. */
  asked = 0;
  #busy = false;

  constructor(queuePairs: number, features: bigint) {
    this.queuePairs = queuePairs;
    this.features = features;
  }

  get running(): boolean {
    return this.config !== undefined;
  }

  async start(config: BackendConfig): Promise<void> {
    if (this.running) this.#complain('started twice');
    if (config.features & ~this.features) this.#complain('started with what it does not offer');
    await this.#ask(() => {
      const rings = config.pairs.flatMap((pair, i) =>
        pair
          ? ([
              [2 * i, pair.receive],
              [2 * i + 1, pair.transmit],
            ] as const)
          : [],
      );
      for (const [, ring] of rings) checkRing(config, ring);
      this.config = config;
      for (const [index, ring] of rings) this.rings.set(index, ring);
    });
  }

  async stop(): Promise<QueuePairState[]> {
    if (!this.running) this.#complain('stopped while it stands');
    this.config = undefined;
    this.rings.clear();
    await this.#ask(() => {});
    return Array.from({ length: this.queuePairs }, () => ({ receive: 7, transmit: 7 }));
  }

  async startRing(index: number, ring: VringConfig): Promise<void> {
    const { config } = this;
    if (!config) return this.#complain(`ring ${index} started while nothing runs`);
    if (this.rings.has(index)) this.#complain(`ring ${index} started twice`);
    await this.#ask(() => {
      checkRing(config, ring);
      this.rings.set(index, ring);
    });
  }

  async stopRing(index: number): Promise<number> {
    if (!this.rings.has(index)) this.#complain(`ring ${index} stopped, which is not served`);
    await this.#ask(() => this.rings.delete(index));
    return 7;
  }

  async setDirtyLog(): Promise<void> {}

  async close(): Promise<void> {}

  /** One after another, and later than at once. */
  async #ask(work: () => void): Promise<void> {
    if (this.#busy) this.#complain('asked for two things at a time');
    this.#busy = true;
    this.asked++;
    try {
      await new Promise(setImmediate);
      if (this.fails) {
        this.fails = false;
        throw new Error('the backend failed');
      }
      work();
    } finally {
      this.#busy = false;
    }
  }

  #complain(what: string): void {
    this.wrong ??= `the backend was ${what}`;
  }
}

/** What the kernel would refuse, and a card must survive that it does. */
function checkRing({ memory }: BackendConfig, ring: VringConfig): void {
  userAddresses(memory, ring);
  const { desc, avail, used } = ring.addresses;
  if (desc % 16n || avail % 2n || used % 4n) throw new RangeError('not aligned');
}
