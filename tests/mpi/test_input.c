/* Bad input: each gets its error, the same on all ranks, whether all ranks give it or one. */
#include <pthread.h>

#include "loading.h"

struct bad {
  const char *name;
  void (*spoil)(struct world *w, mpisift_source *source);
  mpisift_status status;
  const char *text;
};

#define SPOIL(NAME, STATEMENT)                                                                                         \
  static void NAME(struct world *w, mpisift_source *s)                                                                 \
  {                                                                                                                    \
    (void)w;                                                                                                           \
    (void)s;                                                                                                           \
    STATEMENT;                                                                                                         \
  }

static const mpisift_field nameless[FIELDS] = {{NULL, MPISIFT_F32, 0, {0}}, {"y", MPISIFT_I16, 0, {0}}};
static const mpisift_field shapeless[FIELDS] = {{"x", MPISIFT_F32, 1, {0}}, {"y", MPISIFT_I16, 0, {0}}};
static const mpisift_field typeless[FIELDS] = {{"x", (mpisift_type)99, 0, {0}}, {"y", MPISIFT_I16, 0, {0}}};
static const mpisift_field vast[FIELDS] = {{"x", MPISIFT_F64, 2, {1 << 30, 1 << 30}}, {"y", MPISIFT_I16, 0, {0}}};
static const mpisift_field deep[FIELDS] = {{"x", MPISIFT_F32, 9, {1}}, {"y", MPISIFT_I16, 0, {0}}};

SPOIL(batch_zero, w->config.global_batch_size = 0; w->config.batch_size = 0)
SPOIL(batch_negative, w->config.global_batch_size = -5)
SPOIL(batch_huge, w->config.global_batch_size = INT64_MAX)
SPOIL(batch_below_ranks, w->config.global_batch_size = test_size == 1 ? -1 : test_size - 1)
SPOIL(beta_zero, w->config.beta = 0)
SPOIL(beta_negative, w->config.beta = -1)
SPOIL(beta_nan, w->config.beta = NAN)
SPOIL(beta_infinite, w->config.beta = INFINITY)
SPOIL(keep_zero, w->config.policy = "random"; w->config.keep = 0)
SPOIL(keep_above_one, w->config.policy = "random"; w->config.keep = 1.5)
SPOIL(history_zero, w->config.loss_history_length = 0)
SPOIL(history_huge, w->config.loss_history_length = INT64_MAX)
SPOIL(delay_negative, w->config.sift_delay = -1)
SPOIL(score_negative, w->config.score_batch_size = -1)
SPOIL(score_huge, w->config.score_batch_size = INT64_MAX)
SPOIL(epochs_negative, w->config.epochs = -1)
SPOIL(lanes_below_ranks, w->config.lanes = test_size == 1 ? -1 : test_size - 1)
SPOIL(window_zero, w->config.window = 0)
SPOIL(lag_negative, w->config.report_lag = -1)
SPOIL(share_nan, w->config.bad_loss_share = NAN)
SPOIL(threshold_negative, w->config.policy = "absolute"; w->config.threshold = -1)
SPOIL(top_keep_zero, w->config.policy = "top"; w->config.keep = 0)
SPOIL(every_zero, w->config.sift_every = 0)
SPOIL(tail_one, w->config.full_data_tail = 1)
SPOIL(tail_endless, w->config.full_data_tail = 0.1; w->config.epochs = 0)
SPOIL(coverage_negative, w->config.coverage_epochs = -1)
SPOIL(outliers_nan, w->config.outlier_share = NAN)
SPOIL(floor_above_one, w->config.floor = 1.1)
SPOIL(weights_not_applied, w->config.weights = MPISIFT_WEIGHTS_UNBIASED)
SPOIL(weights_unknown, w->config.weights = (mpisift_weights)7)
SPOIL(importance_unweighted, w->config.policy = "importance")
SPOIL(schedule_shape, w->config.schedule.shape = (mpisift_shape)9)
SPOIL(schedule_empty, w->config.schedule.shape = MPISIFT_LINEAR)
SPOIL(schedule_order, w->config.schedule = ((mpisift_schedule){MPISIFT_STEPS, 2, {0.5, 0.5}, {1, 2}}))
SPOIL(schedule_value, w->config.schedule = ((mpisift_schedule){MPISIFT_STEPS, 2, {0.2, 0.5}, {1, -2}}))
SPOIL(schedule_of_nothing, w->config.policy = "all";
      w->config.schedule = ((mpisift_schedule){MPISIFT_STEPS, 1, {0.2}, {1}}))
