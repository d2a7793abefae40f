/** What a card offers its driver, and what it lets the driver take (virtio 1.3 §2.2, §5.1.3.1). */

import { OFFLOAD_FEATURES, OFFLOAD_NEEDS, offloadFeatures } from '../net/offload-features.js';
import {
  bit,
  featureNames,
  hasBit,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
  VIRTIO_NET_F_CTRL_MAC_ADDR,
  VIRTIO_NET_F_CTRL_RX,
  VIRTIO_NET_F_CTRL_RX_EXTRA,
  VIRTIO_NET_F_CTRL_VLAN,
  VIRTIO_NET_F_CTRL_VQ,
  VIRTIO_NET_F_GUEST_ANNOUNCE,
  VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO,
  VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM,
  VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO,
  VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM,
  VIRTIO_NET_F_MAC,
  VIRTIO_NET_F_MQ,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_NET_F_MTU,
  VIRTIO_NET_F_SPEED_DUPLEX,
  VIRTIO_NET_F_STATUS,
  VIRTIO_RING_F_EVENT_IDX,
  VIRTIO_RING_F_INDIRECT_DESC,
} from '../uapi/virtio-net.js';

const mask = (...numbers: number[]) => numbers.reduce((sum, number) => sum | bit(number), 0n);

/** What the card does itself, whoever moves the packets. */
const OWN = mask(
  VIRTIO_NET_F_MAC,
  VIRTIO_NET_F_STATUS,
  VIRTIO_NET_F_SPEED_DUPLEX,
  VIRTIO_NET_F_CTRL_VQ,
  VIRTIO_NET_F_CTRL_RX,
  VIRTIO_NET_F_CTRL_RX_EXTRA,
  VIRTIO_NET_F_CTRL_VLAN,
  VIRTIO_NET_F_CTRL_MAC_ADDR,
  VIRTIO_NET_F_GUEST_ANNOUNCE,
);
/** What whoever moves the packets must know of: it changes the rings or the header. */
const OF_THE_BACKEND = mask(
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_RING_F_EVENT_IDX,
  VIRTIO_RING_F_INDIRECT_DESC,
);

/** Offloads that make the header longer, which the backend must know of as well. */
const LONG_HEADER = mask(
  VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO,
  VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM,
  VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO,
  VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM,
);

/** A feature, and those of which one must be there with it. */
const NEEDS: readonly (readonly [number, ...number[]])[] = [
  ...OFFLOAD_NEEDS,
  [VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_VQ],
  [VIRTIO_NET_F_CTRL_RX_EXTRA, VIRTIO_NET_F_CTRL_VQ],
  [VIRTIO_NET_F_CTRL_VLAN, VIRTIO_NET_F_CTRL_VQ],
  [VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_NET_F_CTRL_VQ],
  [VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_NET_F_STATUS],
  [VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ],
  [VIRTIO_NET_F_CTRL_MAC_ADDR, VIRTIO_NET_F_CTRL_VQ],
  [VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, VIRTIO_NET_F_CTRL_VQ],
];

export interface OfferFrom {
  /** What the backend offers. */
  backend: bigint;
  /** The `TUN_F_*` that the TAP takes; without a TAP, every offload is the backend's to offer. */
  tun?: number | undefined;
  /** What the user allows. Default: everything. */
  allowed?: bigint | undefined;
  queuePairs: number;
  hasMtu: boolean;
}

/** The features that a card offers: of its own, of the backend, of the TAP, and allowed. Coherent. */
export function offerFeatures({ backend, tun, allowed, queuePairs, hasMtu }: OfferFrom): bigint {
  const offloads = tun === undefined ? backend & OFFLOAD_FEATURES : offloadFeatures(tun);
  let offer = OWN | (OF_THE_BACKEND & backend) | (offloads & (backend | ~LONG_HEADER));
  // Rings that stop and start one by one are the card's own work; older kernels do not name the feature.
  offer |= bit(VIRTIO_F_RING_RESET);
  if (tun !== undefined) offer |= bit(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
  if (queuePairs > 1) offer |= bit(VIRTIO_NET_F_MQ);
  if (hasMtu) offer |= bit(VIRTIO_NET_F_MTU);
  return coherent(offer & (allowed ?? ~0n));
}

/** Less what lacks what it needs. */
function coherent(features: bigint): bigint {
  return NEEDS.reduce((kept, need) => (isMet(need, kept) ? kept : kept & ~bit(need[0])), features);
}

function isMet([feature, ...needs]: readonly [number, ...number[]], features: bigint): boolean {
  return !hasBit(features, feature) || needs.some((need) => hasBit(features, need));
}

/** What is wrong with the features that a driver took, or undefined. */
export function objectionTo(features: bigint, offered: bigint): string | undefined {
  const more = features & ~offered;
  if (more !== 0n) return `${featureNames(more).join(', ')} was not offered`;
  if (!hasBit(features, VIRTIO_F_VERSION_1)) return 'VIRTIO_F_VERSION_1 is missing';
  const unmet = NEEDS.find((need) => !isMet(need, features));
  if (!unmet) return undefined;
  const [feature, ...needs] = unmet;
  const names = needs.map((need) => featureNames(bit(need)).join());
  return `${featureNames(bit(feature)).join()} without ${names.join(' or ')}`;
}
