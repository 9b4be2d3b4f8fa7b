/* Invariants 6 and 7: failures of one rank are agreed, lose nothing, and hang nobody. */
#include "api/loader.h"
#include "loading.h"

/* A world where one rank fails in one of its calls, counted over the run. */
struct faulty {
  struct world w;
  mpisift_ctx *ctx;
  int rank;      /* that fails; −1: none */
  int fail_read; /* call of read that fails; −1: none */
  int fail_score;
  int fail_step; /* call of next in whose place the rank tells a failure of its own; −1: none */
  int reads, scores;
  int apart;  /* calls of score in which the ranks were not together */
  int padded; /* calls of score that got nothing but padding */
  const char *reason;
};

static int faulty_read(void *user, int64_t n, const int64_t *ids, void *const *dst)
{
  struct faulty *f = user;

  if (f->rank == test_rank && f->reads++ == f->fail_read) {
    mpisift_explain(f->ctx, f->reason);
    return 5;
  }
  return world_read(&f->w, n, ids, dst);
}

static int faulty_score(void *user, const mpisift_batch *candidates, const mpisift_scores *scores)
{
  struct faulty *f = user;

  f->padded += candidates->valid == 0;
  f->apart += !called_together(f->scores, MPI_COMM_WORLD);
  if (f->scores++ == f->fail_score && f->rank == test_rank) {
    mpisift_explain(f->ctx, f->reason);
    return 7;
  }
  return world_score(&f->w, candidates, scores);
}

static mpisift_loader *open_faulty(struct faulty *f)
{
  mpisift_source source = world_source(&f->w);
  mpisift_loader *loader = NULL;

  source.user = f;
  source.read = faulty_read;
  f->ctx = open_world();
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(f->ctx, &f->w.config, &source, faulty_score, f, &loader), MPISIFT_OK);
  return loader;
}

static void close_faulty(struct faulty *f, mpisift_loader **loader)
{
  int64_t blocks;

  CU_ASSERT_EQUAL(f->apart, 0);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(loader), MPISIFT_OK);
  CU_ASSERT_PTR_NULL(*loader);
  blocks = f->ctx->memory.blocks;
  CU_ASSERT_EQUAL(blocks, 1); /* the team's */
  CU_ASSERT_EQUAL(mpisift_close(&f->ctx), MPISIFT_OK);
}

static struct faulty faulty_make(int depth)
{
  struct faulty f = {
      .w = world_make("faulty", 360, 24), .rank = -1, .fail_read = -1, .fail_score = -1, .fail_step = -1};

  f.w.config.epochs = 2;
  f.w.config.loss_history_length = 120;
  f.w.config.pipeline_depth = depth;
  f.w.config.score_batch_size = 5;
  return f;
}

/* A call of next, or on the rank that fails what takes its place; and the training step. */
static mpisift_status take_step(struct faulty *f, mpisift_loader *loader, mpisift_batch *batch, int step)
{
  bool fails = step == f->fail_step && test_rank == f->rank;
  mpisift_status status =
      fails ? mpisift_loader_fail(loader, "loss is NaN at step 4711") : mpisift_loader_next(loader, batch);

  if (status == MPISIFT_OK)
    MPI_Barrier(MPI_COMM_WORLD); /* a training step communicates: who gets a batch must not be alone with it */
  return status;
}

/* What mpisift.h says of the counts, after errors too. */
static void check_counts(const mpisift_loader *loader)
{
  for (int scope = MPISIFT_STEP; scope <= MPISIFT_RUN; scope++) {
    mpisift_stats s = mpisift_loader_stats(loader, (mpisift_scope)scope);

    CU_ASSERT_EQUAL(s.candidates, s.sifted_out + s.rejected + s.outliers + s.accepted);
    CU_ASSERT_EQUAL(s.carried_in + s.accepted, s.trained + s.dropped + s.carried_out + s.pooled);
  }
}

/* Run to the end; errors must be `expected`, with `text`, on all ranks, and the batches those of the oracle. Returns
 * the number of errors. */
