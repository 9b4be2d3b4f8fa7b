#include <config.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/source.h"
#include "io/dataset.h"

enum { DEFAULT_CACHE = 512 << 20, DEFAULT_THREADS = 4 };

struct mpisift_dataset {
  mpisift_ctx *ctx;
  struct msift_dataset file;
  mpisift_field fields[MPISIFT_MAX_FIELDS];
  bool warned;
};

/* Blocks that have to be read whole, and give way before most of their rows were wanted. */
static void warn_of_waste(mpisift_dataset *d)
{
  for (int f = 0; f < d->file.n_fields && !d->warned && d->ctx->team.all_rank == 0; f++) {
    const struct msift_h5_field *field = &d->file.fields[f];

    d->warned = field->cache.wasteful && (field->route.why != NULL || field->route.filters.n > 0);
    if (d->warned)
      msift_log(d->ctx, MPISIFT_LOG_WARNING,
                "%s: field %s: chunks are read again and again, as the cache holds %d blocks of %lld rows; set "
                "cache_bytes to more, or take fewer lanes or a smaller window",
                d->file.path, field->name, (int)field->cache.max_cached, (long long)field->cache.rows);
  }
}

/* Runs as a source's callback and when called by the user: the cause is told where either is looked for. */
static int read_dataset(void *user, int64_t n, const int64_t *ids, void *const *dst)
{
  mpisift_dataset *dataset = user;
  mpisift_ctx *ctx = dataset->ctx;

  int code = (int)msift_dataset_read(&dataset->file, n, ids, dst, &ctx->memory, msift_error_begin(ctx));

  warn_of_waste(dataset);
  return code;
}

static void prefetch_dataset(void *user, int64_t n, const int64_t *ids)
{
  mpisift_dataset *dataset = user;

  msift_dataset_prefetch(&dataset->file, n, ids, &dataset->ctx->memory);
}

void mpisift_reading_init(mpisift_reading *reading, size_t size)
{
  const mpisift_reading defaults = {.size = size, .cache_bytes = DEFAULT_CACHE, .threads = -1, .prefetch = -1};

  if (reading != NULL)
    memcpy(reading, &defaults, size < sizeof defaults ? size : sizeof defaults);
}

/* Replicas whose leaders share a node. Other ranks of a replica do not read. */
static int readers_of_node(const struct msift_team *team)
{
  int n = 0;

  for (int r = 0; team->node != NULL && r < team->size; r++)
    n += team->node[r] == team->node[team->rank];
  return n > 1 ? n : 1;
}

/* A launcher that binds ranks gives each its own cores; else they share all of the node's. */
static int default_threads(const struct msift_team *team)
{
  cpu_set_t mine;
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  int cores = sched_getaffinity(0, sizeof mine, &mine) == 0 ? CPU_COUNT(&mine) : (int)online;

  cores = cores < online ? cores : cores / readers_of_node(team);
  return cores - 1 > DEFAULT_THREADS ? DEFAULT_THREADS : cores > 1 ? cores - 1 : 0;
}

static mpisift_status check_reading(const mpisift_reading *reading, struct msift_error *error)
{
  if (reading->size != sizeof *reading)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "reading.size is %zu, not %zu; set it up with mpisift_reading_init()", reading->size,
                           sizeof *reading);
  if (reading->threads < -1 || reading->threads > MSIFT_MAX_READERS)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "reading.threads is %d; 0 to %d are possible, and -1 for the default", reading->threads,
                           MSIFT_MAX_READERS);
  if (reading->prefetch < -1)
    return msift_error_set(error, MPISIFT_ERR_ARG, "reading.prefetch is %lld; it must be at least 0, or -1 for any",
                           (long long)reading->prefetch);
  return MPISIFT_OK;
}

static mpisift_status check_arguments(const char *path, const char *const *names, int n_names,
                                      struct msift_error *error)
{
  if (path == NULL)
    return msift_error_set(error, MPISIFT_ERR_ARG, "mpisift_dataset_open: path is NULL");
  if (names == NULL)
    return MPISIFT_OK;
  if (n_names < 1 || n_names > MPISIFT_MAX_FIELDS)
    return msift_error_set(error, MPISIFT_ERR_ARG, "mpisift_dataset_open: n_names is %d; 1 to %d are possible", n_names,
                           MPISIFT_MAX_FIELDS);
  for (int i = 0; i < n_names; i++)
    if (names[i] == NULL)
      return msift_error_set(error, MPISIFT_ERR_ARG, "mpisift_dataset_open: names[%d] is NULL", i);
  return MPISIFT_OK;
}

