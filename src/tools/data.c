#include "tools/data.h"

#include <Random123/philox.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/h5.h"
#include "tools/tool.h"

enum { MAX_CLASSES = 65536 };

static double half_to_double(uint16_t bits)
{
  int exponent = (bits >> 10) & 31;
  double fraction = bits & 1023;
  double value = exponent == 0    ? ldexp(fraction, -24)
                 : exponent == 31 ? (fraction > 0 ? NAN : INFINITY)
                                  : ldexp(1024 + fraction, exponent - 25);
  return bits & 0x8000 ? -value : value;
}

static double bfloat_to_double(uint16_t bits)
{
  uint32_t wide = (uint32_t)bits << 16;
  float value;
  memcpy(&value, &wide, sizeof value);
  return (double)value;
}

/* Cases of a switch over mpisift_type: convert n elements of type T by CONVERT. */
#define CASE(TYPE, T, CONVERT)                                                                                         \
  case TYPE:                                                                                                           \
    for (int64_t i = 0; i < n; i++)                                                                                    \
      out[i] = CONVERT(((const T *)values)[first + i]);                                                                \
    break

static void to_doubles(mpisift_type type, const void *values, int64_t first, int64_t n, double *out)
{
  switch (type) {
    CASE(MPISIFT_F32, float, (double));
    CASE(MPISIFT_F64, double, (double));
    CASE(MPISIFT_F16, uint16_t, half_to_double);
    CASE(MPISIFT_BF16, uint16_t, bfloat_to_double);
    CASE(MPISIFT_U8, uint8_t, (double));
    CASE(MPISIFT_I8, int8_t, (double));
    CASE(MPISIFT_U16, uint16_t, (double));
    CASE(MPISIFT_I16, int16_t, (double));
    CASE(MPISIFT_U32, uint32_t, (double));
    CASE(MPISIFT_I32, int32_t, (double));
    CASE(MPISIFT_U64, uint64_t, (double));
    CASE(MPISIFT_I64, int64_t, (double));
  }
}

bool data_load(data_set *data, const mpisift_field *fields, int64_t n, void *const *rows)
{
  int features = data->features;
  for (int64_t r = 0; r < n; r++) {
    to_doubles(fields[DATA_X].type, rows[DATA_X], r * features, features, data->row);
    float *x = data->x + r * features;
    for (int c = 0; c < features; c++)
      x[c] = (float)((data->row[c] - data->mean[c]) * data->scale[c]);
  }
  for (int64_t r = 0; r < n; r++) {
    double label;
    to_doubles(fields[DATA_Y].type, rows[DATA_Y], r, 1, &label);
    if (!(label >= 0 && label < data->classes))
      return false;
    data->labels[r] = (int32_t)label;
  }
  return true;
}

int64_t data_slice(int64_t n, int rank, int ranks)
{
  return n / ranks * rank + n % ranks * rank / ranks;
}

bool data_visit(data_set *data, const mpisift_source *source, data_visit_fn visit, void *user)
{
  int64_t ids[DATA_PIECE];
  int64_t first = data_slice(source->n, data->rank, data->ranks);
  int64_t end = data_slice(source->n, data->rank + 1, data->ranks);
  while (first < end) {
    int64_t n = end - first < DATA_PIECE ? end - first : DATA_PIECE;
    for (int64_t i = 0; i < n; i++)
      ids[i] = first + i;
    if (source->read(source->user, n, ids, data->raw) != 0)
      return false;
    visit(data, source, first, n, user);
    first += n;
  }
  return true;
}

int data_read_failed(data_set *data)
{
  return progress_fail(data->progress, "%s: a rank could not read samples; is the file damaged? %s", data->place->file,
                       mpisift_error(data->ctx));
}

static int out_of_memory(data_set *data)
{
  return progress_fail(data->progress, "out of memory for the data of %s", data->place->file);
}

typedef struct named_group {
  const char *name;
  mpisift_source *source;
} named_group;

/* The groups in use, the training group first. Returns their number. */
static int list_groups(data_set *data, named_group groups[DATA_GROUPS])
{
  const data_place *place = data->place;
  groups[0] = (named_group){place->train_group, &data->train};
  groups[1] = (named_group){place->test_group, &data->test};
  groups[2] = (named_group){place->loss_group, &data->losses_of};
  return place->loss_group ? 3 : 2;
}

