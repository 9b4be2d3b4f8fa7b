/* The parts of the table msift_device_cuda, which is in device.c. */
#ifndef MSIFT_BACKEND_CUDA_DEVICE_H
#define MSIFT_BACKEND_CUDA_DEVICE_H

#include "backend/device.h"

/* Whether a call of CUDA went well: a cudaError_t, seen as int, of what. */
mpisift_status msift_cuda_check(int code, const char *what, struct msift_error *error);

mpisift_status msift_cuda_losses(const struct msift_losses *job, const mpisift_scores *scores, void *stream,
                                 struct msift_error *error);
mpisift_status msift_cuda_tokens(const struct msift_tokens *job, void *stream, struct msift_error *error);

mpisift_status msift_cuda_count(const struct msift_device_count *job, void *stream, struct msift_error *error);
size_t msift_cuda_decide_scratch(int64_t n);
mpisift_status msift_cuda_decide(const struct msift_device_round *job, void *scratch, size_t scratch_bytes,
                                 void *stream, struct msift_error *error);

mpisift_status msift_cuda_pack(const struct msift_device_pack *job, void *stream, struct msift_error *error);
mpisift_status msift_cuda_scatter(const struct msift_device_scatter *job, void *stream, struct msift_error *error);

#endif
