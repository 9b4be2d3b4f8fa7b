/* What computes on the samples and holds the batches: a table of functions. The CPU is the reference. */
#ifndef MSIFT_BACKEND_BACKEND_H
#define MSIFT_BACKEND_BACKEND_H

#include <stdbool.h>

#include "base/memory.h"

/* The arguments of mpisift_losses(), checked, and without defaults that are to be filled in. */
struct msift_losses {
  mpisift_loss spec;
  int64_t n, columns;
  mpisift_values logits, targets;
};

/* The arguments of mpisift_token_losses(), checked, and without defaults that are to be filled in. */
struct msift_tokens {
  mpisift_loss spec;
  int64_t n;
  mpisift_values tokens, labels;
  mpisift_token_sum *sums; /* may be NULL */
  float *losses;           /* may be NULL */
};

struct msift_backend {
  const char *name;

  /* Zeroed memory for batches; NULL with an error recorded. Counted. */
  void *(*allocate)(struct msift_memory *memory, struct msift_error *error, int64_t n, size_t size);
  void (*release)(struct msift_memory *memory, void *block);

  /* mpisift_losses(). */
  mpisift_status (*losses)(const struct msift_losses *job, const mpisift_scores *scores, struct msift_error *error);

  /* mpisift_token_losses(). */
  void (*tokens)(const struct msift_tokens *job);
};

extern const struct msift_backend msift_backend_cpu;

/* CPU arithmetic on page-locked memory of CUDA, for fast copies to a device. */
extern const struct msift_backend msift_backend_pinned;

/* The backend for a configuration; NULL with an error where it is not to be had. */
const struct msift_backend *msift_backend_choose(bool pin_memory, struct msift_error *error);

/* Whether a kind of loss has a softmax, for targets that are labels or rows. */
static inline bool msift_has_softmax(mpisift_loss_kind kind, bool labels)
{
  return kind == MPISIFT_CROSS_ENTROPY || kind == MPISIFT_NLL || kind == MPISIFT_KL ||
         (kind == MPISIFT_FOCAL && labels);
}

static inline bool msift_is_float_type(mpisift_type type)
{
  return type == MPISIFT_F32 || type == MPISIFT_F64 || type == MPISIFT_F16 || type == MPISIFT_BF16;
}

static inline bool msift_is_label_type(mpisift_type type)
{
  return type == MPISIFT_U8 || type == MPISIFT_U16 || type == MPISIFT_I32 || type == MPISIFT_I64;
}

#endif
