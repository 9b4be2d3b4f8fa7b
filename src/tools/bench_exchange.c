/* mpisift bench exchange: what the exchange of accepted samples costs beyond the messages and copies it is made of.
 *
 * Batches are exchanged in three ways in turn: by the library; by the same messages and copies without the library
 * around them, the floor; and by MPI_Alltoallv. Only the first exchange of a batch is timed, which meets it just as the
 * round has left it in the caches; the other ways follow, to compare and so that all buffers are used equally often.
 * Ranks wait for each other before what is timed: no time of waiting for a late rank counts. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "api/loader.h"
#include "base/clock.h"
#include "core/random.h"
#include "tools/bench.h"
#include "tools/tool.h"

enum { BATCH, KEEP, SKEW, STEPS, SMALL, LARGE };
enum { LIBRARY, BARE, ALLTOALLV, WAYS };
enum { X, Y, FIELDS };
enum { WARM_UP_STEPS = 5, TABLE_ROWS = 64 };

/* Buffers of a way without the library. */
typedef struct bare_way {
  unsigned char *send, *receive;
  unsigned char *rows[FIELDS]; /* [quota]: fields of the batch */
} bare_way;

typedef struct exchange_run {
  bench_job *job;
  mpisift_loader *loader;
  size_t bytes;           /* of a sample's fields */
  double keep;            /* share of this rank's candidates that is accepted */
  unsigned char *table;   /* [TABLE_ROWS]: contents of samples */
  struct msift_pool pool; /* before the batch */
  mpisift_batch batch;
  bare_way ways[WAYS];
  MPI_Request *requests;                     /* [ranks] */
  int *sent, *sent_at, *got, *got_at;        /* [ranks]: bytes, for MPI_Alltoallv */
  double *seconds[WAYS], *planning, *ratios; /* [steps] */
  int64_t steps, moved, messages;
} exchange_run;

/* A sample in memory: a copy is all it takes. */
static int read_rows(void *user, int64_t n, const int64_t *ids, void *const *dst)
{
  const exchange_run *run = user;
  size_t x = run->bytes - sizeof *ids;

  for (int64_t i = 0; i < n; i++) {
    memcpy((unsigned char *)dst[X] + (size_t)i * x, run->table + (size_t)(ids[i] % TABLE_ROWS) * x, x);
    memcpy((unsigned char *)dst[Y] + (size_t)i * sizeof *ids, &ids[i], sizeof *ids);
  }
  return 0;
}

/* Losses of 0 and 1 by chance. */
static int score(void *user, const mpisift_batch *candidates, const mpisift_scores *scores)
{
  const exchange_run *run = user;

  for (int64_t i = 0; i < candidates->valid; i++)
    scores->loss[i] = (double)(msift_mix((uint64_t)candidates->ids[i] + 1) >> 11) * 0x1p-53 < run->keep;
  return 0;
}

static mpisift_status create_loader(exchange_run *run)
{
  const double *values = run->job->values;
  mpisift_field fields[FIELDS] = {{"x", MPISIFT_U8, 1, {(int64_t)(run->bytes - sizeof(int64_t))}},
                                  {"y", MPISIFT_I64, 0, {0}}};
  mpisift_source source = {
      .user = run, .n = INT64_C(1) << 40, .block = 1, .n_fields = FIELDS, .fields = fields, .read = read_rows};
  mpisift_config config;

  mpisift_config_init(&config, sizeof config);
  config.policy = "absolute";
  config.threshold = 0.5;
  config.loss_history_length = 1;
  config.batch_size = (int64_t)values[BATCH];
  config.shuffle = false;
  return mpisift_loader_create(run->job->ctx, &config, &source, score, run, &run->loader);
}

static bool create_way(bare_way *way, const mpisift_loader *l)
{
  way->send = calloc((size_t)l->global_batch, l->record_bytes);
  way->receive = calloc((size_t)l->quota, l->record_bytes);
  for (int f = 0; f < FIELDS; f++)
    way->rows[f] = calloc((size_t)l->quota, l->field_bytes[f]);
  return way->send && way->receive && way->rows[X] && way->rows[Y];
}

