/* How far a place in the window, as bins tell it, is from the exact one: for losses of all shapes, while they rest,
 * drift and jump. */
#include "fleet.h"

struct errors {
  double most;     /* of the middle of the place, over the window's losses */
  int64_t outside; /* places that do not contain the exact one */
};

static struct errors rank_errors(const struct fleet *f)
{
  const struct msift_history *h = &f->on[0];
  struct errors e = {0, 0};
  int64_t n;
  float *window = fleet_sorted(f, &n);

  for (int64_t low = 0, high; low < n; low = high) {
    struct msift_place place = msift_history_place(h, msift_key(window[low]));
    double error;

    for (high = low + 1; high < n && window[high] == window[low]; high++)
      continue;
    error = fabs((place.low + place.high) / 2 - (double)(low + high) / 2 / (double)n);
    e.most = fmax(e.most, error);
    e.outside += place.low > (double)low / (double)n || place.high < (double)high / (double)n;
  }
  free(window);
  return e;
}

static void check_errors(const struct fleet *f, double most)
{
  struct errors e = rank_errors(f);

  CU_ASSERT_EQUAL(e.outside, 0);
  CU_ASSERT(e.most <= most);
}

static const double fine = 0.005;

static void settled(int64_t length, int64_t round, int first, int last)
{
  for (int shape = first; shape <= last; shape++) {
    struct fleet *f = fleet_new((struct fleet_kind){1, length, false, 0, SPREAD_EVEN});
    struct draw d = {(uint64_t)(length + shape)};

    for (int part = 0; part < 5; part++) {
      fleet_feed(f, &d, draw_shape(shape), part == 0 ? length * 5 / 4 : length / 7, round);
      check_errors(f, fine);
    }
    fleet_free(f);
  }
}

static void windows_of_512(void)
{
  settled(512, 64, 0, DRAW_SHAPES - 1);
}

static void windows_of_4096(void)
{
  settled(4096, 256, 0, DRAW_SHAPES - 1);
}

static void windows_of_65536(void)
{
  settled(65536, 4096, 0, DRAW_SHAPES - 1);
}

static void a_window_of_a_million(void)
{
  settled(1000000, 50000, DRAW_SHAPES - 3, DRAW_SHAPES - 3);
}

/* From initialisation, where losses crowd at the logarithm of a thousand classes, to convergence. */
static float draw_drifting(struct draw *d, double time)
{
  double centre = (1 - time) * log(6.91) + time * log(0.03), width = (1 - time) * 0.015 + time;

  return (float)exp(centre + width * draw_normal(d));
}

static void drift(int64_t length, int64_t round, int query_every, double most)
{
  enum { ROUNDS = 500 };
  struct fleet *f = fleet_new((struct fleet_kind){1, length, false, 0, SPREAD_EVEN});
  float *losses = malloc((size_t)round * sizeof *losses);
  struct draw d = {UINT64_C(71)};

  CU_ASSERT_PTR_NOT_NULL_FATAL(losses);
  for (int64_t t = -length / round - 4; t <= ROUNDS; t++) {
    for (int64_t i = 0; i < round; i++)
      losses[i] = draw_drifting(&d, t < 0 ? 0 : (double)t / ROUNDS);
    fleet_round(f, losses, round);
    if (t >= 0 && t % query_every == 0)
      check_errors(f, most);
  }
  CU_ASSERT(f->end - ROUNDS * round >= length);
  free(losses);
  fleet_free(f);
}

static void follows_drift(void)
{
  drift(512, 64, 1, fine);
  drift(4096, 256, 3, fine);
  drift(65536, 4096, 25, fine);
}

/* Bins are fitted a round late. What comes at once may crowd until then, the more of the window it is. */
static void large_rounds_are_a_round_late(void)
{
  drift(512, 128, 1, 0.02);
  drift(4096, 1024, 5, 0.02);
}

static void follows_drift_in_a_million(void)
{
  drift(1000000, 8192, 100, fine);
}

/* Training moves losses down, harder data or too high a learning rate up: from any shape to any other the history finds
 * its way. As soon as the window holds no others, and rounds later, places are known. */
static void follows_jumps(void)
{
  enum { LENGTH = 1000, ROUND = 50 };

  for (int first = 0; first < DRAW_SHAPES; first++)
    for (int second = 0; second < DRAW_SHAPES; second++) {
      struct fleet *f = fleet_new((struct fleet_kind){1, LENGTH, false, 0, SPREAD_EVEN});
      struct draw d = {(uint64_t)(1 + first * DRAW_SHAPES + second)};

      fleet_feed(f, &d, draw_shape(first), 2 * LENGTH, ROUND);
      fleet_feed(f, &d, draw_shape(second), LENGTH, ROUND);
      check_errors(f, fine);
      fleet_free(f);
    }
}

