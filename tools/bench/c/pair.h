// One queue pair on vhost-net: a TAP queue, a vhost descriptor, two rings and their memory.
#pragma once

#include "ring.h"

enum { QUEUE_SIZE = 512, HEADER = 12 };

struct pair {
  int tap, vhost;
  struct ring receive, transmit;
  uint8_t* memory;
  size_t memory_size;
  // QUEUE_SIZE receive buffers of `buffer_size` bytes; and as much room to send from, as a ring of
  // bytes: taken up to `head`, given back up to `tail`, where `ends` is where each chain's room
  // ends.
  uint32_t buffer_size;
  uint8_t *buffers, *arena;
  uint64_t arena_size, head, tail;
  uint64_t ends[QUEUE_SIZE];
  uint16_t buffer_of[QUEUE_SIZE];
};

// Ends the program, with errno.
_Noreturn void fail(const char* what);

// Opens one queue of a TAP and starts vhost-net on it, receive buffers posted. Buffers that hold
// super-frames bring them.
void pair_open(struct pair* pair, const char* tap, bool multi_queue, uint32_t buffer_size);
void pair_close(struct pair* pair);
// Brings the interface up.
void interface_up(const char* name);

// Copies a frame behind its header into the room to send from and adds it to the ring. Returns
// false where there is no room.
bool pair_add(struct pair* pair, const void* header, const void* frame, uint32_t length);
// Shows the device what was added, and kicks it if it wants that.
void pair_publish(struct ring* ring);
// Takes back what the device has sent.
void pair_reclaim(struct pair* pair);
// Waits until the device calls.
void pair_wait(struct ring* ring);
// Gives a receive buffer back to the ring.
void pair_post(struct pair* pair, uint16_t buffer);
