/* What index plans refuse, and that failures of one rank reach all, lose nothing, and hang nobody. */
#include "api/indices.h"
#include "indexing.h"

static int same_text(const char *text)
{
  char first[512] = "";
  int same;

  strncpy(first, text, sizeof first - 1);
  MPI_Bcast(first, sizeof first, MPI_CHAR, 0, MPI_COMM_WORLD);
  same = strcmp(first, text) == 0;
  MPI_Allreduce(MPI_IN_PLACE, &same, 1, MPI_INT, MPI_LAND, MPI_COMM_WORLD);
  return same;
}

static void check_local(mpisift_ctx *ctx, mpisift_status status, mpisift_status expected, const char *text)
{
  if (status != expected || strstr(mpisift_error(ctx), text) == NULL)
    fprintf(stderr, "expected status %d with '%s', got %d: %s\n", (int)expected, text, (int)status, mpisift_error(ctx));
  CU_ASSERT_EQUAL(status, expected);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), text));
}

static void check_error(mpisift_ctx *ctx, mpisift_status status, mpisift_status expected, const char *text)
{
  check_local(ctx, status, expected, text);
  CU_ASSERT(same_text(mpisift_error(ctx)));
}

static bool last_rank(void)
{
  return test_rank == test_size - 1;
}

/* Batches of this epoch from one to another. */
static void take_batches(struct index_run *r, int64_t first, int64_t end)
{
  mpisift_batch b;

  for (int64_t k = first; k < end; k++) {
    CU_ASSERT_EQUAL_FATAL(mpisift_indices_next(r->x, &b), MPISIFT_OK);
    index_take(r, &r->o->train, k, false, &b);
    r->o->steps++;
  }
}

/* The rest of a run, from the middle of its first epoch or the beginning of one, as if nothing had failed. */
static void finish(struct index_run *r, int64_t first)
{
  mpisift_batch b;

  take_batches(r, first, r->o->now.steps);
  CU_ASSERT_EQUAL(mpisift_indices_next(r->x, &b), MPISIFT_END_OF_EPOCH);
  for (r->o->epoch++; r->o->epoch < r->w.config.epochs;) {
    index_begin(r);
    index_batches(r);
  }
  index_close(r);
}

static void first_batches(struct index_run *r, int64_t n)
{
  index_begin(r);
  take_batches(r, 0, n);
}

struct bad_config {
  const char *text;
  void (*change)(mpisift_config *c);
};

static void scored(mpisift_config *c)
{
  c->policy = "relative";
}
static void no_policy(mpisift_config *c)
{
  c->policy = "stale";
}
static void classes(mpisift_config *c)
{
  c->policy = "random";
  c->class_floor = 0.1;
  c->groups = 3;
}
static void difference(mpisift_config *c)
{
  c->loss_smoothing = 0.2;
  c->loss_difference = 0.5;
}
static void smoothing(mpisift_config *c)
{
  c->loss_smoothing = 1;
}
static void quantile(mpisift_config *c)
{
  c->policy = "soft_prune";
  c->prune_quantile = 1.5;
}
static void back(mpisift_config *c)
{
  c->move_back = -1;
}
static void refresh_every(mpisift_config *c)
{
  c->refresh_every = -1;
}
static void refresh_share(mpisift_config *c)
{
  c->refresh_share = 2;
}
static void budget(mpisift_config *c)
{
  c->step_budget = -1;
}
static void no_weights(mpisift_config *c)
{
  c->policy = "soft_prune";
  c->weights_applied = false;
}
static void lanes(mpisift_config *c)
{
  c->lanes = 0;
  c->global_batch_size = 0;
  c->batch_size = INT32_MAX;
}

