/** One queue pair's senders that wait for room, in the order they came, driven by the call eventfd. */
import type { EventFd } from '../host/event-fd.js';
import { checkFrame, type Sendable } from '../net/frame.js';
import type { PortCounters } from './counters.js';
import type { Transmitter } from './transmitter.js';

interface Sender {
  frames: readonly Sendable[];
  /** Frames of it that the device has. */
  done: number;
  resolve: () => void;
  reject: (error: Error) => void;
}

/**
 * Eighths of what is in flight after which a sender that waits is called. What is left then must last until
 * the program is awake and has sent more: a device that finds nothing goes to sleep, and waking it costs
 * more than anything else. But each call costs too.
 */
const EIGHTHS = [1, 2, 4];
/** Looks in a row at a ring that has room again each time, before others get their turn. */
const LOOKS_PER_TURN = 16;

export class SendQueue {
  readonly #transmitter: Transmitter;
  readonly #fail: (error: Error) => void;
  readonly #senders: Sender[] = [];
  #paused = false;
  /** Frames that were in flight when somebody who does not wait asked for room, or -1. */
  #askedAt = -1;
  /** Which of them, by how much was left the last times of what was in flight at the asking. */
  #choice = 1;
  #asking = 0;
  #again: NodeJS.Immediate | undefined;
  readonly #room: () => void;
  readonly #flushers: { resolve: () => void; reject: (error: Error) => void }[] = [];

  constructor(
    transmitter: Transmitter,
    call: EventFd,
    counters: PortCounters,
    { fail, room }: { fail: (error: Error) => void; room: () => void },
  ) {
    this.#transmitter = transmitter;
    this.#fail = fail;
    this.#room = room;
    call.onSignal((count) => {
      counters.txCalls += count;
      this.#learn();
      this.#pump();
    });
    call.unref();
  }

  /** Until {@link resume} the ring stays as it is, and everybody waits. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#pump();
  }

  /**
   * Adds a frame that {@link publish} shows the device. False where there is no room, or somebody waits
   * for it already: who came first is first. Throws `ERR_RING_BROKEN`.
   */
  offer(frame: Sendable): boolean {
    return this.#takesMore() && this.#transmitter.add(frame);
  }

  /** As {@link offer}, the first of the frames. Returns how many. */
  offerMany(frames: readonly Sendable[]): number {
    return this.#takesMore() ? this.#transmitter.fill(frames, 0) : 0;
  }

  #takesMore(): boolean {
    return this.#senders.length === 0 && !this.#paused;
  }

  /** Throws `ERR_RING_BROKEN`. */
  publish(): void {
    this.#transmitter.publish();
  }

  /** Calls `room` once, later: when nobody waits and part of what is in flight now has been sent. */
  askForRoom(): void {
    if (this.#askedAt < 0) this.#askedAt = this.#transmitter.inFlight;
    if (!this.#paused && this.#enableCalls()) this.#later();
  }

  /** Sends the frames from `done` on when there is room. */
  wait(frames: readonly Sendable[], done: number): Promise<void> {
    const waiting = new Promise<void>((resolve, reject) => {
      this.#senders.push({ frames, done, resolve, reject });
    });
    this.#pump();
    return waiting;
  }

  flush(): Promise<void> {
    const flushed = new Promise<void>((resolve, reject) => {
      this.#flushers.push({ resolve, reject });
    });
    this.#pump();
    return flushed;
  }

  /** Rejects everybody who waits; the ring is left alone until somebody waits again. */
  end(error: Error): void {
    if (this.#again) clearImmediate(this.#again);
    this.#again = undefined;
    this.#askedAt = -1;
    for (const sender of this.#senders.splice(0)) sender.reject(error);
    for (const flusher of this.#flushers.splice(0)) flusher.reject(error);
  }

  #pump(): void {
    // What a listener throws is not the port's failure.
    if (!this.#paused && this.#serveAll()) this.#room();
  }

  /**
   * Serves who waits until there is no room, and asks to be called when there is. Returns whether
   * somebody is to be told of room.
   */
  #serveAll(): boolean {
    try {
      let tell = false;
      for (let looks = 0; looks < LOOKS_PER_TURN; looks++) {
        this.#transmitter.reclaim();
        this.#serve();
        tell ||= this.#hasRoom();
        if (!this.#waiting()) {
          this.#transmitter.disableCalls();
          return tell;
        }
        if (!this.#enableCalls()) return tell;
      }
      // A device that says otherwise at every look must not hold up the event loop.
      this.#later();
      return tell;
    } catch (error) {
      this.#fail(error as Error);
      return false;
    }
  }

  #serve(): void {
    for (let sender = this.#senders[0]; sender; sender = this.#senders[0]) {
      const spoilt = whatIsSpoilt(sender);
      if (spoilt) {
        this.#senders.shift();
        sender.reject(spoilt);
        continue;
      }
      sender.done += this.#transmitter.push(sender.frames, sender.done);
      if (sender.done < sender.frames.length) return;
      this.#senders.shift();
      sender.resolve();
    }
    if (this.#flushers.length === 0 || this.#transmitter.inFlight > 0) return;
    for (const flusher of this.#flushers.splice(0)) flusher.resolve();
  }

  #later(): void {
    this.#again ??= setImmediate(() => {
      this.#again = undefined;
      this.#pump();
    });
  }

  /** Whether there is the room that somebody asked for; it is told once. */
  #hasRoom(): boolean {
    if (this.#askedAt < 0 || this.#senders.length > 0) return false;
    const { inFlight } = this.#transmitter;
    if (inFlight >= this.#askedAt && inFlight > 0) return false;
    this.#askedAt = -1;
    return true;
  }

  #waiting(): boolean {
    return this.#askedAt >= 0 || this.#senders.length > 0 || this.#flushers.length > 0;
  }

  /** Returns true where there is no need to wait for the call. */
  #enableCalls(): boolean {
    const hurry = this.#askedAt >= 0 || this.#senders.length > 0;
    this.#asking = this.#transmitter.inFlight;
    return this.#transmitter.enableCalls(hurry ? (EIGHTHS[this.#choice] as number) : 8);
  }

  /** Asks earlier the next time where little was left when the call came, later where much was. */
  #learn(): void {
    if (this.#askedAt < 0 && this.#senders.length === 0) return;
    // In integers: a fraction would be garbage.
    const left = 8 * this.#transmitter.waiting;
    const asked = this.#asking;
    if (left < asked) this.#choice = Math.max(0, this.#choice - 1);
    else if (left > 5 * asked) this.#choice = Math.min(EIGHTHS.length - 1, this.#choice + 1);
  }
}

/**
 * What is wrong with the frames of a sender that waited: they lay in memory that is gone, as a guest's is when it
 * leaves. That is its own loss, and not the port's. The frames of a burst lie in one memory: both ends tell.
 */
function whatIsSpoilt({ frames, done }: Sender): Error | undefined {
  if (done >= frames.length) return undefined;
  try {
    checkFrame(frames[done] as Sendable);
    checkFrame(frames[frames.length - 1] as Sendable);
    return undefined;
  } catch (error) {
    return error as Error;
  }
}
