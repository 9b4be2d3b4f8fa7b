/* Decisions and batches of pushed candidates, for each way to spread them over ranks, against one oracle in one
 * process, hence against every other number of ranks. */
#include "pushing.h"

/* Bytes that travel with the batches of the oracle: a rank gives away its newest beyond the quota. */
static int64_t oracle_bytes(const struct pushing *p, const struct oracle *o)
{
  int64_t bytes = 0;

  for (int64_t k = 0; k < o->cuts.n; k++) {
    int64_t begin = k == 0 ? 0 : o->cuts.at[k - 1].id, n = o->cuts.at[k].id - begin, held[MAX_RANKS] = {0};

    for (int64_t i = begin; i < begin + n; i++) {
      int r = o->accepted.at[i].rank;
      int64_t id = o->accepted.at[i].id, size = 32 + 4 * WIDTH + 2;

      size += p->n_fields == 2 ? 0 : 16 + 4 * tokens_of(id) + 4 * FRAME * frames_of(id);
      bytes += held[r]++ < n / p->w.ranks + (r < n % p->w.ranks) ? 0 : (size + 7) / 8 * 8;
    }
  }
  return bytes;
}

static void check_stats(struct push_run *r)
{
  const struct oracle *o = &r->po->o;
  mpisift_stats s = mpisift_sifter_stats(r->sifter, MPISIFT_RUN);
  int64_t moved = 0;

  for (int64_t k = 0; k < o->cuts.n; k++)
    moved += oracle_moves(o, k, r->p.w.ranks);
  CU_ASSERT_EQUAL(r->k, o->cuts.n);
  CU_ASSERT_EQUAL(s.steps, o->cuts.n);
  CU_ASSERT_EQUAL(s.rounds, r->po->rounds);
  CU_ASSERT_EQUAL(s.candidates, o->candidates);
  CU_ASSERT_EQUAL(s.rejected, o->rejected);
  CU_ASSERT_EQUAL(s.outliers, o->outliers);
  CU_ASSERT_EQUAL(s.accepted, o->accepted.n + o->dropped);
  CU_ASSERT_EQUAL(s.candidates, s.sifted_out + s.rejected + s.outliers + s.accepted);
  CU_ASSERT_EQUAL(s.dropped, o->dropped);
  CU_ASSERT_EQUAL(s.carried_out, o->carried);
  CU_ASSERT_EQUAL(s.trained, last_cut(o));
  CU_ASSERT_EQUAL(s.moved, moved);
  CU_ASSERT_EQUAL(s.moved_bytes, oracle_bytes(&r->p, o));
  CU_ASSERT_EQUAL(s.id_hash, r->po->id_hash);
}

static void run(const struct pushing *p)
{
  int64_t epochs = p->w.config.epochs > 0 ? p->w.config.epochs : 3;
  struct push_run r = push_open(p);

  for (int64_t e = 0; e < epochs; e++) {
    mpisift_stats s;

    push_epoch(&r, e);
    s = mpisift_sifter_stats(r.sifter, MPISIFT_EPOCH);
    CU_ASSERT_EQUAL(s.pooled, 0);
    CU_ASSERT(p->n_fields == 0 || s.carried_in + s.accepted == s.trained + s.dropped + s.carried_out);
  }
  check_stats(&r);
  push_close(&r);
}

/* All spreads with positions, of which all give the same, and without. */
static void run_all(struct pushing p)
{
  p.positioned = true;
  for (p.spread = 0; p.spread < SPREADS; p.spread++)
    run(&p);
  p.positioned = false;
  run(&p);
}

static void ends_of_epochs(void)
{
  struct pushing p = pushing_make("carry", 24);

  run_all(p);
  p.w.config.end_of_epoch = MPISIFT_FLUSH;
  run_all(p);
  p.w.config.pad_last_batch = p.w.config.weights_applied = true;
  p.n_fields = ALL_FIELDS;
  run_all(p);
  p.w.config.pad_last_batch = false;
  p.w.config.end_of_epoch = MPISIFT_DROP;
  run_all(p);
}

static void numbers_of_its_own(void)
{
  struct pushing p = pushing_make("numbered", 24);

  p.numbered = true;
  run_all(p);
}

static void padded_fields(void)
{
  struct pushing p = pushing_make("padded", 29);

  p.n_fields = ALL_FIELDS;
  run_all(p);
}

static void without_end(void)
{
  struct pushing p = pushing_make("endless", 24);

  p.w.config.epochs = 0;
  run_all(p);
}

