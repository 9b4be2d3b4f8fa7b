#include <stdio.h>
#include <stdlib.h>

#include "api/source.h"
#include "io/dataset.h"

enum { DEFAULT_CACHE = 512 << 20 };

struct mpisift_dataset {
  mpisift_ctx *ctx;
  struct msift_dataset file;
  mpisift_field fields[MPISIFT_MAX_FIELDS];
};

/* Runs as a source's callback and when called by the user: the cause is told where either is looked for. */
static int read_dataset(void *user, int64_t n, const int64_t *ids, void *const *dst)
{
  mpisift_dataset *dataset = user;
  mpisift_ctx *ctx = dataset->ctx;

  return (int)msift_dataset_read(&dataset->file, n, ids, dst, &ctx->memory, msift_error_begin(ctx));
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
                                 int n_names, size_t cache_bytes, mpisift_dataset **dataset)
{
  mpisift_dataset *d;

  MSIFT_TRY(check_arguments(path, names, n_names, &ctx->error));
  d = msift_alloc(&ctx->memory, &ctx->error, 1, sizeof *d);
  if (d == NULL)
    return ctx->error.status;
  d->ctx = ctx;
  if (msift_dataset_open(&d->file, path, group == NULL ? "/" : group, names, n_names,
                         cache_bytes > 0 ? cache_bytes : DEFAULT_CACHE, &ctx->memory, &ctx->error) != MPISIFT_OK) {
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

mpisift_status mpisift_dataset_open(mpisift_ctx *ctx, const char *path, const char *group, const char *const *names,
                                    int n_names, size_t cache_bytes, mpisift_dataset **dataset)
{
  mpisift_dataset *opened = NULL;

  if (dataset != NULL)
    *dataset = NULL;
  if (ctx == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(msift_enter(ctx, "mpisift_dataset_open"));
  if (dataset == NULL)
    msift_error_set(&ctx->error, MPISIFT_ERR_ARG, "mpisift_dataset_open: dataset is NULL");
  else
    open_local(ctx, path, group, names, n_names, cache_bytes, &opened);
  if (msift_team_agree(&ctx->team, &ctx->error) != MPISIFT_OK) {
    release(ctx, &opened);
  } else {
    ctx->children++;
    *dataset = opened;
  }
  return msift_leave(ctx);
}

mpisift_status mpisift_dataset_explain(const char *path, const char *group, const char *name, char *text, size_t size)
{
  struct msift_memory memory = {0};
  struct msift_error error = {0};
  struct msift_dataset *file;

  if (path == NULL || name == NULL || text == NULL || size == 0)
    return MPISIFT_ERR_ARG;
  file = msift_alloc(&memory, &error, 1, sizeof *file);
  if (file != NULL &&
      msift_dataset_open(file, path, group == NULL ? "/" : group, &name, 1, 1, &memory, &error) == MPISIFT_OK) {
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
                          .read = read_dataset};
}

void mpisift_dataset_close(mpisift_dataset **dataset)
{
  if (dataset == NULL || *dataset == NULL)
    return;
  (*dataset)->ctx->children--;
  release((*dataset)->ctx, dataset);
}
