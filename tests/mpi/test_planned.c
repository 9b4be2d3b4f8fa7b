/* Loaders whose policies go by stale losses: the batches of the oracle of index plans, with what was read, and nothing
 * else read; failures of reading, scoring and memory lose nothing. */
#include "api/loader.h"
#include "indexing.h"

enum { WIDTH = 3 };

static const mpisift_field fields[] = {{"x", MPISIFT_F32, 1, {WIDTH}}, {"y", MPISIFT_I64, 0, {0}}};

/* A run of a loader beside the oracle. */
struct planned {
  struct index_run r; /* without its plan */
  mpisift_loader *l;
  mpisift_scores scores;
  int64_t reads, fail_at;       /* calls of callbacks; that which fails; 0: none */
  int64_t scored_calls, served; /* of the score callback; samples read */
  bool misclassifies;           /* the last rank gives a class that does not exist */
  bool late;                    /* a batch is reported when the next one has come */
  struct index_given last;
  int64_t announced[256], n_announced, n_unannounced; /* ids that were announced last; reads of others */
};

static int fails(struct planned *p)
{
  return ++p->reads == p->fail_at;
}

static int read_samples(void *user, int64_t n, const int64_t *ids, void *const *dst)
{
  struct planned *p = user;

  if (fails(p))
    return 7;
  p->n_unannounced += n != p->n_announced || memcmp(ids, p->announced, (size_t)n * sizeof *ids) != 0;
  p->n_announced = 0;
  for (int64_t i = 0; i < n; i++) {
    for (int k = 0; k < WIDTH; k++)
      ((float *)dst[0])[i * WIDTH + k] = (float)(ids[i] * 10 + k);
    ((int64_t *)dst[1])[i] = ids[i];
  }
  p->served += n;
  return 0;
}

static void announce_samples(void *user, int64_t n, const int64_t *ids)
{
  struct planned *p = user;

  CU_ASSERT_FATAL(n > 0 && n <= 256);
  memcpy(p->announced, ids, (size_t)n * sizeof *ids);
  p->n_announced = n;
}

static int64_t wrong_fields(const mpisift_batch *b, int64_t rows)
{
  int64_t wrong = 0;

  for (int64_t i = 0; i < rows; i++)
    for (int k = 0; k < WIDTH; k++)
      wrong += ((float *)b->data[0])[i * WIDTH + k] != (i < b->valid ? (float)(b->ids[i] * 10 + k) : 0) ||
               ((int64_t *)b->data[1])[i] != (i < b->valid ? b->ids[i] : 0);
  return wrong;
}

static int score(void *user, const mpisift_batch *b, const mpisift_scores *scores)
{
  struct planned *p = user;
  int64_t most[2] = {++p->scored_calls, -p->scored_calls};

  MPI_Allreduce(MPI_IN_PLACE, most, 2, MPI_INT64_T, MPI_MAX, MPI_COMM_WORLD); /* all ranks are in the same call */
  CU_ASSERT_EQUAL(most[0], -most[1]);
  CU_ASSERT_EQUAL(b->n, p->r.w.config.score_batch_size);
  CU_ASSERT_EQUAL(wrong_fields(b, b->n), 0);
  for (int64_t i = 0; i < b->valid; i++) {
    scores->loss[i] = index_loss(&p->r.w, b->ids[i], b->epoch);
    if (scores->confidence != NULL)
      scores->confidence[i] = index_confidence(&p->r.w, b->ids[i], b->epoch);
    if (scores->group != NULL)
      scores->group[i] = p->misclassifies && test_rank == test_size - 1 ? 99 : (int32_t)(b->ids[i] % 4);
  }
  return fails(p) ? 5 : 0;
}

static mpisift_source source_of(struct planned *p)
{
  return (mpisift_source){.user = p,
                          .n = p->r.w.n,
                          .block = p->r.w.block,
                          .n_fields = 2,
                          .fields = fields,
                          .read = read_samples,
                          .prefetch = announce_samples};
}

