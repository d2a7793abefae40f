// linux/if_tun.h as of 7.3: the system's header, and our own definitions of what an older one
// lacks.
#pragma once

#include <linux/if_tun.h>

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
#ifndef TUN_F_UDP_TUNNEL_GSO
#define TUN_F_UDP_TUNNEL_GSO 0x080
#define TUN_F_UDP_TUNNEL_GSO_CSUM 0x100
#endif
#ifndef IFF_NO_CARRIER
#define IFF_NO_CARRIER 0x0040
#endif
#ifndef IFF_BACKPRESSURE
#define IFF_BACKPRESSURE 0x0080
#endif
