/* Counted allocation: what a context holds is known, and tests make the k-th allocation fail. */
#ifndef MSIFT_BASE_MEMORY_H
#define MSIFT_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct msift_memory {
  int64_t blocks;     /* allocations alive */
  int64_t fail_after; /* > 0: so many more allocations succeed less one, then one fails; 0: none is made to fail */
  int64_t calls;      /* allocations and changes of size asked for so far */
};

/* Count an allocation of n items of a size; false if it has no number of bytes, or is the one made to fail. */
bool msift_memory_takes(struct msift_memory *memory, int64_t n, size_t size, size_t *bytes);

/* Zeroed memory for n items of a size; NULL with an error recorded if it is not to be had. Never NULL for n = 0. */
void *msift_alloc(struct msift_memory *memory, struct msift_error *error, int64_t n, size_t size);

/* Grow to n items, keeping the contents; the old memory stays valid on failure. *array may be NULL. */
mpisift_status msift_resize(struct msift_memory *memory, struct msift_error *error, void *array, int64_t n,
                            size_t size);

/* Release *array and set it to NULL. */
void msift_free(struct msift_memory *memory, void *array);

#endif
