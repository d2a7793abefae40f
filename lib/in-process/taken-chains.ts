/**
 * TakenChains: the receive buffers of a batch of frames, a chain or several for each. They are given back in the
 * order that they were taken, and those behind the last one that was needed are left in the ring: so the ring's
 * position says all that there is to say, whenever the device stops.
 */
import type { VringDevice } from '../vring/device.js';
import { type FrameBatch, MOST_FRAMES, MOST_VECTORS } from './frame-batch.js';

export class TakenChains {
  readonly #ring: VringDevice;
  readonly #batch: FrameBatch;
  /** Heads of the chains, and bytes that each holds. */
  readonly #heads: Uint16Array;
  readonly #rooms: Float64Array;
  /** For each frame, the chain behind its last. */
  readonly #ends = new Uint32Array(MOST_FRAMES);
  #taken = 0;
  #given = 0;
  /** Of the frame under way: its first chain, and bytes of all its chains. */
  #first = 0;
  #room = 0;
  #full = false;

  constructor(ring: VringDevice, batch: FrameBatch) {
    this.#ring = ring;
    this.#batch = batch;
    const most = MOST_FRAMES + MOST_VECTORS;
    this.#heads = new Uint16Array(most);
    this.#rooms = new Float64Array(most);
  }

  /** Forgets what was taken, and the batch. */
  clear(): void {
    this.#batch.clear();
    this.#taken = this.#given = this.#first = this.#room = 0;
    this.#full = false;
  }

  /** Bytes that the chains of the frame under way hold. */
  get room(): number {
    return this.#room;
  }

  /** How many those are. */
  get count(): number {
    return this.#taken - this.#first;
  }

  /** Whether another chain waits that has more buffers than one frame may take. */
  get full(): boolean {
    return this.#full;
  }

  /**
   * Takes the first chain of a frame, of `least` bytes at least. False where there is none. Throws
   * `ERR_RING_BROKEN`, unless there are frames before it.
   */
  take(least: number): boolean {
    const ring = this.#ring;
    try {
      if (!ring.takeWritable()) return false;
      const { chain } = ring;
      if (chain.writableBytes < least) {
        throw ring.refuse(`a receive buffer of ${chain.writableBytes} bytes`);
      }
      if (chain.count >= MOST_VECTORS) throw ring.refuse(`a chain of ${chain.count} buffers`);
    } catch (error) {
      if (this.#taken === 0) throw error;
      // The good ones first: the next look finds it broken still.
      return false;
    }
    this.#add();
    return true;
  }

  /** Takes one more chain, where the frame has `most` buffers with it at most. */
  takeMore(most: number): boolean {
    const ring = this.#ring;
    try {
      if (!ring.takeWritable()) return false;
    } catch {
      return false;
    }
    if (this.#batch.open + ring.chain.count > most) {
      ring.untake(1);
      this.#full = true;
      return false;
    }
    this.#add();
    return true;
  }

  /** Ends the chains of the frame under way. */
  end(): void {
    this.#ends[this.#batch.count] = this.#taken;
    this.#first = this.#taken;
    this.#room = 0;
  }

  /** Bytes that the chains of a frame hold. */
  roomOf(frame: number): number {
    let room = 0;
    for (let i = this.#start(frame); i < (this.#ends[frame] as number); i++) {
      room += this.#rooms[i] as number;
    }
    return room;
  }

  /** Gives back the chains that `bytes` bytes of a frame lie in. Returns how many those are, at least one. */
  give(frame: number, bytes: number): number {
    const first = this.#start(frame);
    let left = bytes;
    let at = first;
    do {
      const written = Math.min(left, this.#rooms[at] as number);
      this.#ring.give(this.#heads[at++] as number, written);
      left -= written;
    } while (left > 0);
    this.#given = at;
    return at - first;
  }

  /** Leaves in the ring what was not given back. */
  leaveRest(): void {
    this.#ring.untake(this.#taken - this.#given);
    this.#taken = this.#given;
  }

  #start(frame: number): number {
    return frame === 0 ? 0 : (this.#ends[frame - 1] as number);
  }

  #add(): void {
    const { chain } = this.#ring;
    this.#heads[this.#taken] = chain.head;
    this.#rooms[this.#taken++] = chain.writableBytes;
    this.#room += chain.writableBytes;
    this.#batch.append(chain);
  }
}
