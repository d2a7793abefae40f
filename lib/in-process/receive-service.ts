/** ReceiveService: fills the buffers of a receive ring with the frames of a queue. */

import { native, type Poller } from '../native.js';
import { headerLengthOf, NUM_BUFFERS_OFFSET } from '../net/header.js';
import { checked } from '../syscall.js';
import { hasBit, VIRTIO_NET_F_MRG_RXBUF } from '../uapi/virtio-net.js';
import { MOST_FRAMES, MOST_VECTORS } from './frame-batch.js';
import type { HeldFrame } from './held-frame.js';
import type { InProcessCounters } from './in-process-counters.js';
import {
  BYTES_PER_TURN,
  costOf,
  FRAMES_PER_TURN,
  RingService,
  type RingServiceOptions,
} from './ring-service.js';
import { TakenChains } from './taken-chains.js';

const EAGAIN = -11;
/** Least frames to look for at once. */
const FEW_FRAMES = 4;
/** Frames in a row that fit into one chain, after which the next ones get one each. */
const SHORT_ENOUGH = 32;
/** Bytes of the longest frame with the longest header. */
const LONGEST = 65_600;
/** ms until a queue that failed is tried again: it is detached, or its interface is gone or down. */
const FAILED_DELAY = 100;

export class ReceiveService extends RingService {
  readonly #counters: InProcessCounters;
  readonly #held: HeldFrame;
  readonly #features: bigint;
  readonly #headerLength: number;
  readonly #mergeable: boolean;
  readonly #poller: Poller;
  readonly #chains: TakenChains;
  /** Frames to look for at once: twice what came last. */
  #wish = FEW_FRAMES;
  /** Frames that still get several chains each, for a long one came. */
  #long = 0;
  /** Chains that are not enough for the frame that waits. */
  #tooFew = 0;

