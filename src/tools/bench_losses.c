/* mpisift bench losses: what a sample's cross-entropy costs, next to reading its logits, to the vectorised exponentials
 * that it cannot do without, and to the loop that one would write. All go over the same memory in turns. */
#include <config.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/kernels.h"
#include "base/clock.h"
#include "tools/bench.h"
#include "tools/bench_bare.h"
#include "tools/tool.h"

enum { MEGABYTES, REPEATS };
enum { LOSS, SCORES, READ, PASS, LOOP, WAYS };

typedef struct losses_run {
  bench_job *job;
  int64_t rows, columns, repeats;
  const struct bare *bare;
  float *logits, *out[5];
  int32_t *labels;
  double *seconds[WAYS], *ratios;
  double sum;
} losses_run;

static const struct bare *find_bare(void)
{
  static const struct bare *const all[] = {
      &bare_base,
#ifdef HAVE_X86_KERNELS
      &bare_avx2,
      &bare_avx512,
#endif
  };
  const char *name = msift_kernels()[0]->name;
  size_t i = 0;

  while (strcmp(all[i]->name, name) != 0)
    i++;
  return all[i];
}

static bool allocate(losses_run *run)
{
  size_t rows = (size_t)run->rows, repeats = (size_t)run->repeats;
  bool ok;

  run->logits = malloc(rows * (size_t)run->columns * sizeof *run->logits);
  run->labels = malloc(rows * sizeof *run->labels);
  run->ratios = malloc(repeats * sizeof *run->ratios);
  ok = run->logits && run->labels && run->ratios;
  for (int k = 0; k < 5; k++)
    ok = (run->out[k] = malloc(rows * sizeof(float))) && ok;
  for (int k = 0; k < WAYS; k++)
    ok = (run->seconds[k] = malloc(repeats * sizeof(double))) && ok;
  return ok;
}

static void destroy(losses_run *run)
{
  free(run->logits);
  free(run->labels);
  free(run->ratios);
  for (int k = 0; k < 5; k++)
    free(run->out[k]);
  for (int k = 0; k < WAYS; k++)
    free(run->seconds[k]);
}

/* Logits from −8 to 8. */
static void draw(losses_run *run)
{
  uint64_t state = 88172645463325252U + (uint64_t)run->job->rank;

  for (int64_t i = 0; i < run->rows * run->columns; i++) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    run->logits[i] = (float)(state >> 40) * 0x1p-20F - 8;
    if (i % run->columns == 0)
      run->labels[i / run->columns] = (int32_t)((state >> 33) % (uint64_t)run->columns);
  }
}

/* The loop that one would write. */
static void loop(const losses_run *run)
{
  for (int64_t i = 0; i < run->rows; i++) {
    const float *x = run->logits + i * run->columns;
    float top = x[0], sum = 0;

    for (int64_t c = 1; c < run->columns; c++)
      top = x[c] > top ? x[c] : top;
    for (int64_t c = 0; c < run->columns; c++)
      sum += expf(x[c] - top);
    run->out[0][i] = logf(sum) + top - x[run->labels[i]];
  }
}

static mpisift_status go(losses_run *run, int way)
{
  mpisift_values logits = {.data = run->logits}, labels = {.data = run->labels, .type = MPISIFT_I32};
  mpisift_scores scores = {.loss = run->out[0]};

  if (way == READ)
    run->sum += run->bare->read(run->logits, run->rows * run->columns);
  else if (way == PASS)
    run->bare->pass(run->logits, run->rows, run->columns, run->out[0]);
  else if (way == LOOP)
    loop(run);
  if (way == SCORES)
    scores = (mpisift_scores){.loss = run->out[0],
                              .bound = run->out[1],
                              .confidence = run->out[2],
                              .entropy = run->out[3],
                              .margin = run->out[4]};
  return way <= SCORES ? mpisift_losses(run->job->ctx, NULL, run->rows, run->columns, logits, labels, &scores)
                       : MPISIFT_OK;
}

/* Once for nothing, so that all memory is there. */
static bool measure(losses_run *run)
{
  bool ok = true;

  for (int64_t r = -1; r < run->repeats; r++)
    for (int way = 0; way < WAYS; way++) {
      double begin = msift_seconds();

      ok = go(run, way) == MPISIFT_OK && ok;
      if (r >= 0)
        run->seconds[way][r] = msift_seconds() - begin;
    }
  return ok && run->sum < HUGE_VAL; /* the reading cannot be left out */
}

static void put(losses_run *run)
{
  double bytes = (double)(run->rows * run->columns) * sizeof *run->logits, rows = (double)run->rows;
  bench_job *job = run->job;
  char prefix[16];

  snprintf(prefix, sizeof prefix, "c%d", (int)run->columns);
  for (int way = 0; way < WAYS; way++)
    bench_slowest(job, run->seconds[way], run->repeats);
  bench_put(job, prefix, "over_bare", bench_ratio(run->seconds[PASS], run->seconds[LOSS], run->repeats, run->ratios),
            "speed of the loss, over a bare pass");
  bench_put(job, prefix, "over_loop", bench_ratio(run->seconds[LOOP], run->seconds[LOSS], run->repeats, run->ratios),
            "over the loop with expf");
  bench_put(job, prefix, "ns", 1e9 * bench_median(run->seconds[LOSS], run->repeats) / rows, "of a sample");
  bench_put(job, prefix, "gb_s", 1e-9 * bytes / bench_median(run->seconds[LOSS], run->repeats), "of logits");
  bench_put(job, prefix, "scores_ns", 1e9 * bench_median(run->seconds[SCORES], run->repeats) / rows,
            "with all other scores");
  bench_put(job, prefix, "read_gb_s", 1e-9 * bytes / bench_median(run->seconds[READ], run->repeats), "of a bare read");
  bench_put(job, prefix, "bare_ns", 1e9 * bench_median(run->seconds[PASS], run->repeats) / rows,
            "of a bare vectorised max, exp and sum");
  bench_put(job, prefix, "loop_ns", 1e9 * bench_median(run->seconds[LOOP], run->repeats) / rows,
            "of the loop with expf");
}

static int run_size(bench_job *job, int64_t columns)
{
  losses_run run = {.job = job, .columns = columns, .repeats = (int64_t)job->values[REPEATS], .bare = find_bare()};
  int code = TOOL_OK;

  run.rows = 1 + (int64_t)(job->values[MEGABYTES] * 1e6 / (double)columns / sizeof(float));
  if (!bench_all(job, allocate(&run)))
    code = bench_fail(job, "out of memory");
  if (code == TOOL_OK) {
    draw(&run);
    if (bench_all(job, measure(&run)))
      put(&run);
    else
      code = bench_fail(job, "%s", mpisift_error(job->ctx));
  }
  destroy(&run);
  return code;
}

static int run_losses(bench_job *job)
{
  static const int64_t columns[] = {10, 1000, 50257};
  int code = TOOL_OK;

  for (int k = 0; k < 3 && code == TOOL_OK; k++)
    code = run_size(job, columns[k]);
  return code;
}

const benchmark bench_losses = {
    .name = "losses",
    .summary = "cross-entropy of 10, 1000 and 50257 classes, next to bare passes over the same logits",
    .options = {{"megabytes", "M", 8, 0.001, 1e5, true, "of logits"},
                {"repeats", "K", 21, 1, 1e6, false, "turns, of which the median counts"}},
    .run = run_losses,
};
