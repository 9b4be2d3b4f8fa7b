/* From rows' sums to their scores, in double precision, a row in each lane. */
#ifndef MSIFT_BACKEND_CPU_FINISH_H
#define MSIFT_BACKEND_CPU_FINISH_H

#include "backend/cpu/rows.h"

INLINE void put(float *to, int i, vdouble values)
{
  vfloat_half narrow = __builtin_convertvector(values, vfloat_half);

  memcpy(to + i, &narrow, sizeof narrow);
}

/* Rows' softmax, the label's term included and relative to the larger of it and the others. */
struct finished {
  vdouble scale; /* of the others' sums */
  vdouble less;  /* label's logit less the others' largest */
  vdouble gap;   /* its size, cut where exponentials vanish */
  vdouble wrong, total, log_total;
  vdouble nll; /* −log p[label] */
  vdouble bad; /* NaN where a logit is NaN or +infinity, else 0 */
  vlong above; /* the label is the largest */
};

INLINE struct finished finish(const struct rows *r, int i)
{
  const vdouble one = double_set(1), infinite = double_set(INFINITY), zero = {0};
  vdouble top = double_load(r->top + i), logit = double_load(r->logit + i), sum = double_load(r->sum + i), e;
  struct finished f;

  /* There is no other class, or none but −infinity. */
  top = double_select((vlong)(top <= -(double)FLT_MAX), -infinite, top);
  f.less = logit - top;
  f.above = (vlong)(f.less > zero);
  f.gap = magnitude(f.less);
  e = double_exp(-f.gap);
  f.scale = double_select(f.above, e, one);
  f.wrong = f.scale * sum;
  f.total = f.wrong + double_select(f.above, one, e);
  f.log_total = double_log1p(double_select(f.above, f.wrong, (sum - 1) + e));
  f.bad = sum * 0 + double_select((vlong)(logit < infinite), zero, logit - logit);
  f.nll = double_select(f.above, zero, -f.less) + f.log_total;
  f.nll = double_select((vlong)(logit == -infinite), infinite, f.nll) + f.bad;
  f.gap = double_select((vlong)(f.gap > 708), double_set(708), f.gap);
  return f;
}

/* t[label] nll + sum over the others of t (nll + x[label] − x[c]). */
INLINE vdouble spread_loss(const struct rows *r, int i, vdouble nll)
{
  vdouble label = double_load(r->label + i), rest = double_load(r->rest + i), logit = double_load(r->logit + i);
  vdouble zero = {0}, tail = rest * logit - double_load(r->dot + i);

  tail = double_select((vlong)(rest == zero) | (vlong)(nll == double_set(INFINITY)), zero, tail);
  return double_select((vlong)(label + rest == zero), zero, (label + rest) * nll) + tail + double_load(r->self + i);
}

/* `spread`: the targets are more than weighted labels. */
static void put_losses(const struct msift_losses *job, const struct rows *r, int n, bool spread, float *loss)
{
  const vdouble least = double_set(DBL_MIN);

  for (int i = 0; i < n; i += DOUBLES) {
    vdouble label = double_load(r->label + i);
    struct finished f = finish(r, i);

    if (job->spec.kind == MPISIFT_FOCAL)
      label *= double_exp(job->spec.focal_gamma * double_log(f.wrong / f.total + least));
    if (spread)
      put(loss, i, spread_loss(r, i, f.nll));
    else
      put(loss, i, double_select((vlong)(label == least * 0), least * 0, label * f.nll));
  }
}

static void put_others(const struct rows *r, int n, struct msift_row_scores *scores)
{
  for (int i = 0; i < n; i += DOUBLES) {
    struct finished f = finish(r, i);
    vdouble moment = f.scale * double_load(r->moment + i), norm = f.scale * f.scale * double_load(r->squares + i);

    moment -= f.gap * double_select(f.above, f.wrong, f.total - f.wrong);
    put(scores->bound, i, (norm + f.wrong * f.wrong) / (f.total * f.total) + f.bad);
    put(scores->confidence, i, 1 / f.total + f.bad);
    put(scores->entropy, i, f.log_total - moment / f.total + f.bad);
    put(scores->margin, i, f.less + f.bad);
  }
  for (int i = 0; i < n; i++)
    scores->bound[i] = sqrtf(scores->bound[i]);
}

#endif
