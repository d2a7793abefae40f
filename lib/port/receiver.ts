/** The receiving half of a queue pair: posts buffers, makes batches of frames of what comes back. */
import { rangeError } from '../errors.js';
import { copyBytes } from '../host/copy-bytes.js';
import type { EventFd } from '../host/event-fd.js';
import { Frame, LONGEST_FRAME, SHORTEST_FRAME } from '../net/frame.js';
import {
  clearOffload,
  copyOffload,
  type HeaderLength,
  NUM_BUFFERS_OFFSET,
  type Offload,
  readHeader,
  readU16,
} from '../net/header.js';
import type { VringDriver } from '../vring/driver.js';
import type { VringDriverState } from '../vring/driver-options.js';
import type { PortCounters } from './counters.js';
import type { BufferArea } from './port-memory.js';

/** Most frames of a batch. */
export const MAX_BATCH = 64;

export class Receiver {
  readonly #ring: VringDriver;
  readonly #kick: EventFd;
  readonly #counters: PortCounters;
  readonly #area: BufferArea;
  /** The area in words, where every buffer begins on one. */
  readonly #words: Uint32Array | undefined;
  /** Guest address of the first buffer; a port's addresses are exact as numbers. */
  readonly #address: number;
  readonly #bufferSize: number;
  readonly #headerLength: HeaderLength;
  readonly #mergeable: boolean;
  readonly #pair: number;
  /** The frame that views each buffer, behind the header; made when the buffer is first used. */
  readonly #frames: (Frame | undefined)[];
  /** Each buffer as a whole; made when first needed. */
  readonly #slots: (Uint8Array | undefined)[];
  /** The buffer of each chain, in flight or held. */
  readonly #bufferOf: Uint16Array;
  /** Buffers that are in no chain yet. */
  readonly #unposted: number[] = [];
  /** Chains whose buffers the consumer holds, to be posted again. */
  readonly #held: Uint16Array;
  #heldCount = 0;
  /** Bytes that the device wrote into each of them. */
  readonly #lengths: Uint32Array;
  /** An array for each length of a batch, so that handing one out allocates nothing. */
  readonly #batches: Frame[][] = [];
  readonly #collected = new Array<Frame>(MAX_BATCH);
  /** Frames for what came in several buffers; made when first needed. */
  readonly #merged: Frame[] = [];
  #mergedUsed = 0;
  /** The merged frame under way, and how many of its buffers are still to come. */
  #partial: Frame | undefined;
  #missing = 0;
  #damaged = false;

  constructor(options: {
    ring: VringDriver;
    kick: EventFd;
    counters: PortCounters;
    area: BufferArea;
    /** Bytes of each buffer. */
    bufferSize: number;
    headerLength: HeaderLength;
    mergeable: boolean;
    /** The number of its queue pair. Default: 0. */
    pair?: number;
  }) {
    const { area, bufferSize, headerLength, ring } = options;
    this.#ring = ring;
    this.#bufferSize = bufferSize;
    this.#kick = options.kick;
    this.#counters = options.counters;
    this.#area = area;
    const { buffer, byteOffset, length } = area.bytes;
    // The longest header says more than three words do.
    const short = headerLength < 24;
    if (short && bufferSize % 4 === 0)
      this.#words = new Uint32Array(buffer, byteOffset, length / 4);
    this.#address = Number(area.address);
    this.#headerLength = headerLength;
    this.#mergeable = options.mergeable;
    this.#pair = options.pair ?? 0;
    this.#slots = new Array(ring.size).fill(undefined);
    this.#frames = new Array(ring.size).fill(undefined);
    this.#bufferOf = new Uint16Array(ring.size);
    this.#held = new Uint16Array(ring.size);
    this.#lengths = new Uint32Array(ring.size);
    const posted = this.#postedBefore();
    for (let i = 0; i < ring.size; i++) if (!posted.has(i)) this.#unposted.push(i);
    this.#ring.disableCalls();
  }

  /** The buffers that the consumer holds are in no chain, and so free to whoever goes on. */
  get state(): VringDriverState {
    return this.#ring.state;
  }

  /** As {@link VringDriver.resubmit}. */
  resubmit(): void {
    this.#ring.resubmit();
  }

  /** Buffers that the device filled and nobody looked at. */
  get waiting(): number {
    return this.#ring.returned;
  }

