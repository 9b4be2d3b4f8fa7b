/* Losses of a row in long double, term by term, and how far from them float32 may be. */
#ifndef MPISIFT_EXACT_LOSSES_H
#define MPISIFT_EXACT_LOSSES_H

#include <float.h>
#include <math.h>
#include <mpisift/mpisift.h>
#include <stdbool.h>
#include <string.h>

#include "base/half.h"

enum { EXACT_MOST = 60000 };

/* A row and its target, as numbers. */
struct exact_row {
  const mpisift_loss *spec;
  int64_t columns, label; /* −1: the target is y */
  const long double *x, *y;
};

/* The scores; and for each what its error is measured by, in units of the last place of 1. */
struct exact_scores {
  long double loss, bound, confidence, entropy, margin;
  long double loss_scale, other_scale;
};

static inline long double exact_value(mpisift_type type, const void *values, int64_t i)
{
  const unsigned char *at = (const unsigned char *)values + (size_t)i * mpisift_type_size(type);
  uint16_t bits;
  float narrow;
  double wide;

  memcpy(&bits, at, sizeof bits);
  if (type == MPISIFT_F16)
    return msift_half(bits);
  if (type == MPISIFT_BF16)
    return msift_bfloat(bits);
  if (type == MPISIFT_F32) {
    memcpy(&narrow, at, sizeof narrow);
    return narrow;
  }
  memcpy(&wide, at, sizeof wide);
  return wide;
}

/* The nearest below in the size of a type; types of 16 bits get their bits cut off. */
static inline void exact_put(mpisift_type type, void *to, int64_t i, double value)
{
  float narrow = (float)value;
  uint32_t bits;
  uint16_t half;
  int exponent;

  memcpy(&bits, &narrow, sizeof bits);
  exponent = (int)(bits >> 23 & 255) - 112;
  if (type == MPISIFT_F64) {
    ((double *)to)[i] = value;
  } else if (type == MPISIFT_F32) {
    ((float *)to)[i] = narrow;
  } else if (type == MPISIFT_BF16) {
    ((uint16_t *)to)[i] = (uint16_t)(bits >> 16);
  } else {
    half = (uint16_t)(exponent <= 0 ? 0U : exponent > 30 ? 0x7bffU : (uint32_t)exponent << 10 | (bits >> 13 & 1023));
    half = isinf(value) ? 0x7c00 : isnan(value) ? 0x7e00 : half;
    ((uint16_t *)to)[i] = half | (uint16_t)(bits >> 16 & 0x8000);
  }
}

static inline long double exact_weight(const float *weights, int64_t c)
{
  return weights == NULL ? 1 : (long double)weights[c];
}

static inline long double exact_softplus(long double x)
{
  return (x > 0 ? x : 0) + log1pl(expl(-fabsl(x)));
}

static inline long double exact_term(const struct exact_row *r, int64_t c)
{
  long double x = r->x[c], y = r->label < 0 ? r->y[c] : 0, d = x - y, p = exact_weight(r->spec->pos_weights, c);
  long double gamma = r->spec->focal_gamma == 0 ? 2 : r->spec->focal_gamma;
  long double delta = r->spec->huber_delta == 0 ? 1 : r->spec->huber_delta;

  switch (r->spec->kind) {
  case MPISIFT_BCE:
    return p * y * exact_softplus(-x) + (1 - y) * exact_softplus(x);
  case MPISIFT_FOCAL:
    return p * y * exact_softplus(-x) * powl(1 / (1 + expl(x)), gamma) +
           (1 - y) * exact_softplus(x) * powl(1 / (1 + expl(-x)), gamma);
  case MPISIFT_MSE:
    return d * d;
  case MPISIFT_L1:
    return fabsl(d);
  case MPISIFT_HUBER:
    return fabsl(d) <= delta ? d * d / 2 : delta * (fabsl(d) - delta / 2);
  default:
    return r->label < 0 ? fmaxl(0, 1 - x * y) : c == r->label ? 0 : fmaxl(0, 1 - r->x[r->label] + x);
  }
}

static inline struct exact_scores exact_columns(const struct exact_row *r)
{
  struct exact_scores s = {0};

  for (int64_t c = 0; c < r->columns; c++)
    s.loss += exact_term(r, c) * exact_weight(r->spec->class_weights, r->label < 0 ? c : r->label);
  s.loss /= r->columns;
  s.loss_scale = fabsl(s.loss);
  return s;
}

static inline int64_t exact_label(const struct exact_row *r)
{
  int64_t label = 0;

  for (int64_t c = 1; c < r->columns && r->label < 0; c++)
    label = r->y[c] > r->y[label] ? c : label;
  return r->label < 0 ? label : r->label;
}