static mpisift_status open_local(mpisift_ctx *ctx, const char *path, const char *group, const char *const *names,
                                 int n_names, const mpisift_reading *asked, mpisift_dataset **dataset)
{
  struct msift_reading reading = {.cache_bytes = asked->cache_bytes > 0 ? asked->cache_bytes : DEFAULT_CACHE,
                                  .threads = asked->threads >= 0 ? asked->threads : default_threads(&ctx->team),
                                  .prefetch = asked->prefetch >= 0 ? asked->prefetch : INT64_MAX,
                                  .unlocked = asked->unlocked};
  mpisift_dataset *d;

  MSIFT_TRY(check_arguments(path, names, n_names, &ctx->error));
  MSIFT_TRY(check_reading(asked, &ctx->error));
  d = msift_alloc(&ctx->memory, &ctx->error, 1, sizeof *d);
  if (d == NULL)
    return ctx->error.status;
  d->ctx = ctx;
  if (!msift_team_leads(&ctx->team))
    reading.threads = 0;
  if (msift_dataset_open(&d->file, path, group == NULL ? "/" : group, names, n_names, &reading, &ctx->memory,
                         &ctx->error) != MPISIFT_OK) {
    msift_free(&ctx->memory, &d);
    return ctx->error.status;
  }
  for (int f = 0; f < d->file.n_fields; f++)
    d->fields[f] = d->file.fields[f].field;
  *dataset = d;
  return MPISIFT_OK;
}

static void release(mpisift_ctx *ctx, mpisift_dataset **dataset)
{
  if (*dataset != NULL)
    msift_dataset_close(&(*dataset)->file, &ctx->memory);
  msift_free(&ctx->memory, dataset);
}

mpisift_status mpisift_dataset_open_as(mpisift_ctx *ctx, const char *path, const char *group, const char *const *names,
                                       int n_names, const mpisift_reading *reading, mpisift_dataset **dataset)
{
  mpisift_dataset *opened = NULL;
  mpisift_reading defaults;

  mpisift_reading_init(&defaults, sizeof defaults);
  if (dataset != NULL)
    *dataset = NULL;
  if (ctx == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(msift_enter(ctx, "mpisift_dataset_open"));
  if (dataset == NULL)
    msift_error_set(&ctx->error, MPISIFT_ERR_ARG, "mpisift_dataset_open: dataset is NULL");
  else
    open_local(ctx, path, group, names, n_names, reading == NULL ? &defaults : reading, &opened);
  if (msift_team_agree(&ctx->team, &ctx->error) != MPISIFT_OK) {
    release(ctx, &opened);
  } else {
    ctx->children++;
    *dataset = opened;
  }
  return msift_leave(ctx);
}

mpisift_status mpisift_dataset_open(mpisift_ctx *ctx, const char *path, const char *group, const char *const *names,
                                    int n_names, size_t cache_bytes, mpisift_dataset **dataset)
{
  mpisift_reading reading;

  mpisift_reading_init(&reading, sizeof reading);
  reading.cache_bytes = cache_bytes;
  return mpisift_dataset_open_as(ctx, path, group, names, n_names, &reading, dataset);
}

mpisift_status mpisift_dataset_explain(const char *path, const char *group, const char *name, char *text, size_t size)
{
  struct msift_memory memory = {0};
  struct msift_error error = {0};
  const struct msift_reading reading = {.cache_bytes = 1};
  struct msift_dataset *file;

  if (path == NULL || name == NULL || text == NULL || size == 0)
    return MPISIFT_ERR_ARG;
  file = msift_alloc(&memory, &error, 1, sizeof *file);
  if (file != NULL &&
      msift_dataset_open(file, path, group == NULL ? "/" : group, &name, 1, &reading, &memory, &error) == MPISIFT_OK) {
    const char *why = file->fields[0].route.why;

    snprintf(text, size, "%s%s", why == NULL ? "pread" : "H5Dread: ", why == NULL ? "" : why);
    msift_dataset_close(file, &memory);
  } else {
    snprintf(text, size, "%s", error.text);
  }
  msift_free(&memory, &file);
  return error.status;
}

mpisift_source mpisift_dataset_source(const mpisift_dataset *dataset)
{
  return (mpisift_source){.user = (void *)(uintptr_t)dataset,
                          .n = dataset->file.n,
                          .block = dataset->file.block,
                          .n_fields = dataset->file.n_fields,
                          .fields = dataset->fields,
                          .read = read_dataset,
                          .prefetch = dataset->file.readers.n > 0 ? prefetch_dataset : NULL};
}

void mpisift_dataset_close(mpisift_dataset **dataset)
{
  if (dataset == NULL || *dataset == NULL)
    return;
  (*dataset)->ctx->children--;
  release((*dataset)->ctx, dataset);
}
