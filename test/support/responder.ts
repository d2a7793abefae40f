/** A host on the other end of a port: answers ARP, ICMP and ICMPv6 echo requests. */
import { checksum } from './packets.js';

/** Addresses of the responder, as bytes. */
export interface Identity {
  mac: Uint8Array;
  ipv4: Uint8Array;
  ipv6: Uint8Array;
}

const ARP = 0x0806;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const ICMP = 1;
const ICMPV6 = 58;
const NEIGHBOR_SOLICITATION = 135;
const ECHO_REQUEST = 128;

/** The answer to an Ethernet frame, or undefined. The frame stays as it is. */
export function answer(frame: Uint8Array, self: Identity): Uint8Array | undefined {
  switch (u16(frame, 12)) {
    case ARP:
      return answerArp(frame, self);
    case IPV4:
      return answerIcmp(frame, self);
    case IPV6:
      return answerIcmpv6(frame, self);
    default:
      return undefined;
  }
}

function answerArp(frame: Uint8Array, self: Identity): Uint8Array | undefined {
  if (u16(frame, 20) !== 1 || !same(frame, 38, self.ipv4)) return undefined;
  const reply = turnAround(frame, self);
  reply[21] = 2;
  reply.set(self.mac, 22);
  reply.set(self.ipv4, 28);
  reply.set(frame.subarray(22, 32), 32);
  return reply;
}

function answerIcmp(frame: Uint8Array, self: Identity): Uint8Array | undefined {
  const icmp = 14 + ((frame[14] as number) & 15) * 4;
  if (frame[23] !== ICMP || frame[icmp] !== 8 || !same(frame, 30, self.ipv4)) return undefined;
  const reply = turnAround(frame, self);
  reply.set(frame.subarray(30, 34), 26);
  reply.set(frame.subarray(26, 30), 30);
  reply[icmp] = 0;
  const end = 14 + u16(frame, 16);
  put16(reply, icmp + 2, 0);
  put16(reply, icmp + 2, checksum(reply.subarray(icmp, end)));
  return reply;
}

function answerIcmpv6(frame: Uint8Array, self: Identity): Uint8Array | undefined {
  if (frame[20] !== ICMPV6) return undefined;
  const reply = turnAround(frame, self);
  reply.set(self.ipv6, 22);
  reply.set(frame.subarray(22, 38), 38);
  if (frame[54] === NEIGHBOR_SOLICITATION && same(frame, 62, self.ipv6)) {
    // An advertisement: solicited, override, and our link-layer address.
    reply.set([136, 0, 0, 0, 0x60, 0, 0, 0], 54);
    reply.set([2, 1, ...self.mac], 78);
    put16(reply, 18, 32);
    return withIcmpv6Checksum(reply.subarray(0, 86));
  }
  if (frame[54] === ECHO_REQUEST && same(frame, 38, self.ipv6)) {
    reply[54] = ECHO_REQUEST + 1;
    return withIcmpv6Checksum(reply.subarray(0, 54 + u16(frame, 18)));
  }
  return undefined;
}

function withIcmpv6Checksum(frame: Uint8Array): Uint8Array {
  put16(frame, 56, 0);
  const pseudo = new Uint8Array(40 + frame.length - 54);
  pseudo.set(frame.subarray(22, 54));
  put16(pseudo, 34, frame.length - 54);
  pseudo[39] = ICMPV6;
  pseudo.set(frame.subarray(54), 40);
  put16(frame, 56, checksum(pseudo));
  return frame;
}

/** A copy, at least as long as a neighbour advertisement, back to whom it came from. */
function turnAround(frame: Uint8Array, self: Identity): Uint8Array {
  const reply = new Uint8Array(Math.max(frame.length, 86));
  reply.set(frame);
  reply.set(frame.subarray(6, 12), 0);
  reply.set(self.mac, 6);
  return reply;
}

function same(bytes: Uint8Array, at: number, expected: Uint8Array): boolean {
  return expected.every((byte, i) => bytes[at + i] === byte);
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 0xff;
}
