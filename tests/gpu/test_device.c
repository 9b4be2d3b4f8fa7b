/* Memory, copies, events and the checks of arguments, with a device or a stand-in for the CUDA runtime. Without either
 * only the error is tested, and the rest is skipped. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* RTLD_NEXT */
#endif
#include "device.h"

#ifdef HAVE_NVCC
#include <dlfcn.h>

enum { N = 1000 };

/* In place of the runtime's: a test says what it answers. */
static cudaError_t capture_code;
static enum cudaStreamCaptureStatus capture_status;

cudaError_t cudaStreamIsCapturing(cudaStream_t of, enum cudaStreamCaptureStatus *status)
{
  *status = of == queue ? capture_status : cudaStreamCaptureStatusNone;
  return capture_code;
}

static cudaError_t left; /* what others have left to be asked for */

cudaError_t cudaGetLastError(void)
{
  cudaError_t (*real)(void) = (cudaError_t(*)(void))dlsym(RTLD_NEXT, "cudaGetLastError");
  cudaError_t code = left;

  left = cudaSuccess;
  return code != cudaSuccess ? code : real();
}

/* That something is not ready yet is no failure, and is forgotten; others are told once. */
static void past(void)
{
  left = cudaErrorNotReady;
  CU_ASSERT_EQUAL(dev->check_past("mpisift_loader_next", &error), MPISIFT_OK);
  left = cudaErrorInvalidConfiguration;
  CU_ASSERT_EQUAL(dev->check_past("mpisift_loader_next", &error), MPISIFT_ERR_DEVICE);
  CU_ASSERT(told(MPISIFT_ERR_DEVICE, "mpisift_loader_next: CUDA failed before, and nobody asked"));
  CU_ASSERT_EQUAL(left, cudaSuccess);
  CU_ASSERT_EQUAL(dev->check_past("mpisift_loader_next", &error), MPISIFT_OK);
}

