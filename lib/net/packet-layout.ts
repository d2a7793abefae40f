/**
 * Where a frame's headers lie: behind an Ethernet header and up to two VLAN tags, IPv4 with options or
 * IPv6 with extension headers, then the transport's. Frames are hostile: every byte looked at lies
 * within them, and chains of headers are bounded.
 */
import {
  ETH_P_8021AD,
  ETH_P_8021Q,
  ETH_P_IP,
  ETH_P_IPV6,
  IPPROTO_AH,
  IPPROTO_DSTOPTS,
  IPPROTO_FRAGMENT,
  IPPROTO_HOPOPTS,
  IPPROTO_MH,
  IPPROTO_ROUTING,
  VLAN_HLEN,
} from '../uapi/ip.js';
import { ETH_HLEN } from '../uapi/tun.js';
import { read16 } from './network-order.js';

export const IPV4_HLEN = 20;
export const IPV6_HLEN = 40;
const MAX_TAGS = 2;
/** RFC 8200 recommends an order of seven; senders that repeat one are let by once. */
const MAX_EXTENSIONS = 8;
/** Types of routing headers (RFC 6275, RFC 8754). */
const ROUTING_MOBILE = 2;
const ROUTING_SEGMENTS = 4;
/** IPv4: more fragments, or an offset; that is, anything but "don't fragment" and the reserved bit. */
const FRAGMENT_MASK = 0x3fff;

/** What {@link locate} found. Offsets count from the frame's first byte; 0 is none. */
export interface PacketLayout {
  /** IP version, or 0 where the frame carries no IP. */
  version: 0 | 4 | 6;
  /** Offset of the IP header, which is there with its addresses. */
  network: number;
  /** Offset of the transport's header; 0 in fragments, and where there is a problem. */
  transport: number;
  /** `IPPROTO_*` of the transport, where it has an offset. */
  protocol: number;
  /**
   * Offset of the address that the transport's checksum counts as the destination: the header's own, or
   * with a routing header that is not done with the last on the way (RFC 8200 §8.1).
   */
  destination: number;
  /** Offset behind the IP packet; padding may follow. */
  end: number;
  /** Whether it is a fragment of a packet. */
  fragment: boolean;
  /** What is wrong with the headers, as half a sentence; empty where nothing is. */
  problem: string;
}

/** A layout for {@link locate} to fill, again and again. */
export function emptyLayout(): PacketLayout {
  return {
    version: 0,
    network: 0,
    transport: 0,
    protocol: 0,
    destination: 0,
    end: 0,
    fragment: false,
    problem: '',
  };
}

/** Reads the headers of the frame in the first `length` bytes into `layout`. Allocates nothing. */
export function locate(bytes: Uint8Array, length: number, layout: PacketLayout): void {
  clear(layout, length);
  let at = ETH_HLEN;
  if (at > length) {
    layout.problem = 'its Ethernet header is cut short';
    return;
  }
  let etherType = read16(bytes, at - 2);
  for (let tags = 0; tags < MAX_TAGS && isTag(etherType); tags++) {
    at += VLAN_HLEN;
    if (at > length) {
      layout.problem = 'its VLAN tag is cut short';
      return;
    }
    etherType = read16(bytes, at - 2);
  }
  if (etherType === ETH_P_IP) locateIpv4(bytes, at, length, layout);
  else if (etherType === ETH_P_IPV6) locateIpv6(bytes, at, length, layout);
}

/** As {@link locate}, from an IP header at `at` on: in a tunnel. */
export function locateInner(
  bytes: Uint8Array,
  at: number,
  length: number,
  layout: PacketLayout,
): void {
  clear(layout, length);
  if (at >= length) layout.problem = 'its tunnel is empty';
  else if ((bytes[at] as number) >> 4 === 4) locateIpv4(bytes, at, length, layout);
  else locateIpv6(bytes, at, length, layout);
}

