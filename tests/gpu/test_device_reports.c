/* Losses that are reported from the memory of a device, against the oracle of index plans: copied in the order of the
 * stream, which nothing waits for. With a device or a stand-in for the CUDA runtime; without either only the error is
 * tested, and the rest is skipped. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* RTLD_NEXT */
#endif
#include <config.h>

#include <mpisift/cuda.h>

#include "../mpi/indexing.h"
#include "api/indices.h"

static void without_a_device(void)
{
  struct index_world w = index_world_make("without a device", "all");
  static struct index_run r;
  static float loss = 1;
  const mpisift_scores scores = {.loss = &loss};
  mpisift_batch b;

  index_open(&r, &w);
  index_begin(&r);
  CU_ASSERT_EQUAL(mpisift_indices_next(r.x, &b), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_indices_report_cuda(r.x, 0, 0, 1, &loss, 1, NULL), MPISIFT_ERR_DEVICE);
  CU_ASSERT(strlen(mpisift_error(r.ctx)) > 0);
  CU_ASSERT_EQUAL(mpisift_indices_report_scores_cuda(r.x, 0, 0, 1, &scores, 1, NULL), MPISIFT_ERR_DEVICE);
  CU_ASSERT_EQUAL(mpisift_indices_report_cuda(r.x, 0, 0, 0, NULL, 1, NULL), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_indices_report_cuda(r.x, 1, 0, 1, &loss, 1, NULL), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_indices_report_cuda(NULL, 0, 0, 1, &loss, 1, NULL), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_indices_report_scores_cuda(r.x, 0, 0, 1, NULL, 1, NULL), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_indices_report(r.x, 0, 0, 1, &loss, 1), MPISIFT_OK); /* nothing was taken */
  index_close(&r);
}

#ifdef HAVE_NVCC
#include <cuda_runtime_api.h>
#include <dlfcn.h>

static cudaStream_t stream;
static cudaError_t event_code; /* what events answer from now on, if it is not success */

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
  cudaError_t (*real)(cudaEvent_t) = (cudaError_t(*)(cudaEvent_t))dlsym(RTLD_NEXT, "cudaEventSynchronize");

  return event_code != cudaSuccess ? event_code : real(event);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t of)
{
  cudaError_t (*real)(cudaEvent_t, cudaStream_t) =
      (cudaError_t(*)(cudaEvent_t, cudaStream_t))dlsym(RTLD_NEXT, "cudaEventRecord");

  return event_code != cudaSuccess ? event_code : real(event, of);
}

/* Columns of reports on the device, and where they come from: each place is used once in a run. */
enum { COLUMN = 128, REPORTS = 3000, COLUMNS = 3 * REPORTS };

static float *source, *device;
static int64_t n_columns;
static bool ran; /* the stream's work up to the last report */

static void CUDART_CB note_run(void *user)
{
  *(bool *)user = true;
}

/* A column is written in the order of the stream, from bytes that mean nothing. */
static void *put(const void *values, int64_t n, int64_t stride)
{
  float *from = source + n_columns * COLUMN, *to = device + n_columns * COLUMN;
  size_t bytes = (size_t)((n - 1) * stride + 1) * sizeof *from;

  CU_ASSERT_FATAL(n_columns < COLUMNS && (n - 1) * stride < COLUMN);
  memcpy(from, values, bytes);
  CU_ASSERT_EQUAL(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream), cudaSuccess);
  n_columns++;
  return to;
}

static bool lazy(void)
{
  const char *value = getenv("PTXM_LAZY");

  return value != NULL && strcmp(value, "1") == 0;
}

static mpisift_status report(struct index_run *r, int64_t serial, int64_t first, int64_t n,
                             const mpisift_scores *scores, int64_t stride)
{
  mpisift_scores on = {0};
  mpisift_status status;
  int64_t begin = n_columns;

  if (n == 0)
    return mpisift_indices_report_cuda(r->x, serial, first, 0, NULL, stride, stream);
  on.loss = put(scores->loss, n, stride);
  on.confidence = r->w.confident ? put(scores->confidence, n, stride) : NULL;
  on.group = r->w.config.groups > 0 ? put(scores->group, n, stride) : NULL;
  ran = false;
  CU_ASSERT_EQUAL(cudaLaunchHostFunc(stream, note_run, &ran), cudaSuccess);
  status = r->w.confident ? mpisift_indices_report_scores_cuda(r->x, serial, first, n, &on, stride, stream)
                          : mpisift_indices_report_cuda(r->x, serial, first, n, on.loss, stride, stream);
  CU_ASSERT(!ran || !lazy()); /* nothing has waited */
  CU_ASSERT_EQUAL(
      cudaMemsetAsync(device + begin * COLUMN, 0xff, (size_t)(n_columns - begin) * COLUMN * sizeof(float), stream),
      cudaSuccess);
  return status;
}

