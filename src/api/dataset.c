#include <config.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/hash.h"
#include "api/source.h"
#include "io/files.h"

enum { DEFAULT_CACHE = 512 << 20, DEFAULT_THREADS = 4 };

struct mpisift_dataset {
  mpisift_ctx *ctx;
  struct msift_files files;
  bool warned;
};

/* Blocks that have to be read whole, and give way before most of their rows were wanted. */
static void warn_of_waste(mpisift_dataset *d)
{
  const struct msift_files *fs = &d->files;

  for (int f = 0; f < fs->n_fields && !d->warned; f++) {
    const struct msift_cache *c = &fs->caches[f];

    d->warned = c->wasteful && c->whole;
    if (d->warned)
      msift_log(d->ctx, MPISIFT_LOG_WARNING,
                "%.255s%s: field %s: chunks are read again and again, as the cache holds %d blocks of %lld rows; set "
                "cache_bytes to more, or take fewer lanes or a smaller window",
                fs->files[0].path, fs->n_files > 1 ? " and the files behind it" : "", fs->names[f], (int)c->max_cached,
                (long long)c->rows);
  }
}

/* Runs as a source's callback and when called by the user: the cause is told where either is looked for. */
static int read_dataset(void *user, int64_t n, const int64_t *ids, void *const *dst)
{
  mpisift_dataset *d = user;
  mpisift_ctx *ctx = d->ctx;
  int code = (int)msift_files_read(&d->files, n, ids, dst, &ctx->memory, msift_error_begin(ctx));

  if (!d->warned && ctx->team.all_rank == 0)
    warn_of_waste(d);
  return code;
}

static void prefetch_dataset(void *user, int64_t n, const int64_t *ids)
{
  mpisift_dataset *d = user;

  msift_files_prefetch(&d->files, n, ids, &d->ctx->memory);
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

/* What a call was given. */
struct request {
  const char *call; /* its name */
  const char *const *paths;
  int n_paths;
  const char *group;
  const char *const *names;
  int n_names;
  const mpisift_reading *reading;
};

static mpisift_status check_arguments(const struct request *r, struct msift_error *error)
{
  if (r->paths == NULL || r->n_paths < 1)
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: paths is NULL or n_paths is %d; name a file", r->call,
                           r->n_paths);
  for (int i = 0; i < r->n_paths; i++)
    if (r->paths[i] == NULL)
      return msift_error_set(error, MPISIFT_ERR_ARG, "%s: path %d is NULL", r->call, i);
  if (r->names == NULL)
    return MPISIFT_OK;
  if (r->n_names < 1 || r->n_names > MPISIFT_MAX_FIELDS)
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: n_names is %d; 1 to %d are possible", r->call, r->n_names,
                           MPISIFT_MAX_FIELDS);
  for (int i = 0; i < r->n_names; i++)
    if (r->names[i] == NULL)
      return msift_error_set(error, MPISIFT_ERR_ARG, "%s: names[%d] is NULL", r->call, i);
  return MPISIFT_OK;
}

static mpisift_status open_local(mpisift_ctx *ctx, const struct request *r, struct msift_notes *notes,
                                 mpisift_dataset **dataset)
{
  const mpisift_reading *asked = r->reading;
  struct msift_reading reading = {.cache_bytes = asked->cache_bytes > 0 ? asked->cache_bytes : DEFAULT_CACHE,
                                  .threads = asked->threads >= 0 ? asked->threads : default_threads(&ctx->team),
                                  .prefetch = asked->prefetch >= 0 ? asked->prefetch : INT64_MAX,
                                  .unlocked = asked->unlocked};
  mpisift_dataset *d;

  d = msift_alloc(&ctx->memory, &ctx->error, 1, sizeof *d);
  if (d == NULL)
    return ctx->error.status;
  d->ctx = ctx;
  if (!msift_team_leads(&ctx->team))
    reading.threads = 0;
  if (msift_files_open(&d->files, r->paths, r->n_paths, r->group == NULL ? "/" : r->group, r->names, r->n_names,
                       &reading, notes, &ctx->memory, &ctx->error) != MPISIFT_OK) {
    msift_free(&ctx->memory, &d);
    return ctx->error.status;
  }
  *dataset = d;
  return MPISIFT_OK;
}

/* What a rank asks for, whichever way its files are named. */
static uint64_t hash_request(const struct request *r)
{
  const char *group = r->group == NULL ? "/" : r->group;
  uint64_t hash = msift_hash(0, group, strlen(group) + 1);

  for (int i = 0; r->names != NULL && i < r->n_names; i++)
    hash = msift_hash(hash, r->names[i], strlen(r->names[i]) + 1);
  return hash;
}

/* Rank 0's notes go to all. Who asks for something else than it has no use for them. */
static mpisift_status tell(mpisift_ctx *ctx, uint64_t asked, struct msift_notes *notes)
{
  uint64_t head[] = {(uint64_t)notes->n, asked};
  struct msift_error error = {0};

  msift_team_tell(&ctx->team, head, sizeof head, &error);
  if (error.status == MPISIFT_OK && ctx->team.all_rank > 0)
    notes->bytes = msift_alloc(&ctx->memory, &error, (int64_t)head[0], 1);
  if (msift_team_agree(&ctx->team, &error) == MPISIFT_OK)
    msift_team_tell(&ctx->team, notes->bytes, (int64_t)head[0], &error);
  notes->taken = true;
  notes->n = asked == head[1] ? (int64_t)head[0] : 0;
  return error.status == MPISIFT_OK ? MPISIFT_OK : msift_error_set(&ctx->error, error.status, "%s", error.text);
}

