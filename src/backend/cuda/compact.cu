#include <thrust/iterator/counting_iterator.h>

#include <cub/device/device_select.cuh>

#include "backend/cuda/decide.h"

extern "C" int msift_cuda_launch_compact(int64_t n, const uint8_t *accepted, int32_t *kept, int64_t *n_kept,
                                         void *scratch, size_t *scratch_bytes, void *stream)
{
  return (int)cub::DeviceSelect::Flagged(scratch, *scratch_bytes, thrust::counting_iterator<int32_t>(0), accepted, kept,
                                         n_kept, (int)n, (cudaStream_t)stream);
}
