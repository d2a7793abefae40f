/** Payloads about a device as a whole: its configuration, its IOTLB, its state. */
import { VHOST_IOTLB_ACCESS_FAIL, VHOST_IOTLB_MISS, VHOST_IOTLB_UPDATE } from '../uapi/vhost.js';
import {
  VHOST_TRANSFER_STATE_DIRECTION_LOAD,
  VHOST_USER_MAX_CONFIG_SIZE,
  VHOST_USER_VRING_NOFD_MASK,
} from '../uapi/vhost-user.js';
import { checkRange } from './memory-payloads.js';
import {
  bytesOf,
  bytesPayload,
  LONGEST_PAYLOAD,
  ofSize,
  type Payload,
  structPayload,
} from './payload.js';
import { struct } from './struct.js';

/** `struct vhost_iotlb_msg`. */
export interface VhostUserIotlbMessage {
  iova: bigint;
  /** Bytes; of an invalidation of everything 0. */
  size: bigint;
  userAddress: bigint;
  /** `VHOST_ACCESS_*`; means something in an update and a miss. */
  permission: number;
  /** `VHOST_IOTLB_MISS`, `_UPDATE`, `_INVALIDATE` or `_ACCESS_FAIL`. */
  type: number;
}

/** A piece of the device's configuration space. */
export interface VhostUserConfig {
  /** Bytes from the start of the configuration space. */
  offset: number;
  /** 0: what a driver may write. 1: in the course of a migration. */
  flags: number;
  /** 0 to 256 bytes: the contents, or room for them. */
  bytes: Uint8Array;
}

/** What is to be done with the descriptor of `VHOST_USER_SET_DEVICE_STATE_FD`. */
export interface VhostUserTransferDeviceState {
  /** `VHOST_TRANSFER_STATE_DIRECTION_SAVE` or `_LOAD`. */
  direction: number;
  /** 0: the guest is stopped. */
  phase: number;
}

/** What became of `VHOST_USER_SET_DEVICE_STATE_FD`. */
export interface VhostUserTransferReply {
  /** 0 to 255; 0 is success. */
  error: number;
  /** The descriptor of the request is used. Else another comes along, and is to be used in its place. */
  noDescriptor: boolean;
}

/** Sizes of the shared memory regions of a device, in bytes, by `shmid`. */
export interface VhostUserShMemConfig {
  /** How many of the sizes are not 0. */
  count: number;
  /** 256 of them. */
  sizes: BigUint64Array;
}

const U64_STRUCT = struct({ value: 'u64' });

/** One number. */
export const U64: Payload<bigint> = {
  ...ofSize(U64_STRUCT.size, 'bigint'),
  read: (view) => U64_STRUCT.read(view).value,
  write: (view, value) => U64_STRUCT.write(view, { value }),
};

export const IOTLB: Payload<VhostUserIotlbMessage> = structPayload(
  struct({ iova: 'u64', size: 'u64', userAddress: 'u64', permission: 'u8', type: 'u8' }, 32),
  ({ iova, size, userAddress, permission, type }) => {
    if (type < VHOST_IOTLB_MISS || type > VHOST_IOTLB_ACCESS_FAIL) {
      throw new Error(`its type is ${type}, and can be from 1 to ${VHOST_IOTLB_ACCESS_FAIL}`);
    }
    // Only an update is believed. QEMU leaves the rest of an invalidation as it lay on its stack.
    if (type !== VHOST_IOTLB_UPDATE) return;
    if (permission > 3) throw new Error(`its permission is ${permission}, and can be from 0 to 3`);
    checkRange('the I/O virtual address', iova, size);
    checkRange('the user address', userAddress, size);
  },
);

const CONFIG_HEAD = struct({ offset: 'u32', size: 'u32', flags: 'u32' });

