// The ring alone, without a kernel: a device that polls, and the C driver that is measured with it.
//
//   ring device send|receive      serves the ring at the start of the memory file at descriptor 3
//   ring send LENGTH BATCH        a driver with a device of its own, which obeys lines on its
//   standard ring receive LENGTH BATCH     input: a number of frames, answered by a line of JSON
#include "ring.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 256, SLOT = 1600, HEADER = 12, SLOTS_AT = 16384, MEMORY = SLOTS_AT + SIZE * SLOT };
enum { DEVICE_BATCH = 64 };

static volatile uint8_t touched;

static _Noreturn void fail(const char* what) {
  perror(what);
  exit(1);
}

// Serves chains as they come, and shows what is done after at most 64, as vhost does. It reads the
// first byte of what it is sent; what it gives is a frame of as many bytes as `length` says.
static _Noreturn void device(uint8_t* memory, bool gives, uint32_t length) {
  struct ring ring;
  ring.size = SIZE;
  ring.desc = (struct vring_desc*)memory;
  ring.avail = (struct vring_avail*)(memory + 16 * SIZE);
  ring.used = (struct vring_used*)(memory + ring_align(18 * SIZE + 6));
  uint16_t next = 0;
  for (;;) {
    uint16_t avail = __atomic_load_n(&ring.avail->idx, __ATOMIC_ACQUIRE);
    if (avail == next) continue;
    uint16_t count = avail - next;
    if (count > DEVICE_BATCH) count = DEVICE_BATCH;
    for (uint16_t i = 0; i < count; i++, next++) {
      uint16_t head = ring.avail->ring[next & (SIZE - 1)];
      uint8_t* bytes = memory + ring.desc[head].addr;
      if (gives) {
        memset(bytes, 0, HEADER);
        bytes[10] = 1;
        bytes[HEADER] = next;
      } else {
        touched = bytes[HEADER];
      }
      ring.used->ring[next & (SIZE - 1)] =
          (struct vring_used_elem){head, gives ? HEADER + length : 0};
    }
    // An event in the past: it polls, and wants no kick.
    __atomic_store_n(ring_avail_event(&ring), next - SIZE, __ATOMIC_RELAXED);
    __atomic_store_n(&ring.used->idx, next, __ATOMIC_RELEASE);
  }
}

static uint8_t* map(int fd, size_t size) {
  uint8_t* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) fail("mmap");
  return memory;
}

// Waits until the device has sent half of what it has, as a sender that is called would.
static void make_room(struct ring* ring) {
  ring_publish(ring);
  while (ring->free < SIZE / 2) ring_pop(ring);
}

static void send_frames(struct ring* ring, uint8_t* memory, const uint8_t* frame, uint32_t length,
                        unsigned batch, uint64_t count) {
  static uint64_t at;
  for (uint64_t sent = 0; sent < count; sent += batch) {
    for (unsigned i = 0; i < batch; i++, at++) {
      if (ring->free == 0) make_room(ring);
      uint8_t* slot = memory + SLOTS_AT + at % SIZE * SLOT;
      memset(slot, 0, HEADER);
      memcpy(slot + HEADER, frame, length);
      ring_add(ring, slot - memory, HEADER + length, 0);
    }
    ring_publish(ring);
  }
}

static void receive_frames(struct ring* ring, uint8_t* memory, unsigned batch, uint64_t count) {
  uint16_t held[SIZE];
  for (uint64_t received = 0; received < count;) {
    unsigned some = 0;
    for (int head; some < batch && (head = ring_pop(ring)) >= 0;) {
      uint64_t address = ring->desc[head].addr;
      held[some++] = (address - SLOTS_AT) / SLOT;
      touched = memory[address + HEADER];
    }
    for (unsigned i = 0; i < some; i++) {
      ring_add(ring, SLOTS_AT + (uint64_t)held[i] * SLOT, SLOT, VRING_DESC_F_WRITE);
    }
    ring_publish(ring);
    received += some;
  }
}

static void drive(bool receives, uint32_t length, unsigned batch) {
  int fd = memfd_create("ring", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, MEMORY) < 0) fail("memfd");
  uint8_t* memory = map(fd, MEMORY);
  struct ring ring;
  ring_place(&ring, memory, SIZE);
  pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    device(memory, receives, length);
  }
  for (unsigned i = 0; receives && i < SIZE; i++) {
    ring_add(&ring, SLOTS_AT + (uint64_t)i * SLOT, SLOT, VRING_DESC_F_WRITE);
  }
  ring_publish(&ring);
  uint8_t* frame = malloc(length);
  memset(frame, 1, length);
  uint64_t count;
  while (scanf("%lu", &count) == 1) {
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    if (receives) {
      receive_frames(&ring, memory, batch, count);
    } else {
      send_frames(&ring, memory, frame, length, batch, count);
    }
    clock_gettime(CLOCK_MONOTONIC, &after);
    printf("{\"frames\":%lu,\"ns\":%.0f,\"cpu\":0}\n", count,
           (after.tv_sec - before.tv_sec) * 1e9 + (after.tv_nsec - before.tv_nsec));
    fflush(stdout);
  }
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
}

int main(int argc, char** argv) {
  if (argc < 4) {
    fputs("usage: ring device send|receive LENGTH | ring send|receive LENGTH BATCH\n", stderr);
    return 2;
  }
  if (strcmp(argv[1], "device") == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    device(map(3, MEMORY), strcmp(argv[2], "receive") == 0, strtoul(argv[3], NULL, 10));
  }
  drive(strcmp(argv[1], "receive") == 0, strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
  return 0;
}
