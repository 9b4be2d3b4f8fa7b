/* The order of an epoch: each id once, an even shuffle, few blocks at a time; and which positions a rank has. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/order.h"
#include "core/walk.h"
#include "testing.h"

/* Ids out of range, met twice, or that do not lead back to their position; `at` is [n]. */
static int64_t count_wrong(const struct msift_order *o, int64_t *at)
{
  struct msift_finder finder;
  int64_t wrong = 0;

  memset(at, 0xff, (size_t)o->n * sizeof *at);
  for (int64_t q = 0; q < o->n; q++) {
    int64_t id = msift_order_id(o, q);

    if (id < 0 || id >= o->n || at[id] >= 0)
      wrong++;
    else
      at[id] = q;
  }
  msift_finder_make(&finder, o);
  for (int64_t id = 0; id < o->n; id++)
    wrong += msift_finder_position(&finder, id) != at[id];
  return wrong;
}

static int64_t wrong_of(int64_t n, int64_t block, int64_t lanes, int64_t window)
{
  struct msift_order o = msift_order_make(n, block, lanes, window, true, 11, n % 3);
  int64_t *at = malloc((size_t)n * sizeof *at), wrong = at == NULL ? n : count_wrong(&o, at);

  free(at);
  return wrong;
}

static void small_sizes(void)
{
  static const int64_t blocks[] = {1, 7, 64}, lanes[] = {1, 5, 240};

  for (int64_t n = 1; n <= 200; n++)
    for (int b = 0; b < 3; b++)
      for (int l = 0; l < 3; l++)
        for (int64_t window = 1; window <= 4; window++)
          CU_ASSERT_EQUAL(wrong_of(n, blocks[b], lanes[l], window), 0);
}

static void large_sizes(void)
{
  static const int64_t sizes[] = {100003, 65536, 65537, 65535, 99991, 7919};
  static const int64_t blocks[] = {1, 64, 1000, 1000000}, lanes[] = {1, 7, 240};

  for (int s = 0; s < 6; s++)
    for (int b = 0; b < 4; b++)
      CU_ASSERT_EQUAL(wrong_of(sizes[s], blocks[b], lanes[(s + b) % 3], 1 + (s + b) % 4), 0);
}

/* Powers of two and their neighbours, primes, and millions. */
static void many_sizes(void)
{
  static const int64_t primes[] = {2, 3, 5, 101, 997, 10007, 524287, 1000003, 2097143};

  for (int bits = 1; bits <= 20; bits += bits < 18 ? 1 : 2)
    for (int64_t n = (INT64_C(1) << bits) - 1; n <= (INT64_C(1) << bits) + 1; n++)
      CU_ASSERT_EQUAL(wrong_of(n, bits % 3 == 0 ? 1 : 1 << bits / 2, bits % 2 == 0 ? 240 : 7, 1 + bits % 4), 0);
  for (size_t i = 0; i < sizeof primes / sizeof primes[0]; i++)
    CU_ASSERT_EQUAL(wrong_of(primes[i], 1 + (int64_t)i * 37, 240, 2), 0);
}

static int compare_ids(const void *a, const void *b)
{
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

  return x < y ? -1 : x > y;
}

/* More samples than 32 bits count. */
static void huge_size(void)
{
  enum { PROBES = 20000 };
  static int64_t ids[PROBES];
  struct msift_order o = msift_order_make(INT64_C(30000000001), 512, 240, 2, true, 1, 0);
  struct msift_finder finder;
  int64_t wrong = 0;

  msift_finder_make(&finder, &o);
  for (int64_t i = 0; i < PROBES; i++) {
    ids[i] = msift_order_id(&o, i < PROBES / 2 ? i : o.n - 1 - (i - PROBES / 2));
    wrong += ids[i] < 0 || ids[i] >= o.n;
    wrong += msift_finder_position(&finder, ids[i]) != (i < PROBES / 2 ? i : o.n - 1 - (i - PROBES / 2));
  }
  qsort(ids, PROBES, sizeof ids[0], compare_ids);
  for (int i = 1; i < PROBES; i++)
    wrong += ids[i] == ids[i - 1];
  CU_ASSERT_EQUAL(wrong, 0);
}

