#include "tools/results.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/json.h"

bool results_create(result_set *found, const train_options *options, const data_set *data)
{
  *found = (result_set){.options = options,
                        .ranks = data->ranks,
                        .features = data->features,
                        .classes = data->classes,
                        .rows = data->train.n,
                        .test_rows = data->test.n};
  for (int a = 0; a < N_ARMS; a++) {
    if (!options->arms[a])
      continue;
    found->runs[a] = calloc((size_t)options->seeds, sizeof *found->runs[a]);
    if (!found->runs[a])
      return false;
  }
  return true;
}

void results_destroy(result_set *found)
{
  for (int a = 0; a < N_ARMS; a++)
    free(found->runs[a]);
}

/* A figure of one run; rows: of the training data. */
typedef double (*figure_fn)(const arm_result *run, double rows);

static double epochs_of(const arm_result *run, double rows)
{
  return (double)run->candidates / rows;
}
static double candidates_of(const arm_result *run, double rows)
{
  return (void)rows, (double)run->candidates;
}
static double steps_of(const arm_result *run, double rows)
{
  return (void)rows, (double)run->steps;
}
static double trained_of(const arm_result *run, double rows)
{
  return (void)rows, (double)run->trained;
}
static double cost_of(const arm_result *run, double rows)
{
  return run->cost / (3 * rows);
}
static double error_of(const arm_result *run, double rows)
{
  return (void)rows, run->errors.error;
}
static double balanced_of(const arm_result *run, double rows)
{
  return (void)rows, run->errors.balanced;
}
static double loss_of(const arm_result *run, double rows)
{
  return (void)rows, run->errors.loss;
}
static double rate_of(const arm_result *run, double rows)
{
  return (void)rows, run->rate;
}
static double wall_of(const arm_result *run, double rows)
{
  return (void)rows, run->wall_s;
}
static double score_of(const arm_result *run, double rows)
{
  return (void)rows, run->score_s;
}
static double sift_of(const arm_result *run, double rows)
{
  return (void)rows, run->sift_s;
}
static double exchange_of(const arm_result *run, double rows)
{
  return (void)rows, run->exchange_s;
}

/* Mean over the seeds; of the difference to another arm's run with the same seed unless `other` is NULL. */
static double mean(const result_set *found, const arm_result *runs, const arm_result *other, figure_fn figure)
{
  double sum = 0, rows = (double)found->rows;
  for (int64_t s = 0; s < found->options->seeds; s++)
    sum += figure(&runs[s], rows) - (other ? figure(&other[s], rows) : 0);
  return sum / (double)found->options->seeds;
}

/* Sample standard deviation of the same; NaN for one seed. */
static double deviation(const result_set *found, const arm_result *runs, const arm_result *other, figure_fn figure)
{
  double middle = mean(found, runs, other, figure), sum = 0, rows = (double)found->rows;
  for (int64_t s = 0; s < found->options->seeds; s++)
    sum += pow(figure(&runs[s], rows) - (other ? figure(&other[s], rows) : 0) - middle, 2);
  return sqrt(sum / (double)(found->options->seeds - 1));
}

/* Share of full's figure that an arm saves; NaN where full was not run. */
static double saving(const result_set *found, int arm, figure_fn figure)
{
  const arm_result *full = found->runs[ARM_FULL];
  return full ? 1 - mean(found, found->runs[arm], NULL, figure) / mean(found, full, NULL, figure) : NAN;
}

/* What the policy is set by, and the modifiers in use. */
static void print_settings(const train_options *options, FILE *to)
{
  int set_by = options_policy(options)->set_by;
  const struct {
    const char *name;
    bool used;
    double value;
  } settings[] = {
      {"beta", set_by == SET_BY_BETA, options->beta},
      {"keep", set_by == SET_BY_KEEP, options->keep},
      {"threshold", set_by == SET_BY_THRESHOLD, options->threshold},
      {"floor", options->floor > 0, options->floor},
      {"class floor", options->class_floor > 0, options->class_floor},
      {"outliers", options->outliers > 0, options->outliers},
      {"coverage", options->coverage > 0, (double)options->coverage},
      {"full tail", options->full_tail > 0, options->full_tail},
  };
  for (size_t s = 0; s < sizeof settings / sizeof *settings; s++) {
    if (settings[s].used)
      fprintf(to, ", %s %g", settings[s].name, settings[s].value);
  }
  if (options->schedule_text)
    fprintf(to, ", schedule %s", options->schedule_text);
}

