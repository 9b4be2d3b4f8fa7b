/* A loader whose policy goes by stale losses: an index plan says which samples come next, and only these are read.
 * There are no rounds: a call agrees once, on what this rank read. */
#include <string.h>

#include "api/indices.h"

mpisift_status msift_planned_make(mpisift_loader *l)
{
  return msift_indices_make(l->ctx, &l->config, l->source.n, l->source.block, &l->indices);
}

/* Agree, with this rank's failure. */
static mpisift_status agree(mpisift_loader *l)
{
  if (l->failure.status != MPISIFT_OK)
    msift_error_set(&l->indices->failure, l->failure.status, "%s", l->failure.text);
  msift_error_clear(&l->failure);
  return msift_indices_agree(l->indices);
}

static int64_t sample_bytes(const mpisift_loader *l)
{
  size_t bytes = 0;

  for (int f = 0; f < l->source.n_fields; f++)
    bytes += l->field_bytes[f];
  return (int64_t)bytes;
}

static mpisift_status begin(mpisift_loader *l)
{
  mpisift_indices *x = l->indices;
  const mpisift_index_epoch *now = &x->now;
  double start = msift_range_begin(l->ctx, "mpisift plan");
  mpisift_status status = agree(l);

  if (status == MPISIFT_OK)
    status = msift_indices_begin(x, l->source.n);
  l->run.seconds[MSIFT_DECIDE] += msift_range_end(l->ctx) - start;
  MSIFT_TRY(status);
  l->at_epoch = l->run;
  l->epoch = x->epoch;
  l->in_epoch = true;
  l->run.rounds++;
  l->run.candidates += now->candidates;
  l->run.accepted += now->accepted;
  l->run.outliers += now->outliers;
  l->run.dropped += now->dropped;
  l->run.pooled += now->accepted - now->dropped;
  l->run.unread_blocks += now->blocks_empty;
  l->run.unread_bytes += (now->sifted_out + now->outliers) * sample_bytes(l);
  return MPISIFT_OK;
}

/* The samples of a batch, into memory for so many fields. */
static void read_batch(mpisift_loader *l, const mpisift_batch *b, void *const *dst)
{
  double start = msift_range_begin(l->ctx, "mpisift read");
  int code = 0;

  msift_error_clear(&l->ctx->cause);
  if (l->failure.status == MPISIFT_OK && msift_team_leads(&l->ctx->team) && b->valid > 0)
    code = l->source.read(l->source.user, b->valid, b->ids, dst);
  if (code != 0)
    msift_callback_failed(l, "reading", code);
  l->run.seconds[MSIFT_READ] += msift_range_end(l->ctx) - start;
}

/* Tell the source what is read behind a batch of this epoch: the next, and at last those to be scored again. */
static void announce(mpisift_loader *l, int64_t trained, int64_t scored)
{
  const mpisift_indices *x = l->indices;
  bool trains = trained < x->now.steps;
  mpisift_batch next;

  if (l->source.prefetch == NULL || l->failure.status != MPISIFT_OK || !msift_team_leads(&l->ctx->team) ||
      (!trains && scored == x->now.refresh_steps))
    return;
  next = msift_indices_batch(x, trains ? &x->train : &x->refresh, trains ? trained : scored);
  if (next.valid > 0)
    l->source.prefetch(l->source.user, next.valid, next.ids);
}

static mpisift_status share_fields(mpisift_loader *l, const mpisift_batch *b)
{
  for (int f = 0; f < l->source.n_fields; f++) {
    memset((unsigned char *)l->batch_data[f] + (size_t)b->valid * l->field_bytes[f], 0,
           (size_t)(b->n - b->valid) * l->field_bytes[f]);
    MSIFT_TRY(msift_team_share(&l->ctx->team, l->batch_data[f], b->valid, l->field_bytes[f], 0, &l->ctx->error));
  }
  return MPISIFT_OK;
}

static mpisift_status deliver(mpisift_loader *l, mpisift_batch *batch)
{
  mpisift_indices *x = l->indices;
  mpisift_batch b = msift_indices_batch(x, &x->train, x->step);

  read_batch(l, &b, l->batch_data);
  announce(l, x->step + 1, 0);
  MSIFT_TRY(agree(l));
  MSIFT_TRY(share_fields(l, &b));
  b.n_fields = l->source.n_fields;
  b.fields = l->fields;
  memcpy(b.data, l->batch_data, sizeof b.data);
  msift_indices_give(x, &b);
  x->step++;
  x->steps++;
  l->run.steps++;
  l->run.trained += b.global_n;
  l->run.pooled -= b.global_n;
  *batch = b;
  return MPISIFT_OK;
}

/* Room to score one batch, with the rows that a rank that fails scores instead. */
static void stage_refresh(mpisift_loader *l, const mpisift_batch *b)
{
  struct msift_stage *s = &l->stage;

  s->begin = s->filled = 0;
  s->end = b->global_n;
  s->share = b->valid;
  s->scored = false; /* not into the history */
  s->score_calls = (msift_quota(l->global_batch, l->ctx->team.size, 0) + l->score_rows - 1) / l->score_rows;
  msift_stage_reserve(l, &l->failure);
}

