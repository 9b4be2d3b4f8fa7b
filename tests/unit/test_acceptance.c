/* Acceptance by random numbers: sample by sample, and the numbers themselves. */
#include "core/random.h"
#include "sifter.h"

enum { N = 20000 };

static void acceptance_is_pure(void)
{
  int64_t wrong = 0;

  for (int64_t id = 0; id < 2000; id++)
    for (uint64_t t = 0; t <= MSIFT_CERTAIN; t += MSIFT_CERTAIN / 4) {
      bool first = msift_accept(1, 2, id, t);

      msift_accept(9, 9, 1999 - id, t);
      wrong += msift_accept(1, 2, id, t) != first;
      wrong += first && t < MSIFT_CERTAIN && !msift_accept(1, 2, id, t + MSIFT_CERTAIN / 4); /* ascends with t */
    }
  for (int64_t id = 0; id < 100000; id++)
    wrong += msift_accept(4, 0, id, 0) || !msift_accept(4, 0, id, MSIFT_CERTAIN);
  CU_ASSERT_EQUAL(wrong, 0);
}

/* Acceptance at a probability agrees with it alone and, where key parts differ, jointly with its square. */
static void acceptance_is_independent(void)
{
  for (int k = 1; k < 10; k += 4) {
    double p = 0.1 * k;
    uint64_t t = (uint64_t)(p * 0x1p32);
    int64_t alone = 0, ids = 0, epochs = 0, seeds = 0, swapped = 0, high = 0;

    for (int64_t i = 0; i < N; i++) {
      bool first = msift_accept(42, 3, i, t);

      alone += first;
      ids += first && msift_accept(42, 3, i + 1, t);
      epochs += first && msift_accept(42, 4, i, t);
      seeds += first && msift_accept(43, 3, i, t);
      swapped += first && i != 3 && msift_accept(42, i, 3, t);
      high += first && msift_accept(42, 3, i + (INT64_C(1) << 32), t);
    }
    CU_ASSERT(sifter_within((double)alone, N, p, 5));
    CU_ASSERT(sifter_within((double)ids, N, p * p, 5));
    CU_ASSERT(sifter_within((double)epochs, N, p * p, 5));
    CU_ASSERT(sifter_within((double)seeds, N, p * p, 5));
    CU_ASSERT(sifter_within((double)swapped, N, p * p, 5));
    CU_ASSERT(sifter_within((double)high, N, p * p, 5));
  }
}

/* The published known answer of Philox4x32-10 for key and counter 0, which a seed can ask for: the key is a mix of the
 * seed that has one fixed point at 0. */
static void random_numbers_are_philox(void)
{
  uint64_t zero = 0 - UINT64_C(0x9e3779b97f4a7c15);

  CU_ASSERT_EQUAL(msift_random(zero, MSIFT_STREAM_ACCEPT, 0, 0), UINT64_C(0xe169c58d6627e8d5));
  CU_ASSERT_NOT_EQUAL(msift_random(1, MSIFT_STREAM_ACCEPT, 2, 3), msift_random(1, MSIFT_STREAM_ORDER, 2, 3));
  CU_ASSERT_NOT_EQUAL(msift_random(1, MSIFT_STREAM_ACCEPT, 2, 3), msift_random(1, MSIFT_STREAM_ACCEPT, 3, 2));
  CU_ASSERT_NOT_EQUAL(msift_random(1, MSIFT_STREAM_ACCEPT, 2, 3), msift_random(2, MSIFT_STREAM_ACCEPT, 2, 3));
}

static void draws_together(void)
{
  const philox2x32_key_t key = msift_accept_key(3, 4);
  int64_t ids[70], wrong = 0;
  uint32_t draws[70];

  for (int64_t i = 0; i < 70; i++)
    ids[i] = (i * i * i - 7) * (INT64_C(1) << i % 40);
  for (int64_t n = 0; n <= 70; n++) {
    memset(draws, 0, sizeof draws);
    msift_draw_all(key, n, ids, draws);
    for (int64_t i = 0; i < 70; i++) {
      const philox2x32_ctr_t c = {{(uint32_t)ids[i], (uint32_t)((uint64_t)ids[i] >> 32)}};

      wrong += draws[i] != (i < n ? philox2x32(c, key).v[0] : 0);
    }
  }
  CU_ASSERT_EQUAL(wrong, 0);
}

TEST_MAIN("acceptance", {"acceptance is pure", acceptance_is_pure},
          {"acceptance is independent", acceptance_is_independent},
          {"random numbers are Philox", random_numbers_are_philox}, {"draws together", draws_together})
