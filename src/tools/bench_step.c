/* mpisift bench step: where the time of a training step goes, of the demonstration trainer on data in memory, or in a
 * file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/loader.h"
#include "base/clock.h"
#include "core/random.h"
#include "tools/bench_files.h"
#include "tools/h5.h"
#include "tools/mlp.h"
#include "tools/tool.h"

enum { FEATURES, HIDDEN, LAYERS, CLASSES, BATCH, BETA, HISTORY, DEPTH, STEPS, STORED, THREADS, FOLDER };
enum { STORE = 4096, CHUNK = 64, FILE_LANES = 8 }; /* samples in memory, which repeat; of a file */

/* Parts of a step. */
enum {
  STEP,
  TRAIN,
  READ,
  COPY,
  WAIT,
  SCORE,
  SKEW,
  DECIDE,
  REDUCE,
  LATE,
  SEND,
  RECEIVE,
  FILL,
  ROWS,
  EXCHANGE,
  OWN,
  BARE,
  PARTS
};

typedef struct step_run {
  bench_job *job;
  mpisift_loader *loader;
  mlp net;
  float *x, *copied;
  int32_t *labels;
  float *losses;
  mpisift_dataset *dataset; /* NULL: in memory */
  mpisift_source stored;
  double *seconds[PARTS], *ratios;
  double skew;      /* waited for peers after scoring, so far */
  bool reduces;     /* the step is one for a bare allreduce, */
  double reduced;   /* which takes so long */
  uint32_t *buffer; /* of it */
  int64_t steps;
} step_run;

static int read_rows(void *user, int64_t n, const int64_t *ids, void *const *dst)
{
  const step_run *run = user;
  size_t features = (size_t)run->job->values[FEATURES];

  for (int64_t i = 0; i < n; i++) {
    memcpy((float *)dst[0] + (size_t)i * features, run->x + (size_t)(ids[i] % STORE) * features,
           features * sizeof *run->x);
    ((int32_t *)dst[1])[i] = run->labels[ids[i] % STORE];
  }
  return 0;
}

/* From the file; labels are made up. */
static int read_stored(void *user, int64_t n, const int64_t *ids, void *const *dst)
{
  const step_run *run = user;

  for (int64_t i = 0; i < n; i++)
    ((int32_t *)dst[1])[i] = run->labels[ids[i] % STORE];
  return run->stored.read(run->stored.user, n, ids, dst);
}

static void prefetch_stored(void *user, int64_t n, const int64_t *ids)
{
  const step_run *run = user;

  run->stored.prefetch(run->stored.user, n, ids);
}

static double time_bare(step_run *run)
{
  double begin = msift_seconds();

  MPI_Allreduce(MPI_IN_PLACE, run->buffer, run->loader->reduction.n, MPI_UINT32_T, MPI_SUM, run->job->comm);
  return msift_seconds() - begin;
}

/* Peers that score more slowly are waited for here, and not in the library's reduction. In some steps a bare allreduce
 * is timed, when as little is in the caches as for the library's. */
static int score(void *user, const mpisift_batch *candidates, const mpisift_scores *scores)
{
  step_run *run = user;
  int classes = (int)run->job->values[CLASSES];
  const float *logits = mlp_forward(&run->net, (int)candidates->valid, candidates->data[0]);
  mpisift_status status =
      mpisift_losses(run->job->ctx, NULL, candidates->valid, classes, (mpisift_values){.data = logits},
                     (mpisift_values){.data = candidates->data[1], .type = MPISIFT_I32}, scores);
  double begin = msift_seconds();

  MPI_Barrier(run->job->comm);
  run->skew += msift_seconds() - begin;
  if (run->reduces)
    run->reduced = time_bare(run);
  return status != MPISIFT_OK;
}

static bool allocate(step_run *run)
{
  const double *v = run->job->values;
  int hidden[MLP_MAX_HIDDEN], rows = (int)(v[BATCH] * (1 + v[BETA]));
  bool complete = true;

  for (int l = 0; l < (int)v[LAYERS]; l++)
    hidden[l] = (int)v[HIDDEN];
  for (int p = 0; p < PARTS; p++) {
    run->seconds[p] = calloc((size_t)run->steps, sizeof **run->seconds);
    complete = complete && run->seconds[p];
  }
  run->ratios = malloc((size_t)run->steps * sizeof *run->ratios);
  run->x = malloc(STORE * (size_t)v[FEATURES] * sizeof *run->x);
  run->labels = malloc(STORE * sizeof *run->labels);
  run->copied = malloc((size_t)rows * (size_t)v[FEATURES] * sizeof *run->copied);
  run->losses = malloc((size_t)rows * sizeof *run->losses);
  return mlp_create(&run->net, (int)v[FEATURES], (int)v[LAYERS], hidden, (int)v[CLASSES], rows) && complete &&
         run->ratios && run->x && run->copied && run->labels && run->losses;
}

