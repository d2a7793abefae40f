import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  clearHeader,
  copyOffload,
  HEADER_LENGTHS,
  headerLengthOf,
  type NetHeader,
  type Offload,
  plainOffload,
  readHeader,
  readNetHeader,
  readU16,
  writeHeader,
  writeNetHeader,
} from '../../lib/net/header.js';
import { bit } from '../../lib/uapi/virtio-net.js';

const SAMPLE: Offload = {
  flags: 0x01,
  gsoType: 0x84,
  headerLength: 0x0442,
  gsoSize: 0x05b4,
  checksumStart: 0x1234,
  checksumOffset: 0xff10,
  outerTransport: 0x0122,
  innerNetwork: 0x0350,
};

/*
 * struct virtio_net_hdr_v1 (virtio 1.3 §5.1.6), little-endian:
 *
 *   0 flags │ 1 gso_type │ 2 hdr_len │ 4 gso_size │ 6 csum_start │ 8 csum_offset │ 10 num_buffers
 *   12 hash_value (32 bits) │ 16 hash_report │ 18 padding │ 20 outer_th_offset │ 22 inner_nh_offset
 */
const SAMPLE_BYTES = '01844204b405341210ff';
const TUNNEL_BYTES = '22015003';
const bytesOf = (length: number, middle = '') =>
  SAMPLE_BYTES + (middle.padEnd(20, '0') + TUNNEL_BYTES).slice(0, 2 * length - 20);

const DEVICE_SAMPLE: NetHeader = {
  ...SAMPLE,
  numBuffers: 0x0203,
  hashValue: 0x1234_5678,
  hashReport: 0x0a0b,
};

const offload: fc.Arbitrary<Offload> = fc.record({
  flags: fc.integer({ min: 0, max: 255 }),
  gsoType: fc.integer({ min: 0, max: 255 }),
  headerLength: fc.integer({ min: 0, max: 65_535 }),
  gsoSize: fc.integer({ min: 0, max: 65_535 }),
  checksumStart: fc.integer({ min: 0, max: 65_535 }),
  checksumOffset: fc.integer({ min: 0, max: 65_535 }),
  outerTransport: fc.integer({ min: 0, max: 65_535 }),
  innerNetwork: fc.integer({ min: 0, max: 65_535 }),
});

/** What a header of `length` bytes has room for. */
function within<T extends Offload>(length: number, header: T): T {
  return length === 24 ? header : { ...header, outerTransport: 0, innerNetwork: 0 };
}

describe.each(HEADER_LENGTHS)('a header of %i bytes', (length) => {
  test('is little-endian, byte for byte, and 0 where it says nothing', () => {
    const bytes = new Uint8Array(length).fill(0xee);
    writeHeader(bytes, 0, length, SAMPLE);
    expect(Buffer.from(bytes).toString('hex')).toBe(bytesOf(length));
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
        const read = { ...SAMPLE };
        readHeader(bytes, at, read, length);
        expect(read).toEqual(within(length, written));
      }),
    );
  });

  test('with what a device says is little-endian, in as far as there is room', () => {
    const bytes = new Uint8Array(length + 16).fill(0xee);
    writeNetHeader(bytes, 8, length, DEVICE_SAMPLE);
    const expected = bytesOf(length, '0302' + '78563412' + '0b0a' + '0000');
    expect(Buffer.from(bytes.subarray(8, 8 + length)).toString('hex')).toBe(expected);
    expect([bytes[7], bytes[8 + length]]).toEqual([0xee, 0xee]);
  });

  test('with what a device says reads back as it was written', () => {
    const bytes = new Uint8Array(64).fill(0xee);
    const hashValue = 0xfedc_ba98;
    writeNetHeader(bytes, 3, length, { ...DEVICE_SAMPLE, hashValue });
    const read = { ...DEVICE_SAMPLE };
    readNetHeader(bytes, 3, length, read);
    expect(read).toEqual({
      ...within(length, DEVICE_SAMPLE),
      numBuffers: length >= 12 ? DEVICE_SAMPLE.numBuffers : 0,
      hashValue: length >= 20 ? hashValue : 0,
      hashReport: length >= 20 ? DEVICE_SAMPLE.hashReport : 0,
    });
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
  expect(Object.values(plainOffload())).toEqual(new Array(8).fill(0));
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
