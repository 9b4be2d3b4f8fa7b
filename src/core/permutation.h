/* A keyed permutation of [0, n) in O(1) memory: a Feistel network over the next even number of bits, with cycle
 * walking (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002). */
#ifndef MSIFT_CORE_PERMUTATION_H
#define MSIFT_CORE_PERMUTATION_H

#include <stdint.h>

struct msift_permutation {
  int64_t n;
  uint64_t key;
  int half_bits;
};

struct msift_permutation msift_permutation_make(int64_t n, uint64_t key);
int64_t msift_permute(const struct msift_permutation *p, int64_t i);         /* 0 <= i < n */
int64_t msift_permute_inverse(const struct msift_permutation *p, int64_t i); /* 0 <= i < n */

#endif
