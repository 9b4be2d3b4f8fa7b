/* Keys and bins against plain searches: what the tree of splits says must follow from the bins' first keys alone. */
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "core/counts.h"
#include "draw.h"
#include "testing.h"

static const float ascending[] = {-FLT_MAX,  -2,      -1,   -FLT_MIN,       -0x1p-149F, 0,
                                  0x1p-149F, FLT_MIN, 0.5F, 0x1.fffffep-1F, 1,          0x1.000002p0F,
                                  1e30F,     FLT_MAX};

enum { ASCENDING = sizeof ascending / sizeof ascending[0] };

static void keys_ascend(void)
{
  struct draw d = {UINT64_C(17)};
  int64_t wrong = 0;

  for (int i = 1; i < ASCENDING; i++)
    CU_ASSERT(msift_key(ascending[i - 1]) < msift_key(ascending[i]));
  CU_ASSERT_EQUAL(msift_key(-0.0F), msift_key(0));
  for (int i = 0; i < 200000; i++) {
    float x = (float)(draw_normal(&d) * exp(20 * draw_normal(&d)));
    float y = i % 2 == 0 ? nextafterf(x, INFINITY) : (float)(draw_normal(&d) * exp(20 * draw_normal(&d)));
    uint32_t a = msift_key(x), b = msift_key(y);

    wrong += (x < y) != (a < b) || (x == y) != (a == b) || a == 0 || b == 0;
  }
  CU_ASSERT_EQUAL(wrong, 0);
}

static void keys_have_inverses(void)
{
  int64_t wrong = 0;

  for (int i = 0; i < ASCENDING; i++)
    CU_ASSERT_EQUAL(msift_key_float(msift_key(ascending[i])), ascending[i]);
  for (uint64_t key = 1; key < UINT64_C(1) << 32; key += 9973) {
    float value = msift_key_float((uint32_t)key);

    wrong += isfinite(value) && !(value == 0 && signbit(value)) && msift_key(value) != (uint32_t)key;
  }
  CU_ASSERT_EQUAL(wrong, 0);
}

static uint64_t width(const struct msift_bins *b, int bin)
{
  return (bin + 1 < b->n ? b->first[bin + 1] : UINT64_C(1) << 32) - b->first[bin];
}

/* Bins ascend from key 0 to the last, each of 2^24 keys or a sixteenth of that again and again, aligned, and the tree
 * finds its first and its last key and one between. */
static int64_t count_flaws(const struct msift_bins *b)
{
  int64_t wrong = b->first[0] != 0 || b->first[b->n] != 0 || b->n > MSIFT_BINS_MAX;
  struct draw d = {UINT64_C(3)};

  wrong += b->n != MSIFT_BINS_ROOT + b->n_splits * (MSIFT_BINS_FAN - 1) || b->n_splits > MSIFT_BINS_SPLITS;
  for (int i = 0; i < b->n; i++) {
    uint64_t w = width(b, i), size = UINT64_C(1) << 24;

    wrong += i > 0 && b->first[i] <= b->first[i - 1];
    while (size > w)
      size /= MSIFT_BINS_FAN;
    wrong += size != w || b->first[i] % w != 0 || msift_bin_splits(b, i) != (w > 1);
    wrong += msift_bin(b, b->first[i]) != i || msift_bin(b, (uint32_t)(b->first[i] + w - 1)) != i;
    wrong += msift_bin(b, b->first[i] + (uint32_t)draw_below(&d, (int64_t)w)) != i;
  }
  return wrong;
}

static void first_bins(void)
{
  struct msift_bins b;
  int64_t wrong = 0;

  msift_bins_init(&b);
  CU_ASSERT_EQUAL(count_flaws(&b), 0);
  CU_ASSERT_EQUAL(b.n, 256 - 8 + 16 * 128);
  for (int i = 0; i < b.n; i++) {
    float value = msift_key_float(b.first[i]);
    bool dense = value >= 0x1p-9F && value < 0x1p7F;

    wrong += width(&b, i) != (dense ? 1 << 16 : 1 << 24);
    wrong += dense && (msift_key_float(b.first[i + 1]) - value) / value > 1.0F / 128;
  }
  CU_ASSERT_EQUAL(wrong, 0);
}

/* Sorted keys to be counted. */
struct keys {
  uint32_t *at;
  int64_t n;
};

static int compare_keys(const void *a, const void *b)
{
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

  return x < y ? -1 : x > y;
}

static struct keys draw_keys(draw_fn draw, int64_t n)
{
  struct keys k = {malloc((size_t)n * sizeof *k.at), n};
  struct draw d = {UINT64_C(23)};

  CU_ASSERT_PTR_NOT_NULL_FATAL(k.at);
  for (int64_t i = 0; i < n; i++)
    k.at[i] = msift_key(draw(&d));
  qsort(k.at, (size_t)n, sizeof *k.at, compare_keys);
  return k;
}