static void planned_open(struct planned *p, const struct index_world *w, mpisift_team *team)
{
  mpisift_source source;

  memset(p, 0, sizeof *p);
  p->r.w = *w;
  p->r.w.confident = true;
  p->r.w.config.score_batch_size = 5;
  p->r.o = malloc(sizeof *p->r.o);
  oracle_open(p->r.o, &p->r.w);
  CU_ASSERT_EQUAL(mpisift_open(team, NULL, NULL, 0, &p->r.ctx), MPISIFT_OK);
  source = source_of(p);
  CU_ASSERT_EQUAL(mpisift_loader_create(p->r.ctx, &p->r.w.config, &source, score, p, &p->l), MPISIFT_OK);
}

static void open_plainly(struct planned *p, const struct index_world *w)
{
  planned_open(p, w, &(mpisift_team){MPI_COMM_WORLD, MPI_COMM_NULL, 0});
}

static void planned_close(struct planned *p)
{
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&p->l), MPISIFT_OK);
  CU_ASSERT_EQUAL(p->r.ctx->memory.blocks, 1);
  CU_ASSERT_EQUAL(mpisift_close(&p->r.ctx), MPISIFT_OK);
  free(p->r.o);
}

static void report(const struct planned *p, const struct index_given *b)
{
  float losses[64], confidences[64];
  const mpisift_scores scores = {.loss = losses, .confidence = confidences};

  for (int64_t i = 0; i < b->valid; i++) {
    losses[i] = index_loss(&p->r.w, b->ids[i], b->epoch);
    confidences[i] = index_confidence(&p->r.w, b->ids[i], b->epoch);
  }
  CU_ASSERT_EQUAL(mpisift_loader_report_scores(p->l, b->serial, 0, b->valid, &scores), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_report_scores(p->l, b->serial, 0, b->valid, &scores),
                  b->valid > 0 ? MPISIFT_ERR_ARG : MPISIFT_OK);
}

/* A batch as the oracle has it; its losses are reported, or those of the one before. */
static void take(struct planned *p, int64_t k, const mpisift_batch *b)
{
  struct index_given given = {.serial = b->serial, .epoch = b->epoch, .valid = b->valid};
  mpisift_index_epoch epoch;

  CU_ASSERT_EQUAL(mpisift_loader_epoch(p->l, &epoch), MPISIFT_OK);
  check_epoch(&epoch, &p->r.o->now);
  check_rows_of(&p->r, &p->r.o->train, k, false, b);
  CU_ASSERT_EQUAL(b->n_fields, 2);
  CU_ASSERT_EQUAL(wrong_fields(b, b->n), 0);
  oracle_give(p->r.o, &p->r.o->train, k);
  p->r.o->steps++;
  memcpy(given.ids, b->ids, (size_t)b->valid * sizeof *b->ids);
  report(p, p->late ? &p->last : &given);
  p->last = given;
}

static void check_stats(struct planned *p)
{
  mpisift_stats s = mpisift_loader_stats(p->l, MPISIFT_EPOCH);
  const mpisift_index_epoch *o = &p->r.o->now;
  int64_t scored = p->r.o->refresh.n;

  CU_ASSERT_EQUAL(s.steps, o->steps);
  CU_ASSERT_EQUAL(s.candidates, s.sifted_out + s.rejected + s.outliers + s.accepted);
  CU_ASSERT_EQUAL(s.carried_in + s.accepted, s.trained + s.dropped + s.carried_out + s.pooled);
  CU_ASSERT_EQUAL(s.accepted, o->accepted);
  CU_ASSERT_EQUAL(s.carried_in, o->carried_in);
  CU_ASSERT_EQUAL(s.carried_out, o->carried_out);
  CU_ASSERT_EQUAL(s.scored, scored);
  CU_ASSERT_EQUAL(s.unread_bytes, (o->sifted_out + o->outliers - scored) * (4 * WIDTH + 8));
  CU_ASSERT_EQUAL(s.unread_blocks, o->blocks_empty);
  CU_ASSERT_EQUAL(s.pooled, 0);
}

