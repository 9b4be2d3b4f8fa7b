/* Counter-based random numbers: a pure function of what they are for, so that every rank and every backend agrees. */
#ifndef MSIFT_CORE_RANDOM_H
#define MSIFT_CORE_RANDOM_H

#include <Random123/philox.h>
#include <stdint.h>

/* Independent uses of one seed. */
enum msift_stream {
  MSIFT_STREAM_ACCEPT,
  MSIFT_STREAM_ORDER,
  MSIFT_STREAM_WINDOW,
  MSIFT_STREAM_SAMPLE,
  MSIFT_STREAM_REFRESH
};

/* A hash of 64 bits to 64 bits, a bijection (the finaliser of SplitMix64; Steele et al., OOPSLA 2014). */
static inline uint64_t msift_mix(uint64_t x)
{
  x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
  return x ^ (x >> 31);
}

/* The key of a stream of a seed. The stream goes in beside the seed, whose 64 bits fill it: folding keeps seeds apart
 * for every stream. */
static inline philox4x32_key_t msift_random_key(uint64_t seed, enum msift_stream stream)
{
  uint64_t key = msift_mix(seed + UINT64_C(0x9e3779b97f4a7c15) * ((uint64_t)stream + 1));

  return (philox4x32_key_t){{(uint32_t)key, (uint32_t)(key >> 32)}};
}

/* 64 random bits of (key, a, b): Philox4x32-10 (Salmon et al., SC 2011). Inline, so that draws of a loop overlap. */
static inline uint64_t msift_random_bits(philox4x32_key_t key, uint64_t a, uint64_t b)
{
  philox4x32_ctr_t c = {{(uint32_t)a, (uint32_t)(a >> 32), (uint32_t)b, (uint32_t)(b >> 32)}};

  c = philox4x32(c, key);
  return (uint64_t)c.v[1] << 32 | c.v[0];
}

static inline uint64_t msift_random(uint64_t seed, enum msift_stream stream, uint64_t a, uint64_t b)
{
  return msift_random_bits(msift_random_key(seed, stream), a, b);
}

#endif
