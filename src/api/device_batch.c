/* What waits for a batch on a device, on its way to other ranks and into batches. All ranks count on it: what fails
 * here cannot be repeated. */
#include <string.h>

#include "api/device.h"

/* Room for the messages of the batches that the pool can then give. */
static mpisift_status reserve_send(mpisift_loader *l, struct msift_error *error)
{
  int64_t own = l->pool.records.n + l->stage.share;

  if (own <= l->send_capacity)
    return MPISIFT_OK;
  if (msift_gpu_staged(l->gpu))
    MSIFT_TRY(msift_gpu_grow_pinned(l, &l->send, own + own / 2, l->record_bytes, error));
  else
    MSIFT_TRY(msift_gpu_grow(l, &l->send, 0, own + own / 2, l->record_bytes, error));
  l->send_capacity = own + own / 2;
  return MPISIFT_OK;
}

mpisift_status msift_gpu_reserve(mpisift_loader *l, struct msift_error *error)
{
  struct msift_stage *s = &l->stage;
  struct msift_gpu *g = l->gpu;

  if (s->scored)
    MSIFT_TRY(msift_gpu_grow_ring(l, &g->window, g->window_sides, s->share, error));
  if (l->source.n_fields == 0)
    return MPISIFT_OK;
  MSIFT_TRY(msift_ring_reserve(&g->pooled, &l->ctx->memory, error, s->share));
  MSIFT_TRY(msift_gpu_grow_ring(l, &l->pool.records, 1, s->share, error));
  return reserve_send(l, error);
}

/* Accepted rows become records at the end of the pool. */
static mpisift_status keep_rows(mpisift_loader *l, int64_t n, struct msift_error *error)
{
  struct msift_ring *pool = &l->pool.records;
  struct msift_stage *s = &l->stage;
  struct msift_gpu *g = l->gpu;
  int64_t at = pool->first + pool->n;
  struct msift_device_pack job = {
      .from = {.n_fields = l->source.n_fields},
      .rows = g->kept,
      .n = n,
      .ids = g->ids,
      .losses = !s->scored  ? NULL
                : l->pushed ? l->candidates->losses
                            : s->losses,
      .probabilities = g->probabilities,
      .weights = g->weights,
      .epoch = l->epoch,
      .records = pool->items,
      .first = at < pool->capacity ? at : at - pool->capacity,
      .capacity = pool->capacity,
      .record_bytes = l->record_bytes,
  };

  for (int f = 0; f < l->source.n_fields; f++) {
    job.from.fields[f] = s->data[f];
    job.from.bytes[f] = l->field_bytes[f];
  }
  return g->device->pack(&job, g->stream, error);
}

void msift_gpu_commit(mpisift_loader *l)
{
  struct msift_error error = {0};
  struct msift_stage *s = &l->stage;
  struct msift_gpu *g = l->gpu;
  int64_t n;

  if (s->scored) {
    g->window.n += s->filled;
    msift_ring_pop(&g->window, g->window.n - l->history.seen.n);
  }
  if (l->source.n_fields == 0)
    return;
  for (int64_t i = 0; i < s->filled; i++)
    if (s->accepted[i])
      memcpy(msift_ring_push(&g->pooled), &s->ids[i], sizeof s->ids[i]);
  n = g->pooled.n - l->pool.records.n;
  if (n > 0 && keep_rows(l, n, &error) != MPISIFT_OK)
    msift_gpu_break(l, &error);
  l->pool.records.n = g->pooled.n;
}

/* A run of the pool's records as a message, in the order of the stream. */
static mpisift_status copy_message(mpisift_loader *l, int64_t first, int64_t n, unsigned char *message,
                                   struct msift_error *error)
{
  const struct msift_gpu *g = l->gpu;

  for (int64_t i = 0, run; i < n; i += run) {
    const unsigned char *from = msift_ring_at(&l->pool.records, first + i);
    unsigned char *to = message + (size_t)i * l->record_bytes;

    run = msift_ring_run(&l->pool.records, first + i, n - i);
    if (msift_gpu_staged(g))
      MSIFT_TRY(g->device->download(to, from, (size_t)run * l->record_bytes, g->stream, error));
    else
      MSIFT_TRY(g->device->copy(to, from, (size_t)run * l->record_bytes, g->stream, error));
  }
  return MPISIFT_OK;
}

/* MPI does not know of the stream: what it is to send has to be there, and what it has brought for the batch before has
 * to be taken. A rank without messages waits for nothing, since the stream may hold a step of training. */
static mpisift_status wait_for_mpi(mpisift_loader *l, bool sends, bool receives, struct msift_error *error)
{
  const struct msift_gpu *g = l->gpu;

  if (sends)
    return g->device->synchronize(g->stream, error);
  return receives ? g->device->event_reach(g->delivered, error) : MPISIFT_OK;
}

