/* Index plans against an oracle in one process: each batch, whatever the number of ranks and when reports come. */
#include "indexing.h"

static void run_world(const struct index_world *w)
{
  static struct index_run r;
  int failures = (int)CU_get_number_of_failures();

  index_open(&r, w);
  for (int64_t e = 0; e < w->config.epochs && (w->config.step_budget == 0 || r.o->steps < w->config.step_budget); e++) {
    index_begin(&r);
    index_batches(&r);
  }
  CU_ASSERT_EQUAL(mpisift_indices_fraction(r.x), 1);
  CU_ASSERT_EQUAL(mpisift_indices_begin_epoch(r.x, w->n, NULL), MPISIFT_ERR_STATE);
  index_close(&r);
  if ((int)CU_get_number_of_failures() > failures)
    fprintf(stderr, "rank %d: world '%s' differs\n", test_rank, w->name);
}

static void policies(void)
{
  static const char *const names[] = {"stale_relative", "soft_prune", "hide", "random", "all"};

  for (int p = 0; p < 5; p++) {
    struct index_world w = index_world_make(names[p], names[p]);

    run_world(&w);
    w.config.beta = 2;
    w.config.keep = 0.7;
    w.config.report_lag = 3;
    w.confident = true;
    w.insane = p % 2 == 0;
    w.missing = 11;
    w.bad = 13;
    w.config.end_of_epoch = MPISIFT_FLUSH;
    w.config.pad_last_batch = p % 2 == 0;
    run_world(&w);
  }
}

static void modifiers(void)
{
  struct index_world w = index_world_make("floor", "stale_relative");

  w.config.beta = 3;
  w.config.floor = 0.2;
  w.config.weights = MPISIFT_WEIGHTS_NORMALIZED;
  run_world(&w);
  w.name = "unbiased, clipped";
  w.config.weights = MPISIFT_WEIGHTS_UNBIASED;
  w.config.weight_clip = 3;
  run_world(&w);
  w.name = "coverage, outliers, smoothing";
  w.config.coverage_epochs = 3;
  w.config.outlier_share = 0.15;
  w.config.loss_smoothing = 0;
  run_world(&w);
  w = index_world_make("class floor", "stale_relative");
  w.config.beta = 4;
  w.config.class_floor = 0.19;
  w.config.groups = INDEX_GROUPS;
  w.config.weights = MPISIFT_WEIGHTS_NORMALIZED;
  w.confident = true;
  run_world(&w);
  w = index_world_make("delay", "soft_prune");
  w.config.sift_delay = 27;
  w.config.prune_quantile = 0.75;
  w.config.end_of_epoch = MPISIFT_DROP;
  run_world(&w);
  w.name = "delay in each epoch";
  w.config.sift_delay = 5;
  w.config.repeat_delay_per_epoch = true;
  w.config.end_of_epoch = MPISIFT_CARRY;
  run_world(&w);
  w.name = "tail";
  w.config.full_data_tail = 0.3;
  run_world(&w);
}

/* Of beta or keep, with each policy that has one; by the epochs, and by the budget. */
static void schedules(void)
{
  static const char *const names[] = {"stale_relative", "soft_prune", "hide", "random"};
  static const mpisift_shape shapes[] = {MPISIFT_LINEAR, MPISIFT_STEPS, MPISIFT_COSINE, MPISIFT_LINEAR};

  for (int p = 0; p < 4; p++) {
    struct index_world w = index_world_make(names[p], names[p]);

    w.config.beta = 4;
    w.config.keep = 0.9;
    w.config.schedule = (mpisift_schedule){.shape = shapes[p], .n = 2, .at = {0.3, 0.9}, .value = {0.8, 0.25}};
    w.confident = true;
    run_world(&w);
    w.config.epochs = 40;
    w.config.step_budget = 60;
    run_world(&w);
  }
}

