/**
 * RingService: what the two directions have in common: a ring, whose kicks are heard on the event loop, and the
 * descriptor that its frames go through. All of it happens in turns, each with a budget, so that other work of
 * the loop gets its turn as well; nothing runs while nothing comes.
 */
import { StateError } from '../errors.js';
import { duplicate } from '../host/descriptor.js';
import { EventFd } from '../host/event-fd.js';
import type { GuestMemory } from '../host/guest-memory.js';
import type { PacketQueue } from '../host/packet-queue.js';
import { logVhost } from '../log.js';
import type { Fd } from '../native.js';
import {
  hasBit,
  VIRTIO_RING_F_EVENT_IDX,
  VIRTIO_RING_F_INDIRECT_DESC,
} from '../uapi/virtio-net.js';
import type { VringConfig } from '../vhost/backend.js';
import type { DirtyLog } from '../vhost/dirty-log.js';
import { VringDevice } from '../vring/device.js';
import { usedBytes } from '../vring/layout.js';
import { DirtyMarks } from './dirty-marks.js';
import { FrameBatch } from './frame-batch.js';

/** Frames and bytes of a turn, as vhost's VHOST_NET_PKT_WEIGHT and VHOST_NET_WEIGHT. */
export const FRAMES_PER_TURN = 256;
export const BYTES_PER_TURN = 0x80000;

/** What `count` frames of these lengths take of a turn, in frames. */
export function costOf(lengths: Int32Array, count: number): number {
  let bytes = 0;
  for (let i = 0; i < count; i++) bytes += Math.max(0, lengths[i] as number);
  return Math.max(count, bytes / (BYTES_PER_TURN / FRAMES_PER_TURN));
}

export interface RingServiceOptions {
  memory: GuestMemory;
  /** The acknowledged features. */
  features: bigint;
  queue: PacketQueue;
  config: VringConfig;
  log: DirtyLog | undefined;
  /** Called when the ring cannot be used and has no `err` of its own. */
  onError: () => void;
}

export abstract class RingService {
  protected readonly ring: VringDevice;
  protected readonly batch = new FrameBatch();
  /** Our own reference to the queue, as a vhost device has one. */
  protected readonly port: Fd;
  protected marks: DirtyMarks | undefined;
  readonly #memory: GuestMemory;
  readonly #config: VringConfig;
  readonly #onError: () => void;
  /** Duplicates: what the caller closes is served until the ring is stopped. */
  readonly #kick: EventFd;
  readonly #call: EventFd;
  readonly #err: EventFd | undefined;
  #soon: NodeJS.Immediate | undefined;
  #later: NodeJS.Timeout | undefined;

  /** Throws `ERR_OUT_OF_RANGE` for a ring that cannot be, `ERR_CLOSED`, `EMFILE`; then nothing stays open. */
  protected constructor({ memory, features, queue, config, log, onError }: RingServiceOptions) {
    const { size, addresses, base } = config;
    this.ring = new VringDevice(memory, {
      size,
      addresses,
      base,
      eventIdx: hasBit(features, VIRTIO_RING_F_EVENT_IDX),
      indirect: hasBit(features, VIRTIO_RING_F_INDIRECT_DESC),
    });
    this.#memory = memory;
    this.#config = config;
    this.#onError = onError;
    this.setLog(log);
    const opened: { close(): unknown }[] = [];
    const open = (eventFd: EventFd) => {
      const own = EventFd.fromFd(eventFd.fd);
      opened.push(own);
      return own;
    };
    try {
      this.#kick = open(config.kick);
      this.#call = open(config.call);
      this.#err = config.err && open(config.err);
      this.port = duplicate(queue.fd);
    } catch (error) {
      for (const one of opened) one.close();
      throw error;
    }
  }

  /** Where another device goes on. */
  get base(): number {
    return this.ring.base;
  }

  /** Begins to serve: with a look, for what lies in the ring may have been kicked to another device. */
  start(): void {
    this.#kick.onSignal(() => {
      this.ring.mend();
      this.turn();
    });
    this.#kick.unref();
    this.goOnSoon();
  }

  /** After this nothing is touched any more. */
  stop(): void {
    if (this.#soon) clearImmediate(this.#soon);
    clearTimeout(this.#later);
    for (const eventFd of [this.#kick, this.#call, this.#err]) eventFd?.close();
    this.port.close();
  }

  /** What is written from now on is marked in `log`. Throws `ERR_OUT_OF_RANGE`, and changes nothing then. */
  setLog(log: DirtyLog | undefined): void {
    if (!log) {
      this.marks = this.ring.onWrite = undefined;
      return;
    }
    log.checkCovers(this.#memory);
    const { addresses, size } = this.#config;
    const { region, offset } = this.#memory.translate(addresses.used, usedBytes(size));
    const marks = new DirtyMarks(log);
    this.marks = marks;
    this.ring.onWrite = (at, bytes) => marks.mark(region, offset + at, bytes);
  }

  /** Serves what there is, within its budget. Throws `ERR_RING_BROKEN`. */
  protected abstract serve(): void;

  /** Called when the ring is broken: nothing is to be served until a kick. */
  protected abstract rest(): void;

  protected turn(): void {
    this.ring.disableKicks();
    try {
      this.serve();
    } catch (error) {
      if (!(error instanceof StateError) || error.code !== 'ERR_RING_BROKEN') throw error;
      this.rest();
      this.#giveUp(error);
    }
  }

  /** Takes another turn, after that of other work. */
  protected goOnSoon(): void {
    this.#soon ??= setImmediate(() => {
      this.#soon = undefined;
      this.turn();
    });
  }

  /** Takes another turn after so many ms, for what nobody tells when it can go on. */
  protected goOnLater(delay: number): void {
    clearTimeout(this.#later);
    this.#later = setTimeout(() => this.turn(), delay).unref();
  }

  /** Shows the driver what was given back. */
  protected publish(): void {
    if (this.ring.publish()) this.#call.wake();
    this.marks?.tell();
  }

  #giveUp(error: StateError): void {
    logVhost('gave a ring up: %s', error.message);
    if (this.#err) this.#err.wake();
    else this.#onError();
  }
}
