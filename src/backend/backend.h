/* What computes on the samples and holds the batches: a table of functions. The CPU is the reference. */
#ifndef MSIFT_BACKEND_BACKEND_H
#define MSIFT_BACKEND_BACKEND_H

#include <stdbool.h>

#include "base/memory.h"

struct msift_logits {
  int64_t n, columns, stride; /* rows, columns, elements from row to row */
  const float *values;
};

struct msift_backend {
  const char *name;

  /* Zeroed memory for batches; NULL with an error recorded. Counted. */
  void *(*allocate)(struct msift_memory *memory, struct msift_error *error, int64_t n, size_t size);
  void (*release)(struct msift_memory *memory, void *block);

  /* Per-sample losses and other scores, [n] each; the labels' or targets' arguments as in mpisift.h. */
  mpisift_status (*cross_entropy)(const struct msift_logits *logits, mpisift_type label_type, const void *labels,
                                  const mpisift_scores *scores, struct msift_error *error);
  void (*bce)(const struct msift_logits *logits, const float *targets, float *losses);
  void (*mse)(const struct msift_logits *predictions, const float *targets, float *losses);
};

extern const struct msift_backend msift_backend_cpu;

/* CPU arithmetic on page-locked memory of CUDA, for fast copies to a device. */
extern const struct msift_backend msift_backend_pinned;

/* The backend for a configuration; NULL with an error where it is not to be had. */
const struct msift_backend *msift_backend_choose(bool pin_memory, struct msift_error *error);

#endif
