/* Loaders whose batches travel by NCCL: beside a training code with NCCL of its own, and where NCCL fails in the middle
 * of a run. */
#include <config.h>

#include "../testing.h"

#if defined HAVE_NVCC && defined HAVE_NCCL
#include "faulty_nccl.h"
#include "on_device.h"

enum { GRADIENTS = 500, STEPS = 12, FAILING_STEP = 5 };

static cudaStream_t stream, other;
static ncclComm_t trainings; /* the training code's */

static bool have_nccl(void)
{
  ncclUniqueId id;
  int devices = 0;

  cudaGetDeviceCount(&devices);
  cudaSetDevice(test_rank % devices);
  if (!nccl_can())
    return false;
  CU_ASSERT_EQUAL_FATAL(cudaStreamCreate(&stream), cudaSuccess);
  CU_ASSERT_EQUAL_FATAL(cudaStreamCreate(&other), cudaSuccess);
  ncclGetUniqueId(&id);
  MPI_Bcast(&id, sizeof id, MPI_BYTE, 0, MPI_COMM_WORLD);
  CU_ASSERT_EQUAL_FATAL(ncclCommInitRank(&trainings, test_size, id, test_rank), ncclSuccess);
  return true;
}

static void close_nccl(void)
{
  ncclCommDestroy(trainings);
  cudaStreamDestroy(other);
  cudaStreamDestroy(stream);
}

/* A loader on the device, of a world that lives as long. */
struct run {
  struct world w;
  struct scorer scorer;
  mpisift_ctx *ctx;
  mpisift_loader *loader;
};

static void begin(struct run *r, int depth, ncclComm_t given)
{
  mpisift_source source;
  mpisift_device device;

  r->w = world_make("by NCCL", 1200, 24);
  r->w.config.pipeline_depth = depth;
  r->scorer = (struct scorer){.w = &r->w, .score = world_score, .stream = stream};
  source = world_source(&r->w);
  mpisift_device_init(&device, sizeof device);
  device.stream = stream;
  device.transport = MPISIFT_TRANSPORT_NCCL;
  device.nccl = given;
  r->ctx = open_world();
  r->loader = NULL;
  CU_ASSERT_EQUAL_FATAL(
      mpisift_loader_create_cuda(r->ctx, &r->w.config, &source, score_later, &r->scorer, &device, &r->loader),
      MPISIFT_OK);
}

static void end(struct run *r)
{
  mpisift_loader_destroy(&r->loader);
  scorer_free(&r->scorer);
  mpisift_close(&r->ctx);
  CU_ASSERT_PTR_NULL(r->loader);
  CU_ASSERT_PTR_NULL(r->ctx);
}

/* A step of training on a stream of its own, with no order between the two streams. */
static void sum_gradients(float *gradients, int step)
{
  float *mine = new_pinned(GRADIENTS * sizeof *mine);
  int wrong = 0;

  for (int i = 0; i < GRADIENTS; i++)
    mine[i] = (float)((test_rank + 1) * (i % 100 + step));
  upload(gradients, mine, GRADIENTS * sizeof *mine, other);
  CU_ASSERT_EQUAL(ncclAllReduce(gradients, gradients, GRADIENTS, ncclFloat32, ncclSum, trainings, other), ncclSuccess);
  download(mine, gradients, GRADIENTS * sizeof *mine, other);
  CU_ASSERT_EQUAL(cudaStreamSynchronize(other), cudaSuccess);
  for (int i = 0; i < GRADIENTS; i++)
    wrong += mine[i] != (float)(test_size * (test_size + 1) / 2 * (i % 100 + step));
  CU_ASSERT_EQUAL(wrong, 0);
  cudaFreeHost(mine);
}