static void destroy(step_run *run)
{
  mpisift_loader_destroy(&run->loader);
  mpisift_dataset_close(&run->dataset);
  mlp_destroy(&run->net);
  for (int p = 0; p < PARTS; p++)
    free(run->seconds[p]);
  free(run->ratios);
  free(run->x);
  free(run->copied);
  free(run->labels);
  free(run->losses);
  free(run->buffer);
}

static void draw_data(step_run *run)
{
  const philox4x32_key_t key = msift_random_key(1, MSIFT_STREAM_SAMPLE);
  int64_t features = (int64_t)run->job->values[FEATURES];

  for (int64_t i = 0; i < STORE * features; i++)
    run->x[i] = (float)((double)(msift_random_bits(key, 0, (uint64_t)i) >> 40) * 0x1p-24 - 0.5);
  for (int64_t i = 0; i < STORE; i++)
    run->labels[i] = (int32_t)(msift_random_bits(key, 1, (uint64_t)i) % (uint64_t)run->job->values[CLASSES]);
}

static mpisift_status create_loader(step_run *run)
{
  const double *v = run->job->values;
  const mpisift_field fields[] = {{"x", MPISIFT_F32, 1, {(int64_t)v[FEATURES]}}, {"y", MPISIFT_I32, 0, {0}}};
  mpisift_source source = {
      .user = run, .n = INT64_C(1) << 40, .block = 1, .n_fields = 2, .fields = fields, .read = read_rows};
  mpisift_config config;

  mpisift_config_init(&config, sizeof config);
  config.beta = v[BETA];
  config.batch_size = (int64_t)v[BATCH];
  config.score_batch_size = (int64_t)(v[BATCH] * (1 + v[BETA]));
  config.loss_history_length = (int64_t)v[HISTORY];
  config.pipeline_depth = (int)v[DEPTH];
  if (run->dataset != NULL) {
    source.n = run->stored.n;
    source.block = run->stored.block;
    source.read = read_stored;
    source.prefetch = run->stored.prefetch == NULL ? NULL : prefetch_stored;
    config.lanes = FILE_LANES * run->job->ranks;
    config.epochs = 0; /* endless */
  }
  return mpisift_loader_create(run->job->ctx, &config, &source, score, run, &run->loader);
}

static void train(step_run *run, const mpisift_batch *batch)
{
  const mlp_sgd sgd = {0.9, 0, 1};
  mlp *net = &run->net;

  mlp_forward(net, (int)batch->valid, batch->data[0]);
  mlp_backward(net, (int)batch->valid, batch->data[0], batch->data[1], batch->weights, run->losses);
  mpisift_loader_progress(run->loader);
  MPI_Allreduce(MPI_IN_PLACE, net->grads, net->n_params + 1, MPI_FLOAT, MPI_SUM, run->job->comm);
  mlp_update(net, &sgd, 0.01, (double)batch->global_n);
}

/* Copying rows from one on: what it costs at least to read as many, or to put them together in a batch. */
static double time_copy(step_run *run, int64_t first, int64_t rows)
{
  size_t row = (size_t)run->job->values[FEATURES];
  double begin = msift_seconds();

  for (int64_t i = first; i < first + rows; i++)
    memcpy(run->copied + (size_t)(i - first) * row, run->x + (size_t)(i * 7919 % STORE) * row, row * sizeof *run->x);
  return msift_seconds() - begin;
}

