#include "api/loader.h"

#include <string.h>

#include "api/source.h"

/* A round is at most so many global batches, or the bitmap would have no bound. */
enum { MAX_ROUND_BATCHES = 128, DEFAULT_LANES = 240 };

static mpisift_status check_arguments(mpisift_ctx *ctx, const mpisift_config *config, const mpisift_source *source,
                                      mpisift_score_fn score, mpisift_loader **loader)
{
  struct msift_error *error = &ctx->error;
  const struct msift_policy *policy;

  if (config == NULL || source == NULL || loader == NULL)
    return msift_error_set(error, MPISIFT_ERR_ARG, "mpisift_loader_create: config, source or loader is NULL");
  MSIFT_TRY(msift_config_check(config, error));
  MSIFT_TRY(msift_source_check(source, error));
  policy = msift_policy_find(config->policy, error);
  if (policy == NULL)
    return error->status;
  MSIFT_TRY(policy->check(config, error));
  if (policy->scored && score == NULL)
    return msift_error_set(error, MPISIFT_ERR_ARG, "policy %s needs a score callback", policy->name);
  return MPISIFT_OK;
}

/* The sizes that follow from configuration and team. */
static mpisift_status derive(mpisift_loader *l, struct msift_error *error)
{
  const struct msift_team *team = &l->ctx->team;
  const mpisift_config *c = &l->config;
  int64_t ranks = team->size;

  l->global_batch = c->global_batch_size > 0 ? c->global_batch_size : c->batch_size;
  if (l->global_batch > INT32_MAX / MAX_ROUND_BATCHES / (c->global_batch_size > 0 ? 1 : ranks))
    return msift_error_set(error, MPISIFT_ERR_ARG, "the global batch has more than %d samples",
                           INT32_MAX / MAX_ROUND_BATCHES);
  l->global_batch *= c->global_batch_size > 0 ? 1 : ranks;
  if (l->global_batch < ranks)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.global_batch_size is %lld, less than the %lld replicas",
                           (long long)l->global_batch, (long long)ranks);
  if (l->source.n > 0 && l->source.n < l->global_batch && c->end_of_epoch != MPISIFT_FLUSH)
    return msift_error_set(error, MPISIFT_ERR_DATA,
                           "the source has %lld samples, fewer than one global batch of %lld; take a smaller batch, or "
                           "end_of_epoch MPISIFT_FLUSH",
                           (long long)l->source.n, (long long)l->global_batch);
  if (c->lanes > 0 && c->lanes < ranks)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.lanes is %lld, less than the %lld replicas",
                           (long long)c->lanes, (long long)ranks);
  l->lanes = c->lanes > 0 ? c->lanes : (ranks + DEFAULT_LANES - 1) / DEFAULT_LANES * DEFAULT_LANES;
  l->lanes = l->source.n < 0 ? ranks : l->lanes < l->source.n ? l->lanes : l->source.n;
  l->quota = msift_quota(l->global_batch, ranks, team->rank);
  l->score_rows = c->score_batch_size > 0 ? c->score_batch_size : msift_quota(l->global_batch, ranks, 0);
  l->max_round = l->global_batch * MAX_ROUND_BATCHES;
  return MPISIFT_OK;
}

/* Take copies of what the caller may free. */
static mpisift_status copy_fields(mpisift_loader *l, struct msift_error *error)
{
  size_t used = 0;

  for (int f = 0; f < l->source.n_fields; f++)
    used += strlen(l->source.fields[f].name) + 1;
  l->names = msift_alloc(&l->ctx->memory, error, (int64_t)used, 1);
  if (l->names == NULL)
    return error->status;
  used = 0;
  l->record_bytes = sizeof(struct msift_tag);
  for (int f = 0; f < l->source.n_fields; f++) {
    l->fields[f] = l->source.fields[f];
    l->fields[f].name = strcpy(l->names + used, l->source.fields[f].name);
    used += strlen(l->fields[f].name) + 1;
    l->field_bytes[f] = mpisift_field_bytes(&l->fields[f]);
    l->record_bytes += l->field_bytes[f];
  }
  l->record_bytes = (l->record_bytes + 7) / 8 * 8; /* tags stay aligned */
  l->source.fields = l->fields;
  return MPISIFT_OK;
}

