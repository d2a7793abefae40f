/** What a kernel takes of `TUNSETOFFLOAD`, which refuses the whole set for one bit that it lacks. */
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

/** In an order in which none is refused for want of another. */
const STEPS: readonly number[] = [
  TUN_F_CSUM,
  TUN_F_TSO4,
  TUN_F_TSO6,
  TUN_F_TSO_ECN,
  TUN_F_UFO,
  TUN_F_USO4 | TUN_F_USO6,
  TUN_F_UDP_TUNNEL_GSO,
  TUN_F_UDP_TUNNEL_GSO_CSUM,
];

/** The most `TUN_F_*` bits that `takes` takes together. */
export function mostOffload(takes: (flags: number) => boolean): number {
  return STEPS.reduce((most, step) => (takes(most | step) ? most | step : most), 0);
}
