/** TransmitService: gives the frames of a transmit ring to a queue. */
import type { PacketQueue } from '../host/packet-queue.js';
import { Tap } from '../host/tap.js';
import { UNLIMITED_SEND_BUFFER } from '../host/tun-queue.js';
import { logVhost } from '../log.js';
import { type IoUring, native } from '../native.js';
import { MOST_FRAMES, MOST_VECTORS } from './frame-batch.js';
import type { InProcessCounters } from './in-process-counters.js';
import {
  BYTES_PER_TURN,
  costOf,
  FRAMES_PER_TURN,
  RingService,
  type RingServiceOptions,
} from './ring-service.js';

const ENOMEM = -12;
const EAGAIN = -11;
const EOPNOTSUPP = -95;
const ENOBUFS = -105;
/** ms until a queue that was full is tried again. */
const FULL_DELAY = 1;

export class TransmitService extends RingService {
  readonly #counters: InProcessCounters;
  readonly #heads = new Uint16Array(MOST_FRAMES);
  #uring: IoUring | undefined;

  /** `uring`: for many frames in one system call, where the kernel has it. */
  constructor(
    options: RingServiceOptions & { counters: InProcessCounters; uring: IoUring | undefined },
  ) {
    super(options);
    this.#counters = options.counters;
    // It goes on behind a frame that a full queue does not take, which would change their order.
    this.#uring = isNeverFull(options.queue) ? options.uring : undefined;
  }

  protected rest(): void {}

  protected serve(): void {
    for (let left = FRAMES_PER_TURN; left > 0; ) {
      const count = this.#take();
      if (count === 0) {
        if (!this.ring.enableKicks()) return;
        this.ring.disableKicks();
        left--;
        continue;
      }
      const done = this.#send(count);
      this.ring.untake(count - done);
      for (let i = 0; i < done; i++) this.ring.give(this.#heads[i] as number, 0);
      this.publish();
      if (done < count) {
        this.goOnLater(FULL_DELAY);
        return;
      }
      left -= costOf(this.batch.results, count);
    }
    this.goOnSoon();
  }

  /** Makes a batch of the chains that wait, and returns how many. Throws `ERR_RING_BROKEN` where none is good. */
  #take(): number {
    const { batch, ring } = this;
    let bytes = 0;
    batch.clear();
    try {
      while (bytes < BYTES_PER_TURN && batch.hasRoom && ring.takeReadable()) {
        const { chain } = ring;
        if (chain.readableBytes === 0) throw ring.refuse('a frame of no bytes');
        if (chain.count > MOST_VECTORS) throw ring.refuse(`a frame of ${chain.count} buffers`);
        this.#heads[batch.count] = chain.head;
        bytes += chain.readableBytes;
        batch.append(chain);
        batch.end();
      }
    } catch (error) {
      // The good ones first: the next look finds it broken still.
      if (batch.count === 0) throw error;
    }
    return batch.count;
  }

  /** Hands frames over. Returns how many are done with: the others find the queue full. */
  #send(count: number): number {
    const { results } = this.batch;
    for (let done = 0; done < count; ) {
      const end = done + this.#write(done, count - done);
      for (; done < end; done++) {
        const result = results[done] as number;
        if (result >= 0) {
          this.#counters.sent++;
        } else if (isFull(result) && !this.#uring) {
          return done;
        } else {
          // As vhost has it: what the queue does not take is used up.
          this.#counters.sendDropped++;
        }
      }
    }
    return count;
  }

  /** Returns how many frames were tried, at least one. */
  #write(first: number, count: number): number {
    const { vectors, ends, results } = this.batch;
    if (this.#uring && count > 1) {
      const tried = this.#uring.write(this.port, vectors, ends, results, first, count);
      if (tried > 0 && results[first] !== EOPNOTSUPP) return tried;
      logVhost('no io_uring for this queue: %d', tried < 0 ? tried : EOPNOTSUPP);
      this.#uring = undefined;
    }
    return native.framesWrite(this.port, vectors, ends, results, first, count);
  }
}

function isNeverFull(queue: PacketQueue): boolean {
  return queue instanceof Tap && queue.sendBuffer === UNLIMITED_SEND_BUFFER;
}

function isFull(result: number): boolean {
  return result === EAGAIN || result === ENOBUFS || result === ENOMEM;
}
