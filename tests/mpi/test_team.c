/* Teams: replicas of several ranks, several loaders and contexts side by side, hooks, reports, the caller's
 * communicators. */
#include "loading.h"

/* Replicas of `width` neighbouring ranks, and a rank that fails in one of its calls. */
struct sharded {
  struct world w;
  MPI_Comm replica, across; /* across: the same part of every replica's model */
  int width, rank;          /* in the replica */
  int loss_rank;
  int fail_rank, fail_score, fail_step; /* −1: none */
  int calls, broken;
};

/* A forward pass that communicates inside the replica and across replicas, and whose loss only loss_rank knows. */
static int sharded_score(void *user, const mpisift_batch *candidates, const mpisift_scores *scores)
{
  struct sharded *s = user;
  int call = s->calls++, fails = call == s->fail_score && test_rank == s->fail_rank;

  s->broken += !called_together(call, s->replica) || !called_together(call, s->across);
  for (int64_t i = 0; i < candidates->valid; i++)
    s->broken += ((const float *)candidates->data[0])[i * WIDTH] != field_value(candidates->ids[i], 0);
  if (s->rank == s->loss_rank)
    world_score(&s->w, candidates, scores);
  else
    for (int64_t i = 0; i < candidates->n; i++)
      scores->loss[i] = -1;
  return fails;
}

static int64_t batch_digest(const mpisift_batch *b)
{
  uint64_t digest = (uint64_t)b->valid;

  for (int64_t i = 0; i < b->valid; i++)
    digest =
        msift_mix(digest + (uint64_t)(b->ids[i] * 7 + b->slots[i] + (int64_t)((const float *)b->data[0])[i * WIDTH]));
  return (int64_t)(digest >> 1);
}

static void check_same_in_replica(const mpisift_batch *b, MPI_Comm replica)
{
  int64_t most[2] = {batch_digest(b), -batch_digest(b)};

  MPI_Allreduce(MPI_IN_PLACE, most, 2, MPI_INT64_T, MPI_MAX, replica);
  CU_ASSERT_EQUAL(most[0], -most[1]);
}

static mpisift_status sharded_step(struct sharded *s, mpisift_loader *loader, mpisift_batch *batch, int step)
{
  mpisift_status status = step == s->fail_step && test_rank == s->fail_rank ? mpisift_loader_fail(loader, "no")
                                                                            : mpisift_loader_next(loader, batch);

  if (status == MPISIFT_OK)
    check_same_in_replica(batch, s->replica);
  return status;
}

/* Run to the end, with the oracle's batches; returns the number of errors. */
static int run_sharded(struct sharded *s, mpisift_ctx *ctx)
{
  mpisift_source source = world_source(&s->w);
  struct oracle o = oracle_run(&s->w, s->w.config.epochs);
  mpisift_loader *loader = NULL;
  mpisift_batch batch;
  int64_t k = 0, ended = 0;
  int errors = 0;

  s->calls = 0;
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(ctx, &s->w.config, &source, sharded_score, s, &loader), MPISIFT_OK);
  for (int step = 0; ended < s->w.config.epochs && errors < 2; step++) {
    mpisift_status status = sharded_step(s, loader, &batch, step);

    ended += status == MPISIFT_END_OF_EPOCH;
    if (status == MPISIFT_OK && k < o.cuts.n)
      check_batch(&s->w, &o, k++, &batch, test_rank / s->width);
    if (status < 0) {
      errors++;
      CU_ASSERT_EQUAL(status, s->fail_step < 0 ? MPISIFT_ERR_CALLBACK : MPISIFT_ERR_USER);
      CU_ASSERT(same_text(mpisift_error(ctx)));
    }
  }
  CU_ASSERT_EQUAL(k, o.cuts.n);
  CU_ASSERT_EQUAL(s->broken, 0);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  oracle_free(&o);
  return errors;
}

static mpisift_ctx *open_sharded(struct sharded *s, int width, int loss_rank)
{
  mpisift_team team = {MPI_COMM_WORLD, MPI_COMM_NULL, loss_rank};
  mpisift_ctx *ctx = NULL;

  *s = (struct sharded){.w = world_make("replicas", 360, 24), .width = width, .loss_rank = loss_rank};
  s->fail_rank = s->fail_score = s->fail_step = -1;
  s->w.ranks = test_size / width;
  s->w.config.loss_history_length = 120;
  s->w.config.score_batch_size = 7;
  MPI_Comm_split(MPI_COMM_WORLD, test_rank / width, test_rank, &s->replica);
  MPI_Comm_split(MPI_COMM_WORLD, test_rank % width, test_rank, &s->across);
  MPI_Comm_rank(s->replica, &s->rank);
  team.replica = s->replica;
  CU_ASSERT_EQUAL_FATAL(mpisift_open(&team, NULL, NULL, 0, &ctx), MPISIFT_OK);
  return ctx;
}