static int run_through(struct faulty *f, mpisift_loader *loader, mpisift_status expected, const char *text)
{
  struct oracle o = oracle_run(&f->w, f->w.config.epochs);
  int64_t k = 0, ended = 0;
  int errors = 0;
  mpisift_batch batch;

  for (int step = 0; ended < f->w.config.epochs && errors < 10; step++) {
    mpisift_status status = take_step(f, loader, &batch, step);

    check_counts(loader);
    if (status == MPISIFT_OK && k < o.cuts.n)
      check_batch(&f->w, &o, k++, &batch, test_rank);
    ended += status == MPISIFT_END_OF_EPOCH;
    if (status < 0) {
      errors++;
      CU_ASSERT_EQUAL(status, expected);
      CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f->ctx), text));
      CU_ASSERT(same_text(mpisift_error(f->ctx)));
    }
  }
  CU_ASSERT_EQUAL(k, o.cuts.n);
  oracle_free(&o);
  return errors;
}

/* One rank fails in one call: one error on all ranks, and then the run goes on as if nothing had been. Returns whether
 * there was such a call in the run. */
static int fail_once(struct faulty f, mpisift_status expected, const char *text)
{
  mpisift_loader *loader = open_faulty(&f);
  char whole[128];
  int errors;

  if (test_size > 1)
    snprintf(whole, sizeof whole, "rank %d: %s", f.rank, text);
  else
    snprintf(whole, sizeof whole, "%s", text);
  errors = run_through(&f, loader, expected, whole);
  CU_ASSERT(errors <= 1);
  close_faulty(&f, &loader);
  return errors;
}

/* After the first epoch nothing is allocated in epochs whose rounds are no larger than those before; a round's size
 * follows the share that the last epoch kept. Where a rank has many samples, those that wait on it vary little. */
static void steady_state_allocates_nothing(void)
{
  for (int depth = 0; depth <= 1; depth++) {
    struct faulty f = faulty_make(depth);
    mpisift_loader *loader;
    mpisift_batch batch;
    int64_t before = 0, largest = 0;
    int steady = 0;

    f.w.config.epochs = 10;
    f.w.config.score_batch_size = 0;
    f.w.n *= 4 * test_size;
    f.w.config.global_batch_size *= 4 * test_size;
    f.w.config.loss_history_length *= 4 * test_size;
    loader = open_faulty(&f);
    for (int ended = 0; ended < 10;) {
      mpisift_status status = mpisift_loader_next(loader, &batch);

      CU_ASSERT_FATAL(status >= 0);
      if (status != MPISIFT_END_OF_EPOCH)
        continue;
      if (ended++ > 0 && loader->round_size <= largest) {
        CU_ASSERT_EQUAL(f.ctx->memory.calls, before);
        steady++;
      }
      before = f.ctx->memory.calls;
      largest = loader->round_size > largest ? loader->round_size : largest;
    }
    CU_ASSERT(steady > 3);
    close_faulty(&f, &loader);
  }
}

/* Each call of a run in turn, with the ranks taking turns in failing. `call` is the member of f that says which. */
static void fail_in_each(struct faulty *f, int *call, int least, mpisift_status expected, const char *text)
{
  for (int depth = 0; depth <= 1; depth++)
    for (f->rank = 0; f->rank < test_size; f->rank++) {
      f->w.config.pipeline_depth = depth;
      for (*call = f->rank; fail_once(*f, expected, text); *call += test_size)
        ;
      CU_ASSERT(*call >= least);
    }
}

static void score_fails(void)
{
  struct faulty f = faulty_make(0);

  fail_in_each(&f, &f.fail_score, 20, MPISIFT_ERR_CALLBACK, "the score callback returned 7");
  f = faulty_make(0);
  f.rank = test_size - 1;
  f.fail_score = 3;
  f.reason = "the GPU is on fire";
  CU_ASSERT_EQUAL(fail_once(f, MPISIFT_ERR_CALLBACK, "the score callback failed: the GPU is on fire"), 1);
}