static void count_below(const struct keys *k, const struct msift_bins *b, uint64_t *below, struct msift_counts *counts)
{
  uint64_t *in = malloc((size_t)b->n * sizeof *in);
  int64_t i = 0, wrong = 0;

  CU_ASSERT_PTR_NOT_NULL_FATAL(in);
  for (int bin = 0; bin < b->n; bin++) {
    while (i < k->n && k->at[i] < b->first[bin])
      i++;
    below[bin] = (uint64_t)i;
  }
  below[b->n] = (uint64_t)k->n;
  for (int bin = 0; bin < b->n; bin++)
    in[bin] = below[bin + 1] - below[bin];
  msift_counts_set(counts, b, in);
  for (int bin = 0; bin <= b->n; bin++)
    wrong += msift_counts_below(counts, bin) != below[bin];
  CU_ASSERT(wrong == 0 && counts->total == (uint64_t)k->n);
  free(in);
}

/* The fit by its definition: a walk over the old bins, which knows nothing of their tree. */
struct oracle {
  const struct msift_bins *old;
  const uint64_t *below;
  uint64_t most;
  bool beside;
  uint32_t *first;
  int n, splits, at; /* at: the next of the old bins */
};

/* Losses in old bins that begin below a key, but for the last of them. */
static uint64_t below_key(const struct oracle *o, uint64_t key)
{
  int begin = 0, end = o->old->n;

  if (key > UINT32_MAX)
    return o->below[end];
  while (end - begin > 1) {
    int middle = (begin + end) / 2;
    if (o->old->first[middle] <= key)
      begin = middle;
    else
      end = middle;
  }
  return o->below[begin];
}

/* A range of keys holds more than `most`, or its neighbour of the same size more than twice that. */
static bool crowded(const struct oracle *o, uint64_t key, uint64_t size)
{
  uint64_t before = key >= size ? below_key(o, key - size) : 0;

  if (below_key(o, key + size) - below_key(o, key) > o->most)
    return true;
  return o->beside && (below_key(o, key) - before > 2 * o->most ||
                       below_key(o, key + 2 * size) - below_key(o, key + size) > 2 * o->most);
}

static void refine(struct oracle *o, uint64_t key, uint64_t size)
{
  int begin = o->at, end = begin;
  bool whole = width(o->old, begin) == size;

  while (end < o->old->n && o->old->first[end] < key + size)
    end++;
  if (size == 1 || !crowded(o, key, size)) {
    o->at = end;
    o->first[o->n++] = (uint32_t)key;
    return;
  }
  o->splits++;
  for (int i = 0; i < MSIFT_BINS_FAN; i++) {
    uint64_t part = key + (uint64_t)i * (size / MSIFT_BINS_FAN);

    if (whole)
      o->first[o->n++] = (uint32_t)part;
    else
      refine(o, part, size / MSIFT_BINS_FAN);
  }
  o->at = end;
}

static struct oracle fit_by_definition(const struct msift_bins *old, const uint64_t *below, uint64_t most, bool beside)
{
  struct oracle o = {.old = old, .below = below, .most = most, .beside = beside};

  o.first = malloc(((size_t)old->n * MSIFT_BINS_FAN + 1) * sizeof *o.first);
  CU_ASSERT_PTR_NOT_NULL_FATAL(o.first);
  for (uint64_t r = 0; r < MSIFT_BINS_ROOT; r++)
    refine(&o, r << 24, UINT64_C(1) << 24);
  return o;
}

static int splits_needed(const struct msift_bins *old, const uint64_t *below, uint64_t most)
{
  struct oracle o = fit_by_definition(old, below, most, false);

  free(o.first);
  return o.splits;
}

static void check_fit(const struct msift_bins *bins, const struct msift_bins *old, const uint64_t *below, uint64_t most,
                      uint64_t used)
{
  struct oracle o = fit_by_definition(old, below, used, true);
  int64_t wrong;

  if (o.splits > MSIFT_BINS_SPLITS) {
    free(o.first);
    o = fit_by_definition(old, below, used, false);
  }
  wrong = count_flaws(bins) + (bins->n != o.n) + (bins->n_splits != o.splits);

  for (int i = 0; i < bins->n && i < o.n; i++)
    wrong += bins->first[i] != o.first[i];
  free(o.first);
  CU_ASSERT_EQUAL(wrong, 0);
  for (uint64_t m = most; m < used; m *= 2)
    CU_ASSERT(splits_needed(old, below, m) > MSIFT_BINS_SPLITS);
  CU_ASSERT(used % most == 0 && splits_needed(old, below, used) <= MSIFT_BINS_SPLITS);
}

