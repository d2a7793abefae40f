/** The receive ring of a guest, by the device: frames into the buffers that the guest posted. */
import { copyBytes } from '../host/copy-bytes.js';
import type { MemoryRegion } from '../host/memory-region.js';
import { isFrame, type Sendable } from '../net/frame.js';
import {
  type HeaderLength,
  NUM_BUFFERS_OFFSET,
  type Offload,
  plainOffload,
  writeHeader,
} from '../net/header.js';
import type { Chain } from '../vring/chain.js';
import type { VringDevice } from '../vring/device.js';
import type { BackendCounters } from './backend-counters.js';

/** Words of the longest frame that is copied word by word. */
const SHORT_WORDS = 64;
const PLAIN = plainOffload();

/** Told of every piece of guest memory that was written to. */
export interface WriteLog {
  mark(guestAddress: number, length: number): void;
}

export interface RingFillOptions {
  ring: VringDevice;
  counters: BackendCounters;
  headerLength: HeaderLength;
  /** Whether one frame may take several buffers (VIRTIO_NET_F_MRG_RXBUF). */
  mergeable: boolean;
  /** The flags of a header that the guest is to see. */
  flags: number;
}

export class RingFill {
  /** Hears of what is written to buffers, where that is wanted. */
  log: WriteLog | undefined;
  /** Chains that were there when a frame needed more. */
  missed = 0;
  readonly #ring: VringDevice;
  readonly #counters: BackendCounters;
  readonly #headerLength: HeaderLength;
  readonly #mergeable: boolean;
  readonly #flags: number;
  readonly #header = new Uint8Array(24);
  /** The chains of the frame under way, and the bytes written into each. */
  readonly #heads: Uint16Array;
  readonly #written: Uint32Array;
  /** Chains that were given back and not shown. */
  #unshown = 0;
  /** Where the two bytes of `num_buffers` of the frame under way are. */
  readonly #countAt = new Float64Array(2);
  readonly #countIn: (MemoryRegion | undefined)[] = [undefined, undefined];

  constructor(options: RingFillOptions) {
    const { ring } = options;
    this.#ring = ring;
    this.#counters = options.counters;
    this.#headerLength = options.headerLength;
    this.#mergeable = options.mergeable;
    this.#flags = options.flags;
    this.#heads = new Uint16Array(ring.size);
    this.#written = new Uint32Array(ring.size);
  }

  /**
   * Copies a frame to the guest, which sees it after {@link RingFill.publish}. Returns false where it has posted
   * too few buffers; a frame that none of its buffers can hold, or all that are in the ring, is dropped. Throws
   * `ERR_RING_BROKEN`.
   */
  put(frame: Sendable): boolean {
    const ring = this.#ring;
    const total = this.#headerLength + frame.length;
    let count = 0;
    let done = 0;
    while (done < total) {
      // As many chains as the ring has entries are all that the used ring can tell of.
      if (this.#unshown + count === ring.size || !this.#take(count)) {
        ring.untake(count);
        // More than all of the ring holds: it would wait forever.
        if (count === ring.size) {
          this.#counters.dropped++;
          return true;
        }
        this.missed = count;
        return false;
      }
      const { chain } = ring;
      const room = Math.min(chain.writableBytes, total - done);
      const tooSmall = this.#mergeable
        ? room < Math.min(this.#headerLength, total - done)
        : room < total;
      if (count === 0 && tooSmall) {
        ring.untake(1);
        this.#counters.dropped++;
        return true;
      }
      if (count > 0) {
        this.#goOn(chain, frame, done, room);
      } else {
        this.#begin(chain, frame, room);
        if (room < total) this.#noteCount(chain);
      }
      this.#heads[count] = chain.head;
      this.#written[count++] = room;
      done += room;
    }
    if (count > 1) this.#setCount(count);
    this.#give(count);
    this.#counters.sent++;
    this.#counters.sentBytes += frame.length;
    return true;
  }

  /** Shows the guest what was put. Returns whether it wants a call. */
  publish(): boolean {
    this.#unshown = 0;
    return this.#ring.publish();
  }

  /** Takes a chain behind `count` others of its frame. Throws `ERR_RING_BROKEN`; then those are in the ring again. */
  #take(count: number): boolean {
    const ring = this.#ring;
    try {
      return ring.takeWritable();
    } catch (error) {
      ring.untake(count);
      throw error;
    }
  }

