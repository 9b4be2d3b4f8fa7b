#include "api/loader.h"

#include <string.h>

#include "api/device.h"
#include "api/hash.h"
#include "api/indices.h"
#include "api/source.h"

static mpisift_status check_arguments(mpisift_ctx *ctx, const mpisift_config *config, const mpisift_source *source,
                                      mpisift_score_fn score, mpisift_loader **loader)
{
  struct msift_error *error = &ctx->error;
  const struct msift_policy *policy;

  if (config == NULL || source == NULL || loader == NULL)
    return msift_error_set(error, MPISIFT_ERR_ARG, "mpisift_loader_create: config, source or loader is NULL");
  MSIFT_TRY(msift_config_check(config, MSIFT_USE_LOADER, error));
  MSIFT_TRY(msift_source_check(source, error));
  policy = msift_policy_find(config->policy, error);
  if (msift_policy_scored(policy) && score == NULL)
    return msift_error_set(error, MPISIFT_ERR_ARG, "policy %s needs a score callback", policy->name);
  if (msift_policy_stale(policy) && config->refresh_every > 0 && score == NULL)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.refresh_every needs a score callback");
  if (msift_policy_stale(policy) && source->n < 0)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "policy %s needs a source with ids to find its losses again; this one is a stream",
                           policy->name);
  return MPISIFT_OK;
}

static mpisift_status derive_batch(mpisift_loader *l, struct msift_error *error)
{
  const mpisift_config *c = &l->config;
  int64_t ranks = l->ctx->team.size;

  MSIFT_TRY(msift_config_batch(c, ranks, &l->global_batch, error));
  if (l->source.n > 0 && l->source.n < l->global_batch && c->end_of_epoch != MPISIFT_FLUSH)
    return msift_error_set(error, MPISIFT_ERR_DATA,
                           "the source has %lld samples, fewer than one global batch of %lld; take a smaller batch, or "
                           "end_of_epoch MPISIFT_FLUSH",
                           (long long)l->source.n, (long long)l->global_batch);
  l->quota = msift_quota(l->global_batch, ranks, l->ctx->team.rank);
  return MPISIFT_OK;
}

/* The field of the reference losses, if the policy needs one. */
static mpisift_status find_reference(mpisift_loader *l, struct msift_error *error)
{
  const char *name = l->config.reference_field;

  l->reference = -1;
  if (l->pushed || l->policy->measure != MSIFT_MEASURE_REDUCIBLE)
    return MPISIFT_OK;
  for (int f = 0; f < l->source.n_fields; f++)
    if (strcmp(l->source.fields[f].name, name) == 0)
      l->reference = f;
  if (l->reference < 0)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "policy %s needs the field '%.64s' (config.reference_field), which the source does not have",
                           l->policy->name, name);
  if (mpisift_field_bytes(&l->source.fields[l->reference]) != mpisift_type_size(l->source.fields[l->reference].type) ||
      (l->source.fields[l->reference].type != MPISIFT_F32 && l->source.fields[l->reference].type != MPISIFT_F64))
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "field '%.64s' (config.reference_field) is not one float32 or float64 a sample", name);
  return MPISIFT_OK;
}

/* Sizes of rounds, for candidates that are drawn. */
static mpisift_status derive_rounds(mpisift_loader *l, struct msift_error *error)
{
  const mpisift_config *c = &l->config;
  int64_t ranks = l->ctx->team.size;

  MSIFT_TRY(msift_config_lanes(c, ranks, l->source.n, &l->lanes, error));
  l->lanes = l->source.n < 0 ? ranks : l->lanes;
  l->score_rows = c->score_batch_size > 0 ? c->score_batch_size : msift_quota(l->global_batch, ranks, 0);
  l->max_round = l->global_batch * MSIFT_MAX_ROUND_BATCHES;
  return MPISIFT_OK;
}

/* Sizes of rounds, for candidates that are pushed. */
static mpisift_status derive_pushes(mpisift_loader *l, const struct msift_blueprint *blueprint,
                                    struct msift_error *error)
{
  int64_t ranks = l->ctx->team.size, most = INT32_MAX / 2;

