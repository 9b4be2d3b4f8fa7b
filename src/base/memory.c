#include "base/memory.h"

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

void *msift_alloc(struct msift_memory *memory, struct msift_error *error, int64_t n, size_t size)
{
  size_t bytes = 0;
  void *block = NULL;

  if (msift_memory_takes(memory, n, size, &bytes))
    block = calloc(1, bytes > 0 ? bytes : 1);
  if (block == NULL)
    msift_error_set(error, MPISIFT_ERR_MEMORY, "cannot allocate %lld × %zu bytes", (long long)n, size);
  else
    memory->blocks++;
  return block;
}

mpisift_status msift_resize(struct msift_memory *memory, struct msift_error *error, void *array, int64_t n, size_t size)
{
  void *old, *block = NULL;
  size_t bytes = 0;

  memcpy(&old, array, sizeof old);
  if (msift_memory_takes(memory, n, size, &bytes))
    block = realloc(old, bytes > 0 ? bytes : 1);
  if (block == NULL)
    return msift_error_set(error, MPISIFT_ERR_MEMORY, "cannot allocate %lld × %zu bytes", (long long)n, size);
  memory->blocks += old == NULL;
  memcpy(array, &block, sizeof block);
  return MPISIFT_OK;
}

void msift_free(struct msift_memory *memory, void *array)
{
  void *old;

  memcpy(&old, array, sizeof old);
  memory->blocks -= old != NULL;
  free(old);
  old = NULL;
  memcpy(array, &old, sizeof old);
}
