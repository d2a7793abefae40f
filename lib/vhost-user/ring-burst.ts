/** The transmit ring of a guest, by the device: bursts of frames out of it, in place where they lie in one piece. */
import { Frame, LONGEST_FRAME, SHORTEST_FRAME } from '../net/frame.js';
import { clearOffload, type HeaderLength, type Offload, readHeader } from '../net/header.js';
import type { OffloadRules } from '../net/offload-rules.js';
import { VIRTIO_NET_HDR_F_NEEDS_CSUM } from '../uapi/virtio-net.js';
import type { Chain } from '../vring/chain.js';
import type { VringDevice } from '../vring/device.js';
import type { BackendCounters } from './backend-counters.js';
import { FrameViews } from './frame-views.js';

/** Most frames of a burst. */
export const MAX_BURST = 64;

/** What is noted of each chain that is taken and given back, so that another process can go on. */
export interface ChainNotes {
  taken(head: number): void;
  /** Before the used ring tells of them: how many of the last chains it will. */
  given(heads: Uint16Array, count: number): void;
  /** When the used ring told of them. */
  shown(heads: Uint16Array, count: number): void;
}

export interface RingBurstOptions {
  ring: VringDevice;
  counters: BackendCounters;
  headerLength: HeaderLength;
  /** What the guest may leave to whoever takes its frames. */
  rules: OffloadRules;
  pair: number;
  notes?: ChainNotes | undefined;
  /** Chains that a process before this one had taken and not given back: they come first. */
  again?: readonly number[];
}

export class RingBurst {
  readonly #ring: VringDevice;
  readonly #counters: BackendCounters;
  readonly #headerLength: HeaderLength;
  readonly #rules: OffloadRules;
  readonly #notes: ChainNotes | undefined;
  readonly #again: number[];
  readonly #views: FrameViews;
  readonly #pair: number;
  readonly #header = new Uint8Array(24);
  /** Frames for what came in several pieces; made when first needed. */
  readonly #gathered: Frame[] = [];
  #gatheredUsed = 0;
  /** An array for each length of a burst, so that handing one out allocates nothing. */
  readonly #bursts: Frame[][] = [[]];
  readonly #collected = new Array<Frame>(MAX_BURST);
  /** Chains whose frames were handed out. */
  readonly #heads = new Uint16Array(MAX_BURST);
  #held = 0;

  constructor(options: RingBurstOptions) {
    this.#ring = options.ring;
    this.#counters = options.counters;
    this.#headerLength = options.headerLength;
    this.#rules = options.rules;
    this.#notes = options.notes;
    this.#again = [...(options.again ?? [])];
    this.#pair = options.pair;
    this.#views = new FrameViews(options.pair);
  }

  /** Chains whose frames are with the consumer. */
  get held(): number {
    return this.#held;
  }

  /**
   * The frames that the guest sends, at most 64, valid until {@link RingBurst.release}; empty for none. What
   * is no frame goes back with the next release. The last burst must have been released. Throws
   * `ERR_RING_BROKEN` where the first chain is bad; the good ones before a bad one come first.
   */
  collect(): readonly Frame[] {
    const ring = this.#ring;
    this.#views.next();
    this.#gatheredUsed = 0;
    let count = 0;
    let bytes = 0;
    while (this.#held < MAX_BURST && this.#next()) {
      const { chain } = ring;
      this.#notes?.taken(chain.head);
      this.#heads[this.#held++] = chain.head;
      const frame = this.#frameOf(chain);
      if (frame === undefined) {
        this.#counters.errors++;
        continue;
      }
      bytes += frame.length;
      this.#collected[count++] = frame;
    }
    this.#counters.received += count;
    this.#counters.receivedBytes += bytes;
    this.#bursts[count] ??= new Array<Frame>(count);
    const burst = this.#bursts[count] as Frame[];
    for (let i = 0; i < count; i++) burst[i] = this.#collected[i] as Frame;
    return burst;
  }