static void print_heading(const result_set *found, FILE *to)
{
  const train_options *options = found->options;
  fprintf(to, "%s", options->file);
  if (options->n_files > 1)
    fprintf(to, " and %d more", options->n_files - 1);
  fprintf(to, ": %lld training rows, %lld test rows, %d classes; %d ranks, batch %lld; epochs %lld (sifted: %lld);\n",
          (long long)found->rows, (long long)found->test_rows, found->classes, found->ranks, (long long)options->batch,
          (long long)options->epochs, (long long)options->sift_epochs);
  fprintf(to, "hidden");
  for (int l = 0; l < options->n_hidden; l++)
    fprintf(to, "%c%d", l > 0 ? ',' : ' ', options->hidden[l]);
  fprintf(to, "; policy %s", options->policy);
  print_settings(options, to);
  fprintf(to, "; budget %s; mean of %lld seed%s\n\n", options->wall_budget ? "wall time" : "cost",
          (long long)options->seeds, options->seeds > 1 ? "s" : "");
}

/* One line of the table: a figure of every arm, times `factor`. */
typedef struct table_line {
  const char *label;
  figure_fn figure;
  int digits;
  double factor;
  enum { LINE_MEAN, LINE_DEVIATION, LINE_SAVING } kind;
} table_line;

static const table_line lines[] = {
    {"epochs of candidates", epochs_of, 2, 1, LINE_MEAN},
    {"candidates", candidates_of, 0, 1, LINE_MEAN},
    {"steps", steps_of, 0, 1, LINE_MEAN},
    {"samples trained", trained_of, 0, 1, LINE_MEAN},
    {"cost, epochs of full", cost_of, 2, 1, LINE_MEAN},
    {"  saving, %", cost_of, 1, 100, LINE_SAVING},
    {"test error, %", error_of, 3, 100, LINE_MEAN},
    {"  +- (sd over seeds)", error_of, 3, 100, LINE_DEVIATION},
    {"balanced error, %", balanced_of, 2, 100, LINE_MEAN},
    {"learning rate", rate_of, 4, 1, LINE_MEAN},
    {"wall s", wall_of, 2, 1, LINE_MEAN},
    {"  saving, %", wall_of, 1, 100, LINE_SAVING},
    {"  scoring, s", score_of, 2, 1, LINE_MEAN},
    {"  sifting, s", sift_of, 2, 1, LINE_MEAN},
    {"  exchanging, s", exchange_of, 2, 1, LINE_MEAN},
};

static double value_of(const result_set *found, int arm, const table_line *line)
{
  const arm_result *runs = found->runs[arm];
  if (line->kind == LINE_SAVING)
    return saving(found, arm, line->figure);
  return (line->kind == LINE_DEVIATION ? deviation : mean)(found, runs, NULL, line->figure);
}

static void print_line(const result_set *found, const table_line *line, FILE *to)
{
  fprintf(to, "%-22s", line->label);
  for (int a = 0; a < N_ARMS; a++) {
    if (!found->runs[a])
      continue;
    double value = line->factor * value_of(found, a, line);
    if (isnan(value))
      fprintf(to, "%12s", "-");
    else
      fprintf(to, "%12.*f", line->digits, value);
  }
  fputc('\n', to);
}

/* How an arm's error compares with sifted's, and who wins: a difference counts above two standard errors. */
static void print_difference(const result_set *found, int arm, FILE *to)
{
  const arm_result *sifted = found->runs[ARM_SIFTED], *other = found->runs[arm];
  double difference = 100 * mean(found, other, sifted, error_of);
  double error = 100 * deviation(found, other, sifted, error_of) / sqrt((double)found->options->seeds);
  fprintf(to, "%s - sifted: %+.3f", arm_names[arm], difference);
  if (found->options->seeds < 3)
    fprintf(to, " points of test error (so few seeds say little)\n");
  else
    fprintf(to, " +- %.3f points of test error: %s\n", error,
            fabs(difference) <= 2 * error ? "no clear difference"
            : difference > 0              ? "sifted is better"
                                          : "sifted is worse");
}

/* Say it where sifting does not pay; of errors the paired differences tell. */
static void print_verdict(const result_set *found, FILE *to)
{
  const arm_result *full = found->runs[ARM_FULL], *sifted = found->runs[ARM_SIFTED];
  double cost = mean(found, sifted, full, cost_of), wall = mean(found, sifted, full, wall_of);
  if (cost > 0)
    fprintf(to, "Sifted training cost more than full training, by %.2f epochs.\n", cost);
  if (wall > 0)
    fprintf(to, "Sifted training took longer than full training, by %.2f s.\n", wall);
}

void results_table(const result_set *found, FILE *to)
{
  print_heading(found, to);
  fprintf(to, "%-22s", "");
  for (int a = 0; a < N_ARMS; a++) {
    if (found->runs[a])
      fprintf(to, "%12s", arm_names[a]);
  }
  fputc('\n', to);
  for (size_t l = 0; l < sizeof lines / sizeof *lines; l++)
    print_line(found, &lines[l], to);
  fputc('\n', to);
  if (!found->runs[ARM_SIFTED])
    return;
  for (int a = 0; a < N_ARMS; a++) {
    if (found->runs[a] && a != ARM_SIFTED)
      print_difference(found, a, to);
  }
  if (found->runs[ARM_FULL])
    print_verdict(found, to);
}