/* An epoch; where a call fails, it is repeated, `failures` times at most. Returns how many failed. */
static int64_t planned_epoch(struct planned *p, int64_t failures, mpisift_status expected)
{
  mpisift_batch b;
  mpisift_status status;
  int64_t k = 0, failed = 0;

  oracle_begin(p->r.o);
  for (;;) {
    status = mpisift_loader_next(p->l, &b);
    if (status == expected && failed < failures) {
      failed++;
      p->r.ctx->memory.fail_after = 0;
      continue;
    }
    if (status != MPISIFT_OK)
      break;
    take(p, k++, &b);
  }
  CU_ASSERT_EQUAL(status, MPISIFT_END_OF_EPOCH);
  CU_ASSERT_EQUAL(k, p->r.o->now.steps);
  oracle_score(p->r.o, &p->r.o->refresh);
  check_stats(p);
  p->r.o->epoch++;
  return failed;
}

static struct index_world planned_world(const char *policy)
{
  struct index_world w = index_world_make(policy, policy);

  w.config.keep = 0.6;
  w.config.refresh_every = 2;
  w.config.refresh_share = 0.7;
  w.config.epochs = 4;
  return w;
}

static void run_planned(const struct index_world *w)
{
  static struct planned p;
  mpisift_batch b;
  int64_t served, trained;

  open_plainly(&p, w);
  for (int64_t e = 0; e < w->config.epochs; e++) {
    CU_ASSERT_EQUAL(mpisift_loader_fraction(p.l), (double)e / (double)w->config.epochs);
    planned_epoch(&p, 0, MPISIFT_OK);
  }
  CU_ASSERT_EQUAL(mpisift_loader_next(p.l, &b), MPISIFT_ERR_STATE);
  served = p.served;
  MPI_Allreduce(MPI_IN_PLACE, &served, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
  trained = mpisift_loader_stats(p.l, MPISIFT_RUN).trained + mpisift_loader_stats(p.l, MPISIFT_RUN).scored;
  CU_ASSERT_EQUAL(served, trained); /* nothing else is read, */
  CU_ASSERT_EQUAL(p.n_announced, 0);
  CU_ASSERT(p.n_unannounced <= w->config.epochs); /* and all but an epoch's first is announced */
  planned_close(&p);
}

static void policies(void)
{
  static const char *const names[] = {"stale_relative", "soft_prune", "hide"};

  for (int i = 0; i < 3; i++) {
    struct index_world w = planned_world(names[i]);

    run_planned(&w);
    w.config.end_of_epoch = i == 0 ? MPISIFT_DROP : MPISIFT_FLUSH;
    w.config.pad_last_batch = i == 1;
    w.config.pipeline_depth = 1;
    w.bad = 17;
    w.insane = true;
    run_planned(&w);
  }
}

/* What is scored at the end of an epoch has no part in the lag: the last batches may be reported behind it, and all of
 * it counts. */
static void late_reports(void)
{
  struct index_world w = planned_world("hide");
  static struct planned p;

  w.config.refresh_every = 1;
  w.config.refresh_share = 1;
  open_plainly(&p, &w);
  p.late = true;
  for (int64_t e = 0; e < w.config.epochs; e++)
    planned_epoch(&p, 0, MPISIFT_OK);
  CU_ASSERT(mpisift_loader_stats(p.l, MPISIFT_RUN).scored > 24);
  planned_close(&p);
}

/* Each call of a callback fails once, on one rank; all ranks are told, and the call can be repeated. */
static void callbacks_fail(void)
{
  for (int64_t at = 1; at < 60; at += 3) {
    struct index_world w = planned_world("hide");
    static struct planned p;
    int64_t failed = 0;

    w.config.epochs = 2;
    open_plainly(&p, &w);
    p.fail_at = at % test_size == test_rank ? at : 0;
    for (int e = 0; e < 2; e++)
      failed += planned_epoch(&p, 1, MPISIFT_ERR_CALLBACK);
    CU_ASSERT(failed == 1 || (failed == 0 && at > 30));
    planned_close(&p);
  }
}

static void allocations_fail(void)
{
  int64_t failed = 1;

  for (int64_t k = 1; failed > 0; k++) {
    struct index_world w = planned_world("hide");
    static struct planned p;

    w.config.epochs = 2;
    open_plainly(&p, &w);
    planned_epoch(&p, 0, MPISIFT_OK);
    p.r.ctx->memory.fail_after = k % test_size == test_rank ? k : 0;
    failed = planned_epoch(&p, 1, MPISIFT_ERR_MEMORY);
    p.r.ctx->memory.fail_after = 0;
    planned_close(&p);
    CU_ASSERT(k < 200);
  }
}

/* A rank fails in place of its call, before an epoch, in it, and at its end. */
static void ranks_fail(void)
{
  struct index_world w = planned_world("soft_prune");
  static struct planned p;
  mpisift_batch b;

  open_plainly(&p, &w);
  oracle_begin(p.r.o);
  for (int64_t k = 0; k <= p.r.o->now.steps; k++) {
    mpisift_status status = test_rank == 0 ? mpisift_loader_fail(p.l, "no power") : mpisift_loader_next(p.l, &b);

    CU_ASSERT_EQUAL(status, MPISIFT_ERR_USER);
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(p.r.ctx), "no power"));
    status = mpisift_loader_next(p.l, test_rank == test_size - 1 ? NULL : &b);
    CU_ASSERT_EQUAL(status, MPISIFT_ERR_ARG);
    status = mpisift_loader_next(p.l, &b);
    CU_ASSERT_EQUAL(status, k < p.r.o->now.steps ? MPISIFT_OK : MPISIFT_END_OF_EPOCH);
    if (status == MPISIFT_OK)
      take(&p, k, &b);
  }
  planned_close(&p);
}