static void train_beside(int depth, ncclComm_t given)
{
  struct run r;
  struct oracle o;
  float *gradients = NULL;
  mpisift_batch batches[STEPS], batch;

  begin(&r, depth, given);
  o = oracle_run(&r.w, r.w.config.epochs);
  CU_ASSERT_EQUAL(cudaMalloc((void **)&gradients, GRADIENTS * sizeof *gradients), cudaSuccess);
  for (int k = 0; k < STEPS; k++) {
    CU_ASSERT_EQUAL_FATAL(mpisift_loader_next(r.loader, &batch), MPISIFT_OK);
    sum_gradients(gradients, k);
    batches[k] = batch_copy(&batch, 1, stream);
  }
  CU_ASSERT_EQUAL(cudaStreamSynchronize(stream), cudaSuccess);
  for (int k = 0; k < STEPS; k++) {
    check_batch(&r.w, &o, k, &batches[k], test_rank);
    batch_free(&batches[k]);
  }
  cudaFree(gradients);
  oracle_free(&o);
  end(&r);
}

/* From a step on one rank's sums fail; the others' devices wait. All ranks end. */
static void fail_in(enum fault which, int failing, ncclComm_t given)
{
  mpisift_status status = MPISIFT_OK;
  mpisift_batch batch;
  struct run r;
  int calls = 0;

  begin(&r, 0, given);
  for (int k = 0; status == MPISIFT_OK && k < 4 * STEPS; k++) {
    if (k == FAILING_STEP)
      choose_fault(test_rank == failing ? which : WAIT);
    status = mpisift_loader_next(r.loader, &batch);
    calls++;
  }
  CU_ASSERT_EQUAL(status, MPISIFT_ERR_MPI);
  CU_ASSERT(calls > FAILING_STEP);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(r.ctx), test_rank == failing ? " failed: " : "NCCL failed on leader"));
  CU_ASSERT_EQUAL(mpisift_loader_next(r.loader, &batch), MPISIFT_ERR_MPI);
  choose_fault(NO_FAULT);
  end(&r);
}

/* At depth 1 one rank learns of its failure in a call that goes well on the others, who then end: the sum that they
 * have under way ends too. */
static void destroyed_before_told(int failing)
{
  mpisift_status status;
  mpisift_batch batch;
  struct run r;

  begin(&r, 1, NULL);
  CU_ASSERT_EQUAL(mpisift_loader_next(r.loader, &batch), MPISIFT_OK);
  choose_fault(test_rank == failing ? FAIL_SUM : WAIT);
  status = mpisift_loader_next(r.loader, &batch);
  CU_ASSERT_EQUAL(status, test_rank == failing ? MPISIFT_ERR_MPI : MPISIFT_OK);
  CU_ASSERT(test_rank == failing || swallowed);
  mpisift_loader_destroy(&r.loader);
  CU_ASSERT(!hung && !swallowed);
  choose_fault(NO_FAULT);
  hung = false;
  end(&r);
}

static void beside_training(void)
{
  CU_PASS("or NCCL takes no two ranks on a device");
  if (!have_nccl())
    return;
  for (int depth = 0; depth < 2; depth++) {
    train_beside(depth, NULL);
    train_beside(depth, trainings);
  }
  close_nccl();
}

static void failures(void)
{
  CU_PASS("or NCCL takes no two ranks on a device");
  if (!have_nccl())
    return;
  for (int failing = 0; failing<test_size; failing += test_size> 2 ? test_size - 1 : 1) {
    fail_in(FAIL_SUM, failing, NULL);
    fail_in(FAIL_ASYNC, failing, trainings);
    destroyed_before_told(failing);
  }
  close_nccl();
}

int main(int argc, char **argv)
{
  static const test_case cases[] = {{"beside training", beside_training}, {"failures", failures}};

  if (have_device())
    return test_main(argc, argv, "NCCL in loaders", cases, 2);
  printf("SKIPPED: no CUDA device and no stand-in for one\n");
  return 77;
}
#else
int main(void)
{
  printf("SKIPPED: this build has no nvcc or no NCCL\n");
  return 77;
}
#endif
