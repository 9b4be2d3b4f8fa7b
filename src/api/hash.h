#ifndef MSIFT_API_HASH_H
#define MSIFT_API_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "core/random.h"

/* A hash of a hash and of bytes. */
static inline uint64_t msift_hash(uint64_t hash, const void *bytes, size_t n)
{
  for (size_t i = 0; i < n; i++)
    hash = msift_mix(hash * 31 + ((const unsigned char *)bytes)[i] + 1);
  return hash;
}

#endif