/* Rows are copied right after the training step, when little is in the caches: so it is for the library. */
static void note(step_run *run, int64_t k, double step, double trained, double skew)
{
  const struct msift_tally *from = &run->loader->at_step, *to = &run->loader->after_step;
  int64_t batch = (int64_t)run->job->values[BATCH], rows = (int64_t)((double)batch * (1 + run->job->values[BETA]));
  double part[PARTS] = {[STEP] = step, [TRAIN] = trained, [SKEW] = skew};

  part[ROWS] = time_copy(run, rows, batch);
  part[COPY] = time_copy(run, 0, rows);
  part[READ] = to->seconds[MSIFT_READ] - from->seconds[MSIFT_READ];
  part[WAIT] = fmax(part[READ] - part[COPY], 0);
  part[SCORE] = to->seconds[MSIFT_SCORE] - from->seconds[MSIFT_SCORE] - skew;
  part[DECIDE] = to->seconds[MSIFT_DECIDE] - from->seconds[MSIFT_DECIDE];
  part[REDUCE] = to->seconds[MSIFT_WAIT] - from->seconds[MSIFT_WAIT];
  part[SEND] = to->seconds[MSIFT_SEND] - from->seconds[MSIFT_SEND];
  part[RECEIVE] = to->seconds[MSIFT_RECEIVE] - from->seconds[MSIFT_RECEIVE];
  part[FILL] = to->seconds[MSIFT_FILL] - from->seconds[MSIFT_FILL];
  part[EXCHANGE] = part[SEND] + part[RECEIVE] + part[FILL];
  part[LATE] = part[REDUCE];
  part[OWN] = part[DECIDE] + part[SEND] + fmax(part[FILL] - part[ROWS], 0); /* but for the reduction */
  part[BARE] = run->reduced;
  for (int p = 0; p < PARTS; p++)
    run->seconds[p][k] = part[p];
}

/* One step; of those before the first, k < 0, nothing is noted. */
static mpisift_status run_step(step_run *run, int64_t k)
{
  double begin = bench_start(run->job), skew = run->skew, between;
  mpisift_batch batch;
  mpisift_status status = mpisift_loader_next(run->loader, &batch);

  if (status != MPISIFT_OK)
    return status;
  skew = run->skew - skew;
  between = msift_seconds();
  train(run, &batch);
  if (k >= 0)
    note(run, k, msift_seconds() - begin - skew, msift_seconds() - between, skew);
  return MPISIFT_OK;
}

static mpisift_status run_steps(step_run *run)
{
  int64_t global = run->loader->global_batch, warm = 2 * (int64_t)run->job->values[HISTORY] / global + 5;
  mpisift_status status = MPISIFT_OK;

  mlp_reset(&run->net, 1);
  for (int64_t k = -warm; k < run->steps && status == MPISIFT_OK; k++) {
    run->reduces = true;
    status = run_step(run, -1);
    run->reduces = false;
    if (status == MPISIFT_OK)
      status = run_step(run, k);
  }
  return status;
}

/* Each part takes as long as on the slowest rank; a reduction, as on the rank that comes last, and the others wait. */
static void combine(step_run *run)
{
  double *const *part = run->seconds;

  for (int p = 0; p < PARTS; p++)
    if (p == REDUCE || p == BARE)
      bench_quickest(run->job, part[p], run->steps);
    else
      bench_slowest(run->job, part[p], run->steps);
  for (int64_t k = 0; k < run->steps; k++) {
    part[LATE][k] -= part[REDUCE][k];
    part[OWN][k] += part[REDUCE][k];
  }
}

static double mean(double *samples, int64_t n)
{
  double sum = 0;

  for (int64_t i = 0; i < n; i++)
    sum += samples[i];
  return sum / (double)n;
}

static void put(step_run *run)
{
  static const struct {
    const char *name, *what;
  } parts[PARTS] = {
      {"step_us", "a step: the next batch, and training on it"},
      {"train_us", "training: forward, backward, gradient allreduce, update"},
      {"read_us", "reading candidates"},
      {"copy_us", "copying as many rows in memory"},
      {"read_wait_us", "reading beyond that, for which training waits: the mean, as chunks come in bursts"},
      {"score_us", "scoring them: forward passes"},
      {"skew_us", "waiting for peers that score more slowly"},
      {"decide_us", "deciding, recording, pooling"},
      {"reduce_us", "the round's reduction, for the rank that comes last"},
      {"late_us", "waiting in it for ranks that decide more slowly"},
      {"send_us", "planning the exchange, packing and posting its messages"},
      {"receive_us", "waiting for the peers' messages"},
      {"fill_us", "moving rows to the batch or into the pool"},
      {"rows_us", "copying as many rows as the batch has"},
      {"exchange_us", "sending, receiving and filling"},
      {"own_us", "the library's own work: deciding, reducing, sending, and filling beyond a bare copy"},
      {"bare_us", "a bare allreduce of the same buffer in its place, in steps between"},
  };
  bench_job *job = run->job;

  combine(run);
  for (int p = 0; p < PARTS; p++)
    bench_put(job, "", parts[p].name, 1e6 * (p == WAIT ? mean : bench_median)(run->seconds[p], run->steps),
              parts[p].what);
}

