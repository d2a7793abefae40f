/** prepareOffload: leaves a frame's checksum, and its segmentation, to the kernel. */
import { checkInteger } from '../errors.js';
import { IPPROTO_TCP } from '../uapi/ip.js';
import {
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VIRTIO_NET_HDR_GSO_ECN,
  VIRTIO_NET_HDR_GSO_NONE,
  VIRTIO_NET_HDR_GSO_TCPV4,
  VIRTIO_NET_HDR_GSO_TCPV6,
  VIRTIO_NET_HDR_GSO_UDP_L4,
} from '../uapi/virtio-net.js';
import { addWords, foldSum, offloadError } from './checksum.js';
import type { Offload } from './header.js';
import { write16 } from './network-order.js';
import { emptyLayout, locate } from './packet-layout.js';
import { checksumOffsetOf, payloadOffset, TCP_CWR, TCP_FLAGS } from './transport.js';

/** The kernel's UDP_MAX_SEGMENTS, as small as it was on any: a longer one is dropped without a word. */
const MAX_UDP_SEGMENTS = 64;

const layout = emptyLayout();

/**
 * Asks for what the host is to do with a frame of TCP or UDP over IPv4 or IPv6, behind up to two VLAN
 * tags: writes the sum of the pseudo-header into the frame's checksum field, and the request into
 * `offload`, every field of it (virtio 1.3 §5.1.6.2). With `mss`, in bytes, a frame whose payload is
 * longer becomes one that is cut into segments of so much payload: TSO, or USO, which not every kernel
 * has. Without, and for a shorter one, only the checksum is asked for. Allocates nothing.
 *
 * The lengths in the frame's headers must be those of the whole frame. Throws `ERR_FRAME_OFFLOAD`, a
 * `RangeError`, for a frame that is neither TCP nor UDP, a fragment, damaged, padded though it is to be
 * segmented, or makes more than 64 segments of UDP; `ERR_OUT_OF_RANGE` for an `mss` that is none.
 */
export function prepareOffload(bytes: Uint8Array, offload: Offload, mss = 0): void {
  checkInteger('mss', mss, 0, 65_535);
  locate(bytes, bytes.length, layout);
  const payload = payloadOffset(bytes, layout);
  const { transport, protocol, end } = layout;
  const length = end - payload;
  const segmented = mss > 0 && length > mss;
  if (segmented && end < bytes.length) throw offloadError('it is padded');
  if (segmented && protocol !== IPPROTO_TCP && length > mss * MAX_UDP_SEGMENTS) {
    throw offloadError(`it makes more than ${MAX_UDP_SEGMENTS} segments of UDP`);
  }
  offload.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
  offload.gsoType = segmented ? gsoType(bytes) : VIRTIO_NET_HDR_GSO_NONE;
  offload.headerLength = segmented ? payload : 0;
  offload.gsoSize = segmented ? mss : 0;
  offload.checksumStart = transport;
  offload.checksumOffset = checksumOffsetOf(protocol);
  offload.outerTransport = 0;
  offload.innerNetwork = 0;
  write16(bytes, transport + offload.checksumOffset, pseudoHeader(bytes));
}

function gsoType(bytes: Uint8Array): number {
  const { transport, protocol, version } = layout;
  if (protocol !== IPPROTO_TCP) return VIRTIO_NET_HDR_GSO_UDP_L4;
  const type = version === 4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
  const reduced = ((bytes[transport + TCP_FLAGS] as number) & TCP_CWR) !== 0;
  return reduced ? type | VIRTIO_NET_HDR_GSO_ECN : type;
}

/** The sum of the pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1): addresses, protocol, length. */
function pseudoHeader(bytes: Uint8Array): number {
  const { version, network, destination, transport, protocol, end } = layout;
  const size = version === 4 ? 4 : 16;
  const source = version === 4 ? network + 12 : network + 8;
  let sum = protocol + end - transport;
  sum = addWords(bytes, source, source + size, sum);
  return foldSum(addWords(bytes, destination, destination + size, sum));
}
