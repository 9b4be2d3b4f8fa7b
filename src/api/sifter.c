/* A sifter is a loader whose candidates are pushed, scored already. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/device.h"
#include "api/source.h"
#include "base/half.h"

struct mpisift_sifter {
  mpisift_loader *loader;
};

mpisift_loader *msift_sifter_loader(mpisift_sifter *sifter)
{
  return sifter->loader;
}

static mpisift_status check_create(const mpisift_config *config, const mpisift_pushes *pushes, mpisift_sifter **sifter,
                                   struct msift_error *error)
{
  if (config == NULL || pushes == NULL || sifter == NULL)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config, pushes or sifter is NULL");
  MSIFT_TRY(msift_config_check(config, MSIFT_USE_SIFTER, error));
  if (config->pipeline_depth != 0)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.pipeline_depth is %d; a sifter has no pipeline",
                           config->pipeline_depth);
  if (pushes->max_candidates < 1 || pushes->max_span < 0)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "pushes.max_candidates is %lld and max_span %lld; they must be at least 1 and 0",
                           (long long)pushes->max_candidates, (long long)pushes->max_span);
  if (pushes->n_fields < 0 || pushes->n_fields > MPISIFT_MAX_FIELDS || (pushes->n_fields > 0 && pushes->fields == NULL))
    return msift_error_set(error, MPISIFT_ERR_ARG, "pushes.n_fields is %d; 0 to %d are possible, with fields set",
                           pushes->n_fields, MPISIFT_MAX_FIELDS);
  for (int f = 0; f < pushes->n_fields && pushes->padded != NULL; f++)
    if (pushes->padded[f] && pushes->fields[f].ndim < 1)
      return msift_error_set(error, MPISIFT_ERR_ARG, "pushes.padded[%d]: a padded field needs a dimension", f);
  return msift_fields_check(pushes->n_fields, pushes->fields, "pushes", error);
}

static mpisift_status create(mpisift_ctx *ctx, const mpisift_config *config, const mpisift_pushes *pushes,
                             const mpisift_device *device, mpisift_sifter **sifter)
{
  struct msift_error *error = &ctx->error;
  struct msift_blueprint blueprint;
  mpisift_sifter *s = NULL;

  if (check_create(config, pushes, sifter, error) == MPISIFT_OK) {
    blueprint = (struct msift_blueprint){
        .config = *config,
        .source = {.n = -1, .block = 1, .n_fields = pushes->n_fields, .fields = pushes->fields},
        .max_candidates = pushes->max_candidates,
        .max_span = pushes->max_span,
        .padded = pushes->padded,
        .device = device,
    };
    s = msift_alloc(&ctx->memory, error, 1, sizeof *s);
  }
  if (msift_loader_make(ctx, error->status == MPISIFT_OK ? &blueprint : NULL, s == NULL ? NULL : &s->loader) ==
      MPISIFT_OK)
    *sifter = s;
  else if (s != NULL)
    msift_free(&ctx->memory, &s);
  return error->status;
}

mpisift_status mpisift_sifter_create(mpisift_ctx *ctx, const mpisift_config *config, const mpisift_pushes *pushes,
                                     mpisift_sifter **sifter)
{
  if (sifter != NULL)
    *sifter = NULL;
  if (ctx == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(msift_enter(ctx, "mpisift_sifter_create"));
  create(ctx, config, pushes, NULL, sifter);
  return msift_leave(ctx);
}

mpisift_status mpisift_sifter_create_cuda(mpisift_ctx *ctx, const mpisift_config *config, const mpisift_pushes *pushes,
                                          const mpisift_device *device, mpisift_sifter **sifter)
{
  if (sifter != NULL)
    *sifter = NULL;
  if (ctx == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(msift_enter(ctx, "mpisift_sifter_create_cuda"));
  if (device == NULL)
    msift_error_set(&ctx->error, MPISIFT_ERR_ARG, "mpisift_sifter_create_cuda: device is NULL");
  create(ctx, config, pushes, device, sifter);
  return msift_leave(ctx);
}

static mpisift_status need(const mpisift_loader *l, bool given, const char *name, struct msift_error *error)
{
  if (given)
    return MPISIFT_OK;
  return msift_error_set(error, MPISIFT_ERR_ARG, "candidates.%s is NULL; this sifter needs it (policy %s)", name,
                         l->policy->name);
}

static mpisift_status check_scores(const mpisift_loader *l, const mpisift_candidates *c, struct msift_error *error)
{
  bool measured = msift_policy_scored(l->policy);

  MSIFT_TRY(need(l, !measured || c->losses != NULL, "losses", error));
  MSIFT_TRY(need(l, l->policy->measure != MSIFT_MEASURE_BOUND || c->bounds != NULL, "bounds", error));
  MSIFT_TRY(need(l, l->policy->measure != MSIFT_MEASURE_UNCERTAINTY || c->confidences != NULL, "confidences", error));
  MSIFT_TRY(need(l, l->policy->measure != MSIFT_MEASURE_REDUCIBLE || c->references != NULL, "references", error));
  MSIFT_TRY(need(l, l->config.groups == 0 || c->groups != NULL, "groups", error));
  if (measured && c->loss_type != MPISIFT_F32 && c->loss_type != MPISIFT_F64 && c->loss_type != MPISIFT_F16 &&
      c->loss_type != MPISIFT_BF16)
    return msift_error_set(error, MPISIFT_ERR_ARG, "candidates.loss_type is %s; losses are floating-point numbers",
                           mpisift_type_name(c->loss_type));
  return MPISIFT_OK;
}

static mpisift_status check_numbers(const char *name, const int64_t *values, int64_t n, int64_t most,
                                    struct msift_error *error)
{
  for (int64_t i = 0; i < n; i++)
    if (values[i] < 0 || values[i] > most)
      return msift_error_set(error, MPISIFT_ERR_ARG, "candidates.%s[%lld] is %lld; it must be in [0, %lld]", name,
                             (long long)i, (long long)values[i], (long long)most);
  return MPISIFT_OK;
}

static mpisift_status check_records(const mpisift_loader *l, const mpisift_candidates *c, struct msift_error *error)
{
  MSIFT_TRY(need(l, l->source.n_fields == 0 || c->records != NULL, "records", error));
  MSIFT_TRY(need(l, l->n_padded == 0 || c->lengths != NULL, "lengths", error));
  for (int f = 0; f < l->source.n_fields; f++) {
    MSIFT_TRY(need(l, c->records[f] != NULL, "records[]", error));
    if (!l->padded[f])
      continue;
    MSIFT_TRY(need(l, c->lengths[f] != NULL, "lengths[]", error));
    MSIFT_TRY(check_numbers("lengths[]", c->lengths[f], c->n, l->fields[f].shape[0], error));
  }
  return MPISIFT_OK;
}

static mpisift_status check_candidates(const mpisift_loader *l, const mpisift_candidates *c, struct msift_error *error)
{
  if (c->n < 0 || c->n > l->max_candidates)
    return msift_error_set(error, MPISIFT_ERR_ARG, "candidates.n is %lld; this sifter takes 0 to %lld a push",
                           (long long)c->n, (long long)l->max_candidates);
  if (c->n == 0)
    return MPISIFT_OK;
  if (l->positioned != (c->positions != NULL))
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "candidates.positions: give them with pushes.max_span, and only then");
  if (c->ids != NULL)
    MSIFT_TRY(check_numbers("ids", c->ids, c->n, INT64_MAX, error));
  if (l->positioned)
    MSIFT_TRY(check_numbers("positions", c->positions, c->n, l->max_round - 1, error));
  MSIFT_TRY(check_scores(l, c, error));
  MSIFT_TRY(check_records(l, c, error));
  return l->gpu != NULL ? msift_gpu_check_candidates(l, c, error) : MPISIFT_OK;
}

static float loss_at(const mpisift_candidates *c, int64_t i)
{
  switch (c->loss_type) {
  case MPISIFT_F64:
    return (float)((const double *)c->losses)[i];
  case MPISIFT_F16:
    return msift_half(((const uint16_t *)c->losses)[i]);
  case MPISIFT_BF16:
    return msift_bfloat(((const uint16_t *)c->losses)[i]);
  default:
    return ((const float *)c->losses)[i];
  }
}

static int by_position(const void *a, const void *b)
{
  const struct msift_arrival *x = a, *y = b;

  return x->position < y->position ? -1 : x->position > y->position;
}

/* Rows go by position, in whatever order the candidates come. */
static void line_up(mpisift_loader *l)
{
  const mpisift_candidates *c = l->candidates;
  const struct msift_team *team = &l->ctx->team;
  struct msift_stage *s = &l->stage;

  for (int64_t i = 0; i < s->share; i++)
    s->arrivals[i] = (struct msift_arrival){l->positioned ? c->positions[i] : i * team->size + team->rank, i};
  if (l->positioned && s->share > 0)
    qsort(s->arrivals, (size_t)s->share, sizeof *s->arrivals, by_position);
}

