/* mpisift convert: makes an HDF5 data set from CSV, IDX and NumPy files. Memory does not grow with the files. */
#include "tools/h5.h"
#include "tools/input.h"
#include "tools/tool.h"
#include "tools/writer.h"

#include <Random123/philox.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 1 << 20 };

/* The groups of a split. What the others do not take is for /train. */
enum { PART_TRAIN, PART_TEST, PART_HOLDOUT, N_PARTS };
static const char *const part_names[N_PARTS] = {"train", "test", "holdout"};

typedef struct conversion {
  const char *output;
  bool force;
  int64_t wanted[N_PARTS]; /* rows of the parts but /train; all 0: no split */
  int64_t seed;
  writer_options storage;
  input_csv_options csv;
  const char *csv_option;  /* an option given that is for CSV only, or NULL */
  const char **attributes; /* "NAME=TEXT" */
  int n_attributes;
  input *inputs;
  int n_inputs;
} conversion;

static int64_t taken(const conversion *c)
{
  return c->wanted[PART_TEST] + c->wanted[PART_HOLDOUT];
}

/* Which rows go to which part: selection sampling (Knuth, The Art of Computer Programming 3.4.2, algorithm S), which
 * takes exactly the wanted numbers and keeps the order. Equal for all fields, since the random numbers are those of the
 * row.
 */
typedef struct split {
  uint64_t seed, row, left, wanted[N_PARTS];
} split;

static int split_next(split *s)
{
  philox4x32_ctr_t counter = {{(uint32_t)s->row, (uint32_t)(s->row >> 32), 0, 0}};
  philox4x32_key_t key = {{(uint32_t)s->seed, (uint32_t)(s->seed >> 32)}};

  counter = philox4x32(counter, key);
  uint64_t random = (uint64_t)counter.v[1] << 32 | counter.v[0];
  /* The remainder's bias is below left / 2^64. */
  uint64_t place = random % s->left;
  int part = place < s->wanted[PART_TEST]                             ? PART_TEST
             : place < s->wanted[PART_TEST] + s->wanted[PART_HOLDOUT] ? PART_HOLDOUT
                                                                      : PART_TRAIN;
  s->row++;
  s->left--;
  s->wanted[part] -= part != PART_TRAIN;
  return part;
}

/* An input on its way into the file: fields[p][f] of part p; without a split, of the input's own group at p = 0. */
typedef struct transfer {
  input *in;
  bool is_split;
  split split;
  int64_t block; /* rows read at once */
  void *rows[INPUT_MAX_FIELDS];
  writer_field *fields[N_PARTS][INPUT_MAX_FIELDS];
} transfer;

static bool append_block(transfer *t, int64_t n)
{
  for (int64_t i = 0; i < n; i++) {
    int to = t->is_split ? split_next(&t->split) : 0;

    for (int f = 0; f < t->in->n_fields; f++) {
      const unsigned char *rows = t->rows[f];
      if (!writer_append(t->fields[to][f], rows + (size_t)i * t->in->fields[f].row_bytes))
        return false;
    }
  }
  return true;
}

static bool copy_rows(transfer *t)
{
  while (t->in->row < t->in->rows) {
    int64_t left = t->in->rows - t->in->row;
    int64_t n = left < t->block ? left : t->block;

    if (!t->in->read(t->in, n, t->rows) || !append_block(t, n))
      return false;
  }
  return true;
}

static bool create_fields(transfer *t, const conversion *c, writer *w, int f)
{
  const input_field *like = &t->in->fields[f];

  for (int p = 0; p < N_PARTS; p++) {
    int64_t rows = p == 0 ? t->in->rows - taken(c) : c->wanted[p];

    if (rows == 0)
      continue;
    t->fields[p][f] = writer_field_create(w, t->is_split ? part_names[p] : t->in->group, like, rows, &c->storage);
    if (!t->fields[p][f])
      return false;
  }
  return true;
}

static bool open_transfer(transfer *t, const conversion *c, writer *w)
{
  size_t row_bytes = 0;

  for (int f = 0; f < t->in->n_fields; f++)
    row_bytes += t->in->fields[f].row_bytes;
  t->block = row_bytes < BLOCK_BYTES ? (int64_t)(BLOCK_BYTES / row_bytes) : 1;
  for (int f = 0; f < t->in->n_fields; f++) {
    t->rows[f] = malloc((size_t)t->block * t->in->fields[f].row_bytes);
    if (!t->rows[f]) {
      tool_error("out of memory");
      return false;
    }
    if (!create_fields(t, c, w, f))
      return false;
  }
  return true;
}