/* Of a class. */
static inline long double exact_target(const struct exact_row *r, int64_t c)
{
  long double y = r->label < 0 ? r->y[c] : c == r->label, share = r->spec->label_smoothing;

  return exact_weight(r->spec->class_weights, c) * ((1 - share) * y + share / r->columns);
}

/* Softmax without overflow: of all, and of all but the label. */
struct exact_softmax {
  long double top, others, wrong, squares, moment; /* the largest but the label's; and sums over all but it */
  long double nll, spread;                         /* and of p times the distance to the largest */
};

static inline struct exact_softmax exact_softmax(const struct exact_row *r, int64_t label)
{
  struct exact_softmax s = {.top = -INFINITY};
  long double most, own;

  for (int64_t c = 0; c < r->columns; c++)
    s.top = c != label && r->x[c] > s.top ? r->x[c] : s.top;
  most = fmaxl(s.top, r->x[label]);
  own = expl(r->x[label] - most);
  for (int64_t c = 0; c < r->columns; c++) {
    long double e = c == label ? 0 : expl(r->x[c] - most);

    s.others += e;
    s.squares += e * e;
    s.moment += e > 0 ? e * (r->x[c] - most) : 0;
    s.spread += e > 0 ? e * fabsl(r->x[c] - s.top) : 0;
  }
  s.nll = most - r->x[label] + (own == 1 ? log1pl(s.others) : logl(own + s.others));
  s.moment += own > 0 ? own * (r->x[label] - most) : 0;
  s.wrong = s.others / (s.others + own);
  s.spread /= s.others + own;
  s.squares /= (s.others + own) * (s.others + own);
  s.moment /= s.others + own;
  s.others += own;
  return s;
}

static inline long double exact_spread_loss(const struct exact_row *r, int64_t label, long double nll)
{
  long double loss = 0;

  for (int64_t c = 0; c < r->columns; c++) {
    long double t = exact_target(r, c);

    loss += t == 0 ? 0 : t * (nll + (r->x[label] - r->x[c]));
    if (r->spec->kind == MPISIFT_KL && r->y[c] > 0)
      loss += exact_weight(r->spec->class_weights, c) * r->y[c] * logl(r->y[c]);
  }
  return loss;
}

static inline struct exact_scores exact_scores(const struct exact_row *r)
{
  int64_t label = exact_label(r);
  struct exact_softmax m;
  struct exact_scores s;
  long double weight = 0, gamma = r->spec->focal_gamma == 0 ? 2 : r->spec->focal_gamma;

  if (r->spec->kind > MPISIFT_KL || (r->spec->kind == MPISIFT_FOCAL && r->label < 0))
    return exact_columns(r);
  m = exact_softmax(r, label);
  for (int64_t c = 0; c < r->columns; c++)
    weight += exact_target(r, c);
  s.loss = exact_spread_loss(r, label, m.nll);
  s.loss_scale = fabsl(s.loss) + weight * (m.nll + m.spread);
  if (r->spec->kind == MPISIFT_NLL) {
    s.loss = -r->x[label] * exact_weight(r->spec->class_weights, label);
    s.loss_scale = fabsl(s.loss);
  } else if (r->spec->kind == MPISIFT_FOCAL) {
    s.loss *= powl(m.wrong, gamma);
    s.loss_scale *= powl(m.wrong, gamma) * (1 + gamma);
  }
  s.bound = sqrtl(m.squares + m.wrong * m.wrong);
  s.confidence = 1 / m.others;
  s.entropy = logl(m.others) - m.moment;
  s.margin = r->x[label] - m.top;
  s.other_scale = 1 + m.spread * (1 + m.spread) + s.entropy;
  return s;
}

/* What was computed of a row. */
struct exact_found {
  float loss, bound, confidence, entropy, margin, correct;
};

/* Its largest error, by what is allowed: 2 units in the last place of what the scores are measured by, but 0.51 of a
 * loss that is computed in float64 or is a mean over columns, and so many of the margin. Of losses with a softmax there
 * is more than the loss. */
static inline long double exact_error(const struct exact_row *r, const struct exact_found *f, bool wide, bool more,
                                      long double of_margin)
{
  const long double ulp = (long double)FLT_EPSILON;
  struct exact_scores e = exact_scores(r);
  long double worst = fabsl(f->loss - e.loss) / ((wide || !more ? 0.51L : 2) * ulp * e.loss_scale + 1e-44L), off;

  if (!more)
    return worst;
  off = fmaxl(fabsl(f->bound - e.bound), fabsl(f->confidence - e.confidence));
  off = fmaxl(off, fabsl(f->entropy - e.entropy));
  worst = fmaxl(worst, off / (2 * ulp * e.other_scale));
  if (r->columns > 1)
    worst = fmaxl(worst, fabsl(f->margin - e.margin) / (of_margin * ulp * fabsl(e.margin) + 1e-44L));
  return f->correct == (e.margin > 0) ? worst : INFINITY;
}

#endif
