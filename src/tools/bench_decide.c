/* mpisift bench decide: what deciding on candidates and recording their losses costs, through a sifter that moves no
 * samples, next to the draw of a random number and a bare allreduce of the same buffer. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/loader.h"
#include "base/clock.h"
#include "tools/bench.h"
#include "tools/tool.h"

enum { CANDIDATES, SMALL, HISTORY, BETA, ROUNDS };
enum { TABLES = 16 }; /* rounds of losses, used in turns */

typedef struct decide_run {
  bench_job *job;
  int64_t n, rounds;
  mpisift_sifter *sifter;
  const mpisift_loader *loader; /* its inside */
  float *losses;                /* [TABLES][n] */
  double *decide, *random, *reduce, *ratios;
  uint32_t *buffer;
  int64_t reductions;
} decide_run;

static bool allocate(decide_run *run)
{
  size_t rounds = (size_t)run->rounds;

  run->losses = malloc((size_t)(TABLES * run->n) * sizeof *run->losses);
  run->decide = malloc(rounds * sizeof *run->decide);
  run->random = malloc(rounds * sizeof *run->random);
  run->reduce = malloc(rounds * sizeof *run->reduce);
  run->ratios = malloc(rounds * sizeof *run->ratios);
  return run->losses && run->decide && run->random && run->reduce && run->ratios;
}

static void destroy(decide_run *run)
{
  mpisift_sifter_destroy(&run->sifter);
  free(run->losses);
  free(run->decide);
  free(run->random);
  free(run->reduce);
  free(run->ratios);
  free(run->buffer);
}

