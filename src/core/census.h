/* What there is in a loss table, over all ranks: how many losses are known, their mean, and how many lie below a loss.
 * Ranks count, the caller sums their integers, and all ranks take the sums: so the census does not depend on how the
 * table is spread. Its percentiles are those of a history (see history.h) that holds every known loss. */
#ifndef MSIFT_CORE_CENSUS_H
#define MSIFT_CORE_CENSUS_H

#include "core/history.h"
#include "core/table.h"

/* Known losses, and their sum in fixed point in two words. */
enum { MSIFT_CENSUS_KNOWN, MSIFT_CENSUS_LOW, MSIFT_CENSUS_HIGH, MSIFT_CENSUS_SUMS };

/* A loss in fixed point: 2^-24, cut at 2^23. */
static inline int64_t msift_fixed(float loss)
{
  return loss < 0x1p23F ? (int64_t)((double)loss * 0x1p24 + 0.5) : INT64_C(1) << 47;
}

/* This rank's part of the sums, and the mean that sums of all ranks make, as a multiple of 2^-24; 0 where no loss is
 * known. */
void msift_census_sum(const struct msift_table *table, uint64_t sums[MSIFT_CENSUS_SUMS]);
double msift_census_mean(const uint64_t sums[MSIFT_CENSUS_SUMS]);

/* Known losses of this rank by class, [groups], which are zero at first. */
void msift_census_groups(const struct msift_table *table, uint64_t *groups);

/* Begin with the bins of an empty history. Then count this rank's losses by h->bins, [bins.n], which are zero at first,
 * and take the sums of all ranks, until taking says that the counts are good: where losses crowd, the bins have been
 * fitted and are to be counted again. */
void msift_census_begin(struct msift_history *h);
void msift_census_count(const struct msift_history *h, const struct msift_table *table, uint64_t *counts);
bool msift_census_take(struct msift_history *h, const uint64_t *counts);

#endif
