/* What a sifter refuses, and that failures of one rank are agreed, lose nothing, and hang nobody. */
#include "api/loader.h"
#include "pushing.h"

/* The run as it would be had nothing failed, from epoch `epoch`, push k on. */
static void finish(struct push_run *r, int64_t epoch, int64_t k)
{
  for (; k < PUSHES; k++) {
    push_one(r, epoch, k);
    CU_ASSERT_EQUAL(take_batches(r), MPISIFT_MORE);
  }
  CU_ASSERT_EQUAL(mpisift_sifter_end_epoch(r->sifter), MPISIFT_OK);
  CU_ASSERT_EQUAL(take_batches(r), MPISIFT_END_OF_EPOCH);
  for (epoch++; epoch < r->p.w.config.epochs; epoch++)
    push_epoch(r, epoch);
  CU_ASSERT_EQUAL(r->k, r->po->o.cuts.n);
  CU_ASSERT_EQUAL(mpisift_sifter_stats(r->sifter, MPISIFT_RUN).id_hash, r->po->id_hash);
  push_close(r);
}

static void check_error(mpisift_ctx *ctx, mpisift_status status, mpisift_status expected, const char *text)
{
  if (status != expected || strstr(mpisift_error(ctx), text) == NULL)
    fprintf(stderr, "expected status %d with '%s', got %d: %s\n", (int)expected, text, (int)status, mpisift_error(ctx));
  CU_ASSERT_EQUAL(status, expected);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), text));
  CU_ASSERT(same_text(mpisift_error(ctx)));
}

enum argument {
  GOOD,
  NO_CONFIG,
  NO_PUSHES,
  DEPTH,
  NO_POLICY,
  NO_CANDIDATES,
  NO_SPAN,
  MANY_FIELDS,
  NO_FIELDS,
  NO_NAME,
  NO_SHAPE,
  SCALAR_PADDED,
  MANY_CANDIDATES,
  MANY_PLACES,
  OTHER_SPAN,
  OTHER_CANDIDATES,
  OTHER_PADDING,
  ARGUMENTS
};

