#ifndef MSIFT_BACKEND_CUDA_MIX_CUH
#define MSIFT_BACKEND_CUDA_MIX_CUH

#include <stdint.h>

/* As msift_mix of core/random.h. */
__device__ inline uint64_t mix(uint64_t x)
{
  x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
  return x ^ (x >> 31);
}

#endif
