/** One queue pair of a back end while it is served: kicks in, bursts out, frames in, calls out. */
import { EventFd } from '../host/event-fd.js';
import type { Frame, Sendable } from '../net/frame.js';
import type { VringDevice } from '../vring/device.js';
import { type BackendCounters, newCounters } from './backend-counters.js';
import { BackendRing } from './backend-ring.js';
import type { FramesListener, PairHost } from './pair-host.js';
import { type ChainNotes, RingBurst } from './ring-burst.js';
import { RingFill } from './ring-fill.js';
import { signalTo } from './ring-signal.js';

/** Bursts that are handled before other work of the event loop gets its turn. */
const TURN = 16;
/** How often a ring without kicks is looked at, in ms. */
const POLL_EVERY = 1;

export class BackendPair {
  readonly index: number;
  readonly receive: BackendRing;
  readonly transmit: BackendRing;
  readonly counters: BackendCounters = newCounters();
  readonly #host: PairHost;
  #burst: RingBurst | undefined;
  #fill: RingFill | undefined;
  /** A frame that is to come before those of the guest. */
  #ahead: Frame[] = [];
  #scheduled: NodeJS.Immediate | undefined;
  /** The consumer has a burst still. */
  #pending = false;
  #poll: NodeJS.Timeout | undefined;
  #waiting: (() => void)[] = [];

  constructor(index: number, host: PairHost) {
    this.index = index;
    this.receive = new BackendRing(2 * index);
    this.transmit = new BackendRing(2 * index + 1);
    this.#host = host;
  }

  get rings(): readonly [BackendRing, BackendRing] {
    return [this.receive, this.transmit];
  }

  /** Whether frames may go both ways. */
  get active(): boolean {
    return this.rings.every(({ device, enabled }) => device !== undefined && enabled);
  }

  /**
   * Begins to serve a ring that has a device end now. `again`: chains that were in flight before. Buffers to
   * receive among them go back empty: who was to fill them did not come to it.
   */
  started(ring: BackendRing, notes: ChainNotes | undefined, again: readonly number[]): void {
    const device = ring.device as VringDevice;
    const { counters } = this;
    const { headerLength, mergeable, sent, given } = this.#host.use;
    if (ring === this.transmit) {
      const pair = this.index;
      const common = { ring: device, counters, headerLength, notes };
      this.#burst = new RingBurst({ ...common, rules: sent, pair, again });
    } else {
      const common = { ring: device, counters, headerLength, mergeable };
      this.#fill = new RingFill({ ...common, flags: given.flags });
      const heads = Uint16Array.from(again);
      for (const head of heads) device.give(head, 0);
      device.disableKicks();
      notes?.given(heads, heads.length);
      const wanted = device.publish();
      notes?.shown(heads, heads.length);
      if (wanted) this.#call(ring);
    }
    this.listen(ring);
    // What was kicked before, to whoever served it then, is kicked no more.
    this.kicked(ring);
  }

