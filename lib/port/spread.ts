/** Spread: what a port sends, over its queue pairs; a flow stays on its pair, and so in order. */
import { flowHash } from '../net/flow-hash.js';
import { isFrame, type Sendable } from '../net/frame.js';
import type { SendQueue } from './send-queue.js';

/** Given to every sender that need not wait, so that sending allocates nothing. */
const DONE = Promise.resolve();

export class Spread {
  readonly #all: readonly SendQueue[];
  readonly #fail: (error: Error) => void;
  /** Those that take frames now, at least one. */
  #open: readonly SendQueue[];

  /** `fail` hears of a ring that breaks, whoever noticed. */
  constructor(queues: readonly SendQueue[], fail: (error: Error) => void) {
    this.#all = queues;
    this.#open = queues;
    this.#fail = fail;
  }

  /** The queues that take frames from now on; without one, those that did go on. */
  use(queues: readonly SendQueue[]): void {
    if (queues.length > 0) this.#open = queues;
  }

  /** The first frames, as many as there is room for now; where not all, asks for more. Returns how many. */
  trySend(frames: Sendable | readonly Sendable[]): number {
    const sent = this.#offer(frames);
    if (!isMany(frames)) {
      if (sent === 0) this.#queueOf(frames).askForRoom();
    } else if (sent < frames.length) {
      this.#queueOf(frames[sent] as Sendable).askForRoom();
    }
    return sent;
  }

  #offer(frames: Sendable | readonly Sendable[]): number {
    try {
      if (isMany(frames))
        return this.#open.length === 1 ? this.#toOne(frames) : this.#toMany(frames);
      const queue = this.#queueOf(frames);
      const sent = queue.offer(frames);
      queue.publish();
      return sent ? 1 : 0;
    } catch (error) {
      this.#fail(error as Error);
      throw error;
    }
  }

  send(frames: Sendable | readonly Sendable[]): Promise<void> {
    try {
      const sent = this.#offer(frames);
      if (sent === (isMany(frames) ? frames.length : 1)) return DONE;
      const waiting = this.#wait(isMany(frames) ? frames : [frames], sent);
      // Only the end of the port rejects it, which the port tells everywhere: that must not end the
      // process of a sender who does not look.
      waiting.catch(() => {});
      return waiting;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Fulfilled when every queue's device has sent what it was given. */
  async flush(): Promise<void> {
    await Promise.all(this.#all.map((queue) => queue.flush()));
  }

  /** Rejects everybody who waits. */
  end(error: Error): void {
    for (const queue of this.#all) queue.end(error);
  }

  #toOne(frames: readonly Sendable[]): number {
    const queue = this.#open[0] as SendQueue;
    const count = queue.offerMany(frames);
    queue.publish();
    return count;
  }

  #toMany(frames: readonly Sendable[]): number {
    let count = 0;
    while (count < frames.length) {
      const frame = frames[count] as Sendable;
      if (!this.#queueOf(frame).offer(frame)) break;
      count++;
    }
    for (const queue of this.#open) queue.publish();
    return count;
  }

  /** Without a detour for one queue: promises are fulfilled in the order of their frames. */
  #wait(frames: readonly Sendable[], from: number): Promise<void> {
    const [queue] = this.#open as [SendQueue];
    return this.#open.length === 1 ? queue.wait(frames, from) : this.#waitForMany(frames, from);
  }

  async #waitForMany(frames: readonly Sendable[], from: number): Promise<void> {
    const shares = new Map<SendQueue, Sendable[]>();
    for (let i = from; i < frames.length; i++) {
      const frame = frames[i] as Sendable;
      const queue = this.#queueOf(frame);
      const share = shares.get(queue);
      if (share) share.push(frame);
      else shares.set(queue, [frame]);
    }
    await Promise.all(Array.from(shares, ([queue, share]) => queue.wait(share, 0)));
  }

  #queueOf(frame: Sendable): SendQueue {
    const open = this.#open;
    if (open.length === 1) return open[0] as SendQueue;
    const hash = isFrame(frame) ? flowHash(frame.buffer, frame.length) : flowHash(frame);
    const own = this.#all[hash % this.#all.length] as SendQueue;
    return open.length === this.#all.length || open.includes(own)
      ? own
      : (open[hash % open.length] as SendQueue);
  }
}

function isMany(frames: Sendable | readonly Sendable[]): frames is readonly Sendable[] {
  return Array.isArray(frames);
}