/* What one pass over a group finds. */
typedef struct scan {
  double least, largest; /* label */
  double *first;         /* [features]; origin of the sums, which keeps them small */
  double *sum, *square;  /* [features]; NULL: labels only */
  bool bad_reference;    /* one is not finite */
} scan;

static void note_reference(const mpisift_source *source, const void *rows, int64_t r, scan *found)
{
  double loss;
  to_doubles(source->fields[DATA_REFERENCE].type, rows, r, 1, &loss);
  found->bad_reference |= !isfinite(loss);
}

static void scan_rows(data_set *data, const mpisift_source *source, int64_t first, int64_t n, void *user)
{
  (void)first;
  scan *found = user;
  for (int64_t r = 0; r < n; r++) {
    double label;
    to_doubles(source->fields[DATA_Y].type, data->raw[DATA_Y], r, 1, &label);
    found->least = fmin(found->least, label);
    found->largest = fmax(found->largest, label);
    if (source->n_fields > DATA_REFERENCE)
      note_reference(source, data->raw[DATA_REFERENCE], r, found);
    if (!found->sum)
      continue;
    to_doubles(source->fields[DATA_X].type, data->raw[DATA_X], r * data->features, data->features, data->row);
    for (int c = 0; c < data->features; c++) {
      double value = data->row[c] - found->first[c];
      found->sum[c] += value;
      found->square[c] += value * value;
    }
  }
}

/* Scan a group on all ranks: afterwards `found` holds for all of it what the slices gave. */
static int scan_group(data_set *data, const char *group, const mpisift_source *source, scan *found)
{
  found->least = INFINITY;
  found->largest = -INFINITY;
  double extremes[4] = {0};
  extremes[0] = data_visit(data, source, scan_rows, found) ? 0 : 1;
  extremes[1] = -found->least;
  extremes[2] = found->largest;
  extremes[3] = found->bad_reference;
  MPI_Allreduce(MPI_IN_PLACE, extremes, 4, MPI_DOUBLE, MPI_MAX, data->comm);
  if (extremes[0] > 0)
    return data_read_failed(data);
  found->least = -extremes[1];
  found->largest = extremes[2];
  if (found->least < 0 || found->largest >= MAX_CLASSES)
    return progress_fail(data->progress,
                         "%s: field %s of %s holds the label %.0f; labels are 0 to classes - 1, below %d",
                         data->place->file, data->place->fields[DATA_Y], group,
                         found->least < 0 ? found->least : found->largest, MAX_CLASSES);
  if (extremes[3] > 0)
    return progress_fail(data->progress, "%s: field %s of %s holds NaN or infinite values; reference losses are finite",
                         data->place->file, data->place->fields[DATA_REFERENCE], group);
  return TOOL_OK;
}

static int set_scale(data_set *data, const scan *found)
{
  double n = (double)data->train.n;
  for (int c = 0; c < data->features; c++) {
    double mean = found->sum[c] / n;
    double variance = found->square[c] / n - mean * mean;
    if (!isfinite(variance))
      return progress_fail(data->progress, "%s: column %d of field %s of %s holds NaN or infinite values; remove them",
                           data->place->file, c, data->place->fields[DATA_X], data->place->train_group);
    data->mean[c] = found->first[c] + mean;
    /* What rounding leaves of a constant column's variance is not a scale. */
    data->scale[c] = variance > DBL_EPSILON * found->square[c] / n ? 1 / sqrt(variance) : 0;
  }
  return TOOL_OK;
}

/* Sum all over the ranks and derive the standardisation; sums is [3][features]. */
static int standardise(data_set *data, double *sums, scan *found)
{
  int64_t id = 0;
  int failed = data->train.read(data->train.user, 1, &id, data->raw) != 0;
  MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, data->comm);
  if (failed)
    return data_read_failed(data);
  *found = (scan){.first = sums, .sum = sums + data->features, .square = sums + 2 * (size_t)data->features};
  to_doubles(data->train.fields[DATA_X].type, data->raw[DATA_X], 0, data->features, found->first);
  int code = scan_group(data, data->place->train_group, &data->train, found);
  if (code != TOOL_OK)
    return code;
  MPI_Allreduce(MPI_IN_PLACE, found->sum, data->features, MPI_DOUBLE, MPI_SUM, data->comm);
  MPI_Allreduce(MPI_IN_PLACE, found->square, data->features, MPI_DOUBLE, MPI_SUM, data->comm);
  return set_scale(data, found);
}

