/* The part of `mpisift bench read` on samples that are left out: a loader by stale losses, next to one that reads all.
 * What is easy lies together in the file, so that most chunks have no sample that is kept. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "tools/bench_read.h"
#include "tools/tool.h"

enum { FULL, KEPT, WAYS, LANE_CHUNKS = 4, LINE = 64 };

typedef struct kept_run {
  bench_job *job;
  const bench_shape *shape;
  int64_t batch, repeats;
  mpisift_dataset *dataset;
  mpisift_loader *loaders[WAYS];
  float *losses;                       /* [batch] */
  double *seconds[WAYS], *bytes[WAYS]; /* [repeats]: of the slowest rank; of all ranks */
  double *ratios;                      /* [repeats] */
} kept_run;

static bool allocate(kept_run *run)
{
  bool complete = (run->losses = calloc((size_t)run->batch, sizeof *run->losses)) != NULL;

  complete = (run->ratios = calloc((size_t)run->repeats, sizeof *run->ratios)) != NULL && complete;
  for (int way = 0; way < WAYS; way++) {
    complete = (run->seconds[way] = calloc((size_t)run->repeats, sizeof **run->seconds)) != NULL && complete;
    complete = (run->bytes[way] = calloc((size_t)run->repeats, sizeof **run->bytes)) != NULL && complete;
  }
  return complete;
}

static void release(kept_run *run)
{
  for (int way = 0; way < WAYS; way++) {
    mpisift_loader_destroy(&run->loaders[way]);
    free(run->seconds[way]);
    free(run->bytes[way]);
  }
  mpisift_dataset_close(&run->dataset);
  free(run->losses);
  free(run->ratios);
}

static int64_t chunks_of(const bench_shape *shape)
{
  return (shape->rows + shape->chunk_rows - 1) / shape->chunk_rows;
}

/* The ranks' caches, which hold the window of the order, are a quarter of the file or so: an epoch does not find what
 * the one before has read. */
static mpisift_status open_loaders(kept_run *run, const char *path)
{
  mpisift_ctx *ctx = run->job->ctx;
  int64_t ranks = run->job->ranks, lanes = chunks_of(run->shape) / (4 * LANE_CHUNKS * ranks) * ranks;
  size_t chunk = (size_t)run->shape->chunk_rows * (size_t)run->shape->elements * run->shape->size + LINE;
  mpisift_reading reading;
  mpisift_config config;
  mpisift_source source;
  mpisift_status status;

  mpisift_reading_init(&reading, sizeof reading);
  reading.threads = 0;
  lanes = lanes > ranks ? lanes : ranks;
  reading.cache_bytes = (size_t)(lanes / ranks * LANE_CHUNKS) * chunk;
  status = mpisift_dataset_open_files(ctx, &path, 1, NULL, NULL, 0, &reading, &run->dataset);
  if (status != MPISIFT_OK)
    return status;
  source = mpisift_dataset_source(run->dataset);
  mpisift_config_init(&config, sizeof config);
  config.batch_size = run->batch;
  config.end_of_epoch = MPISIFT_FLUSH;
  config.epochs = INT32_MAX;
  config.lanes = lanes;
  config.report_lag = 0;
  config.policy = "all";
  status = mpisift_loader_create(ctx, &config, &source, NULL, NULL, &run->loaders[FULL]);
  config.policy = "hide";
  config.keep = 0.25;
  return status != MPISIFT_OK ? status : mpisift_loader_create(ctx, &config, &source, NULL, NULL, &run->loaders[KEPT]);
}

/* Bytes that this process has asked files for; 0 where the system does not tell. */
static double bytes_read(void)
{
  FILE *file = fopen("/proc/self/io", "r");
  double bytes = 0;

  if (file == NULL)
    return 0;
  if (fscanf(file, "rchar: %lf", &bytes) != 1)
    bytes = 0;
  fclose(file);
  return bytes;
}

/* Samples of a chunk have one loss, those of later chunks a higher one. */
static mpisift_status report(kept_run *run, const mpisift_batch *b)
{
  for (int64_t i = 0; i < b->n; i++)
    run->losses[i] = (float)(1 + b->ids[i] / run->shape->chunk_rows);
  return mpisift_loader_report(run->loaders[KEPT], b->serial, 0, b->n, run->losses);
}

/* Of k < 0 nothing is noted. */
static bool run_epoch(kept_run *run, int way, int64_t k)
{
  double before = bytes_read(), begin = bench_start(run->job), seconds, bytes;
  mpisift_status status = MPISIFT_OK;
  mpisift_batch b;

  while (status == MPISIFT_OK) {
    status = mpisift_loader_next(run->loaders[way], &b);
    if (status == MPISIFT_OK && way == KEPT)
      status = report(run, &b);
  }
  seconds = msift_seconds() - begin;
  bytes = bytes_read() - before;
  MPI_Allreduce(MPI_IN_PLACE, &bytes, 1, MPI_DOUBLE, MPI_SUM, run->job->comm);
  if (k >= 0) {
    run->seconds[way][k] = seconds;
    run->bytes[way][k] = bytes;
  }
  return bench_all(run->job, status == MPISIFT_END_OF_EPOCH);
}

static void put(kept_run *run)
{
  const mpisift_stats s = mpisift_loader_stats(run->loaders[KEPT], MPISIFT_EPOCH);
  mpisift_index_epoch epoch;

  mpisift_loader_epoch(run->loaders[KEPT], &epoch);
  for (int way = 0; way < WAYS; way++)
    bench_slowest(run->job, run->seconds[way], run->repeats);
  bench_put(run->job, "kept", "share", (double)s.accepted / (double)s.candidates,
            "samples that are kept, those with high losses");
  bench_put(run->job, "kept", "unread_mb", 1e-6 * (double)s.unread_bytes, "MB of samples that are not read");
  bench_put(run->job, "kept", "unread_chunks", (double)s.unread_blocks / (double)chunks_of(run->shape),
            "share of chunks without a kept sample");
  bench_put(run->job, "kept", "moved", (double)epoch.moved / (double)s.trained,
            "share of the kept that another rank than their lane's reads");
  if (run->bytes[FULL][0] > 0)
    bench_put(run->job, "kept", "bytes_over_full",
              bench_ratio(run->bytes[KEPT], run->bytes[FULL], run->repeats, run->ratios),
              "bytes asked of files over those of an epoch of all");
  bench_put(run->job, "kept", "time_over_full",
            bench_ratio(run->seconds[KEPT], run->seconds[FULL], run->repeats, run->ratios),
            "time of an epoch over that of one of all");
}

int read_kept(bench_job *job, const char *path, const bench_shape *shape, int64_t batch, int64_t repeats)
{
  kept_run run = {.job = job, .shape = shape, .batch = batch, .repeats = repeats};
  bool right = bench_all(job, allocate(&run));
  int code = right ? TOOL_OK : bench_fail(job, "out of memory");

  if (code == TOOL_OK && open_loaders(&run, path) != MPISIFT_OK)
    code = bench_fail(job, "%s", mpisift_error(job->ctx));
  for (int64_t k = -1; k < repeats && code == TOOL_OK; k++)
    for (int way = 0; way < WAYS && right; way++)
      right = run_epoch(&run, way, k);
  if (!right && code == TOOL_OK)
    code = bench_fail(job, "%s: reading went wrong: %s", path, mpisift_error(job->ctx));
  if (code == TOOL_OK)
    put(&run);
  release(&run);
  return code;
}
