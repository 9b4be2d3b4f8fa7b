/* What calls of a loader on a device wait for and copy; addresses that stay; errors of CUDA that others have left;
 * wrong streams; and what is lost behind a round's agreement. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* RTLD_NEXT */
#endif
#include <config.h>

#include "../testing.h"

#ifdef HAVE_NVCC
#include <dlfcn.h>

#include "api/device.h"
#include "on_device.h"

static cudaStream_t stream;

/* In place of functions of CUDA and MPI, which answer as ever unless a test wants something else. */
static cudaError_t stream_code, record_code;
static bool capturing, mpi_fails;
static const void *kept_block; /* not to be freed */
static int freed;

#define REAL(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

cudaError_t cudaStreamIsCapturing(cudaStream_t of, enum cudaStreamCaptureStatus *status)
{
  if (stream_code != cudaSuccess)
    return stream_code;
  *status = of == stream && capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t on)
{
  return record_code != cudaSuccess ? record_code : REAL(cudaEventRecord)(event, on);
}

cudaError_t cudaFreeHost(void *block)
{
  freed += block == kept_block;
  return REAL(cudaFreeHost)(block);
}

int MPI_Waitall(int n, MPI_Request *requests, MPI_Status *statuses)
{
  return mpi_fails ? MPI_ERR_OTHER : PMPI_Waitall(n, requests, statuses);
}

/* A loader on the device, of a world that lives as long. */
struct run {
  struct world w;
  struct scorer scorer;
  mpisift_ctx *ctx;
  mpisift_loader *loader;
  int scores, failing_score; /* calls of the callback; the one that leaves an error, if it is not −1 */
};

static struct msift_device table; /* the loader's */

/* A call of CUDA that fails, and that nobody asks about. */
static void leave_error(void)
{
  cudaSetDevice(-1);
}

static int score(void *user, const mpisift_batch *candidates, const mpisift_scores *scores)
{
  struct run *r = user;

  if (r->scores++ == r->failing_score)
    leave_error();
  return score_later(&r->scorer, candidates, scores);
}

static mpisift_status create(struct run *r, int depth, mpisift_transport transport)
{
  mpisift_source source;
  mpisift_device device;

  r->w = world_make("calls", 300, 24);
  r->w.config.epochs = 2;
  r->w.config.loss_history_length = 100;
  r->w.config.score_batch_size = 16;
  r->w.config.pipeline_depth = depth;
  r->scorer = (struct scorer){.w = &r->w, .score = world_score, .stream = stream};
  r->failing_score = -1;
  source = world_source(&r->w);
  mpisift_device_init(&device, sizeof device);
  device.stream = stream;
  device.transport = transport;
  r->ctx = open_world();
  return mpisift_loader_create_cuda(r->ctx, &r->w.config, &source, score, r, &device, &r->loader);
}

static void begin(struct run *r, int depth, mpisift_transport transport)
{
  memset(r, 0, sizeof *r);
  CU_ASSERT_EQUAL_FATAL(create(r, depth, transport), MPISIFT_OK);
  table = msift_device_cuda;
  r->loader->gpu->device = &table;
}

static void end(struct run *r)
{
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&r->loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(r->ctx->memory.blocks, 1); /* the team's */
  CU_ASSERT_EQUAL(mpisift_close(&r->ctx), MPISIFT_OK);
  scorer_free(&r->scorer);
}

/* Waits for the device that had to wait, but for those for samples that go up; and what came down. */
static int waits, copies;
static size_t most_copied;
static const struct msift_gpu *counted;
static int64_t *trained; /* ids of the last batch */

static mpisift_status count_reach(void *event, struct msift_error *error)
{
  if (event != counted->pieces[0].event && event != counted->pieces[1].event)
    waits += cudaEventQuery(event) == cudaErrorNotReady;
  cudaGetLastError();
  return msift_device_cuda.event_reach(event, error);
}

static mpisift_status count_synchronize(void *of, struct msift_error *error)
{
  waits++;
  return msift_device_cuda.synchronize(of, error);
}

static mpisift_status count_download(void *to, const void *from, size_t bytes, void *on, struct msift_error *error)
{
  copies++;
  if (from == counted->findings)
    most_copied = bytes > most_copied ? bytes : most_copied;
  return msift_device_cuda.download(to, from, bytes, on, error);
}

