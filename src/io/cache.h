#ifndef MSIFT_IO_CACHE_H
#define MSIFT_IO_CACHE_H

#include "io/dataset.h"

/* Lay out blocks and their table for a budget of bytes; one block is held in any case. */
mpisift_status msift_cache_init(struct msift_dataset *dataset, size_t bytes, struct msift_memory *memory,
                                struct msift_error *error);
void msift_cache_destroy(struct msift_dataset *dataset, struct msift_memory *memory);

/* The rows of a block, read if need be; NULL with an error. Valid until the next call. */
const unsigned char *msift_cache_block(struct msift_dataset *dataset, int64_t block, struct msift_memory *memory,
                                       struct msift_error *error);

#endif