/* Fit again and again, as long as bins change; in the end none that has several keys holds more than what was used. */
static uint64_t settle(const struct keys *k, uint64_t most, struct msift_bins *bins)
{
  struct msift_bins *next = malloc(sizeof *next);
  struct msift_counts *counts = malloc(sizeof *counts);
  uint64_t *below = malloc((MSIFT_BINS_MAX + 1) * sizeof *below), used = 0, crowd = 0;

  CU_ASSERT_FATAL(next != NULL && counts != NULL && below != NULL);
  for (int round = 0; round < 8; round++) {
    count_below(k, bins, below, counts);
    used = msift_bins_fit(next, bins, counts, most);
    check_fit(next, bins, below, most, used);
    *bins = *next;
  }
  count_below(k, bins, below, counts);
  for (int i = 0; i < bins->n; i++)
    if (msift_bin_splits(bins, i) && below[i + 1] - below[i] > crowd)
      crowd = below[i + 1] - below[i];
  CU_ASSERT(crowd <= used);
  CU_ASSERT(!msift_counts_crowd(counts, bins, crowd) && (crowd == 0 || msift_counts_crowd(counts, bins, crowd - 1)));
  free(below);
  free(counts);
  free(next);
  return used;
}

/* Random counts, but in some rounds those of the round before; and of the bins, some have several keys. Returns whether
 * one of these holds more than `most`. */
static bool draw_changes(struct draw *d, struct msift_bins *bins, uint64_t *plain, uint32_t *changes, bool same,
                         uint64_t most)
{
  bool crowded = false;

  for (int b = 0; b < bins->n; b++) {
    int64_t count = same ? (int64_t)plain[b] : draw_below(d, 1000) * draw_below(d, 1000), keys = 1 + draw_below(d, 2);

    changes[b] = (uint32_t)(count - (int64_t)plain[b]);
    plain[b] = (uint64_t)count;
    bins->first[b + 1] = bins->first[b] + (uint32_t)keys;
    crowded = crowded || (keys > 1 && plain[b] > most);
  }
  return crowded;
}

/* Against plain sums. */
static void counts_change(void)
{
  enum { ROUNDS = 60, N = MSIFT_BINS_MAX - 5, MOST = 985 * 985 };
  struct msift_counts *counts = calloc(1, sizeof *counts);
  struct msift_bins *bins = calloc(1, sizeof *bins);
  uint64_t *plain = calloc(N, sizeof *plain);
  uint32_t *changes = calloc(MSIFT_BINS_MAX, sizeof *changes);
  struct draw d = {UINT64_C(5)};
  int64_t wrong = 0, crowds = 0;

  CU_ASSERT_FATAL(counts != NULL && bins != NULL && plain != NULL && changes != NULL);
  bins->n = N;
  for (int round = 0; round < ROUNDS; round++) {
    bool crowded = draw_changes(&d, bins, plain, changes, round % 3 == 2, MOST);
    uint64_t total = msift_counts_foresee(counts, bins, changes), below = 0;

    wrong += msift_counts_change(counts, bins, changes, MOST) != crowded;
    for (int b = 0; b < N; below += plain[b++])
      wrong += counts->in[b] != plain[b] || msift_counts_below(counts, b) != below;
    wrong += total != below || counts->total != below || msift_counts_below(counts, N) != below;
    crowds += crowded;
  }
  CU_ASSERT(wrong == 0 && crowds > 0 && crowds < ROUNDS);
  free(changes);
  free(plain);
  free(bins);
  free(counts);
}

static void fits(void)
{
  enum { N = 20000 };
  struct msift_bins *bins = malloc(sizeof *bins);

  CU_ASSERT_PTR_NOT_NULL_FATAL(bins);
  msift_bins_init(bins);
  for (int shape = 0; shape < DRAW_SHAPES; shape++) {
    struct keys k = draw_keys(draw_shape(shape), N);

    CU_ASSERT_EQUAL(settle(&k, N / 512, bins), N / 512);
    free(k.at);
  }
  free(bins);
}

/* Tight pairs everywhere: each of many places wants splits down to single floats. */
static float draw_scattered(struct draw *d)
{
  return ldexpf(1 + (float)draw_below(d, 4) / 4, (int)draw_below(d, 200) - 100);
}

static void too_few_splits(void)
{
  static const draw_fn draws[] = {draw_scattered, draw_lognormal, draw_zeros};
  enum { N = 20000 };
  struct msift_bins *bins = malloc(sizeof *bins);

  CU_ASSERT_PTR_NOT_NULL_FATAL(bins);
  for (int i = 0; i < 3; i++) {
    struct keys k = draw_keys(draws[i], N);
    uint64_t used;

    msift_bins_init(bins);
    used = settle(&k, 1, bins);
    CU_ASSERT(used > 1 && (used & (used - 1)) == 0 && bins->n_splits <= MSIFT_BINS_SPLITS);
    free(k.at);
  }
  free(bins);
}

TEST_MAIN("bins", {"keys ascend", keys_ascend}, {"keys have inverses", keys_have_inverses}, {"first bins", first_bins},
          {"counts change", counts_change}, {"fits", fits}, {"too few splits", too_few_splits})
