/** The internet checksum (RFC 1071), and a partial one that the host or the guest left to be finished. */
import { rangeError } from '../errors.js';
import { VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_NONE } from '../uapi/virtio-net.js';
import type { Offload } from './header.js';
import { write16 } from './network-order.js';

/** The error of every frame whose offload cannot be carried out. */
export function offloadError(problem: string): RangeError {
  return rangeError(
    `the frame's offload is impossible: ${problem}`,
    undefined,
    'ERR_FRAME_OFFLOAD',
  );
}

/**
 * Adds the 16-bit words from `from` up to `to` to `sum`; an odd last byte counts as the upper half of
 * a word. {@link foldSum} ends it.
 */
export function addWords(bytes: Uint8Array, from: number, to: number, sum: number): number {
  // Two sums of bytes stay small integers, which is faster than one of words.
  let high = 0;
  let low = 0;
  let at = from;
  for (; at + 1 < to; at += 2) {
    high += bytes[at] as number;
    low += bytes[at + 1] as number;
  }
  if (at < to) high += bytes[at] as number;
  return sum + high * 256 + low;
}

/** A sum of words in 16 bits, its carries added. */
export function foldSum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x1_0000) + Math.floor(folded / 0x1_0000);
  return folded;
}

/** As {@link addWords}, of the same bytes copied to `at` in `target`. */
export function copyAddingWords(
  bytes: Uint8Array,
  from: number,
  to: number,
  target: Uint8Array,
  at: number,
): number {
  const shift = at - from;
  let high = 0;
  let low = 0;
  let next = from;
  for (; next + 1 < to; next += 2) {
    const first = bytes[next] as number;
    const second = bytes[next + 1] as number;
    target[next + shift] = first;
    target[next + shift + 1] = second;
    high += first;
    low += second;
  }
  if (next < to) {
    const last = bytes[next] as number;
    target[next + shift] = last;
    high += last;
  }
  return high * 256 + low;
}

/** The checksum of a sum. */
export function checksumOf(sum: number): number {
  return ~foldSum(sum) & 0xffff;
}

/** The same for a transport: never 0, which in UDP means that there is none. */
export function transportChecksumOf(sum: number): number {
  return checksumOf(sum) || 0xffff;
}

/**
 * Finishes the checksum of a frame whose header says `VIRTIO_NET_HDR_F_NEEDS_CSUM` (virtio 1.3
 * §5.1.6.2), in place: from `checksumStart` to the end of `bytes`, over the pseudo-header's sum that is
 * stored already. Then takes the request out of `offload`. A frame without the flag stays as it is.
 * Allocates nothing. Throws `ERR_FRAME_OFFLOAD`, a `RangeError`, where the checksum would lie outside
 * the frame, and for a frame that is to be segmented: {@link Segmenter} does both.
 */
export function completeChecksum(bytes: Uint8Array, offload: Offload): void {
  if ((offload.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) === 0) return;
  if (offload.gsoType !== VIRTIO_NET_HDR_GSO_NONE) {
    throw offloadError('it is to be segmented before it gets its checksums');
  }
  const { checksumStart, checksumOffset } = offload;
  if (checksumStart + checksumOffset + 2 > bytes.length) {
    throw offloadError('its checksum lies behind its end');
  }
  const sum = addWords(bytes, checksumStart, bytes.length, 0);
  write16(bytes, checksumStart + checksumOffset, transportChecksumOf(sum));
  offload.flags &= ~VIRTIO_NET_HDR_F_NEEDS_CSUM;
  offload.checksumStart = 0;
  offload.checksumOffset = 0;
}
