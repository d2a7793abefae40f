/** Receiver with a model at its side: which frames must come of what the device gave back. */
import { StateError } from '../../../lib/errors.js';
import type { EventFd } from '../../../lib/host/event-fd.js';
import type { Frame } from '../../../lib/net/frame.js';
import type { HeaderLength } from '../../../lib/net/header.js';
import { noCounters } from '../../../lib/port/counters.js';
import { Receiver } from '../../../lib/port/receiver.js';
import type { VringDriver } from '../../../lib/vring/driver.js';
import { makeDriver } from './checked-driver.js';
import { Observer } from './observer.js';
import type { Random } from './random.js';
import { DATA_AT, data, RingWords } from './ring-memory.js';
import { type Sights, same, see } from './run.js';

/** Frames that can be sent, in bytes. */
const SHORTEST = 14;
const LONGEST = 65_557;
const MOST = 64;
/** Where the header says of how many buffers its frame is. */
const NUM_BUFFERS = 10;

export interface ReceivingShape {
  size: number;
  bufferSize: number;
  headerLength: HeaderLength;
  mergeable: boolean;
  eventIdx: boolean;
}

/** A frame that must come: its length, and where its bytes are or what they are. */
interface Expected {
  length: number;
  /** Offset in the data of a frame of one buffer. */
  at?: number;
  bytes?: Buffer;
  offload: number[];
}

export class Receiving {
  readonly #shape: ReceivingShape;
  readonly #driver: VringDriver;
  readonly #words: RingWords;
  readonly #counters = noCounters();
  readonly #receiver: Receiver;
  readonly #wanted = noCounters();
  readonly observer: Observer;
  #held: number;
  #kicks = 0;
  #partial: Expected | undefined;
  #missing = 0;
  #damaged = false;

