/* The loss table: of each sample, the loss with which it was trained last. A rank holds a run of ids (see runs.h), and
 * a sample's place follows from its id. What an entry becomes depends on the reports for its id alone, in the order of
 * the epochs in which the sample was trained and, of one trained twice in an epoch, drawn. */
#ifndef MSIFT_CORE_TABLE_H
#define MSIFT_CORE_TABLE_H

#include <stdbool.h>

#include "base/memory.h"

struct msift_entry {
  float loss;       /* what policies go by; NaN: unknown */
  float smoothed;   /* the mean of the losses that weighs old ones by smoothing^age */
  float confidence; /* that came with the last report; NaN: none did */
  int32_t epoch;    /* of the last report; −1: there was none */
  int32_t group;    /* class; −1: unknown */
};

struct msift_table {
  int64_t first, n;             /* ids [first, first + n) */
  double smoothing, difference; /* smoothed = smoothing × smoothed + (1 − smoothing) × loss, and the entry's loss is
                                   smoothed + difference × (loss − smoothed before) */
  struct msift_entry *entries;  /* [n] */
};

/* What was trained, on the way to its entry. */
struct msift_report {
  int64_t id;
  int32_t trained, drawn; /* epochs */
  int32_t group;          /* −1: not given, the entry keeps its own */
  float loss, confidence; /* a loss that is not finite or below 0 makes the entry unknown */
};

/* The entries of rank r of `ranks`, for n samples in all. */
mpisift_status msift_table_init(struct msift_table *table, struct msift_memory *memory, struct msift_error *error,
                                int64_t n, int64_t ranks, int64_t rank);
void msift_table_destroy(struct msift_table *table, struct msift_memory *memory);

static inline struct msift_entry *msift_table_at(const struct msift_table *table, int64_t id)
{
  return &table->entries[id - table->first];
}

static inline bool msift_entry_known(const struct msift_entry *entry)
{
  return entry->loss >= 0;
}

/* Take reports for this rank's ids, in any order. The ids of reports that agree in both epochs are distinct. */
void msift_table_take(struct msift_table *table, const struct msift_report *reports, int64_t n);

#endif