/* Write the rows, and have them read with a cache that holds what the order's windows need. */
static int open_file(bench_job *job, step_run *run, const char *path)
{
  const bench_shape shape = {.rows = (int64_t)job->values[STORED],
                             .elements = (int64_t)job->values[FEATURES],
                             .size = sizeof(float),
                             .chunk_rows = CHUNK,
                             .deflate = true};
  mpisift_reading reading;

  mpisift_reading_init(&reading, sizeof reading);
  reading.threads = (int)job->values[THREADS];
  reading.cache_bytes = (size_t)8 * FILE_LANES * CHUNK * (size_t)shape.elements * sizeof(float);
  if (!bench_all(job, job->rank != 0 || bench_write_file(path, &shape)))
    return bench_fail(job, "%s: cannot be written: %s", path, h5_reason());
  if (mpisift_dataset_open_files(job->ctx, &path, 1, NULL, NULL, 0, &reading, &run->dataset) != MPISIFT_OK)
    return bench_fail(job, "%s", mpisift_error(job->ctx));
  run->stored = mpisift_dataset_source(run->dataset);
  return TOOL_OK;
}

static int measure(bench_job *job, step_run *run)
{
  if (!bench_all(job, allocate(run)))
    return bench_fail(job, "out of memory");
  draw_data(run);
  if (create_loader(run) != MPISIFT_OK)
    return bench_fail(job, "%s", mpisift_error(job->ctx));
  run->buffer = calloc((size_t)run->loader->max_words, sizeof *run->buffer);
  if (!bench_all(job, run->buffer != NULL))
    return bench_fail(job, "out of memory");
  if (run_steps(run) != MPISIFT_OK)
    return bench_fail(job, "%s", mpisift_error(job->ctx));
  put(run);
  return TOOL_OK;
}

static int measure_stored(bench_job *job, step_run *run)
{
  char folder[BENCH_PATH], path[BENCH_PATH + 16];
  int code;

  h5_start();
  code = bench_make_folder(job, job->texts[FOLDER], folder);
  if (code != TOOL_OK)
    return code;
  snprintf(path, sizeof path, "%s/rows.h5", folder);
  code = open_file(job, run, path);
  if (code == TOOL_OK)
    code = measure(job, run);
  MPI_Barrier(job->comm);
  if (job->rank == 0) {
    unlink(path);
    rmdir(folder);
  }
  return code;
}

static int run_bench_step(bench_job *job)
{
  step_run run = {.job = job, .steps = (int64_t)job->values[STEPS]};
  int code = job->values[STORED] > 0 ? measure_stored(job, &run) : measure(job, &run);

  destroy(&run);
  return code;
}

const benchmark bench_step = {
    .name = "step",
    .summary = "the parts of a training step with sifting, of a multi-layer perceptron",
    .options = {{"features", "N", 784, 1, 1e6, false, "inputs of the model"},
                {"hidden", "N", 512, 1, 1e6, false, "width of its hidden layers"},
                {"layers", "N", 2, 0, MLP_MAX_HIDDEN, false, "hidden layers"},
                {"classes", "N", 10, 1, 1e6, false, "its outputs"},
                {"batch", "N", 64, 1, 1e6, false, "samples a rank and step"},
                {"beta", "B", 3, 1e-3, 1e3, true, "of the policy relative: keeps 1/(1+B)"},
                {"history", "N", 4096, 1, 1e8, false, "losses in the history"},
                {"pipeline-depth", "D", 0, 0, 1, false, "1: sifting overlaps the training step"},
                {"steps", "K", 101, 1, 1e6, false, "steps, of which the median counts"},
                {"rows", "N", 0, 0, 1e9, false, "of a compressed file that is made, read and deleted; 0: in memory"},
                {"threads", "N", -1, -1, 64, false, "that read it for each rank; -1: as its cores allow"},
                {"folder", "DIR", 0, 0, 0, false, "where it is made", "$TMPDIR"}},
    .run = run_bench_step,
};
