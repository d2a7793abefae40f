import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MEANING_CHANGERS, negotiate, PORT_FEATURES } from '../../lib/net/features.js';
import { bit, featureNames, hasBit, VIRTIO_NET_FEATURES } from '../../lib/uapi/virtio-net.js';

const mask = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n });
const EVERYTHING = (1n << 128n) - 1n;

test('what is both wanted and offered is acknowledged', () => {
  expect(negotiate(bit(0) | bit(15) | bit(32), bit(15) | bit(28) | bit(32))).toBe(
    bit(15) | bit(32),
  );
});

test.each([
  [26, 'VHOST_F_LOG_ALL'],
  [27, 'VHOST_NET_F_VIRTIO_NET_HDR'],
  [33, 'VIRTIO_F_ACCESS_PLATFORM'],
])('bit %i, %s, is taken only where it is required', (at, name) => {
  expect(featureNames(bit(at))).toEqual([name]);
  expect(hasBit(MEANING_CHANGERS, at)).toBe(true);
  expect(negotiate(EVERYTHING, EVERYTHING) & bit(at)).toBe(0n);
  expect(negotiate(EVERYTHING, 0n, bit(at))).toBe(bit(at));
});

test('only those three bits are masked', () => {
  expect(EVERYTHING & ~negotiate(EVERYTHING, EVERYTHING)).toBe(bit(26) | bit(27) | bit(33));
});

test('a required feature that is not offered is an error that names it and every other', () => {
  expect(() => negotiate(bit(32), bit(15), bit(32) | bit(33) | bit(65) | bit(100))).toThrow(
    expect.objectContaining({
      code: 'ERR_FEATURES_NOT_OFFERED',
      message:
        'the backend does not offer VIRTIO_F_ACCESS_PLATFORM, VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO, bit 100',
      hint: expect.stringContaining('doctor'),
    }),
  );
});

test('whatever is asked for, the result was offered, holds what is required, and no surprise', () => {
  fc.assert(
    fc.property(mask, mask, mask, (offered, wanted, some) => {
      const required = offered & some;
      const result = negotiate(offered, wanted, required);
      expect(result & ~offered).toBe(0n);
      expect(result & ~(wanted | required)).toBe(0n);
      expect(result & required).toBe(required);
      expect(result & MEANING_CHANGERS & ~required).toBe(0n);
    }),
  );
});

test('a port asks for merged buffers, event indices and virtio 1', () => {
  expect(featureNames(PORT_FEATURES)).toEqual([
    'VIRTIO_NET_F_MRG_RXBUF',
    'VIRTIO_RING_F_EVENT_IDX',
    'VIRTIO_F_VERSION_1',
  ]);
});

test('featureNames() names every bit once, lowest first, and says bit N of a strange one', () => {
  expect(featureNames(0n)).toEqual([]);
  expect(featureNames(bit(127) | bit(4) | bit(0))).toEqual([
    'VIRTIO_NET_F_CSUM',
    'bit 4',
    'bit 127',
  ]);
  const all = Object.values(VIRTIO_NET_FEATURES).reduce((sum, at) => sum | bit(at), 0n);
  const byBit = Object.entries(VIRTIO_NET_FEATURES).sort(([, a], [, b]) => a - b);
  expect(featureNames(all)).toEqual(byBit.map(([name]) => name));
});

test('no two features have the same bit', () => {
  const bits = Object.values(VIRTIO_NET_FEATURES);
  expect(new Set(bits).size).toBe(bits.length);
});
