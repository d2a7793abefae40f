// The driver end of a split ring in C, with VIRTIO_RING_F_EVENT_IDX: what the TypeScript driver is
// measured against.
#pragma once

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring {
  uint16_t size;
  struct vring_desc* desc;
  struct vring_avail* avail;
  struct vring_used* used;
  uint16_t free_head, free;
  uint16_t avail_next, avail_shown, used_next;
  uint32_t used_length;  // of the chain that ring_pop returned last
  int kick, call;
};

static inline size_t ring_align(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

// Bytes of a ring laid out by ring_place.
static inline size_t ring_bytes(uint16_t size) {
  return ring_align(ring_align(18 * (size_t)size + 6) + 8 * (size_t)size + 6);
}

// Lays a ring out in zeroed memory that is aligned to 64 bytes.
static inline void ring_place(struct ring* ring, uint8_t* at, uint16_t size) {
  ring->size = size;
  ring->desc = (struct vring_desc*)at;
  ring->avail = (struct vring_avail*)(at + 16 * (size_t)size);
  ring->used = (struct vring_used*)(at + ring_align(18 * (size_t)size + 6));
  for (uint16_t i = 0; i < size; i++) ring->desc[i].next = i + 1;
  ring->free_head = 0;
  ring->free = size;
  ring->avail_next = ring->avail_shown = ring->used_next = 0;
}

static inline uint16_t* ring_used_event(struct ring* ring) {
  return &ring->avail->ring[ring->size];
}

static inline uint16_t* ring_avail_event(struct ring* ring) {
  return (uint16_t*)&ring->used->ring[ring->size];
}

// Adds a chain of one buffer; there must be a free descriptor. Returns its head.
static inline uint16_t ring_add(struct ring* ring, uint64_t address, uint32_t length,
                                uint16_t flags) {
  uint16_t head = ring->free_head;
  struct vring_desc* desc = &ring->desc[head];
  ring->free_head = desc->next;
  ring->free--;
  desc->addr = address;
  desc->len = length;
  desc->flags = flags;
  ring->avail->ring[ring->avail_next++ & (ring->size - 1)] = head;
  return head;
}

// Shows the device what was added. Returns whether it wants a kick.
static inline bool ring_publish(struct ring* ring) {
  uint16_t now = ring->avail_next, before = ring->avail_shown;
  if (now == before) return false;
  __atomic_store_n(&ring->avail->idx, now, __ATOMIC_RELEASE);
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  ring->avail_shown = now;
  uint16_t event = __atomic_load_n(ring_avail_event(ring), __ATOMIC_RELAXED);
  return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

// Takes back the next chain that the device is done with: its head, or -1.
static inline int ring_pop(struct ring* ring) {
  if (ring->used_next == __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE)) return -1;
  struct vring_used_elem* element = &ring->used->ring[ring->used_next++ & (ring->size - 1)];
  uint16_t head = element->id;
  ring->used_length = element->len;
  ring->desc[head].next = ring->free_head;
  ring->free_head = head;
  ring->free++;
  return head;
}

// Asks for a call when more than `after` chains have come back. Returns true if that is so already.
static inline bool ring_enable_calls(struct ring* ring, uint16_t after) {
  __atomic_store_n(ring_used_event(ring), ring->used_next + after, __ATOMIC_SEQ_CST);
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  uint16_t used = __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE);
  return (uint16_t)(used - ring->used_next) > after;
}

static inline uint16_t ring_in_flight(struct ring* ring) { return ring->size - ring->free; }
