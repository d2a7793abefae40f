/** Frames that are almost right: real headers with anything in any field, cut off anywhere. */
import type { Offload } from '../../../lib/net/header.js';
import type { Random } from './random.js';

const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const TAGS = [0x8100, 0x88a8];
const TCP = 6;
const UDP = 17;
/** Hop-by-hop, routing, fragment, AH, destination options, mobility. */
const EXTENSIONS = [0, 43, 44, 51, 60, 135];

/** Where the parts of a frame were put, for the fields to be damaged. */
export interface Packet {
  bytes: Uint8Array;
  transport: number;
  payload: number;
  protocol: number;
  version: 4 | 6;
  /** Whether nothing was damaged. */
  sound: boolean;
}

class Writer {
  readonly list: number[] = [];

  u8(...values: number[]): this {
    for (const value of values) this.list.push(value & 0xff);
    return this;
  }

  u16(value: number): this {
    return this.u8(value >> 8, value);
  }

  anything(random: Random, count: number): this {
    for (let i = 0; i < count; i++) this.u8(random.u32());
    return this;
  }
}

/** A frame of TCP or UDP over IPv4 or IPv6, sound in most cases. */
export function drawPacket(random: Random): Packet {
  const version = random.pick([4, 6] as const);
  const protocol = random.pick([TCP, UDP]);
  const payloadBytes = random.chance(950) ? random.below(200) : random.below(5000);
  const words = protocol === TCP ? random.between(5, 15) : 2;
  const transportBytes = 4 * words + payloadBytes;
  const frame = new Writer().anything(random, 12);
  for (let tags = random.pick([0, 0, 1, 2]); tags > 0; tags--) {
    frame.u16(random.pick(TAGS)).u16(random.u32());
  }
  frame.u16(version === 4 ? IPV4 : IPV6);
  if (version === 4) ipv4(random, frame, protocol, transportBytes);
  else ipv6(random, frame, protocol, transportBytes);
  const transport = frame.list.length;
  frame.anything(random, protocol === TCP ? 12 : 4);
  if (protocol === TCP) frame.u8(words << 4).anything(random, 4 * words - 13);
  else frame.u16(transportBytes).u16(0);
  const payload = frame.list.length;
  frame.anything(random, payloadBytes);
  const whole = Uint8Array.from(frame.list);
  const sound = random.chance(600);
  const bytes = sound ? whole : damaged(random, whole, payload);
  return { bytes, transport, payload, protocol, version, sound };
}

/** A header that asks for something, which mostly fits the frame. */
export function drawOffload(random: Random, packet: Packet): Offload {
  const { transport, protocol, version, payload } = packet;
  const right = random.chance(700);
  const gso = protocol === UDP ? 5 : version === 4 ? 1 : 4;
  const wild = (value: number) => (right || random.chance(700) ? value : random.below(65_536));
  return {
    flags: right ? 1 : random.below(256),
    gsoType: random.chance(600) ? gso : random.pick([0, 0, 3, gso | 0x80, random.below(256)]),
    headerLength: wild(payload),
    gsoSize: random.chance(800) ? random.between(1, 1500) : random.below(65_536),
    checksumStart: wild(transport),
    checksumOffset: wild(protocol === UDP ? 6 : 16),
    outerTransport: wild(0),
    innerNetwork: wild(0),
  };
}

function ipv4(random: Random, frame: Writer, protocol: number, transportBytes: number): void {
  const words = random.between(5, 15);
  frame
    .u8(0x40 | words, random.u32())
    .u16(4 * words + transportBytes)
    .anything(random, 2)
    .u16(0x4000)
    .u8(64, protocol)
    .anything(random, 2 + 8 + 4 * (words - 5));
}

function ipv6(random: Random, frame: Writer, protocol: number, transportBytes: number): void {
  const extensions = new Writer();
  const kinds = Array.from({ length: random.pick([0, 0, 1, 3]) }, () =>
    random.pick(random.chance(950) ? [0, 60] : EXTENSIONS),
  );
  for (const [i] of kinds.entries()) {
    const units = random.below(4);
    extensions.u8(kinds[i + 1] ?? protocol, units).anything(random, 6 + 8 * units);
  }
  frame
    .u8(0x60)
    .anything(random, 3)
    .u16(extensions.list.length + transportBytes)
    .u8(kinds[0] ?? protocol, 64)
    .anything(random, 32);
  frame.u8(...extensions.list);
}

/** Some bytes of its headers changed, or its end cut off, or both. */
function damaged(random: Random, bytes: Uint8Array, payload: number): Uint8Array {
  const copy = bytes.slice();
  for (let left = random.below(4); left > 0; left--) {
    copy[random.below(Math.min(payload, copy.length))] = random.edge(64);
  }
  return random.chance(400) ? copy.subarray(0, random.below(copy.length + 1)) : copy;
}
