#include "api/indices.h"

#include <math.h>
#include <string.h>

#include "comm/route.h"
#include "core/plan.h"

static mpisift_status check_create(const mpisift_config *config, int64_t n, int64_t block, mpisift_indices **indices,
                                   struct msift_error *error)
{
  if (config == NULL || indices == NULL)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config or indices is NULL");
  if (n < 1 || block < 1)
    return msift_error_set(error, MPISIFT_ERR_ARG, "n is %lld and block %lld; both are at least 1", (long long)n,
                           (long long)block);
  return msift_config_check(config, MSIFT_USE_INDICES, error);
}

static mpisift_status allocate(mpisift_indices *x, struct msift_error *error)
{
  const struct msift_team *team = &x->ctx->team;
  struct msift_memory *memory = &x->ctx->memory;
  bool leads = msift_team_leads(team);

  x->history = msift_alloc(memory, error, 1, sizeof *x->history);
  x->decider = msift_alloc(memory, error, 1, sizeof *x->decider);
  x->vote = msift_alloc(memory, error, 1, sizeof *x->vote);
  if (error->status != MPISIFT_OK)
    return error->status;
  x->history->groups = x->config.groups;
  x->history->in_group = msift_alloc(memory, error, x->config.groups, sizeof *x->history->in_group);
  MSIFT_TRY(msift_receipts_reserve(x, 1, 1));
  MSIFT_TRY(msift_table_init(&x->table, memory, error, leads ? x->n : 0, team->size, team->rank));
  msift_census_begin(x->history);
  msift_decider_init(x->decider, x->policy, &x->config, x->history);
  x->table.smoothing = x->config.loss_smoothing;
  x->table.difference = x->config.loss_difference;
  return MPISIFT_OK;
}

void msift_indices_free(mpisift_indices **indices)
{
  mpisift_indices *x = *indices;
  struct msift_memory *memory = &x->ctx->memory;

  msift_rows_free(x, &x->train);
  msift_rows_free(x, &x->refresh);
  msift_table_destroy(&x->table, memory);
  if (x->history != NULL)
    msift_free(memory, &x->history->in_group);
  msift_free(memory, &x->history);
  msift_free(memory, &x->decider);
  msift_free(memory, &x->carried);
  msift_device_reports_destroy(&x->on_device, x->ctx);
  msift_free(memory, &x->receipts);
  msift_free(memory, &x->tickets);
  if (x->vote != NULL && !x->vote->pending)
    msift_free(memory, &x->vote); /* else MPI may still write there */
  msift_free(memory, indices);
}

static mpisift_status derive(mpisift_indices *x, struct msift_error *error)
{
  x->policy = msift_policy_find(x->config.policy, error);
  x->config.policy = x->policy->name;
  x->hides = strcmp(x->policy->name, "hide") == 0;
  MSIFT_TRY(msift_config_batch(&x->config, x->ctx->team.size, &x->global_batch, error));
  MSIFT_TRY(msift_config_lanes(&x->config, x->ctx->team.size, x->n, &x->lanes, error));
  if (x->n < x->global_batch && x->config.end_of_epoch != MPISIFT_FLUSH)
    return msift_error_set(error, MPISIFT_ERR_DATA,
                           "there are %lld samples, fewer than one global batch of %lld; take a smaller batch, or "
                           "end_of_epoch MPISIFT_FLUSH",
                           (long long)x->n, (long long)x->global_batch);
  return MPISIFT_OK;
}

static mpisift_status compare(const mpisift_indices *x, struct msift_error *error)
{
  struct msift_setting settings[MSIFT_MAX_SETTINGS];
  int n = msift_config_settings(&x->config, settings);

  settings[n++] = (struct msift_setting){"n, the number of samples,", (uint64_t)x->n};
  settings[n++] = (struct msift_setting){"block", (uint64_t)x->block};
  return msift_team_compare(&x->ctx->team, settings, n, error);
}

/* Every step ends in an agreement. */
mpisift_status msift_indices_make(mpisift_ctx *ctx, const mpisift_config *config, int64_t n, int64_t block,
                                  mpisift_indices **indices)
{
  struct msift_error *error = &ctx->error;
  mpisift_indices *x = NULL;

  if (check_create(config, n, block, indices, error) == MPISIFT_OK)
    x = msift_alloc(&ctx->memory, error, 1, sizeof *x);
  if (x != NULL) {
    x->ctx = ctx;
    x->config = *config;
    x->n = n;
    x->block = block;
    derive(x, error);
  }
  if (msift_team_agree(&ctx->team, error) == MPISIFT_OK && compare(x, error) == MPISIFT_OK) {
    allocate(x, error);
    msift_team_agree(&ctx->team, error);
  }
  if (error->status == MPISIFT_OK)
    *indices = x;
  else if (x != NULL)
    msift_indices_free(&x);
  return error->status;
}

