#include "backend/cpu/losses.h"

#include <math.h>

static int64_t label_at(mpisift_type type, const void *labels, int64_t i)
{
  switch (type) {
  case MPISIFT_U8:
    return ((const uint8_t *)labels)[i];
  case MPISIFT_U16:
    return ((const uint16_t *)labels)[i];
  case MPISIFT_I32:
    return ((const int32_t *)labels)[i];
  default:
    return ((const int64_t *)labels)[i];
  }
}

/* log(sum exp x) − x[label]. The largest term is 1 and stays out of the sum, so that losses far below the resolution of
 * floats near 1 keep their order. */
static float cross_entropy(const float *x, int64_t classes, int64_t label)
{
  int64_t top = 0;
  double others = 0;

  for (int64_t c = 1; c < classes; c++)
    if (x[c] > x[top])
      top = c;
  for (int64_t c = 0; c < classes; c++)
    if (c != top)
      others += (double)expf(x[c] - x[top]);
  return (float)((double)x[top] - (double)x[label] + log1p(others));
}

mpisift_status msift_cpu_cross_entropy(const struct msift_logits *logits, mpisift_type label_type, const void *labels,
                                       float *losses, struct msift_error *error)
{
  for (int64_t i = 0; i < logits->n; i++) {
    int64_t label = label_at(label_type, labels, i);

    if (label < 0 || label >= logits->columns)
      return msift_error_set(error, MPISIFT_ERR_DATA, "the label of row %lld is %lld, outside of [0, %lld)",
                             (long long)i, (long long)label, (long long)logits->columns);
    losses[i] = cross_entropy(logits->values + i * logits->stride, logits->columns, label);
  }
  return MPISIFT_OK;
}

void msift_cpu_bce(const struct msift_logits *logits, const float *targets, float *losses)
{
  for (int64_t i = 0; i < logits->n; i++) {
    const float *x = logits->values + i * logits->stride, *y = targets + i * logits->stride;
    double sum = 0;

    for (int64_t c = 0; c < logits->columns; c++)
      sum += fmax(x[c], 0) - (double)x[c] * (double)y[c] + log1p(exp(-fabs((double)x[c])));
    losses[i] = (float)(sum / (double)logits->columns);
  }
}

void msift_cpu_mse(const struct msift_logits *predictions, const float *targets, float *losses)
{
  for (int64_t i = 0; i < predictions->n; i++) {
    const float *x = predictions->values + i * predictions->stride, *y = targets + i * predictions->stride;
    double sum = 0;

    for (int64_t c = 0; c < predictions->columns; c++)
      sum += ((double)x[c] - (double)y[c]) * ((double)x[c] - (double)y[c]);
    losses[i] = (float)(sum / (double)predictions->columns);
  }
}
