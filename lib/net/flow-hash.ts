/** flowHash: one number for both directions of a flow, so that a flow stays on its queue. */
import {
  IPPROTO_DCCP,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPPROTO_UDPLITE,
} from '../uapi/ip.js';
import { ETH_ALEN } from '../uapi/tun.js';
import { read16, word32 } from './network-order.js';
import { emptyLayout, locate } from './packet-layout.js';

const layout = emptyLayout();

/**
 * A hash of the flow that the frame in the first `length` bytes belongs to, an integer from 0 to
 * 2^32 - 1: of its addresses, and of protocol and ports of TCP, UDP, UDP-Lite, SCTP and DCCP. The two
 * directions of a flow have the same. Fragments of IP packets have that of their addresses; what is no
 * IP, or cut short before its addresses, that of the two MAC addresses. VLAN tags (up to two) are
 * looked through. Allocates nothing, never throws. The hash may change between versions: keep none.
 */
export function flowHash(bytes: Uint8Array, length: number = bytes.length): number {
  locate(bytes, length, layout);
  const { network, transport, protocol } = layout;
  if (network === 0) return length < 2 * ETH_ALEN ? 0 : macHash(bytes);
  let source = 0;
  let destination = 0;
  let seed = 0;
  if (transport > 0) {
    seed = protocol;
    if (hasPorts(protocol) && transport + 4 <= layout.end) {
      source = mix(0, read16(bytes, transport));
      destination = mix(0, read16(bytes, transport + 2));
    }
  }
  if (layout.version === 4) {
    source = mix(source, word32(bytes, network + 12));
    destination = mix(destination, word32(bytes, network + 16));
  } else {
    for (let at = network + 8; at < network + 24; at += 4) {
      source = mix(source, word32(bytes, at));
      destination = mix(destination, word32(bytes, at + 16));
    }
  }
  return both(source, destination, seed);
}

function macHash(bytes: Uint8Array): number {
  const destination = mix(mix(0, read16(bytes, 0)), word32(bytes, 2));
  const source = mix(mix(0, read16(bytes, ETH_ALEN)), word32(bytes, ETH_ALEN + 2));
  return both(source, destination, 0);
}

function hasPorts(protocol: number): boolean {
  switch (protocol) {
    case IPPROTO_TCP:
    case IPPROTO_UDP:
    case IPPROTO_DCCP:
    case IPPROTO_SCTP:
    case IPPROTO_UDPLITE:
      return true;
    default:
      return false;
  }
}

/** The sum is the same either way round; each end is scrambled first, or opposite steps would cancel. */
function both(source: number, destination: number, seed: number): number {
  return scramble(scramble(source) + scramble(destination) + seed) >>> 0;
}

/** Takes one word more into a hash; {@link scramble} ends it. */
function mix(hash: number, word: number): number {
  const h = Math.imul(hash ^ word, 0x9e3779b1);
  return h ^ (h >>> 15);
}

/** The end of MurmurHash3: every bit of the result depends on every bit. */
function scramble(hash: number): number {
  let h = hash;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