static void open_run(struct index_run *r, const struct index_world *w)
{
  index_open(r, w);
  r->report = report;
  n_columns = 0;
  CU_ASSERT_EQUAL(cudaMemsetAsync(device, 0xff, COLUMNS * COLUMN * sizeof(float), stream), cudaSuccess);
}

static void close_run(struct index_run *r)
{
  CU_ASSERT_EQUAL(mpisift_indices_destroy(&r->x), MPISIFT_OK);
  CU_ASSERT_EQUAL(r->ctx->memory.blocks, 1); /* the team's */
  index_close(r);
  CU_ASSERT_EQUAL(cudaStreamSynchronize(stream), cudaSuccess);
}

static void run_world(const struct index_world *w)
{
  static struct index_run r;

  open_run(&r, w);
  for (int64_t e = 0; e < w->config.epochs; e++) {
    index_begin(&r);
    index_batches(&r);
  }
  close_run(&r);
}

/* In every second element, in pieces, with some missing and some bad, late by as much as they may. */
static void plans(void)
{
  struct index_world w = index_world_make("losses", "stale_relative");

  w.config.epochs = 3;
  run_world(&w);
  w.name = "confidences, long lag";
  w.config.policy = "hide";
  w.config.refresh_every = 1;
  w.config.report_lag = 5;
  w.confident = w.insane = true;
  w.missing = 7;
  w.bad = 11;
  run_world(&w);
  w.name = "classes";
  w.config.policy = "stale_relative";
  w.config.class_floor = 0.19;
  w.config.groups = INDEX_GROUPS;
  run_world(&w);
}

/* More at once than the first block of page-locked memory has room for. */
static void long_runs(void)
{
  struct index_world w = index_world_make("long", "stale_relative");

  w.n = INDEX_MOST;
  w.config.global_batch_size = 48;
  w.config.epochs = 2;
  w.config.lanes = 8;
  w.missing = 3; /* many reports */
  run_world(&w);
}

static void refused(struct index_run *r, const float *losses, int64_t first, int64_t stride, mpisift_status status,
                    const char *text)
{
  CU_ASSERT_EQUAL(mpisift_indices_report_cuda(r->x, 0, first, 1, losses, stride, stream), status);
  if (strstr(mpisift_error(r->ctx), text) == NULL)
    fprintf(stderr, "expected '%s', got: %s\n", text, mpisift_error(r->ctx));
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(r->ctx), text));
}

static void bad_reports(void)
{
  struct index_world w = index_world_make("bad reports", "stale_relative");
  static struct index_run r;
  static float on_host[1];
  mpisift_scores scores = {.loss = device, .confidence = on_host};
  mpisift_batch b;

  open_run(&r, &w);
  refused(&r, device, 0, 1, MPISIFT_ERR_ARG, "batch 0 is not among");
  index_begin(&r);
  CU_ASSERT_EQUAL_FATAL(mpisift_indices_next(r.x, &b), MPISIFT_OK);
  refused(&r, on_host, 0, 1, MPISIFT_ERR_ARG, "the array of reported losses is host memory");
  refused(&r, source, 0, 1, MPISIFT_ERR_ARG, "the array of reported losses is page-locked host memory");
  refused(&r, NULL, 0, 1, MPISIFT_ERR_ARG, "losses are NULL");
  refused(&r, device, 0, 0, MPISIFT_ERR_ARG, "stride 0");
  refused(&r, device, 24, 1, MPISIFT_ERR_ARG, "rows 24 to 25");
  CU_ASSERT_EQUAL(mpisift_indices_report_scores_cuda(r.x, 0, 0, 1, &scores, 1, stream), MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(r.ctx), "the array of reported confidences is host memory"));
  event_code = cudaErrorInvalidValue;
  refused(&r, device, 0, 1, MPISIFT_ERR_DEVICE, "recording an event failed");
  event_code = cudaSuccess;
  CU_ASSERT_EQUAL(mpisift_indices_report_cuda(r.x, 0, 0, 1, device, 1, stream), MPISIFT_OK);
  refused(&r, device, 0, 1, MPISIFT_ERR_ARG, "row 0 has been reported already");
  close_run(&r); /* with a copy under way */
}

