#include "tools/arm.h"

#include <math.h>
#include <string.h>

#include "tools/tool.h"

double arm_expected_keep(const train_options *options)
{
  switch (options_policy(options)->set_by) {
  case SET_BY_BETA:
    return 1 / (1 + options->beta);
  case SET_BY_KEEP:
    return options->keep;
  case SET_BY_THRESHOLD:
    return 0.5; /* which the library begins with, too */
  default:
    return 1;
  }
}

/* A rank's candidates of a typical round, so that scoring them is one large product. */
static int64_t score_rows(const train_options *options, int ranks)
{
  return (int64_t)ceil((double)options->batch / arm_expected_keep(options) / ranks);
}

int64_t arm_max_rows(const train_options *options, int ranks)
{
  int64_t share = (options->batch + ranks - 1) / ranks, score = score_rows(options, ranks);
  return share > score ? share : score;
}

/* What is said of sifted training only. */
static void configure_sifting(const trainer *run, mpisift_config *config)
{
  const train_options *options = run->options;
  config->schedule = options->schedule;
  config->reference_field = options->reference;
  config->sift_delay = options->sift_delay;
  config->full_data_tail = options->full_tail;
  config->coverage_epochs = options->coverage;
  config->refresh_every = options->refresh;
  config->outlier_share = options->outliers;
  config->class_floor = options->class_floor;
  config->groups = options->class_floor > 0 ? run->data->classes : 0;
  config->floor = options->floor;
}

static void configure(const trainer *run, const arm_plan *plan, mpisift_config *config)
{
  static const char *const policies[N_ARMS] = {"all", NULL, "all", "random"};
  const train_options *options = run->options;
  mpisift_config_init(config, sizeof *config);
  config->policy = plan->arm == ARM_SIFTED ? options->policy : policies[plan->arm];
  config->beta = options->beta;
  config->keep = plan->arm == ARM_RANDOM ? plan->keep : options->keep;
  config->threshold = options->threshold;
  if (plan->arm == ARM_SIFTED)
    configure_sifting(run, config);
  config->loss_history_length = options->history;
  config->global_batch_size = options->batch;
  config->score_batch_size = score_rows(options, run->data->ranks);
  config->epochs = plan->epochs;
  config->weights_applied = true;
  config->pipeline_depth = (int)options->pipeline_depth;
  config->seed = plan->seed;
}

/* The probability of the right class: where it is the largest it is the model's confidence, and else below any line
 * that a confidence should reach. */
static void confidences_of(int64_t n, const float *losses, float *confidences)
{
  for (int64_t i = 0; i < n; i++)
    confidences[i] = expf(-losses[i]);
}

static int score(void *user, const mpisift_batch *candidates, const mpisift_scores *scores)
{
  trainer *run = user;
  data_set *data = run->data;
  int64_t n = candidates->valid;
  if (!data_load(data, candidates->fields, n, candidates->data)) {
    mpisift_explain(data->ctx, "a label is out of range: the file changed after training began");
    return 1;
  }
  const float *logits = mlp_forward(&run->net, (int)n, data->x);
  mpisift_status status = mpisift_losses(data->ctx, NULL, n, data->classes, (mpisift_values){.data = logits},
                                         (mpisift_values){.data = data->labels, .type = MPISIFT_I32}, scores);
  if (scores->confidence && strcmp(run->options->policy, "hide") == 0)
    confidences_of(n, scores->loss, scores->confidence);
  return status;
}

/* The learning rate's factor: rises linearly while progress < warmup, then falls as a half cosine to 0. */
static double schedule(const trainer *run, double progress)
{
  double warmup = run->options->warmup;
  if (progress < warmup)
    return progress / warmup;
  return 0.5 * (1 + cos(acos(-1.0) * (progress - warmup) / (1 - warmup)));
}

/* One run while it goes on. */
typedef struct training {
  trainer *run;
  const arm_plan *plan;
  mpisift_loader *loader;
  int64_t steps, epochs_ended;
  bool diverged;
  const char *failure; /* of this rank's own work */
  bool failed;         /* of any rank's; all know */
} training;

/* Gradients and losses of the batch, summed over all ranks. A rank that fails takes part, so that no peer waits, with a
 * loss that nobody overlooks. */
static void gradients(training *now, const mpisift_batch *batch)
{
  trainer *run = now->run;
  data_set *data = run->data;
  int n = (int)batch->valid;
  if (!data_load(data, batch->fields, n, batch->data)) {
    now->failure = "a label is out of range: the file changed after training began";
    n = 0;
  }
  mlp_forward(&run->net, n, data->x);
  mlp_backward(&run->net, n, data->x, data->labels, batch->weights, run->losses);
  if (now->failure)
    run->net.grads[run->net.n_params] = NAN;
  confidences_of(n, run->losses, run->confidences);
  mpisift_loader_report_scores(
      now->loader, batch->serial, 0, n,
      &(mpisift_scores){.loss = run->losses, .confidence = run->confidences, .group = data->labels});
  mpisift_loader_progress(now->loader);
  MPI_Allreduce(MPI_IN_PLACE, run->net.grads, run->net.n_params + 1, MPI_FLOAT, MPI_SUM, run->comm);
}

static double progress_of(const training *now)
{
  const arm_plan *plan = now->plan;
  return plan->epochs > 0 ? mpisift_loader_fraction(now->loader) : (double)now->steps / (double)plan->steps;
}

/* The loss is not finite, which all ranks know: did one of them fail, or the training diverge? */
static void find_cause(training *now)
{
  int failed = now->failure != NULL;
  MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, now->run->comm);
  now->failed = failed;
  now->diverged = !failed;
}

