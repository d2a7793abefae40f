/** Serving: who serves a port's rings, and which of its queue pairs are served. */
import { checkInteger, StateError, valueError } from '../errors.js';
import type { GuestMemory } from '../host/guest-memory.js';
import type { Tap } from '../host/tap.js';
import { logPort } from '../log.js';
import { IFF_MULTI_QUEUE } from '../uapi/tun.js';
import type { VhostBackend } from '../vhost/backend.js';
import { giveBack } from './give-back.js';
import type { PairState, QueuePair } from './queue-pair.js';

export interface ServingOptions {
  backend: VhostBackend;
  memory: GuestMemory;
  /** The acknowledged features. */
  features: bigint;
  taps: readonly Tap[];
  pairs: readonly QueuePair[];
  /** Which pairs to serve; default: all. */
  served?: readonly boolean[] | undefined;
}

export class Serving {
  readonly #taps: readonly Tap[];
  readonly #pairs: readonly QueuePair[];
  readonly #memory: GuestMemory;
  readonly #features: bigint;
  readonly #served: boolean[];
  #backend: VhostBackend;
  /** The operation under way, if any: one at a time. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: ServingOptions) {
    this.#backend = options.backend;
    this.#memory = options.memory;
    this.#features = options.features;
    this.#taps = options.taps;
    this.#pairs = options.pairs;
    this.#served = this.#pairs.map((_, i) => options.served?.[i] ?? true);
  }

  /** Who serves the rings. */
  get name(): string {
    return this.#backend.name;
  }

  get running(): boolean {
    return this.#backend.running;
  }

  /** Whether each pair is served while the port runs. */
  get served(): readonly boolean[] {
    return this.#served;
  }

  /** Starts the rings where they stopped, by `backend` where one is given, which becomes ours. */
  start(backend: VhostBackend = this.#backend): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#backend.running) throw new StateError('ERR_BUSY', 'the port is running');
      if (backend.queuePairs !== this.#pairs.length) {
        throw valueError(
          `the port has ${this.#pairs.length} queue pairs, the backend ${backend.queuePairs}`,
        );
      }
      const pairs = this.#pairs.map(({ config }, i) => (this.#served[i] ? config : undefined));
      await backend.start({ memory: this.#memory, features: this.#features, pairs });
      const before = this.#backend;
      this.#backend = backend;
      if (before !== backend) await before.close();
    });
  }

  /** Stops every ring. Returns where. */
  stop(): Promise<PairState[]> {
    return this.#inTurn(async () => {
      if (!this.#backend.running) throw new StateError('ERR_BUSY', 'the port is stopped already');
      const stopped = await this.#backend.stop();
      return this.#pairs.map((pair, i) =>
        pair.stoppedAt(stopped[i] ?? { receive: 0, transmit: 0 }),
      );
    });
  }

  /** Starts one pair where it stopped, and lets the kernel give it frames. */
  startPair(index: number): Promise<void> {
    return this.#inTurn(async () => {
      const { pair, tap } = this.#look(index, false);
      // A queue that is detached cannot be a backend.
      if (isOneOfMany(tap)) tap?.setQueue('attached');
      try {
        await this.#backend.startRing(2 * index, pair.config.receive);
        await this.#backend.startRing(2 * index + 1, pair.config.transmit);
      } catch (error) {
        await giveBack([() => this.#backend.stopRing(2 * index), () => detach(tap)]).catch(
          () => {},
        );
        throw error;
      }
      this.#served[index] = true;
      logPort('pair %d starts', index);
    });
  }

  /** Takes the pair from the kernel's choice, and stops its rings. */
  stopPair(index: number): Promise<void> {
    return this.#inTurn(async () => {
      const { pair, tap } = this.#look(index, true);
      detach(tap);
      const receive = await this.#backend.stopRing(2 * index);
      const transmit = await this.#backend.stopRing(2 * index + 1);
      pair.stoppedAt({ receive, transmit });
      this.#served[index] = false;
      logPort('pair %d stops', index);
    });
  }

  close(): Promise<void> {
    return this.#inTurn(() => this.#backend.close());
  }

  #look(index: number, served: boolean): { pair: QueuePair; tap: Tap | undefined } {
    checkInteger('index', index, 0, this.#pairs.length - 1);
    if (!this.#backend.running) throw new StateError('ERR_BUSY', 'the port is stopped');
    if (this.#served[index] !== served) {
      const is = served ? 'is stopped already' : 'is running';
      throw new StateError('ERR_BUSY', `pair ${index} ${is}`);
    }
    return { pair: this.#pairs[index] as QueuePair, tap: this.#taps[index] };
  }

  #inTurn<T>(operation: () => Promise<T>): Promise<T> {
    const result = this.#last.then(operation);
    this.#last = result.catch(() => {});
    return result;
  }
}

/** Whether the interface has, or may get, other queues that take the frames. */
function isOneOfMany(tap: Tap | undefined): boolean {
  return tap !== undefined && (tap.flags & IFF_MULTI_QUEUE) !== 0;
}

function detach(tap: Tap | undefined): void {
  if (isOneOfMany(tap)) tap?.setQueue('detached');
}