/* The last rank's device fails: all are told by the call that waits for it, and nothing is lost. */
static void device_fails(void)
{
  struct index_world w = index_world_make("device fails", "stale_relative");
  static struct index_run r;

  open_run(&r, &w);
  index_begin(&r);
  index_batches(&r);
  report_due(&r);
  for (int k = 0; k < 2; k++) {
    event_code = test_rank == test_size - 1 ? cudaErrorLaunchFailure : cudaSuccess;
    CU_ASSERT_EQUAL(mpisift_indices_begin_epoch(r.x, w.n, NULL), MPISIFT_ERR_DEVICE);
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(r.ctx), "waiting for work on the device failed"));
  }
  event_code = cudaSuccess;
  index_begin(&r);
  index_batches(&r);
  close_run(&r);
}

/* A class that is none makes its sample's loss bad. */
static void classes_out_of_range(void)
{
  struct index_world w = index_world_make("classes out of range", "stale_relative");
  mpisift_index_epoch epoch;
  static struct index_run r;
  mpisift_batch b;
  uint64_t bad = 0;

  w.config.groups = INDEX_GROUPS;
  w.config.class_floor = 0.1;
  w.config.report_lag = 0;
  open_run(&r, &w);
  index_begin(&r);
  while (mpisift_indices_next(r.x, &b) == MPISIFT_OK) {
    float losses[COLUMN];
    int32_t groups[COLUMN];
    mpisift_scores scores = {0};

    for (int64_t i = 0; i < b.n; i++) {
      losses[i] = 1;
      bad += b.ids[i] % 3 == 0;
      groups[i] = (int32_t)(b.ids[i] % 3 == 0 ? b.ids[i] % 2 * (INDEX_GROUPS + 1) - 1 : b.ids[i] % INDEX_GROUPS);
    }
    scores.loss = put(losses, b.n, 1);
    scores.group = put(groups, b.n, 1);
    CU_ASSERT_EQUAL(mpisift_indices_report_scores_cuda(r.x, b.serial, 0, b.n, &scores, 1, stream), MPISIFT_OK);
  }
  CU_ASSERT_EQUAL(mpisift_indices_begin_epoch(r.x, w.n, &epoch), MPISIFT_OK);
  MPI_Allreduce(MPI_IN_PLACE, &bad, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
  CU_ASSERT_EQUAL(epoch.bad, (int64_t)bad);
  CU_ASSERT_EQUAL(epoch.reported, w.n - epoch.carried_in);
  close_run(&r);
}

static const test_case on_device[] = {{"plans", plans},
                                      {"long runs", long_runs},
                                      {"bad reports", bad_reports},
                                      {"device fails", device_fails},
                                      {"classes out of range", classes_out_of_range}};

static int have_device(void)
{
  int n = 0;

  return cudaGetDeviceCount(&n) == cudaSuccess && n > 0;
}

static int test_device(int argc, char **argv)
{
  int failed;

  if (cudaStreamCreate(&stream) != cudaSuccess ||
      cudaMallocHost((void **)&source, COLUMNS * COLUMN * sizeof *source) != cudaSuccess ||
      cudaMalloc((void **)&device, COLUMNS * COLUMN * sizeof *device) != cudaSuccess)
    return 1;
  failed = test_main(argc, argv, "device reports", on_device, sizeof on_device / sizeof *on_device);
  cudaFree(device);
  cudaFreeHost(source);
  cudaStreamDestroy(stream);
  return failed;
}
#else
static int have_device(void)
{
  return 0;
}

static int test_device(int argc, char **argv)
{
  return argv[argc] != NULL;
}
#endif

int main(int argc, char **argv)
{
  static const test_case without[] = {{"without a device", without_a_device}};

  if (have_device())
    return test_device(argc, argv);
  printf("SKIPPED: no CUDA device, no stand-in for one, or no nvcc: only the error is tested\n");
  return test_main(argc, argv, "device reports", without, 1) != 0 ? 1 : 77;
}
