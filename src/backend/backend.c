#include "backend/device.h"

#include <config.h>

const struct msift_backend *msift_backend_choose(bool pin_memory, struct msift_error *error)
{
  if (!pin_memory)
    return &msift_backend_cpu;
#ifdef HAVE_CUDA
  (void)error;
  return &msift_backend_pinned;
#else
  msift_error_set(error, MPISIFT_ERR_DEVICE,
                  "config.pin_memory is set, but this library was built without CUDA; unset it or rebuild --with-cuda");
  return NULL;
#endif
}

const struct msift_device *msift_device_choose(const char *call, struct msift_error *error)
{
#ifdef HAVE_NVCC
  (void)call;
  (void)error;
  return &msift_device_cuda;
#else
  msift_error_set(error, MPISIFT_ERR_DEVICE,
                  "%s: this library was built without nvcc; rebuild it with the CUDA Toolkit, or use host memory",
                  call);
  return NULL;
#endif
}
