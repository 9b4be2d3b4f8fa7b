#include "core/table.h"

#include <math.h>

#include "core/runs.h"

mpisift_status msift_table_init(struct msift_table *t, struct msift_memory *memory, struct msift_error *error,
                                int64_t n, int64_t ranks, int64_t rank)
{
  t->first = msift_run_begin(n, ranks, rank);
  t->n = msift_run_begin(n, ranks, rank + 1) - t->first;
  t->entries = msift_alloc(memory, error, t->n, sizeof *t->entries);
  if (t->entries == NULL)
    return error->status;
  for (int64_t i = 0; i < t->n; i++)
    t->entries[i] = (struct msift_entry){NAN, NAN, NAN, -1, -1};
  return MPISIFT_OK;
}

void msift_table_destroy(struct msift_table *t, struct msift_memory *memory)
{
  msift_free(memory, &t->entries);
}

static void take(const struct msift_table *t, struct msift_entry *e, const struct msift_report *r)
{
  double loss = (double)r->loss, before;

  e->epoch = r->trained;
  e->confidence = r->confidence;
  e->group = r->group >= 0 ? r->group : e->group;
  if (!(isfinite(r->loss) && r->loss >= 0)) {
    e->loss = e->smoothed = NAN;
    return;
  }
  before = isnan(e->smoothed) ? loss : (double)e->smoothed;
  e->smoothed = (float)(t->smoothing * before + (1 - t->smoothing) * loss);
  e->loss = (float)fmax(0, (double)e->smoothed + t->difference * (loss - before));
}

/* Epochs as one number that grows with the trained, and then the drawn. */
static int64_t age(const struct msift_report *r)
{
  return (int64_t)r->trained << 32 | r->drawn;
}

/* The next age after one; INT64_MAX: none. */
static int64_t next_age(const struct msift_report *reports, int64_t n, int64_t after)
{
  int64_t least = INT64_MAX;

  for (int64_t i = 0; i < n; i++)
    if (age(&reports[i]) > after && age(&reports[i]) < least)
      least = age(&reports[i]);
  return least;
}

/* A pass for each pair of epochs, of which there are few: samples wait for a batch from one epoch to the next, and
 * reports for a batch or so. */
void msift_table_take(struct msift_table *t, const struct msift_report *reports, int64_t n)
{
  for (int64_t now = next_age(reports, n, -1); now != INT64_MAX; now = next_age(reports, n, now))
    for (int64_t i = 0; i < n; i++)
      if (age(&reports[i]) == now)
        take(t, msift_table_at(t, reports[i].id), &reports[i]);
}
