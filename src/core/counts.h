/* Losses by bin, and below a bin. Changes come for all bins at once and few places are asked for then, so only every
 * eighth has what lies below it at hand, and loops of a fixed length become vector instructions. */
#ifndef MSIFT_CORE_COUNTS_H
#define MSIFT_CORE_COUNTS_H

#include <stdbool.h>

#include "core/bins.h"

enum { MSIFT_COUNTS_BLOCK = 8, MSIFT_COUNTS_BLOCKS = (MSIFT_BINS_MAX + MSIFT_COUNTS_BLOCK - 1) / MSIFT_COUNTS_BLOCK };

struct msift_counts {
  uint64_t total;
  uint64_t in[MSIFT_COUNTS_BLOCKS * MSIFT_COUNTS_BLOCK]; /* by bin; below 2^63, and 0 behind the last bin */
  uint64_t before[MSIFT_COUNTS_BLOCKS + 1];              /* losses in bins before a block, up to that of the end */
};

/* Take counts by `bins`, [bins.n], in place of what was there. */
void msift_counts_set(struct msift_counts *counts, const struct msift_bins *bins, const uint64_t *in);

/* Words of changes of all bins: whole blocks, of which what is behind the last bin is 0. */
static inline int msift_counts_words(const struct msift_bins *bins)
{
  return (bins->n + MSIFT_COUNTS_BLOCK - 1) / MSIFT_COUNTS_BLOCK * MSIFT_COUNTS_BLOCK;
}

/* What the total will be after changes, each a number of 32 bits with a sign; the sum of all is one too. */
uint64_t msift_counts_foresee(const struct msift_counts *counts, const struct msift_bins *bins,
                              const uint32_t *changes);

/* Add changes, [msift_counts_words()]. Returns whether a bin of several keys then holds more than `most`. */
bool msift_counts_change(struct msift_counts *counts, const struct msift_bins *bins, const uint32_t *changes,
                         uint64_t most);

/* Whether a bin of several keys holds more than `most`. */
bool msift_counts_crowd(const struct msift_counts *counts, const struct msift_bins *bins, uint64_t most);

/* Losses in bins before a bin, or before the end of the last. */
static inline uint64_t msift_counts_below(const struct msift_counts *counts, int bin)
{
  int block = bin / MSIFT_COUNTS_BLOCK, rest = bin % MSIFT_COUNTS_BLOCK;
  const uint64_t *in = counts->in + bin - rest;
  uint64_t below = counts->before[block];

  for (int i = 0; i < MSIFT_COUNTS_BLOCK - 1; i++) /* without a branch: places are found one after the other */
    below += in[i] & -(uint64_t)(i < rest);
  return below;
}

#endif