static void refused(void)
{
  struct index_world w = planned_world("hide");
  mpisift_ctx *ctx = open_indexing();
  static struct planned p;
  mpisift_index_epoch epoch;
  mpisift_source source;
  mpisift_loader *l = NULL;

  p.r.w = w;
  source = source_of(&p);
  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &w.config, &source, NULL, NULL, &l), MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "config.refresh_every needs a score callback"));
  source.n = -1;
  source.pull = (int (*)(void *, int64_t, int64_t *, int64_t *, void *const *))(void (*)(void))read_samples;
  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &w.config, &source, score, NULL, &l), MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "this one is a stream"));
  for (int64_t k = 1; l == NULL; k++) {
    source = source_of(&p);
    ctx->memory.fail_after = k % test_size == test_rank ? k : 0;
    mpisift_loader_create(ctx, &w.config, &source, score, NULL, &l);
    ctx->memory.fail_after = 0;
  }
  CU_ASSERT_EQUAL(mpisift_loader_epoch(l, &epoch), MPISIFT_ERR_STATE);
  CU_ASSERT_EQUAL(mpisift_loader_epoch(NULL, &epoch), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_loader_report_scores(l, 0, 0, 1, NULL), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&l), MPISIFT_OK);
  CU_ASSERT_EQUAL(ctx->memory.blocks, 1);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* Endless runs go from epoch to epoch by themselves, and end with their budget. */
static void budget_of_an_endless_run(void)
{
  struct index_world w = planned_world("stale_relative");
  static struct planned p;
  mpisift_status status;
  mpisift_batch b;
  int64_t k = 0;

  w.config.epochs = 0;
  w.config.step_budget = 50;
  open_plainly(&p, &w);
  while ((status = mpisift_loader_next(p.l, &b)) == MPISIFT_OK) {
    CU_ASSERT_EQUAL(b.serial, k);
    k++;
    CU_ASSERT_DOUBLE_EQUAL(mpisift_loader_fraction(p.l), (double)k / 50, 1e-12);
  }
  CU_ASSERT_EQUAL(status, MPISIFT_END_OF_EPOCH);
  CU_ASSERT_EQUAL(k, 50);
  planned_close(&p);
}

