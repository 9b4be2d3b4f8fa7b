/* The loss table: what entries become of reports, in whatever order these come, and the census of what is known,
 * however the table is spread; shares kept and weights of the policies that go by it. */
#include <stdlib.h>

#include "core/census.h"
#include "core/decide.h"
#include "core/runs.h"
#include "draw.h"
#include "testing.h"

static struct msift_memory memory;
static struct msift_error error;

static struct msift_table table_of(int64_t n, int64_t ranks, int64_t rank)
{
  struct msift_table t = {0};

  CU_ASSERT_EQUAL(msift_table_init(&t, &memory, &error, n, ranks, rank), MPISIFT_OK);
  return t;
}

static void runs(void)
{
  for (int64_t n = 1; n <= 40; n++)
    for (int64_t parts = 1; parts <= 45; parts++) {
      int64_t wrong = msift_run_begin(n, parts, 0) != 0 || msift_run_begin(n, parts, parts) != n;

      for (int64_t r = 0; r < parts; r++)
        for (int64_t i = msift_run_begin(n, parts, r); i < msift_run_begin(n, parts, r + 1); i++)
          wrong += msift_run_of(n, parts, i) != r;
      CU_ASSERT_EQUAL(wrong, 0);
    }
  CU_ASSERT_EQUAL(msift_run_of(INT64_C(30000000001), 7, INT64_C(30000000000)), 6);
}

static void begins_unknown(void)
{
  struct msift_table t = table_of(10, 3, 1);

  CU_ASSERT_EQUAL(t.first, 4);
  CU_ASSERT_EQUAL(t.n, 3);
  for (int64_t id = 4; id < 7; id++) {
    CU_ASSERT(!msift_entry_known(msift_table_at(&t, id)));
    CU_ASSERT(isnan(msift_table_at(&t, id)->confidence));
    CU_ASSERT_EQUAL(msift_table_at(&t, id)->epoch, -1);
  }
  msift_table_destroy(&t, &memory);
}

/* Ids that 32 bits do not hold, on a rank far up. */
static void long_ids(void)
{
  const int64_t n = (INT64_C(1) << 40) + 5, ranks = INT64_C(1) << 33, rank = ranks - 2;
  struct msift_table t = table_of(n, ranks, rank);
  struct msift_report r[] = {{t.first, 0, 0, -1, 1, NAN}, {t.first + t.n - 1, 0, 0, 7, 2, 0.25F}};

  CU_ASSERT_EQUAL(t.n, n / ranks);
  CU_ASSERT_EQUAL(t.first, rank * t.n + 5); /* the first five ranks have one more */
  CU_ASSERT_EQUAL(msift_run_of(n, ranks, t.first), rank);
  CU_ASSERT_EQUAL(msift_run_of(n, ranks, t.first - 1), rank - 1);
  msift_table_take(&t, r, 2);
  CU_ASSERT_EQUAL(t.entries[0].loss, 1);
  CU_ASSERT(t.entries[t.n - 1].loss == 2 && t.entries[t.n - 1].group == 7);
  CU_ASSERT_NOT_EQUAL(msift_random(1, MSIFT_STREAM_REFRESH, 0, (uint64_t)t.first),
                      msift_random(1, MSIFT_STREAM_REFRESH, 0, (uint64_t)(uint32_t)t.first));
  msift_table_destroy(&t, &memory);
}

/* The formulas, with an entry's reports one by one. */
static double expected_loss(double smoothing, double difference, const float *losses, int n)
{
  double smoothed = (double)losses[0], value = smoothed;

  for (int i = 0; i < n; i++) {
    double before = smoothed;

    smoothed = smoothing * smoothed + (1 - smoothing) * (double)losses[i];
    value = smoothed + difference * ((double)losses[i] - before);
  }
  return value;
}

static void smooths(void)
{
  static const float losses[] = {2, 1, 3, 0.5F, 0.25F};
  static const double settings[][2] = {{0, 0}, {0.9, 0}, {0.5, 0.5}, {0.9, 0.7}};

  for (int s = 0; s < 4; s++) {
    struct msift_table t = table_of(1, 1, 0);

    t.smoothing = settings[s][0];
    t.difference = settings[s][1];
    for (int i = 0; i < 5; i++) {
      struct msift_report r = {.id = 0, .trained = i, .drawn = i, .loss = losses[i], .confidence = 0.5F};

      msift_table_take(&t, &r, 1);
      CU_ASSERT_DOUBLE_EQUAL((double)t.entries[0].loss, expected_loss(t.smoothing, t.difference, losses, i + 1), 1e-6);
    }
    CU_ASSERT_EQUAL(t.entries[0].epoch, 4);
    CU_ASSERT_EQUAL(t.entries[0].confidence, 0.5F);
    msift_table_destroy(&t, &memory);
  }
}

