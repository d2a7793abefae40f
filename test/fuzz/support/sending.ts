/** Transmitter with an observer at its side: every frame that it shows must be whole, and alone. */
import { StateError } from '../../../lib/errors.js';
import type { EventFd } from '../../../lib/host/event-fd.js';
import { Frame, type Sendable } from '../../../lib/net/frame.js';
import { type HeaderLength, writeHeader } from '../../../lib/net/header.js';
import { noCounters } from '../../../lib/port/counters.js';
import { Transmitter } from '../../../lib/port/transmitter.js';
import type { VringDriver } from '../../../lib/vring/driver.js';
import { makeDriver } from './checked-driver.js';
import { type Chain, Observer } from './observer.js';
import type { Random } from './random.js';
import { DATA_AT, data, RingWords } from './ring-memory.js';
import { type Sights, same, see } from './run.js';

export interface SendingShape {
  size: number;
  /** Bytes to send from, a multiple of 64. */
  room: number;
  headerLength: HeaderLength;
  eventIdx: boolean;
}

/** Bytes that tell one offset from another, for frames to be cut from. */
const PATTERN = Uint8Array.from({ length: 70_000 }, (_, i) => (i * 31 + (i >> 8)) & 0xff);

export class Sending {
  readonly #shape: SendingShape;
  readonly #driver: VringDriver;
  readonly #words: RingWords;
  readonly #counters = noCounters();
  readonly #transmitter: Transmitter;
  readonly #wanted = noCounters();
  readonly observer: Observer;
  #kicks = 0;