/* An endless run whose epochs mostly accept nothing: each such epoch is told once, and the run goes on. */
static void empty_epochs_of_an_endless_run(void)
{
  struct index_world w = planned_world("stale_relative");
  static struct planned p;
  int64_t last = -1, told = 0, given = 0;
  mpisift_index_epoch epoch;
  mpisift_batch b;

  w.n = 30;
  w.config.global_batch_size = 8;
  w.config.epochs = w.config.refresh_every = 0;
  w.config.beta = 60;
  open_plainly(&p, &w);
  for (int call = 0; call < 200; call++) {
    mpisift_status status = mpisift_loader_next(p.l, &b);
    float losses[8] = {1, 1, 1, 1, 1, 1, 1, 1};

    CU_ASSERT_EQUAL(mpisift_loader_epoch(p.l, &epoch), MPISIFT_OK);
    CU_ASSERT(status == MPISIFT_OK || (status == MPISIFT_ERR_DATA && epoch.accepted == 0 && epoch.epoch > last));
    last = status == MPISIFT_OK ? last : epoch.epoch;
    told += status == MPISIFT_ERR_DATA;
    given += status == MPISIFT_OK;
    if (status == MPISIFT_OK) {
      CU_ASSERT_EQUAL(mpisift_loader_report(p.l, b.serial, 0, b.n, losses), MPISIFT_OK);
    } else {
      CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(p.r.ctx), "accepted none of 30 samples; the next call goes on"));
    }
  }
  CU_ASSERT(told > 50 && given > 5);
  planned_close(&p);
}

/* Of samples that are scored again, on one rank: an error on all. */
static void classes_out_of_range(void)
{
  struct index_world w = planned_world("stale_relative");
  static struct planned p;
  mpisift_status status = MPISIFT_OK;
  mpisift_batch b;

  w.config.groups = 4;
  w.config.class_floor = 0.1;
  w.config.refresh_every = 1;
  w.config.refresh_share = 1;
  w.config.report_lag = 0;
  open_plainly(&p, &w);
  p.misclassifies = true;
  while (status == MPISIFT_OK || status == MPISIFT_END_OF_EPOCH) {
    status = mpisift_loader_next(p.l, &b);
    for (int64_t i = 0; i < b.valid && status == MPISIFT_OK; i++) {
      float loss = index_loss(&w, b.ids[i], b.epochs[i]);
      int32_t group = (int32_t)(b.ids[i] % 4);
      mpisift_scores scores = {.loss = &loss, .group = &group};

      CU_ASSERT_EQUAL(mpisift_loader_report_scores(p.l, b.serial, i, 1, &scores), MPISIFT_OK);
    }
  }
  CU_ASSERT_EQUAL(status, MPISIFT_ERR_DATA);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(p.r.ctx), "has group 99; config.groups is 4"));
  planned_close(&p);
}

/* Replicas of two ranks share what their leaders read. */
static void replicas(void)
{
  struct index_world w = planned_world("hide");
  mpisift_team team = {MPI_COMM_WORLD, MPI_COMM_NULL, 1};
  static struct planned p;

  if (test_size % 2 != 0) {
    CU_ASSERT(true);
    return;
  }
  MPI_Comm_split(MPI_COMM_WORLD, test_rank / 2, test_rank, &team.replica);
  w.ranks = test_size / 2;
  planned_open(&p, &w, &team);
  for (int64_t e = 0; e < w.config.epochs; e++)
    planned_epoch(&p, 0, MPISIFT_OK);
  CU_ASSERT(p.served == 0 || test_rank % 2 == 0);
  planned_close(&p);
  MPI_Comm_free(&team.replica);
}

TEST_MAIN("planned", {"policies", policies}, {"callbacks fail", callbacks_fail}, {"allocations fail", allocations_fail},
          {"late reports", late_reports}, {"empty epochs of an endless run", empty_epochs_of_an_endless_run},
          {"ranks fail", ranks_fail}, {"refused", refused}, {"budget of an endless run", budget_of_an_endless_run},
          {"classes out of range", classes_out_of_range}, {"replicas", replicas})
