#ifndef MSIFT_BACKEND_CPU_LOSSES_H
#define MSIFT_BACKEND_CPU_LOSSES_H

#include "backend/backend.h"

mpisift_status msift_cpu_cross_entropy(const struct msift_logits *logits, mpisift_type label_type, const void *labels,
                                       const mpisift_scores *scores, struct msift_error *error);
void msift_cpu_bce(const struct msift_logits *logits, const float *targets, float *losses);
void msift_cpu_mse(const struct msift_logits *predictions, const float *targets, float *losses);

#endif