/* A class out of range is agreed on here: the report's refusal would be this rank's alone. */
static void check_groups(mpisift_loader *l, int64_t n)
{
  const struct msift_stage *s = &l->stage;

  for (int64_t i = 0; i < n && l->config.groups > 0 && l->failure.status == MPISIFT_OK; i++)
    if (s->more.group[i] < 0 || s->more.group[i] >= l->config.groups)
      msift_stage_bad_group(l, i, s->more.group[i]);
}

/* Score a batch of samples that were left out. What comes of it is for the next plan. */
static mpisift_status refresh_batch(mpisift_loader *l)
{
  mpisift_indices *x = l->indices;
  mpisift_batch b = msift_indices_batch(x, &x->refresh, x->scoring);
  struct msift_stage *s = &l->stage;
  struct msift_reported reported;

  stage_refresh(l, &b);
  read_batch(l, &b, s->data);
  announce(l, x->now.steps, x->scoring + 1);
  if (l->failure.status == MPISIFT_OK) {
    memcpy(s->ids, b.ids, (size_t)b.valid * sizeof *s->ids);
    s->filled = b.valid;
  }
  MSIFT_TRY(agree(l)); /* rows to score on are not there if memory was refused */
  msift_stage_score(l);
  check_groups(l, b.valid);
  MSIFT_TRY(agree(l));
  reported = (struct msift_reported){s->losses, s->more.confidence, s->more.group};
  msift_receipts_score(x, &b, &reported);
  x->scoring++;
  l->run.scored += b.global_n;
  l->run.unread_bytes -= b.global_n * sample_bytes(l);
  return MPISIFT_OK;
}

/* What was reported in the epoch, of all ranks. */
static mpisift_status add_reports(mpisift_loader *l)
{
  uint64_t sums[2] = {l->reported, (uint64_t)l->report_sum};

  MSIFT_TRY(msift_team_sum(&l->ctx->team, sums, 2, &l->ctx->error));
  l->run.reported += (int64_t)sums[0];
  l->run.report_sum += (double)(int64_t)sums[1] / MSIFT_REPORT_ONE;
  l->reported = 0;
  l->report_sum = 0;
  return MPISIFT_OK;
}

static mpisift_status end(mpisift_loader *l)
{
  mpisift_indices *x = l->indices;
  mpisift_status status;

  MSIFT_TRY(agree(l));
  while (x->scoring < x->now.refresh_steps)
    MSIFT_TRY(refresh_batch(l));
  MSIFT_TRY(add_reports(l));
  status = msift_indices_end(x);
  if (status != MPISIFT_END_OF_EPOCH)
    return status;
  l->id_hash += x->id_hash;
  l->in_epoch = false;
  return status;
}

/* An endless run goes from epoch to epoch by itself, and would not come back as long as these accept nothing. */
static mpisift_status check_progress(mpisift_loader *l)
{
  const mpisift_index_epoch *now = &l->indices->now;

  if (now->accepted > 0)
    return MPISIFT_OK;
  return msift_error_set(&l->ctx->error, MPISIFT_ERR_DATA,
                         "epoch %lld accepted none of %lld samples; the next call goes on with the next epoch: give a "
                         "floor or coverage_epochs if there are more of these",
                         (long long)now->epoch, (long long)now->candidates);
}

mpisift_status msift_planned_next(mpisift_loader *l, mpisift_batch *batch)
{
  mpisift_indices *x = l->indices;

  for (;;) {
    mpisift_status status = x->in_epoch ? MPISIFT_OK : begin(l);

    if (status != MPISIFT_OK)
      return status;
    if (x->step < x->now.steps)
      return deliver(l, batch);
    status = end(l);
    if (status != MPISIFT_END_OF_EPOCH || l->config.epochs > 0 || x->over)
      return status;
    MSIFT_TRY(check_progress(l));
  }
}

int64_t msift_planned_report(mpisift_loader *l, int64_t serial, int64_t first, int64_t n,
                             const struct msift_reported *reported)
{
  const mpisift_indices *x = l->indices;

  if (msift_indices_report(l->indices, serial, first, n, reported, 1) != MPISIFT_OK)
    return -1;
  return x->tickets[serial - x->oldest].valid;
}

mpisift_status mpisift_loader_epoch(const mpisift_loader *loader, mpisift_index_epoch *epoch)
{
  if (loader == NULL || epoch == NULL)
    return MPISIFT_ERR_ARG;
  if (loader->indices == NULL || !loader->indices->planned)
    return msift_error_set(msift_error_begin(loader->ctx), MPISIFT_ERR_STATE,
                           "mpisift_loader_epoch: no epoch has been planned; policies by stale losses plan one in the "
                           "first call of mpisift_loader_next");
  *epoch = loader->indices->now;
  return MPISIFT_OK;
}
