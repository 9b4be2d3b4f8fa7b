#include "io/rows.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  PIECE_BYTES = 1 << 20, /* of the buffer, and of a block */
  READ_BYTES = 1 << 30,  /* of one call of pread, which takes less than 2 GiB */
  GAP_BYTES = 4096       /* between rows, that are rather read than skipped */
};

static int64_t min64(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

/* The file's descriptor; where there are too many, that which was opened first is closed. */
static int descriptor(struct msift_rows *r, int index, struct msift_error *error)
{
  struct msift_rows_file *file = &r->files[index];
  int *slot = &r->open[r->oldest];

  if (file->descriptor >= 0)
    return file->descriptor;
  file->descriptor = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file->descriptor < 0) {
    msift_error_set(error, MPISIFT_ERR_IO, "%.200s: cannot be opened here: %s", file->path, strerror(errno));
    return -1;
  }
  if (*slot >= 0) {
    close(r->files[*slot].descriptor);
    r->files[*slot].descriptor = -1;
  }
  *slot = index;
  r->oldest = (r->oldest + 1) % MSIFT_ROWS_OPEN;
  return file->descriptor;
}

/* Rows of a file of so many bytes. */
static mpisift_status count_rows(struct msift_rows *r, const char *path, int64_t bytes, int64_t *n,
                                 struct msift_error *error)
{
  int64_t body = bytes - r->header, rest;

  if (body < r->row)
    return msift_error_set(error, MPISIFT_ERR_DATA,
                           "%.200s: %lld bytes hold no row of %lld bytes behind a header of %lld", path,
                           (long long)bytes, (long long)r->row, (long long)r->header);
  *n = (body - r->row) / r->stride + 1;
  rest = (body - r->row) % r->stride;
  if (rest != 0 && rest != r->stride - r->row && r->row <= r->stride)
    return msift_error_set(error, MPISIFT_ERR_DATA,
                           "%.200s: the last %lld bytes, behind row %lld, are no whole row; is the file truncated, or "
                           "are header or stride wrong?",
                           path, (long long)rest, (long long)(*n - 1));
  r->left_out += r->row > r->stride ? rest : 0;
  return MPISIFT_OK;
}

static mpisift_status open_file(struct msift_rows *r, int index, struct msift_error *error)
{
  const char *path = r->files[index].path;
  struct stat status;
  int64_t n = 0;
  int fd = descriptor(r, index, error);

  if (fd < 0)
    return error->status;
  if (fstat(fd, &status) != 0)
    return msift_error_set(error, MPISIFT_ERR_IO, "%.200s: cannot be opened here: %s", path, strerror(errno));
  if (!S_ISREG(status.st_mode))
    return msift_error_set(error, MPISIFT_ERR_IO, "%.200s: not a regular file", path);
  MSIFT_TRY(count_rows(r, path, status.st_size, &n, error));
  r->files[index + 1].first = r->files[index].first + n;
  return MPISIFT_OK;
}

static mpisift_status copy_text(const char *text, char **copy, struct msift_memory *memory, struct msift_error *error)
{
  int64_t n = (int64_t)strlen(text) + 1;

  *copy = msift_alloc(memory, error, n, 1);
  if (*copy == NULL)
    return error->status;
  memcpy(*copy, text, (size_t)n);
  return MPISIFT_OK;
}

static mpisift_status copy_fields(struct msift_rows *r, const mpisift_row_files *files, struct msift_memory *memory,
                                  struct msift_error *error)
{
  int64_t behind = 0;

  for (int f = 0; f < files->n_fields; f++) {
    char *name;

    MSIFT_TRY(copy_text(files->fields[f].name, &name, memory, error));
    r->fields[f] = files->fields[f];
    r->fields[f].name = name;
    r->n_fields++;
    r->offsets[f] = files->offsets == NULL ? behind : files->offsets[f];
    behind += (int64_t)mpisift_field_bytes(&r->fields[f]);
  }
  return MPISIFT_OK;
}

