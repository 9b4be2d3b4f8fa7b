/* What waits is bounded, whoever accepts: no round starts while the pool holds a global batch, and less than one is
 * carried over at the end of an epoch. Losses depend on the rank here, which the library does not forbid. */
#include "api/loader.h"
#include "loading.h"

enum { SAMPLES = 6000, BATCH = 37, MAX_ROUND = 128 * BATCH };

/* Which candidates have a loss that is accepted: those of the last rank; all of some calls of the score function; those
 * of every third epoch. */
enum kind { LAST_RANK, SOME_CALLS, SOME_EPOCHS };

struct skew {
  enum kind kind;
  int64_t calls;
};

static int skewed_score(void *user, const mpisift_batch *b, const mpisift_scores *scores)
{
  struct skew *skew = user;
  int high = skew->kind == LAST_RANK    ? test_rank == test_size - 1
             : skew->kind == SOME_CALLS ? skew->calls % 9 == 8
                                        : b->epoch % 3 == 0;

  for (int64_t i = 0; i < b->valid; i++)
    scores->loss[i] = high ? 2 : 0.5F;
  skew->calls++;
  return 0;
}

static int64_t waiting(const mpisift_stats *s)
{
  return s->pooled + s->carried_out;
}

/* One call at depth 0, from one state of the run's statistics to the next. */
static void check_call(const mpisift_stats *from, const mpisift_stats *to, mpisift_status status)
{
  int64_t rounds = to->rounds - from->rounds, candidates = to->candidates - from->candidates;

  CU_ASSERT(rounds == 0 || waiting(from) < BATCH);
  CU_ASSERT(candidates <= rounds * MAX_ROUND);
  CU_ASSERT(waiting(to) < (status == MPISIFT_OK ? MAX_ROUND : BATCH));
  if (waiting(from) >= BATCH)
    CU_ASSERT_EQUAL(waiting(to), waiting(from) - BATCH);
}

static void run(enum kind kind)
{
  struct world w = world_make("skew", SAMPLES, BATCH);
  struct skew skew = {kind, 0};
  mpisift_ctx *ctx = open_world();
  mpisift_source source = world_source(&w);
  mpisift_loader *loader = NULL;
  mpisift_stats from, to = {0};
  mpisift_batch batch;

  w.config.policy = "absolute";
  w.config.threshold = 1;
  w.config.epochs = 4;
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(ctx, &w.config, &source, skewed_score, &skew, &loader), MPISIFT_OK);
  for (int64_t ended = 0; ended < w.config.epochs;) {
    mpisift_status status = mpisift_loader_next(loader, &batch);

    CU_ASSERT_FATAL(status == MPISIFT_OK || status == MPISIFT_END_OF_EPOCH);
    ended += status == MPISIFT_END_OF_EPOCH;
    from = to;
    to = mpisift_loader_stats(loader, MPISIFT_RUN);
    check_call(&from, &to, status);
  }
  CU_ASSERT(to.steps > 10 && to.candidates == w.config.epochs * SAMPLES);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

static void one_rank_accepts(void)
{
  run(LAST_RANK);
}

static void some_calls_accept(void)
{
  run(SOME_CALLS);
}

static void some_epochs_accept(void)
{
  run(SOME_EPOCHS);
}

/* At depth 1 a batch is on its way whenever the user trains, as long as there are candidates; and what waits besides is
 * less than a batch and a round. */
static void a_batch_is_on_its_way(void)
{
  struct world w = world_make("ahead", SAMPLES, BATCH);
  mpisift_ctx *ctx = open_world();
  mpisift_source source = world_source(&w);
  mpisift_loader *loader = NULL;
  mpisift_batch batch;
  int64_t calls = 0, rounds;

  w.config.pipeline_depth = 1;
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(ctx, &w.config, &source, world_score, &w, &loader), MPISIFT_OK);
  while (mpisift_loader_next(loader, &batch) == MPISIFT_OK) {
    CU_ASSERT(loader->exchange_pending || loader->exhausted);
    CU_ASSERT(loader->pool.owners.n < BATCH || !loader->round_pending);
    calls += loader->exchange_pending;
  }
  rounds = mpisift_loader_stats(loader, MPISIFT_RUN).rounds;
  CU_ASSERT(calls > 20 && rounds > 20);
  CU_ASSERT_EQUAL(loader->reduction.begun, rounds);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

static void *read_to;
static int (*read_rows)(void *user, int64_t n, const int64_t *ids, void *const *dst);

static int note_place(void *user, int64_t n, const int64_t *ids, void *const *dst)
{
  read_to = dst[0];
  return read_rows(user, n, ids, dst);
}

/* Where nobody scores, rows are read to where the batch has them. */
static void no_copy_without_scores(void)
{
  for (int depth = 0; depth < 2; depth++) {
    struct world w = world_make("no copy", SAMPLES, 24);
    mpisift_ctx *ctx = open_world();
    mpisift_source source = world_source(&w);
    mpisift_loader *loader = NULL;
    mpisift_batch batch;

    w.config.policy = "all";
    w.config.pipeline_depth = depth;
    read_rows = source.read;
    source.read = note_place;
    CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(ctx, &w.config, &source, NULL, NULL, &loader), MPISIFT_OK);
    for (int step = 0; step < 20; step++) {
      CU_ASSERT_EQUAL_FATAL(mpisift_loader_next(loader, &batch), MPISIFT_OK);
      CU_ASSERT_EQUAL(batch.data[0] == read_to, depth == 0);
    }
    CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
    CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
  }
}

TEST_MAIN("pool", {"one rank accepts everything", one_rank_accepts},
          {"some calls accept everything", some_calls_accept}, {"some epochs accept everything", some_epochs_accept},
          {"a batch is on its way", a_batch_is_on_its_way}, {"no copy without scores", no_copy_without_scores})
