import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { flowHash } from '../../lib/net/flow-hash.js';
import {
  bytesOf,
  type PacketFields,
  packet,
  payloadOf,
  TCP,
  tcp,
  UDP,
  udp,
} from '../support/packets.js';

const A4 = '10.0.0.1';
const B4 = '10.0.0.2';
const A6 = 'fd00::1';
const B6 = 'fd00:0:0:7::2';
const HOP_BY_HOP: [number, number[]] = [0, [0, 1, 4, 0, 0, 0, 0]];
const FRAGMENT: [number, number[]] = [44, [0, 0, 1, 0, 0, 0, 9]];

interface Flow {
  family: 4 | 6;
  protocol: number;
  source: number;
  destination: number;
  ports: [number, number];
}

const flow: fc.Arbitrary<Flow> = fc.record({
  family: fc.constantFrom(4, 6),
  protocol: fc.constantFrom(TCP, UDP),
  source: fc.nat(255),
  destination: fc.nat(255),
  ports: fc.tuple(fc.nat(65_535), fc.nat(65_535)),
});

const address = (family: 4 | 6, host: number) =>
  family === 4 ? `10.1.0.${host}` : `fd00::${host.toString(16)}:1`;

function frameOf(of: Flow, extra: Partial<PacketFields> = {}, payload = 10): Uint8Array {
  const transport =
    of.protocol === TCP ? tcp(payloadOf(payload), of) : udp(payloadOf(payload), of.ports);
  return packet({
    source: address(of.family, of.source),
    destination: address(of.family, of.destination),
    protocol: of.protocol,
    transport,
    ...extra,
  });
}

const reverse = (of: Flow): Flow => ({
  ...of,
  source: of.destination,
  destination: of.source,
  ports: [of.ports[1], of.ports[0]],
});

test('both directions of a flow have the same hash, whatever they carry', () => {
  fc.assert(
    fc.property(flow, fc.nat(100), (of, payload) => {
      const back = frameOf(
        reverse(of),
        {
          macs: [
            [2, 0, 0, 0, 0, 2],
            [2, 0, 0, 0, 0, 1],
          ],
        },
        payload,
      );
      expect(flowHash(back)).toBe(flowHash(frameOf(of)));
    }),
  );
});

test('tags, options and extension headers do not matter to it', () => {
  fc.assert(
    fc.property(flow, fc.nat(65_535), (of, control) => {
      const plain = flowHash(frameOf(of));
      const tagged: [number, number][] = [
        [0x88a8, control],
        [0x8100, 7],
      ];
      expect(flowHash(frameOf(of, { tags: tagged.slice(1) }))).toBe(plain);
      expect(flowHash(frameOf(of, { tags: tagged }))).toBe(plain);
      expect(flowHash(frameOf(of, { options: [1, 1, 1, 0], extensions: [HOP_BY_HOP] }))).toBe(
        plain,
      );
    }),
  );
});

test('only the first bytes of a longer buffer count', () => {
  const frame = frameOf({ family: 4, protocol: TCP, source: 1, destination: 2, ports: [3, 4] });
  expect(flowHash(bytesOf(frame, [9, 9, 9]), frame.length)).toBe(flowHash(frame));
  // Without its ports, it is no longer the flow's.
  expect(flowHash(frame, 36)).not.toBe(flowHash(frame));
});

describe('fragments', () => {
  const ends4 = { source: A4, destination: B4, protocol: UDP };
  const ends6 = { source: A6, destination: B6, protocol: UDP };

  test('of one IPv4 packet have the same hash, first or not, whatever their bytes', () => {
    const first = packet({ ...ends4, fragment: 0x2000, transport: udp(payloadOf(8)) });
    const second = packet({ ...ends4, fragment: 0x0002, transport: payloadOf(30) });
    const back = packet({
      ...ends4,
      source: B4,
      destination: A4,
      fragment: 1,
      transport: payloadOf(3),
    });
    expect(flowHash(second)).toBe(flowHash(first));
    expect(flowHash(back)).toBe(flowHash(first));
  });

  test('of one IPv6 packet have the same hash, also behind another extension header', () => {
    const extensions = [HOP_BY_HOP, FRAGMENT];
    const first = packet({ ...ends6, extensions, transport: udp(payloadOf(8)) });
    const second = packet({ ...ends6, extensions: [FRAGMENT], transport: payloadOf(30) });
    expect(flowHash(second)).toBe(flowHash(first));
  });
});

test('what is no IP hashes on its MAC addresses, the same both ways', () => {
  const to = [2, 0, 0, 0, 0, 1];
  const from = [2, 0, 0, 0, 0, 9];
  const frame = (...macs: number[][]) => bytesOf(...macs, [0x88, 0xb5, 1, 2, 3]);
  expect(flowHash(frame(from, to))).toBe(flowHash(frame(to, from)));
  expect(flowHash(frame(to, to))).not.toBe(flowHash(frame(to, from)));
});

test('protocols without ports hash on addresses and protocol', () => {
  const icmp = (bytes: number[]) =>
    flowHash(
      packet({ source: A4, destination: B4, protocol: 1, transport: Uint8Array.from(bytes) }),
    );
  expect(icmp([8, 0, 1, 2, 3, 4])).toBe(icmp([0, 0, 9, 9, 3, 5]));
  const tcpHash = flowHash(
    packet({ source: A4, destination: B4, protocol: TCP, transport: tcp(payloadOf(0)) }),
  );
  expect(icmp([8, 0, 1, 2])).not.toBe(tcpHash);
});

test('any bytes have a hash, an unsigned 32 bit integer', () => {
  const start = frameOf({ family: 6, protocol: TCP, source: 1, destination: 2, ports: [3, 4] });
  const mangled = fc
    .tuple(fc.nat(start.length), fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { maxLength: 6 }))
    .map(([length, changes]) => {
      const bytes = start.slice();
      for (const [at, value] of changes) bytes[at] = value;
      return bytes.subarray(0, length);
    });
  fc.assert(
    fc.property(fc.oneof(mangled, fc.uint8Array({ maxLength: 100 })), (bytes) => {
      const hash = flowHash(bytes);
      expect(Number.isInteger(hash) && hash >= 0 && hash < 2 ** 32).toBe(true);
    }),
    { numRuns: 2000 },
  );
});

test.each([2, 3, 4, 8, 16, 256])('4096 flows spread evenly over %i queues', (queues) => {
  const counts = new Array<number>(queues).fill(0);
  const flows = 4096;
  for (let i = 0; i < flows; i++) {
    // Neighbouring ports and addresses, up on one side and down on the other, as programs have them.
    const of: Flow = {
      family: i & 1 ? 4 : 6,
      protocol: TCP,
      source: i & 15,
      destination: 255 - (i & 15),
      ports: [1024 + (i >> 4), 2000 - (i >> 4)],
    };
    counts[flowHash(frameOf(of)) % queues] = (counts[flowHash(frameOf(of)) % queues] as number) + 1;
  }
  const mean = flows / queues;
  const spread = Math.max(...counts.map((count) => Math.abs(count - mean)));
  expect(spread).toBeLessThan(5 * Math.sqrt(mean));
});
