/* Candidates on their way to a device, and there. */
#include <string.h>

#include "api/device.h"

static mpisift_status reserve_scores(mpisift_loader *l, int64_t rows, struct msift_error *error)
{
  struct msift_stage *s = &l->stage;

  for (int f = 0; f < l->source.n_fields; f++)
    MSIFT_TRY(msift_gpu_grow(l, &s->data[f], s->filled, rows, l->field_bytes[f], error));
  MSIFT_TRY(msift_gpu_grow(l, &s->losses, 0, rows, sizeof *s->losses, error));
  if (l->policy->measure == MSIFT_MEASURE_BOUND)
    MSIFT_TRY(msift_gpu_grow(l, &s->more.bound, 0, rows, sizeof *s->more.bound, error));
  if (l->policy->measure == MSIFT_MEASURE_UNCERTAINTY)
    MSIFT_TRY(msift_gpu_grow(l, &s->more.confidence, 0, rows, sizeof *s->more.confidence, error));
  if (l->config.groups > 0)
    MSIFT_TRY(msift_gpu_grow(l, &s->more.group, 0, rows, sizeof *s->more.group, error));
  return MPISIFT_OK;
}

mpisift_status msift_gpu_reserve_rows(mpisift_loader *l, int64_t rows, struct msift_error *error)
{
  int64_t filled = l->stage.filled;
  struct msift_gpu *g = l->gpu;

  if (!l->pushed)
    MSIFT_TRY(reserve_scores(l, rows, error));
  MSIFT_TRY(msift_gpu_grow(l, &g->ids, filled, rows, sizeof *g->ids, error));
  MSIFT_TRY(g->device->fill(g->ids + filled, 0xff, (size_t)(rows - filled) * sizeof *g->ids, g->stream, error));
  MSIFT_TRY(msift_gpu_grow(l, &g->places, filled, rows, sizeof *g->places, error));
  MSIFT_TRY(msift_gpu_grow(l, &g->accepted, 0, rows, sizeof *g->accepted, error));
  MSIFT_TRY(msift_gpu_grow(l, &g->probabilities, 0, rows, sizeof *g->probabilities, error));
  MSIFT_TRY(msift_gpu_grow(l, &g->weights, 0, rows, sizeof *g->weights, error));
  MSIFT_TRY(msift_gpu_grow(l, &g->kept, 0, rows, sizeof *g->kept, error));
  return msift_gpu_grow(l, &g->scratch, 0, 1, g->device->decide_scratch(rows), error);
}

/* The page-locked rows of a piece become rows `begin` on. */
static void send_piece(mpisift_loader *l, struct msift_piece *piece, int64_t begin, int64_t n)
{
  struct msift_error *error = &l->failure;
  struct msift_stage *s = &l->stage;
  struct msift_gpu *g = l->gpu;
  const struct msift_device *d = g->device;

  for (int64_t i = 0; i < n; i++) {
    piece->ids[i] = s->ids[begin + i];
    piece->places[i] = (int32_t)(s->positions[begin + i] - s->begin);
  }
  for (int f = 0; f < l->source.n_fields && !l->pushed; f++)
    d->upload((unsigned char *)s->data[f] + (size_t)begin * l->field_bytes[f], piece->data[f],
              (size_t)n * l->field_bytes[f], g->stream, error);
  d->upload(g->ids + begin, piece->ids, (size_t)n * sizeof *g->ids, g->stream, error);
  d->upload(g->places + begin, piece->places, (size_t)n * sizeof *g->places, g->stream, error);
  d->event_record(piece->event, g->stream, error);
}

/* The piece whose rows have long gone up, most often. */
static struct msift_piece *next_piece(mpisift_loader *l)
{
  struct msift_gpu *g = l->gpu;
  struct msift_piece *piece = &g->pieces[g->turn];

  g->turn = 1 - g->turn;
  g->device->event_reach(piece->event, &l->failure);
  return piece;
}

static void read_piece(mpisift_loader *l)
{
  struct msift_stage *s = &l->stage;
  struct msift_piece *piece = next_piece(l);
  int64_t begin = s->filled, end = begin + l->gpu->piece_rows;

  if (l->failure.status != MPISIFT_OK)
    return;
  msift_stage_fetch(l, end < s->share ? end : s->share, piece->data);
  if (l->failure.status != MPISIFT_OK)
    return;
  send_piece(l, piece, begin, s->filled - begin);
  if (l->failure.status != MPISIFT_OK)
    s->filled = begin;
}

void msift_gpu_read(mpisift_loader *l)
{
  struct msift_stage *s = &l->stage;

  do
    read_piece(l);
  while (l->failure.status == MPISIFT_OK && s->filled < s->share && !l->stream_ended);
}

void msift_gpu_take(mpisift_loader *l)
{
  struct msift_piece *piece = next_piece(l);

  if (l->failure.status == MPISIFT_OK)
    send_piece(l, piece, 0, l->stage.share);
}

void msift_gpu_pad(mpisift_loader *l, int64_t begin, int64_t end)
{
  struct msift_gpu *g = l->gpu;
  size_t n = (size_t)(end - begin);

  if (g->closed || begin >= end)
    return;
  g->device->fill(g->ids + begin, 0xff, n * sizeof *g->ids, g->stream, &l->failure);
  for (int f = 0; f < l->source.n_fields; f++)
    g->device->fill((unsigned char *)l->stage.data[f] + (size_t)begin * l->field_bytes[f], 0, n * l->field_bytes[f],
                    g->stream, &l->failure);
}

/* All bits set are NaN, and the class −1. */
static void forget(mpisift_loader *l, void *scores, int64_t first, size_t size)
{
  if (scores != NULL)
    l->gpu->device->fill((unsigned char *)scores + (size_t)first * size, 0xff, (size_t)l->score_rows * size,
                         l->gpu->stream, &l->failure);
}

void msift_gpu_forget(mpisift_loader *l, int64_t first)
{
  struct msift_stage *s = &l->stage;

  if (l->gpu->closed)
    return;
  forget(l, s->losses, first, sizeof *s->losses);
  forget(l, s->more.bound, first, sizeof *s->more.bound);
  forget(l, s->more.confidence, first, sizeof *s->more.confidence);
  forget(l, s->more.group, first, sizeof *s->more.group);
}