  constructor(shape: SendingShape) {
    this.#shape = shape;
    this.#words = new RingWords(shape.size);
    this.#driver = makeDriver(this.#words, { ...shape, tableLength: 0 });
    this.observer = new Observer(this.#words);
    const kick: Pick<EventFd, 'signal'> = {
      signal: () => {
        this.#kicks++;
      },
    };
    this.#transmitter = new Transmitter({
      ...shape,
      ring: this.#driver,
      kick: kick as EventFd,
      counters: this.#counters,
      area: { address: BigInt(DATA_AT), bytes: data.subarray(0, shape.room) },
    });
  }

  /** One call of the transmitter. Returns what it did. */
  step(random: Random, sights: Sights): string {
    switch (random.below(4)) {
      case 0:
      case 1:
        return this.#push(random, sights);
      case 2:
        return this.#reclaim(sights);
      default:
        return this.#ask(random);
    }
  }

  #push(random: Random, sights: Sights): string {
    const frames = Array.from({ length: random.between(1, 6) }, () => this.#draw(random));
    let pushed = 0;
    const refused = this.#refusal(() => {
      pushed = this.#transmitter.push(frames, 0);
    });
    if (refused) return this.#told(refused, sights);
    // It takes back what it can where it needs room, and then all of it.
    const came = this.observer.inFlight + pushed - this.#driver.inFlight;
    for (let i = 0; i < came; i++) same('what came back', this.observer.find(), 'chain');
    if (came > 0) same('what came back in the end', this.observer.find(), 'nothing');
    const live = this.#live();
    for (let i = 0; i < pushed; i++) live.push(this.#shown(frames[i] as Sendable, live, sights));
    if (pushed < frames.length) this.#checkFull(frames[pushed] as Sendable, sights);
    if (this.observer.wantsKick(this.#shape.eventIdx)) this.#wanted.txKicks++;
    this.observer.published(this.#words.avail[1]);
    same('kicks', this.#kicks, this.#wanted.txKicks);
    this.#agree();
    return `pushes ${pushed} of ${frames.length}, ${came} came back`;
  }

  /** What the device sees of a frame: header and bytes in one buffer that no other frame has. */
  #shown(frame: Sendable, live: readonly Chain[], sights: Sights): Chain {
    const chain = this.observer.added();
    const [buffer, ...more] = chain.buffers;
    if (!buffer || more.length > 0) throw new Error('a frame is not in one buffer');
    const { headerLength, room } = this.#shape;
    const header = new Uint8Array(headerLength);
    if (frame instanceof Frame) writeHeader(header, 0, headerLength, frame.offload);
    const bytes = frame instanceof Frame ? frame.bytes : frame;
    const { at, length } = buffer;
    same('whether the device writes it', buffer.writable, false);
    same('the length of a frame', length, headerLength + bytes.length);
    same('whether it lies in the area', at + length <= room, true);
    for (const other of live) {
      const [{ at: start, length: long } = buffer] = other.buffers;
      if (at < start + long && start < at + length) throw new Error('two frames overlap');
    }
    const whole = Buffer.concat([header, bytes]);
    same('its bytes', Buffer.compare(whole, data.subarray(at, at + length)), 0);
    this.#wanted.txFrames++;
    this.#wanted.txBytes += bytes.length;
    see(sights, frame instanceof Frame ? 'a frame with a header' : 'bytes');
    return chain;
  }

  /** A frame waits only where there is no descriptor, or others take the room. */
  #checkFull({ length }: Sendable, sights: Sights): void {
    if (this.#driver.free === 0) {
      see(sights, 'a full ring');
      return;
    }
    // Its header lies in the cache line before it.
    const fits = 64 + length <= this.#shape.room;
    if (fits && this.observer.inFlight === 0) throw new Error('an empty arena has no room');
    see(sights, 'a full arena');
  }

  #reclaim(sights: Sights): string {
    const refused = this.#refusal(() => this.#transmitter.reclaim());
    if (refused) return this.#told(refused, sights);
    let came = 0;
    let finding = this.observer.find();
    for (; finding === 'chain'; finding = this.observer.find()) came++;
    same('what came back in the end', finding, 'nothing');
    this.#agree();
    return `takes back ${came}`;
  }

  #ask(random: Random): string {
    const eighths = random.below(9);
    // What a push added before it broke is known to the ring alone.
    if (this.observer.broken) return 'nothing';
    const { inFlight } = this.observer;
    const after = Math.max(0, Math.min(Math.floor((inFlight * eighths) / 8), inFlight - 1));
    const waiting = (this.#words.usedIndex - this.observer.usedNext) & 0xffff;
    same('whether to look again', this.#transmitter.enableCalls(eighths), waiting > after);
    return `asks for a call after ${eighths} eighths`;
  }

  #draw(random: Random): Sendable {
    const length = random.chance(50) ? random.between(14, 65_557) : random.between(14, 300);
    const bytes = PATTERN.subarray(random.below(1000)).subarray(0, length);
    if (random.chance(600)) return bytes;
    // Half of them lie in the shared memory, as a frame that this port received.
    const inPlace = data.subarray(data.length - length);
    const frame = new Frame(random.chance(500) ? bytes : inPlace);
    frame.length = random.between(14, length);
    frame.offload.flags = random.below(256);
    frame.offload.gsoType = random.below(256);
    frame.offload.gsoSize = random.below(65_536);
    frame.offload.checksumStart = random.below(65_536);
    return frame;
  }

  #live(): Chain[] {
    return this.observer.chains.filter((chain): chain is Chain => chain !== undefined);
  }

  /** Nothing but a lie may break the ring; then the rest is told and no frame goes any more. */
  #told(refused: StateError, sights: Sights): string {
    let finding = this.observer.find();
    while (finding === 'chain') finding = this.observer.find();
    same('what the device did', finding, 'lie');
    same('whether the ring is broken', this.#driver.broken, true);
    see(sights, 'a broken ring');
    return refused.message;
  }

  #agree(): void {
    same('chains in flight', this.#transmitter.inFlight, this.observer.inFlight);
    same('free descriptors', this.#driver.free, this.observer.free);
    same('txFrames', this.#counters.txFrames, this.#wanted.txFrames);
    same('txBytes', this.#counters.txBytes, this.#wanted.txBytes);
  }

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
