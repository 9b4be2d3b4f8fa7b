/* Words that many threads count in: each block in shared memory, where they fit, so that few additions go to the same
 * word of all blocks. */
#ifndef MSIFT_BACKEND_CUDA_TALLY_CUH
#define MSIFT_BACKEND_CUDA_TALLY_CUH

#include "backend/cuda/load.cuh"

enum { TALLY_BYTES = 40 << 10 };

constexpr unsigned ALL_LANES = 0xffffffffu;

/* Bytes of shared memory for n words; 0 where they do not fit. */
static inline size_t tally_bytes(int64_t n)
{
  return n <= TALLY_BYTES / 4 ? (size_t)n * 4 : 0;
}

struct tally {
  uint32_t *words, *own;
  int n;

  /* All threads of a block call these three. */
  __device__ tally(uint32_t *to, int64_t size, bool shared, uint32_t *memory)
      : words(to), own(shared ? memory : nullptr), n((int)size)
  {
    for (int i = threadIdx.x; i < n && own != nullptr; i += THREADS)
      own[i] = 0;
    __syncthreads();
  }

  __device__ void finish()
  {
    __syncthreads();
    for (int i = threadIdx.x; i < n && own != nullptr; i += THREADS)
      if (own[i] != 0)
        atomicAdd(words + i, own[i]);
  }

  /* Losses that tie come in crowds: where all of a warp go to one word, one thread adds them up. */
  __device__ void add(bool counts, int i, uint32_t change)
  {
    unsigned who = __ballot_sync(ALL_LANES, counts);
    int first = who == 0 ? 0 : __ffs((int)who) - 1;
    int common = __shfl_sync(ALL_LANES, i, first);
    bool alike = __all_sync(ALL_LANES, !counts || i == common);
    uint32_t *to = own != nullptr ? own : words;

    if (counts && !alike)
      atomicAdd(to + i, change);
    else if (counts && (int)(threadIdx.x % WARP) == first)
      atomicAdd(to + i, change * (uint32_t)__popc(who));
  }
};

#endif