/* A jump in one round: the bins divide once a round, so that six rounds later they are down to single floats. */
static void follows_at_once(void)
{
  enum { LENGTH = 4096 };

  for (int shape = 0; shape < DRAW_SHAPES; shape++) {
    struct fleet *f = fleet_new((struct fleet_kind){1, LENGTH, false, 0, SPREAD_EVEN});
    struct draw d = {(uint64_t)(1 + shape)};
    float losses[LENGTH];

    fleet_feed(f, &d, draw_near_zero, 2 * LENGTH, 256);
    for (int i = 0; i < LENGTH; i++)
      losses[i] = draw_shape(shape)(&d);
    fleet_round(f, losses, LENGTH);
    for (int i = 0; i < 6; i++)
      fleet_round(f, losses, 0);
    check_errors(f, fine);
    fleet_free(f);
  }
}

/* Ties at so many places that splits do not suffice to have single floats at each. */
static float draw_scattered(struct draw *d)
{
  int64_t point = draw_below(d, 120);
  float tie = ldexpf(1 + (float)(point * 7919 % 1024) / 1024, (int)(point * 37 % 200) - 100);

  return draw_unit(d) < 0.5 ? tie : nextafterf(tie, 0);
}

static void scattered_ties(void)
{
  for (int64_t length = 512; length <= 32768; length *= 4) {
    struct fleet *f = fleet_new((struct fleet_kind){1, length, false, 0, SPREAD_EVEN});
    struct draw d = {(uint64_t)length};

    fleet_feed(f, &d, draw_scattered, 3 * length, length / 16);
    check_errors(f, 0.02);
    CU_ASSERT(f->on[0].bins.n_splits <= MSIFT_BINS_SPLITS);
    CU_ASSERT(length < 4096 || f->on[0].coarse > 1);
    fleet_free(f);
  }
}

static void an_equal_window_has_one_bin(void)
{
  static const draw_fn draws[] = {draw_equal, draw_zero};

  for (int64_t length = 1; length <= 100000; length = 10 * length + 7)
    for (int k = 0; k < 2; k++) {
      struct fleet *f = fleet_new((struct fleet_kind){2, length, false, 0, SPREAD_EVEN});
      struct draw d = {UINT64_C(3)};
      struct msift_place place;

      fleet_feed(f, &d, draw_lognormal, length, length / 10 + 1);
      fleet_feed(f, &d, draws[k], 2 * length + 7, length / 10 + 1);
      place = msift_history_place(&f->on[0], msift_key(draws[k](&d)));
      CU_ASSERT(place.low == 0 && place.high == 1);
      place = msift_history_place(&f->on[0], msift_key(nextafterf(draws[k](&d), 100)));
      CU_ASSERT(length < 3 || (place.low == 1 && place.high == 1));
      place = msift_history_place(&f->on[0], msift_key(nextafterf(draws[k](&d), -100)));
      CU_ASSERT(length < 3 || (place.low == 0 && place.high == 0));
      fleet_free(f);
    }
}

/* Where the window is large, what moves in and out of it is no reason to fit again. */
static void refits_are_rare(void)
{
  enum { LENGTH = 65536 };

  for (int shape = 0; shape < DRAW_SHAPES; shape++) {
    struct fleet *f = fleet_new((struct fleet_kind){1, LENGTH, false, 0, SPREAD_EVEN});
    struct draw d = {(uint64_t)(5 + shape)};
    int64_t refits;

    fleet_feed(f, &d, draw_shape(shape), LENGTH * 5 / 4, 2048);
    refits = f->on[0].refits;
    fleet_feed(f, &d, draw_shape(shape), 2 * LENGTH, 2048);
    CU_ASSERT(f->on[0].refits - refits <= 1);
    fleet_free(f);
  }
}

TEST_MAIN("places", {"windows of 512", windows_of_512}, {"windows of 4096", windows_of_4096},
          {"windows of 65536", windows_of_65536}, {"a window of a million", a_window_of_a_million},
          {"follows drift", follows_drift}, {"large rounds are a round late", large_rounds_are_a_round_late},
          {"follows drift in a million", follows_drift_in_a_million}, {"follows jumps", follows_jumps},
          {"follows at once", follows_at_once}, {"an equal window has one bin", an_equal_window_has_one_bin},
          {"scattered ties", scattered_ties}, {"refits are rare", refits_are_rare})
