/* A first-in-first-out queue of items of one size. Room is reserved ahead, so that pushing cannot fail. */
#ifndef MSIFT_BASE_RING_H
#define MSIFT_BASE_RING_H

#include "base/memory.h"

struct msift_ring {
  unsigned char *items;
  size_t size; /* bytes of an item */
  int64_t first, n, capacity;
};

/* Make room for n more items. */
mpisift_status msift_ring_reserve(struct msift_ring *ring, struct msift_memory *memory, struct msift_error *error,
                                  int64_t n);
void msift_ring_destroy(struct msift_ring *ring, struct msift_memory *memory);

static inline void *msift_ring_at(const struct msift_ring *ring, int64_t i)
{
  int64_t at = ring->first + i;

  return ring->items + (size_t)(at < ring->capacity ? at : at - ring->capacity) * ring->size;
}

/* The items from i on that lie one behind the other: their number, at most n. */
static inline int64_t msift_ring_run(const struct msift_ring *ring, int64_t i, int64_t n)
{
  int64_t at = ring->first + i, left = at < ring->capacity ? ring->capacity - at : n;

  return n < left ? n : left;
}

static inline void *msift_ring_push(struct msift_ring *ring)
{
  return msift_ring_at(ring, ring->n++);
}

static inline void msift_ring_pop(struct msift_ring *ring, int64_t n)
{
  ring->first += n;
  ring->n -= n;
  if (ring->first >= ring->capacity)
    ring->first -= ring->capacity;
}

#endif
