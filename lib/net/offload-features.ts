/**
 * The virtio features that are about offloads (virtio 1.3 §5.1.3.1), and the TAP's words for the half
 * of them that says what the reader takes: `TUN_F_*` of `TUNSETOFFLOAD`.
 */
import {
  TUN_F_CSUM,
  TUN_F_TSO_ECN,
  TUN_F_TSO4,
  TUN_F_TSO6,
  TUN_F_UDP_TUNNEL_GSO,
  TUN_F_UDP_TUNNEL_GSO_CSUM,
  TUN_F_UFO,
  TUN_F_USO4,
  TUN_F_USO6,
} from '../uapi/tun.js';
import {
  bit,
  hasBit,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_GUEST_ECN,
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_GUEST_TSO6,
  VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO,
  VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM,
  VIRTIO_NET_F_GUEST_UFO,
  VIRTIO_NET_F_GUEST_USO4,
  VIRTIO_NET_F_GUEST_USO6,
  VIRTIO_NET_F_HOST_ECN,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_HOST_TSO6,
  VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO,
  VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM,
  VIRTIO_NET_F_HOST_UFO,
  VIRTIO_NET_F_HOST_USO,
} from '../uapi/virtio-net.js';

interface OffloadRow {
  /** The TAP's bit. */
  tun: number;
  /** The guest takes it. */
  guest: number;
  /** The host takes it of the guest. */
  host: number;
  /** Without any of these in the same direction, it means nothing; the kernel refuses it then. */
  needs: number;
}

const TSO = TUN_F_TSO4 | TUN_F_TSO6;
const USO = TUN_F_USO4 | TUN_F_USO6;

/** One row for each offload, behind those that it needs. */
const OFFLOADS: readonly OffloadRow[] = [
  row(TUN_F_CSUM, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_CSUM, 0),
  row(TUN_F_TSO4, VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_HOST_TSO4, TUN_F_CSUM),
  row(TUN_F_TSO6, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_HOST_TSO6, TUN_F_CSUM),
  row(TUN_F_TSO_ECN, VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_HOST_ECN, TSO),
  row(TUN_F_UFO, VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_HOST_UFO, TUN_F_CSUM),
  row(TUN_F_USO4, VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_HOST_USO, TUN_F_CSUM),
  row(TUN_F_USO6, VIRTIO_NET_F_GUEST_USO6, VIRTIO_NET_F_HOST_USO, TUN_F_CSUM),
  row(
    TUN_F_UDP_TUNNEL_GSO,
    VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO,
    VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO,
    TSO | USO,
  ),
  row(
    TUN_F_UDP_TUNNEL_GSO_CSUM,
    VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM,
    VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM,
    TUN_F_UDP_TUNNEL_GSO,
  ),
];

/** Every feature that is about offloads, both directions. */
export const OFFLOAD_FEATURES: bigint = OFFLOADS.reduce(
  (sum, { guest, host }) => sum | bit(guest) | bit(host),
  0n,
);

/** For each feature that means nothing alone: those of its direction of which one must be there too. */
export const OFFLOAD_NEEDS: readonly (readonly [number, ...number[]])[] = OFFLOADS.flatMap(
  ({ guest, host, needs }): [number, ...number[]][] => {
    const rows = OFFLOADS.filter(({ tun }) => (needs & tun) !== 0);
    if (rows.length === 0) return [];
    return [
      [guest, ...rows.map((row) => row.guest)],
      [host, ...rows.map((row) => row.host)],
    ];
  },
);

/** Every `TUN_F_*` bit, of which a kernel knows some. */
export const TUN_OFFLOADS: number = OFFLOADS.reduce((sum, { tun }) => sum | tun, 0);

/**
 * Less what the kernel would refuse the whole set for (`set_offload` of drivers/net/tun.c): what lacks
 * the offload that it stands on, and USO for one version of IP alone.
 */
export function coherentOffloads(tun: number): number {
  const whole = (tun & USO) === USO ? tun : tun & ~USO;
  return OFFLOADS.reduce((kept, { tun: own, needs }) => {
    const stands = (whole & own) !== 0 && (needs === 0 || (kept & needs) !== 0);
    return stands ? kept | own : kept;
  }, 0);
}

/**
 * The `TUN_F_*` mask for the features that a guest, or whoever stands for one, acknowledged: what the
 * host may hand to it. Always a set that `TUNSETOFFLOAD` takes, where the kernel knows all of it.
 */
export function tunOffloads(features: bigint): number {
  return offloadsOf(features, 'guest');
}

/** As {@link tunOffloads}, of the other direction: what the host takes of the guest. */
export function hostOffloads(features: bigint): number {
  return offloadsOf(features, 'host');
}

/**
 * The features of both directions to offer to a guest on a TAP that takes these `TUN_F_*`
 * ({@link Tap.probeOffload}). A kernel that segments for the reader also takes such frames of it.
 */
export function offloadFeatures(tun: number): bigint {
  const coherent = coherentOffloads(tun);
  return OFFLOADS.filter(({ tun: own }) => (coherent & own) !== 0).reduce(
    (sum, { guest, host }) => sum | bit(guest) | bit(host),
    0n,
  );
}

/** The `TUN_F_*` mask for what these features have in both directions. */
export function mutualOffloads(features: bigint): number {
  const both = OFFLOADS.filter(
    ({ guest, host }) => hasBit(features, guest) && hasBit(features, host),
  );
  return coherentOffloads(both.reduce((sum, { tun }) => sum | tun, 0));
}

function offloadsOf(features: bigint, taker: 'guest' | 'host'): number {
  const taken = OFFLOADS.filter((row) => hasBit(features, row[taker]));
  return coherentOffloads(taken.reduce((sum, { tun }) => sum | tun, 0));
}

function row(tun: number, guest: number, host: number, needs: number): OffloadRow {
  return { tun, guest, host, needs };
}
