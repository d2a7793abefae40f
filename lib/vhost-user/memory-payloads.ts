/** Payloads about memory that both ends are to map. */
import { VHOST_MEMORY_BASELINE_NREGIONS } from '../uapi/vhost-user.js';
import { ofSize, type Payload, structPayload } from './payload.js';
import { struct } from './struct.js';

const ADDRESS_SPACE = 1n << 64n;
/** `queue_size` of a split ring, and the most rings that any device can have. */
const MOST_ENTRIES = 32_768;

/** A piece of guest memory, in a file of which the descriptor comes along. */
export interface VhostUserMemoryRegion {
  guestAddress: bigint;
  /** Bytes, more than 0. */
  size: bigint;
  /** Where the front-end has it. */
  userAddress: bigint;
  /** Bytes from the start of the file. */
  mmapOffset: bigint;
}

/** The dirty log, in a file of which the descriptor comes along. */
export interface VhostUserLog {
  /** Bytes, more than 0. */
  size: bigint;
  /** Bytes from the start of the file. */
  offset: bigint;
}

/** Where the back-end notes what is in flight, so that it can go on after a crash. */
export interface VhostUserInflight {
  /** Bytes; 0 in a request for such an area, and in a reply that has none. */
  mmapSize: bigint;
  /** Bytes from the start of the file. */
  mmapOffset: bigint;
  /** 1 to 32768. */
  numQueues: number;
  /** Entries, 1 to 32768. */
  queueSize: number;
}

/** A file to be mapped into a shared memory region of a device, or a piece of such to be unmapped. */
export interface VhostUserMMap {
  shmid: number;
  fdOffset: bigint;
  shmOffset: bigint;
  /** Bytes, more than 0. */
  len: bigint;
  /** 1: also for writing. */
  flags: bigint;
}

const REGION = struct({
  guestAddress: 'u64',
  size: 'u64',
  userAddress: 'u64',
  mmapOffset: 'u64',
});
/** Number of regions, and padding. */
const TABLE_HEAD = struct({ count: 'u32' }, 8);
/** Padding before the only region. */
const SINGLE_HEAD = 8;

/** 1 to 8 regions, as a memory table. */
export const MEMORY: Payload<readonly VhostUserMemoryRegion[]> = {
  shape: 'array',
  fits: (bytes) =>
    bytes > TABLE_HEAD.size &&
    bytes <= TABLE_HEAD.size + VHOST_MEMORY_BASELINE_NREGIONS * REGION.size &&
    (bytes - TABLE_HEAD.size) % REGION.size === 0,
  sizes: `${TABLE_HEAD.size} and ${REGION.size} for each of 1 to ${VHOST_MEMORY_BASELINE_NREGIONS} regions`,
  sizeOf: (regions) => TABLE_HEAD.size + regions.length * REGION.size,
  read(view) {
    const { count } = TABLE_HEAD.read(view);
    const present = (view.byteLength - TABLE_HEAD.size) / REGION.size;
    if (count !== present) throw new Error(`it counts ${count} regions and has ${present}`);
    return Array.from({ length: count }, (_, i) =>
      REGION.read(view, TABLE_HEAD.size + i * REGION.size),
    );
  },
  write(view, regions) {
    TABLE_HEAD.write(view, { count: regions.length });
    regions.forEach((region, i) => {
      REGION.write(view, region, TABLE_HEAD.size + i * REGION.size);
    });
  },
  check: (regions) =>
    regions.forEach((region, i) => {
      checkRegion(`region ${i}`, region);
    }),
};

export const SINGLE_REGION: Payload<VhostUserMemoryRegion> = {
  ...ofSize(SINGLE_HEAD + REGION.size),
  check: (region) => checkRegion('the region', region),
  read: (view) => REGION.read(view, SINGLE_HEAD),
  write: (view, region) => REGION.write(view, region, SINGLE_HEAD),
};

export const LOG: Payload<VhostUserLog> = structPayload(
  struct({ size: 'u64', offset: 'u64' }),
  ({ size, offset }) => checkRange('the log', offset, size),
);

const INFLIGHT_STRUCT = struct({
  mmapSize: 'u64',
  mmapOffset: 'u64',
  numQueues: 'u16',
  queueSize: 'u16',
});

export const INFLIGHT: Payload<VhostUserInflight> = {
  ...structPayload(INFLIGHT_STRUCT, ({ mmapSize, mmapOffset, numQueues, queueSize }) => {
    if (mmapSize !== 0n) checkRange('the area', mmapOffset, mmapSize);
    for (const [name, value] of Object.entries({ numQueues, queueSize })) {
      if (value < 1 || value > MOST_ENTRIES) {
        throw new Error(`its ${name} is ${value}, and can be from 1 to ${MOST_ENTRIES}`);
      }
    }
  }),
  // C pads the struct to its alignment, the specification does not: QEMU and DPDK send 24 bytes.
  fits: (bytes) => bytes === INFLIGHT_STRUCT.size || bytes === 24,
  sizes: `${INFLIGHT_STRUCT.size} or 24`,
  sizeOf: () => 24,
};

export const SHMEM_MAPPING: Payload<VhostUserMMap> = structPayload(
  struct({ shmid: 'u8', fdOffset: 'u64', shmOffset: 'u64', len: 'u64', flags: 'u64' }),
  ({ fdOffset, shmOffset, len }) => {
    checkRange('the file', fdOffset, len);
    checkRange('the region', shmOffset, len);
  },
);

function checkRegion(
  what: string,
  { guestAddress, size, userAddress, mmapOffset }: VhostUserMemoryRegion,
) {
  checkRange(`${what}, guest address`, guestAddress, size);
  checkRange(`${what}, user address`, userAddress, size);
  checkRange(`${what}, mmap offset`, mmapOffset, size);
}

/** Throws unless a range has bytes and ends within 2^64: a wrapped end would pass every later check. */
export function checkRange(what: string, start: bigint, size: bigint): void {
  if (size === 0n) throw new Error(`${what}: its size is 0`);
  if (start + size > ADDRESS_SPACE) {
    throw new Error(
      `${what}: 0x${size.toString(16)} bytes from 0x${start.toString(16)} end beyond 2^64`,
    );
  }
}