static int messages(const mpisift_loader *l, bool sent_only)
{
  int n = 0;

  for (int64_t k = 0; k < l->plan.n_transfers; k++)
    n += l->plan.transfers[k].from == l->plan.rank || (!sent_only && l->plan.transfers[k].to == l->plan.rank);
  return n;
}

/* A round waits once and copies once, and messages by the host once more; a call without a round waits for the batch
 * before, at most. NCCL's wait for a round is in comm/nccl.c. */
static bool within_limits(const mpisift_loader *l, int rounds, mpisift_status status)
{
  bool nccl = msift_gpu_by_nccl(l->gpu), ends = status == MPISIFT_END_OF_EPOCH;
  int waits_of_rounds = rounds == 0 ? 1 : nccl ? 0 : rounds;
  bool fits = waits <= waits_of_rounds + (!nccl && messages(l, false) > 0) + ends &&
              copies <= rounds + (nccl ? 0 : 2 * messages(l, true)) + ends + (l->config.pipeline_depth > 0);

  if (!fits)
    fprintf(stderr, "rank %d: %d waits, %d copies of %d rounds; %d messages\n", test_rank, waits, copies, rounds,
            messages(l, false));
  return fits;
}

/* One call, and a step of training on its batch. Returns whether it was counted: memory that grows is waited for, and
 * at depth 1 the first call of an epoch has the messages of two batches. */
static bool count_step(struct run *r, mpisift_status *status)
{
  const mpisift_loader *l = r->loader;
  int64_t rounds = l->run.rounds, allocations = r->ctx->memory.calls, formed = l->formed;
  mpisift_batch batch;

  waits = copies = 0;
  *status = mpisift_loader_next(r->loader, &batch);
  if (*status == MPISIFT_OK && batch.n > 0)
    download(trained, batch.ids, (size_t)batch.n * sizeof *trained, stream);
  if (*status < 0 || r->ctx->memory.calls != allocations || l->formed > formed + 1)
    return false;
  CU_ASSERT(within_limits(l, (int)(l->run.rounds - rounds), *status));
  return true;
}

static void count_run(int depth, mpisift_transport transport)
{
  mpisift_status status = MPISIFT_OK;
  struct run r;
  int steps = 0;

  begin(&r, depth, transport);
  table.event_reach = count_reach;
  table.synchronize = count_synchronize;
  table.download = count_download;
  counted = r.loader->gpu;
  trained = new_pinned(300 * sizeof *trained);
  most_copied = 0;
  for (int ended = 0; ended < 2 && status >= 0; ended += status == MPISIFT_END_OF_EPOCH)
    steps += count_step(&r, &status);
  CU_ASSERT(steps > 4);
  CU_ASSERT(most_copied > 0 && most_copied <= 32 << 10);
  CU_ASSERT_EQUAL(status, MPISIFT_END_OF_EPOCH);
  end(&r);
  cudaFreeHost(trained);
}

static void waits_and_copies(void)
{
  for (int depth = 0; depth < 2; depth++) {
    count_run(depth, MPISIFT_TRANSPORT_HOST);
#ifdef HAVE_NCCL
    if (nccl_can())
      count_run(depth, MPISIFT_TRANSPORT_NCCL);
#endif
  }
}

/* The first batch's addresses, which a graph of a training step would have in it, are those of all. */
static mpisift_batch at_address_of(const mpisift_batch *first, const mpisift_batch *b)
{
  mpisift_batch at = *b;

  at.ids = first->ids;
  at.slots = first->slots;
  at.epochs = first->epochs;
  at.losses = first->losses;
  at.probabilities = first->probabilities;
  at.weights = first->weights;
  memcpy(at.data, first->data, sizeof at.data);
  return at;
}

static void replay(int depth)
{
  struct archive batches = {0};
  mpisift_batch first = {0}, batch, at;
  mpisift_status status;
  struct oracle o;
  struct run r;

  begin(&r, depth, MPISIFT_TRANSPORT_HOST);
  o = oracle_run(&r.w, r.w.config.epochs);
  for (int ended = 0; ended < 2; ended += status == MPISIFT_END_OF_EPOCH) {
    status = mpisift_loader_next(r.loader, &batch);
    CU_ASSERT_FATAL(status >= 0);
    if (status != MPISIFT_OK)
      continue;
    first = batches.n == 0 ? batch : first;
    at = at_address_of(&first, &batch);
    archive_add(&batches, batch_copy(&at, 1, stream));
  }
  CU_ASSERT_EQUAL(cudaStreamSynchronize(stream), cudaSuccess);
  CU_ASSERT_EQUAL(batches.n, o.cuts.n);
  for (int64_t k = 0; k < batches.n; k++)
    check_batch(&r.w, &o, k, &batches.at[k], test_rank);
  archive_free(&batches);
  oracle_free(&o);
  end(&r);
}