static void take_scores(mpisift_loader *l, int64_t i, int64_t from)
{
  const mpisift_candidates *c = l->candidates;
  struct msift_stage *s = &l->stage;

  s->losses[i] = s->scored ? loss_at(c, from) : NAN;
  if (s->more.bound != NULL)
    s->more.bound[i] = c->bounds[from];
  if (s->more.confidence != NULL)
    s->more.confidence[i] = c->confidences[from];
  if (s->more.group != NULL)
    s->more.group[i] = c->groups[from];
}

static void take_row(mpisift_loader *l, int64_t i)
{
  const mpisift_candidates *c = l->candidates;
  struct msift_stage *s = &l->stage;
  int64_t from = s->arrivals[i].candidate, k = i * l->n_padded;

  s->positions[i] = s->begin + s->arrivals[i].position;
  s->ids[i] = c->ids != NULL ? c->ids[from] : l->numbered + s->positions[i];
  if (l->gpu == NULL)
    take_scores(l, i, from);
  for (int f = 0; f < l->source.n_fields; f++)
    if (l->padded[f])
      s->lengths[k++] = c->lengths[f][from];
}

void msift_stage_take(mpisift_loader *l)
{
  struct msift_stage *s = &l->stage;

  s->filled = 0;
  if (l->failure.status != MPISIFT_OK || !msift_team_leads(&l->ctx->team))
    return;
  line_up(l);
  for (int64_t i = 0; i < s->share; i++)
    take_row(l, i);
  for (int f = 0; f < l->source.n_fields && s->share > 0; f++)
    s->data[f] = (void *)(uintptr_t)l->candidates->records[f];
  s->filled = s->share;
  if (l->gpu != NULL)
    msift_gpu_take(l);
}

