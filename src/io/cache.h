/* The blocks of a field that are held in memory. */
#ifndef MSIFT_IO_CACHE_H
#define MSIFT_IO_CACHE_H

#include "io/dataset.h"

/* Lay out blocks for a budget of bytes, shared by all fields; a block of each is held in any case. */
mpisift_status msift_caches_init(struct msift_dataset *dataset, size_t bytes, struct msift_memory *memory,
                                 struct msift_error *error);
void msift_cache_destroy(struct msift_cache *cache, struct msift_memory *memory);

/* Say that a place is in use. */
void msift_cache_touch(struct msift_cache *cache, int32_t i);

/* A place for a block, which it names: a new one within the budget, else the least recently used that is neither pinned
 * nor being read. −1: all are. */
int32_t msift_cache_claim(struct msift_cache *cache, int64_t block, struct msift_readers *readers);

/* Give a place that holds nothing of use back. */
void msift_cache_drop(struct msift_cache *cache, int32_t i);

/* Memory for the rows of a place. */
mpisift_status msift_cache_room(struct msift_cache *cache, int32_t i, struct msift_memory *memory,
                                struct msift_error *error);

#endif