static bool convert_input(const conversion *c, input *in, writer *w)
{
  transfer t = {.in = in, .is_split = taken(c) > 0};

  t.split = (split){.seed = (uint64_t)c->seed, .left = (uint64_t)in->rows};
  for (int p = 0; p < N_PARTS; p++)
    t.split.wanted[p] = (uint64_t)c->wanted[p];
  bool ok = open_transfer(&t, c, w) && copy_rows(&t);
  for (int f = 0; f < in->n_fields; f++) {
    for (int p = 0; p < N_PARTS; p++)
      ok = writer_field_close(t.fields[p][f], ok) && ok;
    free(t.rows[f]);
  }
  return ok;
}

static bool write_attributes(const conversion *c, writer *w)
{
  for (int i = 0; i < c->n_attributes; i++) {
    const char *equals = strchr(c->attributes[i], '=');
    char *name = strndup(c->attributes[i], (size_t)(equals - c->attributes[i]));
    bool ok = name && writer_attribute(w, name, equals + 1);

    if (!name)
      tool_error("out of memory");
    free(name);
    if (!ok)
      return false;
  }
  return true;
}

static void print_group(const conversion *c, const char *group, const char *like, int64_t rows)
{
  const char *separator = "";

  printf("/%s %" PRId64 " rows (", group, rows);
  for (int i = 0; i < c->n_inputs; i++) {
    for (int f = 0; f < c->inputs[i].n_fields && strcmp(c->inputs[i].group, like) == 0; f++) {
      printf("%s%s", separator, c->inputs[i].fields[f].name);
      separator = ", ";
    }
  }
  printf("), ");
}

static bool first_of_group(const conversion *c, int i)
{
  for (int j = 0; j < i; j++) {
    if (strcmp(c->inputs[i].group, c->inputs[j].group) == 0)
      return false;
  }
  return true;
}

static void print_summary(const conversion *c, int64_t bytes)
{
  printf("wrote %s: ", c->output);
  for (int i = 0; i < c->n_inputs; i++) {
    const input *in = &c->inputs[i];

    if (!first_of_group(c, i))
      continue;
    print_group(c, taken(c) > 0 ? part_names[PART_TRAIN] : in->group, in->group, in->rows - taken(c));
    for (int p = PART_TRAIN + 1; p < N_PARTS; p++) {
      if (c->wanted[p] > 0)
        print_group(c, part_names[p], in->group, c->wanted[p]);
    }
  }
  printf("%" PRId64 " bytes\n", bytes);
}

static bool share_field_name(const input *a, const input *b)
{
  for (int i = 0; i < a->n_fields; i++) {
    for (int j = 0; j < b->n_fields; j++) {
      if (strcmp(a->fields[i].name, b->fields[j].name) == 0)
        return true;
    }
  }
  return false;
}

/* Fields of one group have different names and equally many rows. */
static bool check_pair(const input *a, const input *b)
{
  if (strcmp(a->group, b->group) != 0)
    return true;
  if (share_field_name(a, b)) {
    tool_error("'%s' and '%s' give the same field of group '/%s'", a->argument, b->argument, a->group);
    return false;
  }
  if (a->rows != b->rows) {
    tool_error("'%s' has %" PRId64 " rows, but '%s' of the same group '/%s' has %" PRId64, a->argument, a->rows,
               b->argument, b->group, b->rows);
    return false;
  }
  return true;
}

static bool check_split(const conversion *c, const input *in)
{
  int64_t test = c->wanted[PART_TEST], holdout = c->wanted[PART_HOLDOUT];

  if (taken(c) > 0 && *in->group) {
    tool_error("--%s splits inputs without a group, but '%s' names the group '/%s'", test > 0 ? "test" : "holdout",
               in->argument, in->group);
    return false;
  }
  if (taken(c) < in->rows)
    return true;
  if (test > 0 && holdout > 0)
    tool_error("--test %" PRId64 " and --holdout %" PRId64 " leave nothing to train on: '%s' has %" PRId64 " rows",
               test, holdout, in->argument, in->rows);
  else
    tool_error("--%s %" PRId64 " leaves nothing to train on: '%s' has %" PRId64 " rows", test > 0 ? "test" : "holdout",
               taken(c), in->argument, in->rows);
  return false;
}

