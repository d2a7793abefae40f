/** The transmitting half of a queue pair: copies frames into shared memory and takes it back. */
import { copyBytes } from '../host/copy-bytes.js';
import type { EventFd } from '../host/event-fd.js';
import { type Frame, isFrame, type Sendable } from '../net/frame.js';
import { type HeaderLength, writeHeader } from '../net/header.js';
import type { ChainRecord } from '../vring/descriptor-table.js';
import type { VringDriver } from '../vring/driver.js';
import type { VringDriverState } from '../vring/driver-options.js';
import type { PortCounters } from './counters.js';
import type { BufferArea } from './port-memory.js';
import { CACHE_LINE, SendArena } from './send-arena.js';

/** Words of the longest frame that is copied word by word. */
const SHORT_WORDS = 64;

export class Transmitter {
  readonly #ring: VringDriver;
  readonly #kick: EventFd;
  readonly #counters: PortCounters;
  readonly #bytes: Uint8Array;
  /** The same: every piece of the arena begins on a word. */
  readonly #words: Uint32Array;
  /** Everything the bytes lie in: a frame received by this port is copied within it. */
  readonly #memory: Uint8Array;
  /**
   * Guest address of the first of the bytes, in two words, and the offset at which the low one begins
   * over: in words, for the arithmetic of larger numbers costs more than all else.
   */
  readonly #low: number;
  readonly #high: number;
  readonly #carry: number;
  readonly #headerLength: HeaderLength;
  /**
   * Bytes of a piece before its header, for the frame to begin with a cache line: so a short one takes one of those,
   * and the one of its header, which is mostly the same, needs no writing.
   */
  readonly #lead: number;
  readonly #arena: SendArena;
  /** The arena's piece of each chain in flight. */
  readonly #pieceOf: Uint16Array;
  /** Room for the chains that came back. */
  readonly #returned: Uint16Array;

  constructor(options: {
    ring: VringDriver;
    kick: EventFd;
    counters: PortCounters;
    area: BufferArea;
    headerLength: HeaderLength;
    /** The chains that the ring's last driver left in it, oldest first. Default: none. */
    inFlight?: readonly ChainRecord[] | undefined;
  }) {
    const { area, ring } = options;
    this.#ring = ring;
    this.#kick = options.kick;
    this.#counters = options.counters;
    this.#bytes = area.bytes;
    const { buffer, byteOffset, length } = area.bytes;
    this.#words = new Uint32Array(buffer, byteOffset, length / 4);
    this.#memory = new Uint8Array(area.bytes.buffer);
    this.#low = Number(area.address & 0xffff_ffffn);
    this.#high = Number(area.address >> 32n);
    this.#carry = Math.min(length, 2 ** 32 - this.#low);
    this.#headerLength = options.headerLength;
    // The header begins on a word.
    this.#lead = (CACHE_LINE - options.headerLength) & ~3;
    this.#arena = new SendArena(area.bytes.length, ring.size);
    this.#pieceOf = new Uint16Array(ring.size);
    this.#returned = new Uint16Array(ring.size);
    this.#takeOver(options.inFlight ?? []);
    ring.disableCalls();
  }

  /** Takes back what the device is done with; the rest is in it, oldest first. */
  get state(): VringDriverState {
    this.reclaim();
    const { chains, ...positions } = this.#ring.state;
    const age = ([head]: ChainRecord) => this.#arena.ageOf(this.#pieceOf[head] as number);
    return { ...positions, chains: [...chains].sort((a, b) => age(a) - age(b)) };
  }

