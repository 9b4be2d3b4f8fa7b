#include <string.h>

#include "api/device.h"
#include "core/random.h"

/* Messages are counted in records, or in words of 8 bytes where records have lengths. */
static int64_t units(const mpisift_loader *l, size_t bytes)
{
  return (int64_t)(bytes / (l->n_padded > 0 ? 8 : l->record_bytes));
}

static unsigned char *landing(const mpisift_loader *l, const struct msift_transfer *t)
{
  return l->receive + (size_t)t->place * l->record_bytes;
}

static mpisift_status post_receives(mpisift_loader *l, struct msift_error *error)
{
  for (int64_t k = 0; k < l->plan.n_transfers; k++) {
    const struct msift_transfer *t = &l->plan.transfers[k];

    if (t->to == l->plan.rank)
      MSIFT_TRY(msift_exchange_receive(&l->exchange, landing(l, t), units(l, (size_t)t->n * l->record_bytes), t->from,
                                       error));
  }
  return MPISIFT_OK;
}

static mpisift_status post_sends(mpisift_loader *l, struct msift_error *error)
{
  unsigned char *message = l->send, *end = message;

  for (int64_t k = 0; k < l->plan.n_transfers; k++, message = end) {
    const struct msift_transfer *t = &l->plan.transfers[k];

    if (t->from != l->plan.rank)
      continue;
    if (l->gpu != NULL)
      end += (size_t)t->n * l->record_bytes; /* it is there */
    for (int64_t i = 0; i < t->n && l->gpu == NULL; i++)
      end = msift_pool_pack(l, t->first + i, end);
    MSIFT_TRY(msift_exchange_send(&l->exchange, message, units(l, (size_t)(end - message)), t->to, error));
    l->sent_bytes += l->n_padded > 0 ? end - message : 0;
  }
  return MPISIFT_OK;
}

static bool receives(const mpisift_loader *l)
{
  for (int64_t k = 0; k < l->plan.n_transfers; k++)
    if (l->plan.transfers[k].to == l->plan.rank)
      return true;
  return false;
}

/* Where each record received begins. */
static void find_received(mpisift_loader *l)
{
  for (int64_t k = 0; k < l->plan.n_transfers; k++) {
    const struct msift_transfer *t = &l->plan.transfers[k];
    const unsigned char *record = landing(l, t);

    for (int64_t i = 0; i < t->n && t->to == l->plan.rank; i++, record += msift_record_size(l, record))
      l->received[t->place + i] = record;
  }
}

mpisift_status msift_batch_begin(mpisift_loader *l, int64_t n)
{
  struct msift_error *error = &l->ctx->error;
  double begin = msift_range_begin(l->ctx, "mpisift send");

  msift_plan_make(&l->plan, &l->pool.owners, n);
  if (l->gpu != NULL)
    msift_gpu_pack(l);
  if (msift_gpu_by_nccl(l->gpu))
    msift_gpu_exchange(l);
  else if (msift_team_leads(&l->ctx->team) && post_receives(l, error) == MPISIFT_OK)
    post_sends(l, error);
  msift_ring_pop(&l->pool.owners, n);
  l->flight = n;
  l->formed++;
  l->formed_in_epoch++;
  l->run.moved += l->plan.moved;
  l->run.moved_bytes += l->n_padded > 0 ? 0 : l->plan.moved * (int64_t)l->record_bytes;
  l->exchange_pending = true;
  l->run.seconds[MSIFT_SEND] += msift_range_end(l->ctx) - begin;
  return error->status;
}

static void fill_row(mpisift_loader *l, int64_t i, const struct msift_row *row)
{
  struct msift_columns *c = &l->columns;
  struct msift_tag tag;

  if (row->transfer < 0)
    tag = msift_pool_read(l, row->index, i);
  else
    tag = msift_record_read(l, l->received[l->plan.transfers[row->transfer].place + row->index], i);
  c->ids[i] = tag.id;
  c->slots[i] = row->slot;
  c->epochs[i] = tag.epoch;
  c->losses[i] = tag.loss;
  c->probabilities[i] = tag.probability;
  c->weights[i] = tag.weight;
  l->books.n_out++;
  l->books.hash_out += msift_mix((uint64_t)tag.id + 1);
}

static void fill_padding(mpisift_loader *l, int64_t i)
{
  struct msift_columns *c = &l->columns;

  c->ids[i] = c->slots[i] = -1;
  c->epochs[i] = l->epoch;
  c->losses[i] = c->probabilities[i] = c->weights[i] = 0;
  for (int f = 0; f < l->source.n_fields; f++) {
    if (l->padded[f])
      c->lengths[f][i] = 0;
    memset((unsigned char *)l->batch_data[f] + (size_t)i * l->field_bytes[f], 0, l->field_bytes[f]);
  }
}