static void close_sharded(struct sharded *s, mpisift_ctx **ctx)
{
  CU_ASSERT_EQUAL(mpisift_close(ctx), MPISIFT_OK);
  MPI_Comm_free(&s->replica);
  MPI_Comm_free(&s->across);
}

/* All ways to divide the ranks: of 4, 4 × 1, 2 × 2 and 1 × 4. */
static void replicas(void)
{
  struct sharded s;

  for (int width = 1; width <= test_size; width++)
    for (int loss_rank = 0; loss_rank < width && test_size % width == 0; loss_rank += width > 1 ? width - 1 : 1) {
      mpisift_ctx *ctx = open_sharded(&s, width, loss_rank);

      for (int depth = 0; depth <= 1; depth++) {
        s.w.config.pipeline_depth = depth;
        CU_ASSERT_EQUAL(run_sharded(&s, ctx), 0);
      }
      close_sharded(&s, &ctx);
    }
}

/* Each call of score, or each step of the user, fails on one rank in turn, leader of a replica or not: all ranks learn
 * of it, nobody waits in the forward pass, and the run goes on as if nothing had been. */
static void fail_in_each(struct sharded *s, int *call, mpisift_ctx *ctx)
{
  for (int depth = 0; depth <= 1; depth++) {
    s->w.config.pipeline_depth = depth;
    for (s->fail_rank = 0; s->fail_rank < test_size; s->fail_rank++) {
      for (*call = s->fail_rank; run_sharded(s, ctx) == 1; *call += test_size)
        ;
      CU_ASSERT(*call > 7);
    }
  }
  *call = -1;
}

static void replica_member_fails(void)
{
  struct sharded s;
  int width = test_size % 2 == 0 ? 2 : test_size;
  mpisift_ctx *ctx = open_sharded(&s, width, width - 1);

  s.w.n = 216;
  s.w.config.epochs = 2;
  s.w.config.loss_history_length = 72;
  fail_in_each(&s, &s.fail_score, ctx);
  fail_in_each(&s, &s.fail_step, ctx);
  close_sharded(&s, &ctx);
}

/* Ranks below `n` ask for a loss rank that is not there, rank 0 for `first`. */
static void refuse_loss_rank(int n, int first, const char *text)
{
  mpisift_team team = {MPI_COMM_WORLD, MPI_COMM_NULL, test_rank == 0 ? first : test_rank < n ? 3 : 0};
  mpisift_ctx *ctx = NULL;
  char message[300] = "";

  CU_ASSERT_EQUAL(mpisift_open(&team, NULL, message, sizeof message, &ctx), MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_EQUAL(strstr(message, text), message);
  CU_ASSERT(same_text(message));
  CU_ASSERT_PTR_NULL(ctx);
}

static void bad_teams(void)
{
  mpisift_team team;
  mpisift_ctx *ctx = NULL;
  char message[300] = "";
  MPI_Comm uneven;

  refuse_loss_rank(test_size, 3, "team.loss_rank is 3, ");
  refuse_loss_rank(1, 3, test_size > 1 ? "rank 0: team.loss_rank is 3, " : "team.loss_rank is 3, ");
  refuse_loss_rank(test_size, 4, test_size > 1 ? "rank 0: team.loss_rank is 4, " : "team.loss_rank is 4, ");
  MPI_Comm_split(MPI_COMM_WORLD, test_rank < test_size - 1, test_rank, &uneven);
  team = (mpisift_team){MPI_COMM_WORLD, uneven, 0};
  CU_ASSERT_EQUAL(mpisift_open(&team, NULL, message, sizeof message, &ctx),
                  test_size > 2 ? MPISIFT_ERR_ARG : MPISIFT_OK);
  if (test_size > 2)
    CU_ASSERT_PTR_NOT_NULL(strstr(message, "size of team.replica differs"));
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
  MPI_Comm_free(&uneven);
}

static void callers_communicator_may_go(void)
{
  struct world w = world_make("free", 200, 24);
  mpisift_source source = world_source(&w);
  mpisift_team team = {MPI_COMM_NULL, MPI_COMM_NULL, 0};
  mpisift_ctx *ctx = NULL;
  mpisift_loader *loader = NULL;
  mpisift_batch batch;

  MPI_Comm_dup(MPI_COMM_WORLD, &team.comm);
  CU_ASSERT_EQUAL(mpisift_open(&team, NULL, NULL, 0, &ctx), MPISIFT_OK);
  MPI_Comm_free(&team.comm);
  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &w.config, &source, world_score, &w, &loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_ERR_STATE);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "1 loaders"));
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* Training and validation interleaved, at different depths, with messages of both under way. */
static void loaders_side_by_side(void)
{
  struct world a = world_make("training", 600, 24), b = world_make("validation", 101, 24);
  mpisift_source source_a = world_source(&a), source_b = world_source(&b);
  struct oracle o = oracle_run(&a, a.config.epochs);
  mpisift_ctx *ctx = open_world();
  mpisift_loader *training = NULL, *validation = NULL;
  mpisift_batch batch;
  int64_t seen[2] = {0, 0};

  a.config.pipeline_depth = b.config.pipeline_depth = 1;
  b.config.policy = "all";
  b.config.end_of_epoch = MPISIFT_FLUSH;
  b.config.epochs = 0 + 1;
  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &a.config, &source_a, world_score, &a, &training), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &b.config, &source_b, NULL, NULL, &validation), MPISIFT_OK);
  for (int64_t k = 0; k < 5; k++) {
    CU_ASSERT_EQUAL(mpisift_loader_next(training, &batch), MPISIFT_OK);
    check_batch(&a, &o, k, &batch, test_rank);
    CU_ASSERT_EQUAL(mpisift_loader_next(validation, &batch), MPISIFT_OK);
    for (int64_t i = 0; i < batch.valid; i++) {
      seen[0]++;
      seen[1] += batch.ids[i];
    }
  }
  CU_ASSERT_EQUAL(mpisift_loader_next(validation, &batch), MPISIFT_END_OF_EPOCH);
  MPI_Allreduce(MPI_IN_PLACE, seen, 2, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
  CU_ASSERT(seen[0] == 101 && seen[1] == 100 * 101 / 2);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&training), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&validation), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
  oracle_free(&o);
}

