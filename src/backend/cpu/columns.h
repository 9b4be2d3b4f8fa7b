/* Losses that are means over columns, in double precision. */
#ifndef MSIFT_BACKEND_CPU_COLUMNS_H
#define MSIFT_BACKEND_CPU_COLUMNS_H

#include "backend/cpu/rows.h"

struct columns {
  double x[TILE], y[TILE], weights[TILE], pos_weights[TILE];
  double label_logit, delta, gamma;
};

INLINE vdouble magnitude(vdouble x)
{
  return (vdouble)((vlong)x & INT64_MAX);
}

/* log(1 + exp(x)), which is −log(1 − sigmoid(x)). */
INLINE vdouble softplus(vdouble x)
{
  return double_max(x, double_set(0)) + double_log1p(double_exp(-magnitude(x)));
}

/* Sums of terms that are not negative: nothing cancels. */
INLINE vdouble bce(vdouble x, vdouble y, vdouble pos_weight)
{
  return y * pos_weight * softplus(-x) + (1 - y) * softplus(x);
}

INLINE vdouble focal(vdouble x, vdouble y, vdouble pos_weight, double gamma)
{
  vdouble one = softplus(-x), zero = softplus(x);

  return y * pos_weight * one * double_exp(-gamma * zero) + (1 - y) * zero * double_exp(-gamma * one);
}

INLINE vdouble huber(vdouble d, double delta)
{
  vdouble size = magnitude(d);

  return double_select((vlong)(size <= delta), 0.5 * d * d, delta * (size - 0.5 * delta));
}

INLINE vdouble column_terms(const mpisift_loss_kind kind, const bool labels, const struct columns *c, int i)
{
  vdouble x = double_load(c->x + i), y = double_load(c->y + i), zero = {0};

  if (kind == MPISIFT_BCE)
    return bce(x, y, double_load(c->pos_weights + i));
  if (kind == MPISIFT_FOCAL)
    return focal(x, y, double_load(c->pos_weights + i), c->gamma);
  if (kind == MPISIFT_MSE)
    return (x - y) * (x - y);
  if (kind == MPISIFT_L1)
    return magnitude(x - y);
  if (kind == MPISIFT_HUBER)
    return huber(x - y, c->delta);
  return double_max(zero, labels ? (x - c->label_logit) + 1 : 1 - x * y);
}

INLINE double sum_terms(const mpisift_loss_kind kind, const bool labels, const struct columns *c, int n)
{
  vdouble sum = {0};

  for (int i = 0; i < n; i += DOUBLES)
    sum += double_load(c->weights + i) * column_terms(kind, labels, c, i);
  return double_total(sum);
}

static double sum_columns(mpisift_loss_kind kind, bool labels, const struct columns *c, int n)
{
  switch (kind) {
  case MPISIFT_BCE:
    return sum_terms(MPISIFT_BCE, false, c, n);
  case MPISIFT_FOCAL:
    return sum_terms(MPISIFT_FOCAL, false, c, n);
  case MPISIFT_MSE:
    return sum_terms(MPISIFT_MSE, false, c, n);
  case MPISIFT_L1:
    return sum_terms(MPISIFT_L1, false, c, n);
  case MPISIFT_HUBER:
    return sum_terms(MPISIFT_HUBER, false, c, n);
  default:
    return labels ? sum_terms(MPISIFT_HINGE, true, c, n) : sum_terms(MPISIFT_HINGE, false, c, n);
  }
}

/* The mean of a row's terms. */
static double column_mean(const struct msift_losses *job, int64_t row, int64_t label, bool labels, struct columns *c)
{
  const char *x = row_of(&job->logits, row), *y = labels ? NULL : row_of(&job->targets, row);
  const float *weights = job->spec.class_weights;
  double sum = 0;

  c->label_logit = labels ? to_double(job->logits.type, element(job->logits.type, x, label)) : 0;
  for (int64_t first = 0; first < job->columns; first += TILE) {
    int n = piece(job->columns, first);

    to_doubles(job->logits.type, element(job->logits.type, x, first), n, c->x);
    if (!labels)
      to_doubles(job->targets.type, element(job->targets.type, y, first), n, c->y);
    load_weights(labels ? NULL : weights, first, n, c->weights);
    load_weights(job->spec.pos_weights, first, n, c->pos_weights);
    sum += sum_columns(job->spec.kind, labels, c, n);
  }
  if (labels) /* the label's own term, which is no part of the loss, is exactly 1 */
    sum = (sum - 1) * (weights != NULL ? (double)weights[label] : 1);
  return sum / (double)job->columns;
}

static void score_columns(const struct msift_losses *job, int64_t first, int n, const int64_t *labels, float *loss)
{
  struct columns c = {.delta = job->spec.huber_delta, .gamma = job->spec.focal_gamma};

  for (int i = 0; i < n; i++)
    loss[i] = (float)column_mean(job, first + i, labels != NULL ? labels[i] : 0, labels != NULL, &c);
}

#endif
