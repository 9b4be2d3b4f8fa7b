/* Accepted samples that wait for a batch, in global order. Every rank knows the holder of each; a rank stores its own.
 */
#ifndef MSIFT_CORE_POOL_H
#define MSIFT_CORE_POOL_H

#include "base/ring.h"

/* What travels with a sample besides its fields, frozen at acceptance. A record is a msift_tag and then the fields;
 * while these are still in the stage, room for them. */
struct msift_tag {
  int64_t id, epoch;
  float loss, probability, weight;
  uint32_t staged; /* 1 + the row of the stage where the fields are; 0: they follow */
};

struct msift_pool {
  struct msift_ring owners;  /* of uint32_t: the holders of all samples */
  struct msift_ring records; /* this rank's samples */
};

static inline const struct msift_tag *msift_pool_tag(const struct msift_pool *pool, int64_t i)
{
  return msift_ring_at(&pool->records, i);
}

#endif
