#include "tools/npy.h"

#include "tools/h5.h"
#include "tools/tool.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HEADER_BYTES = 65535, MAX_DIMS = 32 };

bool npy_recognise(const unsigned char magic[6])
{
  return memcmp(magic, "\x93NUMPY", 6) == 0;
}

/* The header's text, new; NULL after an error. */
static char *read_header(input *in)
{
  unsigned char head[12] = {0};
  const char *path = stream_path(in->stream);

  if (stream_read(in->stream, head, 8) < 0)
    return NULL;
  size_t length_bytes = head[6] == 1 ? 2 : 4;
  if (head[6] != 1 && head[6] != 2) {
    tool_error("'%s': version %d of the NumPy format is not supported; save it as version 1 or 2", path, head[6]);
    return NULL;
  }
  if (stream_read(in->stream, head + 8, length_bytes) < 0)
    return NULL;
  size_t length = (size_t)head[8] | (size_t)head[9] << 8 | (size_t)head[10] << 16 | (size_t)head[11] << 24;
  char *text = length > MAX_HEADER_BYTES ? NULL : calloc(length + 1, 1);
  ptrdiff_t got = text ? stream_read(in->stream, text, length) : 0;
  if (text && got == (ptrdiff_t)length)
    return text;
  if (got >= 0)
    tool_error("'%s': its NumPy header is %s", path, text ? "truncated" : "too long");
  free(text);
  return NULL;
}

/* The value of a key of the header's dictionary, or NULL. */
static const char *find_value(const char *header, const char *key)
{
  char quoted[32];

  snprintf(quoted, sizeof quoted, "'%s'", key);
  const char *value = strstr(header, quoted);
  if (!value)
    return NULL;
  value += strlen(quoted);
  value += strspn(value, " ");
  return *value == ':' ? value + 1 + strspn(value + 1, " ") : NULL;
}

/* A type such as '<f4', '>i2' or '|u1'. */
static hid_t parse_type(const char *value)
{
  char order, kind;
  int bytes, end = 0;

  if (sscanf(value, "'%c%c%1d'%n", &order, &kind, &bytes, &end) != 3 || end == 0 || !strchr("<>|", order))
    return -1;
  return h5_type(kind, (size_t)bytes, order == '>');
}

/* A tuple such as (60000, 28, 28) or (60000,): the number of dimensions, or -1. */
static int parse_shape(const char *value, uint64_t dims[MAX_DIMS])
{
  int ndim = 0;

  if (*value++ != '(')
    return -1;
  while (value += strspn(value, " "), *value != ')') {
    char *end;

    errno = 0;
    if (ndim == MAX_DIMS || !isdigit((unsigned char)*value))
      return -1;
    dims[ndim++] = strtoull(value, &end, 10);
    value = end + strspn(end, " ");
    if (errno || (*value != ',' && *value != ')'))
      return -1;
    value += *value == ',';
  }
  return ndim;
}

static bool parse_header(input *in, const char *header)
{
  const char *path = stream_path(in->stream);
  const char *descr = find_value(header, "descr"), *order = find_value(header, "fortran_order");
  const char *shape = find_value(header, "shape");
  uint64_t dims[MAX_DIMS];

  int ndim = shape ? parse_shape(shape, dims) : -1;
  if (!descr || !order || ndim < 0) {
    tool_error("'%s': its NumPy header cannot be understood", path);
    return false;
  }
  if (strncmp(order, "False", 5) != 0) {
    tool_error("'%s' is stored in Fortran order; save numpy.ascontiguousarray(a) instead", path);
    return false;
  }
  hid_t type = parse_type(descr);
  if (type < 0) {
    tool_error("'%s': element type %.*s is not supported; convert it to an integer or float type with a.astype()", path,
               (int)strcspn(descr, ","), descr);
    return false;
  }
  return input_set_array(in, type, ndim, dims);
}

bool npy_open(input *in)
{
  char *header = read_header(in);
  bool ok = header && parse_header(in, header);

  free(header);
  return ok;
}
