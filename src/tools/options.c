#include "tools/options.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tools/tool.h"

const char *const arm_names[N_ARMS] = {"full", "sifted", "shortened", "random"};

static const policy_facts policies[] = {
    {"relative", SET_BY_BETA, false},
    {"top", SET_BY_KEEP, false},
    {"absolute", SET_BY_THRESHOLD, false},
    {"reducible", SET_BY_BETA, true},
    {"reducible_top", SET_BY_KEEP, true},
    {"importance", SET_BY_KEEP, false},
    {"importance_bound", SET_BY_KEEP, false},
    {"uncertainty", SET_BY_BETA, false},
    {"stale_relative", SET_BY_BETA, false},
    {"soft_prune", SET_BY_KEEP, false},
    {"hide", SET_BY_KEEP, false},
    {"random", SET_BY_KEEP, false},
    {"all", SET_BY_NOTHING, false},
};

const policy_facts *options_policy(const train_options *options)
{
  static const policy_facts unknown = {"", SET_BY_NOTHING, false};
  for (size_t p = 0; p < sizeof policies / sizeof *policies; p++) {
    if (strcmp(policies[p].name, options->policy) == 0)
      return &policies[p];
  }
  return &unknown;
}

typedef struct message {
  char *text;
  size_t size;
} message;

typedef struct option_spec option_spec;

/* Reads `value` into `field`; false after a message. */
typedef bool (*read_fn)(const option_spec *spec, const char *value, void *field, message *error);

struct option_spec {
  const char *name;
  read_fn read;
  size_t offset; /* of the field in train_options */
  double min, max;
  const char *placeholder; /* NULL: the option takes no value */
  const char *initial;     /* the default, as one would type it; NULL: none */
  const char *help;
};

static bool complain(message *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool complain(message *error, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error->text, error->size, format, arguments);
  va_end(arguments);
  return false;
}

static bool read_flag(const option_spec *spec, const char *value, void *field, message *error)
{
  (void)spec, (void)value, (void)error;
  *(bool *)field = true;
  return true;
}

static bool read_text(const option_spec *spec, const char *value, void *field, message *error)
{
  if (value[0] == '\0')
    return complain(error, "--%s needs a value that is not empty", spec->name);
  *(const char **)field = value;
  return true;
}

static bool read_whole(const option_spec *spec, const char *value, void *field, message *error)
{
  return tool_parse_int(value, (int64_t)spec->min, (int64_t)spec->max, field) ||
         complain(error, "--%s %s: give a whole number from %.0f to %.0f", spec->name, value, spec->min, spec->max);
}

static bool read_real(const option_spec *spec, const char *value, void *field, message *error)
{
  char *end;
  double number = strtod(value, &end);
  if (end == value || *end != '\0' || !(number >= spec->min && number <= spec->max))
    return complain(error, "--%s %s: give a number from %g to %g", spec->name, value, spec->min, spec->max);
  *(double *)field = number;
  return true;
}

/* Call `add` with each word of a comma-separated list; false if one is refused. */
static bool each_word(const option_spec *spec, const char *value, message *error,
                      bool (*add)(const option_spec *spec, const char *word, train_options *options, message *error),
                      train_options *options)
{
  char word[64];
  for (;;) {
    size_t length = strcspn(value, ",");
    if (length == 0)
      return complain(error, "--%s: the list has an empty place; give values separated by commas", spec->name);
    snprintf(word, sizeof word, "%.*s", (int)(length < sizeof word ? length : sizeof word - 1), value);
    if (!add(spec, word, options, error))
      return false;
    if (value[length] == '\0')
      return true;
    value += length + 1;
  }
}

static bool add_arm(const option_spec *spec, const char *word, train_options *options, message *error)
{
  for (int a = 0; a < N_ARMS; a++) {
    if (strcmp(word, arm_names[a]) == 0) {
      options->arms[a] = true;
      return true;
    }
  }
  return complain(error, "--%s: there is no arm '%s'; the arms are full, sifted, shortened and random", spec->name,
                  word);
}

static bool add_hidden(const option_spec *spec, const char *word, train_options *options, message *error)
{
  int64_t width;
  if (options->n_hidden == MLP_MAX_HIDDEN)
    return complain(error, "--%s: at most %d layers", spec->name, MLP_MAX_HIDDEN);
  if (!read_whole(spec, word, &width, error))
    return false;
  options->hidden[options->n_hidden++] = (int)width;
  return true;
}

