/** What offloads know of TCP and UDP: where their fields are, and how long their headers. */
import { IPPROTO_TCP, IPPROTO_UDP } from '../uapi/ip.js';
import { offloadError } from './checksum.js';
import type { PacketLayout } from './packet-layout.js';

/** Offset of the checksum in either header. */
export const TCP_CHECKSUM = 16;
export const UDP_CHECKSUM = 6;
/** Offset of TCP's flags, and the flags that only one segment of many keeps. */
export const TCP_FLAGS = 13;
export const TCP_FIN_PSH = 0x09;
export const TCP_CWR = 0x80;

const TCP_HLEN = 20;
const UDP_HLEN = 8;

/**
 * The offset of the payload behind the transport's header, which lies wholly in the packet. Throws
 * `ERR_FRAME_OFFLOAD` for what is neither TCP nor UDP, a fragment, or damaged.
 */
export function payloadOffset(bytes: Uint8Array, layout: PacketLayout): number {
  const { transport, protocol, end } = layout;
  if (layout.problem !== '') throw offloadError(layout.problem);
  if (layout.fragment) throw offloadError('it is a fragment');
  if (transport === 0) throw offloadError('it carries no IP');
  if (protocol === IPPROTO_UDP) {
    if (transport + UDP_HLEN > end) throw offloadError('its UDP header is cut short');
    return transport + UDP_HLEN;
  }
  if (protocol !== IPPROTO_TCP) throw offloadError('it carries neither TCP nor UDP');
  if (transport + TCP_HLEN > end) throw offloadError('its TCP header is cut short');
  const length = ((bytes[transport + 12] as number) >> 4) * 4;
  if (length < TCP_HLEN || transport + length > end) {
    throw offloadError('the length of its TCP header is impossible');
  }
  return transport + length;
}

/** The offset of the checksum in the header of TCP or UDP. */
export function checksumOffsetOf(protocol: number): number {
  return protocol === IPPROTO_TCP ? TCP_CHECKSUM : UDP_CHECKSUM;
}