static void loss_types(void)
{
  static const mpisift_type types[] = {MPISIFT_F64, MPISIFT_F16, MPISIFT_BF16};
  struct pushing p = pushing_make("types", 24);

  p.spread = SCATTERED;
  for (int i = 0; i < 3; i++) {
    p.type = types[i];
    p.w.name = mpisift_type_name(p.type);
    run(&p);
  }
}

static void policies(void)
{
  static const char *const names[] = {"top",           "absolute",    "reducible",
                                      "reducible_top", "importance",  "importance_bound",
                                      "random",        "uncertainty", "all"};
  struct pushing p = pushing_make("policies", 24);

  p.w.config.keep = 0.3;
  p.w.config.threshold = 1.5;
  p.w.config.weights_applied = true;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    p.w.name = p.w.config.policy = names[i];
    p.spread = (enum spread)(i % SPREADS);
    run(&p);
  }
}

static void modifiers(void)
{
  struct pushing p = pushing_make("modifiers", 24);

  p.spread = SCATTERED;
  p.w.config.exact_history = true;
  p.w.config.loss_history_length = 150;
  run(&p);
  p.w.config.groups = WORLD_GROUPS;
  p.w.config.class_floor = 0.15;
  run(&p);
  p.w.config.exact_history = false;
  p.w.config.schedule = (mpisift_schedule){MPISIFT_LINEAR, 2, {0.3, 0.9}, {2, 5}};
  p.w.config.coverage_epochs = 3;
  p.w.config.outlier_share = 0.05;
  p.w.config.floor = 0.1;
  run_all(p);
  p.w.config.sift_delay = 12;
  p.w.config.repeat_delay_per_epoch = true;
  p.w.config.sift_every = 2;
  p.w.config.weights = MPISIFT_WEIGHTS_UNBIASED;
  p.w.config.weights_applied = true;
  run(&p);
  p.w.config.repeat_delay_per_epoch = false;
  p.w.config.full_data_tail = 0.3;
  run(&p);
}

/* Few bad losses are rejected. */
static void bad_losses(void)
{
  struct pushing p = pushing_make("bad", 24);

  p.w.bad_mod = 13;
  p.w.config.bad_loss_share = 1;
  p.type = MPISIFT_F16;
  run_all(p);
}

/* Without fields there are decisions only; delays go by the steps that the accepted samples are good for. */
static void decisions_only(void)
{
  struct pushing p = pushing_make("decisions", 24);

  p.n_fields = 0;
  run_all(p);
  p.w.config.sift_delay = 8;
  p.w.config.repeat_delay_per_epoch = true;
  run_all(p);
  p.w.config.repeat_delay_per_epoch = false;
  p.w.config.sift_every = 3;
  p.w.config.end_of_epoch = MPISIFT_FLUSH;
  run_all(p);
}

/* In replicas of two ranks the first one's arguments count; the other's may be anything. */
static void replicas(void)
{
  struct pushing p = pushing_make("replicas", 24);
  static struct pushed rubbish;
  bool leads = test_rank % 2 == 0;
  struct push_run r;

  CU_ASSERT(test_size >= 1);
  if (test_size % 2 != 0)
    return;
  MPI_Comm_split(MPI_COMM_WORLD, test_rank / 2, test_rank, &p.team.replica);
  p.n_fields = ALL_FIELDS;
  p.me = test_rank / 2;
  p.w.ranks = test_size / 2;
  p.spread = SCATTERED;
  r = push_open(&p);
  for (int64_t e = 0; e < 3; e++) {
    for (int64_t k = 0; k < PUSHES; k++) {
      if (leads) {
        push_one(&r, e, k);
      } else {
        rubbish.candidates.n = k % 2 == 0 ? -5 : INT64_MAX;
        CU_ASSERT_EQUAL(mpisift_sifter_push(r.sifter, &rubbish.candidates, &rubbish.decisions), MPISIFT_OK);
      }
      CU_ASSERT_EQUAL(take_batches(&r), MPISIFT_MORE);
    }
    CU_ASSERT_EQUAL(mpisift_sifter_end_epoch(r.sifter), MPISIFT_OK);
    CU_ASSERT_EQUAL(take_batches(&r), MPISIFT_END_OF_EPOCH);
  }
  check_stats(&r);
  push_close(&r);
  MPI_Comm_free(&p.team.replica);
}

/* Pushes much smaller than they may be: nothing is sifted out before as many candidates as the history holds have come.
 */
