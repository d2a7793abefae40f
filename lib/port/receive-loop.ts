/** Who gets a port's frames, and when: a callback or an iterator, driven by the call eventfds. */
import { StateError } from '../errors.js';
import type { EventFd } from '../host/event-fd.js';
import type { Frame } from '../net/frame.js';
import type { PortCounters } from './counters.js';
import type { Receiver } from './receiver.js';

/** Batches in a row before timers and other descriptors get their turn. */
const BATCHES_PER_TURN = 16;

type Batch = readonly Frame[];
const END: IteratorResult<Batch> = { done: true, value: undefined };

interface Waiter {
  resolve: (result: IteratorResult<Batch>) => void;
  reject: (error: Error) => void;
}

/** The receiving half of one queue pair. */
export interface ReceiveLane {
  receiver: Receiver;
  call: EventFd;
  counters: PortCounters;
}

export class ReceiveLoop {
  readonly #lanes: readonly ReceiveLane[];
  /** For each lane, whether it was found empty and its device asked to call. */
  readonly #quiet: Uint8Array;
  /** The lane to look at next, so that each gets its turn. */
  #turn = 0;
  /** Whose frames the consumer has. */
  #lent: Receiver | undefined;
  readonly #fail: (error: Error) => void;
  #listener: ((frames: Batch) => void) | undefined;
  #iterator: AsyncIterableIterator<Batch> | undefined;
  #waiter: Waiter | undefined;
  #inARow = 0;
  #pause: NodeJS.Immediate | undefined;
  #paused = false;
  #ended = false;
  #failure: Error | undefined;

  constructor(lanes: readonly ReceiveLane[], fail: (error: Error) => void) {
    this.#lanes = lanes;
    this.#quiet = new Uint8Array(lanes.length);
    this.#fail = fail;
    lanes.forEach(({ call, counters }, at) => {
      call.onSignal((count) => {
        counters.rxCalls += count;
        this.#quiet[at] = 0;
        this.#wake();
      });
    });
  }

  /** Posts the receive buffers for the first time. */
  post(): void {
    for (const { receiver } of this.#lanes) receiver.recycle();
  }

  /** Until {@link resume} the rings stay as they are; the consumer keeps the frames that it has. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#quiet.fill(0);
    this.#later();
  }

  listen(listener: (frames: Batch) => void): void {
    this.#takeConsumer();
    this.#listener = listener;
    this.#later();
  }

  iterate(): AsyncIterableIterator<Batch> {
    this.#takeConsumer();
    // One that returned stays done: it must not take the frames of the one after it.
    const current = () => this.#iterator === iterator;
    const iterator: AsyncIterableIterator<Batch> = {
      next: () => (current() ? this.#next() : Promise.resolve(END)),
      return: () => {
        if (current()) {
          this.#iterator = undefined;
          this.#settle((waiter) => waiter.resolve(END));
        }
        return Promise.resolve(END);
      },
      [Symbol.asyncIterator]: () => iterator,
    };
    this.#iterator = iterator;
    return iterator;
  }

  ref(): void {
    for (const { call } of this.#lanes) call.ref();
  }

  unref(): void {
    for (const { call } of this.#lanes) call.unref();
  }

  /** No frame is handed out any more; the iterator ends, or throws the port's failure. */
  end(failure: Error | undefined): void {
    this.#ended = true;
    this.#failure ??= failure;
    this.#listener = undefined;
    this.#lent = undefined;
    if (this.#pause) clearImmediate(this.#pause);
    this.#settle((waiter) => (failure ? waiter.reject(failure) : waiter.resolve(END)));
  }

  #takeConsumer(): void {
    if (!this.#listener && !this.#iterator) return;
    throw new StateError(
      'ERR_BUSY',
      'the port has a consumer already',
      'a port has one onFrames() listener or one iterator; share the frames behind it',
    );
  }

  /** The device called, or a pause is over. */
  #wake(): void {
    if (this.#ended) return;
    if (this.#listener) {
      this.#deliver();
    } else if (this.#waiter) {
      try {
        const batch = this.#take();
        if (batch) this.#settle((waiter) => waiter.resolve({ done: false, value: batch }));
      } catch (error) {
        this.#fail(error as Error);
      }
    }
  }

  #deliver(): void {
    let more = true;
    try {
      for (let i = 0; i < BATCHES_PER_TURN; i++) {
        const batch = this.#tryTake();
        more = batch !== undefined;
        if (!batch || !this.#listener) return;
        this.#listener(batch);
      }
    } finally {
      // Also after a listener that threw, which must not stop the port.
      if (more && !this.#ended) this.#later();
    }
  }

  /** As {@link #take}; an error is the port's. */
  #tryTake(): Batch | undefined {
    try {
      return this.#take();
    } catch (error) {
      this.#fail(error as Error);
      return undefined;
    }
  }

  #next(): Promise<IteratorResult<Batch>> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#ended) return Promise.resolve(END);
    if (this.#waiter) {
      return Promise.reject(new StateError('ERR_BUSY', 'the iteration waits for a batch already'));
    }
    if (++this.#inARow < BATCHES_PER_TURN) {
      try {
        const batch = this.#take();
        if (batch) return Promise.resolve({ done: false, value: batch });
      } catch (error) {
        this.#fail(error as Error);
        return Promise.reject(error);
      }
    } else {
      this.#later();
    }
    this.#inARow = 0;
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
    });
  }

  /** The next batch; without one, every device is asked to call. */
  #take(): Batch | undefined {
    if (this.#paused) return undefined;
    this.#lent?.recycle();
    this.#lent = undefined;
    const count = this.#lanes.length;
    for (let i = 0; i < count; i++) {
      const at = this.#turn;
      this.#turn = at + 1 === count ? 0 : at + 1;
      if (this.#quiet[at] === 1) continue;
      const { receiver } = this.#lanes[at] as ReceiveLane;
      const batch = this.#collect(receiver, at);
      if (!batch) continue;
      this.#lent = receiver;
      return batch;
    }
    return undefined;
  }

  #collect(receiver: Receiver, at: number): Batch | undefined {
    let batch = receiver.collect();
    // Frames that came between looking and asking bring no call. A device that gives back damaged
    // frames faster than they are looked at must not hold up the event loop.
    for (let looks = 0; !batch; looks++) {
      receiver.recycle();
      if (!receiver.enableCalls()) {
        this.#quiet[at] = 1;
        return undefined;
      }
      if (looks === BATCHES_PER_TURN) {
        this.#later();
        return undefined;
      }
      batch = receiver.collect();
    }
    receiver.disableCalls();
    return batch;
  }

  #later(): void {
    this.#pause ??= setImmediate(() => {
      this.#pause = undefined;
      this.#wake();
    });
  }

  #settle(how: (waiter: Waiter) => void): void {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    if (waiter) how(waiter);
  }
}
