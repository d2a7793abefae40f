/** Names and layout of the split virtqueue (`linux/virtio_ring.h`, virtio 1.3 §2.7). */

/** The chain goes on in the descriptor that `next` names. */
export const VRING_DESC_F_NEXT = 1;
/** The device writes this buffer; without it, it reads. */
export const VRING_DESC_F_WRITE = 2;
/** The buffer holds a table of descriptors. */
export const VRING_DESC_F_INDIRECT = 4;

/** The driver wants no call. */
export const VRING_AVAIL_F_NO_INTERRUPT = 1;
/** The device wants no kick. */
export const VRING_USED_F_NO_NOTIFY = 1;

/** Bytes of `struct vring_desc`. */
export const VRING_DESC_SIZE = 16;
/** Bytes of `struct vring_used_elem`. */
export const VRING_USED_ELEMENT_SIZE = 8;
/** Alignment of each part, in bytes. */
export const VRING_DESC_ALIGN = 16;
export const VRING_AVAIL_ALIGN = 2;
export const VRING_USED_ALIGN = 4;
/** Largest number of descriptors of a split ring. */
export const VRING_MAX_SIZE = 32768;
