#include "backend/cpu/losses.h"

static void release(struct msift_memory *memory, void *block)
{
  msift_free(memory, &block);
}

const struct msift_backend msift_backend_cpu = {
    "cpu", msift_alloc, release, msift_cpu_losses, msift_cpu_tokens,
};
