#include <string.h>

#include "api/hash.h"
#include "api/source.h"
#include "io/rows.h"

#define CALL "mpisift_rows_open"

struct mpisift_rows {
  mpisift_ctx *ctx;
  struct msift_rows files;
};

/* As read_dataset(). */
static int read_rows(void *user, int64_t n, const int64_t *ids, void *const *dst)
{
  mpisift_rows *rows = user;

  return (int)msift_rows_read(&rows->files, n, ids, dst, msift_error_begin(rows->ctx));
}

static mpisift_status check_paths(const mpisift_row_files *files, struct msift_error *error)
{
  if (files->paths == NULL || files->n_paths < 1)
    return msift_error_set(error, MPISIFT_ERR_ARG, CALL ": files.paths is NULL or n_paths is %d; name a file",
                           files->n_paths);
  for (int i = 0; i < files->n_paths; i++)
    if (files->paths[i] == NULL)
      return msift_error_set(error, MPISIFT_ERR_ARG, CALL ": files.paths[%d] is NULL", i);
  return MPISIFT_OK;
}

static mpisift_status check_layout(const mpisift_row_files *files, struct msift_error *error)
{
  if (files->header < 0 || files->stride < 1 || files->row < 0 || files->block < 0)
    return msift_error_set(
        error, MPISIFT_ERR_ARG,
        CALL ": files.header is %lld, stride %lld, row %lld and block %lld; stride is at least 1, and none is negative",
        (long long)files->header, (long long)files->stride, (long long)files->row, (long long)files->block);
  if ((int)files->order < MPISIFT_NATIVE_ENDIAN || (int)files->order > MPISIFT_BIG_ENDIAN)
    return msift_error_set(error, MPISIFT_ERR_ARG, CALL ": files.order is %d, not a mpisift_byte_order",
                           (int)files->order);
  return MPISIFT_OK;
}

static mpisift_status check_fields(const mpisift_row_files *files, struct msift_error *error)
{
  int64_t row = files->row > 0 ? files->row : files->stride, behind = 0;

  if (files->n_fields < 1 || files->n_fields > MPISIFT_MAX_FIELDS || files->fields == NULL)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           CALL ": files.n_fields is %d; 1 to %d are possible, with files.fields set", files->n_fields,
                           MPISIFT_MAX_FIELDS);
  MSIFT_TRY(msift_fields_check(files->n_fields, files->fields, CALL, error));
  for (int f = 0; f < files->n_fields; f++) {
    int64_t bytes = (int64_t)mpisift_field_bytes(&files->fields[f]);
    int64_t offset = files->offsets == NULL ? behind : files->offsets[f];

    if (offset < 0 || bytes > row || offset > row - bytes)
      return msift_error_set(error, MPISIFT_ERR_ARG,
                             CALL ": field %.64s of %lld bytes at offset %lld does not lie in a row of %lld bytes",
                             files->fields[f].name, (long long)bytes, (long long)offset, (long long)row);
    behind = offset + bytes;
  }
  return MPISIFT_OK;
}

static mpisift_status open_local(mpisift_ctx *ctx, const mpisift_row_files *files, mpisift_rows **rows)
{
  mpisift_rows *r;

  if (files == NULL)
    return msift_error_set(&ctx->error, MPISIFT_ERR_ARG, CALL ": files is NULL");
  MSIFT_TRY(check_paths(files, &ctx->error));
  MSIFT_TRY(check_layout(files, &ctx->error));
  MSIFT_TRY(check_fields(files, &ctx->error));
  r = msift_alloc(&ctx->memory, &ctx->error, 1, sizeof *r);
  if (r == NULL)
    return ctx->error.status;
  r->ctx = ctx;
  if (msift_rows_open(&r->files, files, &ctx->memory, &ctx->error) != MPISIFT_OK) {
    msift_free(&ctx->memory, &r);
    return ctx->error.status;
  }
  *rows = r;
  return MPISIFT_OK;
}

/* All ranks must see the same rows. */
static mpisift_status compare(mpisift_ctx *ctx, const mpisift_rows *rows)
{
  const struct msift_rows *r = &rows->files;
  const mpisift_source source = mpisift_rows_source(rows);
  uint64_t begins = 0;

  for (int i = 0; i <= r->n_files; i++)
    begins = msift_hash(begins, &r->files[i].first, sizeof r->files[i].first);

  const struct msift_setting settings[] = {
      {"files.n_paths", (uint64_t)r->n_files},
      {"files.header", (uint64_t)r->header},
      {"files.stride", (uint64_t)r->stride},
      {"files.row", (uint64_t)r->row},
      {"files.fields", msift_source_hash(&source)},
      {"files.offsets", msift_hash(0, r->offsets, (size_t)r->n_fields * sizeof r->offsets[0])},
      {"files.order", (uint64_t)r->swapped},
      {"the number of rows in the files", begins},
      {"files.block", (uint64_t)r->block},
  };
  return msift_team_compare(&ctx->team, settings, (int)(sizeof settings / sizeof settings[0]), &ctx->error);
}

static void log_left_out(const mpisift_ctx *ctx, const struct msift_rows *r)
{
  if (ctx->team.all_rank == 0 && r->left_out > 0)
    msift_log(ctx, MPISIFT_LOG_INFO, "%.200s%s: %lld rows; %lld bytes at the end fill no row and are left out",
              r->files[0].path, r->n_files > 1 ? " and the files behind it" : "", (long long)r->n,
              (long long)r->left_out);
}

static void release(mpisift_ctx *ctx, mpisift_rows **rows)
{
  if (*rows != NULL)
    msift_rows_close(&(*rows)->files, &ctx->memory);
  msift_free(&ctx->memory, rows);
}

mpisift_status mpisift_rows_open(mpisift_ctx *ctx, const mpisift_row_files *files, mpisift_rows **rows)
{
  mpisift_rows *opened = NULL;

  if (rows != NULL)
    *rows = NULL;
  if (ctx == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(msift_enter(ctx, CALL));
  if (rows == NULL)
    msift_error_set(&ctx->error, MPISIFT_ERR_ARG, CALL ": rows is NULL");
  else
    open_local(ctx, files, &opened);
  if (msift_team_agree(&ctx->team, &ctx->error) != MPISIFT_OK || compare(ctx, opened) != MPISIFT_OK) {
    release(ctx, &opened);
  } else {
    log_left_out(ctx, &opened->files);
    ctx->children++;
    *rows = opened;
  }
  return msift_leave(ctx);
}

mpisift_source mpisift_rows_source(const mpisift_rows *rows)
{
  return (mpisift_source){.user = (void *)(uintptr_t)rows,
                          .n = rows->files.n,
                          .block = rows->files.block,
                          .n_fields = rows->files.n_fields,
                          .fields = rows->files.fields,
                          .read = read_rows};
}

void mpisift_rows_close(mpisift_rows **rows)
{
  if (rows == NULL || *rows == NULL)
    return;
  (*rows)->ctx->children--;
  release((*rows)->ctx, rows);
}
