#include "tools/csv.h"

#include "tools/h5.h"
#include "tools/tool.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct csv {
  stream *stream;
  char delimiter;
  bool header;  /* the first line holds names */
  int64_t line; /* number of the current line, from 1 */
  int columns;
  int label;    /* index of the label's column */
  char **names; /* [columns]; NULL without header */
  char **cells; /* [columns] of the current line */
  int cell_capacity;
  bool small_labels; /* all fit uint8 */
  float *row;        /* [columns - 1] */
} csv;

static bool add_cell(csv *c, int n, char *cell)
{
  if (n == c->cell_capacity) {
    int capacity = 2 * n + 16;
    char **cells = realloc(c->cells, (size_t)capacity * sizeof *cells);

    if (!cells) {
      tool_error("out of memory");
      return false;
    }
    c->cells = cells;
    c->cell_capacity = capacity;
  }
  c->cells[n] = cell;
  return true;
}

/* Take the cell at `text` out of its quotes, in place. Returns what follows the cell, or NULL for a bad quote. */
static char *unquote(char *text)
{
  char *to = text;

  for (char *from = text + 1; *from; from++) {
    if (*from == '"' && *++from != '"') {
      *to = '\0';
      return from;
    }
    *to++ = *from;
  }
  return NULL;
}

/* Cut a line into c->cells. Returns their number, or -1. */
static int split_line(csv *c, char *text)
{
  int n = 0;

  for (;;) {
    char *end, *cell = text;

    if (*cell == '"') {
      end = unquote(cell);
      if (!end || (*end && *end != c->delimiter)) {
        tool_error("'%s' line %" PRId64 ", column %d: a quote is not closed or not at the cell's end",
                   stream_path(c->stream), c->line, n + 1);
        return -1;
      }
    } else {
      end = strchr(cell, c->delimiter);
      end = end ? end : cell + strlen(cell);
    }
    if (!add_cell(c, n++, cell))
      return -1;
    if (!*end)
      return n;
    /* An unquoted cell ends with its delimiter's place; a quoted one has its NUL already. */
    *end = '\0';
    text = end + 1;
  }
}

/* The next line that is not blank: its length, 0 at the end of the file, or -1. Blank lines may stand at the end only.
 */
static ptrdiff_t next_line(csv *c, char **text)
{
  int64_t blank = 0;
  size_t length = 0;
  int more;

  while ((more = stream_line(c->stream, text, &length)) > 0) {
    c->line++;
    if (length > 0)
      break;
    blank = blank ? blank : c->line;
  }
  if (more <= 0)
    return more;
  if (blank) {
    tool_error("'%s' line %" PRId64 " is empty, but data follow in line %" PRId64, stream_path(c->stream), blank,
               c->line);
    return -1;
  }
  if (strlen(*text) != length) {
    tool_error("'%s' line %" PRId64 " holds a NUL byte; is it a text file?", stream_path(c->stream), c->line);
    return -1;
  }
  if (c->line == 1 && strncmp(*text, "\xef\xbb\xbf", 3) == 0)
    *text += 3;
  return (ptrdiff_t)length;
}

static void cell_error(const csv *c, int column, const char *what)
{
  const char *name = c->names ? c->names[column] : "";

  tool_error("'%s' line %" PRId64 ", column %d%s%s%s: '%.60s' %s", stream_path(c->stream), c->line, column + 1,
             *name ? " (" : "", name, *name ? ")" : "", c->cells[column], what);
}

/* strtod() also takes infinities, NaN and hexadecimal numbers, which are more likely mistakes here. */
static bool parse_number(const csv *c, int column, double *value)
{
  const char *cell = c->cells[column] + strspn(c->cells[column], " \t");
  size_t digits = strspn(cell, "0123456789+-.eE");
  char *end;

  if (!*cell) {
    cell_error(c, column, "is a missing value; fill it in or remove the row");
    return false;
  }
  *value = strtod(cell, &end);
  if (digits == 0 || end != cell + digits || end[strspn(end, " \t")]) {
    cell_error(c, column, "is not a number");
    return false;
  }
  return true;
}

static bool parse_label(const csv *c, int32_t *label)
{
  double value;

  if (!parse_number(c, c->label, &value))
    return false;
  if (value != floor(value) || value < INT32_MIN || value > INT32_MAX) {
    cell_error(c, c->label, "is not a 32-bit integer, which a label must be; --label names the label's column");
    return false;
  }
  *label = (int32_t)value;
  return true;
}

static bool parse_features(const csv *c, float *x)
{
  for (int column = 0; column < c->columns; column++) {
    double value;

    if (column == c->label)
      continue;
    if (!parse_number(c, column, &value))
      return false;
    *x = (float)value;
    if (isinf(*x++)) {
      cell_error(c, column, "is outside the range of float32");
      return false;
    }
  }
  return true;
}

/* Returns 1 for a row, 0 at the end of the file, or -1. */
static int next_row(csv *c, float *x, int32_t *label)
{
  char *text;
  ptrdiff_t length = next_line(c, &text);

  if (length <= 0)
    return (int)length;
  int n = split_line(c, text);
  if (n < 0)
    return -1;
  if (n != c->columns) {
    tool_error("'%s' line %" PRId64 " has %d columns, but line 1 has %d", stream_path(c->stream), c->line, n,
               c->columns);
    return -1;
  }
  return parse_label(c, label) && parse_features(c, x) ? 1 : -1;
}

