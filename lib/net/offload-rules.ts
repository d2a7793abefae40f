/** OffloadRules: what the headers of one direction may ask for, by the features that were negotiated. */
import {
  TUN_F_CSUM,
  TUN_F_TSO_ECN,
  TUN_F_TSO4,
  TUN_F_TSO6,
  TUN_F_UDP_TUNNEL_GSO,
  TUN_F_UDP_TUNNEL_GSO_CSUM,
  TUN_F_UFO,
  TUN_F_USO4,
} from '../uapi/tun.js';
import {
  VIRTIO_NET_HDR_F_DATA_VALID,
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM,
  VIRTIO_NET_HDR_GSO_ECN,
  VIRTIO_NET_HDR_GSO_NONE,
  VIRTIO_NET_HDR_GSO_TCPV4,
  VIRTIO_NET_HDR_GSO_TCPV6,
  VIRTIO_NET_HDR_GSO_UDP,
  VIRTIO_NET_HDR_GSO_UDP_L4,
  VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4,
  VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV6,
} from '../uapi/virtio-net.js';
import type { Offload } from './header.js';
import { hostOffloads, tunOffloads } from './offload-features.js';

/** The flags that ask for work; the others only tell. */
const WORK = VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM;

/** Types of frames to be segmented, with what allows each. */
const TYPES = [
  [TUN_F_TSO4, VIRTIO_NET_HDR_GSO_TCPV4],
  [TUN_F_TSO6, VIRTIO_NET_HDR_GSO_TCPV6],
  [TUN_F_UFO, VIRTIO_NET_HDR_GSO_UDP],
  [TUN_F_USO4, VIRTIO_NET_HDR_GSO_UDP_L4],
] as const;
const TCP: readonly number[] = [VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6];
const TUNNELS = [VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4, VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV6];

export class OffloadRules {
  /** As `TUN_F_*`, a set that `TUNSETOFFLOAD` takes. */
  readonly offloads: number;
  /** The flags that may be set. */
  readonly flags: number;
  /** 1 for each type that is allowed: one look for a header, whatever bits a type is made of. */
  readonly #types = new Uint8Array(256);

  private constructor(offloads: number, told: number) {
    this.offloads = offloads;
    this.flags =
      (offloads & TUN_F_CSUM ? VIRTIO_NET_HDR_F_NEEDS_CSUM | told : 0) |
      (offloads & TUN_F_UDP_TUNNEL_GSO_CSUM ? VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM : 0);
    for (const type of typesOf(offloads)) this.#types[type] = 1;
  }

  /** For what a guest with these features sends. */
  static ofSent(features: bigint): OffloadRules {
    return new OffloadRules(hostOffloads(features), 0);
  }

  /** For what it is given, which may also tell that a checksum was found right. */
  static ofGiven(features: bigint): OffloadRules {
    return new OffloadRules(tunOffloads(features), VIRTIO_NET_HDR_F_DATA_VALID);
  }

  /** Whether all the work that a header asks for is taken. */
  allow({ flags, gsoType }: Offload): boolean {
    return (flags & WORK & ~this.flags) === 0 && this.#types[gsoType] === 1;
  }
}

function typesOf(offloads: number): number[] {
  const plain = TYPES.filter(([needed]) => offloads & needed).map(([, type]): number => type);
  const whole = plain.flatMap((type) =>
    offloads & TUN_F_TSO_ECN && TCP.includes(type) ? [type, type | VIRTIO_NET_HDR_GSO_ECN] : [type],
  );
  // Fragments in a tunnel are no type: the kernel refuses them.
  const inner = whole.filter((type) => type !== VIRTIO_NET_HDR_GSO_UDP);
  const tunnels = offloads & TUN_F_UDP_TUNNEL_GSO ? TUNNELS : [];
  const inTunnels = inner.flatMap((type) => tunnels.map((tunnel) => type | tunnel));
  return [VIRTIO_NET_HDR_GSO_NONE, ...whole, ...inTunnels];
}