static void json_settings(const result_set *found, FILE *to)
{
  const train_options *options = found->options;
  const struct {
    const char *name;
    double value;
  } numbers[] = {
      {"rows", (double)found->rows},
      {"test_rows", (double)found->test_rows},
      {"features", found->features},
      {"classes", found->classes},
      {"ranks", found->ranks},
      {"seeds", (double)options->seeds},
      {"epochs", (double)options->epochs},
      {"sift_epochs", (double)options->sift_epochs},
      {"batch", (double)options->batch},
      {"beta", options->beta},
      {"keep", options->keep},
      {"threshold", options->threshold},
      {"floor", options->floor},
      {"class_floor", options->class_floor},
      {"outliers", options->outliers},
      {"coverage", (double)options->coverage},
      {"full_tail", options->full_tail},
      {"history", (double)options->history},
      {"sift_delay", (double)options->sift_delay},
      {"pipeline_depth", (double)options->pipeline_depth},
      {"momentum", options->momentum},
      {"weight_decay", options->weight_decay},
      {"clip", options->clip},
      {"warmup", options->warmup},
  };
  fprintf(to, "  ");
  json_text(to, "file", options->file);
  fprintf(to, ",\n  \"files\": %d,\n  ", options->n_files);
  json_text(to, "policy", options->policy);
  fprintf(to, ",\n  ");
  if (options->schedule_text) {
    json_text(to, "schedule", options->schedule_text);
    fprintf(to, ",\n  ");
  }
  json_text(to, "budget", options->wall_budget ? "wall" : "cost");
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    fprintf(to, ",\n  ");
    json_number(to, numbers[i].name, numbers[i].value);
  }
  fprintf(to, ",\n  \"hidden\": [");
  for (int l = 0; l < options->n_hidden; l++)
    fprintf(to, "%s%d", l > 0 ? ", " : "", options->hidden[l]);
  fprintf(to, "],\n");
}

static void json_arm(const result_set *found, int arm, FILE *to)
{
  static const struct {
    const char *name;
    figure_fn figure;
  } means[] = {
      {"lr", rate_of},
      {"epochs", epochs_of},
      {"candidates_mean", candidates_of},
      {"cost_mean", cost_of},
      {"test_error_mean", error_of},
      {"balanced_error_mean", balanced_of},
      {"test_loss_mean", loss_of},
      {"wall_s_mean", wall_of},
      {"score_s_mean", score_of},
      {"sift_s_mean", sift_of},
      {"exchange_s_mean", exchange_of},
      {"steps_mean", steps_of},
      {"samples_trained_mean", trained_of},
  };
  const arm_result *runs = found->runs[arm];
  fprintf(to, "    {\"name\": \"%s\", \"seeds\": %lld", arm_names[arm], (long long)found->options->seeds);
  for (size_t m = 0; m < sizeof means / sizeof *means; m++) {
    fprintf(to, ", ");
    json_number(to, means[m].name, mean(found, runs, NULL, means[m].figure));
  }
  fprintf(to, ",\n     ");
  json_number(to, "test_error_sd", deviation(found, runs, NULL, error_of));
  fprintf(to, ", \"test_errors\": [");
  for (int64_t s = 0; s < found->options->seeds; s++)
    fprintf(to, "%s%.9g", s > 0 ? ", " : "", runs[s].errors.error);
  fprintf(to, "], ");
  json_number(to, "saving", saving(found, arm, cost_of));
  fputc('}', to);
}

static void json_pair(const result_set *found, int arm, FILE *to)
{
  const arm_result *sifted = found->runs[ARM_SIFTED], *other = found->runs[arm];
  fprintf(to, "    {\"arm\": \"%s\", ", arm_names[arm]);
  json_number(to, "difference_mean", mean(found, other, sifted, error_of));
  fprintf(to, ", ");
  json_number(to, "difference_se", deviation(found, other, sifted, error_of) / sqrt((double)found->options->seeds));
  fputc('}', to);
}

static void json(const void *what, FILE *to)
{
  const result_set *found = what;
  const char *comma = "";
  fprintf(to, "{\n");
  json_settings(found, to);
  fprintf(to, "  \"arms\": [");
  for (int a = 0; a < N_ARMS; a++) {
    if (!found->runs[a])
      continue;
    fprintf(to, "%s\n", comma);
    json_arm(found, a, to);
    comma = ",";
  }
  comma = "";
  fprintf(to, "\n  ],\n  \"paired\": [");
  for (int a = 0; a < N_ARMS; a++) {
    if (a == ARM_SIFTED || !found->runs[a] || !found->runs[ARM_SIFTED])
      continue;
    fprintf(to, "%s\n", comma);
    json_pair(found, a, to);
    comma = ",";
  }
  fprintf(to, "\n  ]\n}\n");
}

bool results_write_json(const result_set *found, const char *path, char *message, size_t size)
{
  return json_write(path, json, found, message, size);
}