static bool check_input(const conversion *c, int i)
{
  const input *in = &c->inputs[i];
  int fields = 0;

  for (int j = 0; j < i; j++) {
    if (!check_pair(&c->inputs[j], in))
      return false;
  }
  for (int j = 0; j <= i; j++)
    fields += strcmp(c->inputs[j].group, in->group) == 0 ? c->inputs[j].n_fields : 0;
  if (fields > MPISIFT_MAX_FIELDS) {
    tool_error("'%s' is one field too many for group '/%s': at most %d", in->argument, in->group, MPISIFT_MAX_FIELDS);
    return false;
  }
  return check_split(c, in);
}

static int open_inputs(conversion *c, char **arguments, int n)
{
  bool any_csv = false;

  for (int i = 0; i < n; i++) {
    c->n_inputs = i + 1;
    if (!input_open(&c->inputs[i], arguments[i], &c->csv) || !check_input(c, i))
      return TOOL_FAILURE;
    any_csv |= c->inputs[i].n_fields > 1;
  }
  if (c->csv_option && !any_csv)
    return tool_usage_error("convert", "--%s is for CSV input, but there is none", c->csv_option);
  return TOOL_OK;
}

/* The output comes first, so that a name that cannot be had is refused before inputs are read. */
static int run(conversion *c, char **arguments, int n)
{
  int64_t bytes;
  writer *w = writer_create(c->output, c->force);
  int status = w ? open_inputs(c, arguments, n) : TOOL_FAILURE;
  bool ok = status == TOOL_OK && write_attributes(c, w);

  for (int i = 0; ok && i < c->n_inputs; i++)
    ok = convert_input(c, &c->inputs[i], w);
  if (!ok) {
    writer_discard(w);
    return status == TOOL_OK ? TOOL_FAILURE : status;
  }
  if (!writer_commit(w, &bytes))
    return TOOL_FAILURE;
  print_summary(c, bytes);
  return TOOL_OK;
}

enum option_value {
  OPTION_LABEL = 256,
  OPTION_HEADER,
  OPTION_DELIMITER,
  OPTION_TEST,
  OPTION_HOLDOUT,
  OPTION_SEED,
  OPTION_GZIP,
  OPTION_CHUNK_ROWS,
  OPTION_ATTR,
  OPTION_FORCE
};

static const struct option long_options[] = {{"label", required_argument, NULL, OPTION_LABEL},
                                             {"header", required_argument, NULL, OPTION_HEADER},
                                             {"delimiter", required_argument, NULL, OPTION_DELIMITER},
                                             {"test", required_argument, NULL, OPTION_TEST},
                                             {"holdout", required_argument, NULL, OPTION_HOLDOUT},
                                             {"seed", required_argument, NULL, OPTION_SEED},
                                             {"gzip", required_argument, NULL, OPTION_GZIP},
                                             {"chunk-rows", required_argument, NULL, OPTION_CHUNK_ROWS},
                                             {"attr", required_argument, NULL, OPTION_ATTR},
                                             {"force", no_argument, NULL, OPTION_FORCE},
                                             {"help", no_argument, NULL, 'h'},
                                             {0}};

static void help(void)
{
  printf("usage: mpisift convert [options] OUT.h5 INPUT...\n\n"
         "Make a data set (HDF5) from files. An INPUT is one of\n"
         "  FILE                   CSV: fields x (float32, all columns but one) and y (the label)\n"
         "  GROUP/=FILE            CSV into a group\n"
         "  [GROUP/]FIELD=FILE     IDX or NumPy .npy: one field, first dimension = sample\n"
         "Files may be gzipped. Fields of one group have equally many rows.\n\n"
         "CSV:\n"
         "  --label COLUMN         the label, by name or number from 1 (default: the last column)\n"
         "  --header yes|no|auto   first line holds names (default auto: if a cell is not a number)\n"
         "  --delimiter C          character between cells, or 'tab' (default ,)\n\n"
         "Rows:\n"
         "  --test N               N rows chosen at random go to /test, the others to /train\n"
         "  --holdout N            N other rows go to /holdout, for a model that gives reference losses\n"
         "  --seed S               of that choice (default 1)\n\n"
         "File:\n"
         "  --gzip LEVEL           compression 1 to 9 after the shuffle filter, 0 for none (default 4)\n"
         "  --chunk-rows N         rows of a chunk (default: about 1 MiB)\n"
         "  --attr NAME=TEXT       attribute of the file, such as its source; may be repeated\n"
         "  --force                replace OUT.h5 if it exists\n"
         "  -h, --help\n\n"
         "Example:\n"
         "  mpisift convert fashion.h5 train/x=train-images-idx3-ubyte.gz train/y=train-labels-idx1-ubyte.gz \\\n"
         "    test/x=t10k-images-idx3-ubyte.gz test/y=t10k-labels-idx1-ubyte.gz\n");
}

