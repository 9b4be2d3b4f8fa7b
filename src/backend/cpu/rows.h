/* Rows under way, and where their values are. */
#ifndef MSIFT_BACKEND_CPU_ROWS_H
#define MSIFT_BACKEND_CPU_ROWS_H

#include <float.h>

#include "backend/cpu/kernels.h"

enum {
  TILE = 1024, /* values of a row at a time: they stay in the first cache */
  NARROW = 32  /* most columns of rows that are worked on side by side, a row in each lane */
};

#include "backend/cpu/load.h"

/* For each row, of its softmax and its target. With d = x − top, and top the largest x: sums over all classes but the
 * label. The label's own term is added last, in double precision, so that the loss of a sure and right model, log(1 +
 * what others have), keeps its digits. The target are weights t of −log p[c]. */
struct rows {
  double top[MSIFT_ROWS];
  double sum[MSIFT_ROWS];     /* of exp(d) */
  double squares[MSIFT_ROWS]; /* of exp(d)^2 */
  double moment[MSIFT_ROWS];  /* of d exp(d) */
  double logit[MSIFT_ROWS];   /* x[label] */
  double label[MSIFT_ROWS];   /* t[label] */
  double rest[MSIFT_ROWS];    /* of t */
  double dot[MSIFT_ROWS];     /* of t x */
  double self[MSIFT_ROWS];    /* of y log y, weighted, the label's included */
};

INLINE const char *element(mpisift_type type, const void *values, int64_t i)
{
  return (const char *)values + (type == MPISIFT_F64 ? 8 : type == MPISIFT_F32 ? 4 : 2) * i;
}

INLINE const char *row_of(const mpisift_values *values, int64_t row)
{
  return element(values->type, values->data, row * values->stride);
}

INLINE int piece(int64_t columns, int64_t first)
{
  return (int)(columns - first < TILE ? columns - first : TILE);
}

/* Weights of the columns from `first` on, 1 where there are none, and zeros behind them. */
static void load_weights(const float *weights, int64_t first, int n, double *to)
{
  if (weights != NULL)
    to_doubles(MPISIFT_F32, (const char *)(weights + first), n, to);
  for (int i = 0; i < n && weights == NULL; i++)
    to[i] = 1;
  for (int i = n; i % DOUBLES != 0; i++)
    to[i] = 0;
}

#endif
