/** Feature negotiation: what is wanted and offered, less what must never slip in. */
import { StateError } from '../errors.js';
import { VHOST_F_LOG_ALL, VHOST_NET_F_VIRTIO_NET_HDR } from '../uapi/vhost.js';
import {
  bit,
  featureNames,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_RING_F_EVENT_IDX,
} from '../uapi/virtio-net.js';

/**
 * Bits that a vhost device offers and that change what the rings mean, so that acknowledging
 * whatever is offered breaks the device: 26 turns on the dirty log, 27 lets vhost supply the header,
 * 33 makes every address wait for the IOTLB.
 */
export const MEANING_CHANGERS =
  bit(VHOST_F_LOG_ALL) | bit(VHOST_NET_F_VIRTIO_NET_HDR) | bit(VIRTIO_F_ACCESS_PLATFORM);

/** What a port asks for. Its frames take one descriptor each, so indirect tables would gain nothing. */
export const PORT_FEATURES =
  bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_NET_F_MRG_RXBUF) | bit(VIRTIO_RING_F_EVENT_IDX);

/**
 * The features to acknowledge: those both wanted and offered. A bit of {@link MEANING_CHANGERS} is
 * taken only where it is required by name. Throws `ERR_FEATURES_NOT_OFFERED` where a required one is
 * not offered.
 */
export function negotiate(offered: bigint, wanted: bigint, required = 0n): bigint {
  const missing = required & ~offered;
  if (missing !== 0n) {
    throw new StateError(
      'ERR_FEATURES_NOT_OFFERED',
      `the backend does not offer ${featureNames(missing).join(', ')}`,
      'leave the feature out, or use a kernel that has it: see `vhost-net doctor`',
    );
  }
  return (offered & wanted & ~MEANING_CHANGERS) | required;
}
