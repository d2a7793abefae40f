import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  clearHeader,
  copyOffload,
  HEADER_LENGTHS,
  headerLengthOf,
  type Offload,
  plainOffload,
  readHeader,
  readU16,
  writeHeader,
} from '../../lib/net/header.js';
import { bit } from '../../lib/uapi/virtio-net.js';

const SAMPLE: Offload = {
  flags: 0x01,
  gsoType: 0x84,
  headerLength: 0x0442,
  gsoSize: 0x05b4,
  checksumStart: 0x1234,
  checksumOffset: 0xff10,
};

/*
 * struct virtio_net_hdr_v1 (virtio 1.3 §5.1.6), little-endian:
 *
 *   0 flags │ 1 gso_type │ 2 hdr_len │ 4 gso_size │ 6 csum_start │ 8 csum_offset │ 10 num_buffers
 */
const SAMPLE_BYTES = '01844204b405341210ff';

const offload: fc.Arbitrary<Offload> = fc.record({
  flags: fc.integer({ min: 0, max: 255 }),
  gsoType: fc.integer({ min: 0, max: 255 }),
  headerLength: fc.integer({ min: 0, max: 65_535 }),
  gsoSize: fc.integer({ min: 0, max: 65_535 }),
  checksumStart: fc.integer({ min: 0, max: 65_535 }),
  checksumOffset: fc.integer({ min: 0, max: 65_535 }),
});

describe.each(HEADER_LENGTHS)('a header of %i bytes', (length) => {
  test('is little-endian, byte for byte, and 0 where it says nothing', () => {
    const bytes = new Uint8Array(length).fill(0xee);
    writeHeader(bytes, 0, length, SAMPLE);
    expect(Buffer.from(bytes).toString('hex')).toBe(SAMPLE_BYTES.padEnd(2 * length, '0'));
  });

  test('is written nowhere else', () => {
    const bytes = new Uint8Array(length + 16).fill(0xee);
    writeHeader(bytes, 8, length, SAMPLE);
    expect([...bytes.subarray(0, 8), ...bytes.subarray(8 + length)]).toEqual(
      new Array(16).fill(0xee),
    );
  });

  test('reads back as it was written, at any offset', () => {
    fc.assert(
      fc.property(offload, fc.nat(20), (written, at) => {
        const bytes = new Uint8Array(64).fill(0xee);
        writeHeader(bytes, at, length, written);
        const read = plainOffload();
        readHeader(bytes, at, read);
        expect(read).toEqual(written);
      }),
    );
  });

  test('of a frame that needs nothing is all zeroes, and nothing else is', () => {
    const bytes = new Uint8Array(length + 16).fill(0xee);
    clearHeader(bytes, 8, length);
    expect(bytes.subarray(8, 8 + length)).toEqual(new Uint8Array(length));
    expect([bytes[7], bytes[8 + length]]).toEqual([0xee, 0xee]);
  });
});

test('the lengths are those of the kernel', () => {
  expect(HEADER_LENGTHS).toEqual([10, 12, 20, 24]);
});

test('a plain offload says nothing', () => {
  expect(Object.values(plainOffload())).toEqual([0, 0, 0, 0, 0, 0]);
});

test('copyOffload() copies every field', () => {
  const copy = plainOffload();
  copyOffload(SAMPLE, copy);
  expect(copy).toEqual(SAMPLE);
});

test('num_buffers is read little-endian', () => {
  expect(readU16(Uint8Array.of(0, 0x34, 0x12), 1)).toBe(0x1234);
});

const MRG = bit(15);
const VERSION_1 = bit(32);
const HASH = bit(57);
const GUEST_TUNNEL = bit(65);
const HOST_TUNNEL = bit(67);

test.each([
  [10, 'nothing', 0n],
  [10, 'checksum and TSO of a legacy device', bit(0) | bit(1) | bit(7) | bit(11)],
  [12, 'MRG_RXBUF', MRG],
  [12, 'VERSION_1', VERSION_1],
  [12, 'MRG_RXBUF and VERSION_1', MRG | VERSION_1],
  [20, 'HASH_REPORT', HASH | VERSION_1],
  [20, 'HASH_REPORT and MRG_RXBUF', HASH | MRG | VERSION_1],
  [24, 'GUEST_UDP_TUNNEL_GSO', GUEST_TUNNEL | VERSION_1],
  [24, 'HOST_UDP_TUNNEL_GSO', HOST_TUNNEL | VERSION_1],
  [24, 'a tunnel and HASH_REPORT', HOST_TUNNEL | HASH | MRG | VERSION_1],
  [12, 'tunnel checksums alone', bit(66) | bit(68) | VERSION_1],
])('the header has %i bytes with %s', (length, _, features) => {
  expect(headerLengthOf(features)).toBe(length);
});