/* Whatever the outcome, destroy() releases it. */
static bool allocate(exchange_run *run)
{
  size_t ranks = (size_t)run->job->ranks, steps = (size_t)run->steps;
  bool ok = true;

  run->requests = calloc(ranks, sizeof(MPI_Request));
  run->sent = calloc(4 * ranks, sizeof *run->sent);
  run->planning = calloc(steps, sizeof *run->planning);
  run->ratios = calloc(steps, sizeof *run->ratios);
  for (int w = 0; w < WAYS; w++) {
    run->seconds[w] = calloc(steps, sizeof *run->seconds[w]);
    ok = ok && run->seconds[w] && (w == LIBRARY || create_way(&run->ways[w], run->loader));
  }
  if (!ok || !run->requests || !run->sent || !run->planning || !run->ratios)
    return false;
  run->sent_at = run->sent + ranks;
  run->got = run->sent + 2 * ranks;
  run->got_at = run->sent + 3 * ranks;
  return true;
}

static void destroy(exchange_run *run)
{
  for (int w = 0; w < WAYS; w++) {
    free(run->ways[w].send);
    free(run->ways[w].receive);
    for (int f = 0; f < FIELDS; f++)
      free(run->ways[w].rows[f]);
    free(run->seconds[w]);
  }
  free(run->requests);
  free(run->sent);
  free(run->planning);
  free(run->ratios);
  mpisift_loader_destroy(&run->loader);
  free(run->table);
}

/* Rounds until a batch is there, in complete records, as all ways copy them. */
static mpisift_status fill_pool(mpisift_loader *l)
{
  if (!l->in_epoch)
    msift_epoch_begin(l);
  while (l->pool.owners.n < l->global_batch) {
    msift_round_stage(l, true);
    MSIFT_TRY(msift_round_post(l));
    MSIFT_TRY(msift_round_end(l));
  }
  msift_records_settle(l);
  return MPISIFT_OK;
}

static void by_library(exchange_run *run)
{
  if (msift_batch_begin(run->loader, run->loader->global_batch) == MPISIFT_OK)
    msift_batch_end(run->loader, &run->batch);
}

static void copy_out(const exchange_run *run, const struct msift_transfer *t, unsigned char *to)
{
  size_t bytes = run->loader->record_bytes;

  for (int64_t i = 0; i < t->n; i++)
    memcpy(to + (size_t)i * bytes, msift_ring_at(&run->pool.records, t->first + i), bytes);
}

static void copy_in(const exchange_run *run, const bare_way *way)
{
  const mpisift_loader *l = run->loader;
  const struct msift_plan *plan = &l->plan;

  for (int64_t i = 0; i < plan->n_rows; i++) {
    const struct msift_row *row = &plan->rows[i];
    int64_t at = row->transfer < 0 ? row->index : plan->transfers[row->transfer].place + row->index;
    const unsigned char *record =
        row->transfer < 0 ? msift_ring_at(&run->pool.records, at) : way->receive + (size_t)at * l->record_bytes;

    record += sizeof(struct msift_tag);
    for (int f = 0; f < FIELDS; f++) {
      memcpy(way->rows[f] + (size_t)i * l->field_bytes[f], record, l->field_bytes[f]);
      record += l->field_bytes[f];
    }
  }
}

static void by_bare_messages(exchange_run *run)
{
  const bare_way *way = &run->ways[BARE];
  const struct msift_plan *plan = &run->loader->plan;
  size_t bytes = run->loader->record_bytes, packed = 0;
  int n = 0;

  for (const struct msift_transfer *t = plan->transfers; t < plan->transfers + plan->n_transfers; t++) {
    if (t->to == plan->rank)
      MPI_Irecv(way->receive + (size_t)t->place * bytes, (int)((size_t)t->n * bytes), MPI_BYTE, (int)t->from, 0,
                run->job->comm, &run->requests[n++]);
  }
  for (const struct msift_transfer *t = plan->transfers; t < plan->transfers + plan->n_transfers; t++) {
    if (t->from != plan->rank)
      continue;
    copy_out(run, t, way->send + packed);
    MPI_Isend(way->send + packed, (int)((size_t)t->n * bytes), MPI_BYTE, (int)t->to, 0, run->job->comm,
              &run->requests[n++]);
    packed += (size_t)t->n * bytes;
  }
  MPI_Waitall(n, run->requests, MPI_STATUSES_IGNORE);
  copy_in(run, way);
}