static void read_fails(void)
{
  struct faulty f = faulty_make(0);

  fail_in_each(&f, &f.fail_read, 12, MPISIFT_ERR_CALLBACK, "reading returned 5");
  f = faulty_make(1);
  f.rank = 0;
  f.fail_read = 2;
  f.reason = "no such shard";
  CU_ASSERT_EQUAL(fail_once(f, MPISIFT_ERR_CALLBACK, "reading failed: no such shard"), 1);
}

/* Around the end of an epoch and of the run, too. */
static void user_fails(void)
{
  struct faulty f = faulty_make(0);

  fail_in_each(&f, &f.fail_step, 14, MPISIFT_ERR_USER, "loss is NaN at step 4711");
}

/* Peers of a rank that cannot read score their rows, it scores padding: all call equally often. */
static void failing_rank_scores_padding(void)
{
  struct faulty f = faulty_make(0);
  mpisift_loader *loader;
  mpisift_batch batch;

  f.rank = 0;
  f.fail_read = 0;
  loader = open_faulty(&f);
  CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_ERR_CALLBACK);
  if (test_rank == 0)
    CU_ASSERT(f.padded > 0 && f.padded == f.scores);
  CU_ASSERT_EQUAL(f.w.config.score_batch_size, 5);
  close_faulty(&f, &loader);
}

/* Each allocation of one rank fails in turn, during creation. */
static void creation_without_memory(void)
{
  for (int k = 1, failed = 1; failed && k < 100; k++) {
    struct world w = world_make("memory", 600, 24);
    mpisift_ctx *ctx = open_world();
    mpisift_source source = world_source(&w);
    mpisift_loader *loader = NULL;
    mpisift_status status;

    if (test_rank == test_size - 1)
      ctx->memory.fail_after = k;
    status = mpisift_loader_create(ctx, &w.config, &source, world_score, &w, &loader);
    failed = status != MPISIFT_OK;
    if (failed) {
      CU_ASSERT_EQUAL(status, MPISIFT_ERR_MEMORY);
      CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "cannot allocate"));
      CU_ASSERT_EQUAL(ctx->memory.blocks, 1);
    }
    CU_ASSERT(k > 10 || failed);
    CU_ASSERT(same_text(mpisift_error(ctx)));
    CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
    CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
  }
}

/* And during the run, where a repeated call succeeds. */
static void rounds_without_memory(void)
{
  int errors = 0;

  for (int depth = 0; depth <= 1; depth++)
    for (int k = 1; k < 12; k++) {
      struct faulty f = faulty_make(depth);
      mpisift_loader *loader = open_faulty(&f);

      if (test_rank == 0)
        f.ctx->memory.fail_after = k;
      errors += run_through(&f, loader, MPISIFT_ERR_MEMORY, "cannot allocate");
      close_faulty(&f, &loader);
    }
  CU_ASSERT(errors > 5);
}

/* After each call of a run, whatever is under way then; and after a failure of the user's in the last call, or of a
 * callback in the round that it staged. */
static void destroyed_in_flight(void)
{
  int rounds = 0, moves = 0;

  for (int failing = 0; failing <= 2; failing++)
    for (int steps = 0; steps < 14; steps++)
      for (int depth = 0; depth <= 1; depth++) {
        struct faulty f = faulty_make(depth);
        mpisift_loader *loader;
        mpisift_batch batch;

        f.w.config.beta = 1.6; /* rounds of three batches, of which more than one is kept: at times one waits */
        f.w.config.loss_history_length = 50;
        loader = open_faulty(&f);
        f.rank = steps % test_size;
        f.fail_step = failing == 1 ? steps - 1 : -1;
        f.fail_read = failing == 2 ? steps : -1;
        for (int k = 0; k < steps; k++)
          CU_ASSERT_EQUAL(take_step(&f, loader, &batch, k) == MPISIFT_ERR_USER, k == f.fail_step);
        rounds += loader->round_pending;
        moves += loader->exchange_pending && loader->plan.moved > 0;
        close_faulty(&f, &loader);
      }
  CU_ASSERT(rounds > 10);
  CU_ASSERT(moves > 0 || test_size == 1);
}

