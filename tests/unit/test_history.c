/* The loss history against sorted windows: one history on several simulated ranks, which exchange sums as the library
 * does. */
#include <stdlib.h>
#include <string.h>

#include "core/history.h"
#include "draw.h"
#include "testing.h"

typedef float (*draw_fn)(struct draw *d);

enum { MAX_RANKS = 8 };

/* Simulated ranks with all that was ever scored, NaN where a loss was bad. */
struct fleet {
  int ranks;
  struct msift_history on[MAX_RANKS];
  struct msift_memory memory;
  struct msift_error error;
  float *seen;
  int64_t n, capacity, zooms;
};

static struct fleet *fleet_new(int ranks, int64_t length)
{
  struct fleet *f = calloc(1, sizeof *f);

  CU_ASSERT_PTR_NOT_NULL_FATAL(f);
  f->ranks = ranks;
  for (int r = 0; r < ranks; r++)
    msift_history_init(&f->on[r], length);
  return f;
}

static void fleet_free(struct fleet *f)
{
  for (int r = 0; r < f->ranks; r++)
    msift_history_destroy(&f->on[r], &f->memory);
  CU_ASSERT_EQUAL(f->memory.blocks, 0);
  CU_ASSERT_EQUAL(f->error.status, MPISIFT_OK);
  free(f->seen);
  free(f);
}

/* Who scores candidate i: runs of some length, so that ranks have uneven shares. */
static int scorer(const struct fleet *f, int64_t i)
{
  return (int)(i / 5 % 3 == 0 ? 0 : i % f->ranks);
}

static int64_t share_of(const struct fleet *f, int rank, int64_t begin, struct msift_seen *added)
{
  int64_t n = 0;

  for (int64_t i = begin; i < f->n; i++)
    if (scorer(f, i) == rank && !isnan(f->seen[i]))
      added[n++] = (struct msift_seen){i, f->seen[i]};
  return n;
}

static void fleet_append(struct fleet *f, const float *losses, int64_t n)
{
  if (f->n + n > f->capacity) {
    f->capacity = 2 * (f->n + n);
    f->seen = realloc(f->seen, (size_t)f->capacity * sizeof *f->seen);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f->seen);
  }
  memcpy(f->seen + f->n, losses, (size_t)n * sizeof *losses);
  f->n += n;
}

/* One zoom, if there is one; all ranks must want the same. */
static bool fleet_zoom(struct fleet *f)
{
  uint32_t counts[MSIFT_BINS] = {0};
  struct msift_scale scale = {0}, other = {0};
  bool zoom = msift_history_zoom(&f->on[0], &scale);
  uint64_t total = f->on[0].below[MSIFT_BINS];

  for (int r = 1; r < f->ranks; r++)
    CU_ASSERT(msift_history_zoom(&f->on[r], &other) == zoom &&
              (!zoom || (other.base == scale.base && other.shift == scale.shift)));
  if (!zoom)
    return false;
  for (int r = 0; r < f->ranks; r++)
    msift_history_recount(&f->on[r], &scale, counts);
  for (int r = 0; r < f->ranks; r++)
    msift_history_rescale(&f->on[r], &scale, counts);
  CU_ASSERT_EQUAL(f->on[0].below[MSIFT_BINS], total);
  f->zooms++;
  return true;
}

/* A zoom may make room for another, but there is an end to it. */
static void fleet_zooms(struct fleet *f)
{
  int in_a_row = 0;

  while (in_a_row < 5 && fleet_zoom(f))
    in_a_row++;
  CU_ASSERT(in_a_row <= 3);
}

static void fleet_round(struct fleet *f, const float *losses, int64_t n)
{
  uint32_t changes[MSIFT_BINS] = {0};
  struct msift_seen *added = malloc((size_t)(n + 1) * sizeof *added);
  int64_t begin = f->n;

  CU_ASSERT_PTR_NOT_NULL_FATAL(added);
  fleet_append(f, losses, n);
  for (int r = 0; r < f->ranks; r++)
    msift_history_changes(&f->on[r], added, share_of(f, r, begin, added), f->n, changes);
  for (int r = 0; r < f->ranks; r++) {
    int64_t share = share_of(f, r, begin, added);

    msift_ring_reserve(&f->on[r].seen, &f->memory, &f->error, share);
    msift_history_commit(&f->on[r], added, share, f->n, changes);
  }
  free(added);
  fleet_zooms(f);
}