/* One rank's configuration is bad. */
static void bad_configurations(void)
{
  static const struct bad_config cases[] = {{"config.policy: relative scores candidates", scored},
                                            {"config.policy: no policy", no_policy},
                                            {"config.class_floor needs", classes},
                                            {"config.loss_difference", difference},
                                            {"config.loss_smoothing", smoothing},
                                            {"config.prune_quantile", quantile},
                                            {"config.move_back", back},
                                            {"config.refresh_every", refresh_every},
                                            {"config.refresh_share", refresh_share},
                                            {"config.step_budget", budget},
                                            {"weights_applied", no_weights},
                                            {"the global batch", lanes}};

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct index_world w = index_world_make("bad", "stale_relative");
    mpisift_ctx *ctx = open_indexing();
    mpisift_indices *x = (mpisift_indices *)&w;

    if (last_rank())
      cases[i].change(&w.config);
    check_error(ctx, mpisift_indices_create(ctx, &w.config, w.n, w.block, &x), MPISIFT_ERR_ARG, cases[i].text);
    CU_ASSERT_PTR_NULL(x);
    CU_ASSERT_EQUAL(ctx->memory.blocks, 1); /* the team's */
    CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
  }
}

static void bad_creation(void)
{
  struct index_world w = index_world_make("bad", "stale_relative");
  mpisift_ctx *ctx = open_indexing();
  mpisift_indices *x = NULL;

  check_error(ctx, mpisift_indices_create(ctx, last_rank() ? NULL : &w.config, w.n, w.block, &x), MPISIFT_ERR_ARG,
              "config or indices is NULL");
  check_error(ctx, mpisift_indices_create(ctx, &w.config, w.n, w.block, last_rank() ? NULL : &x), MPISIFT_ERR_ARG,
              "config or indices is NULL");
  check_error(ctx, mpisift_indices_create(ctx, &w.config, last_rank() ? 0 : w.n, w.block, &x), MPISIFT_ERR_ARG,
              "n is 0");
  check_error(ctx, mpisift_indices_create(ctx, &w.config, w.n, last_rank() ? -1 : 1, &x), MPISIFT_ERR_ARG, "block -1");
  check_error(ctx, mpisift_indices_create(ctx, &w.config, 23, 1, &x), MPISIFT_ERR_DATA, "there are 23 samples");
  if (test_size > 1) {
    check_error(ctx, mpisift_indices_create(ctx, &w.config, w.n + last_rank(), 1, &x), MPISIFT_ERR_ARG,
                "n, the number of samples, differs");
    check_error(ctx, mpisift_indices_create(ctx, &w.config, w.n, 1 + last_rank(), &x), MPISIFT_ERR_ARG,
                "block differs");
    w.config.step_budget = last_rank();
    check_error(ctx, mpisift_indices_create(ctx, &w.config, w.n, 1, &x), MPISIFT_ERR_ARG, "config.step_budget differs");
  }
  CU_ASSERT_EQUAL(mpisift_indices_create(NULL, &w.config, w.n, 1, &x), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_indices_begin_epoch(NULL, 1, NULL), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_indices_next(NULL, NULL), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_indices_refresh(NULL, NULL), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_indices_ahead(NULL, 0, 0, NULL, NULL), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_indices_report(NULL, 0, 0, 0, NULL, 1), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_indices_fail(NULL, ""), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_indices_destroy(NULL), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_indices_destroy(&x), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* Reports that are refused take nothing; this rank alone is told. */
static void bad_reports(void)
{
  struct index_world w = index_world_make("bad reports", "stale_relative");
  static struct index_run r;
  static float losses[64];
  int32_t group = 9;
  const mpisift_scores scores = {.loss = losses, .group = &group};

  w.config.groups = INDEX_GROUPS;
  w.config.class_floor = 1e-9; /* groups are asked for, and matter little */
  w.config.report_lag = 2;
  index_open(&r, &w);
  check_local(r.ctx, mpisift_indices_report(r.x, 0, 0, 1, losses, 1), MPISIFT_ERR_ARG, "batch 0 is not among");
  first_batches(&r, 6);
  check_local(r.ctx, mpisift_indices_report(r.x, 6, 0, 1, losses, 1), MPISIFT_ERR_ARG, "batch 6 is not among");
  check_local(r.ctx, mpisift_indices_report(r.x, -1, 0, 1, losses, 1), MPISIFT_ERR_ARG, "batch -1 is not among");
  check_local(r.ctx, mpisift_indices_report(r.x, 2, 0, 0, losses, 1), MPISIFT_ERR_ARG, "3 to 5");
  check_local(r.ctx, mpisift_indices_report(r.x, 5, -1, 1, losses, 1), MPISIFT_ERR_ARG, "rows -1");
  check_local(r.ctx, mpisift_indices_report(r.x, 5, 0, -1, losses, 1), MPISIFT_ERR_ARG, "rows 0 to -1");
  check_local(r.ctx, mpisift_indices_report(r.x, 5, 1, 24, losses, 1), MPISIFT_ERR_ARG, "rows 1 to 25");
  check_local(r.ctx, mpisift_indices_report(r.x, 5, 0, 1, NULL, 1), MPISIFT_ERR_ARG, "losses are NULL");
  check_local(r.ctx, mpisift_indices_report(r.x, 5, 0, 1, losses, 0), MPISIFT_ERR_ARG, "stride 0");
  CU_ASSERT_EQUAL(mpisift_indices_report(r.x, 5, 0, 0, NULL, 1), MPISIFT_OK);
  check_local(r.ctx, mpisift_indices_report_scores(r.x, 5, 0, 1, &scores, 1), MPISIFT_ERR_ARG, "row 0 has group 9");
  CU_ASSERT_EQUAL(mpisift_indices_report_scores(r.x, 5, 0, 1, NULL, 1), MPISIFT_ERR_ARG);
  for (; r.reported < 6; r.reported++)
    report_batch(&r, &r.late[r.reported % 64]);
  check_local(r.ctx, mpisift_indices_report(r.x, 5, 0, 1, losses, 1), MPISIFT_ERR_ARG,
              "row 0 has been reported already");
  finish(&r, 6);
}

/* Calls that do not fit the state; and a data set that has changed, on one rank. */
static void bad_calls(void)
{
  struct index_world w = index_world_make("bad calls", "hide");
  static struct index_run r;
  int64_t id[100];
  mpisift_batch b;

  index_open(&r, &w);
  check_error(r.ctx, mpisift_indices_next(r.x, &b), MPISIFT_ERR_STATE, "no epoch has begun");
  check_error(r.ctx, mpisift_indices_refresh(r.x, &b), MPISIFT_ERR_STATE, "no epoch has begun");
  check_error(r.ctx, mpisift_indices_ahead(r.x, 0, 1, id, NULL), MPISIFT_ERR_STATE, "no epoch has begun");
  check_error(r.ctx, mpisift_indices_begin_epoch(r.x, w.n + (last_rank() ? 3 : 0), NULL), MPISIFT_ERR_DATA,
              "the data set has 503 samples, but 500");
  first_batches(&r, 2);
  check_error(r.ctx, mpisift_indices_begin_epoch(r.x, w.n, NULL), MPISIFT_ERR_STATE, "epoch 0 has 18 batches left");
  check_error(r.ctx, mpisift_indices_ahead(r.x, 0, 1, last_rank() ? NULL : id, NULL), MPISIFT_ERR_ARG, "ids is NULL");
  check_error(r.ctx, mpisift_indices_ahead(r.x, last_rank() ? -1 : 0, 1, id, NULL), MPISIFT_ERR_ARG, "first is -1");
  check_error(r.ctx, mpisift_indices_ahead(r.x, 0, INT64_MAX, id, NULL), MPISIFT_ERR_ARG, "ask for at most");
  if (test_size > 1) {
    check_error(r.ctx, mpisift_indices_ahead(r.x, last_rank(), 1, id, NULL), MPISIFT_ERR_ARG,
                "mpisift_indices_ahead: first differs between ranks");
    check_error(r.ctx, mpisift_indices_ahead(r.x, 0, 1 + last_rank(), id, NULL), MPISIFT_ERR_ARG,
                "mpisift_indices_ahead: steps differs between ranks");
  }
  check_local(r.ctx, mpisift_close(&r.ctx), MPISIFT_ERR_STATE, "alive");
  finish(&r, 2);
}

/* More bad losses than are allowed: an error as long as they stand; fewer are counted. */
static void many_bad_losses(void)
{
  struct index_world w = index_world_make("bad losses", "soft_prune");
  static struct index_run r;
  mpisift_batch b;

  w.bad = 3;
  w.config.bad_loss_share = 0.2;
  index_open(&r, &w);
  index_begin(&r);
  index_batches(&r);
  report_due(&r);
  check_error(r.ctx, mpisift_indices_begin_epoch(r.x, w.n, NULL), MPISIFT_ERR_DATA, "reports of the epoch are NaN");
  check_error(r.ctx, mpisift_indices_begin_epoch(r.x, w.n, NULL), MPISIFT_ERR_DATA, "config.bad_loss_share 0.2");
  CU_ASSERT_EQUAL(mpisift_indices_next(r.x, &b), MPISIFT_ERR_STATE);
  index_close(&r);
}

/* A rank says that it failed: all learn it by the call after the next, with nothing lost. */
static void failures(void)
{
  for (int64_t at = 0; at < 4; at++) {
    struct index_world w = index_world_make("failures", "random");
    static struct index_run r;
    mpisift_batch b;

    index_open(&r, &w);
    first_batches(&r, at);
    if (last_rank())
      CU_ASSERT_EQUAL(mpisift_indices_fail(r.x, "the disk is full"), MPISIFT_OK);
    CU_ASSERT_EQUAL_FATAL(mpisift_indices_next(r.x, &b), MPISIFT_OK);
    index_take(&r, &r.o->train, at, false, &b);
    r.o->steps++;
    check_error(r.ctx, mpisift_indices_next(r.x, &b), MPISIFT_ERR_USER, "the disk is full");
    finish(&r, at + 1);
  }
}

/* The same at the calls that agree themselves. */
static void failures_between_epochs(void)
{
  struct index_world w = index_world_make("failures between epochs", "random");
  static struct index_run r;
  mpisift_batch b;
  int64_t ids[24];

  index_open(&r, &w);
  if (last_rank())
    mpisift_indices_fail(r.x, NULL);
  check_error(r.ctx, mpisift_indices_begin_epoch(r.x, w.n, NULL), MPISIFT_ERR_USER, "training failed");
  index_begin(&r);
  if (last_rank())
    mpisift_indices_fail(r.x, "a");
  check_error(r.ctx, mpisift_indices_ahead(r.x, 0, 1, ids, NULL), MPISIFT_ERR_USER, "a");
  take_batches(&r, 0, r.o->now.steps);
  if (last_rank())
    mpisift_indices_fail(r.x, "b");
  check_error(r.ctx, mpisift_indices_next(r.x, &b), MPISIFT_ERR_USER, "b");
  if (last_rank())
    mpisift_indices_fail(r.x, "c");
  check_error(r.ctx, mpisift_indices_refresh(r.x, &b), MPISIFT_ERR_USER, "c");
  finish(&r, r.o->now.steps);
}

/* What a rank has to tell goes before what is wrong with the call. */
static void failures_before_errors(void)
{
  struct index_world w = index_world_make("failures before errors", "random");
  static struct index_run r;
  mpisift_batch b;

  index_open(&r, &w);
  first_batches(&r, 2);
  if (last_rank())
    mpisift_indices_fail(r.x, "d");
  check_error(r.ctx, mpisift_indices_begin_epoch(r.x, w.n, NULL), MPISIFT_ERR_USER, "d");
  check_error(r.ctx, mpisift_indices_begin_epoch(r.x, w.n, NULL), MPISIFT_ERR_STATE, "batches left");
  CU_ASSERT_EQUAL(mpisift_indices_next(r.x, &b), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_indices_destroy(&r.x), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&r.ctx), MPISIFT_OK);
  free(r.o);
}

/* Long runs that a budget ends are planned at once. */
static void endless_epochs(void)
{
  for (int64_t epochs = 1000000000; epochs > 0; epochs = epochs == INT64_MAX ? 0 : INT64_MAX) {
    struct index_world w = index_world_make("endless epochs", "stale_relative");
    mpisift_ctx *ctx = open_indexing();
    mpisift_indices *x = NULL;
    mpisift_index_epoch epoch;

    w.config.epochs = epochs;
    w.config.step_budget = 1000;
    CU_ASSERT_EQUAL_FATAL(mpisift_indices_create(ctx, &w.config, w.n, w.block, &x), MPISIFT_OK);
    CU_ASSERT_EQUAL(mpisift_indices_begin_epoch(x, w.n, &epoch), MPISIFT_OK);
    CU_ASSERT_EQUAL(epoch.run_steps, 1000);
    CU_ASSERT_EQUAL(mpisift_indices_destroy(&x), MPISIFT_OK);
    CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
  }
}

/* No place for a batch, on one rank: at once there, on all with the next call. */
static void no_batch(void)
{
  struct index_world w = index_world_make("no batch", "all");
  static struct index_run r;
  mpisift_batch b;

  index_open(&r, &w);
  first_batches(&r, 1);
  CU_ASSERT_EQUAL(mpisift_indices_next(r.x, last_rank() ? NULL : &b), last_rank() ? MPISIFT_ERR_ARG : MPISIFT_OK);
  check_error(r.ctx, mpisift_indices_next(r.x, &b), MPISIFT_ERR_ARG, "mpisift_indices_next: batch is NULL");
  CU_ASSERT_EQUAL(mpisift_indices_next(r.x, &b), MPISIFT_OK);
  CU_ASSERT_EQUAL(b.serial, 2);
  CU_ASSERT_EQUAL(b.ids[0], r.o->train.at[48 + b.slots[0]].id);
  index_close(&r); /* in the middle of an epoch, with a vote under way */
}

/* In a context whose MPI has failed, a vote may be under way: what MPI writes to stays. */
static void destroyed_while_voting(void)
{
  struct index_world w = index_world_make("destroyed while voting", "all");
  mpisift_ctx *ctx = open_indexing();
  mpisift_indices *x = NULL;
  struct msift_vote *vote;
  mpisift_batch b;

  CU_ASSERT_EQUAL_FATAL(mpisift_indices_create(ctx, &w.config, w.n, w.block, &x), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_indices_begin_epoch(x, w.n, NULL), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_indices_next(x, &b), MPISIFT_OK);
  vote = x->vote;
  ctx->poisoned = true;
  CU_ASSERT_EQUAL(mpisift_indices_destroy(&x), MPISIFT_OK);
  CU_ASSERT_PTR_NULL(x);
  CU_ASSERT_EQUAL_FATAL(ctx->memory.blocks, 2); /* the team's, and the vote's */
  CU_ASSERT_EQUAL(MPI_Wait(&vote->request, MPI_STATUS_IGNORE), MPI_SUCCESS);
  CU_ASSERT_EQUAL(vote->failed, 0);
  msift_free(&ctx->memory, &vote);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* Reports that a plan took which then failed count with what the repeated call takes. */
static void counts_of_a_repeated_plan(void)
{
  mpisift_status status = MPISIFT_ERR_MEMORY;

  for (int64_t k = 1; status != MPISIFT_OK; k++) {
    struct index_world w = index_world_make("counts of a repeated plan", "hide");
    static struct index_run r;
    mpisift_batch b;

    w.config.refresh_every = 1;
    w.config.report_lag = 0;
    w.missing = 9;
    index_open(&r, &w);
    index_begin(&r);
    index_batches(&r);
    index_begin(&r);
    take_batches(&r, 0, r.o->now.steps);
    CU_ASSERT_EQUAL(mpisift_indices_next(r.x, &b), MPISIFT_END_OF_EPOCH);
    report_due(&r);
    r.ctx->memory.fail_after = k % test_size == test_rank ? k : 0;
    status = mpisift_indices_begin_epoch(r.x, w.n, NULL);
    r.ctx->memory.fail_after = 0;
    for (int64_t j = 0; j < r.o->now.refresh_steps && status != MPISIFT_OK; j++) {
      CU_ASSERT_EQUAL_FATAL(mpisift_indices_refresh(r.x, &b), MPISIFT_OK);
      index_take(&r, &r.o->refresh, j, true, &b);
    }
    r.o->epoch++;
    if (status != MPISIFT_OK)
      index_begin(&r);
    index_close(&r);
    CU_ASSERT(k < 100);
  }
}

/* Every allocation of a call fails in turn, the ranks taking turns. */
static void allocations(void)
{
  bool more = true;

  for (int64_t k = 1; more; k++) {
    struct index_world w = index_world_make("allocations", "hide");
    static struct index_run r;
    mpisift_status status;
    bool fails = k % test_size == test_rank;

    w.config.refresh_every = 2;
    w.config.epochs = 3;
    index_open(&r, &w);
    index_begin(&r);
    index_batches(&r);
    report_due(&r);
    r.ctx->memory.fail_after = fails ? k : 0;
    status = mpisift_indices_begin_epoch(r.x, w.n, NULL);
    more = status != MPISIFT_OK;
    r.ctx->memory.fail_after = 0;
    if (more) {
      check_error(r.ctx, status, MPISIFT_ERR_MEMORY, "cannot allocate");
      for (int i = 0; i < 2; i++) { /* the reports may have been taken: the oracle takes them once */
        index_begin(&r);
        index_batches(&r);
      }
    }
    index_close(&r);
    CU_ASSERT(k < 100);
  }
}

static void allocations_elsewhere(void)
{
  struct index_world w = index_world_make("allocations", "hide");
  mpisift_status status = MPISIFT_ERR_MEMORY;
  mpisift_ctx *ctx = open_indexing();
  mpisift_indices *x = NULL;
  int64_t ids[48];

  for (int64_t k = 1; status != MPISIFT_OK; k++) {
    ctx->memory.fail_after = k % test_size == test_rank ? k : 0;
    status = mpisift_indices_create(ctx, &w.config, w.n, w.block, &x);
    ctx->memory.fail_after = 0;
    if (status != MPISIFT_OK) {
      check_error(ctx, status, MPISIFT_ERR_MEMORY, "cannot allocate");
      CU_ASSERT_EQUAL(ctx->memory.blocks, 1);
    }
  }
  CU_ASSERT_EQUAL(mpisift_indices_begin_epoch(x, w.n, NULL), MPISIFT_OK);
  status = MPISIFT_ERR_MEMORY;
  for (int64_t k = 1; status != MPISIFT_OK; k++) {
    ctx->memory.fail_after = k % test_size == test_rank ? k : 0;
    status = mpisift_indices_ahead(x, 0, 2, ids, NULL);
    ctx->memory.fail_after = 0;
    if (status != MPISIFT_OK)
      check_error(ctx, status, MPISIFT_ERR_MEMORY, "cannot allocate");
  }
  CU_ASSERT_EQUAL(mpisift_indices_destroy(&x), MPISIFT_OK);
  CU_ASSERT_EQUAL(ctx->memory.blocks, 1);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* Replicas of two ranks: the same batches on both, and the reports of one count. */
static void replicas(void)
{
  struct index_world w = index_world_make("replicas", "hide");
  mpisift_team team = {MPI_COMM_WORLD, MPI_COMM_NULL, 1};
  static struct index_run r;

  if (test_size % 2 != 0) {
    CU_ASSERT(true);
    return;
  }
  MPI_Comm_split(MPI_COMM_WORLD, test_rank / 2, test_rank, &team.replica);
  w.ranks = test_size / 2;
  w.confident = true;
  w.missing = 7;
  w.config.refresh_every = 2;
  memset(&r, 0, sizeof r);
  r.w = w;
  r.o = malloc(sizeof *r.o);
  oracle_open(r.o, &r.w);
  CU_ASSERT_EQUAL(mpisift_open(&team, NULL, NULL, 0, &r.ctx), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_indices_create(r.ctx, &w.config, w.n, w.block, &r.x), MPISIFT_OK);
  for (int64_t e = 0; e < w.config.epochs; e++) {
    index_begin(&r);
    index_batches(&r);
  }
  index_close(&r);
  MPI_Comm_free(&team.replica);
}

TEST_MAIN("index faults", {"bad configurations", bad_configurations}, {"bad creation", bad_creation},
          {"bad reports", bad_reports}, {"bad calls", bad_calls}, {"many bad losses", many_bad_losses},
          {"failures", failures}, {"failures between epochs", failures_between_epochs},
          {"failures before errors", failures_before_errors}, {"endless epochs", endless_epochs},
          {"no batch", no_batch}, {"destroyed while voting", destroyed_while_voting},
          {"counts of a repeated plan", counts_of_a_repeated_plan}, {"allocations", allocations},
          {"allocations elsewhere", allocations_elsewhere}, {"replicas", replicas})
