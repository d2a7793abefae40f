/**
 * icmpecho: a host of a few addresses that answers ARP, ICMP echo, IPv6 neighbour solicitation and
 * ICMPv6 echo, in place in the received frame. A VLAN tag stays on. Fragments of an echo are answered
 * one by one: only the first holds the type, and the checksum follows from what changed.
 */
import { type Frame, parseAddress, type Sendable } from '../../../lib/index.js';
import { adjust, fold, matches, setU16, sum16, swap, u16 } from './bytes.js';
import type { Forwarder } from './forwarder.js';

const ETHERTYPE = 12;
const ETH_P_IP = 0x0800;
const ETH_P_ARP = 0x0806;
const ETH_P_8021Q = 0x8100;
const ETH_P_IPV6 = 0x86dd;
const IPPROTO_ICMP = 1;
const IPPROTO_FRAGMENT = 44;
const IPPROTO_ICMPV6 = 58;
const ALL_NODES = parseAddress('ff02::1');
const UNSPECIFIED = new Uint8Array(16);

/** Answers for `addresses`, as the owner of `mac` (6 bytes). */
export function icmpEcho(addresses: readonly string[], mac: Uint8Array): Forwarder {
  const own = addresses.map(parseAddress);
  const isOwn = (bytes: Uint8Array, at: number, length: 4 | 16) =>
    own.some((address) => address.length === length && matches(bytes, at, address));
  const counts = { arp: 0, echo: 0, neighbour: 0, echo6: 0 };
  const replies: Sendable[] = [];

  function answerOne(frame: Frame): boolean {
    const { bytes } = frame;
    let type = u16(bytes, ETHERTYPE);
    let at = ETHERTYPE + 2;
    if (type === ETH_P_8021Q && bytes.length >= at + 4) {
      type = u16(bytes, at + 2);
      at += 4;
    }
    switch (type) {
      case ETH_P_ARP:
        return answerArp(bytes, at);
      case ETH_P_IP:
        return answerEcho(bytes, at);
      case ETH_P_IPV6:
        return answerIpv6(frame, at);
      default:
        return false;
    }
  }

  /** To whoever sent the frame, from us. */
  function turnAround(bytes: Uint8Array): void {
    bytes.copyWithin(0, 6, 12);
    bytes.set(mac, 6);
  }

  function answerArp(bytes: Uint8Array, at: number): boolean {
    const request = bytes.length >= at + 28 && u16(bytes, at + 2) === ETH_P_IP;
    if (!request || u16(bytes, at + 6) !== 1 || !isOwn(bytes, at + 24, 4)) return false;
    setU16(bytes, at + 6, 2);
    swap(bytes, at + 8, at + 18, 10);
    bytes.set(mac, at + 8);
    turnAround(bytes);
    counts.arp++;
    return true;
  }

  function answerEcho(bytes: Uint8Array, at: number): boolean {
    if (bytes.length < at + 20 || (bytes[at] as number) >> 4 !== 4) return false;
    const icmp = at + ((bytes[at] as number) & 0xf) * 4;
    if (bytes[at + 9] !== IPPROTO_ICMP || !isOwn(bytes, at + 16, 4)) return false;
    const firstFragment = (u16(bytes, at + 6) & 0x1fff) === 0;
    if (firstFragment && !changeType(bytes, icmp, 8, 0)) return false;
    swap(bytes, at + 12, at + 16, 4);
    turnAround(bytes);
    if (firstFragment) counts.echo++;
    return true;
  }

  function answerIpv6(frame: Frame, at: number): boolean {
    const { bytes } = frame;
    if (bytes.length < at + 48 || (bytes[at] as number) >> 4 !== 6) return false;
    let protocol = bytes[at + 6] as number;
    let icmp = at + 40;
    let firstFragment = true;
    if (protocol === IPPROTO_FRAGMENT) {
      protocol = bytes[icmp] as number;
      firstFragment = (u16(bytes, icmp + 2) & 0xfff8) === 0;
      icmp += 8;
    }
    if (protocol !== IPPROTO_ICMPV6) return false;
    if (firstFragment && bytes[icmp] === 135) return answerSolicitation(frame, at, icmp);
    if (!isOwn(bytes, at + 24, 16)) return false;
    if (firstFragment && !changeType(bytes, icmp, 128, 129)) return false;
    swap(bytes, at + 8, at + 24, 16);
    turnAround(bytes);
    if (firstFragment) counts.echo6++;
    return true;
  }

  /** A neighbour advertisement (RFC 4861 §4.4), in the place of the solicitation. */
  function answerSolicitation(frame: Frame, at: number, icmp: number): boolean {
    const target = icmp + 8;
    const end = icmp + 32;
    if (frame.length < target + 16 || end > frame.buffer.length) return false;
    if (!isOwn(frame.bytes, target, 16)) return false;
    // The answer carries our MAC address and may be longer than the question.
    frame.length = end;
    const { bytes } = frame;
    const probing = matches(bytes, at + 8, UNSPECIFIED);
    bytes.copyWithin(at + 24, at + 8, at + 24);
    bytes.copyWithin(at + 8, target, target + 16);
    if (probing) bytes.set(ALL_NODES, at + 24);
    setU16(bytes, at + 4, 32);
    bytes[at + 7] = 255;
    bytes[icmp] = 136;
    bytes[icmp + 1] = 0;
    bytes.fill(0, icmp + 2, icmp + 8);
    // Solicited (not for a duplicate address probe), override.
    bytes[icmp + 4] = probing ? 0x20 : 0x60;
    bytes[icmp + 24] = 2;
    bytes[icmp + 25] = 1;
    bytes.set(mac, icmp + 26);
    setU16(bytes, icmp + 2, fold(sum16(bytes, at + 8, end, 32 + IPPROTO_ICMPV6)));
    turnAround(bytes);
    if (probing) bytes.set([0x33, 0x33, 0, 0, 0, 1], 0);
    counts.neighbour++;
    return true;
  }

  return {
    counts,
    answer(frames) {
      replies.length = 0;
      for (const frame of frames) if (answerOne(frame)) replies.push(frame);
      return replies;
    },
  };
}

/** Changes an ICMP type, and the checksum with it. False where it is another type. */
function changeType(bytes: Uint8Array, icmp: number, from: number, to: number): boolean {
  if (bytes.length < icmp + 8 || bytes[icmp] !== from) return false;
  const before = u16(bytes, icmp);
  bytes[icmp] = to;
  setU16(bytes, icmp + 2, adjust(u16(bytes, icmp + 2), before, u16(bytes, icmp)));
  return true;
}