/* Score n losses of a distribution in rounds of up to `most`. */
static void fleet_feed(struct fleet *f, struct draw *d, draw_fn draw, int64_t n, int64_t most)
{
  float *losses = malloc((size_t)most * sizeof *losses);

  CU_ASSERT_PTR_NOT_NULL_FATAL(losses);
  while (n > 0) {
    int64_t round = 1 + draw_below(d, most);

    round = round < n ? round : n;
    for (int64_t i = 0; i < round; i++)
      losses[i] = draw(d);
    fleet_round(f, losses, round);
    n -= round;
  }
  free(losses);
}

static int compare_losses(const void *a, const void *b)
{
  float x = *(const float *)a, y = *(const float *)b;

  return x < y ? -1 : x > y;
}

/* The oracle: the finite losses of the last `length` candidates, sorted. */
static float *sorted_window(const struct fleet *f, int64_t *n)
{
  int64_t begin = f->n > f->on[0].length ? f->n - f->on[0].length : 0;
  float *window = malloc((size_t)(f->n - begin + 1) * sizeof *window);

  CU_ASSERT_PTR_NOT_NULL_FATAL(window);
  *n = 0;
  for (int64_t i = begin; i < f->n; i++)
    if (!isnan(f->seen[i]))
      window[(*n)++] = f->seen[i];
  qsort(window, (size_t)*n, sizeof *window, compare_losses);
  return window;
}

/* Counts against a walk through the sorted window, in floats: no bit pattern is needed to know what lies below an edge.
 */
static int64_t count_wrong(const struct msift_history *h, const float *window, int64_t n)
{
  int64_t wrong = h->below[0] != 0 || h->below[MSIFT_BINS] != (uint64_t)n, i = 0;

  for (int b = 1; b < MSIFT_BINS; b++) {
    float edge = msift_scale_edge(&h->scale, b);

    while (i < n && !(window[i] >= edge))
      i++;
    wrong += h->below[b] != (uint64_t)i;
  }
  return wrong;
}

static void check_counts(const struct fleet *f)
{
  int64_t n, held = 0;
  float *window = sorted_window(f, &n);

  CU_ASSERT_EQUAL(count_wrong(&f->on[0], window, n), 0);
  for (int r = 0; r < f->ranks; r++) {
    CU_ASSERT_EQUAL(memcmp(f->on[0].below, f->on[r].below, sizeof f->on[0].below), 0);
    CU_ASSERT(f->on[r].end == f->n && msift_history_full(&f->on[r]) == (f->n >= f->on[r].length));
    held += f->on[r].seen.n;
  }
  CU_ASSERT_EQUAL(held, n);
  free(window);
}

struct errors {
  double mean, most; /* of the middle of the percentiles, over the window's losses */
  int64_t outside;   /* intervals that do not contain the exact one */
};

static struct errors rank_errors(const struct fleet *f)
{
  const struct msift_history *h = &f->on[0];
  struct errors e = {0, 0, 0};
  int64_t n;
  float *window = sorted_window(f, &n);

  for (int64_t low = 0, high; low < n; low = high) {
    int bin = msift_scale_bin(&h->scale, window[low]);
    double middle = ((double)h->below[bin] + (double)h->below[bin + 1]) / 2, error;

    for (high = low + 1; high < n && window[high] == window[low]; high++)
      continue;
    error = fabs(middle - (double)(low + high) / 2) / (double)n;
    e.mean += error * (double)(high - low) / (double)n;
    e.most = error > e.most ? error : e.most;
    e.outside += h->below[bin] > (uint64_t)low || h->below[bin + 1] < (uint64_t)high;
  }
  free(window);
  return e;
}

static const draw_fn distributions[] = {draw_lognormal, draw_exponential, draw_bimodal, draw_pareto,
                                        draw_near_zero, draw_zeros,       draw_equal,   draw_ties};

enum { DISTRIBUTIONS = sizeof distributions / sizeof distributions[0], START_SHIFT = 17 };

/* Two turnovers and a bit: the window has slid and has had its chance to zoom, after which bins must not be wider than
 * at the start. Losses that share a bin with a tie cannot be told from it; of them there are few. */
static void check_window(int64_t length)
{
  for (int k = 0; k < DISTRIBUTIONS; k++) {
    struct fleet *f = fleet_new(3, length);
    struct draw d = {(uint64_t)(length + k)};
    struct errors e;

    fleet_feed(f, &d, distributions[k], length * 9 / 4, length / 3);
    check_counts(f);
    e = rank_errors(f);
    CU_ASSERT_EQUAL(e.outside, 0);
    CU_ASSERT(e.mean <= 0.003);
    CU_ASSERT(e.most <= 0.005 || distributions[k] == draw_ties);
    CU_ASSERT(f->on[0].scale.shift <= START_SHIFT);
    fleet_free(f);
  }
}

static void windows_of_512(void)
{
  check_window(512);
}

