/* One call of mpisift_loader_next. Every call carries an agreement, so that a failure of any rank reaches all before it
 * trains on a batch alone: that of a round, or one of its own. */
#include "api/device.h"

static mpisift_status agree(mpisift_loader *l)
{
  MSIFT_TRY(msift_agreement_post(l));
  return msift_agreement_end(l);
}

/* Accepted samples that make a batch now: a global batch, at the end of an epoch maybe the rest, or none. */
static int64_t ready(const mpisift_loader *l)
{
  int64_t pooled = l->pool.owners.n;

  if (pooled >= l->global_batch)
    return l->global_batch;
  return l->exhausted && l->config.end_of_epoch == MPISIFT_FLUSH ? pooled : 0;
}

/* Agree that no rank pushes any more, in a round of its own: that of a rank that fails in place of a push meets it. */
static mpisift_status close_pushes(mpisift_loader *l)
{
  MSIFT_TRY(msift_round_run(l));
  l->closed = true;
  return MPISIFT_OK;
}

/* Bring a batch under way: OK, the end of the epoch, or an error. */
static mpisift_status find_batch(mpisift_loader *l)
{
  for (;;) {
    bool have = ready(l) > 0;

    if (!have && !l->exhausted && l->pushed)
      return MPISIFT_MORE;
    if (l->pushed && l->exhausted && !l->closed && l->pool.owners.n < l->global_batch) {
      MSIFT_TRY(close_pushes(l));
      continue;
    }
    if (!have && !l->exhausted) {
      MSIFT_TRY(msift_round_run(l));
      continue;
    }
    if (have && !l->agreed)
      MSIFT_TRY(agree(l));
    if (have)
      return msift_batch_begin(l, ready(l));
    MSIFT_TRY(msift_epoch_end(l));
    if (l->config.epochs > 0 || l->pushed)
      return MPISIFT_END_OF_EPOCH;
    msift_epoch_begin(l);
  }
}

/* Candidates for another batch behind that under way and the next are wanted. */
static bool reads_ahead(const mpisift_loader *l)
{
  return !l->exhausted && l->pool.owners.n < 2 * l->global_batch;
}

/* Depth 1: while ranks agree, read candidates ahead. The pool then gets all of the next batch, so that its exchange can
 * begin: most often the round of the call before has brought it. */
static mpisift_status look_ahead(mpisift_loader *l)
{
  bool reads = reads_ahead(l), agreeing = !l->agreed;

  if (agreeing)
    MSIFT_TRY(msift_agreement_post(l));
  MSIFT_TRY(msift_batch_wait(l)); /* its buffers may grow now */
  if (reads)
    msift_round_read(l);
  if (agreeing)
    MSIFT_TRY(msift_agreement_end(l));
  while (l->pool.owners.n < l->global_batch && !l->exhausted)
    MSIFT_TRY(msift_round_run(l));
  return MPISIFT_OK;
}

/* Depth 1: set the next exchange and the next round going, for the time of the training step. */
static mpisift_status go_on(mpisift_loader *l)
{
  bool reads = reads_ahead(l);

  if (reads)
    msift_round_read(l);
  if (l->pool.owners.n >= l->global_batch)
    MSIFT_TRY(msift_batch_begin(l, l->global_batch));
  if (!reads)
    return MPISIFT_OK;
  msift_round_judge(l);
  return msift_round_post(l);
}

/* Calls that need an epoch begin it. */
static mpisift_status enter_epoch(mpisift_loader *l)
{
  if (l->over)
    return msift_error_set(&l->ctx->error, MPISIFT_ERR_STATE, "the run of %lld epochs is over; set config.epochs",
                           (long long)l->config.epochs);
  if (!l->in_epoch)
    msift_epoch_begin(l);
  return MPISIFT_OK;
}

static mpisift_status next(mpisift_loader *l, mpisift_batch *batch)
{
  mpisift_status status;

  if (l->indices != NULL)
    return msift_planned_next(l, batch);
  MSIFT_TRY(enter_epoch(l));
  MSIFT_TRY(msift_gpu_ready(l));
  if (l->round_pending)
    MSIFT_TRY(msift_round_end(l));
  l->agreed = false;
  status = l->exchange_pending ? MPISIFT_OK : find_batch(l);
  if (status != MPISIFT_OK)
    return status;
  if (l->config.pipeline_depth == 0)
    return msift_batch_end(l, batch);
  MSIFT_TRY(look_ahead(l));
  MSIFT_TRY(msift_batch_end(l, batch));
  return go_on(l);
}

static mpisift_status push(mpisift_loader *l)
{
  MSIFT_TRY(enter_epoch(l));
  if (l->exhausted || ready(l) > 0)
    return msift_error_set(&l->ctx->error, MPISIFT_ERR_STATE, "call mpisift_sifter_next first: %s",
                           l->exhausted ? "the epoch has been ended" : "a batch is ready");
  MSIFT_TRY(msift_gpu_ready(l));
  return msift_round_run(l);
}

/* What a rank could not push has no bearing on its next push. */
mpisift_status msift_push(mpisift_loader *l)
{
  mpisift_status status;

  l->at_step = l->run;
  status = push(l);
  l->after_step = l->run;
  msift_error_clear(&l->failure);
  return status;
}

mpisift_status msift_push_end(mpisift_loader *l)
{
  MSIFT_TRY(enter_epoch(l));
  l->exhausted = l->stream_ended = true;
  return MPISIFT_OK;
}

/* Run a call with a failure of this rank in it: of a sifter that has no batch and needs more, a push. Where a peer's
 * failure is told first, ours has served its purpose too. */
static mpisift_status fail(mpisift_loader *l)
{
  mpisift_status status = next(l, NULL);

  if (status == MPISIFT_MORE)
    status = msift_round_run(l);

  msift_error_clear(&l->failure);
  return status;
}

static mpisift_status enter(mpisift_loader *l, const char *call)
{
  MSIFT_TRY(msift_enter(l->ctx, call));
  if (l->gpu != NULL)
    msift_gpu_enter(l, call);
  return MPISIFT_OK;
}

static mpisift_status leave(mpisift_loader *l, mpisift_status status)
{
  mpisift_status recorded;

  if (l->gpu != NULL)
    msift_gpu_leave(l);
  recorded = msift_leave(l->ctx);
  l->after_step = l->run;
  return recorded != MPISIFT_OK ? recorded : status;
}

mpisift_status mpisift_loader_next(mpisift_loader *loader, mpisift_batch *batch)
{
  if (loader == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(enter(loader, "mpisift_loader_next"));
  loader->at_step = loader->run;
  if (batch != NULL)
    return leave(loader, next(loader, batch));
  msift_error_set(&loader->failure, MPISIFT_ERR_ARG, "batch is NULL");
  return leave(loader, fail(loader));
}

mpisift_status mpisift_loader_fail(mpisift_loader *loader, const char *message)
{
  if (loader == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(enter(loader, "mpisift_loader_fail"));
  msift_error_set(&loader->failure, MPISIFT_ERR_USER, "%.400s", message == NULL ? "training failed" : message);
  return leave(loader, fail(loader));
}

void mpisift_loader_progress(mpisift_loader *loader)
{
  if (loader == NULL || msift_enter(loader->ctx, "mpisift_loader_progress") != MPISIFT_OK)
    return;
  if (loader->round_pending && loader->gpu == NULL)
    msift_reduction_progress(&loader->reduction, &loader->ctx->error);
  if (loader->exchange_pending)
    msift_exchange_progress(&loader->exchange, &loader->ctx->error);
  msift_leave(loader->ctx);
}