  /** Gives the chains of the last burst back. Returns whether the guest wants a call. */
  release(): boolean {
    const count = this.#held;
    if (count === 0) return false;
    const ring = this.#ring;
    const heads = this.#heads;
    for (let i = 0; i < count; i++) ring.give(heads[i] as number, 0);
    this.#notes?.given(heads, count);
    const wanted = ring.publish();
    this.#notes?.shown(heads, count);
    this.#held = 0;
    return wanted;
  }

  /** Leaves what was in flight before, and did not come yet, in the ring: it comes to whoever goes on there. */
  leave(): void {
    this.#ring.untake(this.#again.length);
    this.#again.length = 0;
  }

  /** As {@link RingBurst.#take}; what is bad behind good ones is found bad again, by the next look. */
  #next(): boolean {
    try {
      return this.#take();
    } catch (error) {
      if (this.#held === 0) throw error;
      return false;
    }
  }

  #take(): boolean {
    if (this.#again.length === 0) return this.#ring.takeReadable();
    this.#ring.takeAgain(this.#again.shift() as number);
    return true;
  }

  /** The frame of a chain, or undefined for what is none. */
  #frameOf(chain: Chain): Frame | undefined {
    const length = chain.readableBytes - this.#headerLength;
    if (length < SHORTEST_FRAME || length > LONGEST_FRAME) return undefined;
    const frame = this.#inPlace(chain, length) ?? this.#gather(chain, length);
    if (this.#isPlain(chain)) {
      clearOffload(frame.offload);
      return frame;
    }
    // The guest may change its header at any time: this copy is what is checked, and what counts.
    this.#readHeader(chain, frame.offload);
    return this.#isSound(frame.offload, length) ? frame : undefined;
  }

  /** The frame where it lies in one buffer, behind the header or on its own. */
  #inPlace(chain: Chain, length: number): Frame | undefined {
    const header = this.#headerLength;
    const first = chain.lengthOf(0);
    if (first === header + length) {
      return this.#views.at(chain.regionOf(0), chain.offsetOf(0) + header, length);
    }
    if (first !== header || chain.lengthOf(1) !== length) return undefined;
    return this.#views.at(chain.regionOf(1), chain.offsetOf(1), length);
  }

  /** A copy of a frame in pieces. */
  #gather(chain: Chain, length: number): Frame {
    const index = this.#gatheredUsed++;
    this.#gathered[index] ??= new Frame(new Uint8Array(LONGEST_FRAME), this.#pair);
    const frame = this.#gathered[index] as Frame;
    frame.length = length;
    chain.read(frame.bytes, this.#headerLength);
    return frame;
  }

  /** Whether the header asks for nothing, where three words can tell: it is so of most frames. */
  #isPlain(chain: Chain): boolean {
    const offset = chain.offsetOf(0);
    if (this.#headerLength !== 12 || chain.lengthOf(0) < 12 || offset % 4 !== 0) return false;
    const { words } = chain.regionOf(0);
    const at = offset / 4;
    // The last two bytes mean nothing to the device.
    const last = (words[at + 2] as number) & 0xffff;
    return ((words[at] as number) | (words[at + 1] as number) | last) === 0;
  }

  #readHeader(chain: Chain, offload: Offload): void {
    const length = this.#headerLength;
    if (chain.lengthOf(0) >= length) {
      readHeader(chain.regionOf(0).bytes, chain.offsetOf(0), offload, length);
      return;
    }
    chain.read(this.#header.subarray(0, length));
    readHeader(this.#header, 0, offload, length);
  }

  /** Whether a header asks for nothing that was not negotiated, and for nothing outside its frame. */
  #isSound(offload: Offload, length: number): boolean {
    if (!this.#rules.allow(offload)) return false;
    // What a guest tells without asking for anything, it is not believed.
    offload.flags &= this.#rules.flags;
    const checksum = (offload.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) !== 0;
    if (checksum && offload.checksumStart + offload.checksumOffset + 2 > length) return false;
    return offload.gsoType === 0 || (offload.gsoSize > 0 && offload.headerLength <= length);
  }
}
