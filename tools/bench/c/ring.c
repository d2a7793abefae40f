// The ring alone, without a kernel: a device that polls, and the C driver that is measured with it.
//
//   ring device send|receive|echo LENGTH
//                                 serves the ring at the start of the memory file at descriptor 3;
//                                 echo sleeps on the kick at descriptor 4, calls by that at 5
//   ring send|receive|echo LENGTH BATCH
//                                 a driver with a device of its own, which obeys lines on its
//                                 standard input: a number of frames, answered by a line of JSON
#include "ring.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
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

static void place_device(struct ring* ring, uint8_t* memory) {
  ring->size = SIZE;
  ring->desc = (struct vring_desc*)memory;
  ring->avail = (struct vring_avail*)(memory + 16 * SIZE);
  ring->used = (struct vring_used*)(memory + ring_align(18 * SIZE + 6));
}

static void signal_event(int fd) {
  uint64_t one = 1;
  if (write(fd, &one, 8) != 8) fail("write(eventfd)");
}

static void wait_event(int fd) {
  struct pollfd event = {.fd = fd, .events = POLLIN};
  uint64_t count;
  if (poll(&event, 1, 10000) < 1 || read(fd, &count, 8) != 8) fail("no event");
}

// Gives back one chain after another, asleep in between; both ends notify as the other asked.
static _Noreturn void echo_device(uint8_t* memory, int kick, int call) {
  struct ring ring;
  place_device(&ring, memory);
  for (uint16_t next = 0;;) {
    __atomic_store_n(ring_avail_event(&ring), next, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&ring.avail->idx, __ATOMIC_SEQ_CST) == next) {
      struct pollfd event = {.fd = kick, .events = POLLIN};
      uint64_t count;
      // Killed by its driver, whatever it waits for.
      if (poll(&event, 1, -1) < 1 || read(kick, &count, 8) != 8) fail("kick");
      continue;
    }
    uint16_t head = ring.avail->ring[next & (SIZE - 1)];
    touched = memory[ring.desc[head].addr + HEADER];
    ring.used->ring[next++ & (SIZE - 1)] = (struct vring_used_elem){head, 0};
    __atomic_store_n(&ring.used->idx, next, __ATOMIC_SEQ_CST);
    uint16_t wanted = __atomic_load_n(ring_used_event(&ring), __ATOMIC_SEQ_CST);
    if (wanted == (uint16_t)(next - 1)) signal_event(call);
  }
}

// Serves chains as they come, and shows what is done after at most 64, as vhost does. It reads the
// first byte of what it is sent; what it gives is a frame of as many bytes as `length` says.
static _Noreturn void device(uint8_t* memory, bool gives, uint32_t length) {
  struct ring ring;
  place_device(&ring, memory);
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

static void exchange(struct ring* ring, uint8_t* memory, const uint8_t* frame, uint32_t length,
                     uint64_t count) {
  for (uint64_t done = 0; done < count; done++) {
    uint8_t* slot = memory + SLOTS_AT;
    memset(slot, 0, HEADER);
    memcpy(slot + HEADER, frame, length);
    ring_add(ring, slot - memory, HEADER + length, 0);
    if (ring_publish(ring)) signal_event(ring->kick);
    while (ring_pop(ring) < 0) {
      if (!ring_enable_calls(ring, 0)) wait_event(ring->call);
    }
  }
}

static void drive(const char* what, uint32_t length, unsigned batch) {
  bool receives = strcmp(what, "receive") == 0, echoes = strcmp(what, "echo") == 0;
  int fd = memfd_create("ring", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, MEMORY) < 0) fail("memfd");
  uint8_t* memory = map(fd, MEMORY);
  struct ring ring;
  ring_place(&ring, memory, SIZE);
  ring.kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  ring.call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (ring.kick < 0 || ring.call < 0) fail("eventfd");
  pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (echoes) echo_device(memory, ring.kick, ring.call);
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
    if (echoes) {
      exchange(&ring, memory, frame, length, count);
    } else if (receives) {
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
    fputs("usage: ring [device] send|receive|echo LENGTH [BATCH]\n", stderr);
    return 2;
  }
  if (strcmp(argv[1], "device") == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (strcmp(argv[2], "echo") == 0) echo_device(map(3, MEMORY), 4, 5);
    device(map(3, MEMORY), strcmp(argv[2], "receive") == 0, strtoul(argv[3], NULL, 10));
  }
  drive(argv[1], strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
  return 0;
}