SPOIL(schedule_endless, w->config.epochs = 0; w->config.schedule = ((mpisift_schedule){MPISIFT_STEPS, 1, {0.2}, {1}}))
SPOIL(floor_without_groups, w->config.class_floor = 0.1)
SPOIL(floor_too_high, w->config.class_floor = 0.3; w->config.groups = 4)
SPOIL(groups_without_floor, w->config.groups = 4)
SPOIL(floor_of_random, w->config.policy = "random"; w->config.class_floor = 0.1; w->config.groups = 4)
SPOIL(reference_missing, w->config.policy = "reducible")
SPOIL(reference_of_integers, w->config.policy = "reducible"; w->config.reference_field = "y")
SPOIL(reference_of_vectors, w->config.policy = "reducible_top"; w->config.reference_field = "x")
SPOIL(reference_null, w->config.policy = "reducible"; w->config.reference_field = NULL)
SPOIL(clip_below_one, w->config.weight_clip = 0.5)
SPOIL(depth_two, w->config.pipeline_depth = 2)
SPOIL(end_unknown, w->config.end_of_epoch = (mpisift_end)9)
SPOIL(endless_flush, w->config.epochs = 0; w->config.end_of_epoch = MPISIFT_FLUSH)
SPOIL(pad_without_flush, w->config.pad_last_batch = true)
SPOIL(pad_without_weights, w->config.pad_last_batch = true; w->config.end_of_epoch = MPISIFT_FLUSH)
SPOIL(policy_unknown, w->config.policy = "best")
SPOIL(policy_null, w->config.policy = NULL)
SPOIL(size_wrong, w->config.size = 8)
SPOIL(no_samples, s->n = 0)
SPOIL(few_samples, s->n = 23)
SPOIL(n_negative, s->n = -2)
SPOIL(no_read, s->read = NULL)
SPOIL(no_pull, s->n = -1)
SPOIL(block_zero, s->block = 0)
SPOIL(no_fields, s->n_fields = 0)
SPOIL(many_fields, s->n_fields = 17)
SPOIL(fields_null, s->fields = NULL)
SPOIL(field_nameless, s->fields = nameless)
SPOIL(field_shapeless, s->fields = shapeless)
SPOIL(field_typeless, s->fields = typeless)
SPOIL(field_vast, s->fields = vast)
SPOIL(field_deep, s->fields = deep)

