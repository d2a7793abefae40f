/** Payloads about a ring. */
import { VHOST_VRING_F_LOG } from '../uapi/vhost.js';
import { VHOST_USER_VRING_IDX_MASK, VHOST_USER_VRING_NOFD_MASK } from '../uapi/vhost-user.js';
import { checkRange } from './memory-payloads.js';
import { ofSize, type Payload, structPayload } from './payload.js';
import { struct } from './struct.js';

/** A number about a ring: its size, its position, whether it is enabled. */
export interface VhostUserVringState {
  /** Of the ring, from 0 to 2^32 - 1: whoever has fewer rings refuses it. */
  index: number;
  num: number;
}

/** Where the parts of a ring are: user addresses of the front-end, or I/O virtual behind an IOMMU. */
export interface VhostUserVringAddr {
  index: number;
  /** Bit `VHOST_VRING_F_LOG`, or 0. */
  flags: number;
  desc: bigint;
  used: bigint;
  avail: bigint;
  /** Guest-physical address for the log of what is written to the used ring. */
  log: bigint;
}

/** Which ring the descriptor is for that comes along. */
export interface VhostUserVringFile {
  /** 0 to 255. */
  index: number;
  /** No descriptor comes along: the ring is polled, or its signals go another way. */
  noDescriptor: boolean;
}

/** What a file has of a ring: where the guest notifies it. */
export interface VhostUserVringArea extends VhostUserVringFile {
  /** Bytes. */
  size: bigint;
  /** Bytes from the start of the file. */
  offset: bigint;
}

export const VRING_STATE: Payload<VhostUserVringState> = structPayload(
  struct({ index: 'u32', num: 'u32' }),
);

export const VRING_ADDR: Payload<VhostUserVringAddr> = structPayload(
  // The order differs from that of the ioctl's arguments in most code: used is before avail.
  struct({ index: 'u32', flags: 'u32', desc: 'u64', used: 'u64', avail: 'u64', log: 'u64' }),
  ({ flags }) => {
    if ((flags & ~(1 << VHOST_VRING_F_LOG)) !== 0) {
      throw new Error(`its flags are ${hex(flags)}, and only bit ${VHOST_VRING_F_LOG} is known`);
    }
  },
);

const FILE = struct({ value: 'u64' });
const AREA = struct({ value: 'u64', size: 'u64', offset: 'u64' });

export const VRING_FILE: Payload<VhostUserVringFile> = {
  ...ofSize(FILE.size),
  read: (view) => fileOf(FILE.read(view).value),
  write: (view, file) => FILE.write(view, { value: fileValue(file) }),
};

export const VRING_AREA: Payload<VhostUserVringArea> = {
  ...ofSize(AREA.size),
  read(view) {
    const { value, size, offset } = AREA.read(view);
    return { ...fileOf(value), size, offset };
  },
  write: (view, { size, offset, ...file }) =>
    AREA.write(view, { value: fileValue(file), size, offset }),
  check({ noDescriptor, size, offset }) {
    // Without a descriptor an area goes away, and nothing is said of where it was.
    if (!noDescriptor) checkRange('the area', offset, size);
  },
};

function fileOf(value: bigint): VhostUserVringFile {
  const known = BigInt(VHOST_USER_VRING_IDX_MASK | VHOST_USER_VRING_NOFD_MASK);
  // A bit that is not understood may be more of the index: another ring would be meant.
  if ((value & ~known) !== 0n)
    throw new Error(`its index and flags are ${hex(value)}, above bit 8`);
  return {
    index: Number(value & BigInt(VHOST_USER_VRING_IDX_MASK)),
    noDescriptor: (value & BigInt(VHOST_USER_VRING_NOFD_MASK)) !== 0n,
  };
}

function fileValue({ index, noDescriptor }: VhostUserVringFile): bigint {
  if (!Number.isInteger(index) || index < 0 || index > VHOST_USER_VRING_IDX_MASK) {
    throw new Error(`its index is ${index}, and can be from 0 to ${VHOST_USER_VRING_IDX_MASK}`);
  }
  return BigInt(index | (noDescriptor ? VHOST_USER_VRING_NOFD_MASK : 0));
}

function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}
