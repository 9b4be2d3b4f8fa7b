/* Invariants 1 to 4: full batches in step, one rule, the same global batches for any number of ranks, nothing lost or
 * twice. Every number of ranks is compared with the same oracle, hence with every other. */
#include "loading.h"

static void check_run_stats(const struct oracle *o, mpisift_loader *loader, int64_t moved)
{
  mpisift_stats s = mpisift_loader_stats(loader, MPISIFT_RUN);

  CU_ASSERT_EQUAL(s.steps, o->cuts.n);
  CU_ASSERT_EQUAL(s.candidates, o->candidates);
  CU_ASSERT_EQUAL(s.scored, o->scored);
  CU_ASSERT_EQUAL(s.rejected, o->rejected);
  CU_ASSERT_EQUAL(s.outliers, o->outliers);
  CU_ASSERT_EQUAL(s.accepted, o->accepted.n + o->dropped);
  CU_ASSERT_EQUAL(s.trained, last_cut(o));
  CU_ASSERT_EQUAL(s.dropped, o->dropped);
  CU_ASSERT_EQUAL(s.moved, moved);
  CU_ASSERT_EQUAL(s.candidates, s.sifted_out + s.rejected + s.outliers + s.accepted);
  CU_ASSERT_EQUAL(s.carried_out, o->carried);
  CU_ASSERT_EQUAL(s.carried_in + s.accepted, s.trained + s.dropped + s.carried_out);
  CU_ASSERT_EQUAL(mpisift_loader_fraction(loader), 1);
}

static void check_epoch_stats(mpisift_loader *loader, int64_t n)
{
  mpisift_stats s = mpisift_loader_stats(loader, MPISIFT_EPOCH);

  CU_ASSERT_EQUAL(s.candidates, n);
  CU_ASSERT_EQUAL(s.pooled, 0);
  CU_ASSERT_EQUAL(s.carried_in + s.accepted, s.trained + s.dropped + s.carried_out);
}

/* Run a loader to its end (or, endless, to the oracle's) and compare every batch. */
static void run(struct world w, int depth)
{
  int64_t epochs = w.config.epochs > 0 ? w.config.epochs : 3, k = 0, moved = 0, ended = 0;
  mpisift_ctx *ctx = open_world();
  mpisift_source source;
  mpisift_loader *loader = NULL;
  mpisift_batch batch;
  struct oracle o;

  w.config.pipeline_depth = depth;
  source = world_source(&w);
  o = oracle_run(&w, epochs);
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(ctx, &w.config, &source, world_score, &w, &loader), MPISIFT_OK);
  while (ended < epochs && (w.config.epochs > 0 || k < o.cuts.n)) {
    mpisift_status status = mpisift_loader_next(loader, &batch);

    if (status == MPISIFT_END_OF_EPOCH) {
      ended++;
      check_epoch_stats(loader, w.n);
      continue;
    }
    CU_ASSERT_EQUAL(status, MPISIFT_OK);
    CU_ASSERT_FATAL(status == MPISIFT_OK && k < o.cuts.n);
    check_batch(&w, &o, k, &batch, test_rank);
    check_slots(&batch, MPI_COMM_WORLD);
    CU_ASSERT_EQUAL(batch.n, w.config.pad_last_batch ? w.config.global_batch_size / test_size +
                                                           (test_rank < w.config.global_batch_size % test_size)
                                                     : batch.valid);
    moved += oracle_moves(&o, k++, w.ranks);
  }
  CU_ASSERT_EQUAL(k, o.cuts.n);
  if (w.config.epochs > 0) { /* an endless run has yet to draw what is left of the oracle's last epoch */
    check_run_stats(&o, loader, moved);
    CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_ERR_STATE);
  }
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
  oracle_free(&o);
}

static void run_both(struct world w)
{
  run(w, 0);
  run(w, 1);
}

static void relative_carries(void)
{
  run_both(world_make("carry", 1000, 24));
}

static void flushes(void)
{
  struct world w = world_make("flush", 1000, 24);

  w.config.end_of_epoch = MPISIFT_FLUSH;
  run_both(w);
}

static void flushes_padded(void)
{
  struct world w = world_make("pad", 1000, 29);

  w.config.end_of_epoch = MPISIFT_FLUSH;
  w.config.pad_last_batch = w.config.weights_applied = true;
  run_both(w);
}

static void drops(void)
{
  struct world w = world_make("drop", 1000, 29);

  w.config.end_of_epoch = MPISIFT_DROP;
  run_both(w);
}

static void sifts_at_random(void)
{
  struct world w = world_make("random", 777, 16);

  w.config.policy = "random";
  w.config.keep = 0.3;
  run_both(w);
}

static void takes_all_in_order(void)
{
  struct world w = world_make("all", 500, 24);

  w.config.policy = "all";
  w.config.shuffle = false;
  run_both(w);
}

