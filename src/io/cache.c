#include "io/cache.h"

#include <string.h>

#include "io/h5.h"
#include "io/storage.h"

mpisift_status msift_cache_init(struct msift_dataset *d, size_t bytes, struct msift_memory *memory,
                                struct msift_error *error)
{
  int64_t blocks = (d->n + d->block - 1) / d->block;
  size_t fit;

  d->block_bytes = 0;
  for (int f = 0; f < d->n_fields; f++) {
    d->fields[f].offset = d->block_bytes;
    d->block_bytes += ((size_t)d->block * mpisift_field_bytes(&d->fields[f].field) + 63) / 64 * 64;
  }
  if (blocks > INT32_MAX)
    return msift_error_set(error, MPISIFT_ERR_DATA, "%s: more than 2^31 chunks; store larger ones", d->path);
  fit = bytes / d->block_bytes;
  d->max_cached = fit < 1 ? 1 : fit > (size_t)blocks ? (int32_t)blocks : (int32_t)fit;
  d->n_cached = 0;
  d->newest = d->oldest = -1;
  MSIFT_TRY(msift_resize(memory, error, &d->cached, d->max_cached, sizeof *d->cached));
  MSIFT_TRY(msift_resize(memory, error, &d->place, blocks, sizeof *d->place));
  memset(d->place, 0xff, (size_t)blocks * sizeof *d->place);
  return MPISIFT_OK;
}

void msift_cache_destroy(struct msift_dataset *d, struct msift_memory *memory)
{
  for (int32_t i = 0; i < d->n_cached; i++)
    msift_free(memory, &d->cached[i].rows);
  msift_free(memory, &d->cached);
  msift_free(memory, &d->place);
}

static void unlink_use(struct msift_dataset *d, int32_t i)
{
  struct msift_cached *c = &d->cached[i];

  *(c->newer >= 0 ? &d->cached[c->newer].older : &d->newest) = c->older;
  *(c->older >= 0 ? &d->cached[c->older].newer : &d->oldest) = c->newer;
}

static void link_newest(struct msift_dataset *d, int32_t i)
{
  struct msift_cached *c = &d->cached[i];

  c->newer = -1;
  c->older = d->newest;
  *(d->newest >= 0 ? &d->cached[d->newest].newer : &d->oldest) = i;
  d->newest = i;
}

/* An entry of the cache to fill: a new one within the budget, else the least recently used. −1 with an error. */
static int32_t vacate(struct msift_dataset *d, struct msift_memory *memory, struct msift_error *error)
{
  int32_t i = d->n_cached;

  if (i < d->max_cached) {
    d->cached[i] = (struct msift_cached){.rows = msift_alloc(memory, error, 1, d->block_bytes), .block = -1};
    if (d->cached[i].rows == NULL)
      return -1;
    d->n_cached++;
  } else {
    i = d->oldest;
    unlink_use(d, i);
    if (d->cached[i].block >= 0)
      d->place[d->cached[i].block] = -1;
    d->cached[i].block = -1;
  }
  link_newest(d, i);
  return i;
}

static herr_t read_rows(const struct msift_h5_field *field, int64_t first, int64_t n, void *rows)
{
  int rank = field->field.ndim + 1;
  hsize_t start[MPISIFT_MAX_DIMS + 1] = {(hsize_t)first}, count[MPISIFT_MAX_DIMS + 1] = {(hsize_t)n};
  hid_t file_space = H5Dget_space(field->data), memory_space;
  herr_t code = -1;

  for (int d = 1; d < rank; d++)
    count[d] = (hsize_t)field->field.shape[d - 1];
  memory_space = H5Screate_simple(rank, count, NULL);
  if (file_space >= 0 && memory_space >= 0 &&
      H5Sselect_hyperslab(file_space, H5S_SELECT_SET, start, NULL, count, NULL) >= 0)
    code = H5Dread(field->data, field->memory_type, memory_space, file_space, H5P_DEFAULT, rows);
  H5Sclose(memory_space);
  H5Sclose(file_space);
  return code;
}

static mpisift_status read_block(struct msift_dataset *d, int64_t block, unsigned char *rows, struct msift_error *error)
{
  int64_t first = block * d->block, n = d->n - first < d->block ? d->n - first : d->block;
  struct msift_h5_quiet quiet;
  char cause[MSIFT_TEXT];

  msift_h5_quiet_begin(&quiet);
  for (int f = 0; f < d->n_fields && error->status == MPISIFT_OK; f++)
    if (read_rows(&d->fields[f], first, n, rows + d->fields[f].offset) < 0)
      msift_error_set(error, MPISIFT_ERR_IO, "%s: field %s: rows %lld to %lld cannot be read: %s", d->path,
                      d->fields[f].name, (long long)first, (long long)(first + n - 1), msift_h5_cause(cause));
  if (error->status == MPISIFT_OK && msift_storage_bytes(d->file) < d->bytes)
    msift_error_set(error, MPISIFT_ERR_IO,
                    "%s: field %s: rows %lld to %lld cannot be read: the file has become shorter", d->path,
                    d->fields[0].name, (long long)first, (long long)(first + n - 1));
  msift_h5_quiet_end(&quiet);
  return error->status;
}

const unsigned char *msift_cache_block(struct msift_dataset *d, int64_t block, struct msift_memory *memory,
                                       struct msift_error *error)
{
  int32_t i = d->place[block];

  if (i >= 0) {
    unlink_use(d, i);
    link_newest(d, i);
    return d->cached[i].rows;
  }
  i = vacate(d, memory, error);
  if (i < 0 || read_block(d, block, d->cached[i].rows, error) != MPISIFT_OK)
    return NULL;
  d->cached[i].block = block;
  d->place[block] = i;
  return d->cached[i].rows;
}
