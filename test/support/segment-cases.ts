/** Super-frames of every kind, and the frames that a sender without offloads would make of each. */
import fc from 'fast-check';
import {
  CWR,
  FIN,
  type PacketFields,
  PSH,
  packet,
  payloadOf,
  sealed,
  TCP,
  tcp,
  UDP,
  udp,
} from './packets.js';

export const V4 = { source: '10.0.0.1', destination: '10.0.0.2' };
export const V6 = { source: 'fd00::1', destination: 'fd00::2' };

export interface Case {
  fields: Omit<PacketFields, 'protocol' | 'transport'>;
  protocol: number;
  sequence: number;
  flags: number;
  options: number[];
  payload: Uint8Array;
  mss: number;
}

const words = (max: number) =>
  fc.integer({ min: 0, max }).map((count) => new Array<number>(4 * count).fill(1));
const extension: fc.Arbitrary<[number, number[]]> = fc
  .tuple(fc.constantFrom(0, 60, 43), fc.integer({ min: 0, max: 3 }))
  .map(([protocol, units]) => [protocol, [units, ...new Array<number>(6 + 8 * units).fill(0)]]);

export const aCase: fc.Arbitrary<Case> = fc
  .record({
    ends: fc.constantFrom(V4, V6),
    tags: fc.constantFrom<[number, number][][]>(
      [],
      [[0x8100, 5]],
      [
        [0x88a8, 0x2009],
        [0x8100, 7],
      ],
    ),
    id: fc.nat(65_535),
    ipOptions: words(10),
    extensions: fc.array(extension, { maxLength: 4 }),
    protocol: fc.constantFrom(TCP, UDP),
    sequence: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    flags: fc.nat(255),
    options: words(10),
    length: fc.integer({ min: 0, max: 5000 }),
    mss: fc.integer({ min: 80, max: 2000 }),
  })
  .map(({ ends, tags, id, ipOptions, extensions, length, ...rest }) => ({
    ...rest,
    fields: { ...ends, tags, id, options: ipOptions, extensions },
    payload: payloadOf(length),
  }));

/** Segment `index` of `count`, as a sender that knows nothing of offloads would have made it. */
function frameOf(of: Case, index: number, count: number): Uint8Array {
  const start = index * of.mss;
  const payload = count === 1 ? of.payload : of.payload.slice(start, start + of.mss);
  let { flags } = of;
  if (index < count - 1) flags &= ~(FIN | PSH);
  if (index > 0) flags &= ~CWR;
  const sequence = (of.sequence + start) % 2 ** 32;
  const transport =
    of.protocol === TCP ? tcp(payload, { sequence, flags, options: of.options }) : udp(payload);
  const id = ((of.fields.id ?? 0) + index) % 65_536;
  return sealed({ ...of.fields, id, protocol: of.protocol, transport });
}

/** All of it in one frame, without its checksum. */
export function superFrameOf(of: Case): Uint8Array {
  const { protocol, payload, sequence, flags, options } = of;
  const transport = protocol === TCP ? tcp(payload, { sequence, flags, options }) : udp(payload);
  return packet({ ...of.fields, protocol, transport });
}

export const expectedOf = (of: Case) => {
  const count = Math.max(1, Math.ceil(of.payload.length / of.mss));
  return Array.from({ length: count }, (_, i) => frameOf(of, i, count));
};