static void addresses_stay(void)
{
  replay(0);
  replay(1);
}

static void expect_error(struct run *r, mpisift_status expected, const char *text)
{
  mpisift_batch batch;

  CU_ASSERT_EQUAL(mpisift_loader_next(r->loader, &batch), expected);
  if (strstr(mpisift_error(r->ctx), text) == NULL)
    fprintf(stderr, "rank %d: '%s' without '%s'\n", test_rank, mpisift_error(r->ctx), text);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(r->ctx), text));
  CU_ASSERT(same_text(mpisift_error(r->ctx)));
}

/* Errors of a launch of the caller's are told where they are, on all ranks, once; then all goes on. */
static void errors_left_by_others(void)
{
  struct oracle o;
  struct run r;

  for (int depth = 0; depth < 2; depth++) {
    mpisift_batch batch, copy;

    begin(&r, depth, MPISIFT_TRANSPORT_HOST);
    o = oracle_run(&r.w, r.w.config.epochs);
    r.failing_score = test_rank == test_size - 1 ? 0 : -1;
    expect_error(&r, MPISIFT_ERR_DEVICE, "what reads and scores candidates: CUDA failed before");
    for (int64_t k = 0; k < 4; k++) {
      if (test_rank == 0 && k > 0)
        leave_error();
      if (k > 0)
        expect_error(&r, MPISIFT_ERR_DEVICE, "mpisift_loader_next: CUDA failed before");
      CU_ASSERT_EQUAL(mpisift_loader_next(r.loader, &batch), MPISIFT_OK);
      copy = batch_copy(&batch, 1, stream);
      CU_ASSERT_EQUAL(cudaStreamSynchronize(stream), cudaSuccess);
      check_batch(&r.w, &o, k, &copy, test_rank);
      batch_free(&copy);
    }
    oracle_free(&o);
    end(&r);
  }
}

static void refused(mpisift_status expected, const char *text)
{
  struct run r = {0};

  CU_ASSERT_EQUAL(create(&r, 0, MPISIFT_TRANSPORT_HOST), expected);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(r.ctx), text));
  CU_ASSERT(same_text(mpisift_error(r.ctx)));
  CU_ASSERT_PTR_NULL(r.loader);
  CU_ASSERT_EQUAL(r.ctx->memory.blocks, 1);
  CU_ASSERT_EQUAL(mpisift_close(&r.ctx), MPISIFT_OK);
}

/* On one rank: a stream that is none, one that is captured, one of another device. */
static void wrong_streams(void)
{
  bool mine = test_rank == test_size - 1;
  struct run r;

  stream_code = mine ? cudaErrorInvalidResourceHandle : cudaSuccess;
  refused(MPISIFT_ERR_ARG, "device.stream: the stream is none that CUDA knows");
  stream_code = cudaSuccess;
  capturing = mine;
  refused(MPISIFT_ERR_STATE, "device.stream: a stream is being captured");
  capturing = false;
  record_code = mine ? cudaErrorInvalidResourceHandle : cudaSuccess;
  refused(MPISIFT_ERR_DEVICE, "device.stream, which has to be one of the current device: recording an event failed");
  record_code = cudaSuccess;
  begin(&r, 0, MPISIFT_TRANSPORT_HOST);
  stream_code = mine ? cudaErrorInvalidResourceHandle : cudaSuccess; /* destroyed too early */
  expect_error(&r, MPISIFT_ERR_ARG, "mpisift_loader_next: the stream is none that CUDA knows");
  stream_code = cudaSuccess;
  end(&r);
}

static bool *accepted; /* memory of the device that one rank does not copy to */

static mpisift_status copy_not(void *to, const void *from, size_t bytes, void *on, struct msift_error *error)
{
  if (to == accepted)
    return msift_error_set(error, MPISIFT_ERR_DEVICE, "copying is refused");
  return msift_device_cuda.copy(to, from, bytes, on, error);
}

