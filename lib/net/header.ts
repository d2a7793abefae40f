/** The virtio-net header (virtio 1.3 §5.1.6): its lengths, and its fields on the wire. */
import {
  hasBit,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO,
  VIRTIO_NET_F_HASH_REPORT,
  VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO,
  VIRTIO_NET_F_MRG_RXBUF,
} from '../uapi/virtio-net.js';

/** Bytes of a header: legacy, with `num_buffers`, with a hash, with tunnel offsets. */
export type HeaderLength = 10 | 12 | 20 | 24;

export const HEADER_LENGTHS: readonly HeaderLength[] = [10, 12, 20, 24];

/** Offset of `num_buffers`, in bytes, in the headers that have it. */
export const NUM_BUFFERS_OFFSET = 10;

const HASH_LENGTH = 20;
const HASH_VALUE_OFFSET = 12;
const HASH_REPORT_OFFSET = 16;
const TUNNEL_LENGTH = 24;
const OUTER_TRANSPORT_OFFSET = 20;
const INNER_NETWORK_OFFSET = 22;

/** What a frame's header says about it. */
export interface Offload {
  /** `VIRTIO_NET_HDR_F_*` bits. */
  flags: number;
  /** `VIRTIO_NET_HDR_GSO_*`. */
  gsoType: number;
  /** Bytes of all headers of a frame to be segmented. */
  headerLength: number;
  /** Bytes of payload of each segment. */
  gsoSize: number;
  /** Offset from where the checksum is computed, in bytes. */
  checksumStart: number;
  /** Offset after `checksumStart` where it is stored, in bytes. */
  checksumOffset: number;
  /** Offset of the UDP header of a tunnel to be segmented, in bytes; else 0. */
  outerTransport: number;
  /** Offset of the IP header within that tunnel, in bytes; else 0. */
  innerNetwork: number;
}

/** All that a header can say, in as far as it is long enough. */
export interface NetHeader extends Offload {
  /** Receive buffers that the frame takes, from 12 bytes on. */
  numBuffers: number;
  /** The receive hash and its type, from 20 bytes on; `VIRTIO_NET_HASH_REPORT_*`. */
  hashValue: number;
  hashReport: number;
}

/** The header of a frame that needs nothing. */
export function plainOffload(): Offload {
  return {
    flags: 0,
    gsoType: 0,
    headerLength: 0,
    gsoSize: 0,
    checksumStart: 0,
    checksumOffset: 0,
    outerTransport: 0,
    innerNetwork: 0,
  };
}

/** Makes it that of a frame that needs nothing. */
export function clearOffload(offload: Offload): void {
  offload.flags = 0;
  offload.gsoType = 0;
  offload.headerLength = 0;
  offload.gsoSize = 0;
  offload.checksumStart = 0;
  offload.checksumOffset = 0;
  offload.outerTransport = 0;
  offload.innerNetwork = 0;
}

/** Copies every field. */
export function copyOffload(from: Offload, to: Offload): void {
  to.flags = from.flags;
  to.gsoType = from.gsoType;
  to.headerLength = from.headerLength;
  to.gsoSize = from.gsoSize;
  to.checksumStart = from.checksumStart;
  to.checksumOffset = from.checksumOffset;
  to.outerTransport = from.outerTransport;
  to.innerNetwork = from.innerNetwork;
}

const TUNNEL = [VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO, VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO];

/** The header's length that a set of negotiated features means, as drivers/vhost/net.c has it. */
export function headerLengthOf(features: bigint): HeaderLength {
  if (TUNNEL.some((feature) => hasBit(features, feature))) return 24;
  if (hasBit(features, VIRTIO_NET_F_HASH_REPORT)) return 20;
  const long = hasBit(features, VIRTIO_NET_F_MRG_RXBUF) || hasBit(features, VIRTIO_F_VERSION_1);
  return long ? 12 : 10;
}

/** Reads a header of `length` little-endian bytes into `offload`. Allocates nothing. */
export function readHeader(
  bytes: Uint8Array,
  at: number,
  offload: Offload,
  length: HeaderLength = 12,
): void {
  offload.flags = bytes[at] as number;
  offload.gsoType = bytes[at + 1] as number;
  offload.headerLength = readU16(bytes, at + 2);
  offload.gsoSize = readU16(bytes, at + 4);
  offload.checksumStart = readU16(bytes, at + 6);
  offload.checksumOffset = readU16(bytes, at + 8);
  const tunnel = length === TUNNEL_LENGTH;
  offload.outerTransport = tunnel ? readU16(bytes, at + OUTER_TRANSPORT_OFFSET) : 0;
  offload.innerNetwork = tunnel ? readU16(bytes, at + INNER_NETWORK_OFFSET) : 0;
}

/** Writes a header of `length` bytes; what `offload` does not say is 0. Allocates nothing. */
export function writeHeader(
  bytes: Uint8Array,
  at: number,
  length: HeaderLength,
  offload: Offload,
): void {
  bytes[at] = offload.flags;
  bytes[at + 1] = offload.gsoType;
  writeU16(bytes, at + 2, offload.headerLength);
  writeU16(bytes, at + 4, offload.gsoSize);
  writeU16(bytes, at + 6, offload.checksumStart);
  writeU16(bytes, at + 8, offload.checksumOffset);
  for (let i = at + NUM_BUFFERS_OFFSET; i < at + length; i++) bytes[i] = 0;
  if (length !== TUNNEL_LENGTH) return;
  writeU16(bytes, at + OUTER_TRANSPORT_OFFSET, offload.outerTransport);
  writeU16(bytes, at + INNER_NETWORK_OFFSET, offload.innerNetwork);
}

/** As {@link readHeader}, with what only a device writes; 0 where the header is too short for it. */
export function readNetHeader(
  bytes: Uint8Array,
  at: number,
  length: HeaderLength,
  header: NetHeader,
): void {
  readHeader(bytes, at, header, length);
  header.numBuffers = length >= 12 ? readU16(bytes, at + NUM_BUFFERS_OFFSET) : 0;
  const hashed = length >= HASH_LENGTH;
  header.hashValue = hashed
    ? (readU16(bytes, at + HASH_VALUE_OFFSET) |
        (readU16(bytes, at + HASH_VALUE_OFFSET + 2) << 16)) >>>
      0
    : 0;
  header.hashReport = hashed ? readU16(bytes, at + HASH_REPORT_OFFSET) : 0;
}

/** As {@link writeHeader}, with what only a device writes, in as far as the header is long enough. */
export function writeNetHeader(
  bytes: Uint8Array,
  at: number,
  length: HeaderLength,
  header: NetHeader,
): void {
  writeHeader(bytes, at, length, header);
  if (length >= 12) writeU16(bytes, at + NUM_BUFFERS_OFFSET, header.numBuffers);
  if (length < HASH_LENGTH) return;
  writeU16(bytes, at + HASH_VALUE_OFFSET, header.hashValue);
  writeU16(bytes, at + HASH_VALUE_OFFSET + 2, header.hashValue >>> 16);
  writeU16(bytes, at + HASH_REPORT_OFFSET, header.hashReport);
}

/** Writes the header of a frame that needs nothing. */
export function clearHeader(bytes: Uint8Array, at: number, length: HeaderLength): void {
  for (let i = at; i < at + length; i++) bytes[i] = 0;
}

export function readU16(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >> 8;
}