static float bad_value;
static int64_t bad_every;

static int bad_score(void *user, const mpisift_batch *candidates, const mpisift_scores *scores)
{
  world_score(user, candidates, scores);
  for (int64_t i = 0; i < candidates->valid; i++)
    if (bad_every > 0 && candidates->ids[i] % bad_every == 0)
      scores->loss[i] = bad_value;
  return 0;
}

/* Many bad losses are an error that names one, and nothing is lost when the model recovers. */
static void many_bad_losses(void)
{
  static const float values[] = {NAN, INFINITY, -INFINITY, -1};

  for (int i = 0; i < 4; i++) {
    struct world w = world_make("bad", 600, 24);
    mpisift_ctx *ctx = open_world();
    mpisift_source source = world_source(&w);
    mpisift_loader *loader = NULL;
    mpisift_batch batch;
    struct oracle o = oracle_run(&w, 1);

    bad_value = values[i];
    bad_every = 2;
    CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(ctx, &w.config, &source, bad_score, &w, &loader), MPISIFT_OK);
    for (int again = 0; again < 2; again++) {
      CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_ERR_DATA);
      CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "has loss"));
      CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "config.bad_loss_share"));
      CU_ASSERT(same_text(mpisift_error(ctx)));
    }
    bad_every = 0;
    for (int64_t k = 0; k < 5; k++) {
      CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_OK);
      check_batch(&w, &o, k, &batch, test_rank);
    }
    mpisift_loader_destroy(&loader);
    CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
    oracle_free(&o);
  }
}

/* With a share of 0 one bad loss is an error; what a callback does not write is bad. */
static void one_bad_loss(void)
{
  struct world w = world_make("bad", 600, 24);
  mpisift_ctx *ctx = open_world();
  mpisift_source source = world_source(&w);
  mpisift_loader *loader = NULL;
  mpisift_batch batch;
  mpisift_status status = MPISIFT_OK;

  bad_value = NAN;
  bad_every = 500;
  w.config.bad_loss_share = 0;
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(ctx, &w.config, &source, bad_score, &w, &loader), MPISIFT_OK);
  while (status == MPISIFT_OK)
    status = mpisift_loader_next(loader, &batch);
  CU_ASSERT_EQUAL(status, MPISIFT_ERR_DATA);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* A rank fails on its own while the failure of another is under way: the one error told ends both. */
static void failures_do_not_linger(void)
{
  struct faulty f = faulty_make(1);
  mpisift_source source = world_source(&f.w);
  mpisift_loader *loader = NULL;
  mpisift_batch batch;
  mpisift_status status = MPISIFT_OK;

  f.rank = test_size - 1;
  source.user = &f;
  source.read = faulty_read;
  f.ctx = open_world();
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(f.ctx, &f.w.config, &source, faulty_score, &f, &loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_OK);
  f.fail_read = f.reads; /* in the call that follows, for a round that is told of in the one after */
  CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_OK);
  status = test_rank == 0 ? mpisift_loader_fail(loader, "mine") : mpisift_loader_next(loader, &batch);
  CU_ASSERT(status < 0);
  CU_ASSERT(same_text(mpisift_error(f.ctx)));
  for (int step = 0; step < 5; step++)
    CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_OK);
  close_faulty(&f, &loader);
}

TEST_MAIN("faults", {"score callback fails", score_fails}, {"read callback fails", read_fails},
          {"failing rank scores padding", failing_rank_scores_padding},
          {"creation without memory", creation_without_memory}, {"rounds without memory", rounds_without_memory},
          {"user fails", user_fails}, {"steady state", steady_state_allocates_nothing},
          {"destroyed in flight", destroyed_in_flight}, {"many bad losses", many_bad_losses},
          {"one bad loss", one_bad_loss}, {"failures do not linger", failures_do_not_linger})
