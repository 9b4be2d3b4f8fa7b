/* mpisift bench indices: what planning an epoch of indices costs, and a step of it. */
#include <stdlib.h>

#include "base/clock.h"
#include "tools/bench.h"
#include "tools/tool.h"

enum { SAMPLES, BATCH, EPOCHS };

typedef struct indices_run {
  bench_job *job;
  mpisift_indices *indices;
  int64_t n, batch, epochs;
  double *plan, *step, *bare, *ratios; /* [epochs]: seconds of an epoch's plan, and of a step of it */
  float *losses;                       /* [batch] */
} indices_run;

static bool allocate(indices_run *run)
{
  run->plan = calloc((size_t)run->epochs, sizeof *run->plan);
  run->step = calloc((size_t)run->epochs, sizeof *run->step);
  run->bare = calloc((size_t)run->epochs, sizeof *run->bare);
  run->ratios = calloc((size_t)run->epochs, sizeof *run->ratios);
  run->losses = calloc((size_t)run->batch, sizeof *run->losses);
  return run->plan && run->step && run->bare && run->ratios && run->losses;
}

static void release(indices_run *run)
{
  mpisift_indices_destroy(&run->indices);
  free(run->plan);
  free(run->step);
  free(run->bare);
  free(run->ratios);
  free(run->losses);
}

/* Losses that differ from sample to sample, and reach the table. */
static mpisift_status report(indices_run *run, const mpisift_batch *b)
{
  for (int64_t i = 0; i < b->n; i++)
    run->losses[i] = (float)((uint64_t)b->ids[i] * UINT64_C(2654435761) % 100003) / 1000;
  return mpisift_indices_report(run->indices, b->serial, 0, b->n, run->losses, 1);
}

/* Bare reductions of 8 bytes that wait for all ranks. */
static double time_bare(const bench_job *job, int64_t steps)
{
  double begin = bench_start(job);

  for (int64_t k = 0; k < steps; k++) {
    int64_t failed = 0;

    MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT64_T, MPI_SUM, job->comm);
  }
  return (msift_seconds() - begin) / (double)(steps > 0 ? steps : 1);
}

static int time_epoch(indices_run *run, int64_t e)
{
  mpisift_index_epoch epoch;
  mpisift_status status;
  mpisift_batch b;
  double begin = bench_start(run->job);

  status = mpisift_indices_begin_epoch(run->indices, run->n, &epoch);
  run->plan[e] = msift_seconds() - begin;
  begin = bench_start(run->job);
  while (status == MPISIFT_OK) {
    status = mpisift_indices_next(run->indices, &b);
    if (status == MPISIFT_OK)
      status = report(run, &b);
  }
  run->step[e] = (msift_seconds() - begin) / (double)(epoch.steps > 0 ? epoch.steps : 1);
  if (status != MPISIFT_END_OF_EPOCH)
    return bench_fail(run->job, "%s", mpisift_error(run->job->ctx));
  run->bare[e] = time_bare(run->job, epoch.steps);
  return TOOL_OK;
}

/* The first epoch, which accepts all, is not counted. */
static int measure(indices_run *run)
{
  int64_t counted = run->epochs - 1;
  double share = (double)run->n / run->job->ranks;

  for (int64_t e = 0; e < run->epochs; e++) {
    int code = time_epoch(run, e);

    if (code != TOOL_OK)
      return code;
  }
  bench_slowest(run->job, run->plan, run->epochs);
  bench_slowest(run->job, run->step, run->epochs);
  bench_slowest(run->job, run->bare, run->epochs);
  bench_put(run->job, "", "step_over_bare", bench_ratio(run->step + 1, run->bare + 1, counted, run->ratios),
            "the step over the bare reduction");
  bench_put(run->job, "", "plan_ms", 1e3 * bench_median(run->plan + 1, counted), "planning an epoch");
  bench_put(run->job, "", "plan_ns_a_sample", 1e9 * bench_median(run->plan + 1, counted) / share,
            "of it, for each sample of a rank's share");
  bench_put(run->job, "", "step_us", 1e6 * bench_median(run->step + 1, counted), "a batch of ids, and its report");
  bench_put(run->job, "", "bare_us", 1e6 * bench_median(run->bare + 1, counted), "a bare reduction of 8 bytes");
  return TOOL_OK;
}

static int run(bench_job *job)
{
  indices_run run = {.job = job,
                     .n = (int64_t)job->values[SAMPLES],
                     .batch = (int64_t)job->values[BATCH],
                     .epochs = (int64_t)job->values[EPOCHS] + 1};
  mpisift_config config;
  int code = TOOL_FAILURE;

  mpisift_config_init(&config, sizeof config);
  config.policy = "stale_relative";
  config.batch_size = run.batch;
  config.epochs = run.epochs;
  if (!bench_all(job, allocate(&run)))
    bench_fail(job, "out of memory");
  else if (mpisift_indices_create(job->ctx, &config, run.n, 64, &run.indices) != MPISIFT_OK)
    bench_fail(job, "%s", mpisift_error(job->ctx));
  else
    code = measure(&run);
  release(&run);
  return code;
}

const benchmark bench_indices = {
    .name = "indices",
    .summary = "planning an epoch of indices, and a step of it over a bare reduction",
    .options = {{"samples", "N", 1000000, 1, 1e12, false, "samples of the data set"},
                {"batch", "N", 32, 1, 1e6, false, "samples a rank and step"},
                {"epochs", "K", 5, 1, 1000, false, "epochs of which the median counts, after a first"}},
    .run = run,
};
