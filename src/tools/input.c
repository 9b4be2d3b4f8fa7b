#include "tools/input.h"

#include "tools/csv.h"
#include "tools/h5.h"
#include "tools/idx.h"
#include "tools/npy.h"
#include "tools/tool.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROW_BYTES = 1 << 30 };

/* HDF5 takes "." for the group itself; no other name is special. */
static bool valid_path(const char *path)
{
  for (;;) {
    size_t length = strcspn(path, "/");

    if (length == 0 || (length == 1 && *path == '.'))
      return false;
    if (!path[length])
      return true;
    path += length + 1;
  }
}

/* Split "[GROUP/][FIELD]=FILE"; without "=" all is the file. *field is new, and "" where none is given. */
static bool split_argument(input *in, char **field, const char **path)
{
  const char *equals = strchr(in->argument, '=');
  const char *begin = in->argument + strspn(in->argument, "/");

  if (!equals)
    begin = equals = in->argument;
  *path = *equals == '=' ? equals + 1 : equals;

  const char *slash = equals;
  while (slash > begin && slash[-1] != '/')
    slash--;
  in->group = strndup(begin, slash > begin ? (size_t)(slash - begin) - 1 : 0);
  *field = strndup(slash, (size_t)(equals - slash));
  if (!in->group || !*field) {
    tool_error("out of memory");
    return false;
  }
  if ((*in->group && !valid_path(in->group)) || (**field && !valid_path(*field))) {
    tool_error("'%s': the part before '=' is not [GROUP/]FIELD (a CSV file with '=' in its name is given as '=FILE')",
               in->argument);
    return false;
  }
  return true;
}

/* The part before "=", without the slashes before it. */
static size_t place(const char *argument, const char **begin)
{
  const char *equals = strchr(argument, '=');

  *begin = argument + strspn(argument, "/");
  return equals && equals > *begin ? (size_t)(equals - *begin) : 0;
}

bool input_same_place(const char *a, const char *b)
{
  size_t length_a = place(a, &a), length_b = place(b, &b);

  return length_a == length_b && strncmp(a, b, length_a) == 0;
}

bool input_set_field(input *in, int field, const char *name, hid_t type)
{
  input_field *f = &in->fields[field];
  size_t bytes = H5Tget_size(type);

  f->type = type;
  f->name = strdup(name);
  for (int d = 0; d < f->ndim; d++) {
    if (f->shape[d] == 0) {
      tool_error("'%s': a sample has no elements", stream_path(in->stream));
      return false;
    }
    bytes = f->shape[d] > MAX_ROW_BYTES / bytes ? MAX_ROW_BYTES + (size_t)1 : bytes * f->shape[d];
    if (bytes > MAX_ROW_BYTES) {
      tool_error("'%s': a sample has more than 1 GiB; is the header damaged?", stream_path(in->stream));
      return false;
    }
  }
  f->row_bytes = bytes;
  if (!f->name)
    tool_error("out of memory");
  return f->name != NULL;
}

static bool read_array(input *in, int64_t n, void *const *dst)
{
  size_t row_bytes = in->fields[0].row_bytes;
  ptrdiff_t got = stream_read(in->stream, dst[0], (size_t)n * row_bytes);
  char beyond;

  if (got < 0)
    return false;
  if ((size_t)got < (size_t)n * row_bytes) {
    tool_error("'%s' is truncated: its header promises %" PRId64 " rows, but it ends within row %" PRId64,
               stream_path(in->stream), in->rows, in->row + (int64_t)((size_t)got / row_bytes) + 1);
    return false;
  }
  in->row += n;
  if (in->row == in->rows && stream_read(in->stream, &beyond, 1) != 0) {
    tool_error("'%s' holds more bytes than the %" PRId64 " rows that its header promises", stream_path(in->stream),
               in->rows);
    return false;
  }
  return true;
}

bool input_set_array(input *in, hid_t type, int ndim, const uint64_t *dims)
{
  input_field *f = &in->fields[0];
  const char *path = stream_path(in->stream);

  f->type = type;
  if (ndim < 1 || ndim - 1 > MPISIFT_MAX_DIMS) {
    tool_error("'%s' has %d dimensions; 1 (samples) to %d are supported", path, ndim, MPISIFT_MAX_DIMS + 1);
    return false;
  }
  if (dims[0] == 0 || dims[0] > INT64_MAX) {
    tool_error("'%s' has %s rows", path, dims[0] ? "too many" : "no");
    return false;
  }
  in->rows = (int64_t)dims[0];
  f->ndim = ndim - 1;
  for (int d = 0; d < f->ndim; d++)
    f->shape[d] = dims[d + 1];
  in->read = read_array;
  return true;
}

/* Open a file of one field by its first bytes: 1, 0 if it is neither IDX nor NumPy, -1 after an error. */
static int open_array(input *in)
{
  unsigned char magic[6] = {0};

  if (stream_read(in->stream, magic, sizeof magic) < 0 || !stream_rewind(in->stream))
    return -1;
  if (npy_recognise(magic))
    return npy_open(in) ? 1 : -1;
  if (idx_recognise(magic))
    return idx_open(in) ? 1 : -1;
  return 0;
}

static bool open_format(input *in, const char *field, const input_csv_options *csv)
{
  const char *path = stream_path(in->stream);
  int array = open_array(in);

  if (array < 0)
    return false;
  if (array && !*field) {
    tool_error("'%s' holds one field, whose name is needed: write FIELD=%s, for example x=%s", path, path, path);
    return false;
  }
  if (!array && *field) {
    tool_error("'%s' is neither an IDX nor a NumPy file; a CSV file is given without a field name, as "
               "'%s' or 'GROUP/=%s'",
               path, path, path);
    return false;
  }
  return array ? input_set_field(in, 0, field, in->fields[0].type) : csv_open(in, csv);
}

bool input_open(input *in, const char *argument, const input_csv_options *csv)
{
  char *field = NULL;
  const char *path = NULL;

  *in = (input){.argument = argument, .fields = {{.type = -1}, {.type = -1}}};
  bool ok = split_argument(in, &field, &path);
  if (ok) {
    in->stream = stream_open(path);
    ok = in->stream && open_format(in, field, csv);
  }
  in->n_fields = in->fields[1].name ? 2 : 1;
  free(field);
  return ok;
}

void input_close(input *in)
{
  if (in->close)
    in->close(in);
  for (int f = 0; f < INPUT_MAX_FIELDS; f++) {
    if (in->fields[f].type > 0)
      H5Tclose(in->fields[f].type);
    free(in->fields[f].name);
  }
  stream_close(in->stream);
  free(in->group);
  *in = (input){0};
}
