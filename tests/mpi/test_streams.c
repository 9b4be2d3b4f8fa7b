/* Streams of unknown length that end at different times on different ranks; and ranks that accept nothing or all. */
#include "loading.h"

enum { RANK_IDS = 100000 };

struct stream {
  struct world w;
  int64_t length; /* of an epoch on this rank */
  int64_t at;
  int shy; /* 1: only the last rank's losses are high; 2: only the first's */
  int fail_pull, pulls, begins;
};

static float stream_loss(const struct stream *s, int64_t id, int64_t epoch)
{
  int64_t rank = id / RANK_IDS;

  if (s->shy > 0)
    return rank == (s->shy == 1 ? s->w.ranks - 1 : 0) ? 2.0f : 0.0f;
  return world_loss(&s->w, id, epoch);
}

static int stream_begin(void *user, int64_t epoch)
{
  struct stream *s = user;

  s->begins++;
  s->at = 0;
  return epoch < 0;
}

static int stream_pull(void *user, int64_t want, int64_t *got, int64_t *ids, void *const *dst)
{
  struct stream *s = user;

  if (++s->pulls == s->fail_pull)
    return 3;
  *got = s->length - s->at < want ? s->length - s->at : want;
  for (int64_t i = 0; i < *got; i++)
    ids[i] = (int64_t)test_rank * RANK_IDS + s->at++;
  return *got > 0 ? world_read(NULL, *got, ids, dst) : 0;
}

static int stream_score(void *user, const mpisift_batch *candidates, const mpisift_scores *scores)
{
  for (int64_t i = 0; i < candidates->valid; i++)
    scores->loss[i] = stream_loss(user, candidates->ids[i], candidates->epoch);
  return 0;
}

static mpisift_source stream_source(struct stream *s)
{
  return (mpisift_source){
      .user = s, .n = -1, .n_fields = FIELDS, .fields = world_fields, .pull = stream_pull, .begin_epoch = stream_begin};
}

static int64_t length_of(int rank, int kind)
{
  return kind == 0 ? 150 + rank * 37 % 50 : kind == 1 ? (rank % 2 == 0 ? 0 : 90) : rank == 0 ? 1 : 300 * (rank == 1);
}

/* Ids in the order (round, local index, rank), accepted or not, of all epochs, by simulation of every rank. */
static struct samples stream_order(const struct stream *s, int kind, const int64_t *rounds, const int64_t *round_epoch,
                                   int64_t n_rounds)
{
  struct samples all = {0};
  int64_t at[64] = {0}, position = 0, epoch = -1;

  for (int64_t k = 0; k < n_rounds; k++) {
    if (round_epoch[k] != epoch) {
      memset(at, 0, sizeof at);
      position = 0;
      epoch = round_epoch[k];
    }
    for (int64_t q = position; q < position + rounds[k]; q++) {
      int r = (int)(q % s->w.ranks);

      if (at[r] < length_of(r, kind))
        samples_add(&all, (struct sample){.id = (int64_t)r * RANK_IDS + at[r]++, .epoch = epoch, .rank = r});
    }
    position += rounds[k];
  }
  return all;
}

