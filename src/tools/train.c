/* mpisift train: trains a classifier with and without sifting, and compares. */
#include <cblas.h>
#include <math.h>
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#include "tools/arm.h"
#include "tools/data.h"
#include "tools/h5.h"
#include "tools/json.h"
#include "tools/losses.h"
#include "tools/options.h"
#include "tools/progress.h"
#include "tools/results.h"
#include "tools/tool.h"

typedef struct train_job {
  train_options options;
  data_place place;
  data_set data;
  trainer run;
  job_progress progress;
  result_set found;
  loss_slice losses;
  double rates[N_ARMS]; /* learning rates of the arms */
  int rank, ranks;
} train_job;

/* Work of an arm on n rows, in forward passes of one sample: for the time left, so an estimate will do. */
static double expected_work(const train_options *options, int arm, int64_t n)
{
  double keep = arm_expected_keep(options);
  return arm == ARM_FULL ? 3 * (double)(n * options->epochs) : (1 + 3 * keep) * (double)(n * options->sift_epochs);
}

static double total_work(const train_job *job)
{
  const train_options *options = &job->options;
  double tuned = options->n_rates > 1 ? 0.9 * (double)(options->folds * options->n_rates) : 0, total = 0;
  for (int a = 0; a < N_ARMS; a++) {
    if (options->arms[a])
      total += ((double)options->seeds + tuned) * expected_work(options, a, job->data.train.n);
  }
  return total;
}

/* Steps that fit into what the sifted arm spent. */
static int64_t budget_steps(const train_options *options, const arm_result *full, const arm_result *sifted)
{
  double steps = options->wall_budget ? sifted->wall_s / (full->wall_s / (double)full->steps)
                                      : sifted->cost / (3 * (double)options->batch);
  return steps < 1 ? 1 : (int64_t)steps;
}

/* What an arm does, given what the arms before it did with the same seed. */
static arm_plan plan_arm(const train_options *options, int arm, const arm_result results[N_ARMS], uint64_t seed,
                         double rate)
{
  arm_plan plan = {.arm = arm, .seed = seed, .rate = rate};
  const arm_result *sifted = &results[ARM_SIFTED];
  if (arm == ARM_FULL) {
    plan.epochs = options->epochs;
  } else if (arm == ARM_SIFTED) {
    plan.epochs = options->sift_epochs;
  } else {
    plan.steps = budget_steps(options, &results[ARM_FULL], sifted);
    plan.keep = (double)sifted->accepted / (double)sifted->candidates;
  }
  return plan;
}

/* The best of several trials, judged on n samples: of those whose error cannot be told from the least (by one
 * standard error), the one with the least loss, which varies less. NULL: all diverged. */
static const arm_result *choose(const arm_result *trials, int count, int64_t n)
{
  double least = INFINITY;
  for (int i = 0; i < count; i++)
    least = trials[i].diverged ? least : fmin(least, trials[i].errors.error);
  double limit = least + sqrt(fmax(least, 1.0 / (double)n) / (double)n);
  const arm_result *best = NULL;
  for (int i = 0; i < count; i++) {
    const arm_result *trial = &trials[i];
    if (!trial->diverged && trial->errors.error <= limit && (!best || trial->errors.loss < best->errors.loss))
      best = trial;
  }
  return best;
}

/* Try a learning rate for an arm; a trial is its last run, with the mean of the runs' errors. */
static int try_rate(train_job *job, int arm, double rate, const arm_result results[N_ARMS], arm_result *trial)
{
  char what[64];
  snprintf(what, sizeof what, "%s, learning rate %g", arm_names[arm], rate);
  double error = 0, loss = 0, work = 0;
  bool diverged = false;
  for (int k = 0; k < (int)job->options.folds && !diverged; k++) {
    data_fold fit = {&job->data.train, k, false}, held_out = {&job->data.train, k, true};
    mpisift_source fit_source = data_fold_source(&fit), held_out_source = data_fold_source(&held_out);
    /* Seeds of results that are reported begin at 1. */
    arm_plan plan = plan_arm(&job->options, arm, results, (uint64_t)0 - (uint64_t)k, rate);
    plan.what = what;
    int code = arm_run(&job->run, &fit_source, &held_out_source, &plan, trial);
    if (code != TOOL_OK)
      return code;
    diverged = trial->diverged;
    error += trial->errors.error / (double)job->options.folds;
    loss += trial->errors.loss / (double)job->options.folds;
    work += expected_work(&job->options, arm, fit_source.n);
  }
  trial->errors.error = error;
  trial->errors.loss = loss;
  if (diverged)
    progress_line(&job->progress, work, "%s: diverged", what);
  else
    progress_line(&job->progress, work, "%s: validation error %.3f %%, loss %.5f", what, 100 * error, loss);
  return TOOL_OK;
}

