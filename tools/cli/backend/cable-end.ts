/**
 * One end of a cable: of all front-ends of a socket, the one that frames are given to. It is the one that started last
 * of those that run, but for those that have not read for a while, where another does.
 */
import type { Frame, VhostUserDevice } from '../../../lib/index.js';

/** How long one without room is waited for while others run, in ms. */
const PATIENCE = 1000;

export class CableEnd {
  /** In the order in which they started. */
  readonly #running: VhostUserDevice[] = [];
  /** Those that had no room for longer than is waited for, until they have. */
  readonly #full = new Set<VhostUserDevice>();
  #chosen: VhostUserDevice | undefined;
  /** Bursts that wait for room. */
  readonly #waiting = new Set<() => void>();
  readonly #lose: (frames: number) => void;

  /** `lose` is told of frames that came while nobody ran. */
  constructor(lose: (frames: number) => void) {
    this.#lose = lose;
  }

  started(device: VhostUserDevice): void {
    this.#running.push(device);
    this.#choose();
  }

  /** A device that is gone stopped before. */
  stopped(device: VhostUserDevice): void {
    this.#running.splice(this.#running.indexOf(device), 1);
    this.#choose();
  }

  /** Gives frames to the one that has the cable. The promise is for those that wait until there is room. */
  give(frames: readonly Frame[], pair: number): void | Promise<void> {
    const done = this.#enqueue(frames, pair);
    return done < frames.length ? this.#giveRest(frames, done, pair) : undefined;
  }

  async #giveRest(frames: readonly Frame[], from: number, pair: number): Promise<void> {
    for (let done = from; done < frames.length; ) {
      const device = this.#chosen;
      if (device) await this.#room(device, pairOf(device, pair));
      done += this.#enqueue(frames.slice(done), pair);
    }
  }

  /** How many frames need no more care: they were given, or are lost. */
  #enqueue(frames: readonly Frame[], pair: number): number {
    const device = this.#chosen;
    if (device?.running) return device.enqueue(frames, pairOf(device, pair));
    this.#lose(frames.length);
    return frames.length;
  }

  /** Until a device has room, or another has the cable. */
  #room(device: VhostUserDevice, pair: number): Promise<void> {
    const room = device.whenRoom(pair);
    return new Promise((resolve) => {
      const patience =
        this.#running.length > 1
          ? setTimeout(() => this.#passOver(device, room), PATIENCE)
          : undefined;
      const done = () => {
        clearTimeout(patience);
        this.#waiting.delete(done);
        resolve();
      };
      this.#waiting.add(done);
      void room.then(done);
    });
  }

  #passOver(device: VhostUserDevice, room: Promise<void>): void {
    this.#full.add(device);
    void room.then(() => {
      this.#full.delete(device);
      this.#choose();
    });
    this.#choose();
  }

  #choose(): void {
    const last = this.#running.findLast((device) => !this.#full.has(device));
    const chosen = last ?? this.#running.at(-1);
    if (chosen === this.#chosen) return;
    this.#chosen = chosen;
    for (const done of [...this.#waiting]) done();
  }
}

/** The guest may use fewer pairs than the one that sent. */
function pairOf(device: VhostUserDevice, pair: number): number {
  return device.isActive(pair) ? pair : 0;
}