/* Made before the clock starts: who calls MPI_Alltoallv may know its counts. */
static void count_bytes(exchange_run *run)
{
  const struct msift_plan *plan = &run->loader->plan;
  int bytes = (int)run->loader->record_bytes, packed = 0;

  memset(run->sent, 0, 4 * (size_t)run->job->ranks * sizeof *run->sent);
  for (const struct msift_transfer *t = plan->transfers; t < plan->transfers + plan->n_transfers; t++) {
    if (t->to == plan->rank) {
      run->got[t->from] = (int)t->n * bytes;
      run->got_at[t->from] = (int)t->place * bytes;
    } else if (t->from == plan->rank) {
      run->sent[t->to] = (int)t->n * bytes;
      run->sent_at[t->to] = packed;
      packed += (int)t->n * bytes;
    }
  }
}

static void by_alltoallv(exchange_run *run)
{
  const bare_way *way = &run->ways[ALLTOALLV];
  const struct msift_plan *plan = &run->loader->plan;

  for (const struct msift_transfer *t = plan->transfers; t < plan->transfers + plan->n_transfers; t++) {
    if (t->from == plan->rank)
      copy_out(run, t, way->send + run->sent_at[t->to]);
  }
  MPI_Alltoallv(way->send, run->sent, run->sent_at, MPI_BYTE, way->receive, run->got, run->got_at, MPI_BYTE,
                run->job->comm);
  copy_in(run, way);
}

/* All ways gave the same rows. */
static bool same_rows(const exchange_run *run)
{
  const mpisift_loader *l = run->loader;
  bool same = run->batch.n == l->plan.n_rows;

  for (int way = BARE; way < WAYS; way++)
    for (int f = 0; f < FIELDS && same; f++)
      same = memcmp(run->ways[way].rows[f], run->batch.data[f], (size_t)run->batch.n * l->field_bytes[f]) == 0;
  return same && memcmp(run->batch.data[Y], run->batch.ids, (size_t)run->batch.n * sizeof(int64_t)) == 0;
}

/* The library plans inside its own exchange. All ways are waited for equally often. */
static void prepare(exchange_run *run, int first, double *planning)
{
  mpisift_loader *l = run->loader;
  double begin = bench_start(run->job);

  run->pool = l->pool;
  if (first == LIBRARY)
    return;
  msift_plan_make(&l->plan, &l->pool.owners, l->global_batch);
  *planning = msift_seconds() - begin;
  count_bytes(run);
}

static void exchange_by(exchange_run *run, int way)
{
  static void (*const ways[])(exchange_run * run) = {by_library, by_bare_messages, by_alltoallv};

  ways[way](run);
}

/* One batch, exchanged first in the way that is timed. */
static int step(exchange_run *run, int first, int64_t sample)
{
  mpisift_loader *l = run->loader;
  double begin;

  if (fill_pool(l) != MPISIFT_OK)
    return bench_fail(run->job, "%s", mpisift_error(run->job->ctx));
  prepare(run, first, &run->planning[sample]);
  begin = bench_start(run->job);
  exchange_by(run, first);
  run->seconds[first][sample] = msift_seconds() - begin;
  count_bytes(run);
  for (int k = 1; k < WAYS; k++)
    exchange_by(run, (first + k) % WAYS);
  if (!bench_all(run->job, run->job->ctx->error.status == MPISIFT_OK && same_rows(run)))
    return bench_fail(run->job, "the exchange went wrong: %s", mpisift_error(run->job->ctx));
  run->moved += l->plan.moved;
  run->messages += l->plan.n_transfers;
  return TOOL_OK;
}

static int run_steps(exchange_run *run)
{
  int code = TOOL_OK;

  for (int64_t i = -WARM_UP_STEPS; i < run->steps && code == TOOL_OK; i++) {
    if (i == 0)
      run->moved = run->messages = 0;
    for (int way = 0; way < WAYS && code == TOOL_OK; way++)
      code = step(run, way, i < 0 ? 0 : i);
  }
  return code;
}

