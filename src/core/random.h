/* Counter-based random numbers: a pure function of what they are for, so that every rank and every backend agrees. */
#ifndef MSIFT_CORE_RANDOM_H
#define MSIFT_CORE_RANDOM_H

#include <stdint.h>

/* Independent uses of one seed. */
enum msift_stream { MSIFT_STREAM_ACCEPT, MSIFT_STREAM_ORDER, MSIFT_STREAM_WINDOW, MSIFT_STREAM_SAMPLE };

/* 64 random bits of (seed, stream, a, b): Philox4x32-10 (Salmon et al., SC 2011). */
uint64_t msift_random(uint64_t seed, enum msift_stream stream, uint64_t a, uint64_t b);

/* A hash of 64 bits to 64 bits, a bijection (the finaliser of SplitMix64; Steele et al., OOPSLA 2014). */
static inline uint64_t msift_mix(uint64_t x)
{
  x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
  return x ^ (x >> 31);
}

#endif