static void windows_of_4096(void)
{
  check_window(4096);
}

static void windows_of_100000(void)
{
  check_window(100000);
}

/* Rounds of any size, some longer than the window, some empty, some with bad losses; every step is checked. */
static void expiry(int64_t length, int ranks)
{
  struct fleet *f = fleet_new(ranks, length);
  struct draw d = {UINT64_C(99)};
  float losses[600];

  check_counts(f);
  for (int round = 0; round < 64; round++) {
    int64_t n = round % 10 == 3 ? 0 : 1 + draw_below(&d, round % 17 == 5 ? 600 : length / 3);

    for (int64_t i = 0; i < n; i++)
      losses[i] = draw_unit(&d) < 0.05 ? NAN : distributions[round / 8](&d);
    fleet_round(f, losses, n);
    check_counts(f);
  }
  fleet_free(f);
}

static void uneven_rounds(void)
{
  expiry(250, 1);
  expiry(250, 3);
  expiry(33, 8);
}

static void window_of_one(void)
{
  struct fleet *f = fleet_new(1, 1);
  struct draw d = {UINT64_C(5)};

  for (int i = 0; i < 50; i++) {
    float loss = draw_lognormal(&d);

    fleet_round(f, &loss, 1);
    check_counts(f);
  }
  fleet_free(f);
}

/* How the losses are spread over ranks does not matter, zooms included. */
static void ranks_do_not_matter(void)
{
  static const int ranks[] = {1, 3, 8};
  struct fleet *fleets[3];

  for (int k = 0; k < 3; k++) {
    struct draw d = {UINT64_C(1234)};

    fleets[k] = fleet_new(ranks[k], 4096);
    fleet_feed(fleets[k], &d, draw_equal, 5000, 700);
    fleet_feed(fleets[k], &d, draw_ties, 6000, 700);
    fleet_feed(fleets[k], &d, draw_lognormal, 6000, 700);
    check_counts(fleets[k]);
    CU_ASSERT(fleets[k]->zooms > 0);
    CU_ASSERT_EQUAL(fleets[k]->zooms, fleets[0]->zooms);
    CU_ASSERT_EQUAL(memcmp(fleets[k]->on[0].below, fleets[0]->on[0].below, sizeof fleets[0]->on[0].below), 0);
  }
  for (int k = 0; k < 3; k++)
    fleet_free(fleets[k]);
}

static float draw_high_cluster(struct draw *d)
{
  return (float)(6.91 + 0.1 * draw_normal(d));
}

static float draw_low_cluster(struct draw *d)
{
  return (float)(2.30 + 0.02 * draw_normal(d));
}

static float draw_zero(struct draw *d)
{
  (void)d;
  return 0;
}

/* Feed a turnover to fill the window, one to find the range and one to zoom into it. */
static void check_settled(struct fleet *f, struct draw *d, draw_fn draw)
{
  struct errors e;

  fleet_feed(f, d, draw, 3 * f->on[0].length, f->on[0].length / 8);
  check_counts(f);
  e = rank_errors(f);
  CU_ASSERT_EQUAL(e.outside, 0);
  CU_ASSERT(e.most <= 0.005);
}

static void zooms_into_clusters(void)
{
  static const draw_fn clusters[] = {draw_high_cluster, draw_low_cluster, draw_equal};

  for (int64_t length = 512; length <= 32768; length *= 8)
    for (int k = 0; k < 3; k++) {
      struct fleet *f = fleet_new(2, length);
      struct draw d = {(uint64_t)length};

      check_settled(f, &d, clusters[k]);
      CU_ASSERT(f->zooms >= 1 && f->zooms <= 2);
      fleet_free(f);
    }
}

/* Training moves losses down, harder data or too high a learning rate up: from any shape to any other, far below or
 * above the scale that fitted, the history finds its way. */
static void follows_losses(void)
{
  static const draw_fn shapes[] = {draw_lognormal, draw_exponential,  draw_pareto,      draw_near_zero, draw_zeros,
                                   draw_equal,     draw_high_cluster, draw_low_cluster, draw_zero};
  enum { SHAPES = sizeof shapes / sizeof shapes[0] };

  for (int first = 0; first < SHAPES; first++)
    for (int second = 0; second < SHAPES; second++) {
      struct fleet *f = fleet_new(2, 1000);
      struct draw d = {(uint64_t)(1 + first * SHAPES + second)};

      check_settled(f, &d, shapes[first]);
      check_settled(f, &d, shapes[second]);
      CU_ASSERT(f->zooms <= 12);
      fleet_free(f);
    }
}

/* Losses that go down steadily, in clusters of some relative width: on the whole way, and not only where they rest, the
 * places of losses in the window are known. */