/* A sifter that decides only: a push while the stream is captured is refused on all ranks and may be repeated;
 * decisions that one rank cannot be given are an error there, and the end of the sifter on all ranks. */
static void pushes(void)
{
  enum { N = 4 };
  static const float losses[N] = {1, 2, 3, 4};
  mpisift_pushes kind = {.max_candidates = N};
  mpisift_candidates candidates = {.n = N, .loss_type = MPISIFT_F32};
  bool mine = test_rank == test_size - 1;
  mpisift_sifter *sifter = NULL;
  mpisift_ctx *ctx = open_world();
  mpisift_config config;
  mpisift_device device;
  float *on = NULL;

  mpisift_config_init(&config, sizeof config);
  config.global_batch_size = 4 * (int64_t)test_size;
  config.loss_history_length = 8;
  mpisift_device_init(&device, sizeof device);
  device.stream = stream;
  CU_ASSERT_EQUAL_FATAL(mpisift_sifter_create_cuda(ctx, &config, &kind, &device, &sifter), MPISIFT_OK);
  CU_ASSERT_EQUAL_FATAL(cudaMalloc((void **)&on, sizeof losses), cudaSuccess);
  CU_ASSERT_EQUAL_FATAL(cudaMalloc((void **)&accepted, N * sizeof *accepted), cudaSuccess);
  CU_ASSERT_EQUAL(cudaMemcpy(on, losses, sizeof losses, cudaMemcpyHostToDevice), cudaSuccess);
  candidates.losses = on;
  capturing = mine;
  CU_ASSERT_EQUAL(mpisift_sifter_push(sifter, &candidates, NULL), MPISIFT_ERR_STATE);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "mpisift_sifter_push: a stream is being captured"));
  CU_ASSERT(same_text(mpisift_error(ctx)));
  capturing = false;
  CU_ASSERT_EQUAL(mpisift_sifter_push(sifter, &candidates, &(mpisift_decisions){.accepted = accepted}), MPISIFT_OK);
  table = msift_device_cuda;
  table.copy = mine ? copy_not : table.copy;
  msift_sifter_loader(sifter)->gpu->device = &table;
  CU_ASSERT_EQUAL(mpisift_sifter_push(sifter, &candidates, &(mpisift_decisions){.accepted = accepted}),
                  mine ? MPISIFT_ERR_DEVICE : MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_sifter_push(sifter, &candidates, NULL), MPISIFT_ERR_DEVICE);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "copying is refused"));
  CU_ASSERT_EQUAL(mpisift_sifter_destroy(&sifter), MPISIFT_OK);
  CU_ASSERT_EQUAL(ctx->memory.blocks, 1);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
  cudaFree(on);
  cudaFree(accepted);
}

/* Where MPI has failed in an exchange it may still write to our memory, which then stays. */
static void mpi_fails_under_way(void)
{
  mpisift_status status = MPISIFT_OK;
  mpisift_batch batch;
  struct run r;

  begin(&r, 0, MPISIFT_TRANSPORT_HOST);
  CU_ASSERT_EQUAL(mpisift_loader_next(r.loader, &batch), MPISIFT_OK);
  kept_block = r.loader->receive;
  mpi_fails = true;
  status = mpisift_loader_next(r.loader, &batch);
  CU_ASSERT_EQUAL(status, MPISIFT_ERR_MPI);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&r.loader), MPISIFT_OK);
  mpi_fails = false;
  CU_ASSERT_EQUAL(freed, 0);
  kept_block = NULL;
  mpisift_close(&r.ctx);
  scorer_free(&r.scorer);
}

static int setup(void)
{
  return cudaStreamCreate(&stream) == cudaSuccess;
}

static const test_case cases[] = {{"waits and copies", waits_and_copies},
                                  {"addresses stay", addresses_stay},
                                  {"errors left by others", errors_left_by_others},
                                  {"wrong streams", wrong_streams},
                                  {"pushes", pushes},
                                  {"MPI fails under way", mpi_fails_under_way}};

int main(int argc, char **argv)
{
  if (have_device() && setup())
    return test_main(argc, argv, "device calls", cases, sizeof cases / sizeof *cases);
  printf("SKIPPED: no CUDA device, and no stand-in for one\n");
  return 77;
}
#else
int main(void)
{
  printf("SKIPPED: this build has no nvcc\n");
  return 77;
}
#endif