static bool is_numeric(const char *cell)
{
  char *end;

  strtod(cell, &end);
  return !end[strspn(end, " \t")];
}

static bool copy_names(csv *c)
{
  c->names = calloc((size_t)c->columns, sizeof *c->names);
  for (int i = 0; c->names && i < c->columns; i++) {
    c->names[i] = strdup(c->cells[i]);
    if (!c->names[i])
      break;
  }
  if (c->names && c->names[c->columns - 1])
    return true;
  tool_error("out of memory");
  return false;
}

/* Learn the columns, and their names if there are any, from the first line. */
static bool read_first_line(csv *c, enum input_header header)
{
  char *text;
  ptrdiff_t length = next_line(c, &text);

  if (length == 0)
    tool_error("'%s' is empty", stream_path(c->stream));
  c->columns = length > 0 ? split_line(c, text) : -1;
  if (c->columns < 0)
    return false;
  if (c->columns == 1) {
    tool_error("'%s' has one column only, but a label and another are needed; is '%c' its delimiter? (--delimiter)",
               stream_path(c->stream), c->delimiter);
    return false;
  }
  c->header = header == INPUT_HEADER_YES;
  for (int i = 0; header == INPUT_HEADER_AUTO && i < c->columns; i++)
    c->header |= !is_numeric(c->cells[i]);
  return !c->header || copy_names(c);
}

static bool find_label(csv *c, const char *label)
{
  int64_t number;

  c->label = c->columns - 1;
  if (!label)
    return true;
  for (int i = 0; c->names && i < c->columns; i++) {
    if (strcmp(label, c->names[i]) == 0) {
      c->label = i;
      return true;
    }
  }
  if (!tool_parse_int(label, 1, c->columns, &number)) {
    tool_error("'%s' has no column '%s' for --label: give a name from its header or a number from 1 to %d%s",
               stream_path(c->stream), label, c->columns, c->names ? "" : " (it has no header)");
    return false;
  }
  c->label = (int)number - 1;
  return true;
}

/* Go to the first row. */
static bool rewind_rows(csv *c)
{
  char *text;

  if (!stream_rewind(c->stream))
    return false;
  c->line = 0;
  return !c->header || next_line(c, &text) >= 0;
}

/* The first pass: check every cell, count the rows, and see whether the labels fit a byte. */
static bool scan(csv *c, int64_t *rows)
{
  int32_t label;
  int more;

  c->small_labels = true;
  *rows = 0;
  if (!rewind_rows(c))
    return false;
  while ((more = next_row(c, c->row, &label)) > 0) {
    c->small_labels &= label >= 0 && label <= UINT8_MAX;
    ++*rows;
  }
  if (more == 0 && *rows == 0)
    tool_error("'%s' has a header but no rows", stream_path(c->stream));
  return more == 0 && *rows > 0 && rewind_rows(c);
}

static bool changed(const csv *c)
{
  tool_error("'%s' changed while it was read", stream_path(c->stream));
  return false;
}

static bool csv_read(input *in, int64_t n, void *const *dst)
{
  csv *c = in->state;
  size_t features = (size_t)c->columns - 1;
  float *x = dst[0];
  int32_t label;

  for (int64_t i = 0; i < n; i++, x += features) {
    int more = next_row(c, x, &label);

    if (more < 0)
      return false;
    if (more == 0 || (c->small_labels && (label < 0 || label > UINT8_MAX)))
      return changed(c);
    if (c->small_labels)
      ((uint8_t *)dst[1])[i] = (uint8_t)label;
    else
      ((int32_t *)dst[1])[i] = label;
  }
  in->row += n;
  if (in->row == in->rows && next_row(c, c->row, &label) != 0)
    return changed(c);
  return true;
}

static void csv_close(input *in)
{
  csv *c = in->state;

  for (int i = 0; c->names && i < c->columns; i++)
    free(c->names[i]);
  free(c->names);
  free(c->cells);
  free(c->row);
  free(c);
}

/* Labels of four bytes, as those of another file need them. */
static bool csv_widen(input *in, hid_t type)
{
  csv *c = in->state;
  input_field *y = &in->fields[1];

  c->small_labels = false;
  H5Tclose(y->type);
  y->type = H5Tcopy(type);
  y->row_bytes = H5Tget_size(type);
  return y->type >= 0;
}

static bool set_fields(input *in, const csv *c)
{
  in->fields[0].ndim = 1;
  in->fields[0].shape[0] = (hsize_t)c->columns - 1;
  in->fields[1].ndim = 0;
  return input_set_field(in, 0, "x", H5Tcopy(H5T_NATIVE_FLOAT)) &&
         input_set_field(in, 1, "y", H5Tcopy(c->small_labels ? H5T_NATIVE_UINT8 : H5T_NATIVE_INT32));
}

bool csv_open(input *in, const input_csv_options *options)
{
  csv *c = calloc(1, sizeof *c);

  if (!c) {
    tool_error("out of memory");
    return false;
  }
  in->state = c;
  in->close = csv_close;
  in->read = csv_read;
  in->widen = csv_widen;
  c->stream = in->stream;
  c->delimiter = options->delimiter;
  if (!read_first_line(c, options->header) || !find_label(c, options->label))
    return false;
  c->row = malloc((size_t)c->columns * sizeof *c->row);
  if (!c->row) {
    tool_error("out of memory");
    return false;
  }
  in->n_columns = c->names ? c->columns : 0;
  in->columns = c->names;
  return scan(c, &in->rows) && set_fields(in, c);
}