static const struct bad bads[] = {
    {"batch size 0", batch_zero, MPISIFT_ERR_ARG, "config.batch_size is 0"},
    {"negative batch size", batch_negative, MPISIFT_ERR_ARG, "config.global_batch_size is -5"},
    {"huge batch size", batch_huge, MPISIFT_ERR_ARG, "the global batch has more than"},
    {"batch below ranks", batch_below_ranks, MPISIFT_ERR_ARG, "config."},
    {"beta 0", beta_zero, MPISIFT_ERR_ARG, "config.beta is 0"},
    {"negative beta", beta_negative, MPISIFT_ERR_ARG, "config.beta is -1"},
    {"beta NaN", beta_nan, MPISIFT_ERR_ARG, "config.beta is nan"},
    {"infinite beta", beta_infinite, MPISIFT_ERR_ARG, "config.beta is inf"},
    {"keep 0", keep_zero, MPISIFT_ERR_ARG, "config.keep is 0"},
    {"keep above 1", keep_above_one, MPISIFT_ERR_ARG, "config.keep is 1.5"},
    {"history length 0", history_zero, MPISIFT_ERR_ARG, "config.loss_history_length is 0"},
    {"huge history", history_huge, MPISIFT_ERR_ARG, "config.loss_history_length"},
    {"negative delay", delay_negative, MPISIFT_ERR_ARG, "config.sift_delay is -1"},
    {"negative score batch", score_negative, MPISIFT_ERR_ARG, "config.score_batch_size is -1"},
    {"huge score batch", score_huge, MPISIFT_ERR_ARG, "config.score_batch_size is 9223372036854775807; at most"},
    {"negative epochs", epochs_negative, MPISIFT_ERR_ARG, "config.epochs is -1"},
    {"lanes below ranks", lanes_below_ranks, MPISIFT_ERR_ARG, "config.lanes is"},
    {"window 0", window_zero, MPISIFT_ERR_ARG, "config.window is 0"},
    {"negative lag", lag_negative, MPISIFT_ERR_ARG, "config.report_lag is -1"},
    {"bad loss share NaN", share_nan, MPISIFT_ERR_ARG, "config.bad_loss_share is nan"},
    {"negative threshold", threshold_negative, MPISIFT_ERR_ARG, "config.threshold is -1"},
    {"top keep 0", top_keep_zero, MPISIFT_ERR_ARG, "config.keep is 0"},
    {"sift every 0", every_zero, MPISIFT_ERR_ARG, "config.sift_every is 0"},
    {"tail of 1", tail_one, MPISIFT_ERR_ARG, "config.full_data_tail is 1"},
    {"tail of an endless run", tail_endless, MPISIFT_ERR_ARG, "config.full_data_tail is 0.1, but an endless"},
    {"negative coverage", coverage_negative, MPISIFT_ERR_ARG, "config.coverage_epochs is -1"},
    {"outliers NaN", outliers_nan, MPISIFT_ERR_ARG, "config.outlier_share is nan"},
    {"floor above 1", floor_above_one, MPISIFT_ERR_ARG, "config.floor is 1.1"},
    {"weights not applied", weights_not_applied, MPISIFT_ERR_ARG, "set weights_applied"},
    {"unknown weights", weights_unknown, MPISIFT_ERR_ARG, "config.weights is 7"},
    {"importance without weights", importance_unweighted, MPISIFT_ERR_ARG, "importance gives weights"},
    {"unknown shape", schedule_shape, MPISIFT_ERR_ARG, "config.schedule.shape is 9"},
    {"schedule without points", schedule_empty, MPISIFT_ERR_ARG, "config.schedule.n is 0"},
    {"points out of order", schedule_order, MPISIFT_ERR_ARG, "config.schedule.at[1] is 0.5"},
    {"bad value of a schedule", schedule_value, MPISIFT_ERR_ARG, "config.schedule.value[1]: config.beta is -2"},
    {"schedule of nothing", schedule_of_nothing, MPISIFT_ERR_ARG, "policy all has neither"},
    {"endless schedule", schedule_endless, MPISIFT_ERR_ARG, "config.schedule needs"},
    {"class floor without groups", floor_without_groups, MPISIFT_ERR_ARG, "config.groups 0"},
    {"class floor too high", floor_too_high, MPISIFT_ERR_ARG, "config.class_floor is 0.3"},
    {"groups without floor", groups_without_floor, MPISIFT_ERR_ARG, "config.groups is 4"},
    {"class floor of random", floor_of_random, MPISIFT_ERR_ARG, "config.class_floor needs"},
    {"no reference field", reference_missing, MPISIFT_ERR_ARG, "needs the field 'reference_loss'"},
    {"reference of integers", reference_of_integers, MPISIFT_ERR_ARG, "field 'y'"},
    {"reference of vectors", reference_of_vectors, MPISIFT_ERR_ARG, "field 'x'"},
    {"reference NULL", reference_null, MPISIFT_ERR_ARG, "config.reference_field is NULL"},
    {"clip below 1", clip_below_one, MPISIFT_ERR_ARG, "config.weight_clip is 0.5"},
    {"depth 2", depth_two, MPISIFT_ERR_ARG, "config.pipeline_depth is 2"},
    {"unknown end", end_unknown, MPISIFT_ERR_ARG, "config.end_of_epoch is 9"},
    {"endless flush", endless_flush, MPISIFT_ERR_ARG, "config.epochs is 0"},
    {"padding without flush", pad_without_flush, MPISIFT_ERR_ARG, "config.pad_last_batch needs"},
    {"padding without weights", pad_without_weights, MPISIFT_ERR_ARG, "weights_applied"},
    {"unknown policy", policy_unknown, MPISIFT_ERR_ARG, "no policy is called 'best'; choose one of: relative"},
    {"no policy", policy_null, MPISIFT_ERR_ARG, "config.policy is NULL"},
    {"no init", size_wrong, MPISIFT_ERR_ARG, "mpisift_config_init"},
    {"zero rows", no_samples, MPISIFT_ERR_DATA, "source.n is 0"},
    {"fewer rows than a global batch", few_samples, MPISIFT_ERR_DATA, "23 samples, fewer than one global batch of 24"},
    {"negative rows", n_negative, MPISIFT_ERR_ARG, "source.n is -2"},
    {"no read", no_read, MPISIFT_ERR_ARG, "needs read"},
    {"no pull", no_pull, MPISIFT_ERR_ARG, "needs pull"},
    {"block 0", block_zero, MPISIFT_ERR_ARG, "block >= 1"},
    {"no fields", no_fields, MPISIFT_ERR_ARG, "source.n_fields is 0"},
    {"many fields", many_fields, MPISIFT_ERR_ARG, "source.n_fields is 17"},
    {"fields NULL", fields_null, MPISIFT_ERR_ARG, "source.fields"},
    {"field without name", field_nameless, MPISIFT_ERR_ARG, "name is NULL"},
    {"field with dimension 0", field_shapeless, MPISIFT_ERR_ARG, "shape[0] is 0"},
    {"field of unknown type", field_typeless, MPISIFT_ERR_ARG, "type 99 is unknown"},
    {"field of 8 EiB", field_vast, MPISIFT_ERR_ARG, "shape[0] is 1073741824"},
    {"field of 9 dimensions", field_deep, MPISIFT_ERR_ARG, "ndim is 9"},
};

