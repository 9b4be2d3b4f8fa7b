#ifndef MSIFT_BACKEND_CPU_LOSSES_H
#define MSIFT_BACKEND_CPU_LOSSES_H

#include "backend/cpu/kernels.h"

mpisift_status msift_cpu_losses(const struct msift_losses *job, const mpisift_scores *scores,
                                struct msift_error *error);

/* The same with chosen kernels. */
mpisift_status msift_cpu_losses_with(const struct msift_kernels *kernels, const struct msift_losses *job,
                                     const mpisift_scores *scores, struct msift_error *error);

void msift_cpu_tokens(const struct msift_tokens *job);

#endif
