/** Names and bits of `linux/vhost.h` and `linux/vhost_types.h`. */

/** Log every write to guest memory (device feature, set with the log base). */
export const VHOST_F_LOG_ALL = 26;
/** vhost itself adds and removes the virtio-net header; the TAP has none. */
export const VHOST_NET_F_VIRTIO_NET_HDR = 27;

/** Backend feature: IOTLB messages of version 2. */
export const VHOST_BACKEND_F_IOTLB_MSG_V2 = 1;

/** Bytes of guest memory to a bit of the dirty log. */
export const VHOST_PAGE_SIZE = 0x1000;

/** Ring flag: log writes to the used ring. */
export const VHOST_VRING_F_LOG = 0;

export const VHOST_VRING_LITTLE_ENDIAN = 0;
export const VHOST_VRING_BIG_ENDIAN = 1;

/** Modes of `VHOST_SET_FORK_FROM_OWNER`. */
export const VHOST_FORK_OWNER_KTHREAD = 0;
export const VHOST_FORK_OWNER_TASK = 1;

/** Versions of IOTLB messages. */
export const VHOST_IOTLB_MSG = 1;
export const VHOST_IOTLB_MSG_V2 = 2;
/** Types of IOTLB messages. */
export const VHOST_IOTLB_MISS = 1;
export const VHOST_IOTLB_UPDATE = 2;
export const VHOST_IOTLB_INVALIDATE = 3;
export const VHOST_IOTLB_ACCESS_FAIL = 4;
export const VHOST_IOTLB_BATCH_BEGIN = 5;
export const VHOST_IOTLB_BATCH_END = 6;
/** Permissions of an IOTLB entry, as the device uses it. */
export const VHOST_ACCESS_RO = 1;
export const VHOST_ACCESS_WO = 2;
export const VHOST_ACCESS_RW = 3;

/** The rings of a vhost-net device. */
export const VHOST_NET_VQ_RX = 0;
export const VHOST_NET_VQ_TX = 1;