export const CONFIG: Payload<VhostUserConfig> = {
  shape: 'object',
  fits: (bytes) =>
    bytes >= CONFIG_HEAD.size && bytes <= CONFIG_HEAD.size + VHOST_USER_MAX_CONFIG_SIZE,
  sizes: `${CONFIG_HEAD.size} and 0 to ${VHOST_USER_MAX_CONFIG_SIZE}`,
  sizeOf: ({ bytes }) => CONFIG_HEAD.size + bytes.length,
  read(view) {
    const { offset, size, flags } = CONFIG_HEAD.read(view);
    const bytes = bytesOf(view).slice(CONFIG_HEAD.size);
    if (size !== bytes.length) throw new Error(`its size is ${size}, and it has ${bytes.length}`);
    return { offset, flags, bytes };
  },
  write(view, { offset, flags, bytes }) {
    CONFIG_HEAD.write(view, { offset, size: bytes.length, flags });
    bytesOf(view).set(bytes, CONFIG_HEAD.size);
  },
  check({ offset, bytes }) {
    if (offset + bytes.length > 2 ** 32) {
      throw new Error(`${bytes.length} bytes from ${offset} end beyond 2^32`);
    }
  },
};

/** A session of a crypto device, which this library does not look into. */
export const CRYPTO_SESSION: Payload<Uint8Array> = bytesPayload(8, LONGEST_PAYLOAD);

/** The UUID of a shared object. */
export const UUID: Payload<Uint8Array> = bytesPayload(16, 16);

export const STATE_TRANSFER: Payload<VhostUserTransferDeviceState> = structPayload(
  struct({ direction: 'u32', phase: 'u32' }),
  ({ direction }) => {
    if (direction > VHOST_TRANSFER_STATE_DIRECTION_LOAD) {
      throw new Error(`its direction is ${direction}, and can be 0 or 1`);
    }
  },
);

export const STATE_TRANSFER_REPLY: Payload<VhostUserTransferReply> = {
  ...ofSize(U64_STRUCT.size),
  read(view) {
    const { value } = U64_STRUCT.read(view);
    const error = Number(value & 0xffn);
    const noDescriptor = (value & BigInt(VHOST_USER_VRING_NOFD_MASK)) !== 0n;
    if (value >> 9n !== 0n) throw new Error(`it is 0x${value.toString(16)}, above bit 8`);
    return { error, noDescriptor };
  },
  write(view, { error, noDescriptor }) {
    view.setUint8(0, error);
    view.setUint8(1, Number(noDescriptor));
  },
  check({ error, noDescriptor }) {
    if (!Number.isInteger(error) || error < 0 || error > 255) {
      throw new Error(`its error is ${error}, and can be from 0 to 255`);
    }
    if (error !== 0 && !noDescriptor) throw new Error('it is an error, and has a descriptor');
  },
};

const SHMEM_HEAD = struct({ count: 'u32' }, 8);
const SHMEM_REGIONS = 256;

export const SHMEM_CONFIG: Payload<VhostUserShMemConfig> = {
  ...ofSize(SHMEM_HEAD.size + 8 * SHMEM_REGIONS),
  read(view) {
    const sizes = BigUint64Array.from({ length: SHMEM_REGIONS }, (_, i) =>
      view.getBigUint64(SHMEM_HEAD.size + 8 * i, true),
    );
    return { count: SHMEM_HEAD.read(view).count, sizes };
  },
  write(view, { count, sizes }) {
    SHMEM_HEAD.write(view, { count });
    sizes.forEach((size, i) => {
      view.setBigUint64(SHMEM_HEAD.size + 8 * i, size, true);
    });
  },
  check({ count, sizes }) {
    if (sizes.length !== SHMEM_REGIONS) {
      throw new Error(`it has ${sizes.length} sizes, and must have ${SHMEM_REGIONS}`);
    }
    if (count > SHMEM_REGIONS)
      throw new Error(`it counts ${count} regions, above ${SHMEM_REGIONS}`);
  },
};