/* The epochs between are trained in full, and class floors go by the share of the last that was sifted. */
static void every_third_epoch(void)
{
  struct index_world w = index_world_make("every third epoch", "stale_relative");

  w.config.epochs = 7;
  w.config.sift_every = 3;
  w.config.floor = 0.1;
  w.config.weights = MPISIFT_WEIGHTS_NORMALIZED;
  run_world(&w);
  w.name = "every second, with class floor and refreshing";
  w.config.sift_every = 2;
  w.config.class_floor = 0.19;
  w.config.groups = INDEX_GROUPS;
  w.config.refresh_every = 1;
  w.confident = true;
  run_world(&w);
  w.name = "every second, hidden";
  w.config = index_world_make("", "hide").config;
  w.config.sift_every = 2;
  w.config.full_data_tail = 0.1;
  run_world(&w);
}

static void run_shape(const char *name, int64_t n, int64_t batch, int64_t lag, mpisift_end end, double beta)
{
  struct index_world w = index_world_make(name, "stale_relative");

  w.n = n;
  w.block = 1;
  w.config.global_batch_size = batch;
  w.config.report_lag = lag;
  w.config.end_of_epoch = end;
  w.config.beta = beta;
  w.config.shuffle = lag > 0;
  run_world(&w);
}

static void shapes(void)
{
  run_shape("tiny batches", 97, 8, 1, MPISIFT_CARRY, 1);
  run_shape("in order, no lag", 97, 8, 0, MPISIFT_CARRY, 1);
  run_shape("large batches, long lag", 97, 61, 40, MPISIFT_CARRY, 1);
  run_shape("few samples", 5, 9, 0, MPISIFT_FLUSH, 1);
  run_shape("nothing fills a batch", 61, 60, 2, MPISIFT_CARRY, 6);
}

/* Losses then are not of few values; where most ids are refreshed or few is no matter. */
static void smoothing(void)
{
  struct index_world w = index_world_make("exponential", "all");

  w.config.loss_smoothing = 0.5;
  run_world(&w);
  w.name = "loss difference";
  w.config.loss_difference = 0.25;
  w.config.report_lag = 4;
  w.bad = 9;
  run_world(&w);
}

static void refreshing(void)
{
  struct index_world w = index_world_make("refresh", "hide");

  w.config.keep = 0.6;
  w.config.refresh_every = 2;
  w.confident = true;
  run_world(&w);
  w.name = "refresh a part";
  w.config.refresh_every = 1;
  w.config.refresh_share = 0.4;
  w.config.policy = "stale_relative";
  w.config.report_lag = 2;
  run_world(&w);
}

static void budgets(void)
{
  struct index_world w = index_world_make("budget", "stale_relative");
  static const int64_t budgets_of[] = {1, 20, 37, 55};

  for (int i = 0; i < 4; i++) {
    w.config.step_budget = budgets_of[i];
    w.config.epochs = 50;
    run_world(&w);
  }
}

/* The sum of steps is what was said when the last epoch began, and each epoch's forecast is not far off. */
static void check_forecasts(int64_t sift_every)
{
  struct index_world w = index_world_make("forecast", "stale_relative");
  int64_t said[5], steps = 0;
  static struct index_run r;
  mpisift_index_epoch epoch;

  w.config.global_batch_size = 12;
  w.config.sift_every = sift_every;
  index_open(&r, &w);
  for (int e = 0; e < 5; e++) {
    index_begin(&r);
    steps += r.o->now.steps;
    said[e] = r.x == NULL ? 0 : r.o->now.steps;
    index_batches(&r);
  }
  index_close(&r);
  index_open(&r, &w);
  for (int e = 0; e < 5; e++) {
    mpisift_batch b;

    report_due(&r);
    oracle_begin(r.o);
    CU_ASSERT_EQUAL(mpisift_indices_begin_epoch(r.x, w.n, &epoch), MPISIFT_OK);
    CU_ASSERT_EQUAL(epoch.steps, said[e]);
    CU_ASSERT(llabs(epoch.run_steps - steps) <= (e == 4 ? 0 : steps / 8));
    for (int64_t k = 0; k < epoch.steps; k++) {
      CU_ASSERT_DOUBLE_EQUAL(mpisift_indices_fraction(r.x), (e + (double)k / (double)epoch.steps) / 5, 1e-12);
      CU_ASSERT_EQUAL_FATAL(mpisift_indices_next(r.x, &b), MPISIFT_OK);
      index_take(&r, &r.o->train, k, false, &b);
      r.o->steps++;
    }
    CU_ASSERT_EQUAL(mpisift_indices_next(r.x, &b), MPISIFT_END_OF_EPOCH);
    r.o->epoch++;
  }
  index_close(&r);
}