enum { N_BADS = sizeof bads / sizeof bads[0] };

/* rank: the one that errs, or −1 for all. */
static void check_bad(mpisift_ctx *ctx, const struct bad *bad, int rank)
{
  struct world w = world_make("bad input", 100, 24);
  mpisift_source source = world_source(&w);
  mpisift_loader *loader = NULL;
  mpisift_status status;

  if (rank < 0 || rank == test_rank)
    bad->spoil(&w, &source);
  status = mpisift_loader_create(ctx, &w.config, &source, world_score, &w, &loader);
  if (status != bad->status || strstr(mpisift_error(ctx), bad->text) == NULL)
    fprintf(stderr, "%s: status %d, '%s'\n", bad->name, (int)status, mpisift_error(ctx));
  CU_ASSERT_EQUAL(status, bad->status);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), bad->text));
  CU_ASSERT(same_text(mpisift_error(ctx)));
  CU_ASSERT_PTR_NULL(loader);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
}

static void bad_arguments(void)
{
  mpisift_ctx *ctx = open_world();

  for (int i = 0; i < N_BADS; i++) {
    check_bad(ctx, &bads[i], -1);
    check_bad(ctx, &bads[i], i % test_size);
  }
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* Valid on each rank, but not equal. */
static void differing_configuration(void)
{
  mpisift_ctx *ctx = open_world();

  for (int i = 0; i < 5; i++) {
    static const char *const texts[] = {"config.beta", "config.seed", "config.policy", "source.n", "source.fields"};
    struct world w = world_make("differs", 100, 24);
    mpisift_source source = world_source(&w);
    mpisift_field renamed[FIELDS] = {world_fields[0], world_fields[1]};
    mpisift_loader *loader = NULL;
    mpisift_status status;

    renamed[0].name = "z";
    if (test_rank == test_size - 1) {
      w.config.beta = i == 0 ? 2.5 : w.config.beta;
      w.config.seed += i == 1;
      w.config.policy = i == 2 ? "all" : w.config.policy;
      source.n += i == 3;
      source.fields = i == 4 ? renamed : source.fields;
    }
    status = mpisift_loader_create(ctx, &w.config, &source, world_score, &w, &loader);
    CU_ASSERT_EQUAL(status, test_size == 1 ? MPISIFT_OK : MPISIFT_ERR_ARG);
    if (test_size > 1)
      CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), texts[i]));
    CU_ASSERT(same_text(mpisift_error(ctx)));
    mpisift_loader_destroy(&loader);
  }
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

static void null_arguments(void)
{
  struct world w = world_make("null", 100, 24);
  mpisift_source source = world_source(&w);
  mpisift_ctx *ctx = NULL;
  mpisift_loader *loader = NULL;
  mpisift_batch batch;
  char message[200] = "";

  CU_ASSERT_EQUAL(mpisift_open(NULL, NULL, message, sizeof message, &ctx), MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NOT_NULL(strstr(message, "NULL"));
  CU_ASSERT_PTR_NULL(ctx);
  ctx = open_world();
  CU_ASSERT_EQUAL(mpisift_loader_create(NULL, &w.config, &source, world_score, &w, &loader), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, NULL, &source, world_score, &w, &loader), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &w.config, NULL, world_score, &w, &loader), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &w.config, &source, NULL, &w, &loader), MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "needs a score callback"));
  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &w.config, &source, world_score, &w, NULL), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_loader_next(NULL, &batch), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(NULL), MPISIFT_OK);
  CU_ASSERT_STRING_EQUAL(mpisift_error(NULL), "");
  /* A batch of NULL on one rank is an error on all, and the call may be repeated. */
  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &w.config, &source, world_score, &w, &loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_next(loader, test_rank == 0 ? NULL : &batch), MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "batch is NULL"));
  CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(NULL), MPISIFT_OK);
}

static mpisift_loader *reentered;
static mpisift_ctx *reentered_ctx;
static mpisift_status inner[4];

