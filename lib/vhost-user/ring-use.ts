/** What the acknowledged features mean for the rings. */
import { type HeaderLength, headerLengthOf } from '../net/header.js';
import { OFFLOAD_FEATURES } from '../net/offload-features.js';
import {
  hasBit,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_RING_F_EVENT_IDX,
  VIRTIO_RING_F_INDIRECT_DESC,
} from '../uapi/virtio-net.js';
import type { RingFeatures } from './backend-ring.js';

export interface RingUse extends RingFeatures {
  headerLength: HeaderLength;
  mergeable: boolean;
  offloads: boolean;
}

export function ringUse(features: bigint): RingUse {
  return {
    eventIdx: hasBit(features, VIRTIO_RING_F_EVENT_IDX),
    indirect: hasBit(features, VIRTIO_RING_F_INDIRECT_DESC),
    headerLength: headerLengthOf(features),
    mergeable: hasBit(features, VIRTIO_NET_F_MRG_RXBUF),
    offloads: (features & OFFLOAD_FEATURES) !== 0n,
  };
}