static bool add_rate(const option_spec *spec, const char *word, train_options *options, message *error)
{
  if (options->n_rates == OPTIONS_MAX_RATES)
    return complain(error, "--%s: at most %d values", spec->name, OPTIONS_MAX_RATES);
  return read_real(spec, word, &options->rates[options->n_rates++], error);
}

/* The lists' fields are several, hence their offset is 0 and the field is the whole. */
static bool read_arms(const option_spec *spec, const char *value, void *field, message *error)
{
  train_options *options = field;
  memset(options->arms, 0, sizeof options->arms);
  return each_word(spec, value, error, add_arm, options);
}

static bool read_hidden(const option_spec *spec, const char *value, void *field, message *error)
{
  train_options *options = field;
  options->n_hidden = 0;
  return each_word(spec, value, error, add_hidden, options);
}

static bool read_rates(const option_spec *spec, const char *value, void *field, message *error)
{
  train_options *options = field;
  options->n_rates = 0;
  return each_word(spec, value, error, add_rate, options);
}

/* AT=VALUE. What suits a schedule, and the policy, the library says. */
static bool add_point(const option_spec *spec, const char *word, train_options *options, message *error)
{
  mpisift_schedule *schedule = &options->schedule;
  char *end, *last;
  if (schedule->n == MPISIFT_MAX_POINTS)
    return complain(error, "--%s: at most %d points", spec->name, MPISIFT_MAX_POINTS);
  double at = strtod(word, &end), value = *end == '=' ? strtod(end + 1, &last) : 0;
  if (end == word || *end != '=' || last == end + 1 || *last != '\0')
    return complain(error, "--%s: '%s' is not a point; give a share of the run and a value, such as 0.5=2", spec->name,
                    word);
  schedule->at[schedule->n] = at;
  schedule->value[schedule->n++] = value;
  return true;
}

/* SHAPE:POINT,POINT... */
static bool read_schedule(const option_spec *spec, const char *value, void *field, message *error)
{
  static const char *const shapes[] = {
      [MPISIFT_STEPS] = "steps:", [MPISIFT_LINEAR] = "linear:", [MPISIFT_COSINE] = "cosine:"};
  train_options *options = field;
  for (int shape = MPISIFT_STEPS; shape <= MPISIFT_COSINE; shape++) {
    size_t length = strlen(shapes[shape]);
    if (strncmp(value, shapes[shape], length) == 0) {
      options->schedule = (mpisift_schedule){.shape = (mpisift_shape)shape};
      options->schedule_text = value;
      return each_word(spec, value + length, error, add_point, options);
    }
  }
  return complain(error, "--%s %s: begin with steps:, linear: or cosine:", spec->name, value);
}

static bool read_budget(const option_spec *spec, const char *value, void *field, message *error)
{
  bool wall = strcmp(value, "wall") == 0;
  if (!wall && strcmp(value, "cost") != 0)
    return complain(error, "--%s %s: give cost or wall", spec->name, value);
  *(bool *)field = wall;
  return true;
}

/* GROUP/FIELD: the last slash parts them; "/FIELD" is a field of the root. */
static bool read_losses(const option_spec *spec, const char *value, void *field, message *error)
{
  train_options *options = field;
  const char *slash = strrchr(value, '/');
  size_t length = slash ? (size_t)(slash - value) : 0;
  if (!slash || slash[1] == '\0')
    return complain(error, "--%s %s: give a group and the name of a field, such as /train/loss", spec->name, value);
  if (length >= sizeof options->loss_group)
    return complain(error, "--%s: the group's name is too long", spec->name);
  snprintf(options->loss_group, sizeof options->loss_group, "%.*s", length ? (int)length : 1, value);
  options->loss_field = slash + 1;
  return true;
}

#define AT(field) offsetof(train_options, field)

