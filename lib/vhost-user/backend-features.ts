/** What a back end offers: virtio features, and features of the protocol. */
import { offloadFeatures } from '../net/offload-features.js';
import { TUN_F_CSUM, TUN_F_TSO_ECN, TUN_F_TSO4, TUN_F_TSO6 } from '../uapi/tun.js';
import { VHOST_F_LOG_ALL } from '../uapi/vhost.js';
import * as uapi from '../uapi/vhost-user.js';
import {
  bit,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_CTRL_RX,
  VIRTIO_NET_F_CTRL_VQ,
  VIRTIO_NET_F_GUEST_ANNOUNCE,
  VIRTIO_NET_F_MQ,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_NET_F_MTU,
  VIRTIO_NET_F_STATUS,
  VIRTIO_RING_F_EVENT_IDX,
  VIRTIO_RING_F_INDIRECT_DESC,
} from '../uapi/virtio-net.js';
import type { MemoryPolicy } from './backend-memory.js';

/** What a back end has to offer, for every device. */
export interface BackendLimits {
  /** Virtio features, and features of the protocol, on offer. */
  features: bigint;
  protocolFeatures: bigint;
  /** Queue pairs, 1 to 128. */
  queuePairs: number;
  config: Uint8Array | undefined;
  memory: MemoryPolicy;
}

const sum = (...bits: number[]) => bits.reduce((all, one) => all | bit(one), 0n);

/**
 * The virtio features. The control queue and what is in configuration space are the front-end's own: it asks
 * whether the back end knows of them, and gives them to its guest.
 */
export const BACKEND_FEATURES: bigint = sum(
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_RING_F_EVENT_IDX,
  VIRTIO_RING_F_INDIRECT_DESC,
  VIRTIO_NET_F_MQ,
  VIRTIO_NET_F_MTU,
  VIRTIO_NET_F_STATUS,
  VIRTIO_NET_F_CTRL_VQ,
  VIRTIO_NET_F_CTRL_RX,
  VIRTIO_NET_F_GUEST_ANNOUNCE,
  VHOST_F_LOG_ALL,
  uapi.VHOST_USER_F_PROTOCOL_FEATURES,
);

/** Checksums and TCP segmentation, in both directions: what every kernel's TAP takes, too. */
export const BACKEND_OFFLOADS: bigint = offloadFeatures(
  TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
);

/** The features of the protocol. */
export const BACKEND_PROTOCOL_FEATURES: bigint = sum(
  uapi.VHOST_USER_PROTOCOL_F_MQ,
  uapi.VHOST_USER_PROTOCOL_F_LOG_SHMFD,
  uapi.VHOST_USER_PROTOCOL_F_RARP,
  uapi.VHOST_USER_PROTOCOL_F_REPLY_ACK,
  uapi.VHOST_USER_PROTOCOL_F_MTU,
  uapi.VHOST_USER_PROTOCOL_F_BACKEND_REQ,
  uapi.VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD,
  uapi.VHOST_USER_PROTOCOL_F_RESET_DEVICE,
  uapi.VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS,
  uapi.VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  uapi.VHOST_USER_PROTOCOL_F_STATUS,
);

/** Throws for a choice of protocol features that cannot be served. */
export function checkProtocolFeatures(chosen: bigint, offered: bigint): void {
  const strange = chosen & ~offered;
  if (strange !== 0n) throw new Error(`the bits 0x${strange.toString(16)} were not offered`);
  const inBand = bit(uapi.VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS);
  const needs =
    bit(uapi.VHOST_USER_PROTOCOL_F_BACKEND_REQ) | bit(uapi.VHOST_USER_PROTOCOL_F_REPLY_ACK);
  if ((chosen & inBand) !== 0n && (chosen & needs) !== needs) {
    throw new Error('in-band notifications need BACKEND_REQ and REPLY_ACK');
  }
}
