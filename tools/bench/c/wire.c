// The host's side of a TAP: fills the interface's queue with frames, and measures round trips.
//
//   wire fill TAP LENGTH COUNT    sends COUNT frames of LENGTH bytes to the interface
//   wire ping TAP COUNT           sends a frame and waits for the answer, COUNT times; prints ns
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "frames.h"

enum { BATCH = 64, FLOWS = 256, PING_LENGTH = 64 };

static _Noreturn void fail(const char* what) {
  perror(what);
  exit(1);
}

static void set(int fd, int option, int value) {
  if (setsockopt(fd, SOL_PACKET, option, &value, sizeof value) < 0) fail("setsockopt");
}

static int open_wire(const char* tap, int protocol) {
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  set(fd, PACKET_VNET_HDR, 1);
  set(fd, PACKET_QDISC_BYPASS, 1);
  set(fd, PACKET_IGNORE_OUTGOING, 1);
  struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                .sll_protocol = htons(protocol),
                                .sll_ifindex = (int)if_nametoindex(tap)};
  if (bind(fd, (struct sockaddr*)&address, sizeof address) < 0) fail("bind");
  return fd;
}

static void fill(const char* tap, unsigned length, unsigned count) {
  int fd = open_wire(tap, 0);
  struct virtio_net_hdr_mrg_rxbuf header;
  uint8_t* frame = malloc((size_t)BATCH * length);
  struct iovec parts[BATCH][2];
  struct mmsghdr messages[BATCH] = {0};
  for (unsigned i = 0; i < BATCH; i++) {
    make_frame(frame + (size_t)i * length, length, i, &header);
    parts[i][0] = (struct iovec){&header, sizeof header.hdr};
    parts[i][1] = (struct iovec){frame + (size_t)i * length, length};
    messages[i].msg_hdr.msg_iov = parts[i];
    messages[i].msg_hdr.msg_iovlen = 2;
  }
  for (unsigned sent = 0; sent < count;) {
    unsigned most = count - sent < BATCH ? count - sent : BATCH;
    int some = sendmmsg(fd, messages, most, 0);
    if (some < 0) fail("sendmmsg");
    sent += some;
  }
  printf("{\"frames\":%u}\n", count);
}

static int compare(const void* a, const void* b) {
  double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

static void ping(const char* tap, unsigned count) {
  int fd = open_wire(tap, ETH_P_IP);
  uint8_t message[10 + PING_LENGTH] = {0}, answer[sizeof message];
  struct virtio_net_hdr_mrg_rxbuf header;
  make_frame(message + 10, PING_LENGTH, 0, &header);
  double* times = calloc(count, sizeof *times);
  for (unsigned i = 0; i < count; i++) {
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    if (send(fd, message, sizeof message, 0) < 0) fail("send");
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    if (poll(&readable, 1, 10000) < 1) fail("no answer");
    if (recv(fd, answer, sizeof answer, 0) != sizeof answer) fail("recv");
    clock_gettime(CLOCK_MONOTONIC, &after);
    times[i] = (after.tv_sec - before.tv_sec) * 1e9 + (after.tv_nsec - before.tv_nsec);
  }
  qsort(times, count, sizeof *times, compare);
  printf("{\"median\":%.0f,\"p99\":%.0f}\n", times[count / 2], times[count * 99 / 100]);
}

int main(int argc, char** argv) {
  if (argc == 5 && strcmp(argv[1], "fill") == 0) {
    fill(argv[2], strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10));
  } else if (argc == 4 && strcmp(argv[1], "ping") == 0) {
    ping(argv[2], strtoul(argv[3], NULL, 10));
  } else {
    fputs("usage: wire fill TAP LENGTH COUNT | wire ping TAP COUNT\n", stderr);
    return 2;
  }
  return 0;
}
