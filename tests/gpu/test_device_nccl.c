/* Where NCCL fails on one rank in the middle of a run, the others' loaders learn of it, at the latest in the next call,
 * and hang nowhere. */
#include <config.h>

#include "../testing.h"

#if defined(HAVE_NVCC) && defined(HAVE_NCCL)
#include "faulty_nccl.h"
#include "on_device.h"

/* In one of its reads or scores the last rank's NCCL begins to fail; that of the others waits for it. */
struct failing {
  struct world w;
  struct scorer scorer;
  enum fault kind;
  int reads, scores, read, score; /* so far; in which */
};

static cudaStream_t stream;

static void begin_to_fail(const struct failing *f)
{
  fault = test_rank == test_size - 1 ? f->kind : WAIT;
}

static int read_until(void *user, int64_t n, const int64_t *ids, void *const *dst)
{
  struct failing *f = user;

  if (f->reads++ == f->read)
    begin_to_fail(f);
  return world_read(&f->w, n, ids, dst);
}

static int score_until(void *user, const mpisift_batch *candidates, const mpisift_scores *scores)
{
  struct failing *f = user;

  if (f->scores++ == f->score)
    begin_to_fail(f);
  return score_later(&f->scorer, candidates, scores);
}

static mpisift_loader *open_failing(mpisift_ctx *ctx, struct failing *f)
{
  mpisift_source source = world_source(&f->w);
  mpisift_loader *loader = NULL;
  mpisift_device device;

  mpisift_device_init(&device, sizeof device);
  device.stream = stream;
  device.transport = MPISIFT_TRANSPORT_NCCL;
  source.user = f;
  source.read = read_until;
  f->scorer = (struct scorer){.w = &f->w, .score = world_score, .stream = stream};
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create_cuda(ctx, &f->w.config, &source, score_until, f, &device, &loader),
                        MPISIFT_OK);
  return loader;
}

/* All ranks end with ERR_MPI, the one that fails with words of its own. */
static void fail(int depth, struct failing f)
{
  mpisift_ctx *ctx = open_world();
  mpisift_loader *loader;
  mpisift_status status;
  mpisift_batch batch;
  int steps = 0;

  f.w = world_make("failing", 200, 24);
  f.w.config.pipeline_depth = depth;
  loader = open_failing(ctx, &f);
  do
    status = mpisift_loader_next(loader, &batch);
  while (status >= 0 && ++steps < 30);
  CU_ASSERT_EQUAL(status, MPISIFT_ERR_MPI);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), test_rank == test_size - 1 ? "failed: " : "NCCL failed on leader"));
  fault = NO_FAULT;
  mpisift_loader_destroy(&loader);
  mpisift_close(&ctx);
  scorer_free(&f.scorer);
}

static void sums_fail(void)
{
  for (int depth = 0; depth <= 1 && test_size > 1 && nccl_can(); depth++)
    fail(depth, (struct failing){.kind = FAIL_SUM, .read = -1, .score = 4});
  CU_PASS("or one rank, or too few devices");
}

/* At depth 1: messages follow a read. */
static void messages_fail(void)
{
  if (test_size > 1 && nccl_can())
    fail(1, (struct failing){.kind = FAIL_END, .read = 4, .score = -1});
  CU_PASS("or one rank, or too few devices");
}

static const test_case cases[] = {{"sums fail", sums_fail}, {"messages fail", messages_fail}};

int main(int argc, char **argv)
{
  if (have_device() && cudaStreamCreate(&stream) == cudaSuccess)
    return test_main(argc, argv, "device loader, NCCL failing", cases, sizeof cases / sizeof *cases);
  printf("SKIPPED: no CUDA device, and no stand-in for one\n");
  return 77;
}
#else
int main(void)
{
  printf("SKIPPED: this build has no nvcc, or no NCCL\n");
  return 77;
}
#endif
