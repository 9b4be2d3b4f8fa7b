/* Scores besides the loss: who asks for them gets them, and others do not. */
#include "loading.h"

enum { SCORE_FIELDS = 3 };

/* A world whose samples have a reference loss, and a score callback that can do wrong. */
struct scored {
  struct world w;
  mpisift_team team;
  mpisift_field fields[SCORE_FIELDS];
  bool silent;         /* this rank writes losses only */
  int64_t spoil;       /* ids divisible by it have rubbish for scores; 0: none */
  int64_t wrong_group; /* of these; −1: the right one */
  int asked[3];        /* calls that asked for bounds, confidences, groups */
  int calls;
};

static struct scored scored_make(const char *policy)
{
  struct scored s = {.w = world_make(policy, 1000, 24), .team = {MPI_COMM_WORLD, MPI_COMM_NULL, 0}, .wrong_group = -1};

  memcpy(s.fields, world_fields, sizeof world_fields);
  s.fields[2] = (mpisift_field){.name = "reference_loss", .type = MPISIFT_F64};
  s.w.config.policy = policy;
  s.w.config.weights_applied = true;
  return s;
}

static int read_rows(void *user, int64_t n, const int64_t *ids, void *const *dst)
{
  const struct scored *s = user;

  for (int64_t i = 0; i < n; i++) {
    double reference = s->spoil > 0 && ids[i] % s->spoil == 0 ? (double)NAN : world_reference(&s->w, ids[i]);

    if (s->fields[2].type == MPISIFT_F64)
      ((double *)dst[2])[i] = reference;
    else
      ((float *)dst[2])[i] = (float)reference;
  }
  return world_read(NULL, n, ids, dst);
}

static int score(void *user, const mpisift_batch *candidates, const mpisift_scores *scores)
{
  struct scored *s = user;
  mpisift_scores losses = {.loss = scores->loss};

  s->calls++;
  s->asked[0] += scores->bound != NULL;
  s->asked[1] += scores->confidence != NULL;
  s->asked[2] += scores->group != NULL;
  world_score(&s->w, candidates, s->silent ? &losses : scores);
  for (int64_t i = 0; i < candidates->valid; i++) {
    if (s->spoil == 0 || candidates->ids[i] % s->spoil != 0)
      continue;
    if (scores->bound != NULL)
      scores->bound[i] = INFINITY;
    if (scores->confidence != NULL)
      scores->confidence[i] = 1.5f;
    if (scores->group != NULL && s->wrong_group >= 0)
      scores->group[i] = (int32_t)s->wrong_group;
  }
  return 0;
}

static mpisift_loader *open_scored(struct scored *s, mpisift_ctx **ctx)
{
  const mpisift_source source = {
      .user = s, .n = s->w.n, .block = 1, .n_fields = SCORE_FIELDS, .fields = s->fields, .read = read_rows};
  mpisift_loader *loader = NULL;

  CU_ASSERT_EQUAL_FATAL(mpisift_open(&s->team, NULL, NULL, 0, ctx), MPISIFT_OK);
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(*ctx, &s->w.config, &source, score, s, &loader), MPISIFT_OK);
  return loader;
}

static void close_scored(mpisift_ctx **ctx, mpisift_loader **loader)
{
  CU_ASSERT_EQUAL(mpisift_loader_destroy(loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(ctx), MPISIFT_OK);
}

/* The run, from batch k of the oracle on. */
static void finish(struct scored *s, mpisift_loader *loader, int64_t k)
{
  int replica = s->team.replica == MPI_COMM_NULL ? test_rank : test_rank / 2;
  struct oracle o = oracle_run(&s->w, s->w.config.epochs);
  mpisift_batch batch;

  for (int64_t ended = 0; ended < s->w.config.epochs;) {
    mpisift_status status = mpisift_loader_next(loader, &batch);

    CU_ASSERT_FATAL(status >= 0);
    ended += status == MPISIFT_END_OF_EPOCH;
    CU_ASSERT_FATAL(status == MPISIFT_END_OF_EPOCH || k < o.cuts.n);
    if (status == MPISIFT_OK)
      check_batch(&s->w, &o, k++, &batch, replica);
  }
  CU_ASSERT_EQUAL(k, o.cuts.n);
  CU_ASSERT_EQUAL(mpisift_loader_stats(loader, MPISIFT_RUN).rejected, o.rejected);
  oracle_free(&o);
}

static void run(struct scored s, int depth, bool bound, bool confidence, bool group)
{
  mpisift_ctx *ctx;
  mpisift_loader *loader;

  s.w.config.pipeline_depth = depth;
  loader = open_scored(&s, &ctx);
  finish(&s, loader, 0);
  CU_ASSERT(s.calls > 0);
  CU_ASSERT_EQUAL(s.asked[0], bound ? s.calls : 0);
  CU_ASSERT_EQUAL(s.asked[1], confidence ? s.calls : 0);
  CU_ASSERT_EQUAL(s.asked[2], group ? s.calls : 0);
  close_scored(&ctx, &loader);
}

static const struct {
  const char *name;
  bool bound, confidence;
} policies[] = {{"relative", false, false},   {"importance", false, false}, {"importance_bound", true, false},
                {"uncertainty", false, true}, {"reducible", false, false},  {"reducible_top", false, false}};
enum { N_POLICIES = sizeof policies / sizeof policies[0] };

static void what_is_asked_for(void)
{
  for (int i = 0; i < N_POLICIES; i++)
    for (int depth = 0; depth <= 1; depth++) {
      struct scored s = scored_make(policies[i].name);

      run(s, depth, policies[i].bound, policies[i].confidence, false);
      s.w.config.groups = WORLD_GROUPS;
      s.w.config.class_floor = 0.15;
      s.w.config.exact_history = depth == 1;
      run(s, depth, policies[i].bound, policies[i].confidence, true);
    }
}

static void narrow_references(void)
{
  struct scored s = scored_make("reducible");

  s.w.narrow = 1;
  s.fields[2].type = MPISIFT_F32;
  run(s, 0, false, false, false);
  s.fields[2].name = s.w.config.reference_field = "easy";
  run(s, 1, false, false, false);
}

/* The field must be there, and be one floating-point number. */
static void wrong_references(void)
{
  static const mpisift_field wrong[] = {
      {"loss", MPISIFT_F32, 0, {0}}, {"reference_loss", MPISIFT_I32, 0, {0}}, {"reference_loss", MPISIFT_F32, 1, {2}}};

  for (int i = 0; i < 3; i++) {
    struct scored s = scored_make("reducible");
    mpisift_source source = {.user = &s, .n = 1000, .block = 1, .n_fields = 1, .fields = &wrong[i], .read = read_rows};
    mpisift_ctx *ctx = open_world();
    mpisift_loader *loader = NULL;

    CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &s.w.config, &source, score, &s, &loader), MPISIFT_ERR_ARG);
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "config.reference_field"));
    CU_ASSERT_PTR_NULL(loader);
    CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
  }
}

