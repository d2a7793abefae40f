/** ServedPairs: which of a card's queue pairs the backend serves, and which TAP queues are attached. */
import type { Tap } from '../host/tap.js';
import { logDevice } from '../log.js';
import type {
  BackendConfig,
  QueuePairConfig,
  VhostBackend,
  VringConfig,
} from '../vhost/backend.js';
import type { DeviceQueue } from './device-queue.js';
import { Turns } from './turns.js';

type Started = Pick<BackendConfig, 'memory' | 'features' | 'onRingError'>;

export class ServedPairs {
  readonly #backend: VhostBackend;
  readonly #queues: readonly DeviceQueue[];
  readonly #taps: readonly Tap[];
  /** Rings that are served. */
  readonly #served = new Set<number>();
  /** A command asks for pairs while a register resets a queue: one after the other. */
  readonly #turns = new Turns();
  #active = 1;
  #running = false;

  /** `taps`: one for each pair, or none. Only the first pair is in use until the driver asks for more. */
  constructor(backend: VhostBackend, queues: readonly DeviceQueue[], taps: readonly Tap[]) {
    this.#backend = backend;
    this.#queues = queues;
    this.#taps = taps;
    for (const tap of taps.slice(1)) tap.setQueue('detached');
  }

  /** Pairs in use. */
  get active(): number {
    return this.#active;
  }

  start(config: Started): Promise<void> {
    return this.#turns.take(() => this.#start(config));
  }

  /** Nothing is served after this, and the first pair alone is in use. */
  stop(): Promise<void> {
    return this.#turns.take(() => this.#stop());
  }

  /** The driver uses the first `count` pairs from now on. False, and nothing changed, where it cannot. */
  use(count: number): Promise<boolean> {
    return this.#turns.take(() => this.#use(count));
  }

  /** Serves one ring, where its pair is in use. */
  startQueue(index: number): Promise<void> {
    return this.#turns.take(() => this.#startQueue(index));
  }

  stopQueue(index: number): Promise<void> {
    return this.#turns.take(() => this.#stopQueue(index));
  }

  async #start(config: Started): Promise<void> {
    const pair = this.#pairOf(0);
    if (!pair) {
      // Nothing to serve yet: a driver that enables its queues later has RING_RESET.
      logDevice('the first queue pair is not enabled');
    }
    await this.#backend.start({ ...config, pairs: [pair] });
    this.#running = true;
    if (pair) this.#served.add(0).add(1);
  }

  async #stop(): Promise<void> {
    if (!this.#running) return;
    this.#running = false;
    try {
      const states = await this.#backend.stop();
      for (const [i, { receive, transmit }] of states.entries()) {
        this.#keep(2 * i, receive);
        this.#keep(2 * i + 1, transmit);
      }
    } finally {
      // Whatever became of it: the next start is one from the beginning.
      this.#served.clear();
      for (let i = 1; i < this.#active; i++) this.#taps[i]?.setQueue('detached');
      this.#active = 1;
    }
  }

  async #use(count: number): Promise<boolean> {
    if (count < 1 || count > this.#backend.queuePairs || !this.#running) return false;
    const before = this.#active;
    try {
      await this.#move(count);
      return true;
    } catch (error) {
      logDevice('%d queue pairs cannot be had: %o', count, error);
      await this.#move(before);
      return false;
    }
  }

  async #startQueue(index: number): Promise<void> {
    if (index >> 1 >= this.#active || this.#served.has(index)) return;
    await this.#backend.startRing(index, this.#ringOf(index));
    this.#served.add(index);
  }

  async #stopQueue(index: number): Promise<void> {
    if (!this.#served.has(index)) return;
    this.#keep(index, await this.#backend.stopRing(index));
    this.#served.delete(index);
  }

  /** Pair by pair: a TAP queue is attached before its rings are served, and detached after. */
  async #move(count: number): Promise<void> {
    while (this.#active < count) {
      const pair = this.#active;
      if (!this.#pairOf(pair)) throw new Error(`queue pair ${pair} is not enabled`);
      this.#taps[pair]?.setQueue('attached');
      this.#active = pair + 1;
      await this.#startQueue(2 * pair);
      await this.#startQueue(2 * pair + 1);
    }
    while (this.#active > count) {
      const pair = this.#active - 1;
      await this.#stopQueue(2 * pair);
      await this.#stopQueue(2 * pair + 1);
      this.#taps[pair]?.setQueue('detached');
      this.#active = pair;
    }
  }

  #keep(index: number, base: number): void {
    const queue = this.#queues[index];
    if (queue && this.#served.has(index)) queue.base = base;
  }

  #pairOf(pair: number): QueuePairConfig | undefined {
    const [receive, transmit] = [this.#queues[2 * pair], this.#queues[2 * pair + 1]];
    if (!receive?.enabled || !transmit?.enabled) return undefined;
    return { receive: this.#ringOf(2 * pair), transmit: this.#ringOf(2 * pair + 1) };
  }

  #ringOf(index: number): VringConfig {
    const { size, addresses, base, kick, call } = this.#queues[index] as DeviceQueue;
    return { size, addresses, base, kick, call };
  }
}