static int set_number(const char *option, int64_t min, int64_t max, int64_t *value)
{
  if (tool_parse_int(optarg, min, max, value))
    return TOOL_OK;
  return tool_usage_error("convert", "--%s '%s' is not an integer from %" PRId64 " to %" PRId64, option, optarg, min,
                          max);
}

static int set_header(conversion *c)
{
  static const char *const names[] = {
      [INPUT_HEADER_AUTO] = "auto", [INPUT_HEADER_YES] = "yes", [INPUT_HEADER_NO] = "no"};

  c->csv_option = "header";
  for (int i = INPUT_HEADER_AUTO; i <= INPUT_HEADER_NO; i++) {
    if (strcmp(optarg, names[i]) == 0) {
      c->csv.header = (enum input_header)i;
      return TOOL_OK;
    }
  }
  return tool_usage_error("convert", "--header '%s' is not yes, no or auto", optarg);
}

static int set_delimiter(conversion *c)
{
  bool tab = strcmp(optarg, "tab") == 0 || strcmp(optarg, "\\t") == 0;

  c->csv_option = "delimiter";
  c->csv.delimiter = tab ? '\t' : optarg[0];
  if (tab || (strlen(optarg) == 1 && optarg[0] != '"'))
    return TOOL_OK;
  return tool_usage_error("convert", "--delimiter '%s' is not one character or 'tab'", optarg);
}

static int add_attribute(conversion *c)
{
  if (!strchr(optarg, '=') || optarg[0] == '=')
    return tool_usage_error("convert", "--attr '%s' is not NAME=TEXT", optarg);
  c->attributes[c->n_attributes++] = optarg;
  return TOOL_OK;
}

static int set_option(conversion *c, int option)
{
  int64_t level;
  int status;

  switch (option) {
  case OPTION_LABEL:
    c->csv.label = optarg;
    c->csv_option = "label";
    return TOOL_OK;
  case OPTION_HEADER:
    return set_header(c);
  case OPTION_DELIMITER:
    return set_delimiter(c);
  case OPTION_TEST:
    return set_number("test", 1, INT64_MAX / 2, &c->wanted[PART_TEST]);
  case OPTION_HOLDOUT:
    return set_number("holdout", 1, INT64_MAX / 2, &c->wanted[PART_HOLDOUT]);
  case OPTION_SEED:
    return set_number("seed", 0, INT64_MAX, &c->seed);
  case OPTION_GZIP:
    status = set_number("gzip", 0, 9, &level);
    if (status == TOOL_OK)
      c->storage.gzip = (int)level;
    return status;
  case OPTION_CHUNK_ROWS:
    return set_number("chunk-rows", 1, UINT32_MAX, &c->storage.chunk_rows);
  case OPTION_ATTR:
    return add_attribute(c);
  case OPTION_FORCE:
    c->force = true;
    return TOOL_OK;
  default:
    return TOOL_USAGE;
  }
}

static int convert(conversion *c, int argc, char **argv)
{
  int option, status;

  while ((option = tool_getopt(argc, argv, ":h", long_options)) != -1) {
    if (option == 'h') {
      help();
      return TOOL_OK;
    }
    status = set_option(c, option);
    if (status != TOOL_OK)
      return status;
  }
  if (argc - optind < 2)
    return tool_usage_error("convert", "%s", optind == argc ? "no output file given" : "no input given");
  c->output = argv[optind];
  return run(c, argv + optind + 1, argc - optind - 1);
}

int tool_convert(int argc, char **argv)
{
  conversion c = {.seed = 1, .storage = {.gzip = 4}, .csv = {.delimiter = ','}};
  int status = TOOL_FAILURE;

  h5_start();
  /* No more inputs or attributes than words. */
  c.inputs = calloc((size_t)argc, sizeof *c.inputs);
  c.attributes = calloc((size_t)argc, sizeof *c.attributes);
  if (c.inputs && c.attributes)
    status = convert(&c, argc, argv);
  else
    tool_error("out of memory");
  for (int i = 0; i < c.n_inputs; i++)
    input_close(&c.inputs[i]);
  free(c.inputs);
  free(c.attributes);
  return status;
}