/* In a replica of two the second rank has the scores, and what the first one writes does not count. */
static void replicas(void)
{
  MPI_Comm replica;

  CU_ASSERT(test_size > 0);
  if (test_size % 2 != 0)
    return;
  MPI_Comm_split(MPI_COMM_WORLD, test_rank / 2, test_rank, &replica);
  for (int i = 0; i < N_POLICIES; i++) {
    struct scored s = scored_make(policies[i].name);

    s.team = (mpisift_team){MPI_COMM_WORLD, replica, 1};
    s.w.ranks = test_size / 2;
    s.w.config.groups = WORLD_GROUPS;
    s.w.config.class_floor = 0.15;
    s.silent = test_rank % 2 == 0;
    run(s, 0, policies[i].bound, policies[i].confidence, true);
  }
  MPI_Comm_free(&replica);
}

/* Errors of scores, on one rank, are errors of all. With better scores the run goes on, and nothing is lost. */
static void refuse(struct scored s, bool silent, int64_t spoil, const char *text)
{
  mpisift_ctx *ctx;
  mpisift_loader *loader = open_scored(&s, &ctx);
  mpisift_batch batch;

  s.silent = silent && test_rank == test_size - 1;
  s.spoil = test_rank == test_size - 1 ? spoil : 0;
  for (int again = 0; again < 2; again++) {
    CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_ERR_DATA);
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), text));
    CU_ASSERT(same_text(mpisift_error(ctx)));
  }
  s.silent = false;
  s.spoil = 0;
  finish(&s, loader, 0);
  close_scored(&ctx, &loader);
}

static void bad_scores(void)
{
  struct scored s = scored_make("importance_bound");

  refuse(s, true, 0, "has bound nan");
  refuse(s, false, 1, "has bound inf");
  s.w.config.policy = "uncertainty";
  refuse(s, true, 0, "has confidence nan");
  refuse(s, false, 1, "has confidence 1.5");
  s.w.config.groups = WORLD_GROUPS;
  s.w.config.class_floor = 0.15;
  s.w.config.policy = "relative";
  refuse(s, true, 0, "has group -1; config.groups is 5");
  s.wrong_group = WORLD_GROUPS;
  refuse(s, false, 1, "has group 5; config.groups is 5");
}

/* A few are rejected and counted, like bad losses. */
static void few_bad_scores(void)
{
  static const char *const names[] = {"importance_bound", "uncertainty", "reducible"};

  for (int i = 0; i < 3; i++) {
    struct scored s = scored_make(names[i]);
    mpisift_ctx *ctx;
    mpisift_loader *loader;
    mpisift_batch batch;
    mpisift_status status;
    int64_t bad = 0;
    mpisift_stats stats;

    s.spoil = 50;
    s.w.config.epochs = 1;
    s.w.config.bad_loss_share = 0.2;
    s.w.config.loss_history_length = 24; /* all rounds are scored */
    loader = open_scored(&s, &ctx);
    while ((status = mpisift_loader_next(loader, &batch)) == MPISIFT_OK)
      for (int64_t k = 0; k < batch.n; k++)
        bad += batch.ids[k] % 50 == 0;
    CU_ASSERT_EQUAL(status, MPISIFT_END_OF_EPOCH);
    CU_ASSERT_EQUAL(bad, 0);
    stats = mpisift_loader_stats(loader, MPISIFT_RUN);
    CU_ASSERT_EQUAL(stats.scored, 1000);
    CU_ASSERT_EQUAL(stats.rejected, 20);
    close_scored(&ctx, &loader);
  }
}

TEST_MAIN("scores", {"what is asked for", what_is_asked_for}, {"float32 references", narrow_references},
          {"wrong reference fields", wrong_references}, {"replicas", replicas}, {"bad scores", bad_scores},
          {"few bad scores", few_bad_scores})
