/* The loss history against sorted windows: its counts, by bins and exact, on several simulated ranks. */
#include <float.h>

#include "fleet.h"

/* Losses below an edge by a walk through the sorted window, in floats: no key is needed to know what lies below. */
static int64_t count_wrong(const struct msift_history *h, const float *window, int64_t n)
{
  int64_t wrong = h->total != (uint64_t)n || msift_counts_below(&h->counts, h->bins.n) != (uint64_t)n, i = 0;

  for (int b = 0; b < h->bins.n; b++) {
    float edge = msift_key_float(h->bins.first[b]); /* NAN below all numbers, and above */
    bool above = isnan(edge) && !signbit(edge);

    while (i < n && (above || window[i] < edge))
      i++;
    wrong += msift_counts_below(&h->counts, b) != (uint64_t)i;
  }
  return wrong;
}

/* Losses of the sorted window below a value; with `equal`, those equal to it too. */
static int64_t lower(const float *window, int64_t n, float value, bool equal)
{
  int64_t low = 0, high = n;

  while (low < high) {
    int64_t middle = (low + high) / 2;

    if (window[middle] < value || (equal && window[middle] == value))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static bool place_is(const struct msift_history *h, const float *window, int64_t n, float value)
{
  struct msift_place place = msift_history_place(h, msift_key(value));
  double low = (double)lower(window, n, value, false) / (double)n;
  double high = (double)lower(window, n, value, true) / (double)n;

  return h->exact ? place.low == low && place.high == high : place.low <= low && place.high >= high;
}

/* Places of the window's losses, of their neighbours, and of what no loss is near. */
static int64_t places_wrong(const struct msift_history *h, const float *window, int64_t n)
{
  static const float others[] = {-FLT_MAX, -1, 0, 1e-20F, 0.3F, 5, FLT_MAX};
  int64_t wrong = 0, step = n / 500 + 1;

  for (int64_t i = 0; i < n; i += step) {
    wrong += !place_is(h, window, n, window[i]);
    wrong += window[i] < FLT_MAX && !place_is(h, window, n, nextafterf(window[i], FLT_MAX));
    wrong += window[i] > -FLT_MAX && !place_is(h, window, n, nextafterf(window[i], -FLT_MAX));
  }
  for (size_t i = 0; n > 0 && i < sizeof others / sizeof others[0]; i++)
    wrong += !place_is(h, window, n, others[i]);
  return wrong;
}

static int64_t groups_wrong(const struct fleet *f)
{
  const struct msift_history *h = &f->on[0];
  int64_t wrong = 0;

  for (int64_t g = 0; g < h->groups; g++) {
    uint64_t n = 0;

    for (int64_t i = fleet_window(f); i < f->n; i++)
      n += f->scored[i].group == g;
    wrong += h->in_group[g] != n;
  }
  return wrong;
}

static bool same_counts(const struct msift_history *a, const struct msift_history *b)
{
  size_t bins = (size_t)a->bins.n + 1;

  return a->end == b->end && a->total == b->total && a->bins.n == b->bins.n && a->refitting == b->refitting &&
         a->refits == b->refits && memcmp(a->bins.first, b->bins.first, bins * sizeof *a->bins.first) == 0 &&
         memcmp(&a->counts, &b->counts, sizeof a->counts) == 0 &&
         (a->groups == 0 || memcmp(a->in_group, b->in_group, (size_t)a->groups * sizeof *a->in_group) == 0) &&
         (!a->exact || a->total == 0 || memcmp(a->sorted, b->sorted, a->total * sizeof *a->sorted) == 0);
}

static void check(const struct fleet *f)
{
  const struct msift_history *h = &f->on[0];
  int64_t n, held = 0;
  float *window = fleet_sorted(f, &n);

  CU_ASSERT_EQUAL(h->end, f->end);
  CU_ASSERT_EQUAL(msift_history_full(h), f->end >= f->length);
  CU_ASSERT_EQUAL(h->total, (uint64_t)n);
  CU_ASSERT(h->exact || count_wrong(h, window, n) == 0);
  CU_ASSERT_EQUAL(places_wrong(h, window, n), 0);
  CU_ASSERT_EQUAL(groups_wrong(f), 0);
  for (int r = 0; r < f->ranks; r++) {
    CU_ASSERT(same_counts(h, &f->on[r]));
    held += f->on[r].seen.n;
  }
  CU_ASSERT_EQUAL(held, n);
  free(window);
}

/* The window fills, slides, and passes from one distribution into the next. */
static void all_distributions(int64_t length, bool exact)
{
  for (int shape = 0; shape < DRAW_SHAPES; shape++) {
    struct fleet *f = fleet_new((struct fleet_kind){3, length, exact, 4, SPREAD_RUNS});
    struct draw d = {(uint64_t)(length + shape)};

    for (int part = 0; part < 6; part++) {
      fleet_feed(f, &d, draw_shape(part < 4 ? shape : (shape + 1) % DRAW_SHAPES), length / 2 + 7, length / 5);
      check(f);
    }
    fleet_free(f);
  }
}

static void counts_by_bins(void)
{
  all_distributions(512, false);
  all_distributions(4096, false);
  all_distributions(30000, false);
}

static void exact_places(void)
{
  all_distributions(512, true);
  all_distributions(4096, true);
  all_distributions(30000, true);
}

/* Rounds of any size, some longer than the window, some empty, some with bad losses; every step is checked. */
static void expiry(int64_t length, int ranks, bool exact)
{
  struct fleet *f = fleet_new((struct fleet_kind){ranks, length, exact, 3, SPREAD_RUNS});
  struct draw d = {UINT64_C(99)};
  float losses[600];

  check(f);
  for (int round = 0; round < 8 * DRAW_SHAPES; round++) {
    int64_t n = round % 10 == 3 ? 0 : 1 + draw_below(&d, round % 17 == 5 ? 600 : 1 + length / 3);

    for (int64_t i = 0; i < n; i++)
      losses[i] = draw_unit(&d) < 0.05 || round == 40 ? NAN : draw_shape(round / 8)(&d);
    fleet_round(f, losses, n);
    check(f);
  }
  fleet_free(f);
}

static void uneven_rounds(void)
{
  for (int exact = 0; exact <= 1; exact++) {
    expiry(250, 1, exact);
    expiry(250, 3, exact);
    expiry(33, 8, exact);
    expiry(2, 2, exact);
  }
}

/* Rounds of which places stay empty take as much of the window as they have candidates, be that few or none. */
static void empty_places(bool exact)
{
  struct fleet *f = fleet_new((struct fleet_kind){3, 400, exact, 2, SPREAD_RANDOM});
  struct draw d = {UINT64_C(41)};
  float losses[120];

  for (int round = 0; round < 150; round++) {
    const struct msift_history_round r = {1 + draw_below(&d, 120), round % 5 != 2};
    double filled = !r.sparse ? 1 : round % 11 == 4 ? 0 : draw_unit(&d);
    int64_t candidates = 0;

    for (int64_t i = 0; i < r.places; i++) {
      bool empty = draw_unit(&d) >= filled;

      candidates += !empty;
      losses[i] = empty || draw_unit(&d) < 0.1 ? NAN : draw_lognormal(&d);
    }
    fleet_any_round(f, r, candidates, losses);
    check(f);
    CU_ASSERT(f->end < 400 || f->on[0].total > 300);
  }
  CU_ASSERT(f->on[0].total < 520);
  fleet_free(f);
}

static void rounds_with_empty_places(void)
{
  empty_places(false);
  empty_places(true);
}

static void window_of_one(void)
{
  for (int exact = 0; exact <= 1; exact++) {
    struct fleet *f = fleet_new((struct fleet_kind){2, 1, exact, 1, SPREAD_EVEN});
    struct draw d = {UINT64_C(5)};

    for (int i = 0; i < 50; i++) {
      float loss = i % 7 == 3 ? NAN : draw_signed(&d);

      fleet_round(f, &loss, 1);
      check(f);
    }
    fleet_free(f);
  }
}

/* How the losses are spread over ranks does not matter, refits included. */
static void ranks_do_not_matter(bool exact)
{
  static const int ranks[] = {1, 2, 3, 8};
  struct fleet *fleets[1 + 3 * SPREADS];
  int n = 0;

  for (int k = 0; k < 4; k++)
    for (int spread = 0; spread < (k == 0 ? 1 : SPREADS); spread++) {
      struct draw d = {UINT64_C(1234)};
      struct fleet *f = fleet_new((struct fleet_kind){ranks[k], 4096, exact, 5, (enum spread)spread});

      fleet_feed(f, &d, draw_equal, 5000, 700);
      fleet_feed(f, &d, draw_ties, 6000, 700);
      fleet_feed(f, &d, draw_signed, 6000, 700);
      check(f);
      CU_ASSERT(exact || f->on[0].refits > 0);
      fleets[n++] = f;
      CU_ASSERT(same_counts(&f->on[0], &fleets[0]->on[0]));
    }
  while (n > 0)
    fleet_free(fleets[--n]);
}

static void any_spread_over_ranks(void)
{
  ranks_do_not_matter(false);
  ranks_do_not_matter(true);
}

/* The largest and smallest floats have places, also where bins have been fitted to one of them. */
static void extreme_losses(void)
{
  static const float extremes[] = {FLT_MAX,  0,        0x1p-149F, -0.0F, 1,       -0x1p-149F,
                                   -FLT_MAX, -FLT_MIN, FLT_MIN,   -1,    -1e-30F, 0x1.fffffep-127F};
  enum { EXTREMES = sizeof extremes / sizeof extremes[0] };

  for (int k = 0; k < 2 * EXTREMES; k++) {
    struct fleet *f = fleet_new((struct fleet_kind){2, 40, k % 2 == 1, 0, SPREAD_EVEN});

    for (int i = 0; i < 200; i++) {
      float loss = i < 120 ? extremes[k / 2] : extremes[i % EXTREMES];

      fleet_round(f, &loss, 1);
      check(f);
    }
    fleet_free(f);
  }
}

/* Room for a commit that is not to be had is an error, after which the history is what it was and goes on. */
static void no_memory(void)
{
  for (int exact = 0; exact <= 1; exact++)
    for (int64_t k = 1; k <= (exact ? 5 : 1); k++) {
      struct fleet *f = fleet_new((struct fleet_kind){1, 100, exact, 2, SPREAD_EVEN});
      const struct msift_history_round large = {5000, false};
      struct draw d = {UINT64_C(11)};

      fleet_feed(f, &d, draw_lognormal, 250, 30);
      f->memory.fail_after = k;
      CU_ASSERT_EQUAL(msift_history_reserve(&f->on[0], &f->memory, &f->error, large, 5000), MPISIFT_ERR_MEMORY);
      f->memory.fail_after = 0;
      msift_error_clear(&f->error);
      check(f);
      fleet_feed(f, &d, draw_lognormal, 6000, 3000);
      check(f);
      fleet_free(f);
    }
}

TEST_MAIN("history", {"counts by bins", counts_by_bins}, {"exact places", exact_places},
          {"uneven rounds", uneven_rounds}, {"rounds with empty places", rounds_with_empty_places},
          {"window of one", window_of_one}, {"any spread over ranks", any_spread_over_ranks},
          {"extreme losses", extreme_losses}, {"no memory", no_memory})