/* Of two reports for one id, that of the later epoch counts last; trained in the same epoch, that drawn later. */
static void order_of_reports_does_not_matter(void)
{
  static const struct msift_report reports[] = {{0, 1, 0, -1, 1, NAN}, {0, 1, 1, 3, 2, NAN},  {0, 2, 2, -1, 4, NAN},
                                                {1, 2, 1, 4, 8, NAN},  {1, 2, 2, 5, 16, NAN}, {2, 0, 0, -1, 5, 1}};
  struct draw d = {3};

  for (int trial = 0; trial < 200; trial++) {
    struct msift_table t = table_of(3, 1, 0);
    struct msift_report mixed[6];

    t.smoothing = 0.5;
    for (int i = 0; i < 6; i++) {
      int64_t j = draw_below(&d, i + 1);

      mixed[i] = mixed[j];
      mixed[j] = reports[i];
    }
    msift_table_take(&t, mixed, 6);
    CU_ASSERT_EQUAL(t.entries[0].loss, 2.75F);
    CU_ASSERT_EQUAL(t.entries[1].loss, 12);
    CU_ASSERT_EQUAL(t.entries[2].loss, 5);
    CU_ASSERT(t.entries[0].group == 3 && t.entries[1].group == 5 && t.entries[2].group == -1);
    msift_table_destroy(&t, &memory);
  }
}

static void bad_losses_are_unknown(void)
{
  static const float bad[] = {NAN, INFINITY, -INFINITY, -1};

  for (int i = 0; i < 4; i++) {
    struct msift_table t = table_of(1, 1, 0);
    struct msift_report r[] = {{0, 0, 0, -1, 3, NAN}, {0, 1, 1, -1, bad[i], NAN}, {0, 2, 2, -1, 7, NAN}};

    t.smoothing = 0.5;
    msift_table_take(&t, r, 2);
    CU_ASSERT(!msift_entry_known(&t.entries[0]));
    CU_ASSERT_EQUAL(t.entries[0].epoch, 1);
    msift_table_take(&t, r + 2, 1);
    CU_ASSERT_EQUAL(t.entries[0].loss, 7);
    msift_table_destroy(&t, &memory);
  }
}

enum { N = 20000 };

/* Losses of a shape, by id; every seventh id is unknown. */
static float loss_of(int shape, int64_t id)
{
  struct draw d = {(uint64_t)(id + 1) * 7919 + (uint64_t)shape};

  for (int i = 0; i < 20; i++)
    draw_bits(&d);
  return id % 7 == 0 ? NAN : draw_shape(shape)(&d);
}

static struct msift_table filled(int shape, int64_t ranks, int64_t rank)
{
  struct msift_table t = table_of(N, ranks, rank);

  for (int64_t id = t.first; id < t.first + t.n; id++)
    msift_table_at(&t, id)->loss = loss_of(shape, id);
  return t;
}

/* The census of a table spread over ranks. */
static double take_census(int shape, int64_t ranks, struct msift_history *h)
{
  uint64_t sums[MSIFT_CENSUS_SUMS] = {0}, *counts = NULL;
  bool done = false;

  for (int64_t r = 0; r < ranks; r++) {
    struct msift_table t = filled(shape, ranks, r);
    uint64_t part[MSIFT_CENSUS_SUMS];

    msift_census_sum(&t, part);
    for (int i = 0; i < MSIFT_CENSUS_SUMS; i++)
      sums[i] += part[i];
    msift_table_destroy(&t, &memory);
  }
  for (msift_census_begin(h); !done; done = msift_census_take(h, counts)) {
    free(counts);
    counts = calloc(MSIFT_BINS_MAX, sizeof *counts);
    for (int64_t r = 0; r < ranks; r++) {
      struct msift_table t = filled(shape, ranks, r);

      msift_census_count(h, &t, counts);
      msift_table_destroy(&t, &memory);
    }
  }
  free(counts);
  CU_ASSERT_EQUAL(h->total, sums[MSIFT_CENSUS_KNOWN]);
  return msift_census_mean(sums);
}