  #give(count: number): void {
    for (let i = 0; i < count; i++) {
      this.#ring.give(this.#heads[i] as number, this.#written[i] as number);
    }
    this.#unshown += count;
  }

  /** Writes the header, and what there is room for of the frame behind it. */
  #begin(chain: Chain, frame: Sendable, room: number): void {
    const header = this.#headerLength;
    const first = chain.readable;
    const offload = isFrame(frame) ? frame.offload : PLAIN;
    if (chain.lengthOf(first) >= room) {
      const region = chain.regionOf(first);
      const at = chain.offsetOf(first);
      if (offload === PLAIN && header === 12 && at % 4 === 0) {
        writePlain(region.words, at / 4);
      } else {
        this.#writeHeader(region.bytes, at, offload);
      }
      copy(frame, room - header, region, at + header);
      this.#logBuffer(chain, first, room);
      return;
    }
    this.#writeHeader(this.#header, 0, offload);
    chain.write(this.#header.subarray(0, header));
    chain.write(bytesOf(frame).subarray(0, room - header), header);
    this.#logBuffers(chain, room);
  }

  #writeHeader(bytes: Uint8Array, at: number, offload: Offload): void {
    const length = this.#headerLength;
    writeHeader(bytes, at, length, offload);
    // What a frame only tells, and this guest did not ask to be told, is left out.
    bytes[at] = offload.flags & this.#flags;
    if (length >= 12) bytes[at + NUM_BUFFERS_OFFSET] = 1;
  }

  /** Writes what there is room for of the rest of a frame; `done` counts the header as well. */
  #goOn(chain: Chain, frame: Sendable, done: number, room: number): void {
    if (room === 0) return;
    const from = done - this.#headerLength;
    chain.write(bytesOf(frame).subarray(from, from + room));
    this.#logBuffers(chain, room);
  }

  /** Remembers where the frame's header says how many buffers it took. */
  #noteCount(chain: Chain): void {
    if (this.#headerLength < 12) return;
    for (let byte = 0; byte < 2; byte++) {
      let skip = NUM_BUFFERS_OFFSET + byte;
      let at = chain.readable;
      for (; skip >= chain.lengthOf(at); at++) skip -= chain.lengthOf(at);
      this.#countIn[byte] = chain.regionOf(at);
      this.#countAt[byte] = chain.offsetOf(at) + skip;
    }
  }

  #setCount(count: number): void {
    for (let byte = 0; byte < 2; byte++) {
      const region = this.#countIn[byte] as MemoryRegion;
      const { bytes } = region;
      const at = this.#countAt[byte] as number;
      bytes[at] = count >> (8 * byte);
      this.log?.mark(Number(region.guestAddress) + at, 1);
    }
  }

  #logBuffers(chain: Chain, written: number): void {
    if (!this.log) return;
    let left = written;
    for (let at = chain.readable; left > 0; at++) {
      const length = Math.min(left, chain.lengthOf(at));
      this.#logBuffer(chain, at, length);
      left -= length;
    }
  }

  #logBuffer(chain: Chain, at: number, length: number): void {
    if (this.log && length > 0) {
      this.log.mark(Number(chain.regionOf(at).guestAddress) + chain.offsetOf(at), length);
    }
  }
}

/** A header of 12 bytes that asks for nothing and says one buffer, by words, and only those that do not say so already. */
function writePlain(words: Uint32Array, at: number): void {
  if (words[at] !== 0) words[at] = 0;
  if (words[at + 1] !== 0) words[at + 1] = 0;
  if (words[at + 2] !== 1 << 16) words[at + 2] = 1 << 16;
}

const bytesOf = (frame: Sendable) => (isFrame(frame) ? frame.bytes : frame);

/** Copies the first `length` bytes of a frame to a place in a region. */
function copy(frame: Sendable, length: number, region: MemoryRegion, to: number): void {
  const words = isFrame(frame) ? frame.words : null;
  const count = (length + 3) >>> 2;
  // The engine's copies are calls; so few whole words are copied before those begin.
  if (words && length % 4 === 0 && to % 4 === 0 && count <= SHORT_WORDS && count <= words.length) {
    const target = region.words;
    const at = to / 4;
    for (let i = 0; i < count; i++) target[at + i] = words[i] as number;
    return;
  }
  const bytes = bytesOf(frame);
  copyBytes(region.bytes, length === bytes.length ? bytes : bytes.subarray(0, length), to);
}