static int64_t agreements(const struct msift_order *a, const struct msift_order *b)
{
  int64_t same = 0;

  for (int64_t q = 0; q < a->n; q++)
    same += msift_order_id(a, q) == msift_order_id(b, q);
  return same;
}

/* Random orders agree at one position on average, in blocks at a few together. */
static void epochs_and_seeds_differ(void)
{
  int64_t epochs = 0, seeds = 0, swapped = 0;

  for (int64_t k = 1; k <= 40; k++) {
    struct msift_order o = msift_order_make(2003, 1, 7, 2, true, (uint64_t)k, k + 50);
    struct msift_order next = msift_order_make(2003, 1, 7, 2, true, (uint64_t)k, k + 51);
    struct msift_order other = msift_order_make(2003, 1, 7, 2, true, (uint64_t)k + 1, k + 50);
    struct msift_order swap = msift_order_make(2003, 1, 7, 2, true, (uint64_t)k + 50, k);
    struct msift_order again = msift_order_make(2003, 1, 7, 2, true, (uint64_t)k, k + 50);

    epochs += agreements(&o, &next);
    seeds += agreements(&o, &other);
    swapped += agreements(&o, &swap);
    CU_ASSERT_EQUAL(agreements(&o, &again), 2003);
  }
  CU_ASSERT(epochs < 80 && seeds < 80 && swapped < 80);
}

/* The shuffle inside a window is another one in the next lane, window and epoch. */
static void windows_differ(void)
{
  struct msift_order o = msift_order_make(64 * 40, 64, 10, 4, true, 3, 0);
  struct msift_order next = msift_order_make(64 * 40, 64, 10, 4, true, 3, 1);
  int64_t lanes = 0, epochs = 0;

  CU_ASSERT_EQUAL(o.block, 64);
  for (int64_t i = 0; i < 256; i++)
    for (int64_t l = 1; l < 10; l++) {
      lanes += msift_order_id(&o, i * 10 + l) % 64 == msift_order_id(&o, i * 10) % 64;
      epochs += msift_order_id(&o, i * 10 + l) % 64 == msift_order_id(&next, i * 10 + l) % 64;
    }
  CU_ASSERT(lanes < 2 * 256 * 9 / 64);
  CU_ASSERT(epochs < 2 * 256 * 9 / 64);
}

static void no_shuffle(void)
{
  static const int64_t sizes[] = {1, 2, 99, 5003};

  for (int s = 0; s < 4; s++) {
    struct msift_order o = msift_order_make(sizes[s], 16, 240, 2, false, 9, 4);
    int64_t wrong = 0;

    for (int64_t q = 0; q < sizes[s]; q++)
      wrong += msift_order_id(&o, q) != q;
    CU_ASSERT_EQUAL(wrong, 0);
  }
}

/* Some ids' positions over many epochs, counted in cells of equal size: by how many standard deviations chi-square
 * exceeds its mean. */
static double spread(int64_t n, int64_t block, int64_t lanes, int64_t window)
{
  enum { CELLS = 16, EPOCHS = 300, PROBES = 8 };
  double counts[PROBES][CELLS] = {{0}}, sum = 0, expected = (double)EPOCHS / CELLS;

  for (int64_t e = 0; e < EPOCHS; e++) {
    struct msift_order o = msift_order_make(n, block, lanes, window, true, 77, e);

    for (int64_t q = 0; q < n; q++) {
      int64_t id = msift_order_id(&o, q);

      if (id % (n / PROBES) == 5 && id / (n / PROBES) < PROBES)
        counts[id / (n / PROBES)][q * CELLS / n]++;
    }
  }
  for (int p = 0; p < PROBES; p++)
    for (int c = 0; c < CELLS; c++)
      sum += (counts[p][c] - expected) * (counts[p][c] - expected) / expected;
  return (sum - PROBES * (CELLS - 1)) / sqrt(2.0 * PROBES * (CELLS - 1));
}

