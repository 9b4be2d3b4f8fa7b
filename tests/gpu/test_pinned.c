/* Page-locked batches: with a device (or a stand-in for the CUDA runtime) the same batches as ever in memory that CUDA
 * knows; without one, or in a build without CUDA, one clear error on all ranks. */
#include <config.h>

#include "../mpi/loading.h"

#ifdef HAVE_CUDA
#include <cuda_runtime_api.h>

static int have_device(void)
{
  int n = 0;

  return cudaGetDeviceCount(&n) == cudaSuccess && n > 0;
}

static int is_pinned(const void *memory)
{
  struct cudaPointerAttributes attributes;

  return cudaPointerGetAttributes(&attributes, memory) == cudaSuccess && attributes.type == cudaMemoryTypeHost;
}
#else
static int have_device(void)
{
  return 0;
}

static int is_pinned(const void *memory)
{
  return memory == NULL;
}
#endif

static void pinned_batches(void)
{
  struct world w = world_make("pinned", 600, 24);
  mpisift_source source = world_source(&w);
  struct oracle o = oracle_run(&w, w.config.epochs);
  mpisift_ctx *ctx = open_world();
  mpisift_loader *loader = NULL;
  mpisift_batch batch;
  mpisift_status status;

  w.config.pin_memory = true;
  status = mpisift_loader_create(ctx, &w.config, &source, world_score, &w, &loader);
  CU_ASSERT_EQUAL(status, have_device() ? MPISIFT_OK : MPISIFT_ERR_DEVICE);
  if (status != MPISIFT_OK)
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "config.pin_memory"));
  CU_ASSERT(same_text(mpisift_error(ctx)));
  for (int64_t k = 0; status == MPISIFT_OK && k < 10; k++) {
    CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_OK);
    check_batch(&w, &o, k, &batch, test_rank);
    CU_ASSERT(is_pinned(batch.data[0]) && is_pinned(batch.data[1]) && is_pinned(batch.ids));
  }
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
  oracle_free(&o);
}

int main(int argc, char **argv)
{
  static const test_case cases[] = {{"pinned batches", pinned_batches}};
  int failed = test_main(argc, argv, "pinned", cases, 1);

  if (have_device() || failed != 0)
    return failed;
  printf("SKIPPED: no CUDA device and no stand-in for one: only the error is tested, not the memory\n");
  return 77;
}
