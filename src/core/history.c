#include "core/history.h"

#include <math.h>
#include <string.h>

enum { INNER = MSIFT_BIN_ABOVE - MSIFT_BIN_FIRST, NEAR = INNER / 32 };

static uint32_t key_of(float loss)
{
  uint32_t key;

  memcpy(&key, &loss, sizeof key);
  return key & UINT32_C(0x7fffffff); /* −0 is 0 */
}

static float loss_of(uint32_t key)
{
  float loss;

  memcpy(&loss, &key, sizeof loss);
  return loss;
}

int msift_scale_bin(const struct msift_scale *scale, float loss)
{
  uint32_t key = key_of(loss), bin;

  if (key < scale->base)
    return key == 0 ? MSIFT_BIN_ZERO : MSIFT_BIN_BELOW;
  bin = (key - scale->base) >> scale->shift;
  return bin < INNER ? (int)bin + MSIFT_BIN_FIRST : MSIFT_BIN_ABOVE;
}

static const int64_t largest_key = 0x7f800000; /* infinity's, one above that of FLT_MAX */
static const int64_t octave = 1 << 23;         /* keys from a loss to its double */

/* The smallest key of a bin; of MSIFT_BINS, the largest key. */
static uint32_t bin_key(const struct msift_scale *scale, int bin)
{
  int64_t key = scale->base + (bin - MSIFT_BIN_FIRST) * (INT64_C(1) << scale->shift);

  if (bin <= MSIFT_BIN_BELOW)
    return (uint32_t)bin; /* 0, and the smallest number above 0 */
  return (uint32_t)(bin > MSIFT_BIN_ABOVE || key > largest_key ? largest_key : key);
}

float msift_scale_edge(const struct msift_scale *scale, int bin)
{
  return loss_of(bin_key(scale, bin));
}

void msift_history_init(struct msift_history *h, int64_t length)
{
  memset(h, 0, sizeof *h);
  h->length = length;
  h->seen.size = sizeof(struct msift_seen);
  h->scale.base = key_of(0x1p-40f);
  h->scale.shift = 17; /* 23 bits of mantissa, 64 bins an octave */
}

void msift_history_destroy(struct msift_history *h, struct msift_memory *memory)
{
  msift_ring_destroy(&h->seen, memory);
}

static const struct msift_seen *seen_at(const struct msift_history *h, int64_t i)
{
  return msift_ring_at(&h->seen, i);
}

void msift_history_changes(const struct msift_history *h, const struct msift_seen *added, int64_t n, int64_t new_end,
                           uint32_t *changes)
{
  int64_t oldest = new_end - h->length;

  for (int64_t i = 0; i < h->seen.n && seen_at(h, i)->order < oldest; i++)
    changes[msift_scale_bin(&h->scale, seen_at(h, i)->loss)]--;
  for (int64_t i = 0; i < n; i++)
    if (added[i].order >= oldest)
      changes[msift_scale_bin(&h->scale, added[i].loss)]++;
}

/* Replace the counts: of `counts` alone, or of the present ones and `counts` as signed changes. */
static void accumulate(struct msift_history *h, const uint32_t *counts, bool changes)
{
  uint64_t before = 0, total = 0;

  for (int b = 0; b < MSIFT_BINS; b++) {
    uint64_t old = h->below[b + 1] - before;
    before = h->below[b + 1];
    total += changes ? old + (uint64_t)(int64_t)(int32_t)counts[b] : counts[b];
    h->below[b + 1] = total;
  }
}

void msift_history_commit(struct msift_history *h, const struct msift_seen *added, int64_t n, int64_t new_end,
                          const uint32_t *changes)
{
  int64_t oldest = new_end - h->length;

  for (int64_t i = 0; i < n; i++)
    memcpy(msift_ring_push(&h->seen), &added[i], sizeof *added);
  while (h->seen.n > 0 && seen_at(h, 0)->order < oldest)
    msift_ring_pop(&h->seen, 1);
  h->end = new_end;
  accumulate(h, changes, true);
}

/* The bin of a quantile of the losses above zero. */
static int quantile_bin(const struct msift_history *h, double quantile)
{
  uint64_t zeros = h->below[MSIFT_BIN_BELOW], others = h->below[MSIFT_BINS] - zeros;
  uint64_t rank = zeros + (uint64_t)(quantile * (double)others);
  int low = MSIFT_BIN_BELOW, high = MSIFT_BIN_ABOVE;

  while (low < high) {
    int middle = (low + high) / 2;
    if (h->below[middle + 1] > rank)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

static bool heavy(const struct msift_history *h, int bin)
{
  return (h->below[bin + 1] - h->below[bin]) * 100 > h->below[MSIFT_BINS];
}

static bool any_heavy(const struct msift_history *h)
{
  for (int b = MSIFT_BIN_BELOW; b < MSIFT_BINS; b++)
    if (heavy(h, b))
      return true;
  return false;
}

/* The bins that hold all but 0.1 % of the losses above zero. A few outside of the scale do not count: where in the wide
 * bins at its ends they lie is not known. */
static void span(const struct msift_history *h, int *low, int *high)
{
  *low = quantile_bin(h, 0.0005);
  *high = quantile_bin(h, 0.9995);
  if (*low == MSIFT_BIN_BELOW && !heavy(h, MSIFT_BIN_BELOW))
    *low = MSIFT_BIN_FIRST;
  if (*high == MSIFT_BIN_ABOVE && !heavy(h, MSIFT_BIN_ABOVE))
    *high = MSIFT_BIN_ABOVE - 1;
}

/* The finest scale that covers some bins, which lie in its middle. Losses of a narrow cluster drift out of it as
 * training goes on: it gets as much room below and above. */
static struct msift_scale scale_over(const struct msift_scale *scale, int low, int high)
{
  int64_t begin = bin_key(scale, low), end = bin_key(scale, high + 1), keys = end - begin;
  struct msift_scale finer = {.shift = 0};

  keys = keys < octave ? 3 * keys : keys;
  while (keys >> finer.shift > INNER)
    finer.shift++;
  begin = (begin + end) / 2 - (INT64_C(1) << finer.shift) * (INNER / 2);
  finer.base = begin > 1 ? (uint32_t)begin : 1;
  return finer;
}

bool msift_history_zoom(const struct msift_history *h, struct msift_scale *finer)
{
  bool near_the_ends;
  int low, high;

  if (!msift_history_full(h) || h->end - h->zoomed_at < h->length)
    return false;
  if (h->below[MSIFT_BINS] == h->below[MSIFT_BIN_BELOW])
    return false; /* zeros only: any scale will do */
  span(h, &low, &high);
  *finer = scale_over(&h->scale, low, high);
  near_the_ends = low < MSIFT_BIN_FIRST + NEAR || high >= MSIFT_BIN_ABOVE - NEAR;
  if (near_the_ends)
    return finer->base != h->scale.base || finer->shift != h->scale.shift;
  return finer->shift < h->scale.shift && any_heavy(h);
}

void msift_history_recount(const struct msift_history *h, const struct msift_scale *scale, uint32_t *counts)
{
  for (int64_t i = 0; i < h->seen.n; i++)
    counts[msift_scale_bin(scale, seen_at(h, i)->loss)]++;
}

void msift_history_rescale(struct msift_history *h, const struct msift_scale *scale, const uint32_t *counts)
{
  h->scale = *scale;
  h->zoomed_at = h->end;
  accumulate(h, counts, false);
}
