// The frames that every program sends: UDP over IPv4, or a TCP super-frame, each of a flow of its
// own, to a station that is not there. The host drops them as soon as it has seen whose they are.
#pragma once

#include <linux/virtio_net.h>
#include <stdint.h>
#include <string.h>

enum { SEGMENT = 1460, TCP_HEADERS = 54, SUPER_FRAME = 1515 };

// Fills `frame` with `length` bytes of flow `flow`, and the header that belongs to it.
static inline void make_frame(uint8_t* frame, uint32_t length, uint16_t flow,
                              struct virtio_net_hdr_mrg_rxbuf* header) {
  int super = length >= SUPER_FRAME;
  static const uint8_t start[] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45};
  memset(frame, 0, length);
  memcpy(frame, start, sizeof start);
  uint16_t ip = length - 14;
  uint8_t rest[] = {ip >> 8, ip, 0, 0,  0x40, 0, 64, super ? 6 : 17, 0, 0, 10,
                    99,      0,  2, 10, 99,   0, 1};
  memcpy(frame + 16, rest, sizeof rest);
  uint32_t sum = 0;
  for (int i = 14; i < 34; i += 2) sum += frame[i] << 8 | frame[i + 1];
  sum = (sum & 0xffff) + (sum >> 16);
  sum = ~((sum & 0xffff) + (sum >> 16));
  frame[24] = sum >> 8;
  frame[25] = sum;
  uint16_t port = 1024 + flow;
  frame[34] = port >> 8;
  frame[35] = port;
  frame[37] = 9;
  memset(header, 0, sizeof *header);
  if (!super) {
    frame[38] = (ip - 20) >> 8;
    frame[39] = ip - 20;
    return;
  }
  frame[46] = 0x50;  // five words of TCP header
  frame[47] = 0x10;  // ACK
  header->hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
  header->hdr.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
  header->hdr.hdr_len = TCP_HEADERS;
  header->hdr.gso_size = SEGMENT;
  header->hdr.csum_start = 34;
  header->hdr.csum_offset = 16;
}