static mpisift_status allocate_columns(mpisift_loader *l, struct msift_error *error)
{
  struct msift_columns *c = &l->columns;
  size_t rows = (size_t)l->quota;
  unsigned char *block;

  c->bytes = rows * (3 * sizeof(int64_t) + 3 * sizeof(float));
  block = l->backend->allocate(&l->ctx->memory, error, 1, c->bytes);
  if (block == NULL)
    return error->status;
  c->ids = (int64_t *)(void *)block;
  c->slots = c->ids + rows;
  c->epochs = c->slots + rows;
  c->losses = (float *)(void *)(c->epochs + rows);
  c->probabilities = c->losses + rows;
  c->weights = c->probabilities + rows;
  return MPISIFT_OK;
}

static mpisift_status allocate_batch(mpisift_loader *l, struct msift_error *error)
{
  MSIFT_TRY(allocate_columns(l, error));
  for (int f = 0; f < l->source.n_fields; f++) {
    l->batch_data[f] = l->backend->allocate(&l->ctx->memory, error, l->quota, l->field_bytes[f]);
    if (l->batch_data[f] == NULL)
      return error->status;
  }
  return MPISIFT_OK;
}

static mpisift_status allocate(mpisift_loader *l, struct msift_error *error)
{
  struct msift_memory *memory = &l->ctx->memory;
  const struct msift_team *team = &l->ctx->team;
  int64_t words = MSIFT_HEADER_WORDS + MSIFT_BINS + (l->max_round + 31) / 32;

  l->backend = msift_backend_choose(l->config.pin_memory, error);
  if (l->backend == NULL)
    return error->status;
  MSIFT_TRY(copy_fields(l, error));
  MSIFT_TRY(allocate_batch(l, error));
  MSIFT_TRY(msift_resize(memory, error, &l->reduction.words, words, sizeof *l->reduction.words));
  MSIFT_TRY(msift_resize(memory, error, &l->receive, l->quota, l->record_bytes));
  MSIFT_TRY(msift_resize(memory, error, &l->tickets, l->config.report_lag + 1, sizeof *l->tickets));
  for (int64_t i = 0; i <= l->config.report_lag; i++)
    l->tickets[i].serial = -1;
  MSIFT_TRY(msift_plan_init(&l->plan, memory, error, team->size, team->rank, team->node, l->quota));
  l->reduction.header = MSIFT_HEADER_WORDS;
  l->pool.owners.size = sizeof(uint32_t);
  l->pool.records.size = l->record_bytes;
  msift_history_init(&l->history, l->config.loss_history_length);
  msift_decider_init(&l->decider, l->policy, &l->config, &l->history);
  return msift_stage_reserve(l, error);
}

static void release(mpisift_loader **loader)
{
  mpisift_loader *l = *loader;
  struct msift_memory *memory = &l->ctx->memory;

  msift_exchange_close(&l->exchange, memory);
  msift_stage_destroy(l);
  msift_ring_destroy(&l->pool.owners, memory);
  msift_ring_destroy(&l->pool.records, memory);
  msift_history_destroy(&l->history, memory);
  msift_plan_destroy(&l->plan, memory);
  msift_free(memory, &l->tickets);
  msift_free(memory, &l->receive);
  msift_free(memory, &l->send);
  msift_free(memory, &l->reduction.words);
  for (int f = 0; l->backend != NULL && f < l->source.n_fields; f++)
    l->backend->release(memory, l->batch_data[f]);
  if (l->backend != NULL)
    l->backend->release(memory, l->columns.ids);
  msift_free(memory, &l->names);
  msift_free(memory, loader);
}

