#include "api/hash.h"
#include "api/source.h"
#include "io/files.h"

enum { DEFAULT_CACHE = 512 << 20 };

struct mpisift_dataset {
  mpisift_ctx *ctx;
  struct msift_files files;
};

/* Runs as a source's callback and when called by the user: the cause is told where either is looked for. */
static int read_dataset(void *user, int64_t n, const int64_t *ids, void *const *dst)
{
  mpisift_dataset *dataset = user;
  mpisift_ctx *ctx = dataset->ctx;

  return (int)msift_files_read(&dataset->files, n, ids, dst, &ctx->memory, msift_error_begin(ctx));
}

/* What a call was given. */
struct request {
  const char *call; /* its name */
  const char *const *paths;
  int n_paths;
  const char *group;
  const char *const *names;
  int n_names;
  size_t cache_bytes;
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

static mpisift_status open_local(mpisift_ctx *ctx, const struct request *r, mpisift_dataset **dataset)
{
  mpisift_dataset *d;

  MSIFT_TRY(check_arguments(r, &ctx->error));
  d = msift_alloc(&ctx->memory, &ctx->error, 1, sizeof *d);
  if (d == NULL)
    return ctx->error.status;
  d->ctx = ctx;
  if (msift_files_open(&d->files, r->paths, r->n_paths, r->group == NULL ? "/" : r->group, r->names, r->n_names,
                       r->cache_bytes > 0 ? r->cache_bytes : DEFAULT_CACHE, &ctx->memory, &ctx->error) != MPISIFT_OK) {
    msift_free(&ctx->memory, &d);
    return ctx->error.status;
  }
  *dataset = d;
  return MPISIFT_OK;
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
  else
    open_local(ctx, r, &opened);
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
  const struct request r = {"mpisift_dataset_open", &path, 1, group, names, n_names, cache_bytes};

  return open_dataset(ctx, &r, dataset);
}

mpisift_status mpisift_dataset_open_files(mpisift_ctx *ctx, const char *const *paths, int n_paths, const char *group,
                                          const char *const *names, int n_names, size_t cache_bytes,
                                          mpisift_dataset **dataset)
{
  const struct request r = {"mpisift_dataset_open_files", paths, n_paths, group, names, n_names, cache_bytes};

  return open_dataset(ctx, &r, dataset);
}

mpisift_source mpisift_dataset_source(const mpisift_dataset *dataset)
{
  return (mpisift_source){.user = (void *)(uintptr_t)dataset,
                          .n = dataset->files.n,
                          .block = dataset->files.block,
                          .n_fields = dataset->files.n_fields,
                          .fields = dataset->files.fields,
                          .read = read_dataset};
}

void mpisift_dataset_close(mpisift_dataset **dataset)
{
  if (dataset == NULL || *dataset == NULL)
    return;
  (*dataset)->ctx->children--;
  release((*dataset)->ctx, dataset);
}
