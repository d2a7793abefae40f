/** Traffic: the frames in and out of all queue pairs of a port. */
import { StateError } from '../errors.js';
import type { PairBacklog, PortCounters } from './counters.js';
import { within } from './give-back.js';
import type { QueuePair } from './queue-pair.js';
import { ReceiveLoop } from './receive-loop.js';
import { SendQueue } from './send-queue.js';
import { Spread } from './spread.js';

export class Traffic {
  readonly receiving: ReceiveLoop;
  readonly sending: Spread;
  readonly #pairs: readonly QueuePair[];
  readonly #queues: readonly SendQueue[];

  /** `fail` hears of a ring that breaks, or that the device gave up; `room` where it was asked for. */
  constructor(
    pairs: readonly QueuePair[],
    hear: { fail: (error: Error) => void; room: () => void },
  ) {
    const { fail } = hear;
    this.#pairs = pairs;
    const lanes = pairs.map(({ receiver, config, counters }) => ({
      receiver,
      call: config.receive.call,
      counters,
    }));
    this.receiving = new ReceiveLoop(lanes, fail);
    this.#queues = pairs.map(
      ({ transmitter, config, counters }) =>
        new SendQueue(transmitter, config.transmit.call, counters, hear),
    );
    this.sending = new Spread(this.#queues, fail);
    for (const [index, { config }] of pairs.entries()) {
      for (const [name, ring] of Object.entries(config)) {
        ring.err?.onSignal(() => fail(ringGivenUp(name, index)));
        ring.err?.unref();
      }
    }
  }

  /** What each pair counted so far; copies. */
  get counters(): PortCounters[] {
    return this.#pairs.map(({ counters }) => ({ ...counters }));
  }

  /** What waits in each pair's rings. */
  get backlogs(): PairBacklog[] {
    return this.#pairs.map(({ receiver, transmitter }) => ({
      rxWaiting: receiver.waiting,
      txWaiting: transmitter.waiting,
    }));
  }

  /** Frames given to the devices and not yet sent. */
  get inFlight(): number {
    let sum = 0;
    for (const { transmitter } of this.#pairs) sum += transmitter.inFlight;
    return sum;
  }

  /** What is sent from now on goes by these pairs. */
  use(served: readonly boolean[]): void {
    this.sending.use(this.#queues.filter((_, i) => served[i]));
  }

  /** The rings stay as they are until {@link resume}: for a device that is stopped. */
  pause(): void {
    this.receiving.pause();
    for (const queue of this.#queues) queue.pause();
  }

  resume(): void {
    this.receiving.resume();
    for (const queue of this.#queues) queue.resume();
  }

  /** Lets the device finish what one pair, or all, gave it: for at most `limit` ms. */
  async drain(limit: number, index?: number): Promise<void> {
    const queue = index === undefined ? this.sending : this.#queues[index];
    await within(limit, queue?.flush());
  }

  /** Ends every subscription; nobody looks at the rings any more. */
  silence(): void {
    this.pause();
    for (const pair of this.#pairs) pair.silence();
  }
}

function ringGivenUp(name: string, pair: number): StateError {
  return new StateError(
    'ERR_RING_BROKEN',
    `vhost gave up the ${name} ring of queue pair ${pair}`,
    'the kernel log may say more: dmesg | grep vhost',
  );
}