/* Try all learning rates for an arm; the best trial becomes results[arm]. */
static int tune_arm(train_job *job, int arm, int64_t judged, arm_result results[N_ARMS])
{
  const train_options *options = &job->options;
  arm_result trials[OPTIONS_MAX_RATES];
  for (int i = 0; i < options->n_rates; i++) {
    int code = try_rate(job, arm, options->rates[i], results, &trials[i]);
    if (code != TOOL_OK)
      return code;
  }
  const arm_result *best = choose(trials, options->n_rates, judged);
  if (!best)
    return progress_fail(&job->progress, "%s: training diverged at every learning rate; give smaller ones with --lr",
                         arm_names[arm]);
  results[arm] = *best;
  job->rates[arm] = best->rate;
  return TOOL_OK;
}

/* Choose each arm's learning rate on some tenths of the training data held out in turn, with seeds that are not
 * reported. */
static int tune(train_job *job)
{
  data_fold held_out = {&job->data.train, 0, true};
  int64_t judged = job->options.folds * data_fold_source(&held_out).n;
  arm_result results[N_ARMS] = {{0}};
  int code = TOOL_OK;
  if (judged == 0)
    return progress_fail(&job->progress, "%s: too few rows to choose among learning rates; give one with --lr",
                         job->options.file);
  for (int a = 0; a < N_ARMS && code == TOOL_OK; a++) {
    if (job->options.arms[a])
      code = tune_arm(job, a, judged, results);
  }
  return code;
}

static int run_arm(train_job *job, int arm, int64_t seed, arm_result results[N_ARMS])
{
  const train_options *options = &job->options;
  char what[64];
  snprintf(what, sizeof what, "%s, seed %lld/%lld", arm_names[arm], (long long)seed, (long long)options->seeds);
  arm_plan plan = plan_arm(options, arm, results, (uint64_t)seed, job->rates[arm]);
  plan.what = what;
  arm_result *result = &results[arm];
  int code = arm_run(&job->run, &job->data.train, &job->data.test, &plan, result);
  if (code != TOOL_OK)
    return code;
  if (result->diverged)
    return progress_fail(&job->progress, "%s: training diverged at learning rate %g; give a smaller one with --lr",
                         what, plan.rate);
  progress_line(&job->progress, expected_work(options, arm, job->data.train.n),
                "%s: test error %.3f %%, %lld steps, %.2f s", what, 100 * result->errors.error,
                (long long)result->steps, result->wall_s);
  job->found.runs[arm][seed - 1] = *result;
  return TOOL_OK;
}

/* All arms of a seed run close together, so that a change in the machine's speed meets all of them. */
static int run_seeds(train_job *job)
{
  for (int64_t seed = 1; seed <= job->options.seeds; seed++) {
    arm_result results[N_ARMS] = {{0}};
    for (int a = 0; a < N_ARMS; a++) {
      int code = job->options.arms[a] ? run_arm(job, a, seed, results) : TOOL_OK;
      if (code != TOOL_OK)
        return code;
    }
  }
  return TOOL_OK;
}

static int report(train_job *job)
{
  const char *json = job->options.json;
  char message[512];
  progress_clear(&job->progress);
  int code = TOOL_OK;
  if (job->rank == 0) {
    results_table(&job->found, json && strcmp(json, "-") == 0 ? stderr : stdout);
    if (json && !results_write_json(&job->found, json, message, sizeof message))
      code = progress_fail(&job->progress, "%s", message);
  }
  MPI_Bcast(&code, 1, MPI_INT, 0, job->data.comm);
  return code;
}

/* A batch of the least data that are trained on: while learning rates are tried, that is a part of the group. */
static int check_batch(train_job *job)
{
  const train_options *options = &job->options;
  data_fold fit = {&job->data.train, 0, false};
  bool tuned = options->n_rates > 1;
  int64_t n = tuned ? data_fold_source(&fit).n : job->data.train.n;
  if (options->batch <= n)
    return TOOL_OK;
  return progress_fail(&job->progress, "%s: --batch %lld is more than the %lld rows of %s%s; give a smaller one",
                       options->file, (long long)options->batch, (long long)n, options->train_group,
                       tuned ? " that are left to train on while a learning rate is chosen" : "");
}

static int train_all(train_job *job)
{
  int code = check_batch(job);
  for (int a = 0; a < N_ARMS && code == TOOL_OK; a++) {
    job->rates[a] = job->options.rates[0];
    if (job->options.arms[a])
      code = arm_check(&job->run, &job->data.train, a);
  }
  if (code == TOOL_OK) {
    progress_begin(&job->progress, total_work(job));
    if (job->options.n_rates > 1)
      code = tune(job);
  }
  if (code == TOOL_OK)
    code = run_seeds(job);
  /* The network is still that of the last run, which is the only one. */
  if (code == TOOL_OK && job->options.loss_field)
    code = losses_compute(&job->losses, &job->data, &job->run.net);
  return code == TOOL_OK ? report(job) : code;
}

