#include "tools/transfer.h"

#include "tools/tool.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 1 << 20, COUNT_ROWS = 1 << 16 };

const char *const part_names[N_PARTS] = {"train", "test", "holdout"};

static void *allocate(size_t n, size_t bytes)
{
  void *memory = calloc(n, bytes);

  if (!memory)
    tool_error("out of memory");
  return memory;
}

/* The labels of a group, read beside its other fields. */
typedef struct label_reader {
  series from; /* n = 0: the rows at hand hold them */
  int field, n_fields;
  void *rows[INPUT_MAX_FIELDS];
  int64_t *values;
} label_reader;

static bool check_labels(const label_reader *r)
{
  const input_field *y = r->field < 0 ? NULL : &r->from.fields[r->field];

  if (y && y->ndim == 0 && H5Tget_class(y->type) == H5T_INTEGER)
    return true;
  tool_error("'%s': labels are one integer a row; --imbalance and --label-noise need them as field y",
             r->from.argument);
  return false;
}

static bool open_labels(label_reader *r, const label_source *labels, int64_t block)
{
  if (!series_open(&r->from, labels->n, labels->arguments, labels->csv))
    return false;
  r->n_fields = r->from.n_fields;
  r->field = series_field(&r->from, "y");
  for (int f = 0; f < r->n_fields; f++) {
    r->rows[f] = allocate((size_t)block, r->from.fields[f].row_bytes);
    if (!r->rows[f])
      return false;
  }
  return check_labels(r);
}

static void close_labels(label_reader *r)
{
  for (int f = 0; f < r->n_fields; f++)
    free(r->rows[f]);
  free(r->values);
  series_close(&r->from);
}

/* The labels among n rows as integers. */
static bool convert_labels(label_reader *r, const input_field *y, int64_t n, const void *rows)
{
  memcpy(r->values, rows, (size_t)n * y->row_bytes);
  if (H5Tconvert(y->type, H5T_NATIVE_INT64, (size_t)n, r->values, NULL, H5P_DEFAULT) >= 0)
    return true;
  tool_error("labels cannot be converted to integers");
  return false;
}

static bool read_labels(label_reader *r, int64_t n)
{
  return series_read(&r->from, n, r->rows) && convert_labels(r, &r->from.fields[r->field], n, r->rows[r->field]);
}

static bool count_all(choice_plan *plan, label_reader *r)
{
  choice counting;
  bool ok = choice_begin(&counting, plan);

  while (ok && r->from.row < r->from.rows) {
    int64_t left = r->from.rows - r->from.row, n = left < COUNT_ROWS ? left : COUNT_ROWS;

    ok = read_labels(r, n);
    for (int64_t i = 0; i < n && ok; i++)
      ok = choice_count(plan, &counting, r->values[i]);
  }
  choice_end(&counting);
  return ok;
}

bool transfer_count(choice_plan *plan, const label_source *labels)
{
  label_reader r = {.values = allocate(COUNT_ROWS, sizeof *r.values)};
  bool ok = r.values && open_labels(&r, labels, COUNT_ROWS);

  if (ok && r.from.rows != plan->rows) {
    tool_error("'%s' changed while it was read", r.from.argument);
    ok = false;
  }
  ok = ok && count_all(plan, &r);
  close_labels(&r);
  return ok;
}

/* fields[p][f] of part p; without a split, of the group of the series at p = 0. */
typedef struct transfer {
  series *from;
  choice choice;
  bool needs_labels;
  label_reader labels;
  int label_field; /* of `from`, or -1 */
  int64_t block;   /* rows read at once */
  void *rows[INPUT_MAX_FIELDS];
  writer_field *fields[N_PARTS][INPUT_MAX_FIELDS];
} transfer;

static bool append_row(transfer *t, int64_t i, const fate *to)
{
  int64_t label = to->label;

  if (to->is_relabelled && t->label_field >= 0 &&
      H5Tconvert(H5T_NATIVE_INT64, t->from->fields[t->label_field].type, 1, &label, NULL, H5P_DEFAULT) < 0) {
    tool_error("labels cannot be converted from integers");
    return false;
  }
  for (int64_t k = 0; k < to->times; k++) {
    for (int f = 0; f < t->from->n_fields; f++) {
      const unsigned char *rows = t->rows[f];
      const void *row = to->is_relabelled && f == t->label_field
                            ? (const void *)&label
                            : (const void *)(rows + (size_t)i * t->from->fields[f].row_bytes);
      if (!writer_append(t->fields[to->part][f], row))
        return false;
    }
  }
  return true;
}

static bool labels_of_block(transfer *t, int64_t n)
{
  if (!t->needs_labels)
    return true;
  if (t->label_field >= 0)
    return convert_labels(&t->labels, &t->from->fields[t->label_field], n, t->rows[t->label_field]);
  return read_labels(&t->labels, n);
}

static bool copy_block(transfer *t, int64_t n)
{
  if (!series_read(t->from, n, t->rows) || !labels_of_block(t, n))
    return false;
  for (int64_t i = 0; i < n; i++) {
    fate to;

    if (!choice_next(&t->choice, t->needs_labels ? t->labels.values[i] : 0, &to) || !append_row(t, i, &to))
      return false;
  }
  return true;
}

static bool copy_all(transfer *t)
{
  bool ok = true;

  while (ok && t->from->row < t->from->rows) {
    int64_t left = t->from->rows - t->from->row;

    ok = copy_block(t, left < t->block ? left : t->block);
  }
  return ok;
}

static bool create_fields(transfer *t, writer *w, const writer_options *storage, int f)
{
  const choice_plan *plan = t->choice.plan;
  bool is_split = plan->options.wanted[PART_TEST] + plan->options.wanted[PART_HOLDOUT] > 0;

  for (int p = 0; p < N_PARTS; p++) {
    int64_t rows = choice_rows(plan, p);

    if (rows == 0)
      continue;
    t->fields[p][f] =
        writer_field_create(w, is_split ? part_names[p] : t->from->group, &t->from->fields[f], rows, storage);
    if (!t->fields[p][f])
      return false;
  }
  return true;
}

static bool open_transfer(transfer *t, const label_source *labels, writer *w, const writer_options *storage)
{
  size_t row_bytes = 0;

  for (int f = 0; f < t->from->n_fields; f++)
    row_bytes += t->from->fields[f].row_bytes;
  t->block = row_bytes < BLOCK_BYTES ? (int64_t)(BLOCK_BYTES / row_bytes) : 1;
  for (int f = 0; f < t->from->n_fields; f++) {
    t->rows[f] = allocate((size_t)t->block, t->from->fields[f].row_bytes);
    if (!t->rows[f] || !create_fields(t, w, storage, f))
      return false;
  }
  if (!t->needs_labels)
    return true;
  t->labels.values = allocate((size_t)t->block, sizeof *t->labels.values);
  return t->labels.values && (t->label_field >= 0 || open_labels(&t->labels, labels, t->block));
}

bool transfer_copy(series *from, const choice_plan *plan, const label_source *labels, writer *w,
                   const writer_options *storage)
{
  transfer t = {.from = from, .needs_labels = labels->n > 0, .label_field = series_field(from, "y")};
  bool ok = choice_begin(&t.choice, plan) && open_transfer(&t, labels, w, storage) && copy_all(&t);

  for (int f = 0; f < from->n_fields; f++) {
    for (int p = 0; p < N_PARTS; p++)
      ok = writer_field_close(t.fields[p][f], ok) && ok;
    free(t.rows[f]);
  }
  close_labels(&t.labels);
  choice_end(&t.choice);
  return ok;
}