static void delays(void)
{
  struct world w = world_make("delay", 1000, 24);

  w.config.sift_delay = 30;
  run_both(w);
  w.config.sift_delay = 12;
  w.config.repeat_delay_per_epoch = true;
  run_both(w);
}

static void reads_in_blocks(void)
{
  struct world w = world_make("blocks", 5003, 40);

  w.block = 64;
  w.config.lanes = 12;
  w.config.score_batch_size = 7;
  run_both(w);
}

static void rejects_few_bad_losses(void)
{
  struct world w = world_make("bad", 1000, 24);

  w.bad_mod = 211;
  w.config.bad_loss_share = 0.2;
  run_both(w);
}

static void equal_losses_still_sift(void)
{
  struct world w = world_make("flat", 2000, 24);

  w.flat = 1;
  run_both(w);
}

static void small_data(void)
{
  struct world w = world_make("small", 24, 24);

  w.config.epochs = 6;
  w.config.loss_history_length = 10;
  run_both(w);
  w.n = 5; /* fewer samples than ranks at 8 */
  w.config.end_of_epoch = MPISIFT_FLUSH;
  run_both(w);
  w.n = 1;
  run_both(w);
}

static void never_ends(void)
{
  struct world w = world_make("endless", 300, 24);

  w.config.epochs = 0;
  run_both(w);
}

/* Losses that fall from epoch to epoch: for some time none is among the highest of the history, which still turns over.
 */
static int falling_score(void *user, const mpisift_batch *candidates, const mpisift_scores *scores)
{
  world_score(user, candidates, scores);
  for (int64_t i = 0; i < candidates->valid; i++)
    scores->loss[i] *= (float)pow(0.5, (double)(candidates->epoch < 10 ? candidates->epoch : 10));
  return 0;
}

static void endless_run_learns_again(void)
{
  struct world w = world_make("barren", 300, 24);
  mpisift_source source = world_source(&w);
  mpisift_ctx *ctx = open_world();
  mpisift_loader *loader = NULL;
  mpisift_batch batch = {0};

  w.config.policy = "top";
  w.config.keep = 0.3;
  w.config.epochs = 0;
  w.config.loss_history_length = 2000;
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(ctx, &w.config, &source, falling_score, &w, &loader), MPISIFT_OK);
  for (int step = 0; step < 3000 && batch.epoch < 40; step++)
    CU_ASSERT_EQUAL_FATAL(mpisift_loader_next(loader, &batch), MPISIFT_OK);
  CU_ASSERT_EQUAL(batch.epoch, 40);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* Normalised weights are 1 on average in every part of the run, whatever a schedule does to the share kept. */
static void weights_follow_a_schedule(void)
{
  struct world w = world_make("weights", 60000, 24);
  mpisift_source source = world_source(&w);
  mpisift_ctx *ctx = open_world();
  mpisift_loader *loader = NULL;
  mpisift_batch batch;
  double sums[10] = {0};
  int64_t counts[10] = {0};

  w.config.policy = "random";
  w.config.keep = 1;
  w.config.epochs = 1;
  w.config.weights = MPISIFT_WEIGHTS_NORMALIZED;
  w.config.weights_applied = true;
  w.config.schedule = (mpisift_schedule){MPISIFT_LINEAR, 2, {0, 1}, {1, 0.1}};
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(ctx, &w.config, &source, NULL, NULL, &loader), MPISIFT_OK);
  while (mpisift_loader_next(loader, &batch) == MPISIFT_OK) {
    int part = (int)fmin(9, 10 * mpisift_loader_fraction(loader));

    counts[part] += batch.valid;
    for (int64_t i = 0; i < batch.valid; i++)
      sums[part] += (double)batch.weights[i];
  }
  for (int part = 0; part < 10; part++)
    CU_ASSERT_DOUBLE_EQUAL(sums[part] / (double)counts[part], 1, 0.02);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

static void large_beta(void)
{
  struct world w = world_make("beta", 20000, 16);

  w.config.beta = 100;
  w.config.epochs = 2;
  w.config.loss_history_length = 2000;
  run_both(w);
}

static void other_policies(void)
{
  struct world w = world_make("top", 1000, 24);

  w.config.policy = "top";
  w.config.keep = 0.3;
  run_both(w);
  w.config.policy = "absolute";
  w.config.threshold = 1.5;
  run_both(w);
  w.config.threshold = 1e6; /* once the history is full, epochs without a batch */
  run_both(w);
}