static void positions_are_even(void)
{
  CU_ASSERT(spread(1024, 1, 1, 1) < 5);
  CU_ASSERT(spread(1021, 1, 240, 2) < 5);
  CU_ASSERT(spread(2048, 16, 8, 2) < 5);
  CU_ASSERT(spread(2041, 16, 2, 3) < 5);
  CU_ASSERT(spread(2048, 32, 4, 4) < 5);
  CU_ASSERT(spread(2053, 64, 1, 1) < 5);
  CU_ASSERT(spread(1031, 8, 16, 6) < 5);
}

/* Of random pairs, a share of 1/blocks comes from one block; woven neighbours must not do so more often. */
static void neighbours_come_from_different_blocks(void)
{
  for (int64_t e = 0; e < 5; e++) {
    struct msift_order o = msift_order_make(100003, 64, 240, 2, true, 5, e);
    int64_t same = 0;

    for (int64_t q = 1; q < o.n; q++)
      same += msift_order_id(&o, q) / o.block == msift_order_id(&o, q - 1) / o.block;
    CU_ASSERT(same <= 2 * o.n / o.blocks.n);
  }
}

/* Ids of consecutive blocks do not follow one another: their differences are of either sign. */
static void blocks_are_shuffled(void)
{
  struct msift_order o = msift_order_make(64000, 64, 4, 1, true, 5, 0);
  int64_t ascents = 0, neighbours = 0;

  for (int64_t k = 1; k < 250; k++) {
    int64_t a = msift_order_id(&o, (k - 1) * 64 * 4) / 64, b = msift_order_id(&o, k * 64 * 4) / 64;

    ascents += b > a;
    neighbours += b == a + 1;
  }
  CU_ASSERT(ascents > 90 && ascents < 160);
  CU_ASSERT(neighbours < 6);
}

/* By how many positions of their lane neighbours of a block are apart, on average. */
static double mean_distance(const struct msift_order *o)
{
  int64_t *places = malloc((size_t)o->n * sizeof *places), pairs = 0;
  double sum = 0;

  CU_ASSERT_PTR_NOT_NULL_FATAL(places);
  for (int64_t q = 0; q < o->n; q++)
    places[msift_order_id(o, q)] = q;
  for (int64_t id = 1; id < o->n; id++)
    if (id % o->block != 0) {
      sum += fabs((double)(places[id] - places[id - 1])) / (double)o->lanes;
      pairs++;
    }
  free(places);
  return sum / (double)pairs;
}

/* Two of w places, chosen at random, are (w + 1) / 3 apart on average: a window's samples are in full shuffle, and
 * samples that lie side by side come as far apart as the window allows. */
static void windows_are_in_full_shuffle(void)
{
  static const int64_t windows[] = {1, 2, 3, 4, 6, 8, 24};

  for (int w = 0; w < 7; w++) {
    double sum = 0, expected = ((double)windows[w] * 32 + 1) / 3;

    for (int64_t e = 0; e < 4; e++) {
      struct msift_order o = msift_order_make(5 * 32 * 240, 32, 5, windows[w], true, 5, e);

      CU_ASSERT(o.block == 32 && o.window == windows[w] * 32);
      sum += mean_distance(&o) / 4;
    }
    CU_ASSERT(fabs(sum - expected) < 0.02 * expected);
  }
}

/* Without blocks all positions are possible. */
static void single_samples_are_in_full_shuffle(void)
{
  struct msift_order o = msift_order_make(200000, 1, 1, 1, true, 5, 3);
  int64_t *places = malloc((size_t)o.n * sizeof *places);
  double sum = 0;

  CU_ASSERT_PTR_NOT_NULL_FATAL(places);
  for (int64_t q = 0; q < o.n; q++)
    places[msift_order_id(&o, q)] = q;
  for (int64_t id = 1; id < o.n; id++)
    sum += fabs((double)(places[id] - places[id - 1]));
  free(places);
  CU_ASSERT(fabs(sum / (double)(o.n - 1) - (double)o.n / 3) < 0.01 * (double)o.n / 3);
}