/* Accept all: the batches are the streams woven, and all ends together. Rounds are of one global batch then. */
static void weave(int kind, mpisift_end end, int depth)
{
  struct stream s = {.w = world_make("weave", -1, 24), .length = length_of(test_rank, kind)};
  mpisift_source source = stream_source(&s);
  int64_t rounds[600], epochs[600], n_rounds = 0, total = 0, k = 0, ended = 0, longest = 0;
  mpisift_ctx *ctx = open_world();
  mpisift_loader *loader = NULL;
  mpisift_batch batch;
  struct samples all;
  mpisift_stats stats;

  for (int r = 0; r < test_size; r++) {
    total += length_of(r, kind);
    longest = length_of(r, kind) > longest ? length_of(r, kind) : longest;
  }
  for (int64_t e = 0; e < 2; e++)
    for (int64_t j = 0; j < longest * test_size / 24 + 2 && n_rounds < 600; j++, n_rounds++) {
      rounds[n_rounds] = 24;
      epochs[n_rounds] = e;
    }
  all = stream_order(&s, kind, rounds, epochs, n_rounds);
  CU_ASSERT_EQUAL(all.n, 2 * total);
  s.w.config.policy = "all";
  s.w.config.epochs = 2;
  s.w.config.end_of_epoch = end;
  s.w.config.pipeline_depth = depth;
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(ctx, &s.w.config, &source, NULL, NULL, &loader), MPISIFT_OK);
  while (ended < 2) {
    mpisift_status status = mpisift_loader_next(loader, &batch);

    CU_ASSERT_FATAL(status >= 0);
    if (status == MPISIFT_END_OF_EPOCH) {
      ended++;
      k = end == MPISIFT_DROP ? ended * total : k;
      continue;
    }
    for (int64_t i = 0; i < batch.valid; i++)
      CU_ASSERT_EQUAL(batch.ids[i], all.at[k + batch.slots[i]].id);
    CU_ASSERT_EQUAL(equal_count(&batch), batch.valid);
    check_slots(&batch, MPI_COMM_WORLD);
    k += batch.global_n;
  }
  stats = mpisift_loader_stats(loader, MPISIFT_RUN);
  CU_ASSERT_EQUAL(stats.candidates, 2 * total);
  CU_ASSERT_EQUAL(stats.trained + stats.dropped + stats.carried_out, 2 * total);
  CU_ASSERT_EQUAL(s.begins, 2);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
  free(all.at);
}

static void streams_of_all_lengths(void)
{
  for (int kind = 0; kind < 3; kind++)
    for (int depth = 0; depth <= 1; depth++) {
      weave(kind, MPISIFT_CARRY, depth);
      weave(kind, MPISIFT_FLUSH, depth);
      weave(kind, MPISIFT_DROP, depth);
    }
}

/* With sifting: every rank gets full batches though one rank's samples alone are kept, and what is kept is moved. */
static void one_rank_accepts(int shy, int depth)
{
  struct stream s = {.w = world_make("shy", -1, 24), .length = 8000, .shy = shy};
  mpisift_source source = stream_source(&s);
  mpisift_ctx *ctx = open_world();
  mpisift_loader *loader = NULL;
  mpisift_batch batch;
  mpisift_status status;
  int64_t sifted = 0, foreign = 0, giver = shy == 1 ? test_size - 1 : 0;
  mpisift_stats stats;

  s.w.config.beta = 20; /* losses at the bottom are next to never kept */
  s.w.config.epochs = 1;
  s.w.config.pipeline_depth = depth;
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(ctx, &s.w.config, &source, stream_score, &s, &loader), MPISIFT_OK);
  while ((status = mpisift_loader_next(loader, &batch)) == MPISIFT_OK) {
    CU_ASSERT_EQUAL(batch.n, 24 / test_size);
    for (int64_t i = 0; i < batch.n && batch.serial > 12; i++) {
      sifted++;
      foreign += batch.ids[i] / RANK_IDS != giver;
    }
  }
  CU_ASSERT_EQUAL(status, MPISIFT_END_OF_EPOCH);
  CU_ASSERT(sifted > 0);
  CU_ASSERT(foreign * 8 <= sifted);
  stats = mpisift_loader_stats(loader, MPISIFT_RUN);
  CU_ASSERT_EQUAL(stats.candidates, 8000 * test_size);
  if (test_size > 1)
    CU_ASSERT(stats.moved > stats.trained / 3);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

static void ranks_that_accept_nothing(void)
{
  for (int depth = 0; depth <= 1 && 24 % test_size == 0; depth++) {
    one_rank_accepts(1, depth);
    one_rank_accepts(2, depth);
  }
  CU_ASSERT_EQUAL(24 % test_size, 0);
}