static void modifiers(void)
{
  struct world w = world_make("modifiers", 1500, 24);

  w.config.sift_every = 2;
  w.config.full_data_tail = 0.3;
  run_both(w);
  w.config.sift_every = 1;
  w.config.coverage_epochs = 3;
  w.config.outlier_share = 0.05;
  w.config.floor = 0.1;
  run_both(w);
  w.config.full_data_tail = 0;
  w.config.weights = MPISIFT_WEIGHTS_UNBIASED;
  w.config.weights_applied = true;
  w.config.weight_clip = 5;
  run_both(w);
  w.config.weights = MPISIFT_WEIGHTS_NORMALIZED;
  run_both(w);
  w.config.policy = "random";
  w.config.sift_delay = 7;
  w.config.sift_every = 3;
  run_both(w);
}

/* Decisions by what is sorted, by the loss's size, by a course of beta, and by classes. */
static void other_decisions(void)
{
  struct world w = world_make("decisions", 1500, 24);

  w.config.exact_history = true;
  run_both(w);
  w.config.groups = WORLD_GROUPS;
  w.config.class_floor = 0.15;
  run_both(w);
  w.config.exact_history = false;
  w.config.schedule = (mpisift_schedule){MPISIFT_LINEAR, 2, {0.3, 0.9}, {2, 5}};
  run_both(w);
  w.config.policy = "importance";
  w.config.schedule = (mpisift_schedule){MPISIFT_COSINE, 3, {0.1, 0.5, 1}, {0.9, 0.5, 0.3}};
  w.config.weights_applied = true;
  run_both(w);
}

/* Every sample is trained at least once in the epochs of coverage, though its loss asks for it next to never. */
static void covers_all_samples(void)
{
  struct world w = world_make("coverage", 600, 24);
  mpisift_source source = world_source(&w);
  mpisift_ctx *ctx = open_world();
  mpisift_loader *loader = NULL;
  mpisift_batch batch;
  mpisift_status status = MPISIFT_OK;
  int32_t trained[600] = {0};
  int never = 0;

  w.config.beta = 50;
  w.config.coverage_epochs = 4;
  w.config.epochs = 5; /* the first one fills the history, and does not count */
  w.config.loss_history_length = 600;
  w.config.end_of_epoch = MPISIFT_FLUSH;
  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &w.config, &source, world_score, &w, &loader), MPISIFT_OK);
  for (int epochs = 0; epochs < 5 && status >= 0; epochs += status == MPISIFT_END_OF_EPOCH) {
    status = mpisift_loader_next(loader, &batch);
    for (int64_t i = 0; status == MPISIFT_OK && epochs > 0 && i < batch.valid; i++)
      trained[batch.ids[i]]++;
  }
  CU_ASSERT_EQUAL(status, MPISIFT_END_OF_EPOCH);
  MPI_Allreduce(MPI_IN_PLACE, trained, 600, MPI_INT32_T, MPI_SUM, MPI_COMM_WORLD);
  for (int i = 0; i < 600; i++)
    never += trained[i] == 0;
  CU_ASSERT_EQUAL(never, 0);
  CU_ASSERT(mpisift_loader_stats(loader, MPISIFT_RUN).trained < 600 + 4 * 600 / 3);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* Losses are exp(4u - 2) with u uniform: the loss at which q^2 reaches p has u = sqrt(p). */
static void thresholds_are_quantiles(void)
{
  static const double p[3] = {0.1, 0.5, 0.9};
  struct world w = world_make("thresholds", 20000, 24);
  mpisift_source source = world_source(&w);
  mpisift_ctx *ctx = open_world();
  mpisift_loader *loader = NULL;
  mpisift_batch batch;

  w.config.loss_history_length = 4000;
  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &w.config, &source, world_score, &w, &loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_OK);
  CU_ASSERT(isnan(mpisift_loader_stats(loader, MPISIFT_RUN).threshold_loss[1]));
  for (int step = 0; step < 200; step++)
    CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_OK);
  for (int i = 0; i < 3; i++) {
    double u = (log(mpisift_loader_stats(loader, MPISIFT_STEP).threshold_loss[i]) + 2) / 4;

    CU_ASSERT_DOUBLE_EQUAL(u, sqrt(p[i]), 0.04);
  }
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

TEST_MAIN("batches", {"relative policy, carry-over", relative_carries}, {"flush", flushes},
          {"flush with padding", flushes_padded}, {"drop", drops}, {"random policy", sifts_at_random},
          {"all, without shuffle", takes_all_in_order}, {"sift delay", delays}, {"blocks and lanes", reads_in_blocks},
          {"few bad losses", rejects_few_bad_losses}, {"equal losses", equal_losses_still_sift},
          {"small data", small_data}, {"endless", never_ends}, {"endless run learns again", endless_run_learns_again},
          {"weights follow a schedule", weights_follow_a_schedule}, {"beta 100", large_beta},
          {"thresholds", thresholds_are_quantiles}, {"other policies", other_policies}, {"modifiers", modifiers},
          {"other decisions", other_decisions}, {"coverage", covers_all_samples})
