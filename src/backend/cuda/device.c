/* Memory, streams and events of a device, and the table of all that it does. */
#include "backend/cuda/device.h"

#include <cuda_runtime_api.h>

mpisift_status msift_cuda_check(int code, const char *what, struct msift_error *error)
{
  if (code == cudaSuccess)
    return MPISIFT_OK;
  cudaGetLastError(); /* the caller's next check is not to find ours */
  return msift_error_set(error, MPISIFT_ERR_DEVICE, "%s failed: %s", what, cudaGetErrorString((cudaError_t)code));
}

/* Zeroed on a stream of ours, or it would wait for all work of the user's streams. */
static cudaError_t zero(void *block, size_t bytes)
{
  cudaError_t code = cudaMemsetAsync(block, 0, bytes, cudaStreamPerThread);

  return code != cudaSuccess ? code : cudaStreamSynchronize(cudaStreamPerThread);
}

static void *allocate(struct msift_memory *memory, struct msift_error *error, int64_t n, size_t size)
{
  size_t bytes = 0;
  cudaError_t code = cudaErrorMemoryAllocation;
  void *block = NULL;

  if (msift_memory_takes(memory, n, size, &bytes))
    code = cudaMalloc(&block, bytes > 0 ? bytes : 1);
  if (code == cudaSuccess)
    code = zero(block, bytes);
  if (code == cudaSuccess) {
    memory->blocks++;
    return block;
  }
  cudaFree(block);
  cudaGetLastError(); /* the caller's next check is not to find ours */
  msift_error_set(error, code == cudaErrorMemoryAllocation ? MPISIFT_ERR_MEMORY : MPISIFT_ERR_DEVICE,
                  "cannot allocate %lld × %zu bytes on the device: %s", (long long)n, size, cudaGetErrorString(code));
  return NULL;
}

static void release(struct msift_memory *memory, void *block)
{
  memory->blocks -= block != NULL;
  if (cudaFree(block) != cudaSuccess)
    cudaGetLastError(); /* as above; what failed before is told where it did */
}

static mpisift_status transfer(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, void *stream,
                               const char *what, struct msift_error *error)
{
  if (bytes == 0)
    return MPISIFT_OK;
  return msift_cuda_check((int)cudaMemcpyAsync(to, from, bytes, kind, stream), what, error);
}

static mpisift_status upload(void *to, const void *from, size_t bytes, void *stream, struct msift_error *error)
{
  return transfer(to, from, bytes, cudaMemcpyHostToDevice, stream, "copying to the device", error);
}

static mpisift_status download(void *to, const void *from, size_t bytes, void *stream, struct msift_error *error)
{
  return transfer(to, from, bytes, cudaMemcpyDeviceToHost, stream, "copying from the device", error);
}

static mpisift_status gather(void *to, const void *from, size_t stride, size_t size, int64_t n, void *stream,
                             struct msift_error *error)
{
  if (n == 0)
    return MPISIFT_OK;
  return msift_cuda_check(
      (int)cudaMemcpy2DAsync(to, size, from, stride, size, (size_t)n, cudaMemcpyDeviceToHost, stream),
      "copying from the device", error);
}

static mpisift_status copy(void *to, const void *from, size_t bytes, void *stream, struct msift_error *error)
{
  return transfer(to, from, bytes, cudaMemcpyDeviceToDevice, stream, "copying on the device", error);
}

static mpisift_status fill(void *to, int byte, size_t bytes, void *stream, struct msift_error *error)
{
  if (bytes == 0)
    return MPISIFT_OK;
  return msift_cuda_check((int)cudaMemsetAsync(to, byte, bytes, stream), "setting bytes on the device", error);
}

static mpisift_status event_create(void **event, struct msift_error *error)
{
  cudaEvent_t made = NULL;

  MSIFT_TRY(msift_cuda_check((int)cudaEventCreateWithFlags(&made, cudaEventDisableTiming), "creating an event", error));
  *event = made;
  return MPISIFT_OK;
}

static void event_destroy(void *event)
{
  if (event != NULL && cudaEventDestroy(event) != cudaSuccess)
    cudaGetLastError();
}

static mpisift_status event_record(void *event, void *stream, struct msift_error *error)
{
  return msift_cuda_check((int)cudaEventRecord(event, stream), "recording an event", error);
}