/* A pull that fails loses nothing of what other ranks pulled: all samples of the epoch are trained. */
static void failing_pull(void)
{
  for (int depth = 0; depth <= 1; depth++)
    for (int call = 1; call < 8; call++) {
      struct stream s = {.w = world_make("pull", -1, 24), .length = 150};
      mpisift_source source = stream_source(&s);
      mpisift_ctx *ctx = open_world();
      mpisift_loader *loader = NULL;
      mpisift_batch batch;
      mpisift_status status = MPISIFT_OK;
      int64_t sum[2] = {0, 0};
      int errors = 0;

      s.fail_pull = test_rank == test_size - 1 ? call : 0;
      s.w.config.policy = "all";
      s.w.config.epochs = 1;
      s.w.config.end_of_epoch = MPISIFT_FLUSH;
      s.w.config.pipeline_depth = depth;
      CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(ctx, &s.w.config, &source, NULL, NULL, &loader), MPISIFT_OK);
      while (status != MPISIFT_END_OF_EPOCH && errors < 5) {
        status = mpisift_loader_next(loader, &batch);
        for (int64_t i = 0; status == MPISIFT_OK && i < batch.valid; i++) {
          sum[0]++;
          sum[1] += batch.ids[i];
        }
        if (status < 0) {
          errors++;
          CU_ASSERT_EQUAL(status, MPISIFT_ERR_CALLBACK);
          CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "pulling from the stream returned 3"));
        }
      }
      MPI_Allreduce(MPI_IN_PLACE, sum, 2, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
      CU_ASSERT_EQUAL(errors, 1);
      CU_ASSERT_EQUAL(sum[0], 150 * test_size);
      CU_ASSERT_EQUAL(sum[1], test_size * (150 * 149 / 2) + 150LL * RANK_IDS * test_size * (test_size - 1) / 2);
      CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
      CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
    }
}

static int greedy_pull(void *user, int64_t want, int64_t *got, int64_t *ids, void *const *dst)
{
  (void)user;
  (void)ids;
  (void)dst;
  *got = want + 1;
  return 0;
}

static int negative_pull(void *user, int64_t want, int64_t *got, int64_t *ids, void *const *dst)
{
  (void)user;
  (void)dst;
  for (int64_t i = 0; i < want; i++)
    ids[i] = i - 1;
  *got = want;
  return 0;
}

static void check_refused(int (*pull)(void *, int64_t, int64_t *, int64_t *, void *const *), const char *text)
{
  struct world w = world_make("bad pull", -1, 24);
  mpisift_source source = {.n = -1, .n_fields = FIELDS, .fields = world_fields, .pull = pull};
  mpisift_ctx *ctx = open_world();
  mpisift_loader *loader = NULL;
  mpisift_batch batch;

  w.config.policy = "all";
  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &w.config, &source, NULL, NULL, &loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_ERR_CALLBACK);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), text));
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

static void bad_pulls(void)
{
  check_refused(greedy_pull, "were wanted");
  check_refused(negative_pull, "id -1 in row 0");
}

/* An endless run over streams that give nothing is an error, not a hang. */
static void endless_and_empty(void)
{
  struct stream s = {.w = world_make("empty", -1, 24), .length = 0};
  mpisift_source source = stream_source(&s);
  mpisift_ctx *ctx = open_world();
  mpisift_loader *loader = NULL;
  mpisift_batch batch;

  s.w.config.policy = "all";
  s.w.config.epochs = 0;
  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &s.w.config, &source, NULL, NULL, &loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_ERR_DATA);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "no sample was accepted"));
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

TEST_MAIN("streams", {"streams of all lengths", streams_of_all_lengths},
          {"ranks that accept nothing", ranks_that_accept_nothing}, {"failing pull", failing_pull},
          {"bad pulls", bad_pulls}, {"endless and empty", endless_and_empty})