static void there_and_back(void)
{
  int32_t *on = dev->allocate(&memory, &error, N, sizeof *on), *other = dev->allocate(&memory, &error, N, sizeof *on);
  int32_t *from = pinned(N * sizeof *from), *to = pinned(2 * N * sizeof *to);

  CU_ASSERT_EQUAL(memory.blocks, 2);
  for (int i = 0; i < N; i++)
    from[i] = i;
  CU_ASSERT_EQUAL(dev->download(to, on, N * sizeof *on, queue, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(dev->synchronize(queue, &error), MPISIFT_OK);
  for (int i = 0; i < N; i++)
    CU_ASSERT_EQUAL(to[i], 0);
  CU_ASSERT_EQUAL(dev->upload(on, from, N * sizeof *on, queue, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(dev->fill(other, 0xff, N * sizeof *on, queue, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(dev->copy(other + 1, on, (N - 2) * sizeof *on, queue, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(dev->download(to, other, N * sizeof *on, queue, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(dev->download(to + N, on, 0, queue, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(dev->synchronize(queue, &error), MPISIFT_OK);
  for (int i = 0; i < N; i++)
    CU_ASSERT_EQUAL(to[i], i == 0 || i == N - 1 ? -1 : i - 1);
  CU_ASSERT_EQUAL(to[N], 0x77777777);
  dev->release(&memory, on);
  dev->release(&memory, other);
  dev->release(&memory, NULL);
  CU_ASSERT_EQUAL(memory.blocks, 0);
  cudaFreeHost(from);
  cudaFreeHost(to);
}

/* A buffer is used again as soon as the event behind its copy is reached. */
static void events(void)
{
  int32_t *on = dev->allocate(&memory, &error, N, sizeof *on), *buffer = pinned(sizeof *buffer), *to = pinned(4 * N);
  void *event = NULL;

  CU_ASSERT_EQUAL_FATAL(dev->event_create(&event, &error), MPISIFT_OK);
  for (int32_t i = 0; i < N; i += 100) {
    CU_ASSERT_EQUAL(dev->event_reach(event, &error), MPISIFT_OK);
    *buffer = i;
    CU_ASSERT_EQUAL(dev->upload(on + i, buffer, sizeof *buffer, queue, &error), MPISIFT_OK);
    CU_ASSERT_EQUAL(dev->event_record(event, queue, &error), MPISIFT_OK);
  }
  CU_ASSERT_EQUAL(dev->download(to, on, N * sizeof *on, queue, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(dev->synchronize(queue, &error), MPISIFT_OK);
  for (int32_t i = 0; i < N; i += 100)
    CU_ASSERT_EQUAL(to[i], i);
  dev->event_destroy(event);
  dev->event_destroy(NULL);
  dev->release(&memory, on);
  cudaFreeHost(buffer);
  cudaFreeHost(to);
}

static void no_memory(void)
{
  CU_ASSERT_PTR_NULL(dev->allocate(&memory, &error, INT64_C(1) << 50, 1));
  CU_ASSERT(told(MPISIFT_ERR_MEMORY, "cannot allocate 1125899906842624 × 1 bytes on the device"));
  CU_ASSERT_PTR_NULL(dev->allocate(&memory, &error, INT64_MAX, 8));
  CU_ASSERT(told(MPISIFT_ERR_MEMORY, "bytes on the device"));
  CU_ASSERT_PTR_NULL(dev->allocate(&memory, &error, -1, 8));
  CU_ASSERT(told(MPISIFT_ERR_MEMORY, "cannot allocate -1"));
  memory.fail_after = 1;
  CU_ASSERT_PTR_NULL(dev->allocate(&memory, &error, 1, 8));
  CU_ASSERT(told(MPISIFT_ERR_MEMORY, "cannot allocate 1 × 8 bytes"));
  CU_ASSERT_EQUAL(memory.blocks, 0);
  CU_ASSERT_EQUAL(cudaGetLastError(), cudaSuccess);
}

static void pointers(void)
{
  static int plain;
  int *on = dev->allocate(&memory, &error, N, sizeof *on), *locked = pinned(sizeof *locked);

  CU_ASSERT_EQUAL(dev->check_pointer(on, "losses", &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(dev->check_pointer(on + N - 1, "losses", &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(dev->check_pointer(&plain, "losses", &error), MPISIFT_ERR_ARG);
  CU_ASSERT(told(MPISIFT_ERR_ARG, "losses is host memory that CUDA does not know; it must be memory of the device"));
  CU_ASSERT_EQUAL(dev->check_pointer(locked, "scores.bound", &error), MPISIFT_ERR_ARG);
  CU_ASSERT(told(MPISIFT_ERR_ARG, "scores.bound is page-locked host memory; it must be memory of the device"));
  CU_ASSERT_EQUAL(dev->check_pointer(NULL, "losses", &error), MPISIFT_ERR_ARG);
  CU_ASSERT(told(MPISIFT_ERR_ARG, "losses is NULL"));
  CU_ASSERT_EQUAL(cudaGetLastError(), cudaSuccess);
  dev->release(&memory, on);
  cudaFreeHost(locked);
}

static void streams(void)
{
  CU_ASSERT_EQUAL(dev->check_stream(queue, "mpisift_loader_next", &error), MPISIFT_OK);
  capture_status = cudaStreamCaptureStatusActive;
  CU_ASSERT_EQUAL(dev->check_stream(queue, "mpisift_loader_next", &error), MPISIFT_ERR_STATE);
  CU_ASSERT(told(MPISIFT_ERR_STATE, "mpisift_loader_next: a stream is being captured"));
  capture_status = cudaStreamCaptureStatusInvalidated;
  CU_ASSERT_EQUAL(dev->check_stream(queue, "mpisift_loader_next", &error), MPISIFT_ERR_STATE);
  CU_ASSERT(told(MPISIFT_ERR_STATE, "captured"));
  CU_ASSERT_EQUAL(dev->check_stream(NULL, "mpisift_loader_next", &error), MPISIFT_OK);
  capture_status = cudaStreamCaptureStatusNone;
  capture_code = cudaErrorStreamCaptureImplicit;
  CU_ASSERT_EQUAL(dev->check_stream(NULL, "mpisift_loader_next", &error), MPISIFT_ERR_STATE);
  CU_ASSERT(told(MPISIFT_ERR_STATE, "captured"));
  capture_code = cudaErrorInvalidResourceHandle;
  CU_ASSERT_EQUAL(dev->check_stream(queue, "mpisift_loader_next", &error), MPISIFT_ERR_ARG);
  CU_ASSERT(told(MPISIFT_ERR_ARG, "mpisift_loader_next: the stream is none that CUDA knows"));
  capture_code = cudaErrorIllegalAddress; /* of work before */
  CU_ASSERT_EQUAL(dev->check_stream(queue, "mpisift_loader_next", &error), MPISIFT_ERR_DEVICE);
  CU_ASSERT(told(MPISIFT_ERR_DEVICE, "asking for the state of the stream failed"));
  capture_code = cudaSuccess;
}

static void devices(void)
{
  int current = -1, n = 0, again = -1;
  void *of_first;

  CU_ASSERT_EQUAL(dev->get(&current, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(cudaGetDeviceCount(&n), cudaSuccess);
  CU_ASSERT_EQUAL(dev->set(0, &error), MPISIFT_OK);
  of_first = dev->allocate(&memory, &error, 1, 1);
  CU_ASSERT_EQUAL(dev->check_pointer(of_first, "losses", &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(dev->set(n, &error), MPISIFT_ERR_DEVICE);
  CU_ASSERT(told(MPISIFT_ERR_DEVICE, "choosing a device failed"));
  CU_ASSERT_EQUAL(dev->set(n - 1, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(dev->get(&again, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(again, n - 1);
  if (n > 1) {
    CU_ASSERT_EQUAL(dev->check_pointer(of_first, "losses", &error), MPISIFT_ERR_ARG);
    CU_ASSERT(told(MPISIFT_ERR_ARG, "losses is memory of device 0, but device"));
  }
  CU_ASSERT_EQUAL(dev->set(current, &error), MPISIFT_OK);
  dev->release(&memory, of_first);
}

DEVICE_MAIN("device", {"there and back", there_and_back}, {"events", events}, {"no memory", no_memory},
            {"pointers", pointers}, {"streams", streams}, {"devices", devices}, {"past", past})
#endif
