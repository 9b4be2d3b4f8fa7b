/* Memory, copies, events and the checks of arguments, with a device or a stand-in for the CUDA runtime. Without either
 * only the error is tested, and the rest is skipped. */
#include <config.h>

#include <string.h>

#include "../testing.h"
#include "backend/device.h"

#ifdef HAVE_NVCC
#include <cuda_runtime_api.h>

enum { N = 1000 };

static const struct msift_device *d = &msift_device_cuda;
static struct msift_memory memory;
static struct msift_error error;
static cudaStream_t stream;

/* In place of the runtime's: a test says what it answers. */
static cudaError_t capture_code;
static enum cudaStreamCaptureStatus capture_status;

cudaError_t cudaStreamIsCapturing(cudaStream_t of, enum cudaStreamCaptureStatus *status)
{
  *status = of == stream ? capture_status : cudaStreamCaptureStatusNone;
  return capture_code;
}

static bool told(mpisift_status status, const char *text)
{
  bool as_told = error.status == status && strstr(error.text, text) != NULL;

  if (!as_told)
    fprintf(stderr, "status %d, '%s' and not %d, '%s'\n", (int)error.status, error.text, (int)status, text);
  msift_error_clear(&error);
  return as_told;
}

static void *pinned(size_t bytes)
{
  void *block = NULL;

  CU_ASSERT_EQUAL_FATAL(cudaMallocHost(&block, bytes), cudaSuccess);
  memset(block, 0x77, bytes);
  return block;
}