static void put_times(exchange_run *run, const char *prefix)
{
  bench_job *job = run->job;
  double **seconds = run->seconds;
  int64_t n = run->steps;

  for (int w = 0; w < WAYS; w++)
    bench_slowest(job, seconds[w], n);
  bench_slowest(job, run->planning, n);
  bench_put(job, prefix, "over_bare", bench_ratio(seconds[LIBRARY], seconds[BARE], n, run->ratios),
            "exchange over the same messages and copies, bare");
  bench_put(job, prefix, "over_alltoallv", bench_ratio(seconds[LIBRARY], seconds[ALLTOALLV], n, run->ratios),
            "exchange over the same by MPI_Alltoallv");
  bench_put(job, prefix, "exchange_us", 1e6 * bench_median(seconds[LIBRARY], n), "exchange of a batch, slowest rank");
  bench_put(job, prefix, "bare_us", 1e6 * bench_median(seconds[BARE], n), "bare messages and copies");
  bench_put(job, prefix, "alltoallv_us", 1e6 * bench_median(seconds[ALLTOALLV], n), "by MPI_Alltoallv");
  bench_put(job, prefix, "plan_us", 1e6 * bench_median(run->planning, n), "of the exchange, planning");
}

static void put_counts(exchange_run *run, const char *prefix)
{
  bench_job *job = run->job;
  const mpisift_loader *l = run->loader;
  double steps = (double)(WAYS * run->steps), moved = (double)run->moved / steps;

  bench_put(job, prefix, "batch_bytes", (double)l->global_batch * (double)run->bytes, "bytes of a batch, all ranks");
  bench_put(job, prefix, "moved_share", moved / (double)l->global_batch, "samples of a batch that change rank");
  bench_put(job, prefix, "moved_bytes", moved * (double)l->record_bytes, "bytes of their records, a step");
  bench_put(job, prefix, "messages", (double)run->messages / steps, "messages of all ranks, a step");
}

static int with_loader(exchange_run *run, const char *prefix)
{
  int code;

  if (!bench_all(run->job, allocate(run)))
    return bench_fail(run->job, "out of memory for the buffers; give a smaller --batch");
  code = run_steps(run);
  if (code != TOOL_OK)
    return code;
  put_times(run, prefix);
  put_counts(run, prefix);
  return TOOL_OK;
}

/* The first rank keeps most, the last one least, in even steps. */
static double keep_of(const bench_job *job)
{
  double place = job->ranks > 1 ? 2.0 * job->rank / (job->ranks - 1) : 1;

  return job->values[KEEP] * (1 + job->values[SKEW] * (1 - place));
}

static int measure(bench_job *job, size_t bytes, const char *prefix)
{
  exchange_run run = {.job = job, .bytes = bytes, .keep = keep_of(job), .steps = (int64_t)job->values[STEPS]};
  int code;

  run.table = malloc(TABLE_ROWS * bytes);
  for (size_t i = 0; run.table && i < TABLE_ROWS * bytes; i++)
    run.table[i] = (unsigned char)msift_mix(i);
  if (!bench_all(job, run.table != NULL))
    code = bench_fail(job, "out of memory");
  else if (create_loader(&run) != MPISIFT_OK)
    code = bench_fail(job, "%s", mpisift_error(job->ctx));
  else
    code = with_loader(&run, prefix);
  destroy(&run);
  return code;
}

static int run_exchange(bench_job *job)
{
  double largest = job->values[SMALL] > job->values[LARGE] ? job->values[SMALL] : job->values[LARGE];
  int code;

  if ((largest + 64) * job->values[BATCH] * job->ranks > INT_MAX)
    return bench_fail(job,
                      "a batch of all ranks has more than %d bytes, which MPI_Alltoallv cannot count; give a "
                      "smaller --batch, --small or --large",
                      INT_MAX);
  code = measure(job, (size_t)job->values[SMALL], "small");
  return code == TOOL_OK ? measure(job, (size_t)job->values[LARGE], "large") : code;
}

const benchmark bench_exchange = {
    .name = "exchange",
    .summary = "the exchange of accepted samples, over the same messages sent bare and over MPI_Alltoallv",
    .options = {{"batch", "N", 64, 1, 1e6, false, "samples a rank and step"},
                {"keep", "SHARE", 0.25, 1e-3, 1, true, "share of the candidates that is accepted"},
                {"skew", "S", 0, 0, 1, true, "the first rank keeps SHARE * (1 + S), the last SHARE * (1 - S)"},
                {"steps", "K", 101, 1, 1e6, false, "steps of each way, of which the median counts"},
                {"small", "BYTES", 3072, 16, 1e9, false, "bytes of a small sample"},
                {"large", "BYTES", 150528, 16, 1e9, false, "bytes of a large sample"}},
    .run = run_exchange,
};
