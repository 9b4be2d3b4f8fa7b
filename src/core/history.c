#include "core/history.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { INNER = MSIFT_BINS - 2 };

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
    return 0;
  bin = (key - scale->base) >> scale->shift;
  return bin < INNER ? (int)bin + 1 : MSIFT_BINS - 1;
}

/* The smallest key of a bin. */
static uint32_t bin_key(const struct msift_scale *scale, int bin)
{
  uint64_t key = bin == 0 ? 0 : scale->base + ((uint64_t)(bin - 1) << scale->shift);
  uint32_t most = key_of(FLT_MAX) + 1;

  return key < most ? (uint32_t)key : most;
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

static int quantile_bin(const struct msift_history *h, double quantile)
{
  uint64_t rank = (uint64_t)(quantile * (double)h->below[MSIFT_BINS]);
  int low = 0, high = MSIFT_BINS - 1;

  while (low < high) {
    int middle = (low + high) / 2;
    if (h->below[middle + 1] > rank)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

static bool heavy(const struct msift_history *h)
{
  uint64_t limit = h->below[MSIFT_BINS] / 100;

  for (int b = 0; b < MSIFT_BINS; b++)
    if (h->below[b + 1] - h->below[b] > limit)
      return true;
  return false;
}

bool msift_history_zoom(const struct msift_history *h, struct msift_scale *finer)
{
  uint32_t last;

  if (!msift_history_full(h) || h->end - h->zoomed_at < h->length || h->below[MSIFT_BINS] == 0 || !heavy(h))
    return false;
  finer->base = bin_key(&h->scale, quantile_bin(h, 0.0005));
  last = bin_key(&h->scale, quantile_bin(h, 0.9995) + 1);
  for (finer->shift = 0; (last - finer->base) >> finer->shift > INNER; finer->shift++)
    continue;
  return finer->base != h->scale.base || finer->shift != h->scale.shift;
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