struct heard {
  int depth, deepest, lines;
  char last[256];
};

static void hear_log(void *user, int level, const char *text)
{
  struct heard *h = user;

  h->lines += level == MPISIFT_LOG_WARNING;
  snprintf(h->last, sizeof h->last, "%s", text);
}

static void hear_push(void *user, const char *range)
{
  struct heard *h = user;

  h->depth += range != NULL;
  h->deepest = h->depth > h->deepest ? h->depth : h->deepest;
}

static void hear_pop(void *user)
{
  ((struct heard *)user)->depth--;
}

static void hooks_are_called(void)
{
  struct heard h = {0};
  struct world w = world_make("hooks", 200, 24);
  mpisift_source source = world_source(&w);
  mpisift_team team = {MPI_COMM_WORLD, MPI_COMM_NULL, 0};
  mpisift_hooks hooks = {&h, hear_log, hear_push, hear_pop};
  mpisift_ctx *ctx = NULL;
  mpisift_loader *loader = NULL;
  mpisift_batch batch;

  w.config.lanes = test_size * 2 - 1; /* uneven but at 1 rank */
  CU_ASSERT_EQUAL(mpisift_open(&team, &hooks, NULL, 0, &ctx), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &w.config, &source, world_score, &w, &loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(h.lines, test_rank == 0 && test_size > 1);
  if (h.lines > 0)
    CU_ASSERT_PTR_NOT_NULL(strstr(h.last, "config.lanes"));
  CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_OK);
  CU_ASSERT_EQUAL(h.depth, 0);
  CU_ASSERT(h.deepest >= 1);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* Tickets: pieces, late, empty, too late, foreign; the mean comes out global. */
static void reports(void)
{
  struct world w = world_make("reports", 600, 24);
  mpisift_source source = world_source(&w);
  mpisift_ctx *ctx = open_world();
  mpisift_loader *loader = NULL;
  mpisift_batch batch, first;
  float losses[24];

  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &w.config, &source, world_score, &w, &loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_report(loader, 0, 0, 1, losses), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_loader_next(loader, &first), MPISIFT_OK);
  CU_ASSERT(isnan(mpisift_loader_stats(loader, MPISIFT_RUN).trained_loss));
  for (int64_t i = 0; i < 24; i++)
    losses[i] = i < first.n ? (float)first.slots[i] : NAN;
  CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_report(loader, first.serial, 0, first.n / 2, losses), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_report(loader, 0, first.n / 2, first.n - first.n / 2, losses + first.n / 2),
                  MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_report(loader, batch.serial, 0, 0, NULL), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_report(loader, batch.serial, 0, 1, NULL), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_loader_report(loader, batch.serial, 20, 5, losses), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_loader_report(loader, batch.serial, -3, 3, losses), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_loader_report(loader, 2, 0, 1, losses), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_loader_report(loader, -1, 0, 1, losses), MPISIFT_ERR_ARG);
  losses[0] = INFINITY;
  CU_ASSERT_EQUAL(mpisift_loader_report(loader, batch.serial, 0, 1, losses), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_OK);
  CU_ASSERT_DOUBLE_EQUAL(mpisift_loader_stats(loader, MPISIFT_STEP).trained_loss, 11.5, 1e-12);
  CU_ASSERT_DOUBLE_EQUAL(mpisift_loader_stats(loader, MPISIFT_RUN).trained_loss, 11.5, 1e-12);
  CU_ASSERT_EQUAL(mpisift_loader_report(loader, first.serial, 0, 1, losses), MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "not among the last 2"));
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* The last batch of an epoch has no round after it: its report comes with the epoch's end. */
static void reports_reach_their_epoch(void)
{
  struct world w = world_make("last report", 48, 24);
  mpisift_source source = world_source(&w);
  mpisift_ctx *ctx = open_world();
  mpisift_loader *loader = NULL;
  mpisift_batch batch;
  float losses[24], next = 1;

  w.config.policy = "all";
  w.config.epochs = 2;
  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &w.config, &source, NULL, NULL, &loader), MPISIFT_OK);
  for (int epoch = 0; epoch < 2; epoch++) {
    while (mpisift_loader_next(loader, &batch) == MPISIFT_OK) {
      for (int i = 0; i < 24; i++)
        losses[i] = next;
      next++;
      CU_ASSERT_EQUAL(mpisift_loader_report(loader, batch.serial, 0, batch.n, losses), MPISIFT_OK);
    }
    CU_ASSERT_DOUBLE_EQUAL(mpisift_loader_stats(loader, MPISIFT_EPOCH).trained_loss, 1.5 + 2 * epoch, 1e-12);
  }
  CU_ASSERT_DOUBLE_EQUAL(mpisift_loader_stats(loader, MPISIFT_RUN).trained_loss, 2.5, 1e-12);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

