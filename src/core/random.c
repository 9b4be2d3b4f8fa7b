#include "core/random.h"

#include <Random123/philox.h>

/* The stream goes into the key beside the seed, whose 64 bits fill it: folding keeps seeds apart for every stream. */
uint64_t msift_random(uint64_t seed, enum msift_stream stream, uint64_t a, uint64_t b)
{
  uint64_t key = msift_mix(seed + UINT64_C(0x9e3779b97f4a7c15) * ((uint64_t)stream + 1));
  philox4x32_ctr_t c = {{(uint32_t)a, (uint32_t)(a >> 32), (uint32_t)b, (uint32_t)(b >> 32)}};
  philox4x32_key_t k = {{(uint32_t)key, (uint32_t)(key >> 32)}};

  c = philox4x32(c, k);
  return (uint64_t)c.v[1] << 32 | c.v[0];
}
