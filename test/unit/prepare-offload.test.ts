import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { completeChecksum } from '../../lib/net/checksum.js';
import { plainOffload } from '../../lib/net/header.js';
import { prepareOffload } from '../../lib/net/prepare-offload.js';
import {
  bytesOf,
  CWR,
  type PacketFields,
  packet,
  payloadOf,
  sealed,
  TCP,
  tcp,
  UDP,
  udp,
} from '../support/packets.js';

const V4 = { source: '10.0.0.1', destination: '10.0.0.2' };
const V6 = { source: 'fd00::1', destination: 'fd00::2' };
const TAGS: [number, number][] = [
  [0x88a8, 1],
  [0x8100, 2],
];
const HOP_BY_HOP: [number, number[]] = [0, [0, 1, 4, 0, 0, 0, 0]];
const FRAGMENT: [number, number[]] = [44, [0, 0, 1, 0, 0, 0, 9]];
const STOP = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x99];
const routing = (type: number, stopsLeft: number): [number, number[]] => [
  43,
  [2, type, stopsLeft, 0, 0, 0, 0, ...STOP],
];

const udpTo = (ends: typeof V4, length: number): PacketFields => ({
  ...ends,
  protocol: UDP,
  transport: udp(payloadOf(length)),
});
const tcpTo = (ends: typeof V4, length: number, flags = 0x10): PacketFields => ({
  ...ends,
  protocol: TCP,
  transport: tcp(payloadOf(length), { flags, options: [1, 1, 1, 1] }),
});

describe('asking for a checksum', () => {
  test.each<[string, PacketFields, number, number]>([
    ['TCP over IPv4', tcpTo(V4, 100), 34, 16],
    ['TCP over IPv6', tcpTo(V6, 101), 54, 16],
    ['UDP over IPv4 with options', { ...udpTo(V4, 9), options: [1, 1, 1, 0] }, 38, 6],
    ['UDP over IPv6 behind an extension', { ...udpTo(V6, 8), extensions: [HOP_BY_HOP] }, 62, 6],
    ['UDP over IPv4 behind two tags', { ...udpTo(V4, 8), tags: TAGS }, 42, 6],
  ])('%s says where it is', (_, fields, start, offset) => {
    const bytes = packet(fields);
    const offload = { ...plainOffload(), gsoType: 9, gsoSize: 9, headerLength: 9, innerNetwork: 9 };
    prepareOffload(bytes, offload);
    expect(offload).toEqual({
      ...plainOffload(),
      flags: 1,
      checksumStart: start,
      checksumOffset: offset,
    });
    completeChecksum(bytes, offload);
    expect(offload).toEqual(plainOffload());
    expect(bytes).toEqual(sealed(fields));
  });

  test.each([
    ['of segments', 4],
    ['of Mobile IPv6', 2],
  ])('counts the last stop of a routing header %s', (_, type) => {
    const fields = { ...udpTo(V6, 40), extensions: [routing(type, 1)] };
    const bytes = packet(fields);
    const offload = plainOffload();
    prepareOffload(bytes, offload);
    completeChecksum(bytes, offload);
    expect(bytes).toEqual(sealed(fields, 'fd00::99'));
  });

  test('counts the destination where a routing header is done with', () => {
    const fields = { ...udpTo(V6, 40), extensions: [routing(4, 0)] };
    const bytes = packet(fields);
    const offload = plainOffload();
    prepareOffload(bytes, offload);
    completeChecksum(bytes, offload);
    expect(bytes).toEqual(sealed(fields));
  });

  test('never makes a checksum of 0, which would be none', () => {
    // A datagram whose words add up to ones.
    const fields = udpTo(V4, 2);
    const sum = sealed(fields).slice(40, 42);
    const payload = bytesOf(fields.transport.slice(8));
    const transport = bytesOf(fields.transport.slice(0, 8), zeroing(payload, sum));
    const bytes = packet({ ...fields, transport });
    const offload = plainOffload();
    prepareOffload(bytes, offload);
    completeChecksum(bytes, offload);
    expect([...bytes.slice(40, 42)]).toEqual([0xff, 0xff]);
    expect(bytes).toEqual(sealed({ ...fields, transport }));
  });
});

/** The payload word that turns a checksum into zero: it adds the checksum to the word. */
function zeroing(payload: Uint8Array, checksum: Uint8Array): number[] {
  const word = (bytes: Uint8Array) => ((bytes[0] as number) << 8) | (bytes[1] as number);
  let sum = word(payload) + word(checksum);
  if (sum > 0xffff) sum -= 0xffff;
  return [sum >> 8, sum & 0xff];
}

describe('asking for segmentation', () => {
  test.each<[string, PacketFields, number, number]>([
    ['TCP over IPv4', tcpTo(V4, 3000), 1, 58],
    ['TCP over IPv6', tcpTo(V6, 3000), 4, 78],
    ['TCP that reduces its window', tcpTo(V4, 3000, 0x10 | CWR), 0x81, 58],
    ['UDP', udpTo(V6, 3000), 5, 62],
    ['UDP behind tags', { ...udpTo(V4, 3000), tags: TAGS }, 5, 50],
  ])('%s says how, from where and how long', (_, fields, type, length) => {
    const offload = plainOffload();
    prepareOffload(packet(fields), offload, 1000);
    expect(offload).toMatchObject({ flags: 1, gsoType: type, headerLength: length, gsoSize: 1000 });
  });

  test('is no more than a checksum where all fits', () => {
    const offload = plainOffload();
    prepareOffload(packet(tcpTo(V4, 1000)), offload, 1000);
    expect(offload).toMatchObject({ flags: 1, gsoType: 0, headerLength: 0, gsoSize: 0 });
  });
});

