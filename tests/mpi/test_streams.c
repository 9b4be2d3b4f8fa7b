/* Streams of unknown length that end at different times on different ranks; and ranks that accept nothing or all. */
#include "api/loader.h"
#include "loading.h"

enum { RANK_IDS = 100000 };

struct stream {
  struct world w;
  int64_t length; /* of an epoch on this rank */
  int64_t at;
  int shy;                                  /* 1: only the last rank's losses are high; 2: only the first's */
  int fail_pull, pulls, fail_begin, begins; /* call that fails, from 1 */
  int calls, apart;                         /* of score; of these, those in which the ranks were not together */
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

  if (++s->begins == s->fail_begin)
    return 3;
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
  struct stream *s = user;

  s->apart += !called_together(s->calls++, MPI_COMM_WORLD);
  for (int64_t i = 0; i < candidates->valid; i++)
    scores->loss[i] = stream_loss(s, candidates->ids[i], candidates->epoch);
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
static void one_rank_accepts(int shy, int depth, const char *policy)
{
  struct stream s = {.w = world_make("shy", -1, 24), .length = 8000, .shy = shy};
  mpisift_source source = stream_source(&s);
  mpisift_ctx *ctx = open_world();
  mpisift_loader *loader = NULL;
  mpisift_batch batch;
  mpisift_status status;
  int64_t sifted = 0, foreign = 0, giver = shy == 1 ? test_size - 1 : 0;
  mpisift_stats stats;

  s.w.config.policy = policy;
  s.w.config.beta = 20; /* losses at the bottom are next to never kept */
  s.w.config.threshold = 1;
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
  CU_ASSERT(foreign * 8 <= sifted && (foreign == 0 || strcmp(policy, "absolute") != 0));
  CU_ASSERT_EQUAL(s.apart, 0);
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
    one_rank_accepts(1, depth, "relative");
    one_rank_accepts(2, depth, "relative");
    one_rank_accepts(2, depth, "absolute");
  }
  CU_ASSERT_EQUAL(24 % test_size, 0);
}

/* Two epochs of a stream: a digest of the ids and slots of each global batch. */
struct outcome {
  uint64_t batches[400];
  int64_t n;
  int errors;
};

static uint64_t digest(const mpisift_batch *b)
{
  uint64_t sum = 0;

  for (int64_t i = 0; i < b->valid; i++)
    sum += msift_mix((uint64_t)(b->ids[i] * 1000 + b->slots[i]));
  MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
  return sum;
}

static struct outcome run_stream(struct stream s, mpisift_ctx *ctx, const char *text)
{
  mpisift_source source = stream_source(&s);
  struct outcome o = {.n = 0};
  mpisift_loader *loader = NULL;
  mpisift_batch batch;
  mpisift_stats stats;

  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(ctx, &s.w.config, &source, stream_score, &s, &loader), MPISIFT_OK);
  for (int ended = 0; ended < 2 && o.errors < 2;) {
    mpisift_status status = mpisift_loader_next(loader, &batch);

    CU_ASSERT_FATAL(o.n < 400);
    if (status == MPISIFT_OK)
      o.batches[o.n++] = digest(&batch);
    ended += status == MPISIFT_END_OF_EPOCH;
    if (status < 0) {
      o.errors++;
      CU_ASSERT_EQUAL(status, MPISIFT_ERR_CALLBACK);
      CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), text));
      CU_ASSERT(same_text(mpisift_error(ctx)));
    }
  }
  stats = mpisift_loader_stats(loader, MPISIFT_RUN);
  CU_ASSERT_EQUAL(stats.accepted, stats.trained + stats.dropped + stats.carried_out);
  CU_ASSERT_EQUAL(s.apart, 0);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  return o;
}

/* In each call, on the ranks in turn: one error, and the batches of a run without it. `call` is a member of s. */
static void fail_in_each(struct stream *s, int *call, mpisift_ctx *ctx, const struct outcome *whole, const char *what)
{
  for (int rank = 0; rank < test_size; rank++) {
    char text[128];
    int k = rank + 1, errors = 1;

    if (test_size > 1)
      snprintf(text, sizeof text, "rank %d: %s returned 3", rank, what);
    else
      snprintf(text, sizeof text, "%s returned 3", what);
    for (; errors == 1; k += test_size) {
      struct outcome o;

      *call = test_rank == rank ? k : 0;
      o = run_stream(*s, ctx, text);
      errors = o.errors;
      CU_ASSERT(o.n == whole->n && memcmp(o.batches, whole->batches, sizeof o.batches) == 0);
    }
    CU_ASSERT(k > 2);
  }
  *call = 0;
}

