/** A frame as a port, or a back end, receives it, and as it can be sent on. */
import { isUint8Array } from 'node:util/types';
import { rangeError, typeError } from '../errors.js';
import { ETH_HLEN } from '../uapi/tun.js';
import { copyOffload, type Offload, plainOffload } from './header.js';

/** Bytes of an Ethernet header: the TAP drops what is shorter. */
export const SHORTEST_FRAME = ETH_HLEN;
/** Bytes of the longest frame: 64 KiB less one, an Ethernet header and two tags. */
export const LONGEST_FRAME = 65_535 + ETH_HLEN + 8;

/**
 * A frame with its header. A received one lies in place in the ring's memory, belongs to the port and is
 * reused: it is valid until the consumer's callback returns, or its iteration goes on. Copy what must
 * live longer. One to send is made by {@link Frame.from}.
 */
export class Frame {
  /** What the virtio-net header said. */
  readonly offload: Offload = plainOffload();
  /** Bytes of the frame, from the destination address on, without checksum. */
  length = 0;
  /** The frame at offset 0, and room after it up to the end of its buffer. */
  readonly buffer: Uint8Array;
  /** The queue pair that it came by, from 0. */
  readonly pair: number;
  #bytes: Uint8Array;
  #words: Uint32Array | null | undefined;

  /** @internal Ports make frames. */
  constructor(buffer: Uint8Array, pair = 0) {
    this.buffer = buffer;
    this.pair = pair;
    this.#bytes = buffer;
  }

  /**
   * A frame of the caller's own to send with a header: `bytes` are not copied, and can be filled anew
   * when they were sent, as can `length` and `offload`. Default: a header that asks for nothing; see
   * {@link prepareOffload}.
   */
  static from(bytes: Uint8Array, offload?: Readonly<Offload>): Frame {
    const frame = new Frame(bytes);
    frame.length = bytes.length;
    if (offload) copyOffload(offload, frame.offload);
    return frame;
  }

  /** @internal The whole words of `buffer`, where it begins on one; made when first needed. */
  get words(): Uint32Array | null {
    if (this.#words === undefined) this.#words = wordsOf(this.buffer);
    return this.#words;
  }

  /**
   * The frame's bytes, as a view of `buffer`. A view is made only when the length differs from that
   * of the last frame in this buffer.
   */
  get bytes(): Uint8Array {
    if (this.#bytes.length !== this.length) this.#bytes = this.buffer.subarray(0, this.length);
    return this.#bytes;
  }
}

function wordsOf({ buffer, byteOffset, length }: Uint8Array): Uint32Array | null {
  return byteOffset % 4 === 0 ? new Uint32Array(buffer, byteOffset, Math.floor(length / 4)) : null;
}

/** What {@link NetPort.send} takes: bytes that need no offload, or a frame with its header. */
export type Sendable = Uint8Array | Frame;

/** Whether it has a header of its own. Bytes are asked for first: they are the rule, and soon known. */
export function isFrame(frame: Sendable): frame is Frame {
  return !(frame instanceof Uint8Array) && frame instanceof Frame;
}

/** Throws `ERR_INVALID_ARG_TYPE` for what is no frame, `ERR_FRAME_SIZE` for one that no TAP takes. */
export function checkFrame(frame: Sendable): void {
  const hasHeader = isFrame(frame);
  // The first two know all but the arrays of another realm, and are fast.
  if (!hasHeader && !(frame instanceof Uint8Array) && !isUint8Array(frame)) {
    throw typeError(`a frame must be a Uint8Array or a Frame, not ${describe(frame)}`);
  }
  if (frame.length < SHORTEST_FRAME || frame.length > LONGEST_FRAME) {
    throw rangeError(
      `a frame of ${frame.length} bytes cannot be sent: it has ${SHORTEST_FRAME} to ${LONGEST_FRAME} bytes`,
      undefined,
      'ERR_FRAME_SIZE',
    );
  }
  if (hasHeader && frame.length > frame.buffer.length) {
    throw rangeError(
      `a frame of ${frame.length} bytes cannot be sent: its buffer has ${frame.buffer.length}`,
      'a received frame is valid until its consumer goes on, or its port is closed: copy what must live longer',
      'ERR_FRAME_SIZE',
    );
  }
}

function describe(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(typeof value);
  return Object.prototype.toString.call(value).slice(8, -1);
}
