#include "virtio_layout.h"

#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

// In headers since 6.17.
struct own_virtio_net_hdr_v1_hash_tunnel {
  struct virtio_net_hdr_v1_hash hash_hdr;
  __le16 outer_th_offset;
  __le16 inner_nh_offset;
};

#define SIZE(type)                   \
  {                                  \
#type, NULL, sizeof(struct type) \
  }
#define AT(type, member)                          \
  {                                               \
#type, #member, offsetof(struct type, member) \
  }

const struct virtio_layout virtio_layouts[] = {
    SIZE(vring_desc),
    AT(vring_desc, addr),
    AT(vring_desc, len),
    AT(vring_desc, flags),
    AT(vring_desc, next),
    SIZE(vring_avail),
    AT(vring_avail, flags),
    AT(vring_avail, idx),
    AT(vring_avail, ring),
    SIZE(vring_used_elem),
    AT(vring_used_elem, id),
    AT(vring_used_elem, len),
    SIZE(vring_used),
    AT(vring_used, flags),
    AT(vring_used, idx),
    AT(vring_used, ring),
    SIZE(virtio_net_hdr),
    AT(virtio_net_hdr, flags),
    AT(virtio_net_hdr, gso_type),
    AT(virtio_net_hdr, hdr_len),
    AT(virtio_net_hdr, gso_size),
    AT(virtio_net_hdr, csum_start),
    AT(virtio_net_hdr, csum_offset),
    SIZE(virtio_net_hdr_mrg_rxbuf),
    AT(virtio_net_hdr_mrg_rxbuf, num_buffers),
    SIZE(virtio_net_hdr_v1),
    AT(virtio_net_hdr_v1, num_buffers),
    SIZE(virtio_net_hdr_v1_hash),
    AT(virtio_net_hdr_v1_hash, hash_value),
    AT(virtio_net_hdr_v1_hash, hash_report),
    AT(virtio_net_hdr_v1_hash, padding),
    {"virtio_net_hdr_v1_hash_tunnel", NULL, sizeof(struct own_virtio_net_hdr_v1_hash_tunnel)},
    {"virtio_net_hdr_v1_hash_tunnel", "outer_th_offset",
     offsetof(struct own_virtio_net_hdr_v1_hash_tunnel, outer_th_offset)},
    {"virtio_net_hdr_v1_hash_tunnel", "inner_nh_offset",
     offsetof(struct own_virtio_net_hdr_v1_hash_tunnel, inner_nh_offset)},
    {NULL, NULL, 0},
};