static const option_spec specs[] = {
    {"arms", read_arms, 0, 0, 0, "LIST", "full,sifted,shortened,random", "what to train and compare"},
    {"seeds", read_whole, AT(seeds), 1, 10000, "K", "1", "runs of each arm, with seeds 1 to K"},
    {"epochs", read_whole, AT(epochs), 1, 1e6, "E", "10", "epochs of full training"},
    {"sift-epochs", read_whole, AT(sift_epochs), 1, 1e6, "E", "7", "epochs of candidates of sifted training"},
    {"policy", read_text, AT(policy), 0, 0, "NAME", "relative", "how sifted training chooses"},
    {"beta", read_real, AT(beta), 1e-3, 1e3, "B", "3",
     "relative, reducible, uncertainty and stale_relative: keep 1/(1+B) of the candidates"},
    {"keep", read_real, AT(keep), 1e-3, 1, "SHARE", "0.25",
     "top, reducible_top, importance, hide, random: share of the candidates kept; soft_prune: of low losses"},
    {"threshold", read_real, AT(threshold), 0, 1e30, "LOSS", "0.1", "absolute: least loss that is accepted"},
    {"schedule", read_schedule, 0, 0, 0, "SHAPE:POINTS", NULL,
     "beta or keep over the run, such as linear:0.3=1,0.9=3; also steps, cosine"},
    {"reference", read_text, AT(reference), 0, 0, "FIELD", "reference_loss",
     "reducible: field of the training group with the reference losses"},
    {"floor", read_real, AT(floor), 0, 1, "P", "0", "least probability of acceptance"},
    {"class-floor", read_real, AT(class_floor), 0, 1, "SHARE", "0",
     "no class gets a smaller share of what is accepted"},
    {"outliers", read_real, AT(outliers), 0, 0.9999, "SHARE", "0", "share with the highest losses that is left out"},
    {"coverage", read_whole, AT(coverage), 0, 1e6, "EPOCHS", "0",
     "each sample is accepted at least once in so many epochs; 0: no"},
    {"full-tail", read_real, AT(full_tail), 0, 0.9999, "SHARE", "0",
     "share of the candidates, at the end, that are all accepted"},
    {"refresh", read_whole, AT(refresh), 0, 1e6, "EPOCHS", "0",
     "stale_relative, soft_prune and hide: score what is left out in every so many epochs; 0: never"},
    {"history", read_whole, AT(history), 1, 1e9, "N", "4096", "losses in the loss history, of all ranks"},
    {"sift-delay", read_whole, AT(sift_delay), 0, 1e12, "STEPS", "0", "steps before sifting begins"},
    {"pipeline-depth", read_whole, AT(pipeline_depth), 0, 1, "D", "0", "1: sifting overlaps the training step"},
    {"budget", read_budget, AT(wall_budget), 0, 0, "KIND", "cost",
     "shortened and random get the sifted arm's cost, or its wall time"},
    {"batch", read_whole, AT(batch), 1, 1e8, "N", "64", "samples a step, of all ranks"},
    {"hidden", read_hidden, 0, 1, 1e6, "LIST", "128,128", "widths of the hidden layers"},
    {"lr", read_rates, 0, 1e-9, 1e3, "LIST", "0.05,0.1,0.2",
     "learning rate; of several, each arm gets its own best on a validation split"},
    {"folds", read_whole, AT(folds), 1, 10, "K", "5", "tenths of the training data held out in turn to choose it"},
    {"momentum", read_real, AT(momentum), 0, 0.9999, "M", "0.9", "of SGD"},
    {"weight-decay", read_real, AT(weight_decay), 0, 1, "W", "0", "of SGD"},
    {"clip", read_real, AT(clip), 0, 1e6, "NORM", "1", "largest norm of a step's gradient; 0: no limit"},
    {"warmup", read_real, AT(warmup), 0, 0.9, "SHARE", "0.05", "share of the training in which the rate rises"},
    {"train-group", read_text, AT(train_group), 0, 0, "GROUP", "/train", "group of the training data"},
    {"test-group", read_text, AT(test_group), 0, 0, "GROUP", "/test", "group of the test data"},
    {"test-data", read_text, AT(test_data), 0, 0, "FILE", NULL, "file, or pattern of files, with the test group"},
    {"x", read_text, AT(x), 0, 0, "FIELD", "x", "inputs: any numeric type and shape"},
    {"y", read_text, AT(y), 0, 0, "FIELD", "y", "class labels: integers from 0"},
    {"threads", read_whole, AT(threads), -1, 64, "N", "-1",
     "threads of a rank that read and decode; -1: as its cores allow"},
    {"prefetch", read_whole, AT(prefetch), -1, 1e9, "CHUNKS", "-1",
     "chunks of a field that threads read ahead; -1: any number"},
    {"cache", read_whole, AT(cache), 1, 1e7, "MIB", "512", "memory of a rank for chunks of a group"},
    {"unlocked", read_flag, AT(unlocked), 0, 0, NULL, NULL, "do not lock the file"},
    {"json", read_text, AT(json), 0, 0, "FILE", NULL, "write the results to FILE; - is standard output"},
    {"write-losses", read_losses, 0, 0, 0, "GROUP/FIELD", NULL,
     "write the model's loss of each sample of GROUP there; needs one arm and one seed"},
    {"force", read_flag, AT(force), 0, 0, NULL, NULL, "replace the losses that are there"},
    {"help", read_flag, AT(help), 0, 0, NULL, NULL, "print this; also -h"},
};

