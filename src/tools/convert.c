/* mpisift convert: makes an HDF5 data set from CSV, IDX and NumPy files. Memory does not grow with the files. */
#include "tools/h5.h"
#include "tools/tool.h"
#include "tools/transfer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The inputs of a group. */
typedef struct group {
  const char *name;
  bool injects;
  choice_plan plan;
  label_source labels;
} group;

typedef struct conversion {
  const char *output;
  bool force;
  choice_options choice;
  writer_options storage;
  input_csv_options csv;
  const char *csv_option;  /* an option given that is for CSV only, or NULL */
  const char **attributes; /* "NAME=TEXT" */
  int n_attributes;
  char **arguments; /* [n_arguments] of the inputs, with those of a series side by side */
  int n_arguments;
  int n_series, n_groups;
  series *series; /* [n_series] */
  group *groups;  /* [n_groups] */
} conversion;

static int64_t taken(const conversion *c)
{
  return c->choice.wanted[PART_TEST] + c->choice.wanted[PART_HOLDOUT];
}

static bool injects(const conversion *c)
{
  return choice_needs_labels(&c->choice) || c->choice.duplicates > 0;
}

static group *group_of(const conversion *c, const series *s)
{
  for (int g = 0; g < c->n_groups; g++) {
    if (strcmp(c->groups[g].name, s->group) == 0)
      return &c->groups[g];
  }
  return NULL;
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

static void print_group(const conversion *c, const group *g, const char *name, int64_t rows)
{
  const char *separator = "";

  printf("/%s %" PRId64 " rows (", name, rows);
  for (int i = 0; i < c->n_series; i++) {
    for (int f = 0; f < c->series[i].n_fields && group_of(c, &c->series[i]) == g; f++) {
      printf("%s%s", separator, c->series[i].fields[f].name);
      separator = ", ";
    }
  }
  printf("), ");
}

static void print_summary(const conversion *c, int64_t bytes)
{
  printf("wrote %s: ", c->output);
  for (int i = 0; i < c->n_groups; i++) {
    const group *g = &c->groups[i];

    for (int p = PART_TRAIN; p < N_PARTS; p++) {
      if (choice_rows(&g->plan, p) > 0)
        print_group(c, g, taken(c) > 0 ? part_names[p] : g->name, choice_rows(&g->plan, p));
    }
  }
  printf("%" PRId64 " bytes\n", bytes);
}

static bool share_field_name(const series *a, const series *b)
{
  for (int i = 0; i < a->n_fields; i++) {
    if (series_field(b, a->fields[i].name) >= 0)
      return true;
  }
  return false;
}

/* Fields of one group have different names and equally many rows. */
static bool check_pair(const series *a, const series *b)
{
  if (strcmp(a->group, b->group) != 0)
    return true;
  if (share_field_name(a, b)) {
    tool_error("'%s' and '%s' give the same field of group '/%s'", a->argument, b->argument, a->group);
    return false;
  }
  if (a->rows != b->rows) {
    tool_error("'%s'%s has %" PRId64 " rows, but '%s'%s of the same group '/%s' has %" PRId64, a->argument,
               a->n > 1 ? " and what follows it" : "", a->rows, b->argument, b->n > 1 ? " and what follows it" : "",
               b->group, b->rows);
    return false;
  }
  return true;
}

static bool check_split(const conversion *c, const series *s)
{
  int64_t test = c->choice.wanted[PART_TEST], holdout = c->choice.wanted[PART_HOLDOUT];

  if (taken(c) > 0 && *s->group) {
    tool_error("--%s splits inputs without a group, but '%s' names the group '/%s'", test > 0 ? "test" : "holdout",
               s->argument, s->group);
    return false;
  }
  if (taken(c) < s->rows)
    return true;
  if (test > 0 && holdout > 0)
    tool_error("--test %" PRId64 " and --holdout %" PRId64 " leave nothing to train on: '%s' has %" PRId64 " rows",
               test, holdout, s->argument, s->rows);
  else
    tool_error("--%s %" PRId64 " leaves nothing to train on: '%s' has %" PRId64 " rows", test > 0 ? "test" : "holdout",
               taken(c), s->argument, s->rows);
  return false;
}

static bool check_series(const conversion *c, int i)
{
  const series *s = &c->series[i];
  int fields = 0;

  for (int j = 0; j < i; j++) {
    if (!check_pair(&c->series[j], s))
      return false;
  }
  for (int j = 0; j <= i; j++)
    fields += strcmp(c->series[j].group, s->group) == 0 ? c->series[j].n_fields : 0;
  if (fields > MPISIFT_MAX_FIELDS) {
    tool_error("'%s' is one field too many for group '/%s': at most %d", s->argument, s->group, MPISIFT_MAX_FIELDS);
    return false;
  }
  return check_split(c, s);
}

/* Arguments of the same fields of a group move behind the first of them. Returns their number. */
static int gather(char **arguments, int n)
{
  int found = 1;

  for (int i = 1; i < n; i++) {
    if (input_same_place(arguments[0], arguments[i])) {
      char *same = arguments[i];

      memmove(arguments + found + 1, arguments + found, (size_t)(i - found) * sizeof *arguments);
      arguments[found++] = same;
    }
  }
  return found;
}

static int open_inputs(conversion *c)
{
  bool any_csv = false;
  int n;

  for (int i = 0; i < c->n_arguments; i += n) {
    series *s = &c->series[c->n_series++];

    n = gather(c->arguments + i, c->n_arguments - i);
    if (!series_open(s, n, c->arguments + i, &c->csv) || !check_series(c, c->n_series - 1))
      return TOOL_FAILURE;
    any_csv |= s->n_fields > 1;
  }
  if (c->csv_option && !any_csv)
    return tool_usage_error("convert", "--%s is for CSV input, but there is none", c->csv_option);
  return TOOL_OK;
}

/* Rows are trained on in /train, and where no groups are named. */
static bool is_trained_on(const char *name)
{
  return !*name || strcmp(name, part_names[PART_TRAIN]) == 0;
}

static bool plan_group(conversion *c, group *g, const series *first)
{
  *g = (group){.name = first->group, .injects = injects(c) && is_trained_on(first->group)};
  choice_plan_begin(&g->plan, &c->choice, first->rows, g->injects);
  for (int i = 0; i < c->n_series && g->injects && choice_needs_labels(&c->choice); i++) {
    const series *s = &c->series[i];

    if (strcmp(s->group, g->name) == 0 && series_field(s, "y") >= 0)
      g->labels = (label_source){s->n, s->arguments, &c->csv};
  }
  if (g->injects && choice_needs_labels(&c->choice) && g->labels.n == 0) {
    tool_error("--imbalance and --label-noise need labels, the field y, but group '/%s' has none", g->name);
    return false;
  }
  return (g->labels.n == 0 || transfer_count(&g->plan, &g->labels)) && choice_plan_end(&g->plan);
}

static bool plan_groups(conversion *c)
{
  bool any = false;

  for (int i = 0; i < c->n_series; i++) {
    if (group_of(c, &c->series[i]))
      continue;
    if (!plan_group(c, &c->groups[c->n_groups++], &c->series[i]))
      return false;
    any |= c->groups[c->n_groups - 1].injects;
  }
  if (!injects(c) || any)
    return true;
  tool_error("--imbalance, --duplicates and --label-noise change rows to train on, but no input goes to /train or /");
  return false;
}

/* What was done to the rows. */
static bool write_injections(const conversion *c, const group *g, writer *w)
{
  const char *name = taken(c) > 0 ? part_names[PART_TRAIN] : g->name;
  const choice_options *o = &c->choice;

  if (!g->injects)
    return true;
  return (!(o->imbalance > 1) || writer_number(w, name, "imbalance", o->imbalance)) &&
         (!(o->duplicates > 0) || writer_number(w, name, "duplicates", o->duplicates)) &&
         (!(o->label_noise > 0) || writer_number(w, name, "label_noise", o->label_noise)) &&
         writer_integer(w, name, "seed", o->seed);
}

static bool write_all(conversion *c, writer *w)
{
  bool ok = write_attributes(c, w);

  for (int i = 0; ok && i < c->n_series; i++) {
    const group *g = group_of(c, &c->series[i]);

    ok = transfer_copy(&c->series[i], &g->plan, &g->labels, w, &c->storage);
  }
  for (int g = 0; ok && g < c->n_groups; g++)
    ok = write_injections(c, &c->groups[g], w);
  return ok;
}

/* The output comes first, so that a name that cannot be had is refused before inputs are read. */
static int run(conversion *c)
{
  int64_t bytes;
  writer *w = writer_create(c->output, c->force);
  int status = w ? open_inputs(c) : TOOL_FAILURE;

  if (status == TOOL_OK && !(plan_groups(c) && write_all(c, w)))
    status = TOOL_FAILURE;
  if (status != TOOL_OK) {
    writer_discard(w);
    return status;
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
  OPTION_IMBALANCE,
  OPTION_DUPLICATES,
  OPTION_LABEL_NOISE,
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
                                             {"imbalance", required_argument, NULL, OPTION_IMBALANCE},
                                             {"duplicates", required_argument, NULL, OPTION_DUPLICATES},
                                             {"label-noise", required_argument, NULL, OPTION_LABEL_NOISE},
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
         "Files may be gzipped. Files of the same fields are read one after the other. Fields of one group have\n"
         "equally many rows.\n\n"
         "CSV:\n"
         "  --label COLUMN         the label, by name or number from 1 (default: the last column)\n"
         "  --header yes|no|auto   first line holds names (default auto: if a cell is not a number)\n"
         "  --delimiter C          character between cells, or 'tab' (default ,)\n\n"
         "Rows:\n"
         "  --test N               N rows chosen at random go to /test, the others to /train\n"
         "  --holdout N            N other rows go to /holdout, for a model that gives reference losses\n"
         "  --seed S               of that choice and those below (default 1)\n\n"
         "For experiments; of the rows in /train, or where no group is named:\n"
         "  --imbalance R          class k of K, by label from 0, keeps R^(-k/(K-1)) of its rows\n"
         "  --duplicates R         R copies beside each row, on average\n"
         "  --label-noise SHARE    this share of the rows gets the label of another class\n\n"
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

static int set_real(const char *option, double min, double max, double *value)
{
  char *end;

  *value = strtod(optarg, &end);
  if (end != optarg && !*end && *value >= min && *value <= max)
    return TOOL_OK;
  return tool_usage_error("convert", "--%s '%s' is not a number from %g to %g", option, optarg, min, max);
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
    return set_number("test", 1, INT64_MAX / 2, &c->choice.wanted[PART_TEST]);
  case OPTION_HOLDOUT:
    return set_number("holdout", 1, INT64_MAX / 2, &c->choice.wanted[PART_HOLDOUT]);
  case OPTION_SEED:
    return set_number("seed", 0, INT64_MAX, &c->choice.seed);
  case OPTION_IMBALANCE:
    return set_real("imbalance", 1, 1e9, &c->choice.imbalance);
  case OPTION_DUPLICATES:
    return set_real("duplicates", 0, 1e6, &c->choice.duplicates);
  case OPTION_LABEL_NOISE:
    return set_real("label-noise", 0, 1, &c->choice.label_noise);
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
  c->arguments = argv + optind + 1;
  c->n_arguments = argc - optind - 1;
  return run(c);
}

static void release(conversion *c)
{
  for (int i = 0; i < c->n_series; i++)
    series_close(&c->series[i]);
  for (int g = 0; g < c->n_groups; g++)
    choice_plan_release(&c->groups[g].plan);
  free(c->series);
  free(c->groups);
  free(c->attributes);
}

int tool_convert(int argc, char **argv)
{
  conversion c = {.choice = {.seed = 1, .imbalance = 1}, .storage = {.gzip = 4}, .csv = {.delimiter = ','}};
  int status = TOOL_FAILURE;

  h5_start();
  /* No more inputs or attributes than words. */
  c.series = calloc((size_t)argc, sizeof *c.series);
  c.groups = calloc((size_t)argc, sizeof *c.groups);
  c.attributes = calloc((size_t)argc, sizeof *c.attributes);
  if (c.series && c.groups && c.attributes)
    status = convert(&c, argc, argv);
  else
    tool_error("out of memory");
  release(&c);
  return status;
}