static int compare_floats(const void *a, const void *b)
{
  float x = *(const float *)a, y = *(const float *)b;

  return x < y ? -1 : x > y;
}

static int64_t sorted_losses(int shape, float *losses)
{
  int64_t n = 0;

  for (int64_t id = 0; id < N; id++)
    if (loss_of(shape, id) >= 0)
      losses[n++] = loss_of(shape, id);
  qsort(losses, (size_t)n, sizeof *losses, compare_floats);
  return n;
}

/* Places against sorted losses: bins are narrow, and never on the wrong side. */
static void census_finds_places(void)
{
  static float losses[N];
  struct msift_history *h = calloc(1, sizeof *h);

  for (int shape = 0; shape < DRAW_SIGNED; shape++) {
    double mean = take_census(shape, 1, h), sum = 0, widest = 0;
    int64_t n = sorted_losses(shape, losses), wrong = 0;

    for (int64_t i = 0; i < n; i++) {
      struct msift_place q = msift_history_place(h, msift_key(losses[i]));

      wrong += q.low > (double)i / (double)n || q.high < (double)(i + 1) / (double)n;
      widest = fmax(widest, losses[i] == losses[0] ? 0 : q.high - q.low);
      sum += fmin((double)losses[i], 0x1p23);
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_DOUBLE_EQUAL(mean, sum / (double)n, 1e-7 + 1e-12 * sum);
    CU_ASSERT(widest < 0.01 || shape == 6); /* half of shape 6 ties */
  }
  free(h);
}

static void census_of_any_ranks_is_equal(void)
{
  static const int64_t ranks[] = {2, 3, 7, 64};
  struct msift_history *one = calloc(1, sizeof *one), *many = calloc(1, sizeof *many);

  for (int shape = 0; shape < DRAW_SIGNED; shape++) {
    double mean = take_census(shape, 1, one);

    for (int k = 0; k < 4; k++) {
      CU_ASSERT_EQUAL(take_census(shape, ranks[k], many), mean);
      CU_ASSERT_EQUAL(memcmp(&one->bins, &many->bins, sizeof one->bins), 0);
      CU_ASSERT_EQUAL(memcmp(&one->counts, &many->counts, sizeof one->counts), 0);
    }
  }
  free(one);
  free(many);
}

static void sums_do_not_overflow(void)
{
  struct msift_table t = table_of(1000, 1, 0);
  uint64_t sums[MSIFT_CENSUS_SUMS];

  for (int64_t i = 0; i < t.n; i++)
    t.entries[i].loss = 3e38F;
  msift_census_sum(&t, sums);
  CU_ASSERT_EQUAL(msift_census_mean(sums), 0x1p23);
  for (int i = 0; i < MSIFT_CENSUS_SUMS; i++)
    sums[i] *= 1 << 30; /* a table of 10^12 */
  CU_ASSERT_EQUAL(msift_census_mean(sums), 0x1p23);
  sums[MSIFT_CENSUS_KNOWN] = 0;
  CU_ASSERT_EQUAL(msift_census_mean(sums), 0);
  msift_table_destroy(&t, &memory);
}

/* What a policy makes of all known losses of a shape: the mean probability, and over many epochs the mean of the
 * weighted sums of kept losses, divided by the sum of all. */
struct outcome {
  double share, expected, weighted, total;
};

static struct outcome decide(const char *policy, const mpisift_config *config, int shape)
{
  enum { EPOCHS = 40 };
  struct msift_history *h = calloc(1, sizeof *h);
  struct msift_decider *d = calloc(1, sizeof *d);
  double mean = take_census(shape, 1, h);
  struct outcome o = {0};

  msift_decider_init(d, msift_policy_find(policy, &error), config, h);
  d->terms.mean = mean;
  msift_decider_refresh(d, 0, 0);
  o.expected = d->share;
  for (int64_t id = 0; id < N; id++) {
    struct msift_candidate c = {.id = id, .value = loss_of(shape, id)};
    struct msift_verdict v;

    if (isnan(c.value))
      continue;
    v = msift_decide(d, &c, 0);
    o.share += (double)msift_probability(v.threshold) / (double)h->total;
    o.total += (double)c.value;
    for (int64_t epoch = 0; epoch < EPOCHS; epoch++)
      if (msift_accept(1, epoch, id, v.threshold))
        o.weighted += (double)v.weight * (double)c.value / EPOCHS;
  }
  free(h);
  free(d);
  return o;
}

static mpisift_config config_of(mpisift_weights weights)
{
  mpisift_config c;

  mpisift_config_init(&c, sizeof c);
  c.weights = weights;
  c.weights_applied = true;
  return c;
}

static void shares_kept(void)
{
  for (int shape = 0; shape < DRAW_SIGNED; shape++) {
    mpisift_config c = config_of(MPISIFT_WEIGHTS_POLICY);

    c.beta = 2;
    CU_ASSERT_DOUBLE_EQUAL(decide("stale_relative", &c, shape).share, 1.0 / 3, 1e-6);
    c.keep = 0.7;
    CU_ASSERT_DOUBLE_EQUAL(decide("hide", &c, shape).share, 0.7, 1e-6);
    c.prune_quantile = 0.6;
    CU_ASSERT_DOUBLE_EQUAL(decide("soft_prune", &c, shape).share, 1 - 0.6 * 0.3, 1e-6);
  }
}

/* Below the mean, by a plain loop. */
static void soft_prune_goes_by_the_mean(void)
{
  static float losses[N];

  for (int shape = 0; shape < DRAW_SIGNED; shape++) {
    mpisift_config c = config_of(MPISIFT_WEIGHTS_POLICY);
    int64_t n = sorted_losses(shape, losses), below = 0;
    double sum = 0;

    for (int64_t i = 0; i < n; i++)
      sum += fmin((double)losses[i], 0x1p23);
    for (int64_t i = 0; i < n; i++)
      below += floor((double)losses[i] * 0x1p24 + 0.5) < floor(sum / (double)n * 0x1p24 + 0.01);
    CU_ASSERT_DOUBLE_EQUAL(decide("soft_prune", &c, shape).share, 1 - 0.5 * (double)below / (double)n, 2e-3);
    if (shape == 7 || shape == 8) /* all losses are equal: none is below */
      CU_ASSERT_DOUBLE_EQUAL(decide("soft_prune", &c, shape).share, 1, 1e-9);
  }
}

static void weights_are_unbiased(void)
{
  for (int shape = 0; shape < 3; shape++) {
    mpisift_config c = config_of(MPISIFT_WEIGHTS_UNBIASED);
    struct outcome o = decide("soft_prune", &c, shape);

    CU_ASSERT_DOUBLE_EQUAL(o.weighted / o.total, 1, 0.005);
    c.weights = MPISIFT_WEIGHTS_POLICY;
    o = decide("soft_prune", &c, shape);
    CU_ASSERT_DOUBLE_EQUAL(o.weighted / o.total, o.expected, 0.005);
    c.weights = MPISIFT_WEIGHTS_UNBIASED;
    c.floor = 0.1;
    o = decide("stale_relative", &c, shape);
    CU_ASSERT_DOUBLE_EQUAL(o.weighted / o.total, 1, 0.01);
  }
}

/* Moved back: kept for sure, whatever the loss, but for outliers. */
static void sure_overrules_the_policy(void)
{
  mpisift_config c = config_of(MPISIFT_WEIGHTS_POLICY);
  struct msift_history *h = calloc(1, sizeof *h);
  struct msift_decider *d = calloc(1, sizeof *d);
  struct msift_candidate low = {.value = 1e-3F, .sure = true}, high = {.value = 1e6F, .sure = true};

  take_census(0, 1, h);
  c.outlier_share = 0.1;
  msift_decider_init(d, msift_policy_find("hide", &error), &c, h);
  CU_ASSERT_EQUAL(msift_decide(d, &low, 0).threshold, MSIFT_CERTAIN);
  CU_ASSERT(msift_decide(d, &high, 0).outlier);
  low.sure = false;
  CU_ASSERT_EQUAL(msift_decide(d, &low, 0).threshold, 0);
  free(h);
  free(d);
}

TEST_MAIN("table", {"runs", runs}, {"begins unknown", begins_unknown}, {"long ids", long_ids}, {"smooths", smooths},
          {"order of reports does not matter", order_of_reports_does_not_matter},
          {"bad losses are unknown", bad_losses_are_unknown}, {"census finds places", census_finds_places},
          {"census of any ranks is equal", census_of_any_ranks_is_equal},
          {"sums do not overflow", sums_do_not_overflow}, {"shares kept", shares_kept},
          {"soft prune goes by the mean", soft_prune_goes_by_the_mean}, {"weights are unbiased", weights_are_unbiased},
          {"sure overrules the policy", sure_overrules_the_policy})