enum { N_SPECS = sizeof specs / sizeof *specs };

static bool set(const option_spec *spec, const char *value, train_options *options, message *error)
{
  return spec->read(spec, value, (char *)options + spec->offset, error);
}

static bool read_words(int argc, char **argv, train_options *options, message *error)
{
  struct option table[N_SPECS + 1] = {{0}};
  for (int s = 0; s < N_SPECS; s++)
    table[s] = (struct option){specs[s].name, specs[s].placeholder ? required_argument : no_argument, NULL, s + 256};
  optind = 1;
  opterr = 0;
  int code;
  while ((code = getopt_long(argc, argv, ":h", table, NULL)) != -1) {
    if (code == ':')
      return complain(error, "option '%s' needs a value", argv[optind - 1]);
    if (code == '?')
      return complain(error, "unknown option '%s'", argv[optind - 1]);
    if (code == 'h')
      options->help = true;
    else if (!set(&specs[code - 256], optarg, options, error))
      return false;
  }
  options->file = argv[optind];
  options->files = (const char *const *)argv + optind;
  options->n_files = argc - optind;
  return true;
}

static bool check_losses(const train_options *options, message *error)
{
  int arms = 0;
  for (int a = 0; a < N_ARMS; a++)
    arms += options->arms[a];
  if (arms != 1 || options->seeds != 1)
    return complain(error, "--write-losses: of which model? Train one, such as --arms full --seeds 1");
  if (options->n_files > 1)
    return complain(error, "--write-losses: into which file? Give one file of data");
  if (strcmp(options->loss_field, options->x) == 0 || strcmp(options->loss_field, options->y) == 0)
    return complain(error, "--write-losses: field %s holds inputs or labels; give another name", options->loss_field);
  return true;
}

/* What no option alone can get wrong. */
static bool check(const train_options *options, message *error)
{
  if (!options->file)
    return complain(error, "give the HDF5 file of the data set");
  if (!options->arms[ARM_SIFTED] && (options->arms[ARM_SHORTENED] || options->arms[ARM_RANDOM]))
    return complain(error, "--arms: shortened and random spend the budget of the arm sifted; add it to the list");
  if (options->wall_budget && !options->arms[ARM_FULL])
    return complain(error, "--budget wall: the seconds of a step are measured in the arm full; add it to --arms");
  if (options->force && !options->loss_field)
    return complain(error, "--force: only the field of --write-losses can be replaced, and it is not given");
  return !options->loss_field || check_losses(options, error);
}

bool options_parse(int argc, char **argv, train_options *options, char *text, size_t size)
{
  message error = {text, size};
  *options = (train_options){0};
  for (int s = 0; s < N_SPECS; s++) {
    if (specs[s].initial && !set(&specs[s], specs[s].initial, options, &error))
      return false;
  }
  return read_words(argc, argv, options, &error) && (options->help || check(options, &error));
}

void options_help(FILE *to)
{
  fprintf(to,
          "usage: mpirun -n RANKS mpisift train FILE... [options]\n\n"
          "Train a classifier (a multi-layer perceptron) on the data set FILE, or the FILEs one after the other, in\n"
          "several ways, the arms, and compare their test errors and costs:\n"
          "  full       every sample of every epoch\n"
          "  sifted     the candidates that the policy accepts by their loss\n"
          "  shortened  as full, with the schedule shortened to what sifted cost\n"
          "  random     as sifted, but chosen at random, for what sifted cost\n\n"
          "Options (with their defaults):\n");
  for (int s = 0; s < N_SPECS; s++) {
    const option_spec *spec = &specs[s];
    char left[64];
    snprintf(left, sizeof left, "--%s %s", spec->name, spec->placeholder ? spec->placeholder : "");
    fprintf(to, "  %-26s %s", left, spec->help);
    if (spec->initial)
      fprintf(to, " (%s)", spec->initial);
    fputc('\n', to);
  }
}
