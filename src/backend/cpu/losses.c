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

/* Sums over a row's classes of e = exp(x − x[top]). */
struct row_sums {
  int64_t top;
  double others;        /* of e, all but the top's, which is 1 */
  double wrong, wrong2; /* of e and of its square, all but the label's */
};

static struct row_sums sum_row(const float *x, int64_t classes, int64_t label)
{
  struct row_sums s = {0, 0, 0, 0};

  for (int64_t c = 1; c < classes; c++)
    if (x[c] > x[s.top])
      s.top = c;
  for (int64_t c = 0; c < classes; c++) {
    double e = (double)expf(x[c] - x[s.top]);

    s.others += c == s.top ? 0 : e;
    s.wrong += c == label ? 0 : e;
    s.wrong2 += c == label ? 0 : e * e;
  }
  return s;
}

/* The loss is log(sum exp x) − x[label]: the largest term is 1 and stays out of the sum, so that losses far below the
 * resolution of floats near 1 keep their order. In ‖softmax − onehot‖ the label's term is one minus its probability,
 * which is the sum of the others'. */
static void score_row(const float *x, int64_t classes, int64_t label, int64_t i, const mpisift_scores *scores)
{
  struct row_sums s = sum_row(x, classes, label);

  if (scores->loss != NULL)
    scores->loss[i] = (float)((double)x[s.top] - (double)x[label] + log1p(s.others));
  if (scores->bound != NULL)
    scores->bound[i] = (float)(sqrt(s.wrong2 + s.wrong * s.wrong) / (1 + s.others));
  if (scores->confidence != NULL)
    scores->confidence[i] = (float)(1 / (1 + s.others));
  if (scores->group != NULL)
    scores->group[i] = (int32_t)label;
}

mpisift_status msift_cpu_cross_entropy(const struct msift_logits *logits, mpisift_type label_type, const void *labels,
                                       const mpisift_scores *scores, struct msift_error *error)
{
  for (int64_t i = 0; i < logits->n; i++) {
    int64_t label = label_at(label_type, labels, i);

    if (label < 0 || label >= logits->columns)
      return msift_error_set(error, MPISIFT_ERR_DATA, "the label of row %lld is %lld, outside of [0, %lld)",
                             (long long)i, (long long)label, (long long)logits->columns);
    score_row(logits->values + i * logits->stride, logits->columns, label, i, scores);
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
