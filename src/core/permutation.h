/* A keyed permutation of [0, n) in O(1) memory: a Feistel network over the next even number of bits, with cycle
 * walking (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002). */
#ifndef MSIFT_CORE_PERMUTATION_H
#define MSIFT_CORE_PERMUTATION_H

#include <stdbool.h>
#include <stdint.h>

struct msift_permutation {
  int64_t n;
  uint64_t key;
  int half_bits;
};

struct msift_permutation msift_permutation_make(int64_t n, uint64_t key);
int64_t msift_permute(const struct msift_permutation *p, int64_t i);         /* 0 <= i < n */
int64_t msift_permute_inverse(const struct msift_permutation *p, int64_t i); /* 0 <= i < n */

/* What the rounds make of each half, in a table: most of what a value costs, where many are wanted. */
enum { MSIFT_TABLED_BITS = 10, MSIFT_PERMUTATION_ROUNDS = 10 };

struct msift_rounds {
  uint16_t values[MSIFT_PERMUTATION_ROUNDS][1 << MSIFT_TABLED_BITS];
};

/* False where the permutation is too large for tables. */
bool msift_rounds_make(struct msift_rounds *rounds, const struct msift_permutation *p);
int64_t msift_permute_tabled(const struct msift_permutation *p, const struct msift_rounds *rounds, int64_t i);
int64_t msift_permute_inverse_tabled(const struct msift_permutation *p, const struct msift_rounds *rounds, int64_t i);

/* All of a smaller permutation's domain after one deciphering, from which the inverse is a step or a few. */
enum { MSIFT_IMAGE_BITS = 7 };

struct msift_image {
  uint16_t of[1 << 2 * MSIFT_IMAGE_BITS];
};

/* False where the permutation is too large. */
bool msift_image_make(struct msift_image *image, const struct msift_permutation *p);

static inline int64_t msift_image_inverse(const struct msift_image *image, const struct msift_permutation *p, int64_t i)
{
  uint16_t x = image->of[i];

  while (x >= p->n)
    x = image->of[x];
  return x;
}

#endif