mpisift_status mpisift_indices_create(mpisift_ctx *ctx, const mpisift_config *config, int64_t n, int64_t block,
                                      mpisift_indices **indices)
{
  if (indices != NULL)
    *indices = NULL;
  if (ctx == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(msift_enter(ctx, "mpisift_indices_create"));
  if (msift_indices_make(ctx, config, n, block, indices) == MPISIFT_OK)
    ctx->children++;
  return msift_leave(ctx);
}

/* Agree on the outcome so far, and on what this rank has been told to tell. */
mpisift_status msift_indices_agree(mpisift_indices *x)
{
  struct msift_error *error = &x->ctx->error;

  if (x->failure.status != MPISIFT_OK)
    msift_error_set(error, x->failure.status, "%s", x->failure.text);
  msift_error_clear(&x->failure);
  return msift_team_agree(&x->ctx->team, error);
}

/* The end of the vote of the call before: has a rank failed in it? */
static mpisift_status end_vote(mpisift_indices *x)
{
  struct msift_error *error = &x->ctx->error;

  if (!x->vote->pending)
    return MPISIFT_OK;
  MSIFT_TRY(msift_vote_end(x->vote, error));
  return x->vote->failed == 0 ? MPISIFT_OK : msift_indices_agree(x);
}

static mpisift_status begin_vote(mpisift_indices *x)
{
  return msift_vote_begin(x->vote, &x->ctx->team, x->failure.status != MPISIFT_OK, &x->ctx->error);
}

static mpisift_status check_begin(const mpisift_indices *x, int64_t n, struct msift_error *error)
{
  if (x->over)
    return msift_error_set(error, MPISIFT_ERR_STATE, "the run is over, after %lld epochs and %lld steps",
                           (long long)x->epoch, (long long)x->steps);
  if (x->in_epoch)
    return msift_error_set(error, MPISIFT_ERR_STATE,
                           "epoch %lld has %lld batches left; take them, up to MPISIFT_END_OF_EPOCH",
                           (long long)x->epoch, (long long)(x->now.steps - x->step));
  if (n != x->n)
    return msift_error_set(error, MPISIFT_ERR_DATA,
                           "the data set has %lld samples, but %lld when the plan was created; create a new one",
                           (long long)n, (long long)x->n);
  return MPISIFT_OK;
}

mpisift_status msift_indices_begin(mpisift_indices *x, int64_t n)
{
  mpisift_index_epoch now = {.epoch = x->epoch, .carried_in = x->now.carried_out};

  MSIFT_TRY(end_vote(x));
  MSIFT_TRY(msift_indices_agree(x)); /* what ranks are to tell goes before what is wrong with this call */
  check_begin(x, n, &x->ctx->error);
  msift_receipts_fetch(x);
  MSIFT_TRY(msift_team_agree(&x->ctx->team, &x->ctx->error));
  MSIFT_TRY(msift_receipts_settle(x, &x->settled));
  now.reported = x->settled.reported;
  now.bad = x->settled.bad;
  now.unreported = x->settled.unreported;
  MSIFT_TRY(msift_index_plan(x, &now));
  memset(&x->settled, 0, sizeof x->settled);
  x->now = now;
  x->step = x->scoring = 0;
  x->in_epoch = x->planned = true;
  return MPISIFT_OK;
}

mpisift_status mpisift_indices_begin_epoch(mpisift_indices *x, int64_t n, mpisift_index_epoch *epoch)
{
  if (x == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(msift_enter(x->ctx, "mpisift_indices_begin_epoch"));
  if (msift_indices_begin(x, n) == MPISIFT_OK && epoch != NULL)
    *epoch = x->now;
  return msift_leave(x->ctx);
}

mpisift_batch msift_indices_batch(const mpisift_indices *x, const struct msift_rows_of *rows, int64_t k)
{
  int64_t replica = x->ctx->team.rank, begin = msift_rows_before(x, rows, k, replica);
  mpisift_batch b = {.valid = msift_rows_before(x, rows, k + 1, replica) - begin,
                     .global_n = k < rows->total / x->global_batch ? x->global_batch : rows->total % x->global_batch,
                     .serial = x->serial,
                     .epoch = x->now.epoch,
                     .ids = rows->ids + begin,
                     .slots = rows->slots + begin,
                     .epochs = rows->epochs + begin,
                     .losses = rows->losses + begin,
                     .probabilities = rows->probabilities + begin,
                     .weights = rows->weights + begin};

  b.n = b.valid + (k == rows->steps - 1 ? rows->padding : 0);
  return b;
}

void msift_indices_give(mpisift_indices *x, const mpisift_batch *batch)
{
  msift_receipts_add(x, batch);
  x->serial++;
}

/* Batch k of some rows, and its ticket. */
static void give(mpisift_indices *x, const struct msift_rows_of *rows, int64_t k, mpisift_batch *batch)
{
  mpisift_batch b = msift_indices_batch(x, rows, k);

  msift_indices_give(x, &b);
  if (batch != NULL)
    *batch = b;
}

/* A call whose batch had nowhere to go: the others have theirs, so this rank stays in step and tells them. */
static mpisift_status check_batch(mpisift_indices *x, const mpisift_batch *batch, const char *call)
{
  if (batch != NULL)
    return MPISIFT_OK;
  msift_error_set(&x->failure, MPISIFT_ERR_ARG, "%s: batch is NULL", call);
  return msift_error_set(&x->ctx->error, MPISIFT_ERR_ARG, "%s: batch is NULL", call);
}

mpisift_status msift_indices_end(mpisift_indices *x)
{
  MSIFT_TRY(msift_indices_agree(x));
  x->in_epoch = false;
  x->epoch++;
  x->over = x->epoch == x->config.epochs || (x->config.step_budget > 0 && x->steps >= x->config.step_budget);
  return MPISIFT_END_OF_EPOCH;
}

static mpisift_status next(mpisift_indices *x, mpisift_batch *batch)
{
  mpisift_status status;

  MSIFT_TRY(end_vote(x));
  if (!x->in_epoch)
    return msift_error_set(&x->ctx->error, MPISIFT_ERR_STATE, "no epoch has begun: call mpisift_indices_begin_epoch");
  if (x->step == x->now.steps)
    return msift_indices_end(x);
  status = check_batch(x, batch, "mpisift_indices_next");
  give(x, &x->train, x->step++, batch);
  x->steps++;
  begin_vote(x);
  return status;
}

static mpisift_status refresh(mpisift_indices *x, mpisift_batch *batch)
{
  mpisift_status status;

  MSIFT_TRY(end_vote(x));
  if (!x->planned)
    return msift_error_set(&x->ctx->error, MPISIFT_ERR_STATE, "no epoch has begun: call mpisift_indices_begin_epoch");
  if (x->scoring == x->now.refresh_steps) {
    MSIFT_TRY(msift_indices_agree(x));
    return MPISIFT_END_OF_EPOCH;
  }
  status = check_batch(x, batch, "mpisift_indices_refresh");
  give(x, &x->refresh, x->scoring++, batch);
  begin_vote(x);
  return status;
}

static mpisift_status leave(mpisift_indices *x, mpisift_status status)
{
  mpisift_status recorded = msift_leave(x->ctx);

  return recorded != MPISIFT_OK ? recorded : status;
}

mpisift_status mpisift_indices_next(mpisift_indices *x, mpisift_batch *batch)
{
  if (x == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(msift_enter(x->ctx, "mpisift_indices_next"));
  return leave(x, next(x, batch));
}

mpisift_status mpisift_indices_refresh(mpisift_indices *x, mpisift_batch *batch)
{
  if (x == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(msift_enter(x->ctx, "mpisift_indices_refresh"));
  return leave(x, refresh(x, batch));
}

mpisift_status mpisift_indices_fail(mpisift_indices *x, const char *message)
{
  if (x == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(msift_enter(x->ctx, "mpisift_indices_fail"));
  msift_error_set(&x->failure, MPISIFT_ERR_USER, "%.400s", message == NULL ? "training failed" : message);
  return msift_leave(x->ctx);
}

static mpisift_status check_ahead(const mpisift_indices *x, int64_t first, int64_t steps, const int64_t *ids,
                                  struct msift_error *error)
{
  if (!x->in_epoch)
    return msift_error_set(error, MPISIFT_ERR_STATE, "no epoch has begun: call mpisift_indices_begin_epoch");
  if (first < 0 || steps < 0 || (steps > 0 && ids == NULL) || steps > INT32_MAX / x->global_batch)
    return msift_error_set(
        error, MPISIFT_ERR_ARG,
        "mpisift_indices_ahead: first is %lld and steps %lld, or ids is NULL; ask for at most %d ids", (long long)first,
        (long long)steps, INT32_MAX);
  return MPISIFT_OK;
}

/* Batches [begin, end) of all replicas, replica by replica. */
struct ahead {
  int64_t begin, end, *ids;
  int *counts, *begins; /* [replicas] */
};

static mpisift_status gather(mpisift_indices *x, struct ahead *a)
{
  const struct msift_team *team = &x->ctx->team;
  struct msift_memory *memory = &x->ctx->memory;
  struct msift_error *error = &x->ctx->error;
  int64_t own = msift_rows_before(x, &x->train, a->begin, team->rank), n = 0;

  a->counts = msift_alloc(memory, error, team->size, sizeof *a->counts);
  a->begins = msift_alloc(memory, error, team->size, sizeof *a->begins);
  a->ids = msift_alloc(memory, error, (a->end - a->begin) * x->global_batch, sizeof *a->ids);
  MSIFT_TRY(msift_team_agree(team, error));
  for (int r = 0; r < team->size; r++) {
    a->counts[r] = (int)(msift_rows_before(x, &x->train, a->end, r) - msift_rows_before(x, &x->train, a->begin, r));
    a->begins[r] = (int)n;
    n += a->counts[r];
  }
  MSIFT_TRY(msift_route_gather(team, x->train.ids + own, a->counts, a->begins, a->ids, error));
  return msift_team_share(team, a->ids, n, sizeof *a->ids, 0, error);
}

/* Step by step; returns how many. */
static int64_t arrange(const mpisift_indices *x, const struct ahead *a, int64_t *ids)
{
  int64_t n = 0;

  for (int64_t k = a->begin; k < a->end; k++)
    for (int r = 0; r < x->ctx->team.size; r++) {
      int64_t from = msift_rows_before(x, &x->train, k, r), rows = msift_rows_before(x, &x->train, k + 1, r) - from;

      from -= msift_rows_before(x, &x->train, a->begin, r);
      memcpy(ids + n, a->ids + a->begins[r] + from, (size_t)rows * sizeof *ids);
      n += rows;
    }
  return n;
}

static mpisift_status ahead(mpisift_indices *x, int64_t first, int64_t steps, int64_t *ids, int64_t *n)
{
  const struct msift_setting asked[] = {{"mpisift_indices_ahead: first", (uint64_t)first},
                                        {"mpisift_indices_ahead: steps", (uint64_t)steps}};
  struct msift_memory *memory = &x->ctx->memory;
  int64_t left = x->now.steps - x->step;
  struct ahead a = {0};

  MSIFT_TRY(end_vote(x));
  check_ahead(x, first, steps, ids, &x->ctx->error);
  MSIFT_TRY(msift_indices_agree(x));
  MSIFT_TRY(msift_team_compare(&x->ctx->team, asked, 2, &x->ctx->error));
  a.begin = x->step + (first < left ? first : left);
  a.end = x->now.steps - a.begin < steps ? x->now.steps : a.begin + steps;
  if (gather(x, &a) == MPISIFT_OK) {
    int64_t written = arrange(x, &a, ids);

    if (n != NULL)
      *n = written;
  }
  msift_free(memory, &a.counts);
  msift_free(memory, &a.begins);
  msift_free(memory, &a.ids);
  return x->ctx->error.status;
}

mpisift_status mpisift_indices_ahead(mpisift_indices *x, int64_t first, int64_t steps, int64_t *ids, int64_t *n)
{
  if (x == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(msift_enter(x->ctx, "mpisift_indices_ahead"));
  ahead(x, first, steps, ids, n);
  return msift_leave(x->ctx);
}

double mpisift_indices_fraction(const mpisift_indices *x)
{
  double part = x->in_epoch && x->now.steps > 0 ? (double)x->step / (double)x->now.steps : 0;

  if (x->config.step_budget > 0)
    return x->over ? 1 : (double)x->steps / (double)x->config.step_budget;
  return x->config.epochs > 0 ? ((double)x->epoch + part) / (double)x->config.epochs : 0;
}

uint64_t mpisift_indices_sample_seed(const mpisift_indices *x, int64_t epoch, int64_t id)
{
  return msift_random(x->config.seed, MSIFT_STREAM_SAMPLE, (uint64_t)epoch, (uint64_t)id);
}

mpisift_status mpisift_indices_destroy(mpisift_indices **indices)
{
  mpisift_indices *x = indices == NULL ? NULL : *indices;
  mpisift_ctx *ctx = x == NULL ? NULL : x->ctx;
  bool poisoned;

  if (x == NULL)
    return MPISIFT_OK;
  poisoned = ctx->poisoned;
  ctx->poisoned = false;
  if (msift_enter(ctx, "mpisift_indices_destroy") != MPISIFT_OK) {
    ctx->poisoned = poisoned;
    return ctx->error.status;
  }
  ctx->poisoned = poisoned;
  if (!poisoned && x->vote->pending)
    msift_vote_end(x->vote, &ctx->error);
  msift_indices_free(indices);
  ctx->children--;
  return msift_leave(ctx);
}