static mpisift_status open_files(struct msift_rows *r, const mpisift_row_files *files, struct msift_memory *memory,
                                 struct msift_error *error)
{
  r->files = msift_alloc(memory, error, (int64_t)files->n_paths + 1, sizeof *r->files);
  if (r->files == NULL)
    return error->status;
  for (int i = 0; i < files->n_paths; i++) {
    MSIFT_TRY(copy_text(files->paths[i], &r->files[i].path, memory, error));
    r->files[i].descriptor = -1;
    r->n_files++;
    MSIFT_TRY(open_file(r, i, error));
  }
  r->n = r->files[r->n_files].first;
  return MPISIFT_OK;
}

/* What of a row is read, how many rows at a time, and by way of a buffer or not. */
static mpisift_status plan_reading(struct msift_rows *r, struct msift_memory *memory, struct msift_error *error)
{
  int64_t end = 0;

  r->begin = r->row;
  for (int f = 0; f < r->n_fields; f++) {
    int64_t behind = r->offsets[f] + (int64_t)mpisift_field_bytes(&r->fields[f]);

    r->begin = min64(r->begin, r->offsets[f]);
    end = behind > end ? behind : end;
  }
  r->width = end - r->begin;
  r->most = r->stride - r->width > GAP_BYTES ? 1 : r->n;
  if (r->n_fields == 1 && (r->width >= r->stride || r->most == 1))
    return MPISIFT_OK;
  if (r->width < PIECE_BYTES)
    r->most = min64(r->most, (PIECE_BYTES - r->width) / r->stride + 1);
  else
    r->most = 1;
  r->piece = msift_alloc(memory, error, (r->most - 1) * r->stride + r->width, 1);
  return error->status;
}

static mpisift_status open_all(struct msift_rows *r, const mpisift_row_files *files, struct msift_memory *memory,
                               struct msift_error *error)
{
  int64_t near = PIECE_BYTES / r->stride;

  MSIFT_TRY(copy_fields(r, files, memory, error));
  MSIFT_TRY(open_files(r, files, memory, error));
  r->block = min64(files->block > 0 ? files->block : near > 1 ? near : 1, r->n);
  return plan_reading(r, memory, error);
}

mpisift_status msift_rows_open(struct msift_rows *r, const mpisift_row_files *files, struct msift_memory *memory,
                               struct msift_error *error)
{
  mpisift_byte_order own = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? MPISIFT_BIG_ENDIAN : MPISIFT_LITTLE_ENDIAN;

  *r = (struct msift_rows){.header = files->header, .stride = files->stride};
  r->row = files->row > 0 ? files->row : files->stride;
  r->swapped = files->order != MPISIFT_NATIVE_ENDIAN && files->order != own;
  for (int i = 0; i < MSIFT_ROWS_OPEN; i++)
    r->open[i] = -1;
  if (open_all(r, files, memory, error) != MPISIFT_OK)
    msift_rows_close(r, memory);
  return error->status;
}

void msift_rows_close(struct msift_rows *r, struct msift_memory *memory)
{
  for (int i = 0; i < r->n_files; i++) {
    if (r->files[i].descriptor >= 0)
      close(r->files[i].descriptor);
    msift_free(memory, &r->files[i].path);
  }
  msift_free(memory, &r->files);
  for (int f = 0; f < r->n_fields; f++) {
    void *name = (void *)(uintptr_t)r->fields[f].name;
    msift_free(memory, &name);
  }
  msift_free(memory, &r->piece);
  r->n_files = r->n_fields = 0;
}