/* Distinct blocks of a lane's samples [begin, end). */
static int64_t blocks_in(const struct msift_order *o, int64_t lane, int64_t begin, int64_t end, unsigned char *met)
{
  int64_t n = 0;

  memset(met, 0, (size_t)o->blocks.n);
  for (int64_t i = begin; i < end; i++) {
    int64_t q = i * o->lanes + lane, b = q < o->n ? msift_order_id(o, q) / o->block : -1;

    n += b >= 0 && !met[b];
    if (b >= 0)
      met[b] = 1;
  }
  return n;
}

/* What a reader caches: a window's samples lie in as many blocks, but for one cut at either end and the short one. */
static void windows_touch_few_blocks(void)
{
  for (int64_t window = 1; window <= 4; window++) {
    struct msift_order o = msift_order_make(20011, 32, 7, window, true, 5, window);
    unsigned char met[20011];
    int64_t most = 0, length = o.n / o.lanes;

    CU_ASSERT_EQUAL(o.block, 32);
    for (int64_t lane = 0; lane < o.lanes; lane++)
      for (int64_t begin = 0; begin + o.window <= length; begin += o.window) {
        int64_t blocks = blocks_in(&o, lane, begin, begin + o.window, met);

        most = blocks > most ? blocks : most;
      }
    CU_ASSERT(most <= window + 2);
  }
}

static int owns(int64_t lanes, int64_t ranks, int64_t rank, int64_t position)
{
  return position % lanes % ranks == rank;
}

/* The positions before `end` of each rank, by looking at each. */
static void count_lanes(int64_t lanes, int64_t ranks, int64_t *wrong)
{
  int64_t counts[64] = {0};

  for (int64_t q = 0; q < 3 * lanes + 5; q++) {
    for (int64_t r = 0; r < ranks; r++)
      *wrong += msift_lane_count(lanes, ranks, r, q) != counts[r];
    counts[q % lanes % ranks]++;
  }
}

static void lane_counts(void)
{
  int64_t wrong = 0;

  for (int64_t lanes = 1; lanes <= 24; lanes++)
    for (int64_t ranks = 1; ranks <= 28; ranks++)
      count_lanes(lanes, ranks, &wrong);
  count_lanes(240, 64, &wrong);
  count_lanes(240, 7, &wrong);
  CU_ASSERT_EQUAL(wrong, 0);
}

static int64_t brute_max(int64_t lanes, int64_t ranks, int64_t begin, int64_t end)
{
  int64_t counts[64] = {0}, most = 0;

  for (int64_t q = begin; q < end; q++)
    counts[q % lanes % ranks]++;
  for (int64_t r = 0; r < ranks; r++)
    most = counts[r] > most ? counts[r] : most;
  return most;
}

static void lane_count_maxima(void)
{
  int64_t wrong = 0;

  for (int64_t lanes = 1; lanes <= 15; lanes++)
    for (int64_t ranks = 1; ranks <= 17; ranks++)
      for (int64_t begin = 0; begin < 2 * lanes; begin++)
        for (int64_t end = begin; end < 3 * lanes; end++)
          wrong += msift_lane_count_max(lanes, ranks, begin, end) != brute_max(lanes, ranks, begin, end);
  CU_ASSERT_EQUAL(wrong, 0);
}

/* Every rank that has a lane. */
static void lane_next(void)
{
  int64_t wrong = 0;

  for (int64_t lanes = 1; lanes <= 40; lanes++)
    for (int64_t ranks = 1; ranks <= 42; ranks++)
      for (int64_t rank = 0; rank < ranks && rank < lanes; rank++)
        for (int64_t q = 0; q < 2 * lanes + 1; q++) {
          int64_t next = q;

          while (!owns(lanes, ranks, rank, next))
            next++;
          wrong += msift_lane_next(lanes, ranks, rank, q) != next;
        }
  CU_ASSERT_EQUAL(wrong, 0);
}

