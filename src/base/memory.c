#include "base/memory.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static bool refused(struct msift_memory *memory)
{
  memory->calls++;
  return memory->fail_after > 0 && --memory->fail_after == 0;
}

bool msift_memory_takes(struct msift_memory *memory, int64_t n, size_t size, size_t *bytes)
{
  return n >= 0 && !__builtin_mul_overflow((size_t)n, size, bytes) && !refused(memory);
}

/* A block that is there from now on, or no longer. */
static void count(struct msift_memory *memory, int sign, void *block)
{
  memory->blocks += sign * (block != NULL);
  memory->bytes += sign * (int64_t)malloc_usable_size(block);
}

void *msift_alloc(struct msift_memory *memory, struct msift_error *error, int64_t n, size_t size)
{
  size_t bytes = 0;
  void *block = NULL;

  if (msift_memory_takes(memory, n, size, &bytes))
    block = calloc(1, bytes > 0 ? bytes : 1);
  if (block == NULL)
    msift_error_set(error, MPISIFT_ERR_MEMORY, "cannot allocate %lld × %zu bytes", (long long)n, size);
  else
    count(memory, 1, block);
  return block;
}

mpisift_status msift_resize(struct msift_memory *memory, struct msift_error *error, void *array, int64_t n, size_t size)
{
  void *old, *block = NULL;
  size_t bytes = 0;

  memcpy(&old, array, sizeof old);
  if (msift_memory_takes(memory, n, size, &bytes)) {
    count(memory, -1, old);
    block = realloc(old, bytes > 0 ? bytes : 1);
    count(memory, 1, block != NULL ? block : old);
  }
  if (block == NULL)
    return msift_error_set(error, MPISIFT_ERR_MEMORY, "cannot allocate %lld × %zu bytes", (long long)n, size);
  memcpy(array, &block, sizeof block);
  return MPISIFT_OK;
}

void msift_free(struct msift_memory *memory, void *array)
{
  void *old;

  memcpy(&old, array, sizeof old);
  count(memory, -1, old);
  free(old);
  old = NULL;
  memcpy(array, &old, sizeof old);
}