  /** The frames that the ring's last driver left in it. Throws `ERR_OUT_OF_RANGE` for what is none. */
  #takeOver(chains: readonly ChainRecord[]): void {
    const pieces = chains.map(([head], piece) => {
      this.#pieceOf[head] = piece;
      const { address, length } = this.#ring.bufferOf(head);
      const offset = address - (this.#low + this.#high * 2 ** 32) - this.#lead;
      return { offset, length: this.#lead + length };
    });
    this.#arena.restore(pieces);
  }

  /** As {@link VringDriver.resubmit}: no frame is lost, and one whose device was about to say so goes twice. */
  resubmit(): void {
    this.#ring.resubmit();
  }

  /** Frames that the device has not given back. */
  get inFlight(): number {
    return this.#ring.inFlight;
  }

  /** Those of them that it has not sent: the room of the others was not taken back yet. */
  get waiting(): number {
    return this.#ring.inFlight - this.#ring.returned;
  }

  /**
   * Adds as many of the frames from `from` on as there is room for; the device sees them with the next
   * {@link publish}. Returns how many. Every frame must have passed {@link checkFrame}. Throws
   * `ERR_RING_BROKEN`.
   */
  fill(frames: readonly Sendable[], from: number): number {
    let at = from;
    let bytes = 0;
    for (; at < frames.length; at++) {
      const frame = frames[at] as Sendable;
      if (!this.#put(frame)) break;
      bytes += frame.length;
    }
    // Once for all of them: numbers beyond 31 bits are not cheap.
    this.#counters.txFrames += at - from;
    this.#counters.txBytes += bytes;
    return at - from;
  }

  /** As {@link fill}, and shows them. */
  push(frames: readonly Sendable[], from: number): number {
    const count = this.fill(frames, from);
    this.publish();
    return count;
  }

  /** Takes back the room of the frames that the device is done with. */
  reclaim(): void {
    const heads = this.#returned;
    for (let count = this.#ring.popMany(heads); count > 0; count = this.#ring.popMany(heads)) {
      for (let i = 0; i < count; i++) {
        this.#arena.giveBack(this.#pieceOf[heads[i] as number] as number);
      }
    }
  }

  /**
   * Asks for one call when so many eighths (0 to 8) of what is in flight have been sent. Returns true where
   * that is so already.
   */
  enableCalls(eighths: number): boolean {
    const { inFlight } = this.#ring;
    return this.#ring.enableCalls(Math.min((inFlight * eighths) >> 3, Math.max(0, inFlight - 1)));
  }

  disableCalls(): void {
    this.#ring.disableCalls();
  }

  /** As {@link fill}, one frame. False where there is no room. */
  add(frame: Sendable): boolean {
    if (!this.#put(frame)) return false;
    this.#counters.txFrames++;
    this.#counters.txBytes += frame.length;
    return true;
  }

  #put(frame: Sendable): boolean {
    const header = this.#headerLength;
    const bytes = header + frame.length;
    let piece = this.#arena.take(this.#lead + bytes);
    if (piece < 0) {
      this.reclaim();
      piece = this.#arena.take(this.#lead + bytes);
      if (piece < 0) return false;
    }
    const at = piece + this.#lead;
    if (isFrame(frame)) {
      writeHeader(this.#bytes, at, header, frame.offload);
      this.#copyFrame(frame, at + header);
    } else {
      clearWords(this.#words, at >>> 2, header);
      copyBytes(this.#bytes, frame, at + header);
    }
    const high = at < this.#carry ? this.#high : this.#high + 1;
    // The arena has as many pieces as the ring has descriptors.
    const head = this.#ring.addReadable((this.#low + at) >>> 0, high, bytes);
    this.#pieceOf[head] = this.#arena.piece;
    return true;
  }

  /** Shows the device what was added, and kicks it where it wants that. */
  publish(): void {
    if (!this.#ring.publish()) return;
    this.#counters.txKicks++;
    this.#kick.signal();
  }

  #copyFrame(frame: Frame, to: number): void {
    const { buffer, words } = frame;
    const count = Math.ceil(frame.length / 4);
    // The engine's copies are calls; so few words are copied before those begin.
    if (words && count <= Math.min(words.length, SHORT_WORDS) && to % 4 === 0) {
      const at = to / 4;
      for (let i = 0; i < count; i++) this.#words[at + i] = words[i] as number;
      return;
    }
    if (buffer.buffer === this.#memory.buffer) {
      const start = buffer.byteOffset;
      this.#memory.copyWithin(this.#bytes.byteOffset + to, start, start + frame.length);
    } else {
      copyBytes(this.#bytes, frame.bytes, to);
    }
  }
}

/** Clears a header where it is not clear, and what the frame behind it overwrites of its last word. */
function clearWords(words: Uint32Array, at: number, length: HeaderLength): void {
  if (words[at] !== 0) words[at] = 0;
  if (words[at + 1] !== 0) words[at + 1] = 0;
  if (words[at + 2] !== 0) words[at + 2] = 0;
  for (let i = 12; i < length; i += 4) words[at + i / 4] = 0;
}