/* Rank 0 asks HDF5; the others only where they see other files than it does, where HDF5 has to read them, or where rank
 * 0 failed. */
static mpisift_status open_told(mpisift_ctx *ctx, const struct request *r, mpisift_dataset **dataset)
{
  struct msift_error *error = &ctx->error;
  struct msift_notes notes = {0};
  bool right = error->status == MPISIFT_OK && check_arguments(r, error) == MPISIFT_OK &&
               check_reading(r->reading, error) == MPISIFT_OK;

  if (right && ctx->team.all_rank == 0 && open_local(ctx, r, &notes, dataset) != MPISIFT_OK)
    notes.n = 0;
  if (tell(ctx, right ? hash_request(r) : 0, &notes) == MPISIFT_OK && right && ctx->team.all_rank > 0)
    open_local(ctx, r, &notes, dataset);
  msift_free(&ctx->memory, &notes.bytes);
  return error->status;
}

/* All ranks must see the same rows. */
static mpisift_status compare(mpisift_ctx *ctx, const mpisift_dataset *dataset)
{
  const struct msift_files *fs = &dataset->files;
  const mpisift_source source = mpisift_dataset_source(dataset);
  uint64_t begins = 0;

  for (int i = 0; i <= fs->n_files; i++)
    begins = msift_hash(begins, &fs->files[i].first, sizeof fs->files[i].first);

  const struct msift_setting settings[] = {
      {"the number of files", (uint64_t)fs->n_files},
      {"the number of rows in the files", begins},
      {"the names, types or shapes of the fields", msift_source_hash(&source)},
      {"the size of chunks", (uint64_t)fs->block},
  };
  return msift_team_compare(&ctx->team, settings, (int)(sizeof settings / sizeof settings[0]), &ctx->error);
}

static void release(mpisift_ctx *ctx, mpisift_dataset **dataset)
{
  if (*dataset != NULL)
    msift_files_close(&(*dataset)->files, &ctx->memory);
  msift_free(&ctx->memory, dataset);
}

static mpisift_status open_dataset(mpisift_ctx *ctx, const struct request *r, mpisift_dataset **dataset)
{
  mpisift_dataset *opened = NULL;

  if (dataset != NULL)
    *dataset = NULL;
  if (ctx == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(msift_enter(ctx, r->call));
  if (dataset == NULL)
    msift_error_set(&ctx->error, MPISIFT_ERR_ARG, "%s: dataset is NULL", r->call);
  open_told(ctx, r, &opened);
  if (msift_team_agree(&ctx->team, &ctx->error) != MPISIFT_OK || compare(ctx, opened) != MPISIFT_OK) {
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
  const struct request r = {"mpisift_dataset_open", &path, 1, group, names, n_names, &reading};

  mpisift_reading_init(&reading, sizeof reading);
  reading.cache_bytes = cache_bytes;
  return open_dataset(ctx, &r, dataset);
}

mpisift_status mpisift_dataset_open_files(mpisift_ctx *ctx, const char *const *paths, int n_paths, const char *group,
                                          const char *const *names, int n_names, const mpisift_reading *reading,
                                          mpisift_dataset **dataset)
{
  mpisift_reading defaults;
  const struct request r = {"mpisift_dataset_open_files",         paths, n_paths, group, names, n_names,
                            reading == NULL ? &defaults : reading};

  mpisift_reading_init(&defaults, sizeof defaults);
  return open_dataset(ctx, &r, dataset);
}

mpisift_status mpisift_dataset_explain(const char *path, const char *group, const char *name, char *text, size_t size)
{
  struct msift_memory memory = {0};
  struct msift_error error = {0};
  struct msift_scratch scratch = {0};
  struct msift_dataset *file;

  if (path == NULL || name == NULL || text == NULL || size == 0)
    return MPISIFT_ERR_ARG;
  file = msift_alloc(&memory, &error, 1, sizeof *file);
  if (file != NULL && msift_dataset_open(file, path, group == NULL ? "/" : group, &name, 1, false, &scratch, &memory,
                                         &error) == MPISIFT_OK) {
    const char *why = file->fields[0].route.why;

    snprintf(text, size, "%s%s", why == NULL ? "pread" : "H5Dread: ", why == NULL ? "" : why);
    msift_dataset_close(file, &memory);
  } else {
    snprintf(text, size, "%s", error.text);
  }
  msift_scratch_destroy(&scratch, &memory);
  msift_free(&memory, &file);
  return error.status;
}

mpisift_source mpisift_dataset_source(const mpisift_dataset *dataset)
{
  return (mpisift_source){.user = (void *)(uintptr_t)dataset,
                          .n = dataset->files.n,
                          .block = dataset->files.block,
                          .n_fields = dataset->files.n_fields,
                          .fields = dataset->files.fields,
                          .read = read_dataset,
                          .prefetch = dataset->files.readers.n > 0 ? prefetch_dataset : NULL};
}

void mpisift_dataset_close(mpisift_dataset **dataset)
{
  if (dataset == NULL || *dataset == NULL)
    return;
  (*dataset)->ctx->children--;
  release((*dataset)->ctx, dataset);
}