/* Lognormal losses, other ones on each rank. */
static void draw_losses(decide_run *run)
{
  const philox4x32_key_t key = msift_random_key((uint64_t)run->job->rank, MSIFT_STREAM_SAMPLE);

  for (int64_t i = 0; i < TABLES * run->n; i++) {
    uint64_t bits = msift_random_bits(key, 0, (uint64_t)i);
    double u = ((double)(bits >> 32) + 0.5) * 0x1p-32, v = ((double)(bits & UINT32_MAX) + 0.5) * 0x1p-32;

    run->losses[i] = (float)exp(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
  }
}

static mpisift_status create_sifter(decide_run *run)
{
  const double *values = run->job->values;
  mpisift_pushes pushes = {.max_candidates = run->n};
  mpisift_config config;

  mpisift_config_init(&config, sizeof config);
  config.beta = values[BETA];
  config.loss_history_length = (int64_t)values[HISTORY];
  config.epochs = 0;
  return mpisift_sifter_create(run->job->ctx, &config, &pushes, &run->sifter);
}

static mpisift_status push(decide_run *run, int64_t round)
{
  mpisift_candidates candidates = {.n = run->n, .losses = run->losses + round % TABLES * run->n};

  return mpisift_sifter_push(run->sifter, &candidates, NULL);
}

/* Fill the window before anything is measured, and let the bins settle. */
static mpisift_status warm_up(decide_run *run)
{
  int64_t rounds = 2 * (int64_t)run->job->values[HISTORY] / (run->n * run->job->ranks) + 10;
  mpisift_status status = MPISIFT_OK;

  for (int64_t r = 0; r < rounds && status == MPISIFT_OK; r++)
    status = push(run, r);
  return status;
}

/* A draw for each candidate, in the library's own way. */
static double time_random(const decide_run *run, uint32_t *sum)
{
  const philox2x32_key_t key = msift_accept_key(7, 1);
  double begin = msift_seconds();
  uint32_t accepted = 0;

  for (int64_t i = 0; i < run->n; i++)
    accepted += msift_accept_by(key, i, MSIFT_CERTAIN / 4);
  *sum += accepted;
  return msift_seconds() - begin;
}

static double time_reduce(decide_run *run, int words)
{
  double begin = bench_start(run->job);

  MPI_Allreduce(MPI_IN_PLACE, run->buffer, words, MPI_UINT32_T, MPI_SUM, run->job->comm);
  return msift_seconds() - begin;
}

static mpisift_status run_rounds(decide_run *run)
{
  mpisift_status status = warm_up(run);
  int64_t before = run->loader->reduction.begun;
  uint32_t sum = 0;

  for (int64_t r = 0; r < run->rounds && status == MPISIFT_OK; r++) {
    double begin = mpisift_sifter_stats(run->sifter, MPISIFT_RUN).decide_s;

    bench_start(run->job);
    status = push(run, r);
    run->decide[r] = mpisift_sifter_stats(run->sifter, MPISIFT_RUN).decide_s - begin;
    run->random[r] = time_random(run, &sum);
    run->reduce[r] = time_reduce(run, run->loader->reduction.n);
  }
  run->reductions = run->loader->reduction.begun - before;
  return sum == UINT32_MAX ? MPISIFT_ERR_STATE : status; /* the draws cannot be left out */
}

static void put(decide_run *run, const char *prefix)
{
  bench_job *job = run->job;
  int64_t rounds = run->rounds;

  bench_slowest(job, run->decide, rounds);
  bench_slowest(job, run->random, rounds);
  bench_slowest(job, run->reduce, rounds);
  bench_put(job, prefix, "over_random", bench_ratio(run->decide, run->random, rounds, run->ratios),
            "deciding and recording, over the draws alone");
  bench_put(job, prefix, "us_per_round", 1e6 * bench_median(run->decide, rounds), "deciding and recording");
  bench_put(job, prefix, "ns_per_candidate", 1e9 * bench_median(run->decide, rounds) / (double)run->n, "the same");
  bench_put(job, prefix, "random_ns", 1e9 * bench_median(run->random, rounds) / (double)run->n,
            "a bare Philox draw, of a candidate");
  bench_put(job, prefix, "allreduce_us", 1e6 * bench_median(run->reduce, rounds),
            "a bare allreduce of the round's buffer");
  bench_put(job, prefix, "bytes_per_round", 4 * (double)run->loader->reduction.n, "bytes a rank reduces");
  bench_put(job, prefix, "collectives_per_round", (double)run->reductions / (double)rounds, "collective calls");
}

static int measure(bench_job *job, int64_t n, const char *prefix)
{
  decide_run run = {.job = job, .n = n, .rounds = (int64_t)job->values[ROUNDS]};
  int code = TOOL_OK;

  if (!bench_all(job, allocate(&run)))
    code = bench_fail(job, "out of memory");
  else if (create_sifter(&run) != MPISIFT_OK)
    code = bench_fail(job, "%s", mpisift_error(job->ctx));
  if (code == TOOL_OK) {
    run.loader = msift_sifter_loader(run.sifter);
    run.buffer = calloc((size_t)run.loader->max_words, sizeof *run.buffer);
    draw_losses(&run);
    if (!bench_all(job, run.buffer != NULL))
      code = bench_fail(job, "out of memory");
    else if (run_rounds(&run) != MPISIFT_OK)
      code = bench_fail(job, "%s", mpisift_error(job->ctx));
    else
      put(&run, prefix);
  }
  destroy(&run);
  return code;
}

static int run_decide(bench_job *job)
{
  int code = measure(job, (int64_t)job->values[CANDIDATES], "");

  return code == TOOL_OK ? measure(job, (int64_t)job->values[SMALL], "small") : code;
}

const benchmark bench_decide = {
    .name = "decide",
    .summary = "deciding on candidates and recording their losses, over bare random draws",
    .options = {{"candidates", "N", 65536, 1, 1e7, false, "candidates a rank and round"},
                {"small", "N", 192, 1, 1e7, false, "the same, of small rounds"},
                {"history", "N", 65536, 1, 1e8, false, "losses in the history"},
                {"beta", "B", 2, 1e-3, 1e3, true, "of the policy relative"},
                {"rounds", "K", 201, 1, 1e6, false, "rounds, of which the median counts"}},
    .run = run_decide,
};
