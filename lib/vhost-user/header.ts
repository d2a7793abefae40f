/** The header of a message: which it is, what flags it has, how long its payload is. */
import {
  VHOST_USER_NEED_REPLY,
  VHOST_USER_REPLY,
  VHOST_USER_VERSION,
  VHOST_USER_VERSION_MASK,
} from '../uapi/vhost-user.js';
import { LONGEST_PAYLOAD } from './payload.js';
import { struct } from './struct.js';

/** `'requests'` or `'replies'`: on one socket, each direction has only one of the two. */
export type VhostUserDirection = 'requests' | 'replies';

const HEADER = struct({ request: 'u32', flags: 'u32', size: 'u32' });

/** Bytes of a message before its payload. */
export const HEADER_SIZE = HEADER.size;

const REPLY_FLAGS = VHOST_USER_VERSION | VHOST_USER_REPLY;

/** What the first 12 bytes of a message say. */
export interface Header {
  /** Id of the request. */
  request: number;
  flags: number;
  /** Bytes of the payload. */
  size: number;
}

export function writeHeader(view: DataView, header: Header): void {
  HEADER.write(view, header);
}

/** The fields of a header as they stand, sound or not: for who looks on. Throws a `RangeError` below 12 bytes. */
export function readVhostUserHeader(bytes: Uint8Array): Header {
  return HEADER.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}

/** Reads the header of a message. Throws an `Error` that says what no message of this direction has. */
export function readHeader(view: DataView, direction: VhostUserDirection): Header {
  const header = HEADER.read(view);
  const { flags, size } = header;
  const version = flags & VHOST_USER_VERSION_MASK;
  if (version !== VHOST_USER_VERSION) {
    throw new Error(`it is of version ${version} of the protocol, not ${VHOST_USER_VERSION}`);
  }
  // Of a reply QEMU and DPDK take these flags and no others; so does this.
  const allowed =
    direction === 'replies'
      ? flags === REPLY_FLAGS
      : (flags & ~VHOST_USER_NEED_REPLY) >>> 0 === VHOST_USER_VERSION;
  if (!allowed) throw new Error(`it has the flags 0x${flags.toString(16)} among ${direction}`);
  if (size > LONGEST_PAYLOAD) {
    throw new Error(`its payload of ${size} bytes is above ${LONGEST_PAYLOAD}`);
  }
  return header;
}

/** The flags of a request. */
export function requestFlags(needReply: boolean): number {
  return VHOST_USER_VERSION | (needReply ? VHOST_USER_NEED_REPLY : 0);
}

/** The flags of every reply. */
export function replyFlags(): number {
  return REPLY_FLAGS;
}