static int scan_all(data_set *data)
{
  scan found, other = {0};
  named_group groups[DATA_GROUPS];
  int n_groups = list_groups(data, groups);
  double *sums = calloc(3 * (size_t)data->features, sizeof *sums);
  int short_of_memory = sums == NULL;
  MPI_Allreduce(MPI_IN_PLACE, &short_of_memory, 1, MPI_INT, MPI_MAX, data->comm);
  int code = short_of_memory ? out_of_memory(data) : standardise(data, sums, &found);
  free(sums);
  for (int g = 1; g < n_groups && code == TOOL_OK; g++) {
    code = scan_group(data, groups[g].name, groups[g].source, &other);
    found.largest = fmax(found.largest, other.largest);
  }
  if (code == TOOL_OK)
    data->classes = 1 + (int)found.largest;
  if (code == TOOL_OK && data->classes < 2)
    code = progress_fail(data->progress, "%s: field %s holds one class only; there is nothing to learn",
                         data->place->file, data->place->fields[DATA_Y]);
  return code;
}

static int64_t elements(const mpisift_field *field)
{
  int64_t n = 1;
  for (int d = 0; d < field->ndim; d++)
    n *= field->shape[d];
  return n;
}

static int check_group(data_set *data, const char *group, const mpisift_source *source)
{
  const mpisift_field *x = &source->fields[DATA_X], *y = &source->fields[DATA_Y];
  if (elements(y) != 1 || y->type <= MPISIFT_BF16)
    return progress_fail(data->progress,
                         "%s: field %s of %s is %s with %" PRId64
                         " values a sample; class labels are one integer a sample",
                         data->place->file, y->name, group, mpisift_type_name(y->type), elements(y));
  if (elements(x) > INT32_MAX)
    return progress_fail(data->progress, "%s: field %s of %s has too many values a sample", data->place->file, x->name,
                         group);
  return TOOL_OK;
}

static int check_fields(data_set *data)
{
  const data_place *place = data->place;
  named_group groups[DATA_GROUPS];
  int n_groups = list_groups(data, groups);
  int64_t wanted = elements(&data->train.fields[DATA_X]);
  for (int g = 0; g < n_groups; g++) {
    int code = check_group(data, groups[g].name, groups[g].source);
    if (code != TOOL_OK)
      return code;
    int64_t found = elements(&groups[g].source->fields[DATA_X]);
    if (found != wanted)
      return progress_fail(data->progress, "%s: field %s has %" PRId64 " values a sample in %s but %" PRId64 " in %s",
                           place->file, place->fields[DATA_X], wanted, place->train_group, found, groups[g].name);
  }
  data->features = (int)wanted;
  return TOOL_OK;
}

/* Fields that are read of a group. */
static int count_fields(const data_place *place, int group)
{
  return group == 0 && place->fields[DATA_REFERENCE] ? DATA_FIELDS : DATA_REFERENCE;
}

/* The test group may be in other files. */
static bool is_elsewhere(const data_set *data, int group)
{
  return data->place->test_data && group == 1;
}

/* The library's own words, and for what the program can help with, its own. */
static int open_failed(data_set *data, int group, const char *name)
{
  const data_place *place = data->place;
  const char *hint = "";
  if (data->rank == 0 && h5_lacks_group(is_elsewhere(data, group) ? place->test_data : place->file, name))
    hint = ". Name other groups with --train-group and --test-group, or make /train and /test with 'mpisift convert "
           "--test'";
  else if (data->rank == 0 && count_fields(place, group) > DATA_REFERENCE &&
           h5_lacks_field(place->file, name, place->fields[DATA_REFERENCE]))
    hint = ". Reference losses are those of a model that was trained on other data: write them with 'mpisift train "
           "--train-group /holdout --arms full --write-losses', or name another field with --reference";
  return progress_fail(data->progress, "%s%s", mpisift_error(data->ctx), hint);
}

