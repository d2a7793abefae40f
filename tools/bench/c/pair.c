#include "pair.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static const uint64_t FEATURES =
    1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_NET_F_MRG_RXBUF | 1ULL << VIRTIO_RING_F_EVENT_IDX;

_Noreturn void fail(const char* what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static int checked(int result, const char* what) {
  if (result < 0) fail(what);
  return result;
}

static int open_tap(const char* name, bool multi_queue) {
  int fd = checked(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), "/dev/net/tun");
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
  if (multi_queue) request.ifr_flags |= IFF_MULTI_QUEUE;
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  checked(ioctl(fd, TUNSETIFF, &request), "TUNSETIFF");
  int header = HEADER;
  checked(ioctl(fd, TUNSETVNETHDRSZ, &header), "TUNSETVNETHDRSZ");
  return fd;
}

void interface_up(const char* name) {
  int fd = checked(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
  struct ifreq request = {0};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  checked(ioctl(fd, SIOCGIFFLAGS, &request), "SIOCGIFFLAGS");
  request.ifr_flags |= IFF_UP;
  checked(ioctl(fd, SIOCSIFFLAGS, &request), "SIOCSIFFLAGS");
  close(fd);
}

static void make_memory(struct pair* pair) {
  size_t ring = ring_bytes(QUEUE_SIZE);
  pair->arena_size = (size_t)QUEUE_SIZE * pair->buffer_size;
  pair->memory_size = (2 * ring + 2 * pair->arena_size + 4095) & ~(size_t)4095;
  int fd = checked(memfd_create("pair", MFD_CLOEXEC), "memfd_create");
  checked(ftruncate(fd, pair->memory_size), "ftruncate");
  pair->memory = mmap(NULL, pair->memory_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (pair->memory == MAP_FAILED) fail("mmap");
  close(fd);
  ring_place(&pair->receive, pair->memory, QUEUE_SIZE);
  ring_place(&pair->transmit, pair->memory + ring, QUEUE_SIZE);
  pair->buffers = pair->memory + 2 * ring;
  pair->arena = pair->buffers + pair->arena_size;
  pair->head = pair->tail = 0;
}

static void set_ring(struct pair* pair, struct ring* ring, unsigned index) {
  ring->kick = checked(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), "eventfd");
  ring->call = checked(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), "eventfd");
  struct vhost_vring_state state = {index, ring->size};
  checked(ioctl(pair->vhost, VHOST_SET_VRING_NUM, &state), "VHOST_SET_VRING_NUM");
  state.num = 0;
  checked(ioctl(pair->vhost, VHOST_SET_VRING_BASE, &state), "VHOST_SET_VRING_BASE");
  struct vhost_vring_addr address = {.index = index,
                                     .desc_user_addr = (uintptr_t)ring->desc,
                                     .avail_user_addr = (uintptr_t)ring->avail,
                                     .used_user_addr = (uintptr_t)ring->used};
  checked(ioctl(pair->vhost, VHOST_SET_VRING_ADDR, &address), "VHOST_SET_VRING_ADDR");
  struct vhost_vring_file file = {index, ring->call};
  checked(ioctl(pair->vhost, VHOST_SET_VRING_CALL, &file), "VHOST_SET_VRING_CALL");
  file.fd = ring->kick;
  checked(ioctl(pair->vhost, VHOST_SET_VRING_KICK, &file), "VHOST_SET_VRING_KICK");
}

void pair_open(struct pair* pair, const char* tap, bool multi_queue, uint32_t buffer_size) {
  pair->tap = open_tap(tap, multi_queue);
  pair->buffer_size = buffer_size;
  unsigned long offload = buffer_size > 65535 ? TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 : 0;
  checked(ioctl(pair->tap, TUNSETOFFLOAD, offload), "TUNSETOFFLOAD");
  pair->vhost = checked(open("/dev/vhost-net", O_RDWR | O_CLOEXEC), "/dev/vhost-net");
  make_memory(pair);
  checked(ioctl(pair->vhost, VHOST_SET_OWNER), "VHOST_SET_OWNER");
  uint64_t offered;
  checked(ioctl(pair->vhost, VHOST_GET_FEATURES, &offered), "VHOST_GET_FEATURES");
  uint64_t features = FEATURES & offered;
  checked(ioctl(pair->vhost, VHOST_SET_FEATURES, &features), "VHOST_SET_FEATURES");
  struct {
    struct vhost_memory memory;
    struct vhost_memory_region region;
  } table = {{.nregions = 1},
             {.guest_phys_addr = 0,
              .memory_size = pair->memory_size,
              .userspace_addr = (uintptr_t)pair->memory}};
  checked(ioctl(pair->vhost, VHOST_SET_MEM_TABLE, &table), "VHOST_SET_MEM_TABLE");
  set_ring(pair, &pair->receive, 0);
  set_ring(pair, &pair->transmit, 1);
  for (unsigned i = 0; i < 2; i++) {
    struct vhost_vring_file file = {i, pair->tap};
    checked(ioctl(pair->vhost, VHOST_NET_SET_BACKEND, &file), "VHOST_NET_SET_BACKEND");
  }
  for (uint16_t i = 0; i < QUEUE_SIZE; i++) pair_post(pair, i);
  pair_publish(&pair->receive);
}

void pair_close(struct pair* pair) {
  close(pair->vhost);
  close(pair->tap);
  int fds[] = {pair->receive.kick, pair->receive.call, pair->transmit.kick, pair->transmit.call};
  for (unsigned i = 0; i < 4; i++) close(fds[i]);
  munmap(pair->memory, pair->memory_size);
}

bool pair_add(struct pair* pair, const void* header, const void* frame, uint32_t length) {
  struct ring* ring = &pair->transmit;
  if (ring->free == 0) return false;
  uint64_t bytes = ring_align(HEADER + length);
  if (pair->head == pair->tail) pair->head = pair->tail = 0;
  uint64_t at = pair->head % pair->arena_size;
  // A frame lies in one piece: what does not fit before the end goes to the start.
  uint64_t skipped = at + bytes > pair->arena_size ? pair->arena_size - at : 0;
  if (pair->head + skipped + bytes - pair->tail > pair->arena_size) return false;
  if (skipped) at = 0;
  uint8_t* to = pair->arena + at;
  memcpy(to, header, HEADER);
  memcpy(to + HEADER, frame, length);
  pair->head += skipped + bytes;
  uint16_t head = ring_add(ring, to - pair->memory, HEADER + length, 0);
  pair->ends[head] = pair->head;
  return true;
}

void pair_publish(struct ring* ring) {
  uint64_t one = 1;
  if (ring_publish(ring) && write(ring->kick, &one, 8) != 8) fail("kick");
}

void pair_reclaim(struct pair* pair) {
  for (int head; (head = ring_pop(&pair->transmit)) >= 0;) pair->tail = pair->ends[head];
}

void pair_wait(struct ring* ring) {
  struct pollfd call = {.fd = ring->call, .events = POLLIN};
  uint64_t count;
  if (poll(&call, 1, 10000) < 1) fail("no call");
  if (read(ring->call, &count, 8) != 8) fail("call");
}

void pair_post(struct pair* pair, uint16_t buffer) {
  uint64_t address = pair->buffers - pair->memory + (uint64_t)buffer * pair->buffer_size;
  uint16_t head = ring_add(&pair->receive, address, pair->buffer_size, VRING_DESC_F_WRITE);
  pair->buffer_of[head] = buffer;
}