  constructor(options: RingServiceOptions & { counters: InProcessCounters; held: HeldFrame }) {
    super(options);
    this.#counters = options.counters;
    this.#held = options.held;
    this.#features = options.features;
    this.#headerLength = headerLengthOf(options.features);
    this.#mergeable = hasBit(options.features, VIRTIO_NET_F_MRG_RXBUF);
    this.#chains = new TakenChains(this.ring, this.batch);
    this.#poller = new native.Poller(this.port, false, () => this.turn());
    try {
      checked(this.#poller.error, 'uv_poll_start');
    } catch (error) {
      super.stop();
      throw error;
    }
    this.#poller.unref();
    this.#poller.pause();
  }

  override start(): void {
    const { features, waits } = this.#held;
    // Of a driver before this one: its header may be another, and several buffers more than this one takes.
    if (waits && features !== this.#features) {
      this.#held.clear();
      this.#counters.receiveDropped++;
    }
    super.start();
  }

  override stop(): void {
    this.#poller.close();
    super.stop();
  }

  protected rest(): void {
    this.#poller.pause();
  }

  protected serve(): void {
    for (let left = FRAMES_PER_TURN; left > 0; ) {
      if (this.#held.waits && !this.#deliverHeld()) {
        if (this.#starves(this.#tooFew)) return;
        left--;
        continue;
      }
      const frames = this.#prepare();
      if (frames === 0) {
        if (this.#starves(0)) return;
        left--;
        continue;
      }
      const { vectors, ends, results } = this.batch;
      const tried = native.framesRead(this.port, vectors, ends, results, 0, frames);
      const error = Math.min(0, results[tried - 1] as number);
      const count = error < 0 ? tried - 1 : tried;
      this.#finish(count);
      if (error < 0) {
        this.#wait(error);
        return;
      }
      this.#wish = Math.min(2 * count, MOST_FRAMES);
      left -= costOf(results, count);
    }
    this.goOnSoon();
  }

  /** Makes a batch of receive buffers, and returns for how many frames. Throws `ERR_RING_BROKEN`. */
  #prepare(): number {
    const { batch } = this;
    const chains = this.#chains;
    const { address, spare } = this.#held;
    const wish = this.#long > 0 ? 1 : this.#wish;
    let room = 0;
    chains.clear();
    while (
      batch.count < wish &&
      room < BYTES_PER_TURN &&
      batch.hasRoom &&
      chains.take(this.#headerLength)
    ) {
      // A vector stays for what may be longer.
      while (this.#long > 0 && chains.room < LONGEST && chains.takeMore(MOST_VECTORS - 1));
      // Where nothing that is longer writes there, the kernel leaves these bytes as they were.
      for (let at = NUM_BUFFERS_OFFSET + 2; at < this.#headerLength; at += 2) {
        batch.writeU16(batch.count, at, 0);
      }
      room += chains.room;
      chains.end();
      batch.endWith(address, spare.length);
    }
    return batch.count;
  }

  /** Gives the driver `count` frames that came; the chains that are left go back to the ring. */
  #finish(count: number): void {
    const { results } = this.batch;
    const chains = this.#chains;
    let done = 0;
    while (done < count && (results[done] as number) <= chains.roomOf(done)) done++;
    for (let i = 0; i < done; i++) this.#complete(i, results[i] as number);
    // Only the last can be longer than its chains: the call ends behind it.
    if (done < count) this.#overflow(done, results[done] as number);
    chains.leaveRest();
    this.publish();
  }

  #complete(frame: number, bytes: number): void {
    const buffers = this.#chains.give(frame, bytes);
    if (this.#headerLength > NUM_BUFFERS_OFFSET) {
      this.batch.writeU16(frame, NUM_BUFFERS_OFFSET, buffers);
    }
    const { marks } = this;
    if (marks) {
      this.batch.eachPlace(frame, bytes, (region, at, length) => marks.mark(region, at, length));
    }
    this.#counters.received++;
    if (this.#long > 0) this.#long = buffers > 1 ? SHORT_ENOUGH : this.#long - 1;
  }

  /** A frame that its chains have no room for. */
  #overflow(frame: number, bytes: number): void {
    const room = this.#chains.roomOf(frame);
    if (!this.#mergeable || bytes >= room + this.#held.spare.length) {
      this.#counters.receiveDropped++;
      return;
    }
    this.#long = SHORT_ENOUGH;
    this.#held.features = this.#features;
    this.#held.take(room, bytes, (target) => this.batch.copyTo(frame, target));
  }

  /** Gives the driver the frame that waits. False where there are too few buffers. Throws `ERR_RING_BROKEN`. */
  #deliverHeld(): boolean {
    const chains = this.#chains;
    const { bytes } = this.#held;
    chains.clear();
    if (chains.take(this.#headerLength)) {
      while (chains.room < bytes.length && chains.takeMore(MOST_VECTORS));
    }
    if (chains.room < bytes.length && !chains.full && chains.count < this.ring.size) {
      this.#tooFew = chains.count;
      chains.leaveRest();
      // What is bad among them is told now.
      if (this.ring.broken) this.ring.take();
      return false;
    }
    if (chains.room >= bytes.length) {
      chains.end();
      this.batch.end();
      this.batch.copyFrom(0, bytes);
      this.#complete(0, bytes.length);
      chains.leaveRest();
      this.publish();
    } else {
      // More than all of the ring holds: it would wait forever.
      chains.leaveRest();
      this.#counters.receiveDropped++;
    }
    this.#held.clear();
    return true;
  }

  /** Asks for a kick when more than `count` buffers wait. False where that is so already. */
  #starves(count: number): boolean {
    if (this.ring.enableKicks(count)) {
      this.ring.disableKicks();
      return false;
    }
    this.#poller.pause();
    return true;
  }

  /** Nothing came, or nothing can. */
  #wait(error: number): void {
    this.#wish = FEW_FRAMES;
    if (error === EAGAIN) {
      this.#poller.resume();
      return;
    }
    this.#poller.pause();
    this.goOnLater(FAILED_DELAY);
  }
}
