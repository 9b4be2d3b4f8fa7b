#include "base/ring.h"

#include <string.h>

mpisift_status msift_ring_reserve(struct msift_ring *ring, struct msift_memory *memory, struct msift_error *error,
                                  int64_t n)
{
  int64_t need = ring->n + n;
  struct msift_ring larger = {.size = ring->size, .n = ring->n, .capacity = need + need / 2};

  if (need <= ring->capacity)
    return MPISIFT_OK;
  larger.items = msift_alloc(memory, error, larger.capacity, ring->size);
  if (larger.items == NULL)
    return error->status;
  for (int64_t i = 0; i < ring->n; i++)
    memcpy(msift_ring_at(&larger, i), msift_ring_at(ring, i), ring->size);
  msift_free(memory, &ring->items);
  *ring = larger;
  return MPISIFT_OK;
}

void msift_ring_destroy(struct msift_ring *ring, struct msift_memory *memory)
{
  msift_free(memory, &ring->items);
}
