/* Permutations of [0, n): each value once, an inverse, and keys that shuffle evenly. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/permutation.h"
#include "testing.h"

enum { MOST = 1000003 };

static const uint64_t keys[] = {0, 1, UINT64_C(0x123456789abcdef0), UINT64_MAX};

enum { KEYS = sizeof keys / sizeof keys[0] };

/* Values out of range, met twice, or not undone by the inverse. */
static int64_t count_wrong(int64_t n, uint64_t key, unsigned char *seen)
{
  struct msift_permutation p = msift_permutation_make(n, key);
  int64_t wrong = 0;

  memset(seen, 0, (size_t)n);
  for (int64_t i = 0; i < n; i++) {
    int64_t j = msift_permute(&p, i);

    if (j < 0 || j >= n || seen[j] || msift_permute_inverse(&p, j) != i)
      wrong++;
    else
      seen[j] = 1;
  }
  return wrong;
}

static void small_sizes(void)
{
  unsigned char seen[300];

  for (int64_t n = 1; n <= 300; n++)
    for (int k = 0; k < KEYS; k++)
      CU_ASSERT_EQUAL(count_wrong(n, keys[k], seen), 0);
}

static void large_sizes(void)
{
  static const int64_t primes[] = {10007, 65537, 99991, 1000003};
  unsigned char *seen = malloc(MOST);

  CU_ASSERT_PTR_NOT_NULL_FATAL(seen);
  for (size_t i = 0; i < sizeof primes / sizeof primes[0]; i++)
    CU_ASSERT_EQUAL(count_wrong(primes[i], keys[i % KEYS], seen), 0);
  for (int bits = 9; bits <= 17; bits += bits < 15 ? 1 : 2)
    for (int64_t n = (1 << bits) - 1; n <= (1 << bits) + 1; n++)
      CU_ASSERT_EQUAL(count_wrong(n, keys[bits % KEYS], seen), 0);
  CU_ASSERT_EQUAL(count_wrong(1000000, 7, seen), 0);
  free(seen);
}

/* Sizes too large to walk through: values stay in range and are undone. */
static void huge_sizes(void)
{
  static const int64_t sizes[] = {INT64_C(1) << 32, (INT64_C(1) << 40) + 7, INT64_C(1) << 62};

  for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
    struct msift_permutation p = msift_permutation_make(sizes[s], 5);
    int64_t wrong = 0;

    for (int64_t i = 0; i < 10000; i++) {
      int64_t at = i < 5000 ? i : sizes[s] - 1 - i, j = msift_permute(&p, at);

      wrong += j < 0 || j >= sizes[s] || msift_permute_inverse(&p, j) != at;
    }
    CU_ASSERT_EQUAL(wrong, 0);
  }
}

static int64_t agreements(int64_t n, uint64_t key, uint64_t other)
{
  struct msift_permutation p = msift_permutation_make(n, key), q = msift_permutation_make(n, other);
  int64_t same = 0;

  for (int64_t i = 0; i < n; i++)
    same += msift_permute(&p, i) == msift_permute(&q, i);
  return same;
}

/* Two random permutations agree in one value on average, for any n: here 200 with a standard deviation of 14. */
static void keys_differ(void)
{
  int64_t near = 0, far = 0, shifted = 0;

  for (uint64_t k = 0; k < 200; k++) {
    near += agreements(1000, k, k + 1);
    far += agreements(1000, k, k ^ UINT64_C(1) << (k % 63 + 1));
    shifted += agreements(997, k << 40, (k + 1) << 40);
  }
  CU_ASSERT(near > 100 && near < 300);
  CU_ASSERT(far > 100 && far < 300);
  CU_ASSERT(shifted > 100 && shifted < 300);
}

static double chi_square(const int64_t *counts, int64_t cells, int64_t total)
{
  double expected = (double)total / (double)cells, sum = 0;

  for (int64_t c = 0; c < cells; c++)
    sum += ((double)counts[c] - expected) * ((double)counts[c] - expected) / expected;
  return sum;
}

/* Over many keys each value takes each place equally often. */
static void places_are_even(void)
{
  static const int64_t sizes[] = {2, 3, 4, 16, 17, 31, 100};
  enum { TRIALS = 20000 };

  for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
    int64_t n = sizes[s], first[100] = {0}, last[100] = {0};

    for (uint64_t k = 0; k < TRIALS; k++) {
      struct msift_permutation p = msift_permutation_make(n, k * UINT64_C(0x9e3779b97f4a7c15));

      first[msift_permute(&p, 0)]++;
      last[msift_permute(&p, n - 1)]++;
    }
    CU_ASSERT(chi_square(first, n, TRIALS) < (double)(n - 1) + 6 * sqrt(2 * (double)(n - 1)));
    CU_ASSERT(chi_square(last, n, TRIALS) < (double)(n - 1) + 6 * sqrt(2 * (double)(n - 1)));
  }
}

/* A network of few bits prefers some orders of few values; here five in a domain of sixteen. All must occur, though. */
static void all_orders_occur(void)
{
  enum { N = 5, ORDERS = 120, TRIALS = 60000 };
  int64_t counts[ORDERS] = {0}, wrong = 0;

  for (uint64_t k = 0; k < TRIALS; k++) {
    struct msift_permutation p = msift_permutation_make(N, k);
    int64_t order = 0;

    for (int i = 0; i < N; i++) {
      int64_t smaller = 0;

      for (int j = i + 1; j < N; j++)
        smaller += msift_permute(&p, j) < msift_permute(&p, i);
      order = order * (N - i) + smaller;
    }
    counts[order]++;
  }
  for (int o = 0; o < ORDERS; o++)
    wrong += counts[o] < TRIALS / ORDERS / 2 || counts[o] > TRIALS / ORDERS * 2;
  CU_ASSERT_EQUAL(wrong, 0);
}

TEST_MAIN("permutation", {"small sizes", small_sizes}, {"large sizes", large_sizes}, {"huge sizes", huge_sizes},
          {"keys differ", keys_differ}, {"places are even", places_are_even}, {"all orders occur", all_orders_occur})
