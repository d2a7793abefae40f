/** Where the three parts of a split ring lie (virtio 1.3 §2.7). */
import { checkInteger, rangeError } from '../errors.js';
import {
  VRING_AVAIL_ALIGN,
  VRING_DESC_ALIGN,
  VRING_DESC_SIZE,
  VRING_MAX_SIZE,
  VRING_USED_ALIGN,
} from '../uapi/virtio-ring.js';

/** Guest-physical addresses of a ring's parts. */
export interface VringAddresses {
  /** 16 bytes a descriptor, aligned to 16. */
  desc: bigint;
  /** 6 + 2 bytes a descriptor (with `used_event`), aligned to 2. */
  avail: bigint;
  /** 6 + 8 bytes a descriptor (with `avail_event`), aligned to 4. */
  used: bigint;
}

/** Keeps what the two sides write on cache lines of their own. */
const CACHE_LINE = 64;

/** Throws `ERR_OUT_OF_RANGE` unless `size` is a power of two from 1 to 32768. */
export function checkRingSize(name: string, size: unknown): number {
  const value = checkInteger(name, size, 1, VRING_MAX_SIZE);
  if ((value & (value - 1)) !== 0) {
    throw rangeError(`${name} must be a power of two from 1 to ${VRING_MAX_SIZE}, not ${value}`);
  }
  return value;
}

export const descBytes = (size: number): number => VRING_DESC_SIZE * size;
export const availBytes = (size: number): number => 6 + 2 * size;
export const usedBytes = (size: number): number => 6 + 8 * size;

const align = (value: number, to: number): number => Math.ceil(value / to) * to;

/** Bytes of a whole ring laid out by {@link placeVring}. */
export function vringBytes(size: number): number {
  const used = align(descBytes(size) + availBytes(size), CACHE_LINE);
  return align(used + usedBytes(size), CACHE_LINE);
}

/** Lays a ring out from a guest address aligned to 64 bytes. */
export function placeVring(start: bigint, size: number): VringAddresses {
  return {
    desc: start,
    avail: start + BigInt(descBytes(size)),
    used: start + BigInt(align(descBytes(size) + availBytes(size), CACHE_LINE)),
  };
}

/** Throws `ERR_OUT_OF_RANGE` for a part that is not aligned as virtio demands. */
export function checkAlignment(addresses: VringAddresses): void {
  const parts = [
    ['desc', addresses.desc, VRING_DESC_ALIGN],
    ['avail', addresses.avail, VRING_AVAIL_ALIGN],
    ['used', addresses.used, VRING_USED_ALIGN],
  ] as const;
  for (const [name, address, alignment] of parts) {
    if (address % BigInt(alignment) !== 0n) {
      throw rangeError(
        `the ${name} ring at 0x${address.toString(16)} is not aligned to ${alignment} bytes`,
      );
    }
  }
}