static mpisift_status event_reach(void *event, struct msift_error *error)
{
  return msift_cuda_check((int)cudaEventSynchronize(event), "waiting for work on the device", error);
}

static mpisift_status synchronize(void *stream, struct msift_error *error)
{
  return msift_cuda_check((int)cudaStreamSynchronize(stream), "waiting for work on the device", error);
}

static mpisift_status get(int *device, struct msift_error *error)
{
  int n = 0;

  MSIFT_TRY(msift_cuda_check((int)cudaGetDeviceCount(&n), "looking for a CUDA device", error));
  if (n == 0)
    return msift_error_set(error, MPISIFT_ERR_DEVICE, "no CUDA device is there; use host memory");
  return msift_cuda_check((int)cudaGetDevice(device), "asking for the current device", error);
}

static mpisift_status set(int device, struct msift_error *error)
{
  return msift_cuda_check((int)cudaSetDevice(device), "choosing a device", error);
}

/* The legacy stream cannot even be asked while another one captures in CUDA's global mode. */
static mpisift_status check_stream(void *stream, const char *call, struct msift_error *error)
{
  enum cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  cudaError_t code = cudaStreamIsCapturing(stream, &status);

  if (code == cudaErrorStreamCaptureImplicit || status != cudaStreamCaptureStatusNone) {
    cudaGetLastError();
    return msift_error_set(error, MPISIFT_ERR_STATE,
                           "%s: a stream is being captured into a graph; call it before the capture or behind it",
                           call);
  }
  if (code == cudaErrorInvalidResourceHandle || code == cudaErrorInvalidValue || code == cudaErrorContextIsDestroyed) {
    cudaGetLastError();
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: the stream is none that CUDA knows: %s", call,
                           cudaGetErrorString(code));
  }
  return msift_cuda_check((int)code, "asking for the state of the stream", error); /* maybe of earlier work */
}

static const char *kind_of(enum cudaMemoryType type)
{
  return type == cudaMemoryTypeHost ? "page-locked host memory" : "host memory that CUDA does not know";
}

static mpisift_status check_pointer(const void *pointer, const char *what, struct msift_error *error)
{
  struct cudaPointerAttributes found = {.type = cudaMemoryTypeUnregistered};
  cudaError_t code;
  int device = 0;

  if (pointer == NULL)
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s is NULL; it must be memory of the device", what);
  MSIFT_TRY(get(&device, error));
  code = cudaPointerGetAttributes(&found, pointer);
  if (code != cudaErrorInvalidValue) /* what older versions say of host memory */
    MSIFT_TRY(msift_cuda_check((int)code, "asking for the kind of a pointer", error));
  cudaGetLastError();
  if (found.type == cudaMemoryTypeManaged)
    return MPISIFT_OK;
  if (found.type != cudaMemoryTypeDevice)
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s is %s; it must be memory of the device, as of cudaMalloc", what,
                           kind_of(found.type));
  if (found.device != device)
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s is memory of device %d, but device %d is current", what,
                           found.device, device);
  return MPISIFT_OK;
}

/* CUDA keeps the answer "not ready yet" like an error. */
static mpisift_status check_past(const char *call, struct msift_error *error)
{
  cudaError_t code = cudaGetLastError();

  if (code == cudaSuccess || code == cudaErrorNotReady)
    return MPISIFT_OK;
  return msift_error_set(error, MPISIFT_ERR_DEVICE, "%s: CUDA failed before, and nobody asked whether it did: %s", call,
                         cudaGetErrorString(code));
}

const struct msift_device msift_device_cuda = {
    .allocate = allocate,
    .release = release,
    .upload = upload,
    .download = download,
    .copy = copy,
    .gather = gather,
    .fill = fill,
    .event_create = event_create,
    .event_destroy = event_destroy,
    .event_record = event_record,
    .event_reach = event_reach,
    .synchronize = synchronize,
    .get = get,
    .set = set,
    .check_stream = check_stream,
    .check_pointer = check_pointer,
    .check_past = check_past,
    .losses = msift_cuda_losses,
    .tokens = msift_cuda_tokens,
    .count = msift_cuda_count,
    .decide_scratch = msift_cuda_decide_scratch,
    .decide = msift_cuda_decide,
    .pack = msift_cuda_pack,
    .scatter = msift_cuda_scatter,
};