/* Everything that is allocated once for all runs. */
static int with_network(train_job *job)
{
  const train_options *options = &job->options;
  trainer *run = &job->run;
  *run = (trainer){.options = options, .data = &job->data, .comm = job->data.comm, .progress = &job->progress};
  int rows = (int)job->data.max_rows;
  bool ok = mlp_create(&run->net, job->data.features, options->n_hidden, options->hidden, job->data.classes, rows);
  run->losses = calloc((size_t)rows, sizeof *run->losses);
  run->confidences = calloc((size_t)rows, sizeof *run->confidences);
  ok = results_create(&job->found, options, &job->data) && ok && run->losses && run->confidences;
  int failed = !ok;
  MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, job->data.comm);
  int code = failed ? progress_fail(&job->progress, "out of memory for the network, or it is too large; give smaller "
                                                    "--hidden or --batch")
                    : TOOL_OK;
  if (code == TOOL_OK && options->loss_field)
    code = losses_create(&job->losses, &job->data);
  if (code == TOOL_OK)
    code = train_all(job);
  results_destroy(&job->found);
  free(run->losses);
  free(run->confidences);
  mlp_destroy(&run->net);
  return code;
}

static loss_field loss_field_of(const train_options *options)
{
  return (loss_field){options->file, options->loss_group, options->loss_field, options->force, options->unlocked};
}

static mpisift_reading reading_of(const train_options *options)
{
  mpisift_reading reading;
  mpisift_reading_init(&reading, sizeof reading);
  reading.cache_bytes = (size_t)options->cache << 20;
  reading.threads = (int)options->threads;
  reading.prefetch = options->prefetch;
  reading.unlocked = options->unlocked;
  return reading;
}

static int with_data(train_job *job)
{
  const train_options *options = &job->options;
  bool with_reference = options->arms[ARM_SIFTED] && options_policy(options)->reference;
  job->place = (data_place){.file = options->file,
                            .files = options->files,
                            .n_files = options->n_files,
                            .test_data = options->test_data,
                            .train_group = options->train_group,
                            .test_group = options->test_group,
                            .loss_group = options->loss_field ? options->loss_group : NULL,
                            .fields = {options->x, options->y, with_reference ? options->reference : NULL}};
  job->place.reading = reading_of(options);
  job->data.progress = &job->progress;
  job->data.place = &job->place;
  int code = data_open(&job->data, arm_max_rows(options, job->ranks));
  if (code == TOOL_OK)
    code = with_network(job);
  data_close(&job->data);
  if (code == TOOL_OK && options->loss_field) {
    loss_field field = loss_field_of(options);
    code = losses_write(&job->losses, &field, job->data.comm, &job->progress);
  }
  losses_destroy(&job->losses);
  return code;
}

static int with_context(train_job *job)
{
  char message[1024] = "";
  mpisift_team team = {.comm = job->data.comm, .replica = MPI_COMM_NULL};
  if (mpisift_open(&team, NULL, message, sizeof message, &job->data.ctx) != MPISIFT_OK)
    return progress_fail(&job->progress, "%s", message);
  int code = with_data(job);
  mpisift_close(&job->data.ctx);
  return code;
}

static int refuse(const train_job *job, const char *message)
{
  return job->rank == 0 ? tool_usage_error("train", "%s", message) : TOOL_USAGE;
}

/* What can be said before the data are opened. */
static int check_job(train_job *job)
{
  char message[512];
  int writable = job->rank != 0 || json_can_write(job->options.json, message, sizeof message);
  MPI_Bcast(&writable, 1, MPI_INT, 0, MPI_COMM_WORLD);
  if (!writable)
    return progress_fail(&job->progress, "%s", message);
  if (job->options.batch < job->ranks) {
    snprintf(message, sizeof message, "--batch %lld is less than one sample for each of the %d ranks",
             (long long)job->options.batch, job->ranks);
    return refuse(job, message);
  }
  loss_field field = loss_field_of(&job->options);
  return field.name ? losses_check(&field, MPI_COMM_WORLD, &job->progress) : TOOL_OK;
}

static int start(train_job *job, int argc, char **argv)
{
  char message[512];
  if (!options_parse(argc, argv, &job->options, message, sizeof message))
    return refuse(job, message);
  if (job->options.help) {
    if (job->rank == 0)
      options_help(stdout);
    return TOOL_OK;
  }
  int code = check_job(job);
  if (code != TOOL_OK)
    return code;
  openblas_set_num_threads(1);
  MPI_Comm_dup(MPI_COMM_WORLD, &job->data.comm);
  code = with_context(job);
  MPI_Comm_free(&job->data.comm);
  return code;
}

int tool_train(int argc, char **argv)
{
  train_job job = {0};
  int provided;
  h5_start();
  MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &job.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &job.ranks);
  progress_open(&job.progress, job.rank);
  int code = start(&job, argc, argv);
  progress_close(&job.progress);
  MPI_Finalize();
  return code;
}