/* One rank's arguments are wrong, or not those of the others. */
static void create_with(enum argument wrong, const char *text)
{
  static const bool y_padded[] = {false, true}, x_padded[] = {true, false};
  static const mpisift_field no_name = {NULL, MPISIFT_F32, 0, {0}}, no_shape = {"x", MPISIFT_F32, 1, {0}};
  struct pushing p = pushing_make("create", 24);
  mpisift_pushes pushes = pushes_of(&p);
  bool bad = test_rank == test_size - 1;
  mpisift_ctx *ctx = open_world();
  mpisift_sifter *sifter = NULL;
  mpisift_status status;

  if (bad) {
    p.w.config.pipeline_depth = wrong == DEPTH;
    p.w.config.policy = wrong == NO_POLICY ? "best" : p.w.config.policy;
    pushes.max_candidates += wrong == OTHER_CANDIDATES;
    pushes.max_candidates = wrong == NO_CANDIDATES ? 0 : wrong == MANY_CANDIDATES ? INT64_MAX : pushes.max_candidates;
    pushes.max_span += wrong == OTHER_SPAN;
    pushes.max_span = wrong == NO_SPAN ? -1 : wrong == MANY_PLACES ? INT64_MAX : pushes.max_span;
    pushes.n_fields = wrong == MANY_FIELDS ? MPISIFT_MAX_FIELDS + 1 : wrong >= NO_NAME && wrong <= NO_SHAPE ? 1 : 2;
    pushes.fields = wrong == NO_FIELDS  ? NULL
                    : wrong == NO_NAME  ? &no_name
                    : wrong == NO_SHAPE ? &no_shape
                                        : pushes.fields;
    pushes.padded = wrong == SCALAR_PADDED ? y_padded : wrong == OTHER_PADDING ? x_padded : NULL;
  }
  status = mpisift_sifter_create(ctx, bad && wrong == NO_CONFIG ? NULL : &p.w.config,
                                 bad && wrong == NO_PUSHES ? NULL : &pushes, &sifter);
  if (wrong == GOOD || (wrong >= OTHER_SPAN && test_size == 1)) {
    CU_ASSERT_EQUAL(status, MPISIFT_OK);
  } else {
    check_error(ctx, status, MPISIFT_ERR_ARG, text);
    CU_ASSERT_PTR_NULL(sifter);
    CU_ASSERT_EQUAL(ctx->memory.blocks, 1); /* the team's */
  }
  CU_ASSERT_EQUAL(mpisift_sifter_destroy(&sifter), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

static void bad_creation(void)
{
  static const char *const texts[ARGUMENTS] = {
      [GOOD] = "",
      [NO_CONFIG] = "config, pushes or sifter is NULL",
      [NO_PUSHES] = "config, pushes or sifter is NULL",
      [DEPTH] = "config.pipeline_depth is 1",
      [NO_POLICY] = "config.policy",
      [NO_CANDIDATES] = "pushes.max_candidates is 0",
      [NO_SPAN] = "max_span -1",
      [MANY_FIELDS] = "pushes.n_fields is 17",
      [NO_FIELDS] = "pushes.n_fields is 2",
      [NO_NAME] = "name is NULL",
      [NO_SHAPE] = "shape[0] is 0",
      [SCALAR_PADDED] = "pushes.padded[1]",
      [MANY_CANDIDATES] = "more than",
      [MANY_PLACES] = "more than",
      [OTHER_SPAN] = "sifter.max_span differs",
      [OTHER_CANDIDATES] = "sifter.max_candidates differs",
      [OTHER_PADDING] = "sifter.padded differs",
  };

  for (int wrong = 0; wrong < ARGUMENTS; wrong++)
    create_with((enum argument)wrong, texts[wrong]);
}

enum flaw {
  N_NEGATIVE,
  N_LARGE,
  ID_NEGATIVE,
  PLACE_NEGATIVE,
  PLACE_LARGE,
  PLACE_TWICE,
  PLACES_MISSING,
  LOSSES_MISSING,
  LOSS_TYPE,
  EXTRA_MISSING, /* what the policy asks for besides the loss */
  EXTRAS_BAD,
  GROUPS_MISSING,
  GROUP_LARGE,
  RECORDS_MISSING,
  RECORD_MISSING,
  LENGTHS_MISSING,
  LENGTH_MISSING,
  LENGTH_NEGATIVE,
  LENGTH_LARGE,
  LOSSES_BAD,
  FLAWS
};

static void spoil_scores(struct pushed *part, enum flaw flaw)
{
  mpisift_candidates *c = &part->candidates;

  for (int64_t i = 0; i < part->n && flaw == LOSSES_BAD; i++)
    ((float *)(void *)part->losses)[i] = i % 2 == 0 ? NAN : -1.0f;
  for (int64_t i = 0; i < part->n && flaw == EXTRAS_BAD; i++)
    part->bounds[i] = part->confidences[i] = part->references[i] = i % 2 == 0 ? NAN : -INFINITY;
  part->groups[0] = flaw == GROUP_LARGE ? WORLD_GROUPS : part->groups[0];
  c->losses = flaw == LOSSES_MISSING ? NULL : c->losses;
  c->loss_type = flaw == LOSS_TYPE ? MPISIFT_I32 : c->loss_type;
  c->groups = flaw == GROUPS_MISSING ? NULL : c->groups;
  if (flaw == EXTRA_MISSING)
    c->bounds = c->confidences = c->references = NULL;
}

static void spoil(struct pushed *part, enum flaw flaw, int64_t taken)
{
  mpisift_candidates *c = &part->candidates;

  spoil_scores(part, flaw);
  c->n = flaw == N_NEGATIVE ? -1 : flaw == N_LARGE ? INT64_MAX : c->n;
  part->ids[1] = flaw == ID_NEGATIVE ? -1 : part->ids[1];
  part->positions[1] = flaw == PLACE_NEGATIVE ? -1
                       : flaw == PLACE_LARGE  ? SPAN
                       : flaw == PLACE_TWICE  ? taken
                                              : part->positions[1];
  c->positions = flaw == PLACES_MISSING ? NULL : c->positions;
  c->records = flaw == RECORDS_MISSING ? NULL : c->records;
  part->records[1] = flaw == RECORD_MISSING ? NULL : part->records[1];
  c->lengths = flaw == LENGTHS_MISSING ? NULL : c->lengths;
  part->lengths[3] = flaw == LENGTH_MISSING ? NULL : part->lengths[3];
  part->tokens_n[1] = flaw == LENGTH_NEGATIVE ? -1 : flaw == LENGTH_LARGE ? TOKENS + 1 : part->tokens_n[1];
}

static const struct {
  mpisift_status status;
  const char *text;
} refusals[FLAWS] = {
    [N_NEGATIVE] = {MPISIFT_ERR_ARG, "candidates.n is -1"},
    [N_LARGE] = {MPISIFT_ERR_ARG, "this sifter takes 0 to 90 a push"},
    [ID_NEGATIVE] = {MPISIFT_ERR_ARG, "candidates.ids[1] is -1"},
    [PLACE_NEGATIVE] = {MPISIFT_ERR_ARG, "candidates.positions[1] is -1"},
    [PLACE_LARGE] = {MPISIFT_ERR_ARG, "candidates.positions[1] is 90"},
    [PLACE_TWICE] = {MPISIFT_ERR_ARG, "different positions"},
    [PLACES_MISSING] = {MPISIFT_ERR_ARG, "candidates.positions"},
    [LOSSES_MISSING] = {MPISIFT_ERR_ARG, "candidates.losses is NULL"},
    [LOSS_TYPE] = {MPISIFT_ERR_ARG, "candidates.loss_type is int32"},
    [EXTRA_MISSING] = {MPISIFT_ERR_ARG, "s is NULL"},
    [EXTRAS_BAD] = {MPISIFT_ERR_DATA, "config.bad_loss_share"},
    [GROUPS_MISSING] = {MPISIFT_ERR_ARG, "candidates.groups is NULL"},
    [GROUP_LARGE] = {MPISIFT_ERR_DATA, "has group 5"},
    [RECORDS_MISSING] = {MPISIFT_ERR_ARG, "candidates.records is NULL"},
    [RECORD_MISSING] = {MPISIFT_ERR_ARG, "candidates.records[] is NULL"},
    [LENGTHS_MISSING] = {MPISIFT_ERR_ARG, "candidates.lengths is NULL"},
    [LENGTH_MISSING] = {MPISIFT_ERR_ARG, "candidates.lengths[] is NULL"},
    [LENGTH_NEGATIVE] = {MPISIFT_ERR_ARG, "candidates.lengths[][1] is -1"},
    [LENGTH_LARGE] = {MPISIFT_ERR_ARG, "candidates.lengths[][1] is 8"},
    [LOSSES_BAD] = {MPISIFT_ERR_DATA, "has loss"},
};

/* The last rank's part of a push has a flaw: the same error on all ranks, no decision, and nothing is taken. */
static void push_flawed(struct push_run *r, int64_t k, enum flaw flaw)
{
  struct candidate all[PLACES];
  mpisift_status status;
  int64_t written = 0;

  push_list(&r->p, 0, k, r->base, all);
  push_part(&r->p, 0, k, r->base, r->part);
  for (int64_t i = 0; i < PLACES; i++)
    r->part->weights[i] = -3;
  if (test_rank == test_size - 1)
    spoil(r->part, flaw, test_size > 1 ? all[0].position : r->part->positions[0]);
  status = mpisift_sifter_push(r->sifter, &r->part->candidates, &r->part->decisions);
  check_error(r->ctx, status, refusals[flaw].status, refusals[flaw].text);
  for (int64_t i = 0; i < PLACES; i++)
    written += r->part->weights[i] != -3;
  CU_ASSERT_EQUAL(written, 0);
}

static void flaws_of(const char *policy, bool extra)
{
  struct pushing p = pushing_make(policy, 24);
  struct push_run r;

  p.w.config.policy = policy;
  p.w.config.weights_applied = true;
  p.w.config.groups = WORLD_GROUPS;
  p.w.config.class_floor = 0.1;
  p.w.config.epochs = 2;
  p.n_fields = ALL_FIELDS;
  p.spread = IN_BLOCKS;
  r = push_open(&p);
  for (int64_t k = 0; k < 5; k++) {
    for (int flaw = 0; k % 4 == 0 && flaw < FLAWS; flaw++)
      if (extra || (flaw != EXTRA_MISSING && flaw != EXTRAS_BAD))
        push_flawed(&r, k, (enum flaw)flaw);
    push_one(&r, 0, k);
    CU_ASSERT_EQUAL(take_batches(&r), MPISIFT_MORE);
  }
  finish(&r, 0, 5);
}

static void flawed_pushes(void)
{
  flaws_of("relative", false);
  flaws_of("importance_bound", true);
  flaws_of("uncertainty", true);
  flaws_of("reducible", true);
}

/* Positions are given where they were announced, and only there. */
static void unasked_positions(void)
{
  struct pushing p = pushing_make("unasked", 24);
  struct push_run r;
  int64_t places[MOST];

  p.positioned = false;
  r = push_open(&p);
  push_part(&p, 0, 0, 0, r.part);
  for (int i = 0; i < MOST; i++)
    places[i] = i;
  if (test_rank == 0)
    r.part->candidates.positions = places;
  CU_ASSERT(rank_count(0, 0) > 0);
  check_error(r.ctx, mpisift_sifter_push(r.sifter, &r.part->candidates, NULL), MPISIFT_ERR_ARG, "candidates.positions");
  finish(&r, 0, 0);
}

static void states(void)
{
  struct pushing p = pushing_make("states", 24);
  struct push_run r;
  mpisift_batch batch;

  p.w.config.epochs = 2;
  r = push_open(&p);
  CU_ASSERT_EQUAL(mpisift_sifter_push(NULL, NULL, NULL), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_sifter_next(NULL, &batch), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_sifter_end_epoch(NULL), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_sifter_fail(NULL, ""), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_sifter_next(r.sifter, &batch), MPISIFT_MORE);
  CU_ASSERT_EQUAL(mpisift_sifter_push(r.sifter, NULL, NULL), MPISIFT_OK); /* of nothing */
  push_one(&r, 0, 0);
  check_error(r.ctx, mpisift_sifter_push(r.sifter, NULL, NULL), MPISIFT_ERR_STATE, "a batch is ready");
  CU_ASSERT_EQUAL(take_batches(&r), MPISIFT_MORE);
  for (int64_t k = 1; k < PUSHES; k++) {
    push_one(&r, 0, k);
    CU_ASSERT_EQUAL(take_batches(&r), MPISIFT_MORE);
  }
  for (int again = 0; again < 2; again++)
    CU_ASSERT_EQUAL(mpisift_sifter_end_epoch(r.sifter), MPISIFT_OK);
  check_error(r.ctx, mpisift_sifter_push(r.sifter, NULL, NULL), MPISIFT_ERR_STATE, "the epoch has been ended");
  CU_ASSERT_EQUAL(take_batches(&r), MPISIFT_END_OF_EPOCH);
  push_epoch(&r, 1);
  check_error(r.ctx, mpisift_sifter_push(r.sifter, NULL, NULL), MPISIFT_ERR_STATE, "is over");
  check_error(r.ctx, mpisift_sifter_next(r.sifter, &batch), MPISIFT_ERR_STATE, "is over");
  check_error(r.ctx, mpisift_sifter_end_epoch(r.sifter), MPISIFT_ERR_STATE, "is over");
  CU_ASSERT_EQUAL(r.k, r.po->o.cuts.n);
  push_close(&r);
}

/* Epochs without a candidate are possible, also in endless runs. */
static void empty_epochs(void)
{
  for (int64_t epochs = 0; epochs < 3; epochs += 2)
    for (int n_fields = 0; n_fields < 3; n_fields += 2) {
      struct pushing p = pushing_make("empty", 24);
      mpisift_pushes pushes;
      mpisift_ctx *ctx = open_world();
      mpisift_sifter *sifter = NULL;
      mpisift_batch batch;

      p.n_fields = n_fields;
      p.w.config.epochs = epochs;
      pushes = pushes_of(&p);
      CU_ASSERT_EQUAL_FATAL(mpisift_sifter_create(ctx, &p.w.config, &pushes, &sifter), MPISIFT_OK);
      for (int e = 0; e < 2; e++) {
        CU_ASSERT_EQUAL(mpisift_sifter_push(sifter, NULL, NULL), MPISIFT_OK);
        CU_ASSERT_EQUAL(mpisift_sifter_next(sifter, &batch), MPISIFT_MORE);
        CU_ASSERT_EQUAL(mpisift_sifter_end_epoch(sifter), MPISIFT_OK);
        CU_ASSERT_EQUAL(mpisift_sifter_next(sifter, &batch), MPISIFT_END_OF_EPOCH);
      }
      CU_ASSERT_EQUAL(mpisift_sifter_destroy(&sifter), MPISIFT_OK);
      CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
    }
}

/* Some ranks end the epoch where others push: an error on all. When the others have ended it too, the run goes on. */
static void epochs_that_end_apart(void)
{
  struct pushing p = pushing_make("apart", 24);
  struct push_run r = push_open(&p);
  bool early = test_rank == test_size - 1;
  mpisift_batch batch;

  for (int64_t k = 0; k < PUSHES; k++) {
    push_one(&r, 0, k);
    CU_ASSERT_EQUAL(take_batches(&r), MPISIFT_MORE);
  }
  if (early)
    CU_ASSERT_EQUAL(mpisift_sifter_end_epoch(r.sifter), MPISIFT_OK);
  if (test_size > 1) {
    mpisift_status status = early ? mpisift_sifter_next(r.sifter, &batch) : mpisift_sifter_push(r.sifter, NULL, NULL);

    check_error(r.ctx, status, MPISIFT_ERR_STATE, "have ended the epoch");
  }
  finish(&r, 0, PUSHES);
}

enum moment { BEFORE_PUSH, BATCH_READY, NO_BATCH, LAST, ENDED, MOMENTS };

/* In place of its next call a rank fails: peers get the error in that call, or in the first that communicates. */
static void fail_now(struct push_run *r, enum moment moment)
{
  const char *text = "the reader's disk is full";
  mpisift_status status = MPISIFT_MORE;
  mpisift_batch batch;

  if (test_rank == test_size / 2) {
    status = mpisift_sifter_fail(r->sifter, text);
    CU_ASSERT_EQUAL(status, MPISIFT_ERR_USER);
    if (moment == LAST)
      CU_ASSERT_EQUAL(mpisift_sifter_end_epoch(r->sifter), MPISIFT_OK);
  } else {
    if (moment != BEFORE_PUSH)
      status = mpisift_sifter_next(r->sifter, &batch);
    if (moment == NO_BATCH || moment == LAST)
      CU_ASSERT_EQUAL(status, MPISIFT_MORE);
    if (moment == BEFORE_PUSH || moment == NO_BATCH) {
      push_part(&r->p, 0, 7, r->base, r->part);
      status = mpisift_sifter_push(r->sifter, &r->part->candidates, &r->part->decisions);
    }
    if (moment == LAST) {
      CU_ASSERT_EQUAL(mpisift_sifter_end_epoch(r->sifter), MPISIFT_OK);
      status = mpisift_sifter_next(r->sifter, &batch);
      CU_ASSERT_EQUAL(status, MPISIFT_ERR_USER);
    }
  }
  if (moment != LAST)
    check_error(r->ctx, status, MPISIFT_ERR_USER, text);
}

static void fail_at(enum moment moment, mpisift_end end)
{
  struct pushing p = pushing_make("fail", 24);
  struct push_run r;
  int64_t before = moment == LAST || moment == ENDED ? PUSHES : 7;

  p.spread = SCATTERED;
  p.w.config.end_of_epoch = end;
  r = push_open(&p);
  for (int64_t k = 0; k < before; k++) {
    push_one(&r, 0, k);
    if (k == 3 && moment == BATCH_READY)
      fail_now(&r, moment);
    CU_ASSERT_EQUAL(take_batches(&r), MPISIFT_MORE);
  }
  if (moment == ENDED)
    CU_ASSERT_EQUAL(mpisift_sifter_end_epoch(r.sifter), MPISIFT_OK);
  for (int again = 0; moment != BATCH_READY && again < 1 + (moment != LAST); again++)
    fail_now(&r, moment);
  finish(&r, 0, before);
}

static void user_fails(void)
{
  for (int moment = 0; moment < MOMENTS; moment++) {
    fail_at((enum moment)moment, MPISIFT_CARRY);
    fail_at((enum moment)moment, MPISIFT_FLUSH);
  }
}

static void destroyed_on_the_way(void)
{
  for (int moment = 0; moment < 4; moment++) {
    struct pushing p = pushing_make("destroyed", 24);
    struct push_run r;

    p.n_fields = ALL_FIELDS;
    r = push_open(&p);
    if (moment > 0)
      push_one(&r, 0, 0);
    if (moment > 1)
      CU_ASSERT_EQUAL(take_batches(&r), MPISIFT_MORE);
    if (moment > 2)
      CU_ASSERT_EQUAL(mpisift_sifter_end_epoch(r.sifter), MPISIFT_OK);
    CU_ASSERT_EQUAL(mpisift_close(&r.ctx), MPISIFT_ERR_STATE);
    CU_ASSERT_EQUAL(mpisift_sifter_destroy(&r.sifter), MPISIFT_OK);
    CU_ASSERT_EQUAL(mpisift_sifter_destroy(&r.sifter), MPISIFT_OK);
    CU_ASSERT_EQUAL(r.ctx->memory.blocks, 1); /* the team's */
    push_close(&r);
  }
}

/* Each allocation of one rank fails in turn, during creation. */
static void creation_without_memory(void)
{
  for (int k = 1, failed = 1; failed && k < 100; k++) {
    struct pushing p = pushing_make("memory", 24);
    mpisift_ctx *ctx = open_world();
    mpisift_pushes pushes;
    mpisift_sifter *sifter = NULL;
    mpisift_status status;

    p.n_fields = ALL_FIELDS;
    pushes = pushes_of(&p);
    if (test_rank == test_size - 1)
      ctx->memory.fail_after = k;
    status = mpisift_sifter_create(ctx, &p.w.config, &pushes, &sifter);
    failed = status != MPISIFT_OK;
    if (failed) {
      check_error(ctx, status, MPISIFT_ERR_MEMORY, "cannot allocate");
      CU_ASSERT_EQUAL(ctx->memory.blocks, 1);
      CU_ASSERT_PTR_NULL(sifter);
    }
    CU_ASSERT(k > 15 || failed);
    CU_ASSERT_EQUAL(mpisift_sifter_destroy(&sifter), MPISIFT_OK);
    CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
  }
}

/* And in a push, which can be repeated. Returns whether one failed. */
static bool push_without_memory(int64_t push, int k, bool exact)
{
  struct pushing p = pushing_make("memory", 24);
  struct push_run r;
  mpisift_status status;

  p.w.config.policy = "importance_bound";
  p.w.config.weights_applied = true;
  p.w.config.exact_history = exact;
  p.w.config.groups = WORLD_GROUPS;
  p.w.config.class_floor = 0.1;
  p.w.config.epochs = 1;
  p.n_fields = ALL_FIELDS;
  r = push_open(&p);
  for (int64_t i = 0; i < push; i++) {
    push_one(&r, 0, i);
    CU_ASSERT_EQUAL(take_batches(&r), MPISIFT_MORE);
  }
  push_part(&p, 0, push, r.base, r.part);
  if (test_rank == 0)
    r.ctx->memory.fail_after = k;
  status = mpisift_sifter_push(r.sifter, &r.part->candidates, NULL);
  if (status == MPISIFT_OK) {
    r.ctx->memory.fail_after = 0;
    push_close(&r);
    return false;
  }
  check_error(r.ctx, status, MPISIFT_ERR_MEMORY, "cannot allocate");
  finish(&r, 0, push);
  return true;
}

static void pushes_without_memory(void)
{
  for (int exact = 0; exact < 2; exact++) {
    int errors = 0;

    for (int k = 1; push_without_memory(0, k, exact); k++)
      errors++;
    CU_ASSERT(errors > 12);
    for (int k = 1; push_without_memory(1, k, exact); k++)
      errors++;
    CU_ASSERT(errors < 60);
  }
}

TEST_MAIN("sifter faults", {"bad creation", bad_creation}, {"flawed pushes", flawed_pushes},
          {"unasked positions", unasked_positions}, {"states", states}, {"empty epochs", empty_epochs},
          {"epochs that end apart", epochs_that_end_apart}, {"user fails", user_fails},
          {"destroyed on the way", destroyed_on_the_way}, {"creation without memory", creation_without_memory},
          {"pushes without memory", pushes_without_memory})
