#include <string.h>

#include "api/device.h"

void msift_pool_settle(mpisift_loader *l)
{
  struct msift_stage *s = &l->stage;
  double begin = msift_range_begin(l->ctx, "mpisift pool");

  for (int64_t k = s->first_kept; k < s->n_kept; k++)
    msift_record_write(l, s->kept[k], msift_ring_push(&l->pool.records));
  s->first_kept = s->n_kept = 0;
  l->run.seconds[MSIFT_FILL] += msift_range_end(l->ctx) - begin;
}

void msift_pool_pop(mpisift_loader *l, int64_t n)
{
  int64_t records = n < l->pool.records.n ? n : l->pool.records.n;

  msift_ring_pop(&l->pool.records, records);
  if (l->gpu != NULL)
    msift_ring_pop(&l->gpu->pooled, records);
  l->stage.first_kept += n - records;
}

int64_t msift_pool_id(const mpisift_loader *l, int64_t i)
{
  return l->gpu != NULL ? *(const int64_t *)msift_ring_at(&l->gpu->pooled, i) : msift_pool_tag(&l->pool, i)->id;
}

static int64_t staged(const mpisift_loader *l, int64_t i)
{
  return l->stage.kept[l->stage.first_kept + i - l->pool.records.n];
}

unsigned char *msift_pool_pack(const mpisift_loader *l, int64_t i, unsigned char *record)
{
  if (i < l->pool.records.n) {
    const unsigned char *from = msift_ring_at(&l->pool.records, i);
    size_t bytes = msift_record_size(l, from);

    memcpy(record, from, bytes);
    return record + bytes;
  }
  msift_record_write(l, staged(l, i), record);
  return record + msift_record_size(l, record);
}

struct msift_tag msift_pool_read(mpisift_loader *l, int64_t i, int64_t row)
{
  if (i < l->pool.records.n)
    return msift_record_read(l, msift_ring_at(&l->pool.records, i), row);
  return msift_staged_read(l, staged(l, i), row);
}
