#include "api/context.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static bool mpi_runs(void)
{
  int initialized = 0, finalized = 0;

  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  return initialized && !finalized;
}

static bool thread_may_call(void)
{
  int provided = MPI_THREAD_SINGLE, is_main = 0;

  MPI_Query_thread(&provided);
  MPI_Is_thread_main(&is_main);
  return is_main || provided >= MPI_THREAD_SERIALIZED;
}

static mpisift_status check_mpi(struct msift_error *error, const char *call)
{
  if (!mpi_runs())
    return msift_error_set(error, MPISIFT_ERR_STATE,
                           "%s: MPI is not running; call it between MPI_Init and MPI_Finalize", call);
  if (!thread_may_call())
    return msift_error_set(error, MPISIFT_ERR_THREAD,
                           "%s: this thread may not call MPI; call from MPI's main thread, or initialise MPI with "
                           "MPI_THREAD_SERIALIZED",
                           call);
  return MPISIFT_OK;
}

struct msift_error *msift_error_begin(mpisift_ctx *ctx)
{
  struct msift_error *error = ctx->busy ? &ctx->cause : &ctx->error;

  msift_error_clear(error);
  return error;
}

mpisift_status msift_enter(mpisift_ctx *ctx, const char *call)
{
  struct msift_error *error = msift_error_begin(ctx);

  if (ctx->busy)
    return msift_error_set(error, MPISIFT_ERR_BUSY, "%s: called from inside a callback of the same context", call);
  if (ctx->poisoned)
    return msift_error_set(error, MPISIFT_ERR_MPI, "%s: MPI failed in an earlier call; close the context", call);
  MSIFT_TRY(check_mpi(error, call));
  ctx->busy = true;
  return MPISIFT_OK;
}

mpisift_status msift_leave(mpisift_ctx *ctx)
{
  ctx->busy = false;
  ctx->poisoned |= ctx->error.status == MPISIFT_ERR_MPI;
  return ctx->error.status;
}

void msift_log(const mpisift_ctx *ctx, mpisift_log_level level, const char *format, ...)
{
  char text[MSIFT_TEXT];
  va_list args;

  if (ctx->hooks.log == NULL)
    return;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  ctx->hooks.log(ctx->hooks.user, (int)level, text);
}

double msift_range_begin(const mpisift_ctx *ctx, const char *name)
{
  if (ctx->hooks.push != NULL)
    ctx->hooks.push(ctx->hooks.user, name);
  return msift_seconds();
}

double msift_range_end(const mpisift_ctx *ctx)
{
  double now = msift_seconds();

  if (ctx->hooks.pop != NULL)
    ctx->hooks.pop(ctx->hooks.user);
  return now;
}

/* srun without PMIx starts as many jobs of one rank as tasks were asked for. */
static void warn_of_lone_ranks(const mpisift_ctx *ctx)
{
  const char *tasks = getenv("SLURM_NTASKS");

  if (tasks != NULL && strtol(tasks, NULL, 10) > 1 && ctx->team.all_size == 1)
    msift_log(ctx, MPISIFT_LOG_WARNING,
              "Slurm started %s tasks, but this communicator has one rank: start with srun --mpi=pmix or with mpirun",
              tasks);
}

/* The team is there: from here on failures are agreed. */
static mpisift_status make_context(const struct msift_team *team, const struct msift_memory *memory,
                                   const mpisift_hooks *hooks, struct msift_error *error, mpisift_ctx **ctx)
{
  mpisift_ctx *c = ctx == NULL ? NULL : calloc(1, sizeof *c);

  if (ctx == NULL)
    msift_error_set(error, MPISIFT_ERR_ARG, "mpisift_open: ctx is NULL");
  else if (c == NULL)
    msift_error_set(error, MPISIFT_ERR_MEMORY, "mpisift_open: cannot allocate %zu bytes", sizeof *c);
  if (msift_team_agree(team, error) != MPISIFT_OK) {
    free(c);
    return error->status;
  }
  c->team = *team;
  c->memory = *memory;
  if (hooks != NULL)
    c->hooks = *hooks;
  warn_of_lone_ranks(c);
  *ctx = c;
  return MPISIFT_OK;
}

static mpisift_status open_context(const mpisift_team *asked, const mpisift_hooks *hooks, struct msift_error *error,
                                   mpisift_ctx **ctx)
{
  struct msift_memory memory = {0};
  struct msift_team team;

  MSIFT_TRY(check_mpi(error, "mpisift_open"));
  if (asked == NULL || asked->comm == MPI_COMM_NULL)
    return msift_error_set(error, MPISIFT_ERR_ARG, "mpisift_open: team or team.comm is NULL");
  MSIFT_TRY(msift_team_open(&team, asked, &memory, error));
  if (make_context(&team, &memory, hooks, error, ctx) != MPISIFT_OK)
    msift_team_close(&team, &memory);
  return error->status;
}

mpisift_status mpisift_open(const mpisift_team *team, const mpisift_hooks *hooks, char *message, size_t size,
                            mpisift_ctx **ctx)
{
  struct msift_error error = {0};

  if (ctx != NULL)
    *ctx = NULL;
  open_context(team, hooks, &error, ctx);
  if (message != NULL && size > 0)
    snprintf(message, size, "%s", error.text);
  return error.status;
}

mpisift_status mpisift_close(mpisift_ctx **ctx)
{
  mpisift_ctx *c = ctx == NULL ? NULL : *ctx;

  if (c == NULL)
    return MPISIFT_OK;
  if (c->busy)
    return msift_enter(c, "mpisift_close");
  if (c->children > 0)
    return msift_error_set(msift_error_begin(c), MPISIFT_ERR_STATE,
                           "mpisift_close: %d loaders and sources are alive; release them first", c->children);
  if (c->poisoned) /* MPI may still be at work on them */
    c->team.all = c->team.replica = c->team.leaders = MPI_COMM_NULL;
  if (mpi_runs())
    msift_team_close(&c->team, &c->memory);
  free(c);
  *ctx = NULL;
  return MPISIFT_OK;
}

const char *mpisift_error(const mpisift_ctx *ctx)
{
  return ctx == NULL ? "" : ctx->busy ? ctx->cause.text : ctx->error.text;
}

void mpisift_explain(mpisift_ctx *ctx, const char *text)
{
  if (ctx == NULL || text == NULL)
    return;
  msift_error_clear(&ctx->cause);
  msift_error_set(&ctx->cause, MPISIFT_ERR_CALLBACK, "%s", text);
}