describe('what has no offload', () => {
  const padded = bytesOf(packet(tcpTo(V4, 3000)), [0, 0]);
  const cut = packet(tcpTo(V4, 100)).subarray(0, 120);
  const shortTcp = packet({ ...V4, protocol: TCP, transport: tcp(payloadOf(0)).subarray(0, 19) });
  const longTcp = packet({ ...V4, protocol: TCP, transport: tcp(payloadOf(0)) });
  longTcp[46] = 0xf0;
  const shortUdp = packet({ ...V6, protocol: UDP, transport: payloadOf(7) });
  const version = packet(tcpTo(V4, 1));
  version[14] = 0x65;
  const ihl = packet(tcpTo(V4, 1));
  ihl[14] = 0x44;

  test.each<[string, Uint8Array, string]>([
    [
      'no IP',
      bytesOf(new Array(12).fill(2), [0x88, 0xb5], new Array(46).fill(0)),
      'it carries no IP',
    ],
    ['ICMP', packet({ ...V4, protocol: 1, transport: payloadOf(8) }), 'neither TCP nor UDP'],
    ['a fragment of IPv4', packet({ ...udpTo(V4, 9), fragment: 0x2000 }), 'it is a fragment'],
    ['a fragment of IPv6', packet({ ...udpTo(V6, 9), extensions: [FRAGMENT] }), 'it is a fragment'],
    [
      'an unknown routing header',
      packet({ ...udpTo(V6, 9), extensions: [routing(7, 1)] }),
      'does not tell the destination',
    ],
    ['padding behind what is to be cut', padded, 'it is padded'],
    ['a packet that is cut short', cut, 'its IPv4 packet is cut short'],
    ['half a TCP header', shortTcp, 'its TCP header is cut short'],
    ['a TCP header longer than its packet', longTcp, 'the length of its TCP header is impossible'],
    ['half a UDP header', shortUdp, 'its UDP header is cut short'],
    ['another version in the header', version, 'another version'],
    ['an IPv4 header of 16 bytes', ihl, 'contradict each other'],
    ['no Ethernet header', new Uint8Array(13), 'its Ethernet header is cut short'],
    [
      'half a tag',
      Uint8Array.of(...new Array(12).fill(2), 0x81, 0, 0, 1),
      'its VLAN tag is cut short',
    ],
    ['more than 64 segments of UDP', packet(udpTo(V4, 64_001)), 'more than 64 segments of UDP'],
  ])('%s: ERR_FRAME_OFFLOAD', (_, bytes, message) => {
    expect(() => prepareOffload(bytes, plainOffload(), 1000)).toThrow(
      expect.objectContaining({
        name: 'RangeError',
        code: 'ERR_FRAME_OFFLOAD',
        message: expect.stringContaining(message),
      }),
    );
  });

  test.each([-1, 65_536, 1.5, Number.NaN])('an mss of %d is none', (mss) => {
    expect(() => prepareOffload(packet(tcpTo(V4, 9)), plainOffload(), mss)).toThrow(
      expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }),
    );
  });
});

describe('finishing a checksum', () => {
  test('does nothing where none was asked for', () => {
    const bytes = packet(udpTo(V4, 9));
    const before = bytes.slice();
    completeChecksum(bytes, { ...plainOffload(), flags: 2, checksumStart: 34, checksumOffset: 6 });
    expect(bytes).toEqual(before);
  });

  test('keeps the other flags of the header', () => {
    const offload = { ...plainOffload(), flags: 3, checksumStart: 34, checksumOffset: 6 };
    completeChecksum(packet(udpTo(V4, 9)), offload);
    expect(offload).toEqual({ ...plainOffload(), flags: 2 });
  });

  test('is refused for a frame that is to be segmented', () => {
    const bytes = packet(tcpTo(V4, 3000));
    const offload = plainOffload();
    prepareOffload(bytes, offload, 1000);
    expect(() => completeChecksum(bytes, offload)).toThrow(
      expect.objectContaining({ code: 'ERR_FRAME_OFFLOAD' }),
    );
  });

  test('never reaches beyond the frame', () => {
    const start = packet(udpTo(V4, 9));
    fc.assert(
      fc.property(
        fc.nat(70),
        fc.nat(70),
        fc.nat(start.length),
        (checksumStart, checksumOffset, length) => {
          const memory = start.slice();
          const bytes = memory.subarray(0, length);
          const outside = checksumStart + checksumOffset + 2 > length;
          const offload = { ...plainOffload(), flags: 1, checksumStart, checksumOffset };
          if (outside) {
            expect(() => completeChecksum(bytes, offload)).toThrow(
              expect.objectContaining({ code: 'ERR_FRAME_OFFLOAD' }),
            );
            expect(memory).toEqual(start);
          } else {
            completeChecksum(bytes, offload);
            expect(memory.subarray(length)).toEqual(start.subarray(length));
          }
        },
      ),
    );
  });
});
