#include "tools/series.h"

#include "tools/tool.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool same_shape(const input_field *a, const input_field *b)
{
  return a->ndim == b->ndim && memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof a->shape[0]) == 0;
}

static bool differ(const input *a, const input *b, const char *what)
{
  tool_error("'%s' and '%s' are rows of the same fields, but %s", a->argument, b->argument, what);
  return false;
}

/* Columns of one name in another place would mix without a word. */
static bool same_columns(const input *a, const input *b)
{
  for (int i = 0; i < a->n_columns && b->n_columns > 0; i++) {
    if (strcmp(a->columns[i], b->columns[i]) != 0)
      return false;
  }
  return true;
}

static bool check_part(const input *first, const input *in)
{
  if (first->n_fields != in->n_fields)
    return differ(first, in, "not both are CSV files");
  for (int f = 0; f < first->n_fields; f++) {
    if (!same_shape(&first->fields[f], &in->fields[f]))
      return differ(first, in, "their numbers of columns or shapes differ");
    if (!in->widen && H5Tequal(first->fields[f].type, in->fields[f].type) <= 0)
      return differ(first, in, "their types differ");
  }
  return same_columns(first, in) || differ(first, in, "their columns have different names");
}

/* If one part needs a larger type for its last field, all get it. */
static bool widen(series *s)
{
  int last = s->parts[0].n_fields - 1;
  const input *widest = &s->parts[0];
  bool ok = true;

  for (int i = 1; i < s->n; i++) {
    if (s->parts[i].fields[last].row_bytes > widest->fields[last].row_bytes)
      widest = &s->parts[i];
  }
  for (int i = 0; i < s->n && ok; i++) {
    input *in = &s->parts[i];

    if (in->fields[last].row_bytes < widest->fields[last].row_bytes)
      ok = in->widen(in, widest->fields[last].type);
  }
  return ok;
}

static bool open_part(series *s, int i, const char *argument, const input_csv_options *csv)
{
  input *in = &s->parts[i];

  if (!input_open(in, argument, csv) || (i > 0 && !check_part(&s->parts[0], in)))
    return false;
  if (__builtin_add_overflow(s->rows, in->rows, &s->rows) || s->rows > INT64_MAX / 4) {
    tool_error("'%s': there are too many rows", argument);
    return false;
  }
  if (s->n > 1)
    stream_rest(in->stream);
  return true;
}

bool series_open(series *s, int n, char *const *arguments, const input_csv_options *csv)
{
  *s = (series){.n = n, .parts = calloc((size_t)n, sizeof *s->parts), .argument = arguments[0], .arguments = arguments};
  if (!s->parts) {
    tool_error("out of memory");
    return false;
  }
  for (int i = 0; i < n; i++) {
    if (!open_part(s, i, arguments[i], csv))
      return false;
  }
  s->n_fields = s->parts[0].n_fields;
  s->fields = s->parts[0].fields;
  s->group = s->parts[0].group;
  return widen(s);
}

void series_close(series *s)
{
  for (int i = 0; i < s->n && s->parts; i++)
    input_close(&s->parts[i]);
  free(s->parts);
  *s = (series){0};
}

static bool read_part(series *s, int64_t n, void *const *dst)
{
  input *in = &s->parts[s->at];

  if (!in->read(in, n, dst))
    return false;
  s->row += n;
  if (in->row == in->rows) {
    stream_rest(in->stream);
    s->at++;
  }
  return true;
}

bool series_read(series *s, int64_t n, void *const *dst)
{
  void *to[INPUT_MAX_FIELDS];

  memcpy(to, dst, (size_t)s->n_fields * sizeof *to);
  while (n > 0) {
    const input *in = &s->parts[s->at];
    int64_t left = in->rows - in->row, piece = n < left ? n : left;

    if (!read_part(s, piece, to))
      return false;
    for (int f = 0; f < s->n_fields; f++)
      to[f] = (char *)to[f] + (size_t)piece * s->fields[f].row_bytes;
    n -= piece;
  }
  return true;
}

int series_field(const series *s, const char *name)
{
  for (int f = 0; f < s->n_fields; f++) {
    if (strcmp(s->fields[f].name, name) == 0)
      return f;
  }
  return -1;
}