static void small_pushes(void)
{
  enum { N = 16, LENGTH = 320 };
  const mpisift_pushes pushes = {.max_candidates = 4096};
  struct world w = world_make("small pushes", -1, 24);
  mpisift_ctx *ctx = open_world();
  mpisift_sifter *sifter = NULL;
  float losses[N];
  const mpisift_candidates candidates = {.n = test_rank == 0 ? N : 0, .losses = losses};

  w.config.loss_history_length = LENGTH;
  CU_ASSERT_EQUAL_FATAL(mpisift_sifter_create(ctx, &w.config, &pushes, &sifter), MPISIFT_OK);
  for (int k = 0; k < 2 * LENGTH / N; k++) {
    for (int i = 0; i < N; i++)
      losses[i] = (float)(1 + i) / (float)(1 + k); /* lower with each push */
    CU_ASSERT_EQUAL(mpisift_sifter_push(sifter, &candidates, NULL), MPISIFT_OK);
    CU_ASSERT_EQUAL(mpisift_sifter_stats(sifter, MPISIFT_STEP).sifted_out > 0, k >= LENGTH / N);
  }
  CU_ASSERT_EQUAL(mpisift_sifter_destroy(&sifter), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* A half's corner cases, as decided by policy absolute: what is at least the threshold, and what is bad. */
static void half_corners(void)
{
  static const uint16_t halves[] = {0, 1, 0x03ff, 0x0400, 0x3c00, 0x7bff, 0x7c00, 0xfc00, 0x7e00, 0xbc00, 0x8000};
  static const double values[] = {0, 0x1p-24, 0x3ffp-24, 0x1p-14, 1, 65504, -1, -1, -1, -1, 0};
  const mpisift_candidates candidates = {.n = test_rank == 0 ? 11 : 0, .losses = halves, .loss_type = MPISIFT_F16};
  const mpisift_pushes pushes = {.max_candidates = 11};
  struct world w = world_make("halves", -1, 24);
  mpisift_ctx *ctx = open_world();

  w.config.policy = "absolute";
  w.config.bad_loss_share = 0.5;
  w.config.loss_history_length = 11;
  for (int at = 0; at < 6; at++) {
    mpisift_sifter *sifter = NULL;
    bool accepted[11] = {0};
    const mpisift_decisions decisions = {.accepted = accepted};

    w.config.threshold = values[at];
    CU_ASSERT_EQUAL_FATAL(mpisift_sifter_create(ctx, &w.config, &pushes, &sifter), MPISIFT_OK);
    for (int k = 0; k < 2; k++) /* the first fills the history */
      CU_ASSERT_EQUAL(mpisift_sifter_push(sifter, &candidates, &decisions), MPISIFT_OK);
    for (int i = 0; i < 11; i++)
      CU_ASSERT_EQUAL(accepted[i], test_rank == 0 && values[i] >= values[at]);
    CU_ASSERT_EQUAL(mpisift_sifter_stats(sifter, MPISIFT_RUN).rejected, 2 * 4);
    CU_ASSERT_EQUAL(mpisift_sifter_destroy(&sifter), MPISIFT_OK);
  }
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* The step of a sifter is its last call. */
static void stats_of_calls(void)
{
  struct pushing p = pushing_make("calls", 24);
  struct push_run r = push_open(&p);
  mpisift_stats s;
  mpisift_batch batch;

  push_one(&r, 0, 0);
  s = mpisift_sifter_stats(r.sifter, MPISIFT_STEP);
  CU_ASSERT_EQUAL(s.rounds, 1);
  CU_ASSERT(s.candidates > SPAN / 2 && s.accepted == s.candidates && s.pooled == s.accepted);
  CU_ASSERT_EQUAL(mpisift_sifter_next(r.sifter, &batch), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_sifter_stats(r.sifter, MPISIFT_STEP).trained, 24);
  CU_ASSERT_EQUAL(mpisift_sifter_stats(r.sifter, MPISIFT_STEP).rounds, 0);
  push_close(&r);
}

TEST_MAIN("sifter", {"ends of epochs", ends_of_epochs}, {"ids of the library", numbers_of_its_own},
          {"padded fields", padded_fields}, {"endless", without_end}, {"types of losses", loss_types},
          {"policies", policies}, {"modifiers", modifiers}, {"bad losses", bad_losses},
          {"decisions only", decisions_only}, {"replicas", replicas}, {"small pushes", small_pushes},
          {"corners of half precision", half_corners}, {"statistics of calls", stats_of_calls})
