#include "core/permutation.h"

#include "core/random.h"

/* Six mix large domains; the orders of a handful of values come out even with ten. */
enum { ROUNDS = MSIFT_PERMUTATION_ROUNDS };

struct msift_permutation msift_permutation_make(int64_t n, uint64_t key)
{
  struct msift_permutation p = {.n = n, .key = key, .half_bits = 1};

  while (p.half_bits < 31 && (INT64_C(1) << (2 * p.half_bits)) < n)
    p.half_bits++;
  return p;
}

static uint64_t round_value(const struct msift_permutation *p, int round, uint64_t half)
{
  return msift_mix(half ^ p->key ^ (uint64_t)round * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - p->half_bits);
}

static uint64_t encipher(const struct msift_permutation *p, uint64_t x)
{
  uint64_t left = x >> p->half_bits, right = x & ((UINT64_C(1) << p->half_bits) - 1);

  for (int r = 0; r < ROUNDS; r++) {
    uint64_t next = left ^ round_value(p, r, right);
    left = right;
    right = next;
  }
  return left << p->half_bits | right;
}

static uint64_t decipher(const struct msift_permutation *p, uint64_t x)
{
  uint64_t left = x >> p->half_bits, right = x & ((UINT64_C(1) << p->half_bits) - 1);

  for (int r = ROUNDS - 1; r >= 0; r--) {
    uint64_t last = right ^ round_value(p, r, left);
    right = left;
    left = last;
  }
  return left << p->half_bits | right;
}

int64_t msift_permute(const struct msift_permutation *p, int64_t i)
{
  uint64_t x = (uint64_t)i;

  do
    x = encipher(p, x);
  while (x >= (uint64_t)p->n);
  return (int64_t)x;
}

int64_t msift_permute_inverse(const struct msift_permutation *p, int64_t i)
{
  uint64_t x = (uint64_t)i;

  do
    x = decipher(p, x);
  while (x >= (uint64_t)p->n);
  return (int64_t)x;
}

bool msift_rounds_make(struct msift_rounds *rounds, const struct msift_permutation *p)
{
  if (p->half_bits > MSIFT_TABLED_BITS)
    return false;
  for (int r = 0; r < ROUNDS; r++)
    for (uint64_t half = 0; half < UINT64_C(1) << p->half_bits; half++)
      rounds->values[r][half] = (uint16_t)round_value(p, r, half);
  return true;
}

int64_t msift_permute_tabled(const struct msift_permutation *p, const struct msift_rounds *rounds, int64_t i)
{
  uint32_t bits = (uint32_t)p->half_bits, x = (uint32_t)i;

  do {
    uint32_t left = x >> bits, right = x & ((1U << bits) - 1);

    for (int r = 0; r < ROUNDS; r += 2) {
      left ^= rounds->values[r][right];
      right ^= rounds->values[r + 1][left];
    }
    x = left << bits | right;
  } while (x >= p->n);
  return x;
}

static uint32_t decipher_tabled(const struct msift_rounds *rounds, uint32_t bits, uint32_t x)
{
  uint32_t left = x >> bits, right = x & ((1U << bits) - 1);

  for (int r = ROUNDS - 1; r > 0; r -= 2) {
    right ^= rounds->values[r][left];
    left ^= rounds->values[r - 1][right];
  }
  return left << bits | right;
}

int64_t msift_permute_inverse_tabled(const struct msift_permutation *p, const struct msift_rounds *rounds, int64_t i)
{
  uint32_t x = (uint32_t)i;

  do
    x = decipher_tabled(rounds, (uint32_t)p->half_bits, x);
  while (x >= p->n);
  return x;
}

/* One after the other without a branch, so that the processor works on several. */
bool msift_image_make(struct msift_image *image, const struct msift_permutation *p)
{
  uint32_t bits = (uint32_t)p->half_bits;
  struct msift_rounds rounds;

  if (p->half_bits > MSIFT_IMAGE_BITS)
    return false;
  msift_rounds_make(&rounds, p);
  for (uint32_t x = 0; x < 1U << 2 * bits; x++)
    image->of[x] = (uint16_t)decipher_tabled(&rounds, bits, x);
  return true;
}