static void addresses_slices_and_seeds(void)
{
  struct world w = world_make("slices", 600, 8 * 3);
  mpisift_source source = world_source(&w);
  mpisift_ctx *ctx = open_world();
  mpisift_loader *loader = NULL;
  mpisift_batch a, b, slice;
  uint64_t seeds[2];

  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &w.config, &source, world_score, &w, &loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_next(loader, &a), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_next(loader, &b), MPISIFT_OK);
  CU_ASSERT(a.data[0] == b.data[0] && a.data[1] == b.data[1] && a.ids == b.ids && a.losses == b.losses);
  slice = mpisift_batch_slice(&b, 1, 2);
  CU_ASSERT(slice.n == 2 && slice.valid == 2 && slice.ids[0] == b.ids[1] && slice.slots[1] == b.slots[2]);
  CU_ASSERT_EQUAL(((const float *)slice.data[0])[WIDTH], field_value(b.ids[2], 0));
  CU_ASSERT_EQUAL(((const int16_t *)slice.data[1])[0], b.ids[1] % 1000);
  seeds[0] = mpisift_loader_sample_seed(loader, 1, 99);
  seeds[1] = ~seeds[0];
  MPI_Allreduce(MPI_IN_PLACE, seeds, 2, MPI_UINT64_T, MPI_MAX, MPI_COMM_WORLD);
  CU_ASSERT_EQUAL(seeds[0], ~seeds[1]);
  CU_ASSERT_NOT_EQUAL(seeds[0], mpisift_loader_sample_seed(loader, 2, 99));
  CU_ASSERT_NOT_EQUAL(seeds[0], mpisift_loader_sample_seed(loader, 1, 98));
  mpisift_loader_progress(loader);
  CU_ASSERT(mpisift_loader_fraction(loader) > 0 && mpisift_loader_fraction(loader) < 0.5);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

TEST_MAIN("team", {"replicas", replicas}, {"replica member fails", replica_member_fails}, {"bad teams", bad_teams},
          {"caller's communicator may go", callers_communicator_may_go}, {"loaders side by side", loaders_side_by_side},
          {"hooks", hooks_are_called}, {"reports", reports}, {"reports reach their epoch", reports_reach_their_epoch},
          {"addresses, slices, seeds", addresses_slices_and_seeds})
