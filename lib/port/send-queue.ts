/** Senders that wait for room, in the order they came, driven by the call eventfd. */
import type { EventFd } from '../host/event-fd.js';
import type { PortCounters } from './counters.js';
import type { Sendable } from './frame.js';
import type { Transmitter } from './transmitter.js';

interface Sender {
  frames: readonly Sendable[];
  /** Frames of it that the device has. */
  done: number;
  resolve: () => void;
  reject: (error: Error) => void;
}

/** Given to every sender that need not wait, so that sending allocates nothing. */
const DONE = Promise.resolve();

export class SendQueue {
  readonly #transmitter: Transmitter;
  readonly #fail: (error: Error) => void;
  readonly #senders: Sender[] = [];
  readonly #flushers: { resolve: () => void; reject: (error: Error) => void }[] = [];

  constructor(
    transmitter: Transmitter,
    call: EventFd,
    counters: PortCounters,
    fail: (error: Error) => void,
  ) {
    this.#transmitter = transmitter;
    this.#fail = fail;
    call.onSignal((count) => {
      counters.txCalls += count;
      this.#pump();
    });
    call.unref();
  }

  trySend(frames: Sendable | readonly Sendable[]): number {
    // Whoever waits comes first.
    if (this.#senders.length > 0) return 0;
    try {
      return this.#push(frames);
    } catch (error) {
      // A ring that breaks fails the port, whoever noticed.
      this.#fail(error as Error);
      throw error;
    }
  }

  send(frames: Sendable | readonly Sendable[]): Promise<void> {
    try {
      const count = isMany(frames) ? frames.length : 1;
      const done = this.trySend(frames);
      if (done === count) return DONE;
      const list = isMany(frames) ? frames : [frames];
      const waiting = new Promise<void>((resolve, reject) => {
        this.#senders.push({ frames: list, done, resolve, reject });
      });
      // Only the end of the port rejects it, which the port tells everywhere: that must not end the
      // process of a sender who does not look.
      waiting.catch(() => {});
      this.#pump();
      return waiting;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  flush(): Promise<void> {
    const flushed = new Promise<void>((resolve, reject) => {
      this.#flushers.push({ resolve, reject });
    });
    this.#pump();
    return flushed;
  }

  /** As flush, for at most `limit` ms, without an error. */
  async flushFor(limit: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, limit);
    });
    await Promise.race([this.flush().catch(() => {}), timeout]);
    clearTimeout(timer);
  }

  /** Rejects everybody who waits. */
  end(error: Error): void {
    for (const sender of this.#senders.splice(0)) sender.reject(error);
    for (const flusher of this.#flushers.splice(0)) flusher.reject(error);
  }

  /** Serves who waits until there is no room, and asks to be called when there is. */
  #pump(): void {
    try {
      do {
        this.#transmitter.reclaim();
        this.#serve();
      } while (this.#waiting() && this.#transmitter.enableCalls(this.#until()));
      if (!this.#waiting()) this.#transmitter.disableCalls();
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  #serve(): void {
    for (let sender = this.#senders[0]; sender; sender = this.#senders[0]) {
      sender.done += this.#transmitter.push(sender.frames, sender.done);
      if (sender.done < sender.frames.length) return;
      this.#senders.shift();
      sender.resolve();
    }
    if (this.#transmitter.inFlight > 0) return;
    for (const flusher of this.#flushers.splice(0)) flusher.resolve();
  }

  #waiting(): boolean {
    return this.#senders.length > 0 || this.#flushers.length > 0;
  }

  #until(): 'half' | 'all' {
    return this.#senders.length > 0 ? 'half' : 'all';
  }

  #push(frames: Sendable | readonly Sendable[]): number {
    if (isMany(frames)) return this.#transmitter.push(frames, 0);
    return this.#transmitter.pushSingle(frames) ? 1 : 0;
  }
}

function isMany(frames: Sendable | readonly Sendable[]): frames is readonly Sendable[] {
  return Array.isArray(frames);
}