static mpisift_status compare(const mpisift_loader *l, struct msift_error *error)
{
  struct msift_setting settings[MSIFT_MAX_SETTINGS];
  int n = msift_config_settings(&l->config, settings);

  settings[n++] = (struct msift_setting){"source.n", (uint64_t)l->source.n};
  settings[n++] = (struct msift_setting){"source.block", (uint64_t)l->source.block};
  settings[n++] = (struct msift_setting){"source.fields", msift_source_hash(&l->source)};
  return msift_team_compare(&l->ctx->team, settings, n, error);
}

static void warn_of_uneven_lanes(const mpisift_loader *l)
{
  int64_t ranks = l->ctx->team.size, least = l->lanes / ranks, most = (l->lanes + ranks - 1) / ranks;

  if (l->ctx->team.all_rank == 0 && (double)most > 1.1 * (double)least)
    msift_log(
        l->ctx, MPISIFT_LOG_WARNING,
        "%lld lanes over %lld replicas: some read %lld lanes and some %lld; choose config.lanes as a multiple of the "
        "replicas",
        (long long)l->lanes, (long long)ranks, (long long)most, (long long)least);
}

/* The collective part: every step ends in an agreement, so that all ranks go on or all give up. */
static mpisift_status create(mpisift_ctx *ctx, const mpisift_config *config, const mpisift_source *source,
                             mpisift_score_fn score, void *user, mpisift_loader **loader)
{
  struct msift_error *error = &ctx->error;
  mpisift_loader *l = NULL;

  if (check_arguments(ctx, config, source, score, loader) == MPISIFT_OK)
    l = msift_alloc(&ctx->memory, error, 1, sizeof *l);
  if (l != NULL) {
    *l = (mpisift_loader){.ctx = ctx, .config = *config, .source = *source, .score = score, .user = user};
    l->exchange.comm = MPI_COMM_NULL;
    l->exchange.record = MPI_DATATYPE_NULL;
    l->policy = msift_policy_find(config->policy, error);
    l->config.policy = l->policy->name;
    derive(l, error);
  }
  if (msift_team_agree(&ctx->team, error) == MPISIFT_OK && compare(l, error) == MPISIFT_OK) {
    allocate(l, error);
    if (msift_team_agree(&ctx->team, error) == MPISIFT_OK) {
      msift_exchange_open(&l->exchange, &ctx->team, l->record_bytes, &ctx->memory, error);
      msift_team_agree(&ctx->team, error);
    }
  }
  if (error->status != MPISIFT_OK && l != NULL)
    release(&l);
  if (loader != NULL)
    *loader = l;
  return error->status;
}

mpisift_status mpisift_loader_create(mpisift_ctx *ctx, const mpisift_config *config, const mpisift_source *source,
                                     mpisift_score_fn score, void *user, mpisift_loader **loader)
{
  if (loader != NULL)
    *loader = NULL;
  if (ctx == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(msift_enter(ctx, "mpisift_loader_create"));
  if (create(ctx, config, source, score, user, loader) == MPISIFT_OK) {
    ctx->children++;
    warn_of_uneven_lanes(*loader);
  }
  return msift_leave(ctx);
}

mpisift_status mpisift_loader_destroy(mpisift_loader **loader)
{
  mpisift_loader *l = loader == NULL ? NULL : *loader;
  mpisift_ctx *ctx = l == NULL ? NULL : l->ctx;
  bool poisoned;

  if (l == NULL)
    return MPISIFT_OK;
  poisoned = ctx->poisoned;
  ctx->poisoned = false;
  if (msift_enter(ctx, "mpisift_loader_destroy") != MPISIFT_OK) {
    ctx->poisoned = poisoned;
    return ctx->error.status;
  }
  ctx->poisoned = poisoned;
  if (!poisoned && l->round_pending)
    msift_reduction_end(&l->reduction, &ctx->team, &ctx->error);
  if (!poisoned && l->exchange_pending)
    msift_exchange_end(&l->exchange, &ctx->error);
  release(loader);
  ctx->children--;
  return msift_leave(ctx);
}