/* A call on candidates begins, and ends. */
static mpisift_status enter(mpisift_loader *l, const mpisift_candidates *candidates, const char *call)
{
  MSIFT_TRY(msift_enter(l->ctx, call));
  if (l->gpu != NULL)
    msift_gpu_enter(l, call);
  l->candidates = candidates;
  return MPISIFT_OK;
}

static mpisift_status leave(mpisift_loader *l)
{
  memset(l->stage.data, 0, sizeof l->stage.data);
  l->candidates = NULL;
  if (l->gpu != NULL)
    msift_gpu_leave(l);
  return msift_leave(l->ctx);
}

static void give_decisions(const mpisift_loader *l, int64_t n, const mpisift_decisions *d)
{
  const struct msift_stage *s = &l->stage;

  for (int64_t i = 0; i < n; i++) {
    int64_t to = s->arrivals[i].candidate;

    if (d->accepted != NULL)
      d->accepted[to] = s->accepted[i];
    if (d->probabilities != NULL)
      d->probabilities[to] = s->chances[i].probability;
    if (d->weights != NULL)
      d->weights[to] = s->chances[i].weight;
  }
}

mpisift_status mpisift_sifter_push(mpisift_sifter *sifter, const mpisift_candidates *candidates,
                                   const mpisift_decisions *decisions)
{
  static const mpisift_candidates none;
  mpisift_loader *l;

  if (sifter == NULL)
    return MPISIFT_ERR_ARG;
  l = sifter->loader;
  MSIFT_TRY(enter(l, candidates == NULL ? &none : candidates, "mpisift_sifter_push"));
  if (msift_team_leads(&l->ctx->team))
    check_candidates(l, l->candidates, &l->failure);
  if (l->gpu != NULL && decisions != NULL)
    msift_gpu_check_decisions(l, decisions, &l->failure);
  if (msift_push(l) != MPISIFT_OK || decisions == NULL)
    return leave(l);
  if (l->gpu != NULL)
    msift_gpu_give_decisions(l, l->candidates->n, decisions);
  else if (msift_team_leads(&l->ctx->team))
    give_decisions(l, l->candidates->n, decisions);
  return leave(l);
}

mpisift_status mpisift_sifter_next(mpisift_sifter *sifter, mpisift_batch *batch)
{
  return sifter == NULL ? MPISIFT_ERR_ARG : mpisift_loader_next(sifter->loader, batch);
}

mpisift_status mpisift_sifter_end_epoch(mpisift_sifter *sifter)
{
  mpisift_loader *l;

  if (sifter == NULL)
    return MPISIFT_ERR_ARG;
  l = sifter->loader;
  MSIFT_TRY(msift_enter(l->ctx, "mpisift_sifter_end_epoch"));
  msift_push_end(l);
  return msift_leave(l->ctx);
}

mpisift_status mpisift_sifter_fail(mpisift_sifter *sifter, const char *message)
{
  return sifter == NULL ? MPISIFT_ERR_ARG : mpisift_loader_fail(sifter->loader, message);
}

mpisift_stats mpisift_sifter_stats(const mpisift_sifter *sifter, mpisift_scope scope)
{
  return mpisift_loader_stats(sifter->loader, scope);
}

mpisift_status mpisift_sifter_destroy(mpisift_sifter **sifter)
{
  mpisift_sifter *s = sifter == NULL ? NULL : *sifter;
  mpisift_ctx *ctx;

  if (s == NULL)
    return MPISIFT_OK;
  ctx = s->loader->ctx;
  MSIFT_TRY(mpisift_loader_destroy(&s->loader));
  msift_free(&ctx->memory, sifter);
  return MPISIFT_OK;
}