function clear(layout: PacketLayout, length: number): void {
  layout.version = 0;
  layout.network = 0;
  layout.transport = 0;
  layout.protocol = 0;
  layout.destination = 0;
  layout.end = length;
  layout.fragment = false;
  layout.problem = '';
}

function isTag(etherType: number): boolean {
  return etherType === ETH_P_8021Q || etherType === ETH_P_8021AD;
}

function locateIpv4(bytes: Uint8Array, at: number, length: number, layout: PacketLayout): void {
  if (at + IPV4_HLEN > length) {
    layout.problem = 'its IPv4 header is cut short';
    return;
  }
  const first = bytes[at] as number;
  if (first >> 4 !== 4) {
    layout.problem = 'its IPv4 header says another version';
    return;
  }
  layout.version = 4;
  layout.network = at;
  layout.destination = at + 16;
  const headerLength = (first & 0x0f) * 4;
  const end = at + read16(bytes, at + 2);
  if (headerLength < IPV4_HLEN || at + headerLength > end) {
    layout.problem = 'the lengths in its IPv4 header contradict each other';
    return;
  }
  if (end > length) {
    layout.problem = 'its IPv4 packet is cut short';
    return;
  }
  layout.end = end;
  if ((read16(bytes, at + 6) & FRAGMENT_MASK) !== 0) {
    layout.fragment = true;
    return;
  }
  layout.protocol = bytes[at + 9] as number;
  layout.transport = at + headerLength;
}

function locateIpv6(bytes: Uint8Array, at: number, length: number, layout: PacketLayout): void {
  if (at + IPV6_HLEN > length) {
    layout.problem = 'its IPv6 header is cut short';
    return;
  }
  if ((bytes[at] as number) >> 4 !== 6) {
    layout.problem = 'its IPv6 header says another version';
    return;
  }
  layout.version = 6;
  layout.network = at;
  layout.destination = at + 24;
  const end = at + IPV6_HLEN + read16(bytes, at + 4);
  if (end > length) {
    layout.problem = 'its IPv6 packet is cut short';
    return;
  }
  layout.end = end;
  let next = bytes[at + 6] as number;
  let header = at + IPV6_HLEN;
  for (let i = 0; isExtension(next); i++) {
    if (i === MAX_EXTENSIONS || header + 8 > end) {
      layout.problem = 'its IPv6 extension headers do not end';
      return;
    }
    if (next === IPPROTO_FRAGMENT) {
      layout.fragment = true;
      return;
    }
    const units = bytes[header + 1] as number;
    const after = header + (next === IPPROTO_AH ? (units + 2) * 4 : (units + 1) * 8);
    if (after > end) {
      layout.problem = 'its IPv6 extension headers are cut short';
      return;
    }
    if (next === IPPROTO_ROUTING && !locateLastStop(bytes, header, after, layout)) return;
    next = bytes[header] as number;
    header = after;
  }
  layout.protocol = next;
  layout.transport = header;
}

/** Where a routing header with stops to come has the last of them. */
function locateLastStop(
  bytes: Uint8Array,
  header: number,
  after: number,
  layout: PacketLayout,
): boolean {
  const stopsLeft = bytes[header + 3] as number;
  if (stopsLeft === 0) return true;
  const type = bytes[header + 2] as number;
  // Mobile IPv6 has one address; segment routing has the last one first.
  const known = type === ROUTING_MOBILE || type === ROUTING_SEGMENTS;
  if (!known || after - header < 8 + 16) {
    layout.problem = 'its IPv6 routing header does not tell the destination';
    return false;
  }
  layout.destination = header + 8;
  return true;
}

function isExtension(protocol: number): boolean {
  switch (protocol) {
    case IPPROTO_HOPOPTS:
    case IPPROTO_ROUTING:
    case IPPROTO_FRAGMENT:
    case IPPROTO_AH:
    case IPPROTO_DSTOPTS:
    case IPPROTO_MH:
      return true;
    default:
      return false;
  }
}