  if (blueprint->max_candidates > most / ranks || blueprint->max_span > most)
    return msift_error_set(error, MPISIFT_ERR_ARG, "a push of all ranks has more than %lld positions", (long long)most);
  l->lanes = ranks;
  l->max_round = l->positioned ? blueprint->max_span : blueprint->max_candidates * ranks;
  return MPISIFT_OK;
}

/* What follows from the blueprint and the team. */
static mpisift_status derive(mpisift_loader *l, const struct msift_blueprint *blueprint, struct msift_error *error)
{
  l->policy = msift_policy_find(l->config.policy, error);
  l->config.policy = l->policy->name;
  MSIFT_TRY(derive_batch(l, error));
  MSIFT_TRY(find_reference(l, error));
  return l->pushed ? derive_pushes(l, blueprint, error) : derive_rounds(l, error);
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
    l->record_bytes += l->field_bytes[f] + (l->padded[f] ? sizeof(int64_t) : 0);
    l->n_padded += l->padded[f];
  }
  l->record_bytes = (l->record_bytes + 7) / 8 * 8; /* tags stay aligned */
  l->source.fields = l->fields;
  return MPISIFT_OK;
}

/* Memory for batches. */
static void *batch_memory(mpisift_loader *l, struct msift_error *error, int64_t n, size_t size)
{
  void *block;

  if (l->gpu != NULL)
    return msift_gpu_new(l, error, n, size);
  block = l->backend->allocate(&l->ctx->memory, error, n, size);
  if (block == NULL && l->config.pin_memory)
    msift_error_prefix(error, "config.pin_memory: ");
  return block;
}

static mpisift_status allocate_columns(mpisift_loader *l, struct msift_error *error)
{
  struct msift_columns *c = &l->columns;
  size_t rows = (size_t)l->quota;
  unsigned char *block;
  int64_t *lengths;

  c->bytes = rows * ((3 + (size_t)l->n_padded) * sizeof(int64_t) + 3 * sizeof(float));
  block = batch_memory(l, error, 1, c->bytes);
  if (block == NULL)
    return error->status;
  c->ids = (int64_t *)(void *)block;
  c->slots = c->ids + rows;
  c->epochs = c->slots + rows;
  lengths = c->epochs + rows;
  for (int f = 0; f < l->source.n_fields; f++)
    if (l->padded[f]) {
      c->lengths[f] = lengths;
      lengths += rows;
    }
  c->losses = (float *)(void *)lengths;
  c->probabilities = c->losses + rows;
  c->weights = c->probabilities + rows;
  return MPISIFT_OK;
}

static mpisift_status allocate_batch(mpisift_loader *l, struct msift_error *error)
{
  MSIFT_TRY(allocate_columns(l, error));
  for (int f = 0; f < l->source.n_fields; f++) {
    l->batch_data[f] = batch_memory(l, error, l->quota, l->field_bytes[f]);
    if (l->batch_data[f] == NULL)
      return error->status;
  }
  return MPISIFT_OK;
}