static void forecasts(void)
{
  check_forecasts(1);
  check_forecasts(2);
}

/* Ids ahead are those that the batches then have, on each rank. */
static void ids_ahead(void)
{
  struct index_world w = index_world_make("ahead", "random");
  int64_t n, *ids, *later;
  static struct index_run r;
  mpisift_batch b;

  w.config.end_of_epoch = MPISIFT_FLUSH;
  index_open(&r, &w);
  index_begin(&r);
  ids = malloc((size_t)(r.o->now.steps + 5) * 24 * sizeof *ids);
  later = malloc(3 * 24 * sizeof *later);
  CU_ASSERT_EQUAL(mpisift_indices_ahead(r.x, 0, r.o->now.steps + 5, ids, &n), MPISIFT_OK);
  CU_ASSERT_EQUAL(n, r.o->train.n);
  CU_ASSERT_EQUAL(mpisift_indices_ahead(r.x, r.o->now.steps + 1, 3, later, &n), MPISIFT_OK);
  CU_ASSERT_EQUAL(n, 0);
  for (int64_t k = 0, at = 0; k < r.o->now.steps; at += b.global_n, k++) {
    int64_t mine = at;

    CU_ASSERT_EQUAL_FATAL(mpisift_indices_next(r.x, &b), MPISIFT_OK);
    for (int p = 0; p < test_rank; p++)
      mine += b.global_n / test_size + (p < b.global_n % test_size);
    CU_ASSERT_EQUAL(memcmp(b.ids, ids + mine, (size_t)b.valid * sizeof *ids), 0);
    CU_ASSERT_EQUAL(mpisift_indices_ahead(r.x, 1, 3, later, &n), MPISIFT_OK);
    CU_ASSERT_EQUAL(memcmp(later, ids + at + b.global_n + 24, (size_t)n * sizeof *ids), 0);
    CU_ASSERT(n <= 72 && (n == 72 || k + 4 >= r.o->now.steps - 1));
  }
  CU_ASSERT_EQUAL(mpisift_indices_next(r.x, &b), MPISIFT_END_OF_EPOCH);
  free(ids);
  free(later);
  index_close(&r);
}