/* Ids of a walk, of each rank's positions in turn and now and then of others, are those of the order. */
static int64_t strays(const struct msift_order *orders, int64_t ranks)
{
  struct msift_memory memory = {0};
  struct msift_error error = {0};
  int64_t wrong = 0;

  for (int64_t rank = 0; rank < ranks && rank < orders->lanes; rank++) {
    struct msift_walk walk = {0};

    for (int e = 0; e < 3; e++) {
      const struct msift_order *o = &orders[e % 2];

      CU_ASSERT_EQUAL(msift_walk_reserve(&walk, o, ranks, rank, &memory, &error), MPISIFT_OK);
      for (int64_t q = msift_lane_next(o->lanes, ranks, rank, 0); q < o->n;
           q = msift_lane_next(o->lanes, ranks, rank, q + 1)) {
        int64_t other = msift_lane_next(o->lanes, ranks, rank, q * 7919 % o->n);

        wrong += msift_walk_id(&walk, o, q) != msift_order_id(o, q);
        if (q % 11 == 0 && other < o->n)
          wrong += msift_walk_id(&walk, o, other) != msift_order_id(o, other);
      }
    }
    msift_walk_destroy(&walk, &memory);
  }
  CU_ASSERT_EQUAL(memory.blocks, 0);
  return wrong;
}

static void walks(void)
{
  static const int64_t sizes[] = {1, 2, 3, 5, 64, 127, 129, 1009, 4096, 9973};
  static const int64_t shapes[][3] = {{1, 1, 2}, {1, 7, 2}, {16, 5, 1}, {64, 3, 2}, {21, 240, 2}, {7, 2, 5000}};

  for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
    for (size_t k = 0; k < sizeof shapes / sizeof shapes[0]; k++)
      for (int shuffle = 0; shuffle < 2; shuffle++) {
        struct msift_order orders[2];

        for (int e = 0; e < 2; e++)
          orders[e] = msift_order_make(sizes[s], shapes[k][0], shapes[k][1], shapes[k][2], shuffle, 3, e);
        CU_ASSERT_EQUAL(strays(orders, 1) + strays(orders, 4), 0);
      }
}

/* Too large for tables, or for windows to be held. */
static void large_walks(void)
{
  const int64_t window = 1 << 22, n = INT64_C(1) << 44;
  const struct msift_order orders[] = {msift_order_make(n, 1 << 21, 4, 2, true, 3, 0),
                                       msift_order_make(n, 1, 5, 2, true, 3, 0)};
  struct msift_memory memory = {0};
  struct msift_error error = {0};

  for (int k = 0; k < 2; k++) {
    struct msift_walk walk = {0};
    int64_t wrong = 0;

    CU_ASSERT_EQUAL(msift_walk_reserve(&walk, &orders[k], 1, 0, &memory, &error), MPISIFT_OK);
    CU_ASSERT(memory.bytes < 1 << 20);
    for (int64_t q = 0; q < n - 5 * window; q += n / 999)
      wrong += msift_walk_id(&walk, &orders[k], q) != msift_order_id(&orders[k], q);
    CU_ASSERT_EQUAL(wrong, 0);
    msift_walk_destroy(&walk, &memory);
  }
}

TEST_MAIN("order", {"small sizes", small_sizes}, {"large sizes", large_sizes}, {"many sizes", many_sizes},
          {"huge size", huge_size}, {"epochs and seeds differ", epochs_and_seeds_differ},
          {"windows differ", windows_differ}, {"no shuffle", no_shuffle}, {"positions are even", positions_are_even},
          {"neighbours come from different blocks", neighbours_come_from_different_blocks},
          {"blocks are shuffled", blocks_are_shuffled}, {"windows are in full shuffle", windows_are_in_full_shuffle},
          {"single samples are in full shuffle", single_samples_are_in_full_shuffle},
          {"windows touch few blocks", windows_touch_few_blocks}, {"lane counts", lane_counts},
          {"lane count maxima", lane_count_maxima}, {"next position", lane_next}, {"walks", walks},
          {"large walks", large_walks})