static int reentering_score(void *user, const mpisift_batch *candidates, const mpisift_scores *scores)
{
  mpisift_batch batch;
  mpisift_loader *other = NULL;

  inner[0] = mpisift_loader_next(reentered, &batch);
  inner[1] = mpisift_loader_fail(reentered, "inside");
  inner[2] = mpisift_loader_create(reentered_ctx, NULL, NULL, NULL, NULL, &other);
  inner[3] = mpisift_close(&reentered_ctx);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(reentered_ctx), "mpisift_close"));
  return world_score(user, candidates, scores);
}

static void reentry_from_a_callback(void)
{
  struct world w = world_make("re-entry", 100, 24);
  mpisift_source source = world_source(&w);
  mpisift_batch batch;

  reentered_ctx = open_world();
  CU_ASSERT_EQUAL(mpisift_loader_create(reentered_ctx, &w.config, &source, reentering_score, &w, &reentered),
                  MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_next(reentered, &batch), MPISIFT_OK);
  for (int i = 0; i < 4; i++)
    CU_ASSERT_EQUAL(inner[i], MPISIFT_ERR_BUSY);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&reentered), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&reentered_ctx), MPISIFT_OK);
}

static int label_score(void *user, const mpisift_batch *candidates, const mpisift_scores *scores)
{
  static const float logits[64 * 3];

  return mpisift_losses(*(mpisift_ctx **)user, NULL, candidates->n < 64 ? candidates->n : 64, 3,
                        (mpisift_values){.data = logits},
                        (mpisift_values){.data = candidates->data[0], .type = MPISIFT_I32}, scores);
}

/* A label out of range comes up in the score callback of one rank, and is told on all with its value. */
static void label_out_of_range(void)
{
  static int32_t labels[100];
  const mpisift_field field = {"y", MPISIFT_I32, 0, {0}};
  const void *data[] = {labels};
  const mpisift_arrays arrays = {100, 1, &field, data};
  const mpisift_source source = mpisift_arrays_source(&arrays);
  struct world w = world_make("labels", 100, 24);
  mpisift_ctx *ctx = open_world();
  mpisift_loader *loader = NULL;
  mpisift_batch batch;
  mpisift_status status = MPISIFT_OK;

  labels[17] = 9;
  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &w.config, &source, label_score, &ctx, &loader), MPISIFT_OK);
  while (status == MPISIFT_OK)
    status = mpisift_loader_next(loader, &batch);
  CU_ASSERT_EQUAL(status, MPISIFT_ERR_DATA);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "is 9, outside of [0, 3)"));
  CU_ASSERT(same_text(mpisift_error(ctx)));
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

struct elsewhere {
  mpisift_loader *loader;
  mpisift_status status;
};

static void *call_elsewhere(void *data)
{
  struct elsewhere *e = data;
  mpisift_batch batch;

  e->status = mpisift_loader_next(e->loader, &batch);
  return NULL;
}

/* MPI_Init gives MPI_THREAD_SINGLE: another thread must not call. */
static void wrong_thread(void)
{
  struct world w = world_make("thread", 100, 24);
  mpisift_source source = world_source(&w);
  mpisift_ctx *ctx = open_world();
  struct elsewhere e = {NULL, MPISIFT_OK};
  mpisift_batch batch;
  pthread_t thread;
  int provided;

  MPI_Query_thread(&provided);
  CU_ASSERT_FATAL(provided < MPI_THREAD_SERIALIZED);
  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &w.config, &source, world_score, &w, &e.loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(pthread_create(&thread, NULL, call_elsewhere, &e), 0);
  pthread_join(thread, NULL);
  CU_ASSERT_EQUAL(e.status, MPISIFT_ERR_THREAD);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "main thread"));
  CU_ASSERT_EQUAL(mpisift_loader_next(e.loader, &batch), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&e.loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* A window is counted together with a round, where that comes before something expires. */
static void history_and_round(void)
{
  struct world w = world_make("relative", 100, 24);
  mpisift_source source = world_source(&w);
  mpisift_loader *loader = NULL;
  mpisift_ctx *ctx = open_world();

  w.config.loss_history_length = INT32_MAX;
  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &w.config, &source, world_score, &w, &loader), MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "config.loss_history_length is 2147483647; at most 2147480575"));
  w.config.loss_history_length = 2147480575;
  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &w.config, &source, world_score, &w, &loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

TEST_MAIN("input", {"history and round", history_and_round}, {"bad arguments", bad_arguments},
          {"differing configuration", differing_configuration}, {"NULL arguments", null_arguments},
          {"re-entry from a callback", reentry_from_a_callback}, {"label out of range", label_out_of_range},
          {"wrong thread", wrong_thread})
