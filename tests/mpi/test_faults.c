/* Invariants 6 and 7: failures of one rank are agreed, lose nothing, and hang nobody. */
#include "api/loader.h"
#include "loading.h"

/* A world whose callbacks fail on one rank in one of their calls, counted over the run. */
struct faulty {
  struct world w;
  mpisift_ctx *ctx;
  int rank;      /* that fails; −1: none */
  int fail_read; /* call of read that fails; −1: none */
  int fail_score;
  int reads, scores;
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
  if (f->rank == test_rank && f->scores++ == f->fail_score) {
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

  CU_ASSERT_EQUAL(mpisift_loader_destroy(loader), MPISIFT_OK);
  CU_ASSERT_PTR_NULL(*loader);
  blocks = f->ctx->memory.blocks;
  CU_ASSERT_EQUAL(blocks, 1); /* the team's */
  CU_ASSERT_EQUAL(mpisift_close(&f->ctx), MPISIFT_OK);
}

static struct faulty faulty_make(int depth)
{
  struct faulty f = {.w = world_make("faulty", 600, 24), .rank = -1, .fail_read = -1, .fail_score = -1};

  f.w.config.epochs = 2;
  f.w.config.pipeline_depth = depth;
  f.w.config.score_batch_size = 5;
  return f;
}

/* Run to the end; errors must be `expected`, with `text`, on all ranks, and the batches those of the oracle. Returns
 * the number of errors. */
static int run_through(struct faulty *f, mpisift_loader *loader, mpisift_status expected, const char *text)
{
  struct oracle o = oracle_run(&f->w, f->w.config.epochs);
  int64_t k = 0, ended = 0;
  int errors = 0;
  mpisift_batch batch;

  while (ended < f->w.config.epochs && errors < 10) {
    mpisift_status status = mpisift_loader_next(loader, &batch);

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

/* One rank's callback fails in one call: one error on all ranks, which names the rank unless it is alone, and then the
 * run goes on as if nothing had been. */
static void fail_once(int depth, int rank, int fail_read, int fail_score, const char *reason, const char *text)
{
  struct faulty f = faulty_make(depth);
  mpisift_loader *loader;
  char expected[128];

  f.rank = rank;
  f.fail_read = fail_read;
  f.fail_score = fail_score;
  f.reason = reason;
  if (test_size > 1)
    snprintf(expected, sizeof expected, "rank %d: %s", rank, text);
  else
    snprintf(expected, sizeof expected, "%s", text);
  loader = open_faulty(&f);
  CU_ASSERT_EQUAL(run_through(&f, loader, MPISIFT_ERR_CALLBACK, expected), 1);
  close_faulty(&f, &loader);
}

static void score_fails(void)
{
  for (int depth = 0; depth <= 1; depth++)
    for (int rank = 0; rank<test_size; rank += test_size> 4 ? 3 : 1)
      for (int call = 0; call < 22; call += 7)
        fail_once(depth, rank, -1, call, NULL, "the score callback returned 7");
  fail_once(0, test_size - 1, -1, 3, "the GPU is on fire", "the score callback failed: the GPU is on fire");
}

static void read_fails(void)
{
  for (int depth = 0; depth <= 1; depth++)
    for (int rank = 0; rank<test_size; rank += test_size> 4 ? 3 : 1)
      for (int call = 0; call < 14; call += 6)
        fail_once(depth, rank, call, -1, NULL, "reading returned 5");
  fail_once(1, 0, 2, -1, "no such shard", "reading failed: no such shard");
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

/* A rank's own training step fails before step `when`: all ranks get the error in that call, at both depths, and
 * nothing is lost. The run ends there, or goes on in spite of it. */
static void fail_at(int depth, int when, int rank, int go_on)
{
  struct faulty f = faulty_make(depth);
  mpisift_loader *loader = open_faulty(&f);
  mpisift_status status = MPISIFT_OK;
  mpisift_batch batch;

  for (int step = 0; step < when && status >= 0; step++) {
    status = mpisift_loader_next(loader, &batch);
    if (status == MPISIFT_OK)
      MPI_Barrier(MPI_COMM_WORLD); /* a training step communicates: who gets a batch must not be alone with it */
  }
  CU_ASSERT(status >= 0);
  status =
      test_rank == rank ? mpisift_loader_fail(loader, "loss is NaN at step 4711") : mpisift_loader_next(loader, &batch);
  if (status == MPISIFT_OK)
    MPI_Barrier(MPI_COMM_WORLD);
  CU_ASSERT_EQUAL(status, MPISIFT_ERR_USER);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f.ctx), "loss is NaN at step 4711"));
  CU_ASSERT(same_text(mpisift_error(f.ctx)));
  for (int step = 0; go_on && step < 5; step++) {
    status = mpisift_loader_next(loader, &batch);
    CU_ASSERT(status >= 0);
    if (status == MPISIFT_OK)
      check_slots(&batch, MPI_COMM_WORLD);
  }
  close_faulty(&f, &loader);
}

static void user_fails(void)
{
  for (int depth = 0; depth <= 1; depth++)
    for (int when = 0; when < 24; when += 2)
      fail_at(depth, when, when / 2 % test_size, when < 16);
}

/* At the end of an epoch and of its last batch there is an agreement as well. */
static void user_fails_around_the_end(void)
{
  struct faulty f = faulty_make(0);
  struct oracle o = oracle_run(&f.w, 1);

  for (int when = (int)o.cuts.n - 1; when <= (int)o.cuts.n + 1; when++)
    fail_at(0, when, test_size - 1, 1);
  CU_ASSERT(o.cuts.n > 5);
  oracle_free(&o);
}

static void destroyed_in_flight(void)
{
  for (int depth = 0; depth <= 1; depth++)
    for (int steps = 0; steps < 12; steps += 3) {
      struct faulty f = faulty_make(depth);
      mpisift_loader *loader = open_faulty(&f);
      mpisift_batch batch;

      for (int k = 0; k < steps; k++)
        CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_OK);
      if (depth == 1 && steps > 0)
        CU_ASSERT(loader->round_pending);
      close_faulty(&f, &loader);
    }
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
  f.fail_read = 2;
  source.user = &f;
  source.read = faulty_read;
  f.ctx = open_world();
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(f.ctx, &f.w.config, &source, faulty_score, &f, &loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_OK);
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
          {"user fails", user_fails}, {"user fails around the end of an epoch", user_fails_around_the_end},
          {"destroyed in flight", destroyed_in_flight}, {"many bad losses", many_bad_losses},
          {"one bad loss", one_bad_loss}, {"failures do not linger", failures_do_not_linger})
