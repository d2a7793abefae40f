import fc from 'fast-check';
import { expect, test } from 'vitest';
import { mostOffload } from '../../lib/host/offload-probe.js';
import {
  coherentOffloads,
  mutualOffloads,
  OFFLOAD_FEATURES,
  offloadFeatures,
  TUN_OFFLOADS,
  tunOffloads,
} from '../../lib/net/offload-features.js';
import { bit, featureNames } from '../../lib/uapi/virtio-net.js';

/*
 * drivers/net/tun.c, set_offload():
 *
 *   1 CSUM ──┬─ 2 TSO4 ─┬─ 8 TSO_ECN
 *            ├─ 4 TSO6 ─┘             any of 2, 4, 0x60 ── 0x80 UDP_TUNNEL_GSO ── 0x100 its CSUM
 *            ├─ 0x10 UFO
 *            └─ 0x60 USO4 and USO6 together
 */
const tunMask = fc.integer({ min: 0, max: 0xffff });
const features = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n });

/** The kernel's verdict, as its function has it. */
function kernelTakes(mask: number): boolean {
  let left = mask;
  let plain = 0;
  if (left & 1) {
    left &= ~1;
    if (left & 6) {
      plain |= left & 6;
      left &= ~8;
      left &= ~6;
    }
    left &= ~0x10;
    if ((left & 0x60) === 0x60) {
      plain |= 0x60;
      left &= ~0x60;
    }
    if (plain !== 0 && (left & 0x80) !== 0) left &= ~0x180;
  }
  return left === 0;
}

test('whatever is asked for, the kernel takes what is left, and more of it would be refused', () => {
  fc.assert(
    fc.property(tunMask, (mask) => {
      const kept = coherentOffloads(mask);
      expect(kept & ~mask).toBe(0);
      expect(kernelTakes(kept)).toBe(true);
      for (let at = 0; at < 9; at++) {
        const more = 1 << at;
        if ((mask & more) !== 0 && (kept & more) === 0)
          expect(kernelTakes(kept | more)).toBe(false);
      }
    }),
    { numRuns: 2000 },
  );
});

test('a set that the kernel takes stays as it is', () => {
  for (let mask = 0; mask <= TUN_OFFLOADS; mask++) {
    if (kernelTakes(mask)) expect(coherentOffloads(mask)).toBe(mask);
  }
});

test.each([
  ['nothing', 0n, 0],
  ['checksums', bit(1), 0x01],
  ['TSO for IPv4 without checksums', bit(7), 0],
  ['checksums and TSO', bit(1) | bit(7) | bit(8), 0x07],
  ['ECN with TSO for IPv6 alone', bit(1) | bit(8) | bit(9), 0x0d],
  ['ECN without TSO', bit(1) | bit(9), 0x01],
  ['UFO', bit(1) | bit(10), 0x11],
  ['USO', bit(1) | bit(54) | bit(55), 0x61],
  ['USO for one version of IP', bit(1) | bit(55), 0x01],
  ['a UDP tunnel with TSO', bit(1) | bit(7) | bit(65), 0x83],
  ['a UDP tunnel with USO and checksums', bit(1) | bit(54) | bit(55) | bit(65) | bit(66), 0x1e1],
  ['a UDP tunnel without segmentation', bit(1) | bit(65) | bit(66), 0x01],
  ['tunnel checksums without a tunnel', bit(1) | bit(7) | bit(66), 0x03],
  ['what only the guest sends', bit(0) | bit(11) | bit(12) | bit(13) | bit(56) | bit(67), 0],
])('a guest that takes %s', (_, acknowledged, tun) => {
  expect(tunOffloads(acknowledged)).toBe(tun);
});

test('features that are not about offloads do not matter', () => {
  fc.assert(
    fc.property(features, (mask) => {
      expect(tunOffloads(mask)).toBe(tunOffloads(mask & OFFLOAD_FEATURES));
      expect(kernelTakes(tunOffloads(mask))).toBe(true);
    }),
  );
});

test('what a TAP takes is offered in both directions', () => {
  expect(featureNames(offloadFeatures(0x0f))).toEqual([
    'VIRTIO_NET_F_CSUM',
    'VIRTIO_NET_F_GUEST_CSUM',
    'VIRTIO_NET_F_GUEST_TSO4',
    'VIRTIO_NET_F_GUEST_TSO6',
    'VIRTIO_NET_F_GUEST_ECN',
    'VIRTIO_NET_F_HOST_TSO4',
    'VIRTIO_NET_F_HOST_TSO6',
    'VIRTIO_NET_F_HOST_ECN',
  ]);
  expect(offloadFeatures(0x61)).toBe(bit(0) | bit(1) | bit(54) | bit(55) | bit(56));
  expect(offloadFeatures(0)).toBe(0n);
  expect(offloadFeatures(TUN_OFFLOADS)).toBe(OFFLOAD_FEATURES);
});

test('a guest that acknowledges all that was offered gets all that the TAP takes', () => {
  fc.assert(
    fc.property(tunMask, (mask) => {
      expect(tunOffloads(offloadFeatures(mask))).toBe(coherentOffloads(mask));
    }),
  );
});

test.each([
  ['that knows everything', 0x1ff, 0x1ff],
  ['without tunnels', 0x07f, 0x07f],
  ['without USO', 0x01f, 0x01f],
  ['that refuses UFO', 0x1ef, 0x1ef],
  ['without TSO', 0x1f1, 0x1f1],
  ['that knows a tunnel, but nothing to put into it', 0x181, 0x001],
  ['without checksums', 0x1fe, 0],
])('a kernel %s is asked for the most that it takes', (_, known, most) => {
  const takes = (mask: number) => (mask & ~known) === 0 && kernelTakes(mask);
  expect(mostOffload(takes)).toBe(most);
});

test('what both directions have is what is left of a peer that lacks one', () => {
  fc.assert(
    fc.property(tunMask, features, (mask, lacking) => {
      const offered = offloadFeatures(mask);
      expect(mutualOffloads(offered)).toBe(coherentOffloads(mask) & TUN_OFFLOADS);
      const left = mutualOffloads(offered & ~lacking);
      expect(offloadFeatures(left) & lacking).toBe(0n);
      expect(kernelTakes(left)).toBe(true);
    }),
  );
});
