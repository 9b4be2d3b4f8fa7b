#include "io/fetch.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/h5.h"

enum { READ_BYTES = 1 << 30 }; /* of one call of pread, which takes less than 2 GiB */

static int64_t min64(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

static bool refuse(struct msift_fault *fault, const char *what, int code)
{
  *fault = (struct msift_fault){what, code};
  return false;
}

static bool read_bytes(int descriptor, uint64_t offset, size_t bytes, unsigned char *to, struct msift_fault *fault)
{
  while (bytes > 0) {
    ssize_t n = pread(descriptor, to, bytes < READ_BYTES ? bytes : READ_BYTES, (off_t)offset);

    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return refuse(fault, "reading failed", errno);
    if (n == 0)
      return refuse(fault, "the file ends before them", 0);
    to += n;
    offset += (uint64_t)n;
    bytes -= (size_t)n;
  }
  return true;
}

/* Rows of one chunk from `skip` on. */
static bool fetch_part(const struct msift_h5_field *field, const struct msift_extent *chunk, int64_t skip, int64_t n,
                       unsigned char *to, struct msift_scratch *scratch, struct msift_fault *fault)
{
  const struct msift_route *r = &field->route;
  size_t raw = (size_t)r->chunk * field->bytes;

  if (r->filters.n == 0)
    return chunk->bytes == raw ? read_bytes(r->descriptor, chunk->offset + (uint64_t)skip * field->bytes,
                                            (size_t)n * field->bytes, to, fault)
                               : refuse(fault, "a chunk has a wrong size or place; the file is damaged", 0);
  if (chunk->bytes > msift_stored_most(raw))
    return refuse(fault, "a chunk has a wrong size or place; the file is damaged", 0);
  return read_bytes(r->descriptor, chunk->offset, chunk->bytes, scratch->buffers[0], fault) &&
         msift_decode(scratch, &r->filters, chunk->skipped, chunk->bytes, to, raw, fault);
}

static bool fetch_chunks(const struct msift_h5_field *field, int64_t first, int64_t n, unsigned char *to,
                         struct msift_scratch *scratch, struct msift_fault *fault)
{
  const struct msift_route *r = &field->route;

  for (int64_t row = first, part; row < first + n; row += part) {
    int64_t skip = row % r->chunk;

    part = min64(r->chunk - skip, first + n - row);
    if (!fetch_part(field, &r->chunks[row / r->chunk], skip, part, to + (size_t)(row - first) * field->bytes, scratch,
                    fault))
      return false;
  }
  return true;
}

bool msift_fetch(const struct msift_h5_field *field, int64_t first, int64_t n, unsigned char *to,
                 struct msift_scratch *scratch, struct msift_fault *fault)
{
  const struct msift_route *r = &field->route;
  size_t bytes = (size_t)n * field->bytes;
  bool right = r->chunk > 0 ? fetch_chunks(field, first, n, to, scratch, fault)
                            : read_bytes(r->descriptor, r->offset + (uint64_t)first * field->bytes, bytes, to, fault);

  if (right && r->swapped)
    msift_swap(to, r->element, bytes / r->element);
  return right;
}

bool msift_fetch_unchanged(const struct msift_h5_field *field, struct msift_fault *fault)
{
  const struct stat *then = &field->route.opened;
  struct stat now;

  if (fstat(field->route.descriptor, &now) != 0)
    return refuse(fault, "the file cannot be examined", errno);
  if (now.st_size != then->st_size || now.st_mtim.tv_sec != then->st_mtim.tv_sec ||
      now.st_mtim.tv_nsec != then->st_mtim.tv_nsec)
    return refuse(fault, "the file has changed since it was opened", 0);
  return true;
}

/* Of a file that has changed, that is the cause of whatever else is wrong. */
void msift_fetch_block(struct msift_cached *p, struct msift_scratch *scratch)
{
  double begin = msift_seconds();

  p->fault = (struct msift_fault){0};
  msift_fetch(p->field, p->first, p->n, p->rows, scratch, &p->fault);
  msift_fetch_unchanged(p->field, &p->fault);
  p->seconds = msift_seconds() - begin;
}

bool msift_fetch_located(const struct msift_h5_field *field, int64_t first, int64_t n)
{
  const struct msift_route *r = &field->route;

  if (r->why != NULL)
    return false;
  for (int64_t chunk = first / (r->chunk > 0 ? r->chunk : 1); r->chunk > 0 && chunk * r->chunk < first + n; chunk++)
    if (r->chunks[chunk].bytes == 0)
      return false;
  return true;
}

bool msift_fetch_by_hdf5(const struct msift_h5_field *field, int64_t first, int64_t n, void *to, char *cause)
{
  int rank = field->stored_rank;
  hsize_t start[H5S_MAX_RANK] = {(hsize_t)first}, count[H5S_MAX_RANK] = {(hsize_t)n};
  hid_t file_space = H5Dget_space(field->data), memory_space;
  bool right;

  for (int d = 1; d < rank; d++)
    count[d] = (hsize_t)field->field.shape[d - 1];
  memory_space = H5Screate_simple(rank, count, NULL);
  right = file_space >= 0 && memory_space >= 0 &&
          H5Sselect_hyperslab(file_space, H5S_SELECT_SET, start, NULL, count, NULL) >= 0 &&
          H5Dread(field->data, field->memory_type, memory_space, file_space, H5P_DEFAULT, to) >= 0;
  if (!right)
    msift_h5_cause(cause); /* the next call of HDF5 forgets it */
  H5Sclose(memory_space);
  H5Sclose(file_space);
  return right;
}