  constructor(shape: ReceivingShape) {
    this.#shape = shape;
    this.#words = new RingWords(shape.size);
    this.#driver = makeDriver(this.#words, { ...shape, tableLength: 0 });
    this.observer = new Observer(this.#words);
    this.#held = shape.size;
    const kick: Pick<EventFd, 'signal'> = {
      signal: () => {
        this.#kicks++;
      },
    };
    this.#receiver = new Receiver({
      ...shape,
      ring: this.#driver,
      kick: kick as EventFd,
      counters: this.#counters,
      area: {
        address: BigInt(DATA_AT),
        bytes: data.subarray(0, shape.size * shape.bufferSize),
      },
    });
  }

  /** Writes a header over one of the buffers; returns what it says. */
  writeHeader(random: Random): string {
    const { size, bufferSize } = this.#shape;
    const at = random.below(size) * bufferSize;
    const buffers = random.pick([
      0,
      1,
      1,
      2,
      2,
      3,
      5,
      size,
      size + 1,
      0xffff,
      random.below(65_536),
    ]);
    for (let i = 0; i < 24; i++) data[at + i] = random.u32();
    data[at + NUM_BUFFERS] = buffers;
    data[at + NUM_BUFFERS + 1] = buffers >> 8;
    return `header at ${at}: ${buffers} buffers`;
  }

  /** What a port does each time: posts what it holds, takes what came, asks to be called. */
  turn(random: Random, sights: Sights): string {
    if (random.chance(800)) {
      const refused = this.#refusal(() => this.#receiver.recycle());
      if (this.observer.broken && this.#held > 0) return this.#told(refused);
      if (refused) throw refused;
      this.#recycled();
    }
    let frames: Frame[] | undefined;
    const refused = this.#refusal(() => {
      frames = this.#receiver.collect();
    });
    const expected = this.#expect(sights);
    if (this.observer.broken) return this.#told(refused);
    if (refused) throw refused;
    this.#check(frames, expected, sights);
    const waiting = (this.#words.usedIndex - this.observer.usedNext) & 0xffff;
    same('whether to look again', this.#receiver.enableCalls(), waiting > 0);
    this.#receiver.disableCalls();
    return `${expected.length} frames`;
  }

  /** Every buffer is the device's again, each in one chain of its own. */
  #recycled(): void {
    const { bufferSize, size, eventIdx } = this.#shape;
    const taken = new Uint8Array(size);
    for (let i = 0; i < this.#held; i++) this.observer.added();
    for (const chain of this.observer.chains) {
      const [buffer, ...more] = chain?.buffers ?? [];
      if (!buffer || more.length > 0) throw new Error('a receive chain is not of one buffer');
      const slot = buffer.at / bufferSize;
      same('whether the device writes it', buffer.writable, true);
      same('the length of a buffer', buffer.length, bufferSize);
      same('whether a buffer is posted already', taken[slot], 0);
      taken[slot] = 1;
    }
    same('free descriptors', this.#driver.free, 0);
    if (this.observer.wantsKick(eventIdx)) this.#wanted.rxKicks++;
    this.observer.published(this.#words.avail[1]);
    this.#held = 0;
    same('kicks', this.#kicks, this.#wanted.rxKicks);
  }

  /** The frames that must come, as the memory stands now. */
  #expect(sights: Sights): Expected[] {
    const { observer } = this;
    const frames: Expected[] = [];
    while (frames.length < MOST) {
      const before = [...observer.chains];
      if (observer.find() !== 'chain') break;
      this.#held++;
      const at = before[observer.head]?.buffers[0]?.at as number;
      const frame = this.#take(at, observer.length, sights);
      if (!frame) continue;
      this.#wanted.rxFrames++;
      this.#wanted.rxBytes += frame.length;
      frames.push(frame);
    }
    return frames;
  }

  #take(at: number, used: number, sights: Sights): Expected | undefined {
    const { headerLength, mergeable } = this.#shape;
    if (this.#missing > 0) return this.#append(at, used, sights);
    if (used < headerLength) return this.#damage('shorter than its header', sights);
    const word = (field: number) =>
      (data[at + field] as number) + 256 * (data[at + field + 1] as number);
    const buffers = mergeable ? word(NUM_BUFFERS) : 1;
    if (buffers > this.#shape.size) return this.#damage('of too many buffers', sights);
    const length = used - headerLength;
    const offload = [data[at] as number, data[at + 1] as number, ...[2, 4, 6, 8].map(word)];
    offload.push(...(headerLength === 24 ? [20, 22].map(word) : [0, 0]));
    const start = at + headerLength;
    if (buffers < 2) return this.#whole({ length, at: start, offload }, sights);
    this.#partial = { length, bytes: Buffer.from(data.slice(start, start + length)), offload };
    this.#missing = buffers - 1;
    this.#damaged = false;
    return undefined;
  }

  #append(at: number, used: number, sights: Sights): Expected | undefined {
    const frame = this.#partial as Expected;
    if (frame.length + used > LONGEST) {
      this.#damaged = true;
    } else {
      frame.bytes = Buffer.concat([frame.bytes as Buffer, data.slice(at, at + used)]);
      frame.length += used;
    }
    if (--this.#missing > 0) return undefined;
    return this.#damaged ? this.#damage('too long', sights) : this.#whole(frame, sights);
  }

  #whole(frame: Expected, sights: Sights): Expected | undefined {
    if (frame.length < SHORTEST) return this.#damage('too short', sights);
    return frame.length > LONGEST ? this.#damage('too long', sights) : frame;
  }

  #damage(why: string, sights: Sights): undefined {
    this.#wanted.rxErrors++;
    see(sights, `a frame ${why}`);
  }

  #check(frames: readonly Frame[] | undefined, expected: Expected[], sights: Sights): void {
    same('the number of frames', frames?.length ?? 0, expected.length);
    const seen = new Set<Uint8Array>();
    for (const [i, { length, at, bytes, offload }] of expected.entries()) {
      const frame = frames?.[i] as Frame;
      same('the length of a frame', frame.length, length);
      same('the length of its bytes', frame.bytes.length, length);
      same('whether its buffer is that of another', seen.has(frame.buffer), false);
      seen.add(frame.buffer);
      if (at === undefined) {
        see(sights, 'a frame of several buffers');
        same('whether it lies in shared memory', frame.buffer.buffer === data.buffer, false);
        same('its bytes', Buffer.compare(frame.bytes, bytes as Buffer), 0);
      } else {
        see(sights, 'a frame of one buffer');
        same('where it begins', frame.bytes.byteOffset - data.byteOffset, at);
        same('its memory', frame.bytes.buffer, data.buffer);
        const room = this.#shape.bufferSize - this.#shape.headerLength;
        same('its room', frame.buffer.length, room);
      }
      const { flags, gsoType, headerLength, gsoSize, checksumStart, ...rest } = frame.offload;
      const { checksumOffset, outerTransport, innerNetwork } = rest;
      const says = [flags, gsoType, headerLength, gsoSize, checksumStart, checksumOffset];
      same('its offload', [...says, outerTransport, innerNetwork].join(), offload.join());
    }
    const { rxFrames, rxBytes, rxErrors } = this.#counters;
    same('rxFrames', rxFrames, this.#wanted.rxFrames);
    same('rxBytes', rxBytes, this.#wanted.rxBytes);
    same('rxErrors', rxErrors, this.#wanted.rxErrors);
    same('chains in flight', this.#driver.inFlight, this.#shape.size - this.#held);
  }

  #told(refused: StateError | undefined): string {
    if (!refused) throw new Error('a broken ring is not refused');
    return refused.message;
  }

  /** The only error that a call may throw, if it does. */
  #refusal(call: () => unknown): StateError | undefined {
    try {
      call();
      return undefined;
    } catch (error) {
      if (error instanceof StateError && error.code === 'ERR_RING_BROKEN') return error;
      throw error;
    }
  }
}