/* Lengths differ, and every third rank has no data: every callback may fail at any time, and all ranks agree. */
static void failing_streams(void)
{
  static const char *const policies[] = {"all", "relative"};
  mpisift_ctx *ctx = open_world();

  for (int p = 0; p < 2; p++) {
    struct stream s = {.w = world_make("failing", -1, 12), .length = test_rank % 3 == 1 ? 0 : 40 + 7 * test_rank % 20};
    struct outcome whole, overlapped;

    s.w.config.policy = policies[p];
    s.w.config.epochs = 2;
    s.w.config.loss_history_length = 48;
    s.w.config.end_of_epoch = p == 0 ? MPISIFT_FLUSH : MPISIFT_CARRY;
    whole = run_stream(s, ctx, "");
    CU_ASSERT(whole.errors == 0 && whole.n > 2);
    for (int depth = 0; depth <= 1; depth++) {
      s.w.config.pipeline_depth = depth;
      overlapped = run_stream(s, ctx, "");
      CU_ASSERT(memcmp(&whole, &overlapped, sizeof whole) == 0);
      fail_in_each(&s, &s.fail_pull, ctx, &whole, "pulling from the stream");
      fail_in_each(&s, &s.fail_begin, ctx, &whole, "beginning the stream's epoch");
    }
  }
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* Epochs shorter than a batch: 5 samples each, all of one rank, in 8 epochs. */
static void short_epochs(const char *policy, mpisift_end end, int depth, int64_t steps, int64_t trained)
{
  struct stream s = {.w = world_make("short", -1, 24), .length = test_rank == test_size - 1 ? 5 : 0};
  mpisift_source source = stream_source(&s);
  mpisift_ctx *ctx = open_world();
  mpisift_loader *loader = NULL;
  mpisift_batch batch;
  mpisift_stats stats;
  int ended = 0;

  s.w.config.policy = policy;
  s.w.config.epochs = 8;
  s.w.config.loss_history_length = 4096;
  s.w.config.end_of_epoch = end;
  s.w.config.pipeline_depth = depth;
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(ctx, &s.w.config, &source, stream_score, &s, &loader), MPISIFT_OK);
  while (ended < 8) {
    mpisift_status status = mpisift_loader_next(loader, &batch);

    CU_ASSERT_FATAL(status >= 0);
    ended += status == MPISIFT_END_OF_EPOCH;
    if (status == MPISIFT_OK)
      check_slots(&batch, MPI_COMM_WORLD);
  }
  stats = mpisift_loader_stats(loader, MPISIFT_RUN);
  CU_ASSERT_EQUAL(stats.candidates, 40);
  CU_ASSERT_EQUAL(stats.steps, steps);
  CU_ASSERT_EQUAL(stats.trained, trained);
  CU_ASSERT_EQUAL(stats.accepted, stats.trained + stats.dropped + stats.carried_out);
  CU_ASSERT_EQUAL(s.apart, 0);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* The history of "relative" is never full here, so that it accepts all. */
static void epochs_shorter_than_a_batch(void)
{
  static const char *const policies[] = {"all", "relative"};

  for (int p = 0; p < 2; p++)
    for (int depth = 0; depth <= 1; depth++) {
      short_epochs(policies[p], MPISIFT_CARRY, depth, 1, 24);
      short_epochs(policies[p], MPISIFT_FLUSH, depth, 8, 40);
      short_epochs(policies[p], MPISIFT_DROP, depth, 0, 0);
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

/* An endless run without a sample to train is an error, not a hang: streams that give nothing, or, once the history is
 * full, nothing that is accepted. */
static void endless_and_empty(int64_t length, const char *policy, int depth)
{
  struct stream s = {.w = world_make("empty", -1, 24), .length = length};
  mpisift_source source = stream_source(&s);
  mpisift_ctx *ctx = open_world();
  mpisift_loader *loader = NULL;
  mpisift_batch batch;
  mpisift_status status;

  s.w.config.policy = policy;
  s.w.config.threshold = 1e6;
  s.w.config.epochs = 0;
  s.w.config.loss_history_length = 1000;
  s.w.config.pipeline_depth = depth;
  CU_ASSERT_EQUAL(mpisift_loader_create(ctx, &s.w.config, &source, stream_score, &s, &loader), MPISIFT_OK);
  while ((status = mpisift_loader_next(loader, &batch)) == MPISIFT_OK)
    CU_ASSERT(length > 0);
  for (int again = 0; again < 2; again++, status = mpisift_loader_next(loader, &batch)) {
    CU_ASSERT_EQUAL(status, MPISIFT_ERR_DATA);
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "no sample was accepted"));
  }
  CU_ASSERT_EQUAL(s.apart, 0);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

static void nothing_to_train(void)
{
  for (int depth = 0; depth <= 1; depth++) {
    endless_and_empty(0, "all", depth);
    endless_and_empty(0, "absolute", depth);
    endless_and_empty(300, "absolute", depth);
  }
}

/* The window of a stream holds as many losses as configured, and at most a round more: also where rounds that are not
 * sifted come between others, and where epochs end in rounds without a sample. */
static void window_of(int64_t length, int64_t every, double beta)
{
  struct stream s = {.w = world_make("window", -1, 24), .length = length};
  mpisift_source source = stream_source(&s);
  mpisift_ctx *ctx = open_world();
  mpisift_loader *loader = NULL;
  mpisift_batch batch;

  s.w.config.epochs = 0;
  s.w.config.beta = beta;
  s.w.config.sift_every = every;
  s.w.config.loss_history_length = 500;
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(ctx, &s.w.config, &source, stream_score, &s, &loader), MPISIFT_OK);
  for (int step = 0; step < 150; step++) {
    CU_ASSERT_EQUAL_FATAL(mpisift_loader_next(loader, &batch), MPISIFT_OK);
    CU_ASSERT_EQUAL(msift_history_full(&loader->history), mpisift_loader_stats(loader, MPISIFT_RUN).scored >= 500);
    CU_ASSERT(loader->history.total <= (uint64_t)(500 + loader->round_size));
    CU_ASSERT(!msift_history_full(&loader->history) || loader->history.total >= 500);
  }
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

static void windows_of_streams(void)
{
  window_of(100000, 2, 3);
  window_of(100000, 3, 9);
  window_of(24, 1, 1);
}

TEST_MAIN("streams", {"windows of streams", windows_of_streams}, {"streams of all lengths", streams_of_all_lengths},
          {"ranks that accept nothing", ranks_that_accept_nothing}, {"failing streams", failing_streams},
          {"epochs shorter than a batch", epochs_shorter_than_a_batch}, {"bad pulls", bad_pulls},
          {"nothing to train", nothing_to_train})
