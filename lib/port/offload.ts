/** What a port's TAP is to hand over and take as it is: negotiating and setting it. */
import { StateError } from '../errors.js';
import type { Tap } from '../host/tap.js';
import { logPort } from '../log.js';
import { coherentOffloads, mutualOffloads, offloadFeatures } from '../net/offload-features.js';
import {
  OFFLOADS,
  type OffloadName,
  type OffloadWish,
  offloadNames,
} from '../net/offload-names.js';
import {
  bit,
  VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO,
  VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO,
  VIRTIO_NET_HDR_GSO_ECN,
  VIRTIO_NET_HDR_GSO_TCPV6,
  VIRTIO_NET_HDR_GSO_UDP_L4,
  VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4,
  VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV6,
} from '../uapi/virtio-net.js';

/**
 * The virtio features without which a wish cannot be had: tunnels make the header longer, so that vhost
 * has to know of them; of all other offloads it knows nothing.
 */
export function offloadNeeds(wish: OffloadWish): bigint {
  if ((wish.wanted & OFFLOADS.tunnel) === 0) return 0n;
  return bit(VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO) | bit(VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO);
}

/**
 * Sets the offloads of a TAP that are wanted and to be had (also none: a TAP that persists may have
 * another from its last use), and returns them as `TUN_F_*`. Throws `ERR_FEATURES_NOT_OFFERED` where a
 * required one is not.
 */
export function obtainOffload(tap: Tap, { wanted, required }: OffloadWish): number {
  if (tap.trySetOffload(wanted)) return wanted;
  const had = coherentOffloads(wanted & tap.probeOffload());
  const missing = offloadNames(required & ~had);
  if (missing.length > 0) {
    throw new StateError(
      'ERR_FEATURES_NOT_OFFERED',
      `this kernel's TAP has no offload ${missing.join(', ')}`,
      'leave it out, or ask with `offload: true` for what there is: see `vhost-net doctor`',
    );
  }
  logPort('no offload %s', offloadNames(wanted & ~had).join(', '));
  tap.setOffload(had);
  return had;
}

/**
 * The offloads that are wanted and that a peer has in both directions, as `TUN_F_*`, and the virtio features that
 * they are negotiated by. Throws `ERR_FEATURES_NOT_OFFERED` where a required one is not to be had.
 */
export function obtainPeerOffload(
  features: bigint,
  { wanted, required }: OffloadWish,
): { offload: number; needs: bigint } {
  const offload = coherentOffloads(wanted & mutualOffloads(features));
  const missing = offloadNames(required & ~offload);
  if (missing.length > 0) {
    throw new StateError(
      'ERR_FEATURES_NOT_OFFERED',
      `the back end has no offload ${missing.join(', ')}`,
      'leave it out, or ask with `offload: true` for what there is',
    );
  }
  return { offload, needs: offloadFeatures(offload) };
}

const TUNNEL_TYPES = VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4 | VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV6;

/**
 * Throws `ERR_FEATURES_NOT_OFFERED` for a frame of a GSO type that not every kernel takes, where the port
 * has it not: the kernel would drop it without a word. Checksums and TCP every kernel takes.
 */
export function checkGsoType(gsoType: number, offloads: readonly OffloadName[]): void {
  if (gsoType <= VIRTIO_NET_HDR_GSO_TCPV6) return;
  const inner = gsoType & ~(VIRTIO_NET_HDR_GSO_ECN | TUNNEL_TYPES);
  if ((gsoType & TUNNEL_TYPES) !== 0) checkHas('tunnel', offloads);
  if (inner === VIRTIO_NET_HDR_GSO_UDP_L4) checkHas('uso', offloads);
}

function checkHas(name: OffloadName, offloads: readonly OffloadName[]): void {
  if (offloads.includes(name)) return;
  throw new StateError(
    'ERR_FEATURES_NOT_OFFERED',
    `a frame that needs the offload ${name} cannot be sent: the port has it not`,
    `open the port with it, or send what Segmenter makes of the frame`,
  );
}