static int open_groups(data_set *data)
{
  const data_place *place = data->place;
  named_group groups[DATA_GROUPS];
  int n_groups = list_groups(data, groups);
  for (int g = 0; g < n_groups; g++) {
    bool elsewhere = is_elsewhere(data, g);
    mpisift_status status = mpisift_dataset_open_files(data->ctx, elsewhere ? &place->test_data : place->files,
                                                       elsewhere ? 1 : place->n_files, groups[g].name, place->fields,
                                                       count_fields(place, g), &place->reading, &data->handles[g]);
    if (status != MPISIFT_OK)
      return open_failed(data, g, groups[g].name);
    *groups[g].source = mpisift_dataset_source(data->handles[g]);
  }
  if (data->rank == 0 && !place->test_data && h5_same_group(place->file, place->train_group, place->test_group))
    tool_error("warning: %s is the training group and the test group: the test errors are of samples trained on",
               place->train_group);
  return TOOL_OK;
}

static int allocate(data_set *data)
{
  size_t features = (size_t)data->features, rows = (size_t)data->max_rows;
  named_group groups[DATA_GROUPS];
  int n_groups = list_groups(data, groups);
  bool ok = true;
  for (int f = 0; f < data->train.n_fields; f++) {
    size_t bytes = 0;
    for (int g = 0; g < n_groups && f < count_fields(data->place, g); g++) {
      size_t own = mpisift_field_bytes(&groups[g].source->fields[f]);
      bytes = own > bytes ? own : bytes;
    }
    data->raw[f] = calloc(DATA_PIECE, bytes);
    ok = ok && data->raw[f];
  }
  data->mean = calloc(features, sizeof *data->mean);
  data->scale = calloc(features, sizeof *data->scale);
  data->row = calloc(features, sizeof *data->row);
  data->x = calloc(rows * features, sizeof *data->x);
  data->labels = calloc(rows, sizeof *data->labels);
  int failed = !(ok && data->mean && data->scale && data->row && data->x && data->labels);
  MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, data->comm);
  return failed ? out_of_memory(data) : TOOL_OK;
}

int data_open(data_set *data, int64_t max_rows)
{
  data->max_rows = max_rows < DATA_PIECE ? DATA_PIECE : max_rows;
  MPI_Comm_rank(data->comm, &data->rank);
  MPI_Comm_size(data->comm, &data->ranks);
  int code = open_groups(data);
  if (code == TOOL_OK)
    code = check_fields(data);
  if (code == TOOL_OK)
    code = allocate(data);
  return code == TOOL_OK ? scan_all(data) : code;
}

void data_close(data_set *data)
{
  free(data->labels);
  free(data->x);
  free(data->row);
  free(data->scale);
  free(data->mean);
  for (int f = 0; f < DATA_FIELDS; f++)
    free(data->raw[f]);
  for (int g = 0; g < DATA_GROUPS; g++)
    mpisift_dataset_close(&data->handles[g]);
}

enum { FOLD = 10 };

/* Which of the samples 10 g to 10 g + 9 is held out. */
static int64_t held_out(const data_fold *fold, int64_t group)
{
  philox2x32_ctr_t counter = {{(uint32_t)group, (uint32_t)(group >> 32)}};
  philox2x32_key_t key = {{0}};
  return (philox2x32(counter, key).v[0] % FOLD + (uint32_t)fold->number) % FOLD;
}

/* Sample of the whole at a position of the fold; what is left over at the end of the whole is kept, not held out. */
static int64_t fold_id(const data_fold *fold, int64_t position)
{
  if (fold->held_out)
    return position * FOLD + held_out(fold, position);
  int64_t group = position / (FOLD - 1), place = position % (FOLD - 1);
  if (group >= fold->whole->n / FOLD)
    return position + fold->whole->n / FOLD;
  return group * FOLD + place + (place >= held_out(fold, group));
}

static int fold_read(void *user, int64_t n, const int64_t *positions, void *const *dst)
{
  const data_fold *fold = user;
  const mpisift_source *whole = fold->whole;
  int64_t ids[DATA_PIECE];
  void *place[MPISIFT_MAX_FIELDS];
  for (int64_t first = 0; first < n; first += DATA_PIECE) {
    int64_t count = n - first < DATA_PIECE ? n - first : DATA_PIECE;
    for (int64_t i = 0; i < count; i++)
      ids[i] = fold_id(fold, positions[first + i]);
    for (int f = 0; f < whole->n_fields; f++)
      place[f] = (char *)dst[f] + (size_t)first * mpisift_field_bytes(&whole->fields[f]);
    int code = whole->read(whole->user, count, ids, place);
    if (code != 0)
      return code;
  }
  return 0;
}