static mpisift_status pack(mpisift_loader *l, struct msift_error *error)
{
  unsigned char *message = l->send;
  bool receives = false;

  for (int64_t k = 0; k < l->plan.n_transfers; k++) {
    const struct msift_transfer *t = &l->plan.transfers[k];

    receives = receives || t->to == l->plan.rank;
    if (t->from != l->plan.rank)
      continue;
    MSIFT_TRY(copy_message(l, t->first, t->n, message, error));
    message += (size_t)t->n * l->record_bytes;
  }
  return msift_gpu_by_nccl(l->gpu) ? MPISIFT_OK : wait_for_mpi(l, message != l->send, receives, error);
}

void msift_gpu_pack(mpisift_loader *l)
{
  struct msift_error error = {0};

  if (!l->gpu->closed && pack(l, &error) != MPISIFT_OK)
    msift_gpu_break(l, &error);
}

static mpisift_status exchange(mpisift_loader *l, struct msift_error *error)
{
  struct msift_gpu *g = l->gpu;
  const unsigned char *message = l->send;

  for (int64_t k = 0; k < l->plan.n_transfers; k++) {
    const struct msift_transfer *t = &l->plan.transfers[k];
    size_t bytes = (size_t)t->n * l->record_bytes;

    if (t->to == l->plan.rank)
      MSIFT_TRY(msift_nccl_receive(&g->nccl, l->receive + (size_t)t->place * l->record_bytes, bytes, t->from, g->stream,
                                   error));
    if (t->from != l->plan.rank)
      continue;
    MSIFT_TRY(msift_nccl_send(&g->nccl, message, bytes, t->to, g->stream, error));
    message += bytes;
  }
  return MPISIFT_OK;
}

mpisift_status msift_gpu_exchange(mpisift_loader *l)
{
  struct msift_error *error = &l->ctx->error;

  if (msift_nccl_begin(&l->gpu->nccl, error) != MPISIFT_OK)
    return error->status;
  exchange(l, error);
  return msift_nccl_end(&l->gpu->nccl, error);
}

/* Where each row of the batch is found. Returns how many records have been received. */
static int64_t choose_seats(mpisift_loader *l)
{
  struct msift_gpu *g = l->gpu;
  int64_t received = 0;

  for (int64_t i = 0; i < l->plan.n_rows; i++) {
    const struct msift_row *row = &l->plan.rows[i];

    g->chosen.slots[i] = row->slot;
    if (row->transfer < 0)
      g->chosen.sources[i] = msift_ring_at(&l->pool.records, row->index);
    else
      g->chosen.sources[i] =
          g->received + (size_t)(l->plan.transfers[row->transfer].place + row->index) * l->record_bytes;
    received += row->transfer >= 0;
  }
  return received;
}

static mpisift_status scatter(mpisift_loader *l, int64_t rows, struct msift_error *error)
{
  const struct msift_gpu *g = l->gpu;
  struct msift_columns *c = &l->columns;
  struct msift_device_scatter job = {
      .n = l->plan.n_rows,
      .n_padded = rows,
      .sources = g->seats.sources,
      .slots = g->seats.slots,
      .padding_epoch = l->epoch,
      .to = {.n_fields = l->source.n_fields},
      .ids = c->ids,
      .to_slots = c->slots,
      .epochs = c->epochs,
      .losses = c->losses,
      .probabilities = c->probabilities,
      .weights = c->weights,
      .id_hash = g->id_hash,
  };

  for (int f = 0; f < l->source.n_fields; f++) {
    job.to.fields[f] = l->batch_data[f];
    job.to.bytes[f] = l->field_bytes[f];
  }
  return g->device->scatter(&job, g->stream, error);
}

static mpisift_status fill(mpisift_loader *l, int64_t rows, struct msift_error *error)
{
  const struct msift_gpu *g = l->gpu;
  const struct msift_device *d = g->device;
  int64_t received;

  MSIFT_TRY(d->event_reach(g->delivered, error)); /* where rows are found has been read */
  received = choose_seats(l);
  if (msift_gpu_staged(g))
    MSIFT_TRY(d->upload(g->received, l->receive, (size_t)received * l->record_bytes, g->stream, error));
  MSIFT_TRY(d->upload(g->seats.sources, g->chosen.sources,
                      (size_t)l->quota * (sizeof *g->chosen.sources + sizeof *g->chosen.slots), g->stream, error));
  MSIFT_TRY(scatter(l, rows, error));
  return d->event_record(g->delivered, g->stream, error);
}

void msift_gpu_fill(mpisift_loader *l, int64_t rows)
{
  struct msift_error error = {0};

  l->books.n_out += (uint64_t)l->plan.n_rows;
  if (!l->gpu->closed && fill(l, rows, &error) != MPISIFT_OK)
    msift_gpu_break(l, &error);
}

void msift_gpu_count_out(mpisift_loader *l)
{
  struct msift_gpu *g = l->gpu;

  if (l->failure.status != MPISIFT_OK ||
      g->device->download(g->id_hash_told, g->id_hash, sizeof *g->id_hash, g->stream, &l->failure) != MPISIFT_OK ||
      g->device->synchronize(g->stream, &l->failure) != MPISIFT_OK)
    return;
  msift_gpu_take_reports(l, true);
  l->books.hash_out += *g->id_hash_told - g->id_hash_before;
  g->id_hash_before = *g->id_hash_told;
}