static mpisift_status allocate(mpisift_loader *l, struct msift_error *error)
{
  struct msift_memory *memory = &l->ctx->memory;
  const struct msift_team *team = &l->ctx->team;
  const mpisift_config *c = &l->config;

  l->max_words = MSIFT_HEADER_WORDS + msift_map_words(l, l->max_round) +
                 msift_history_most_words(l->max_round, c->exact_history, c->groups);

  if (l->max_words > INT32_MAX)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "rounds of up to %lld positions are too long for one reduction; take a smaller batch, or "
                           "smaller pushes",
                           (long long)l->max_round);
  if (c->loss_history_length > INT32_MAX - l->max_round) /* counts of the window and a round are words with a sign */
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "config.loss_history_length is %lld; at most %lld is possible with rounds of up to %lld "
                           "positions",
                           (long long)c->loss_history_length, (long long)(INT32_MAX - l->max_round),
                           (long long)l->max_round);
  l->backend = msift_backend_choose(l->config.pin_memory && l->gpu == NULL, error);
  if (l->backend == NULL)
    return error->status;
  MSIFT_TRY(copy_fields(l, error));
  if (l->n_padded > 0 && l->quota > INT32_MAX / (int64_t)(l->record_bytes / 8))
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "a batch of %lld samples with padded fields has more than 16 GiB; take a smaller batch",
                           (long long)l->quota);
  MSIFT_TRY(allocate_batch(l, error));
  MSIFT_TRY(msift_resize(memory, error, &l->reduction.words, l->max_words, sizeof *l->reduction.words));
  if (l->gpu != NULL)
    MSIFT_TRY(msift_gpu_allocate(l, error));
  else
    MSIFT_TRY(msift_resize(memory, error, &l->receive, l->quota, l->record_bytes));
  MSIFT_TRY(msift_resize(memory, error, &l->received, l->quota, sizeof *l->received));
  MSIFT_TRY(msift_resize(memory, error, &l->tickets, l->config.report_lag + 1, sizeof *l->tickets));
  for (int64_t i = 0; i <= l->config.report_lag; i++)
    l->tickets[i].serial = -1;
  MSIFT_TRY(msift_plan_init(&l->plan, memory, error, team->size, team->rank, team->node, l->quota));
  l->reduction.header = MSIFT_HEADER_WORDS;
  l->agreement = (struct msift_reduction){
      .words = l->agreement_words, .n = MSIFT_AGREEMENT_WORDS, .header = MSIFT_AGREEMENT_WORDS};
  l->pool.owners.size = sizeof(uint32_t);
  l->pool.records.size = l->record_bytes;
  MSIFT_TRY(msift_history_init(&l->history, memory, error, c->loss_history_length, c->exact_history, c->groups));
  msift_decider_init(&l->decider, l->policy, &l->config, &l->history);
  return msift_stage_reserve(l, error);
}

/* What messages and sums are made of. */
static void release_messages(mpisift_loader *l)
{
  struct msift_memory *memory = &l->ctx->memory;

  msift_exchange_close(&l->exchange, memory);
  msift_free(memory, &l->receive);
  msift_free(memory, &l->send);
  msift_free(memory, &l->reduction.words);
}

static void release(mpisift_loader **loader)
{
  mpisift_loader *l = *loader;
  struct msift_memory *memory = &l->ctx->memory;
  bool in_use = l->ctx->poisoned && (l->round_pending || l->exchange_pending); /* MPI may still write there */

  if (l->indices != NULL)
    msift_indices_free(&l->indices);
  if (l->gpu != NULL)
    msift_gpu_close(l);
  if (!in_use)
    release_messages(l);
  msift_stage_destroy(l);
  msift_ring_destroy(&l->pool.owners, memory);
  msift_ring_destroy(&l->pool.records, memory);
  msift_history_destroy(&l->history, memory);
  msift_plan_destroy(&l->plan, memory);
  msift_free(memory, &l->tickets);
  msift_free(memory, &l->received);
  for (int f = 0; l->backend != NULL && f < l->source.n_fields; f++)
    l->backend->release(memory, l->batch_data[f]);
  if (l->backend != NULL)
    l->backend->release(memory, l->columns.ids);
  msift_free(memory, &l->names);
  *loader = NULL;
  if (!in_use)
    msift_free(memory, &l);
}

