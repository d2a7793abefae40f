/** Offloads by the names that people use, with the TAP's bits behind each. */
import { typeError, valueError } from '../errors.js';
import {
  TUN_F_CSUM,
  TUN_F_TSO_ECN,
  TUN_F_TSO4,
  TUN_F_TSO6,
  TUN_F_UDP_TUNNEL_GSO,
  TUN_F_UDP_TUNNEL_GSO_CSUM,
  TUN_F_USO4,
  TUN_F_USO6,
} from '../uapi/tun.js';
import { coherentOffloads } from './offload-features.js';

/**
 * The offloads that a port can have: partial checksums; super-frames of TCP over IPv4 and IPv6, and such
 * with ECN's flags; super-frames of UDP; both in a UDP tunnel (VXLAN, Geneve), and such with a checksum
 * in the tunnel's header. UDP fragmentation has no name: kernels since 4.14 do not ask for it.
 */
export const OFFLOADS = {
  csum: TUN_F_CSUM,
  tso4: TUN_F_TSO4,
  tso6: TUN_F_TSO6,
  ecn: TUN_F_TSO_ECN,
  uso: TUN_F_USO4 | TUN_F_USO6,
  tunnel: TUN_F_UDP_TUNNEL_GSO,
  'tunnel-csum': TUN_F_UDP_TUNNEL_GSO_CSUM,
} as const;

/** See {@link OFFLOADS}. */
export type OffloadName = keyof typeof OFFLOADS;

/** All that {@link Segmenter} can do for who does not take it. */
const USUAL = OFFLOADS.csum | OFFLOADS.tso4 | OFFLOADS.tso6 | OFFLOADS.ecn | OFFLOADS.uso;

/** What to ask a TAP for, as `TUN_F_*`, and what of it must be had. */
export interface OffloadWish {
  wanted: number;
  required: number;
}

/** The names of what is wholly in a `TUN_F_*` mask. */
export function offloadNames(tun: number): OffloadName[] {
  const names = Object.keys(OFFLOADS) as OffloadName[];
  return names.filter((name) => (tun & OFFLOADS[name]) === OFFLOADS[name]);
}

/**
 * The wish that an option means: true asks for all but tunnels, as far as they are to be had; a list for
 * just these, and checksums, which all stand on. Throws a `TypeError` that names the option.
 */
export function offloadWish(option: boolean | readonly OffloadName[] | undefined): OffloadWish {
  if (option === undefined || option === false) return { wanted: 0, required: 0 };
  if (option === true) return { wanted: USUAL, required: 0 };
  if (!Array.isArray(option)) {
    throw typeError("offload must be true, or an array as ['csum', 'tso4']");
  }
  const list: readonly OffloadName[] = option;
  const unknown = list.find((name) => !Object.hasOwn(OFFLOADS, name));
  if (unknown !== undefined) {
    const known = Object.keys(OFFLOADS).join(', ');
    throw valueError(`offload has ${JSON.stringify(unknown)}, which is none of ${known}`);
  }
  if (list.length === 0) return { wanted: 0, required: 0 };
  const wanted = list.reduce<number>((sum, name) => sum | OFFLOADS[name], OFFLOADS.csum);
  const alone = offloadNames(wanted & ~coherentOffloads(wanted));
  if (alone.length > 0) {
    throw valueError(
      `offload has ${alone.join(', ')} without what that stands on: ecn needs tso4 or tso6, a tunnel something to put into it, tunnel-csum a tunnel`,
    );
  }
  return { wanted, required: wanted };
}