static void there_and_back(void)
{
  int32_t *on = d->allocate(&memory, &error, N, sizeof *on), *other = d->allocate(&memory, &error, N, sizeof *on);
  int32_t *from = pinned(N * sizeof *from), *to = pinned(2 * N * sizeof *to);

  CU_ASSERT_EQUAL(memory.blocks, 2);
  for (int i = 0; i < N; i++)
    from[i] = i;
  CU_ASSERT_EQUAL(d->download(to, on, N * sizeof *on, stream, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(d->synchronize(stream, &error), MPISIFT_OK);
  for (int i = 0; i < N; i++)
    CU_ASSERT_EQUAL(to[i], 0);
  CU_ASSERT_EQUAL(d->upload(on, from, N * sizeof *on, stream, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(d->fill(other, 0xff, N * sizeof *on, stream, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(d->copy(other + 1, on, (N - 2) * sizeof *on, stream, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(d->download(to, other, N * sizeof *on, stream, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(d->download(to + N, on, 0, stream, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(d->synchronize(stream, &error), MPISIFT_OK);
  for (int i = 0; i < N; i++)
    CU_ASSERT_EQUAL(to[i], i == 0 || i == N - 1 ? -1 : i - 1);
  CU_ASSERT_EQUAL(to[N], 0x77777777);
  d->release(&memory, on);
  d->release(&memory, other);
  d->release(&memory, NULL);
  CU_ASSERT_EQUAL(memory.blocks, 0);
  cudaFreeHost(from);
  cudaFreeHost(to);
}

/* A buffer is used again as soon as the event behind its copy is reached. */
static void events(void)
{
  int32_t *on = d->allocate(&memory, &error, N, sizeof *on), *buffer = pinned(sizeof *buffer), *to = pinned(4 * N);
  void *event = NULL;

  CU_ASSERT_EQUAL_FATAL(d->event_create(&event, &error), MPISIFT_OK);
  for (int32_t i = 0; i < N; i += 100) {
    CU_ASSERT_EQUAL(d->event_reach(event, &error), MPISIFT_OK);
    *buffer = i;
    CU_ASSERT_EQUAL(d->upload(on + i, buffer, sizeof *buffer, stream, &error), MPISIFT_OK);
    CU_ASSERT_EQUAL(d->event_record(event, stream, &error), MPISIFT_OK);
  }
  CU_ASSERT_EQUAL(d->download(to, on, N * sizeof *on, stream, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(d->synchronize(stream, &error), MPISIFT_OK);
  for (int32_t i = 0; i < N; i += 100)
    CU_ASSERT_EQUAL(to[i], i);
  d->event_destroy(event);
  d->event_destroy(NULL);
  d->release(&memory, on);
  cudaFreeHost(buffer);
  cudaFreeHost(to);
}

static void no_memory(void)
{
  CU_ASSERT_PTR_NULL(d->allocate(&memory, &error, INT64_C(1) << 50, 1));
  CU_ASSERT(told(MPISIFT_ERR_MEMORY, "cannot allocate 1125899906842624 × 1 bytes on the device"));
  CU_ASSERT_PTR_NULL(d->allocate(&memory, &error, INT64_MAX, 8));
  CU_ASSERT(told(MPISIFT_ERR_MEMORY, "bytes on the device"));
  CU_ASSERT_PTR_NULL(d->allocate(&memory, &error, -1, 8));
  CU_ASSERT(told(MPISIFT_ERR_MEMORY, "cannot allocate -1"));
  memory.fail_after = 1;
  CU_ASSERT_PTR_NULL(d->allocate(&memory, &error, 1, 8));
  CU_ASSERT(told(MPISIFT_ERR_MEMORY, "cannot allocate 1 × 8 bytes"));
  CU_ASSERT_EQUAL(memory.blocks, 0);
  CU_ASSERT_EQUAL(cudaGetLastError(), cudaSuccess);
}

static void pointers(void)
{
  static int plain;
  int *on = d->allocate(&memory, &error, N, sizeof *on), *locked = pinned(sizeof *locked);

  CU_ASSERT_EQUAL(d->check_pointer(on, "losses", &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(d->check_pointer(on + N - 1, "losses", &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(d->check_pointer(&plain, "losses", &error), MPISIFT_ERR_ARG);
  CU_ASSERT(told(MPISIFT_ERR_ARG, "losses is host memory that CUDA does not know; it must be memory of the device"));
  CU_ASSERT_EQUAL(d->check_pointer(locked, "scores.bound", &error), MPISIFT_ERR_ARG);
  CU_ASSERT(told(MPISIFT_ERR_ARG, "scores.bound is page-locked host memory; it must be memory of the device"));
  CU_ASSERT_EQUAL(d->check_pointer(NULL, "losses", &error), MPISIFT_ERR_ARG);
  CU_ASSERT(told(MPISIFT_ERR_ARG, "losses is NULL"));
  CU_ASSERT_EQUAL(cudaGetLastError(), cudaSuccess);
  d->release(&memory, on);
  cudaFreeHost(locked);
}

static void streams(void)
{
  CU_ASSERT_EQUAL(d->check_stream(stream, "mpisift_loader_next", &error), MPISIFT_OK);
  capture_status = cudaStreamCaptureStatusActive;
  CU_ASSERT_EQUAL(d->check_stream(stream, "mpisift_loader_next", &error), MPISIFT_ERR_STATE);
  CU_ASSERT(told(MPISIFT_ERR_STATE, "mpisift_loader_next: a stream is being captured"));
  capture_status = cudaStreamCaptureStatusInvalidated;
  CU_ASSERT_EQUAL(d->check_stream(stream, "mpisift_loader_next", &error), MPISIFT_ERR_STATE);
  CU_ASSERT(told(MPISIFT_ERR_STATE, "captured"));
  CU_ASSERT_EQUAL(d->check_stream(NULL, "mpisift_loader_next", &error), MPISIFT_OK);
  capture_status = cudaStreamCaptureStatusNone;
  capture_code = cudaErrorStreamCaptureImplicit;
  CU_ASSERT_EQUAL(d->check_stream(NULL, "mpisift_loader_next", &error), MPISIFT_ERR_STATE);
  CU_ASSERT(told(MPISIFT_ERR_STATE, "captured"));
  capture_code = cudaErrorInvalidResourceHandle;
  CU_ASSERT_EQUAL(d->check_stream(stream, "mpisift_loader_next", &error), MPISIFT_ERR_ARG);
  CU_ASSERT(told(MPISIFT_ERR_ARG, "mpisift_loader_next: the stream is none that CUDA knows"));
  capture_code = cudaSuccess;
}

static void devices(void)
{
  int current = -1, n = 0, again = -1;

  CU_ASSERT_EQUAL(d->get(&current, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(cudaGetDeviceCount(&n), cudaSuccess);
  CU_ASSERT_EQUAL(d->set(n, &error), MPISIFT_ERR_DEVICE);
  CU_ASSERT(told(MPISIFT_ERR_DEVICE, "choosing a device failed"));
  CU_ASSERT_EQUAL(d->set(n - 1, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(d->get(&again, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(again, n - 1);
  CU_ASSERT_EQUAL(d->set(current, &error), MPISIFT_OK);
}

static void without_a_device(void)
{
  int device, n = 0;

  CU_ASSERT_EQUAL(d->get(&device, &error), MPISIFT_ERR_DEVICE);
  CU_ASSERT(told(MPISIFT_ERR_DEVICE, "device"));
  CU_ASSERT_EQUAL(d->check_pointer(&device, "losses", &error), MPISIFT_ERR_DEVICE);
  CU_ASSERT(told(MPISIFT_ERR_DEVICE, "device"));
  if (cudaGetDeviceCount(&n) == cudaSuccess)
    return; /* a stand-in has memory all the same */
  CU_ASSERT_PTR_NULL(d->allocate(&memory, &error, 1, 8));
  CU_ASSERT(told(MPISIFT_ERR_DEVICE, "cannot allocate 1 × 8 bytes on the device"));
  CU_ASSERT_EQUAL(memory.blocks, 0);
}

static const test_case on_device[] = {{"there and back", there_and_back},
                                      {"events", events},
                                      {"no memory", no_memory},
                                      {"pointers", pointers},
                                      {"streams", streams},
                                      {"devices", devices}};
static const test_case without[] = {{"without a device", without_a_device}};

int main(int argc, char **argv)
{
  int n = 0, failed;

  if (cudaGetDeviceCount(&n) != cudaSuccess || n == 0) {
    printf("SKIPPED: no CUDA device and no stand-in for one: only the error is tested\n");
    return test_main(argc, argv, "device", without, 1) != 0 ? 1 : 77;
  }
  if (cudaStreamCreate(&stream) != cudaSuccess)
    return 1;
  failed = test_main(argc, argv, "device", on_device, sizeof on_device / sizeof *on_device);
  cudaStreamDestroy(stream);
  return failed;
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
  static const test_case without[] = {{"without nvcc", without_nvcc}};

  printf("SKIPPED: built without nvcc: only the error is tested\n");
  return test_main(argc, argv, "device", without, 1) != 0 ? 1 : 77;
}
#endif