static mpisift_status compare(const mpisift_loader *l, struct msift_error *error)
{
  struct msift_setting settings[MSIFT_MAX_SETTINGS];
  int n = msift_config_settings(&l->config, settings);

  settings[n++] = (struct msift_setting){"source.n", (uint64_t)l->source.n};
  settings[n++] = (struct msift_setting){"source.block", (uint64_t)l->source.block};
  settings[n++] = (struct msift_setting){"source.fields", msift_source_hash(&l->source)};
  settings[n++] = (struct msift_setting){"sifter.padded", msift_hash(0, l->padded, sizeof l->padded)};
  settings[n++] = (struct msift_setting){"sifter.max_span", l->positioned ? (uint64_t)l->max_round : 0};
  settings[n++] = (struct msift_setting){"sifter.max_candidates", (uint64_t)l->max_candidates};
  settings[n++] = (struct msift_setting){"device.transport", l->gpu != NULL ? 1 + (uint64_t)l->gpu->transport : 0};
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

static mpisift_loader *begin(mpisift_ctx *ctx, const struct msift_blueprint *blueprint, struct msift_error *error)
{
  mpisift_loader *l = msift_alloc(&ctx->memory, error, 1, sizeof *l);

  if (l == NULL)
    return NULL;
  l->ctx = ctx;
  l->config = blueprint->config;
  l->source = blueprint->source;
  l->score = blueprint->score;
  l->user = blueprint->user;
  for (int f = 0; f < l->source.n_fields && blueprint->padded != NULL; f++)
    l->padded[f] = blueprint->padded[f];
  l->max_candidates = blueprint->max_candidates;
  l->pushed = blueprint->max_candidates > 0;
  l->positioned = blueprint->max_span > 0;
  l->exchange.comm = MPI_COMM_NULL;
  l->exchange.record = MPI_DATATYPE_NULL;
  if (derive(l, blueprint, error) == MPISIFT_OK && blueprint->device != NULL)
    msift_gpu_open(l, blueprint->device, error);
  return l;
}

/* Every step ends in an agreement, so that all ranks go on or all give up. */
mpisift_status msift_loader_make(mpisift_ctx *ctx, const struct msift_blueprint *blueprint, mpisift_loader **loader)
{
  struct msift_error *error = &ctx->error;
  mpisift_loader *l = blueprint == NULL ? NULL : begin(ctx, blueprint, error);

  if (msift_team_agree(&ctx->team, error) == MPISIFT_OK && compare(l, error) == MPISIFT_OK) {
    allocate(l, error);
    if (msift_team_agree(&ctx->team, error) == MPISIFT_OK) {
      if (l->gpu != NULL)
        msift_gpu_connect(l, blueprint->device->nccl, error);
      msift_exchange_open(&l->exchange, &ctx->team, l->n_padded > 0 ? 8 : l->record_bytes, &ctx->memory, error);
      msift_team_agree(&ctx->team, error);
    }
  }
  if (error->status == MPISIFT_OK)
    ctx->children++;
  else if (l != NULL)
    release(&l);
  if (loader != NULL)
    *loader = l;
  return error->status;
}

/* Of a policy that goes by stale losses. */
static void plan_epochs(mpisift_loader **loader)
{
  mpisift_ctx *ctx = (*loader)->ctx;

  if (msift_policy_stale((*loader)->policy) && msift_planned_make(*loader) != MPISIFT_OK) {
    release(loader);
    ctx->children--;
    return;
  }
  warn_of_uneven_lanes(*loader);
}

static mpisift_status create(mpisift_ctx *ctx, const mpisift_config *config, const mpisift_source *source,
                             mpisift_score_fn score, void *user, const mpisift_device *device, mpisift_loader **loader)
{
  struct msift_blueprint blueprint;

  if (check_arguments(ctx, config, source, score, loader) == MPISIFT_OK)
    blueprint =
        (struct msift_blueprint){.config = *config, .source = *source, .score = score, .user = user, .device = device};
  if (msift_loader_make(ctx, ctx->error.status == MPISIFT_OK ? &blueprint : NULL, loader) == MPISIFT_OK)
    plan_epochs(loader);
  return msift_leave(ctx);
}

mpisift_status mpisift_loader_create(mpisift_ctx *ctx, const mpisift_config *config, const mpisift_source *source,
                                     mpisift_score_fn score, void *user, mpisift_loader **loader)
{
  if (loader != NULL)
    *loader = NULL;
  if (ctx == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(msift_enter(ctx, "mpisift_loader_create"));
  return create(ctx, config, source, score, user, NULL, loader);
}

mpisift_status mpisift_loader_create_cuda(mpisift_ctx *ctx, const mpisift_config *config, const mpisift_source *source,
                                          mpisift_score_fn score, void *user, const mpisift_device *device,
                                          mpisift_loader **loader)
{
  if (loader != NULL)
    *loader = NULL;
  if (ctx == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(msift_enter(ctx, "mpisift_loader_create_cuda"));
  if (device == NULL)
    msift_error_set(&ctx->error, MPISIFT_ERR_ARG, "mpisift_loader_create_cuda: device is NULL");
  return create(ctx, config, source, score, user, device, loader);
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
  if (!poisoned && l->round_pending && l->gpu == NULL)
    msift_reduction_end(&l->reduction, &ctx->team, &ctx->error);
  if (!poisoned && l->exchange_pending)
    msift_exchange_end(&l->exchange, &ctx->error);
  release(loader);
  ctx->children--;
  return msift_leave(ctx);
}