  /** Listens to the kicks of a ring, which came anew. */
  listen(ring: BackendRing): void {
    const { kick } = ring;
    if (kick instanceof EventFd && ring.device) {
      kick.offSignal();
      kick.onSignal(() => {
        this.counters.kicks++;
        this.kicked(ring);
      });
    }
    clearInterval(this.#poll);
    this.#poll = undefined;
    if (this.rings.some((one) => one.device && one.kick === 'polled')) {
      this.#poll = setInterval(() => this.look(), POLL_EVERY);
    }
  }

  /** There may be something new in a ring. */
  kicked(ring: BackendRing): void {
    if (ring === this.transmit) this.#serve();
    else this.#wake();
  }

  /** There may be something new in either. */
  look(): void {
    for (const ring of this.rings) this.kicked(ring);
  }

  /** Gives everything back that was taken of a ring, and serves it no more. Returns its position. */
  stop(ring: BackendRing): number {
    if (ring === this.transmit) {
      this.release();
      this.#burst?.leave();
      this.#burst = undefined;
      clearImmediate(this.#scheduled);
      this.#scheduled = undefined;
    } else {
      this.#fill = undefined;
    }
    const base = ring.stop();
    this.listen(ring);
    this.#wake();
    return base;
  }

  close(): void {
    for (const ring of this.rings) {
      this.stop(ring);
      ring.close();
    }
  }

  /** As {@link VhostUserDevice.dequeue}. */
  dequeue(): readonly Frame[] {
    this.release();
    // Of the look before: what was cut away reads as zeros, which may look as if nothing came.
    this.#host.checkFiles();
    const burst = this.#burst;
    if (!burst || !this.transmit.enabled || !this.#host.serving) return [];
    // Whoever looks again and again needs no kick, which is a system call of the guest's.
    if (!this.#host.listener) {
      this.transmit.device?.disableKicks();
      this.#logUsed(this.transmit);
    }
    return this.#collect(burst) ?? [];
  }

  /** As {@link VhostUserDevice.release}. */
  release(): void {
    const burst = this.#burst;
    if (!burst || burst.held === 0) return;
    const wanted = burst.release();
    this.#logUsed(this.transmit);
    if (wanted) this.#call(this.transmit);
    this.#host.log?.tell();
  }

  /** As {@link VhostUserDevice.enqueue}. */
  enqueue(frames: readonly Sendable[]): number {
    const fill = this.#fill;
    if (!fill || !this.receive.enabled || !this.#host.serving) return 0;
    fill.log = this.#host.bufferLog;
    let count = 0;
    let broken: Error | undefined;
    try {
      for (; count < frames.length; count++) if (!fill.put(frames[count] as Sendable)) break;
    } catch (error) {
      broken = error as Error;
    }
    // A bit may be taken away, and its page copied, at any time: each write is noted when it was made, and what the
    // used ring tells of before it tells.
    this.#logUsed(this.receive);
    const wanted = fill.publish();
    this.#logUsed(this.receive);
    if (wanted) this.#call(this.receive);
    this.#host.log?.tell();
    if (broken) this.#broken(this.receive, broken);
    this.#host.checkFiles();
    return count;
  }

  /** As {@link VhostUserDevice.whenRoom}. */
  whenRoom(): Promise<void> {
    const { device, enabled } = this.receive;
    const missed = this.#fill?.missed ?? 0;
    if (!device || device.broken) return Promise.resolve();
    // While it is not served no frame is taken, whatever room there is: whoever tries again at once would for ever.
    if (enabled && this.#host.serving) {
      if (device.enableKicks(missed)) return Promise.resolve();
      this.#logUsed(this.receive);
    }
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  /** Hands a frame of our own to the consumer, as if the guest had sent it. */
  inject(frame: Frame): void {
    this.#ahead = [frame];
    this.#serve();
  }

  /** There may be room for frames, or there will be none any more. */
  #wake(): void {
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    this.receive.device?.disableKicks();
    for (const resolve of waiting) resolve();
  }

  #serve(): void {
    this.#serveTurn();
    this.#host.checkFiles();
  }

  #serveTurn(): void {
    const burst = this.#burst;
    if (!burst || this.#pending || this.#scheduled || !this.#host.serving) return;
    const { listener } = this.#host;
    const { device } = this.transmit;
    const { use } = this.transmit;
    if (!device || use === 'unsaid' || (use === 'enabled' && !listener)) return;
    device.disableKicks();
    for (let turn = 0; turn < TURN; turn++) {
      const frames = this.#collect(burst);
      if (frames === undefined) return;
      if (burst.held === 0 && frames.length === 0) {
        this.#logUsed(this.transmit);
        // A frame that came before the guest knew that it has to kick.
        if (device.enableKicks()) continue;
        return;
      }
      // A ring that is disabled loses what it is sent (vhost-user, "Ring states").
      if (this.transmit.enabled && listener && frames.length > 0 && !this.#hand(listener, frames)) {
        return;
      }
      if (this.#burst !== burst) return;
      this.release();
    }
    this.#scheduled = setImmediate(() => {
      this.#scheduled = undefined;
      this.#serve();
    });
  }

  /** Whether the consumer is done with a burst already. */
  #hand(listener: FramesListener, frames: readonly Frame[]): boolean {
    let handled: unknown;
    try {
      handled = listener(frames, this.index);
    } catch (error) {
      this.#host.failed(error as Error);
      return false;
    }
    if (!(handled instanceof Promise)) return true;
    this.#pending = true;
    const burst = this.#burst;
    handled
      .then(() => {
        this.#pending = false;
        if (this.#burst === burst) this.release();
        this.#serve();
      })
      .catch((error) => this.#host.failed(error as Error));
    return false;
  }

  /** The next burst; undefined where the ring broke. */
  #collect(burst: RingBurst): readonly Frame[] | undefined {
    if (this.#ahead.length > 0) {
      const frames = this.#ahead;
      this.#ahead = [];
      return frames;
    }
    try {
      return burst.collect();
    } catch (error) {
      this.#broken(this.transmit, error as Error);
      return undefined;
    }
  }

  #broken(ring: BackendRing, error: Error): void {
    if (signalTo(ring.err) === 'in-band') this.#host.inBand(ring, 'err');
    this.#host.broken(ring, error);
  }

  #call(ring: BackendRing): void {
    if (ring.call === undefined) return;
    this.counters.calls++;
    if (signalTo(ring.call) === 'in-band') this.#host.inBand(ring, 'call');
    this.#host.called(ring);
  }

  /** All of a used ring is noted: it is a page or a few. */
  #logUsed(ring: BackendRing): void {
    if (ring.usedLog !== undefined) this.#host.log?.mark(ring.usedLog, ring.usedBytes);
  }
}