static double drift_error(double width)
{
  enum { ROUNDS = 600, ROUND = 64, WINDOW = 1024 };
  struct fleet *f = fleet_new(1, WINDOW);
  struct draw d = {UINT64_C(71)};
  double sum = 0;

  for (int round = 0; round < ROUNDS; round++) {
    float losses[ROUND];

    for (int i = 0; i < ROUND; i++)
      losses[i] = (float)(6.9 * exp(-1.1 * round / ROUNDS + width * draw_normal(&d)));
    fleet_round(f, losses, ROUND);
    sum += round * ROUND < 2 * WINDOW ? 0 : rank_errors(f).mean;
  }
  fleet_free(f);
  return sum / (ROUNDS - 2.0 * WINDOW / ROUND);
}

static void follows_drift(void)
{
  CU_ASSERT(drift_error(0.01) < 0.02);
  CU_ASSERT(drift_error(0.03) < 0.01);
  CU_ASSERT(drift_error(0.1) < 0.005);
  CU_ASSERT(drift_error(0.5) < 0.005);
}

/* A window of zeros says nothing of the scale, which must serve the losses that follow. */
static void zeros_do_not_zoom(void)
{
  struct fleet *f = fleet_new(1, 512);
  struct draw d = {UINT64_C(3)};

  fleet_feed(f, &d, draw_zero, 4 * 512, 64);
  CU_ASSERT_EQUAL(f->zooms, 0);
  fleet_feed(f, &d, draw_lognormal, 512, 64);
  CU_ASSERT(rank_errors(f).mean < 0.005);
  fleet_free(f);
}

/* At most one zoom a turnover, and none before the window is full or while no bin is heavy. */
static void zooms_are_rare(void)
{
  struct fleet *f = fleet_new(1, 1000);
  struct draw d = {UINT64_C(31)};
  float loss = 2.5F;

  for (int i = 0; i < 999; i++)
    fleet_round(f, &loss, 1);
  CU_ASSERT_EQUAL(f->zooms, 0);
  for (int i = 0; i < 9001; i++)
    fleet_round(f, &loss, 1);
  CU_ASSERT(f->zooms >= 1 && f->zooms <= 10);
  fleet_free(f);
  f = fleet_new(1, 32768);
  fleet_feed(f, &d, draw_lognormal, 80000, 4000);
  CU_ASSERT_EQUAL(f->zooms, 0);
  fleet_free(f);
}

/* The largest and smallest floats have bins, and a scale that zoomed in on either works. */
static void extreme_losses(void)
{
  static const float extremes[] = {0x1.fffffep127F, 0, 0x1p-149F, -0.0F, 1};

  for (int k = 0; k < 5; k++) {
    struct fleet *f = fleet_new(1, 20);

    for (int i = 0; i < 100; i++) {
      float loss = i < 60 ? extremes[k] : extremes[i % 5];

      fleet_round(f, &loss, 1);
      check_counts(f);
    }
    fleet_free(f);
  }
}

/* Bins ascend with the loss, and a bin's edge is its smallest loss. */
static void edges_and_bins_agree(void)
{
  struct msift_history h;
  struct draw d = {UINT64_C(17)};
  int64_t wrong = 0;

  msift_history_init(&h, 10);
  for (int b = 0; b < MSIFT_BINS; b++) {
    float edge = msift_scale_edge(&h.scale, b);

    wrong += msift_scale_bin(&h.scale, edge) != b;
    wrong += b > 0 && msift_scale_bin(&h.scale, nextafterf(edge, 0)) != b - 1;
    wrong += b > 0 && edge <= msift_scale_edge(&h.scale, b - 1);
  }
  for (int i = 0; i < 10000; i++) {
    float x = (float)exp(20 * draw_normal(&d)), y = (float)exp(20 * draw_normal(&d));

    wrong += (x < y) && msift_scale_bin(&h.scale, x) > msift_scale_bin(&h.scale, y);
  }
  CU_ASSERT_EQUAL(wrong, 0);
}

TEST_MAIN("history", {"windows of 512", windows_of_512}, {"windows of 4096", windows_of_4096},
          {"windows of 100000", windows_of_100000}, {"uneven rounds", uneven_rounds}, {"window of one", window_of_one},
          {"ranks do not matter", ranks_do_not_matter}, {"zooms into clusters", zooms_into_clusters},
          {"follows losses", follows_losses}, {"follows drift", follows_drift},
          {"zeros do not zoom", zeros_do_not_zoom}, {"zooms are rare", zooms_are_rare},
          {"extreme losses", extreme_losses}, {"edges and bins agree", edges_and_bins_agree})
