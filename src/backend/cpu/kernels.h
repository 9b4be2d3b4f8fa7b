/* Loss kernels for one instruction set. kernels.c is compiled once for each. */
#ifndef MSIFT_BACKEND_CPU_KERNELS_H
#define MSIFT_BACKEND_CPU_KERNELS_H

#include "backend/backend.h"

enum { MSIFT_ROWS = 64 }; /* most rows of a call, a multiple of any vector's lanes */

struct msift_row_scores {
  float loss[MSIFT_ROWS], bound[MSIFT_ROWS], confidence[MSIFT_ROWS], entropy[MSIFT_ROWS], margin[MSIFT_ROWS];
};

struct msift_kernels {
  const char *name;

  /* Scores of rows first to first + n − 1; n <= MSIFT_ROWS. Labels are in range, [n]; NULL: the targets are rows. What
   * `more` adds to the loss is of kinds with a softmax only. */
  void (*score)(const struct msift_losses *job, int64_t first, int n, const int64_t *labels, bool more,
                struct msift_row_scores *scores);
};

/* The instruction sets that this processor has, best first, closed by NULL. */
const struct msift_kernels *const *msift_kernels(void);

#endif