  /** Posts every buffer that the consumer is done with. Frames of the last batch are invalid now. */
  recycle(): void {
    this.#keepPartial();
    if (this.#heldCount + this.#unposted.length === 0) return;
    const ring = this.#ring;
    ring.repost(this.#held, this.#heldCount);
    if (this.#unposted.length > 0) this.#postNew();
    this.#heldCount = 0;
    if (ring.publish()) {
      this.#counters.rxKicks++;
      this.#kick.signal();
    }
  }

  /** Makes chains of the buffers that have none: there are as many descriptors as buffers. */
  #postNew(): void {
    for (const buffer of this.#unposted) {
      const address = this.#address + buffer * this.#bufferSize;
      const high = Math.floor(address / 2 ** 32);
      const head = this.#ring.addWritable(address >>> 0, high, this.#bufferSize);
      this.#bufferOf[head] = buffer;
    }
    this.#unposted.length = 0;
  }

  /** The frames that wait, at most 64, or undefined for none. Throws `ERR_RING_BROKEN`. */
  collect(): Frame[] | undefined {
    const counters = this.#counters;
    const list = this.#collected;
    const held = this.#held;
    const lengths = this.#lengths;
    let count = 0;
    let bytes = 0;
    for (let at = this.#heldCount; count < MAX_BATCH; this.#heldCount = at) {
      const end = at + this.#ring.popHeld(held, lengths, at, at + MAX_BATCH - count);
      if (at === end) break;
      for (; at < end; at++) {
        const buffer = this.#bufferOf[held[at] as number] as number;
        const frame = this.#take(buffer, lengths[at] as number);
        if (!frame) continue;
        bytes += frame.length;
        list[count++] = frame;
      }
    }
    counters.rxFrames += count;
    counters.rxBytes += bytes;
    if (count === 0) return undefined;
    this.#batches[count] ??= new Array<Frame>(count);
    const batch = this.#batches[count] as Frame[];
    for (let i = 0; i < count; i++) batch[i] = list[i] as Frame;
    return batch;
  }

  /** As {@link VringDriver.enableCalls}. */
  enableCalls(): boolean {
    return this.#ring.enableCalls();
  }

  disableCalls(): void {
    this.#ring.disableCalls();
  }

  /** The frame that a used buffer completes, if it does. */
  #take(buffer: number, used: number): Frame | undefined {
    if (this.#missing > 0) return this.#append(buffer, used);
    const start = buffer * this.#bufferSize;
    if (used < this.#headerLength) return this.#damage();
    const frame = this.#frameOf(buffer);
    const buffers = this.#readHeader(start, frame.offload);
    frame.length = used - this.#headerLength;
    if (buffers <= 1) return this.#checked(frame);
    // A frame of more buffers than there are is none, and which of those after it are its own nobody knows.
    if (buffers > this.#ring.size) return this.#damage();
    this.#missing = buffers - 1;
    this.#damaged = false;
    this.#partial = this.#merge(frame);
    return undefined;
  }

  /** Reads the header at `start` into `offload`; returns how many buffers the frame takes. */
  #readHeader(start: number, offload: Offload): number {
    const { bytes } = this.#area;
    const words = this.#words;
    // Most frames need nothing of what a header can say, which three words tell.
    if (words) {
      const at = start / 4;
      const last = words[at + 2] as number;
      if (words[at] === 0 && words[at + 1] === 0 && (last & 0xffff) === 0) {
        clearOffload(offload);
        return this.#mergeable ? last >>> 16 : 1;
      }
    }
    readHeader(bytes, start, offload, this.#headerLength);
    return this.#mergeable ? readU16(bytes, start + NUM_BUFFERS_OFFSET) : 1;
  }

  /** Nothing is handed out that could not be sent again. */
  #checked(frame: Frame): Frame | undefined {
    const { length } = frame;
    return length < SHORTEST_FRAME || length > LONGEST_FRAME ? this.#damage() : frame;
  }

  #damage(): undefined {
    this.#counters.rxErrors++;
  }

  #frameOf(buffer: number): Frame {
    this.#frames[buffer] ??= new Frame(
      this.#slotOf(buffer).subarray(this.#headerLength),
      this.#pair,
    );
    return this.#frames[buffer] as Frame;
  }

  #slotOf(buffer: number): Uint8Array {
    const start = buffer * this.#bufferSize;
    this.#slots[buffer] ??= this.#area.bytes.subarray(start, start + this.#bufferSize);
    return this.#slots[buffer] as Uint8Array;
  }

  /** The buffers that the ring's last driver posted. Throws `ERR_OUT_OF_RANGE` for what is none. */
  #postedBefore(): Set<number> {
    const posted = new Set<number>();
    for (const [head] of this.#ring.state.chains) {
      const { address, length } = this.#ring.bufferOf(head);
      const buffer = (address - this.#address) / this.#bufferSize;
      const known = Number.isInteger(buffer) && buffer >= 0 && buffer < this.#ring.size;
      if (!known || length !== this.#bufferSize || posted.has(buffer)) {
        throw rangeError(`chain ${head} of the receive ring is none of this port's buffers`);
      }
      this.#bufferOf[head] = buffer;
      posted.add(buffer);
    }
    return posted;
  }

  /** Begins the merged frames over, behind the one that is still under way. */
  #keepPartial(): void {
    const partial = this.#partial;
    this.#mergedUsed = partial ? 1 : 0;
    if (!partial || this.#merged[0] === partial) return;
    this.#merged[this.#merged.indexOf(partial)] = this.#merged[0] as Frame;
    this.#merged[0] = partial;
  }

  /** Whole buffers are copied, used or not: their views exist, and the frame's length tells. */
  #merge(first: Frame): Frame {
    const index = this.#mergedUsed++;
    this.#merged[index] ??= new Frame(new Uint8Array(LONGEST_FRAME + this.#bufferSize), this.#pair);
    const merged = this.#merged[index] as Frame;
    copyBytes(merged.buffer, first.buffer, 0);
    merged.length = first.length;
    copyOffload(first.offload, merged.offload);
    return merged;
  }

  /** A buffer that goes on with a merged frame holds data from its very start. */
  #append(buffer: number, used: number): Frame | undefined {
    const merged = this.#partial as Frame;
    if (merged.length + used > LONGEST_FRAME) {
      this.#damaged = true;
    } else {
      copyBytes(merged.buffer, this.#slotOf(buffer), merged.length);
      merged.length += used;
    }
    if (--this.#missing > 0) return undefined;
    this.#partial = undefined;
    return this.#damaged ? this.#damage() : this.#checked(merged);
  }
}
