#include "core/census.h"

/* Bins of more than 1/SPLIT_SHARE of the losses are split, in so many steps: a bin of all floats is a single one after
 * six. */
enum { SPLIT_SHARE = 512, MOST_STEPS = 8 };

void msift_census_sum(const struct msift_table *t, uint64_t sums[MSIFT_CENSUS_SUMS])
{
  uint64_t low = 0, high = 0, known = 0;

  for (int64_t i = 0; i < t->n; i++)
    if (msift_entry_known(&t->entries[i])) {
      uint64_t value = (uint64_t)msift_fixed(t->entries[i].loss);

      known++;
      low += value & UINT32_MAX;
      high += value >> 32;
    }
  sums[MSIFT_CENSUS_KNOWN] = known;
  sums[MSIFT_CENSUS_LOW] = low & UINT32_MAX; /* so that no sum of them overflows */
  sums[MSIFT_CENSUS_HIGH] = high + (low >> 32);
}

double msift_census_mean(const uint64_t sums[MSIFT_CENSUS_SUMS])
{
  unsigned __int128 sum = ((unsigned __int128)sums[MSIFT_CENSUS_HIGH] << 32) + sums[MSIFT_CENSUS_LOW];

  return sums[MSIFT_CENSUS_KNOWN] > 0 ? (double)(uint64_t)(sum / sums[MSIFT_CENSUS_KNOWN]) * 0x1p-24 : 0;
}

void msift_census_groups(const struct msift_table *t, uint64_t *groups)
{
  for (int64_t i = 0; i < t->n; i++)
    if (msift_entry_known(&t->entries[i]) && t->entries[i].group >= 0)
      groups[t->entries[i].group]++;
}

void msift_census_begin(struct msift_history *h)
{
  uint64_t *in_group = h->in_group;
  int64_t groups = h->groups;

  memset(h, 0, sizeof *h);
  h->groups = groups;
  h->in_group = in_group;
  h->coarse = 1;
  msift_bins_init(&h->bins);
}

void msift_census_count(const struct msift_history *h, const struct msift_table *t, uint64_t *counts)
{
  for (int64_t i = 0; i < t->n; i++)
    if (msift_entry_known(&t->entries[i]))
      counts[msift_bin(&h->bins, msift_key(t->entries[i].loss))]++;
}

bool msift_census_take(struct msift_history *h, const uint64_t *counts)
{
  uint64_t most;

  msift_counts_set(&h->counts, &h->bins, counts);
  h->total = h->counts.total;
  most = h->total > SPLIT_SHARE ? h->total / SPLIT_SHARE : 1;
  if (!msift_counts_crowd(&h->counts, &h->bins, h->coarse * most) || h->refits == MOST_STEPS)
    return true;
  h->next = h->bins;
  h->coarse = msift_bins_fit(&h->bins, &h->next, &h->counts, most) / most;
  h->refits++;
  return false;
}
