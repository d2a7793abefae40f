/** What an IOMMU maps, and the IOTLB entries that it takes. */
import { readFileSync } from 'node:fs';
import { checkInteger, checkUint64, rangeError } from '../errors.js';
import type { GuestMemory } from '../host/guest-memory.js';
import { VHOST_ACCESS_RO, VHOST_ACCESS_RW, VHOST_IOTLB_UPDATE } from '../uapi/vhost.js';
import type { IotlbMessage } from './vhost-device.js';

/** A range of the device's address space. */
export interface IotlbRange {
  /** The first I/O virtual address. */
  iova: bigint;
  /** Bytes, more than 0. */
  size: number | bigint;
}

/** A range of the device's address space, and what it means. */
export interface IotlbMapping extends IotlbRange {
  /** Guest-physical address of the first byte. */
  guestAddress: bigint;
  /** What the device may do: `VHOST_ACCESS_RO`, `_WO` or `_RW`. Default: `VHOST_ACCESS_RW`. */
  permission?: number;
}

/** An update for one contiguous piece of this process's memory. */
export interface IotlbEntry extends Pick<IotlbMessage, 'type'> {
  iova: bigint;
  size: bigint;
  userAddress: bigint;
  permission: number;
}

/**
 * How many entries the IOTLB of a device has, above which the oldest goes: a parameter of the module,
 * default 2048.
 */
export function maxIotlbEntries(): number {
  try {
    return Number(readFileSync('/sys/module/vhost/parameters/max_iotlb_entries', 'utf8'));
  } catch {
    return 2048;
  }
}

/** The range's last address. Throws `ERR_OUT_OF_RANGE` for one that cannot be. */
export function lastOf({ iova, size }: IotlbRange): bigint {
  const bytes = checkUint64('size', BigInt(size));
  const last = checkUint64('iova', iova) + bytes - 1n;
  if (bytes === 0n || last >= 1n << 64n) {
    throw rangeError(`no ${bytes} bytes can be mapped at 0x${iova.toString(16)}`);
  }
  return last;
}

export function overlaps(a: IotlbRange, b: IotlbRange): boolean {
  return a.iova <= lastOf(b) && b.iova <= lastOf(a);
}

export function contains(range: IotlbRange, iova: bigint): boolean {
  return iova >= range.iova && iova <= lastOf(range);
}

/**
 * The entries of a mapping: one for each region that it crosses, none for what is no guest memory.
 * Throws `ERR_OUT_OF_RANGE` for a range or a permission that cannot be.
 */
export function entriesOf(memory: GuestMemory, mapping: IotlbMapping): IotlbEntry[] {
  const size = lastOf(mapping) - mapping.iova + 1n;
  const guestAddress = checkUint64('guestAddress', mapping.guestAddress);
  const permission = checkInteger(
    'permission',
    mapping.permission ?? VHOST_ACCESS_RW,
    VHOST_ACCESS_RO,
    VHOST_ACCESS_RW,
  );
  return memory.regions.flatMap((region) => {
    const from = max(guestAddress, region.guestAddress);
    const to = min(guestAddress + size, region.guestAddress + BigInt(region.size));
    if (from >= to) return [];
    return {
      type: VHOST_IOTLB_UPDATE,
      iova: mapping.iova + (from - guestAddress),
      size: to - from,
      userAddress: region.userAddress + (from - region.guestAddress),
      permission,
    };
  });
}

/** As {@link entriesOf}. Throws `ERR_OUT_OF_RANGE` where a part of the mapping is no guest memory. */
export function wholeEntriesOf(memory: GuestMemory, mapping: IotlbMapping): IotlbEntry[] {
  const entries = entriesOf(memory, mapping);
  const bytes = entries.reduce((sum, { size }) => sum + size, 0n);
  if (bytes !== BigInt(mapping.size)) {
    const from = `0x${mapping.guestAddress.toString(16)}`;
    throw rangeError(`guest memory has not all of the ${mapping.size} bytes at ${from}`);
  }
  return entries;
}

/**
 * The entries of many mappings, neighbours joined. Throws `ERR_OUT_OF_RANGE` for more than an IOTLB
 * holds: each above the limit would take the place of another.
 */
export function prefetchEntries(
  memory: GuestMemory,
  mappings: readonly IotlbMapping[],
): IotlbEntry[] {
  const sorted = mappings
    .flatMap((mapping) => wholeEntriesOf(memory, mapping))
    .sort((a, b) => (a.iova < b.iova ? -1 : 1));
  const joined: IotlbEntry[] = [];
  for (const entry of sorted) {
    const before = joined[joined.length - 1];
    if (before && follows(before, entry)) before.size += entry.size;
    else joined.push(entry);
  }
  const limit = maxIotlbEntries();
  if (joined.length > limit) {
    throw rangeError(
      `${joined.length} ranges are to be prefetched, an IOTLB has ${limit} entries`,
      'map larger ranges, leave the rest to misses, or load vhost with a higher max_iotlb_entries',
    );
  }
  return joined;
}

function follows(before: IotlbEntry, entry: IotlbEntry): boolean {
  return (
    entry.iova === before.iova + before.size &&
    entry.userAddress === before.userAddress + before.size &&
    entry.permission === before.permission
  );
}

/** Guest memory as its own address space: what is mapped where nothing is remapped. */
export function identityOf(memory: GuestMemory): IotlbMapping[] {
  return memory.regions.map(({ guestAddress, size }) => ({
    iova: guestAddress,
    size,
    guestAddress,
  }));
}

const max = (a: bigint, b: bigint) => (a > b ? a : b);
const min = (a: bigint, b: bigint) => (a < b ? a : b);