static void fold_prefetch(void *user, int64_t n, const int64_t *positions)
{
  const data_fold *fold = user;
  int64_t ids[DATA_PIECE];
  for (int64_t first = 0; first < n; first += DATA_PIECE) {
    int64_t count = n - first < DATA_PIECE ? n - first : DATA_PIECE;
    for (int64_t i = 0; i < count; i++)
      ids[i] = fold_id(fold, positions[first + i]);
    fold->whole->prefetch(fold->whole->user, count, ids);
  }
}

mpisift_source data_fold_source(data_fold *fold)
{
  const mpisift_source *whole = fold->whole;
  int64_t held = whole->n / FOLD;
  mpisift_source source = *whole;
  source.user = fold;
  source.n = fold->held_out ? held : whole->n - held;
  source.block = whole->block > FOLD ? whole->block - whole->block / FOLD : whole->block;
  source.read = fold_read;
  source.prefetch = whole->prefetch ? fold_prefetch : NULL;
  return source;
}

typedef struct tally {
  mlp *net;
  double loss;
  int64_t *wrong, *total; /* [classes] */
  bool bad_label;
} tally;

/* Count the row as right or wrong; returns its loss. A row without a largest logit, as after divergence, is wrong. */
static double judge(tally *counts, int classes, const float *logits, int32_t label)
{
  double sum = 0;
  bool right = isfinite(logits[label]);
  for (int c = 0; c < classes; c++) {
    right = right && (c == label || logits[c] < logits[label]);
    sum += exp((double)logits[c] - (double)logits[label]);
  }
  counts->total[label]++;
  counts->wrong[label] += !right;
  return log(sum);
}

static void tally_rows(data_set *data, const mpisift_source *source, int64_t first, int64_t n, void *user)
{
  (void)first;
  tally *counts = user;
  if (!data_load(data, source->fields, n, data->raw)) {
    counts->bad_label = true;
    return;
  }
  const float *logits = mlp_forward(counts->net, (int)n, data->x);
  for (int64_t r = 0; r < n; r++)
    counts->loss += judge(counts, data->classes, logits + r * data->classes, data->labels[r]);
}

static void summarise(int classes, const tally *counts, data_errors *errors)
{
  int64_t wrong = 0, total = 0;
  int present = 0;
  double shares = 0;
  for (int c = 0; c < classes; c++) {
    wrong += counts->wrong[c];
    total += counts->total[c];
    if (counts->total[c] == 0)
      continue;
    present++;
    shares += (double)counts->wrong[c] / (double)counts->total[c];
  }
  errors->error = (double)wrong / (double)total;
  errors->balanced = shares / present;
  errors->loss = counts->loss / (double)total;
}

static int evaluate_into(data_set *data, const mpisift_source *source, tally *counts, data_errors *errors)
{
  int failed = !data_visit(data, source, tally_rows, counts) || counts->bad_label;
  MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, data->comm);
  if (failed)
    return data_read_failed(data);
  MPI_Allreduce(MPI_IN_PLACE, counts->wrong, 2 * data->classes, MPI_INT64_T, MPI_SUM, data->comm);
  MPI_Allreduce(MPI_IN_PLACE, &counts->loss, 1, MPI_DOUBLE, MPI_SUM, data->comm);
  summarise(data->classes, counts, errors);
  return TOOL_OK;
}

int data_evaluate(data_set *data, const mpisift_source *source, mlp *net, data_errors *errors)
{
  int64_t *counts = calloc(2 * (size_t)data->classes, sizeof *counts);
  int short_of_memory = counts == NULL;
  MPI_Allreduce(MPI_IN_PLACE, &short_of_memory, 1, MPI_INT, MPI_MAX, data->comm);
  tally tallied = {.net = net, .wrong = counts, .total = counts + data->classes};
  int code = short_of_memory ? out_of_memory(data) : evaluate_into(data, source, &tallied, errors);
  free(counts);
  return code;
}
