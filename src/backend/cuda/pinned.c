#include <cuda_runtime_api.h>
#include <string.h>

#include "backend/cpu/losses.h"

static void *allocate(struct msift_memory *memory, struct msift_error *error, int64_t n, size_t size)
{
  size_t bytes = 0;
  void *block = NULL;
  cudaError_t code = cudaErrorMemoryAllocation;

  if (msift_memory_takes(memory, n, size, &bytes))
    code = cudaHostAlloc(&block, bytes > 0 ? bytes : 1, cudaHostAllocPortable);
  if (code != cudaSuccess) {
    cudaGetLastError(); /* the caller's next check is not to find ours */
    msift_error_set(error, code == cudaErrorMemoryAllocation ? MPISIFT_ERR_MEMORY : MPISIFT_ERR_DEVICE,
                    "cannot allocate %lld × %zu bytes of page-locked memory: %s", (long long)n, size,
                    cudaGetErrorString(code));
    return NULL;
  }
  memset(block, 0, bytes);
  memory->blocks++;
  return block;
}

static void release(struct msift_memory *memory, void *block)
{
  memory->blocks -= block != NULL;
  if (block != NULL && cudaFreeHost(block) != cudaSuccess)
    cudaGetLastError(); /* as above; what failed before is told where it did */
}

const struct msift_backend msift_backend_pinned = {
    "pinned", allocate, release, msift_cpu_losses, msift_cpu_tokens,
};
