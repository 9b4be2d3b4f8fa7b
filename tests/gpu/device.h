/* What the tests of a device's functions share. */
#ifndef MPISIFT_TESTS_GPU_DEVICE_H
#define MPISIFT_TESTS_GPU_DEVICE_H

#include <config.h>

#include <string.h>

#include "../testing.h"
#include "backend/device.h"

/* Where there is nothing to run on: the one case that can be tested, and the status of what is skipped. */
static inline int skip_main(int argc, char **argv, const test_case *without)
{
  printf("SKIPPED: no CUDA device, no stand-in for one, or no nvcc: only the error is tested\n");
  return test_main(argc, argv, "without a device", without, 1) != 0 ? 1 : 77;
}

#ifdef HAVE_NVCC
#include <cuda_runtime_api.h>

static const struct msift_device *const dev = &msift_device_cuda;
static struct msift_memory memory;
static struct msift_error error;
static cudaStream_t queue;

/* Whether this error was recorded; clears it. */
static inline bool told(mpisift_status status, const char *text)
{
  bool as_told = error.status == status && strstr(error.text, text) != NULL;

  if (!as_told)
    fprintf(stderr, "status %d, '%s' and not %d, '%s'\n", (int)error.status, error.text, (int)status, text);
  msift_error_clear(&error);
  return as_told;
}

/* Page-locked memory of bytes 0x77. */
static inline void *pinned(size_t bytes)
{
  void *block = NULL;

  CU_ASSERT_EQUAL_FATAL(cudaMallocHost(&block, bytes), cudaSuccess);
  memset(block, 0x77, bytes);
  return block;
}

/* What up() has made and is to be released. */
static void *ups[64];
static int n_ups;

/* Memory of exactly so many bytes on the device, a copy of the host's; from NULL: bytes 0x5a. */
static inline void *up(const void *from, size_t bytes)
{
  void *to = dev->allocate(&memory, &error, (int64_t)bytes, 1);

  CU_ASSERT_FATAL(to != NULL && n_ups < 64);
  ups[n_ups++] = to;
  CU_ASSERT_EQUAL(from != NULL ? cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice) : cudaMemset(to, 0x5a, bytes),
                  cudaSuccess);
  CU_ASSERT_EQUAL(cudaDeviceSynchronize(), cudaSuccess);
  return to;
}

static inline void release_ups(void)
{
  while (n_ups > 0)
    dev->release(&memory, ups[--n_ups]);
}

/* What the device has when all work is done. */
static inline void down(void *to, const void *from, size_t bytes)
{
  CU_ASSERT_EQUAL(dev->synchronize(queue, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost), cudaSuccess);
}

static inline int have_device(void)
{
  int n = 0;

  return cudaGetDeviceCount(&n) == cudaSuccess && n > 0;
}

static inline int device_main(int argc, char **argv, const char *name, const test_case *cases, size_t n)
{
  int failed;

  if (cudaStreamCreate(&queue) != cudaSuccess)
    return 1;
  failed = test_main(argc, argv, name, cases, n);
  cudaStreamDestroy(queue);
  if (memory.blocks != 0)
    fprintf(stderr, "%lld blocks of the device were not released\n", (long long)memory.blocks);
  return failed || memory.blocks != 0;
}

static void no_device(void)
{
  int device;

  CU_ASSERT_EQUAL(dev->get(&device, &error), MPISIFT_ERR_DEVICE);
  CU_ASSERT(told(MPISIFT_ERR_DEVICE, "device"));
  CU_ASSERT_EQUAL(dev->check_pointer(&device, "losses", &error), MPISIFT_ERR_DEVICE);
  CU_ASSERT(told(MPISIFT_ERR_DEVICE, "device"));
  if (cudaGetDeviceCount(&device) == cudaSuccess)
    return; /* a stand-in has memory all the same */
  CU_ASSERT_PTR_NULL(dev->allocate(&memory, &error, 1, 8));
  CU_ASSERT(told(MPISIFT_ERR_DEVICE, "cannot allocate 1 × 8 bytes on the device"));
  CU_ASSERT_EQUAL(memory.blocks, 0);
}

#define DEVICE_MAIN(suite, ...)                                                                                        \
  int main(int argc, char **argv)                                                                                      \
  {                                                                                                                    \
    static const test_case cases[] = {__VA_ARGS__}, without = {"no device", no_device};                                \
                                                                                                                       \
    if (have_device())                                                                                                 \
      return device_main(argc, argv, suite, cases, sizeof cases / sizeof cases[0]);                                    \
    return skip_main(argc, argv, &without);                                                                            \
  }
#else
static void without_nvcc(void)
{
  struct msift_error error = {0};

  CU_ASSERT_PTR_NULL(msift_device_choose("mpisift_loader_create_cuda", &error));
  CU_ASSERT_EQUAL(error.status, MPISIFT_ERR_DEVICE);
  CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "mpisift_loader_create_cuda: this library was built without nvcc"));
}

int main(int argc, char **argv)
{
  static const test_case without = {"without nvcc", without_nvcc};

  return skip_main(argc, argv, &without);
}
#endif

#endif
