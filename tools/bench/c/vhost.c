// The C program beside which the library is measured: the same rings on the same vhost-net.
//
// It obeys lines on its standard input and answers each with a line of JSON:
//   open TAP PAIRS BUFFER     queue pairs on a TAP, receive buffers of so many bytes; several TAPs
//                             may be open
//   send LENGTH BATCH COUNT   from the first TAP
//   receive BATCH COUNT       on the first TAP, what waits there
//   respond COUNT             swaps the addresses of what comes and sends it back
//   first TAP                 opens, sends one frame, closes: the time until the frame was sent
//   close
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "frames.h"
#include "pair.h"

enum { MAX_PAIRS = 512, FLOWS = 256, MAX_MERGED = 65664 };

static struct pair pairs[MAX_PAIRS];
// Those that traffic uses: the pairs of the first TAP.
static unsigned open_pairs, used_pairs;
static uint8_t merged[MAX_MERGED];
static volatile uint8_t touched;

static uint64_t now(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

struct clocks {
  uint64_t wall, cpu;
};

static struct clocks start_clocks(void) {
  return (struct clocks){now(CLOCK_MONOTONIC), now(CLOCK_THREAD_CPUTIME_ID)};
}

static void report(uint64_t frames, struct clocks since) {
  printf("{\"frames\":%lu,\"ns\":%lu,\"cpu\":%lu}\n", frames, now(CLOCK_MONOTONIC) - since.wall,
         now(CLOCK_THREAD_CPUTIME_ID) - since.cpu);
}

static void open_tap_pairs(const char* tap, unsigned count, unsigned buffer_size) {
  if (open_pairs + count > MAX_PAIRS) exit(2);
  if (open_pairs == 0) used_pairs = count;
  for (unsigned i = 0; i < count; i++) {
    pair_open(&pairs[open_pairs++], tap, count > 1, buffer_size);
  }
  interface_up(tap);
}

static void close_all(void) {
  while (open_pairs > 0) pair_close(&pairs[--open_pairs]);
}

// Waits until half of what is in flight has been sent, or all of it.
static void wait_sent(struct pair* pair, bool all) {
  uint16_t in_flight = ring_in_flight(&pair->transmit);
  if (in_flight == 0) return;
  if (!ring_enable_calls(&pair->transmit, all ? in_flight - 1 : in_flight / 2)) {
    pair_wait(&pair->transmit);
  }
  pair_reclaim(pair);
}

static void send_frame(struct pair* pair, const void* header, const void* frame, uint32_t length) {
  if (pair_add(pair, header, frame, length)) return;
  pair_reclaim(pair);
  while (!pair_add(pair, header, frame, length)) {
    pair_publish(&pair->transmit);
    wait_sent(pair, false);
  }
}

static void flush(void) {
  for (unsigned i = 0; i < used_pairs; i++) {
    while (ring_in_flight(&pairs[i].transmit) > 0) wait_sent(&pairs[i], true);
  }
}

static void send_frames(uint32_t length, unsigned batch, uint64_t count) {
  struct virtio_net_hdr_mrg_rxbuf header;
  uint8_t* frames = malloc((size_t)FLOWS * length);
  for (unsigned i = 0; i < FLOWS; i++) make_frame(frames + (size_t)i * length, length, i, &header);
  struct clocks start = start_clocks();
  for (uint64_t sent = 0; sent < count; sent += batch) {
    for (unsigned i = 0; i < batch; i++) {
      unsigned flow = (sent + i) % FLOWS;
      send_frame(&pairs[flow % used_pairs], &header, frames + (size_t)flow * length, length);
    }
    for (unsigned i = 0; i < used_pairs; i++) pair_publish(&pairs[i].transmit);
  }
  flush();
  report(count, start);
  free(frames);
}

// Takes the next frame: its first byte, or null. One that came in several buffers is put together.
// The buffers are in `held`.
static uint8_t* take_frame(struct pair* pair, uint16_t* held, unsigned* held_count,
                           uint32_t* length) {
  int head = ring_pop(&pair->receive);
  if (head < 0) return NULL;
  uint16_t buffer = held[(*held_count)++] = pair->buffer_of[head];
  uint8_t* bytes = pair->buffers + (size_t)buffer * pair->buffer_size;
  uint16_t count = ((struct virtio_net_hdr_mrg_rxbuf*)bytes)->num_buffers;
  *length = pair->receive.used_length - HEADER;
  if (count == 1) return bytes + HEADER;
  memcpy(merged, bytes + HEADER, *length);
  while (--count > 0) {
    // All of a frame's buffers come back at once.
    head = ring_pop(&pair->receive);
    buffer = held[(*held_count)++] = pair->buffer_of[head];
    uint32_t more = pair->receive.used_length;
    memcpy(merged + *length, pair->buffers + (size_t)buffer * pair->buffer_size, more);
    *length += more;
  }
  return merged;
}

// Handles up to `batch` frames that wait on a pair. Returns how many.
static unsigned receive_some(struct pair* pair, unsigned batch, bool answer) {
  static const struct virtio_net_hdr_mrg_rxbuf plain;
  uint16_t held[QUEUE_SIZE];
  unsigned held_count = 0, count = 0;
  for (; count < batch; count++) {
    uint32_t length;
    uint8_t* frame = take_frame(pair, held, &held_count, &length);
    if (!frame) break;
    touched = frame[0];
    if (!answer) continue;
    uint8_t address[6];
    memcpy(address, frame, 6);
    memcpy(frame, frame + 6, 6);
    memcpy(frame + 6, address, 6);
    send_frame(pair, &plain, frame, length);
  }
  if (count == 0) return 0;
  if (answer) pair_publish(&pair->transmit);
  for (unsigned i = 0; i < held_count; i++) pair_post(pair, held[i]);
  pair_publish(&pair->receive);
  return count;
}

static void wait_received(void) {
  struct pollfd calls[MAX_PAIRS];
  for (unsigned i = 0; i < used_pairs; i++) {
    if (ring_enable_calls(&pairs[i].receive, 0)) return;
    calls[i] = (struct pollfd){.fd = pairs[i].receive.call, .events = POLLIN};
  }
  if (poll(calls, used_pairs, 10000) < 1) fail("no frame");
  for (unsigned i = 0; i < used_pairs; i++) {
    uint64_t signals;
    if (calls[i].revents && read(calls[i].fd, &signals, 8) != 8) fail("call");
  }
}

static void receive_frames(unsigned batch, uint64_t count, bool answer) {
  struct clocks start = start_clocks();
  for (uint64_t received = 0; received < count;) {
    unsigned some = 0;
    for (unsigned i = 0; i < used_pairs; i++) some += receive_some(&pairs[i], batch, answer);
    received += some;
    if (some == 0) wait_received();
  }
  report(count, start);
}

static void first_frame(const char* tap) {
  struct clocks start = start_clocks();
  open_tap_pairs(tap, 1, 1600);
  struct virtio_net_hdr_mrg_rxbuf header;
  uint8_t frame[64];
  make_frame(frame, sizeof frame, 0, &header);
  send_frame(&pairs[0], &header, frame, sizeof frame);
  pair_publish(&pairs[0].transmit);
  flush();
  report(1, start);
  close_all();
}

int main(void) {
  char line[256], name[32];
  unsigned a, b;
  unsigned long count;
  setvbuf(stdout, NULL, _IOLBF, 0);
  while (fgets(line, sizeof line, stdin)) {
    if (sscanf(line, "open %31s %u %u", name, &a, &b) == 3) {
      struct clocks start = start_clocks();
      open_tap_pairs(name, a, b);
      report(0, start);
    } else if (sscanf(line, "send %u %u %lu", &a, &b, &count) == 3) {
      send_frames(a, b, count);
    } else if (sscanf(line, "receive %u %lu", &a, &count) == 2) {
      receive_frames(a, count, false);
    } else if (sscanf(line, "respond %lu", &count) == 1) {
      receive_frames(64, count, true);
    } else if (sscanf(line, "first %31s", name) == 1) {
      first_frame(name);
    } else {
      struct clocks start = start_clocks();
      close_all();
      report(0, start);
    }
  }
  return 0;
}