/* The file that holds a row. */
static int file_of(const struct msift_rows *r, int64_t id)
{
  int low = 0, high = r->n_files - 1;

  while (low < high) {
    int middle = low + (high - low + 1) / 2;

    if (r->files[middle].first <= id)
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

/* Read what the fields cover of n consecutive rows of a file, and what lies between, as it is in the file. */
static mpisift_status read_span(struct msift_rows *r, int index, int64_t id, int64_t n, unsigned char *to,
                                struct msift_error *error)
{
  const struct msift_rows_file *file = &r->files[index];
  int64_t row = id - file->first, bytes = (n - 1) * r->stride + r->width;
  int fd = descriptor(r, index, error);

  if (fd < 0)
    return error->status;
  for (int64_t done = 0; done < bytes;) {
    ssize_t got = pread(fd, to + done, (size_t)min64(bytes - done, READ_BYTES),
                        (off_t)(r->header + row * r->stride + r->begin + done));

    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0) {
      row += done < r->width ? 0 : (done - r->width) / r->stride + 1;
      return msift_error_set(error, MPISIFT_ERR_IO, "%.200s: row %lld cannot be read: %s", file->path, (long long)row,
                             got < 0 ? strerror(errno) : "the file has become shorter since it was opened");
    }
    done += got;
  }
  return MPISIFT_OK;
}

/* Rows of the only field, into their place: rows that overlap in the file are read to the end of it, and each moves
 * down, the first one farthest. */
static mpisift_status read_into_place(struct msift_rows *r, int index, int64_t id, int64_t n, unsigned char *to,
                                      struct msift_error *error)
{
  int64_t shift = (n - 1) * (r->width - r->stride);

  MSIFT_TRY(read_span(r, index, id, n, to + shift, error));
  for (int64_t i = 0; i < n && shift > 0; i++)
    memmove(to + i * r->width, to + shift + i * r->stride, (size_t)r->width);
  return MPISIFT_OK;
}

/* Rows from the buffer to row `at` of the fields. */
static void spread(const struct msift_rows *r, int64_t n, int64_t at, void *const *dst)
{
  for (int f = 0; f < r->n_fields; f++) {
    size_t bytes = mpisift_field_bytes(&r->fields[f]);
    const unsigned char *from = r->piece + (r->offsets[f] - r->begin);
    unsigned char *to = (unsigned char *)dst[f] + (size_t)at * bytes;

    for (int64_t i = 0; i < n; i++)
      memcpy(to + (size_t)i * bytes, from + i * r->stride, bytes);
  }
}

static void swap_bytes(unsigned char *element, size_t size)
{
  for (size_t i = 0; i < size / 2; i++) {
    unsigned char byte = element[i];

    element[i] = element[size - 1 - i];
    element[size - 1 - i] = byte;
  }
}

static void swap_rows(const struct msift_rows *r, int64_t n, void *const *dst)
{
  for (int f = 0; f < r->n_fields; f++) {
    size_t size = mpisift_type_size(r->fields[f].type);
    size_t bytes = (size_t)n * mpisift_field_bytes(&r->fields[f]);

    for (size_t at = 0; at < bytes && size > 1; at += size)
      swap_bytes((unsigned char *)dst[f] + at, size);
  }
}

/* How many of the ids follow one another in a file. */
static int64_t run_length(const struct msift_rows *r, int index, int64_t n, const int64_t *ids)
{
  int64_t most = min64(min64(n, r->most), r->files[index + 1].first - ids[0]), length = 1;

  while (length < most && ids[length] == ids[0] + length)
    length++;
  return length;
}

mpisift_status msift_rows_read(struct msift_rows *r, int64_t n, const int64_t *ids, void *const *dst,
                               struct msift_error *error)
{
  for (int64_t i = 0, run; i < n; i += run) {
    int index = file_of(r, ids[i]);

    run = run_length(r, index, n - i, ids + i);
    if (r->piece == NULL) {
      MSIFT_TRY(read_into_place(r, index, ids[i], run, (unsigned char *)dst[0] + i * r->width, error));
    } else {
      MSIFT_TRY(read_span(r, index, ids[i], run, r->piece, error));
      spread(r, run, i, dst);
    }
  }
  if (r->swapped)
    swap_rows(r, n, dst);
  return MPISIFT_OK;
}
