/** What the acknowledged features mean for the rings. */
import { type HeaderLength, headerLengthOf } from '../net/header.js';
import { OffloadRules } from '../net/offload-rules.js';
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
  /** What the headers of frames that the guest sends may ask for, and of those that it is given. */
  sent: OffloadRules;
  given: OffloadRules;
}

export function ringUse(features: bigint): RingUse {
  return {
    eventIdx: hasBit(features, VIRTIO_RING_F_EVENT_IDX),
    indirect: hasBit(features, VIRTIO_RING_F_INDIRECT_DESC),
    headerLength: headerLengthOf(features),
    mergeable: hasBit(features, VIRTIO_NET_F_MRG_RXBUF),
    sent: OffloadRules.ofSent(features),
    given: OffloadRules.ofGiven(features),
  };
}
