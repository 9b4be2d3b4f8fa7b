/* Bytes copied by the threads of a team, in the widest words that both ends allow. */
#ifndef MSIFT_BACKEND_CUDA_COPY_CUH
#define MSIFT_BACKEND_CUDA_COPY_CUH

#include "backend/cuda/load.cuh"

/* Loads that a thread has under way at once. */
enum { AHEAD = 4 };

struct plain_words {
  template <typename V> __device__ static V load(const V *from, size_t i, unsigned) { return from[i]; }
};

/* Words that lie across two aligned ones. */
struct shifted_words {
  template <typename V> __device__ static V load(const V *from, size_t i, unsigned shift)
  {
    return __funnelshift_r(from[i], from[i + 1], shift);
  }
};

template <typename V, typename Words>
__device__ inline void copy_words(V *to, const V *from, size_t n, unsigned shift, const team &t)
{
  for (size_t first = t.lane; first < n; first += (size_t)AHEAD * t.size) {
    V words[AHEAD];

#pragma unroll
    for (int k = 0; k < AHEAD; k++)
      if (first + (size_t)k * t.size < n)
        words[k] = Words::load(from, first + (size_t)k * t.size, shift);
#pragma unroll
    for (int k = 0; k < AHEAD; k++)
      if (first + (size_t)k * t.size < n)
        to[first + (size_t)k * t.size] = words[k];
  }
}

__device__ inline void copy_single(unsigned char *to, const unsigned char *from, size_t n, const team &t)
{
  for (size_t i = t.lane; i < n; i += t.size)
    to[i] = from[i];
}

/* Both ends are aligned alike. */
template <typename V>
__device__ inline void copy_alike(unsigned char *to, const unsigned char *from, size_t n, const team &t)
{
  size_t head = -(uintptr_t)to % sizeof(V), words;

  head = head < n ? head : n;
  words = (n - head) / sizeof(V);
  copy_single(to, from, head, t);
  copy_words<V, plain_words>((V *)(void *)(to + head), (const V *)(const void *)(from + head), words, 0, t);
  copy_single(to + head + words * sizeof(V), from + head + words * sizeof(V), (n - head) % sizeof(V), t);
}

/* Stored in aligned words of 4 bytes, each of two aligned ones, none of which reaches beyond the bytes to be copied. */
__device__ inline void copy_apart(unsigned char *to, const unsigned char *from, size_t n, const team &t)
{
  size_t head = -(uintptr_t)to % 4, words;
  unsigned before;

  head += (uintptr_t)(from + head) % 4 > head ? 4 : 0;
  before = (unsigned)((uintptr_t)(from + head) % 4);
  if (head + 8 > n) {
    copy_single(to, from, n, t);
    return;
  }
  words = (n - head + before) / 4 - 1;
  copy_single(to, from, head, t);
  copy_words<uint32_t, shifted_words>((uint32_t *)(void *)(to + head),
                                      (const uint32_t *)(const void *)(from + head - before), words, 8 * before, t);
  copy_single(to + head + 4 * words, from + head + 4 * words, n - head - 4 * words, t);
}

__device__ inline void copy_bytes(unsigned char *to, const unsigned char *from, size_t n, const team &t)
{
  unsigned apart = (unsigned)((uintptr_t)to - (uintptr_t)from);

  if (apart % 16 == 0)
    copy_alike<uint4>(to, from, n, t);
  else if (apart % 8 == 0)
    copy_alike<uint2>(to, from, n, t);
  else if (apart % 4 == 0)
    copy_alike<uint32_t>(to, from, n, t);
  else
    copy_apart(to, from, n, t);
}

#endif
