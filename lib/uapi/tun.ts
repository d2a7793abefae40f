/** Names and bits of `linux/if_tun.h`, `linux/if.h` and `linux/if_ether.h`. */

export const IFF_TUN = 0x0001;
export const IFF_TAP = 0x0002;
export const IFF_NAPI = 0x0010;
export const IFF_NAPI_FRAGS = 0x0020;
export const IFF_NO_CARRIER = 0x0040;
/** Stop the queue rather than drop when it is full (Linux 7.x). */
export const IFF_BACKPRESSURE = 0x0080;
export const IFF_MULTI_QUEUE = 0x0100;
export const IFF_ATTACH_QUEUE = 0x0200;
export const IFF_DETACH_QUEUE = 0x0400;
export const IFF_PERSIST = 0x0800;
export const IFF_NO_PI = 0x1000;
export const IFF_ONE_QUEUE = 0x2000;
export const IFF_VNET_HDR = 0x4000;
/** `IFF_TUN_EXCL`: fail rather than join an interface that exists. */
export const IFF_TUN_EXCL = 0x8000;

/** The bits of `TUNGETFEATURES`, by name. */
export const TUN_FEATURES: Readonly<Record<string, number>> = {
  IFF_TUN,
  IFF_TAP,
  IFF_NAPI,
  IFF_NAPI_FRAGS,
  IFF_NO_CARRIER,
  IFF_BACKPRESSURE,
  IFF_MULTI_QUEUE,
  IFF_NO_PI,
  IFF_ONE_QUEUE,
  IFF_VNET_HDR,
};

/** `TUNSETTXFILTER`: every multicast frame reaches the reader too. */
export const TUN_FLT_ALLMULTI = 0x0001;

/** Offloads of `TUNSETOFFLOAD`: what the reader of the interface accepts. */
export const TUN_F_CSUM = 0x001;
export const TUN_F_TSO4 = 0x002;
export const TUN_F_TSO6 = 0x004;
export const TUN_F_TSO_ECN = 0x008;
export const TUN_F_UFO = 0x010;
export const TUN_F_USO4 = 0x020;
export const TUN_F_USO6 = 0x040;
export const TUN_F_UDP_TUNNEL_GSO = 0x080;
export const TUN_F_UDP_TUNNEL_GSO_CSUM = 0x100;

/** Flags of an interface. */
export const IFF_UP = 0x1;
export const IFF_RUNNING = 0x40;

/** Longest name of an interface, in bytes, without the final zero. */
export const IFNAMSIZ = 16;
export const ETH_ALEN = 6;
export const ETH_HLEN = 14;
export const ETH_P_ALL = 0x0003;