static mpisift_status share_batch(mpisift_loader *l, int64_t rows, struct msift_error *error)
{
  const struct msift_team *team = &l->ctx->team;

  for (int f = 0; f < l->source.n_fields; f++)
    MSIFT_TRY(msift_team_share(team, l->batch_data[f], rows, l->field_bytes[f], 0, error));
  return msift_team_share(team, l->columns.ids, 1, l->columns.bytes, 0, error);
}

static void describe(mpisift_loader *l, int64_t rows, mpisift_batch *batch)
{
  *batch = (mpisift_batch){
      .n = rows,
      .valid = l->plan.n_rows,
      .global_n = l->flight,
      .serial = l->serial,
      .epoch = l->epoch,
      .n_fields = l->source.n_fields,
      .fields = l->fields,
      .ids = l->columns.ids,
      .slots = l->columns.slots,
      .epochs = l->columns.epochs,
      .losses = l->columns.losses,
      .probabilities = l->columns.probabilities,
      .weights = l->columns.weights,
  };
  memcpy(batch->data, l->batch_data, sizeof l->batch_data);
  memcpy(batch->lengths, l->columns.lengths, sizeof batch->lengths);
}

mpisift_status msift_batch_wait(mpisift_loader *l)
{
  double begin = msift_range_begin(l->ctx, "mpisift receive");

  if (msift_team_leads(&l->ctx->team))
    msift_exchange_end(&l->exchange, &l->ctx->error);
  l->run.seconds[MSIFT_RECEIVE] += msift_range_end(l->ctx) - begin;
  return l->ctx->error.status;
}

static mpisift_status receive_rows(mpisift_loader *l, int64_t rows, struct msift_error *error)
{
  if (msift_team_leads(&l->ctx->team)) {
    if (l->stage.in_batch && receives(l))
      msift_pool_settle(l); /* of what is staged in the batch, the places are needed */
    find_received(l);
    for (int64_t i = 0; i < l->plan.n_rows; i++)
      fill_row(l, i, &l->plan.rows[i]);
    for (int64_t i = l->plan.n_rows; i < rows; i++)
      fill_padding(l, i);
  }
  return share_batch(l, rows, error);
}

mpisift_status msift_batch_end(mpisift_loader *l, mpisift_batch *batch)
{
  int64_t rows = l->config.pad_last_batch ? l->quota : l->plan.n_rows;
  double begin;

  MSIFT_TRY(msift_batch_wait(l));
  begin = msift_range_begin(l->ctx, "mpisift fill");
  if (l->gpu != NULL)
    msift_gpu_fill(l, rows);
  else
    receive_rows(l, rows, &l->ctx->error);
  if (msift_team_leads(&l->ctx->team))
    msift_pool_pop(l, l->plan.held[l->plan.rank]);
  l->exchange_pending = false;
  l->run.seconds[MSIFT_FILL] += msift_range_end(l->ctx) - begin;
  MSIFT_TRY(l->ctx->error.status);
  if (batch != NULL)
    describe(l, rows, batch);
  l->tickets[l->serial % (l->config.report_lag + 1)] = (struct msift_ticket){l->serial, rows, l->plan.n_rows};
  l->serial++;
  l->run.steps++;
  l->run.trained += l->flight;
  l->run.pooled = l->pool.owners.n;
  return MPISIFT_OK;
}

mpisift_batch mpisift_batch_slice(const mpisift_batch *batch, int64_t first, int64_t n)
{
  mpisift_batch slice = *batch;

  n = first < 0 ? n + first : n;
  first = first < 0 ? 0 : first < batch->n ? first : batch->n;
  slice.n = n < 0 ? 0 : n < batch->n - first ? n : batch->n - first;
  slice.valid = batch->valid - first < 0 ? 0 : batch->valid - first < slice.n ? batch->valid - first : slice.n;
  for (int f = 0; f < batch->n_fields; f++)
    slice.data[f] = (unsigned char *)batch->data[f] + (size_t)first * mpisift_field_bytes(&batch->fields[f]);
  for (int f = 0; f < batch->n_fields; f++)
    slice.lengths[f] = batch->lengths[f] == NULL ? NULL : batch->lengths[f] + first;
  slice.ids = batch->ids + first;
  if (batch->slots != NULL) {
    slice.slots = batch->slots + first;
    slice.epochs = batch->epochs + first;
    slice.losses = batch->losses + first;
    slice.probabilities = batch->probabilities + first;
    slice.weights = batch->weights + first;
  }
  return slice;
}