/* Fewer steps of the policy that hides samples are to be larger ones. */
static double rate_factor(const training *now)
{
  mpisift_index_epoch epoch;
  if (now->plan->arm != ARM_SIFTED || strcmp(now->run->options->policy, "hide") != 0 ||
      mpisift_loader_epoch(now->loader, &epoch) != MPISIFT_OK)
    return 1;
  return epoch.learning_rate_factor;
}

static void step(training *now, const mpisift_batch *batch)
{
  trainer *run = now->run;
  const train_options *options = run->options;
  mlp_sgd sgd = {options->momentum, options->weight_decay, options->clip};
  gradients(now, batch);
  now->steps++;
  if (isfinite(run->net.grads[run->net.n_params]))
    mlp_update(&run->net, &sgd, now->plan->rate * rate_factor(now) * schedule(run, progress_of(now)),
               (double)batch->global_n);
  else
    find_cause(now);
}

/* A rank failed: let the loader carry its message to all. At pipeline depth 1 that takes the peers two calls. */
static mpisift_status give_up(training *now)
{
  mpisift_batch batch;
  mpisift_status status = MPISIFT_OK;
  if (now->failure)
    return mpisift_loader_fail(now->loader, now->failure);
  while (status >= 0)
    status = mpisift_loader_next(now->loader, &batch);
  return status;
}

static double cost_of(const mpisift_stats *stats)
{
  return 3 * (double)stats->trained + (double)stats->scored;
}

static void show(const training *now, const mpisift_batch *batch)
{
  if (!progress_due(now->run->progress))
    return;
  mpisift_stats all = mpisift_loader_stats(now->loader, MPISIFT_RUN);
  mpisift_stats epoch = mpisift_loader_stats(now->loader, MPISIFT_EPOCH);
  progress_state state = {
      .what = now->plan->what,
      .epoch = batch->epoch + 1,
      .epochs = now->plan->epochs,
      .loss = epoch.trained_loss,
      .keep = (double)epoch.accepted / fmax((double)epoch.candidates, 1),
      .work = cost_of(&all),
  };
  progress_show(now->run->progress, &state);
}

static bool finished(const training *now)
{
  const arm_plan *plan = now->plan;
  return now->diverged || (plan->epochs > 0 ? now->epochs_ended == plan->epochs : now->steps == plan->steps);
}

static mpisift_status train(training *now)
{
  while (!finished(now)) {
    mpisift_batch batch;
    mpisift_status status = now->failed ? give_up(now) : mpisift_loader_next(now->loader, &batch);
    if (status == MPISIFT_ERR_DATA && now->steps > 0) {
      /* What the file holds was checked before: losses that are not finite are the model's doing. */
      now->diverged = true;
    } else if (status < 0) {
      return status;
    } else if (status == MPISIFT_END_OF_EPOCH) {
      now->epochs_ended++;
    } else {
      step(now, &batch);
      show(now, &batch);
    }
  }
  return MPISIFT_OK;
}

static void measure(const trainer *run, const mpisift_stats *stats, double wall_s, arm_result *result)
{
  double sums[3] = {stats->score_s, stats->decide_s + stats->wait_s, stats->exchange_s};
  MPI_Allreduce(MPI_IN_PLACE, sums, 3, MPI_DOUBLE, MPI_SUM, run->comm);
  MPI_Allreduce(&wall_s, &result->wall_s, 1, MPI_DOUBLE, MPI_MAX, run->comm);
  result->score_s = sums[0] / run->data->ranks;
  result->sift_s = sums[1] / run->data->ranks;
  result->exchange_s = sums[2] / run->data->ranks;
  result->candidates = stats->candidates;
  result->accepted = stats->accepted;
  result->steps = stats->steps;
  result->trained = stats->trained;
  result->cost = cost_of(stats);
}

static int create(trainer *run, const mpisift_source *source, const arm_plan *plan, mpisift_loader **loader)
{
  mpisift_config config;
  configure(run, plan, &config);
  mpisift_status status = mpisift_loader_create(run->data->ctx, &config, source, score, run, loader);
  if (status == MPISIFT_OK)
    return TOOL_OK;
  progress_fail(run->progress, "%s", mpisift_error(run->data->ctx));
  return status == MPISIFT_ERR_ARG ? TOOL_USAGE : TOOL_FAILURE;
}

int arm_check(trainer *run, const mpisift_source *source, int arm)
{
  arm_plan plan = {.arm = arm, .epochs = 1, .keep = 1};
  mpisift_loader *loader = NULL;
  int code = create(run, source, &plan, &loader);
  mpisift_loader_destroy(&loader);
  return code;
}

int arm_run(trainer *run, const mpisift_source *source, const mpisift_source *judge, const arm_plan *plan,
            arm_result *result)
{
  training now = {.run = run, .plan = plan};
  *result = (arm_result){.rate = plan->rate};
  mlp_reset(&run->net, plan->seed);
  MPI_Barrier(run->comm);
  double start = MPI_Wtime();
  int code = create(run, source, plan, &now.loader);
  if (code != TOOL_OK)
    return code;
  if (train(&now) == MPISIFT_OK) {
    mpisift_stats stats = mpisift_loader_stats(now.loader, MPISIFT_RUN);
    measure(run, &stats, MPI_Wtime() - start, result);
    result->diverged = now.diverged;
    if (!now.diverged)
      code = data_evaluate(run->data, judge, &run->net, &result->errors);
  } else {
    code = progress_fail(run->progress, "%s: %s", plan->what, mpisift_error(run->data->ctx));
  }
  mpisift_loader_destroy(&now.loader);
  return code;
}