/* Train an epoch; returns the mean weight, of all ranks. */
static double mean_weight(mpisift_indices *x, const struct index_world *w)
{
  double sums[2] = {0, 0};
  mpisift_batch b;

  while (mpisift_indices_next(x, &b) == MPISIFT_OK)
    for (int64_t i = 0; i < b.valid; i++) {
      float loss = index_loss(w, b.ids[i], b.epochs[i]);

      sums[0] += (double)b.weights[i];
      sums[1]++;
      CU_ASSERT_EQUAL(mpisift_indices_report(x, b.serial, i, 1, &loss, 1), MPISIFT_OK);
    }
  MPI_Allreduce(MPI_IN_PLACE, sums, 2, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  return sums[0] / sums[1];
}

/* What is left out as outliers has no part in the mean of normalised weights. */
static void weights_beside_outliers(void)
{
  struct index_world w = index_world_make("weights beside outliers", "soft_prune");
  mpisift_ctx *ctx = open_indexing();
  mpisift_indices *x = NULL;
  mpisift_index_epoch epoch;

  w.n = 5000;
  w.config.outlier_share = 0.3;
  CU_ASSERT_EQUAL_FATAL(mpisift_indices_create(ctx, &w.config, w.n, w.block, &x), MPISIFT_OK);
  for (int e = 0; e < 3; e++) {
    double mean;

    CU_ASSERT_EQUAL_FATAL(mpisift_indices_begin_epoch(x, w.n, &epoch), MPISIFT_OK);
    mean = mean_weight(x, &w);
    CU_ASSERT_DOUBLE_EQUAL(mean, 1, 0.05);
  }
  CU_ASSERT(epoch.outliers > w.n / 5);
  CU_ASSERT_EQUAL(mpisift_indices_destroy(&x), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* The full tail is a share of the budget, whatever the number of epochs. */
static void tail_of_a_budget(void)
{
  struct index_world w = index_world_make("tail of a budget", "soft_prune");
  mpisift_ctx *ctx = open_indexing();
  mpisift_indices *x = NULL;
  int64_t pruned = 0, full = 0;

  w.config.epochs = 1000;
  w.config.step_budget = 150;
  w.config.full_data_tail = 0.5;
  w.config.weights_applied = true;
  CU_ASSERT_EQUAL_FATAL(mpisift_indices_create(ctx, &w.config, w.n, w.block, &x), MPISIFT_OK);
  for (int e = 0; mpisift_indices_fraction(x) < 1; e++) {
    double before = mpisift_indices_fraction(x);
    mpisift_index_epoch epoch;

    CU_ASSERT_EQUAL_FATAL(mpisift_indices_begin_epoch(x, w.n, &epoch), MPISIFT_OK);
    CU_ASSERT_EQUAL(epoch.sifted_out == 0, e == 0 || before >= 0.5);
    *(before >= 0.5 ? &full : &pruned) += 1;
    mean_weight(x, &w);
  }
  CU_ASSERT(pruned > 2 && full > 2);
  CU_ASSERT_EQUAL(mpisift_indices_destroy(&x), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* With coverage each id is trained once in so many epochs at least; without, what is hidden stays so. */
static void coverage_counts(void)
{
  for (int64_t k = 0; k <= 3; k += 3) {
    struct index_world w = index_world_make("coverage", "hide");
    static int64_t trained[INDEX_MOST];
    static struct index_run r;
    int64_t never = 0;
    mpisift_batch b;

    w.config.keep = 0.2;
    w.config.coverage_epochs = k;
    w.config.end_of_epoch = MPISIFT_FLUSH;
    memset(trained, 0, sizeof trained);
    index_open(&r, &w);
    for (int64_t e = 0; e < 4; e++) {
      index_begin(&r);
      for (int64_t j = 0; j < r.o->now.steps; j++) {
        CU_ASSERT_EQUAL_FATAL(mpisift_indices_next(r.x, &b), MPISIFT_OK);
        index_take(&r, &r.o->train, j, false, &b);
        for (int64_t i = 0; e > 0 && i < b.valid; i++)
          trained[b.ids[i]]++;
      }
      CU_ASSERT_EQUAL(mpisift_indices_next(r.x, &b), MPISIFT_END_OF_EPOCH);
      r.o->epoch++;
    }
    MPI_Allreduce(MPI_IN_PLACE, trained, (int)w.n, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
    for (int64_t id = 0; id < w.n; id++)
      never += trained[id] == 0;
    CU_ASSERT(k == 0 ? never > w.n / 2 : never == 0);
    index_close(&r);
  }
}

static void seeds_agree(void)
{
  struct index_world w = index_world_make("seed", "all");
  static struct index_run r;
  uint64_t mine, first;

  index_open(&r, &w);
  first = mine = mpisift_indices_sample_seed(r.x, 3, INT64_C(30000000001));
  MPI_Bcast(&first, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD);
  CU_ASSERT_EQUAL(mine, first);
  CU_ASSERT_NOT_EQUAL(mine, mpisift_indices_sample_seed(r.x, 4, INT64_C(30000000001)));
  index_close(&r);
}

TEST_MAIN("indices", {"policies", policies}, {"modifiers", modifiers}, {"schedules", schedules},
          {"every third epoch", every_third_epoch}, {"shapes", shapes}, {"smoothing", smoothing},
          {"refreshing", refreshing}, {"budgets", budgets}, {"forecasts", forecasts}, {"ids ahead", ids_ahead},
          {"coverage counts", coverage_counts}, {"weights beside outliers", weights_beside_outliers},
          {"tail of a budget", tail_of_a_budget}, {"seeds agree", seeds_agree})
