/* Random numbers and losses of the tests, from a generator of their own: the library's must not be its own oracle. */
#ifndef MPISIFT_DRAW_H
#define MPISIFT_DRAW_H

#include <math.h>
#include <stdint.h>

struct draw {
  uint64_t state; /* any start but 0 */
};

/* Marsaglia's xorshift, multiplied. */
static inline uint64_t draw_bits(struct draw *d)
{
  d->state ^= d->state >> 12;
  d->state ^= d->state << 25;
  d->state ^= d->state >> 27;
  return d->state * UINT64_C(0x2545f4914f6cdd1d);
}

static inline int64_t draw_below(struct draw *d, int64_t n)
{
  return (int64_t)((draw_bits(d) >> 1) % (uint64_t)n);
}

/* In (0, 1). */
static inline double draw_unit(struct draw *d)
{
  return ((double)(draw_bits(d) >> 12) + 0.5) * 0x1p-52;
}

static inline double draw_normal(struct draw *d)
{
  double radius = sqrt(-2 * log(draw_unit(d)));

  return radius * cos(6.283185307179586 * draw_unit(d));
}

static inline float draw_lognormal(struct draw *d)
{
  return (float)exp(draw_normal(d));
}

static inline float draw_exponential(struct draw *d)
{
  return (float)-log(draw_unit(d));
}

static inline float draw_bimodal(struct draw *d)
{
  return (float)fabs(draw_unit(d) < 0.5 ? 0.05 + 0.02 * draw_normal(d) : 4 + draw_normal(d));
}

static inline float draw_pareto(struct draw *d)
{
  return (float)pow(draw_unit(d), -1 / 1.1);
}

static inline float draw_near_zero(struct draw *d)
{
  return (float)(1e-9 * exp(2 * draw_normal(d)));
}

static inline float draw_zeros(struct draw *d)
{
  return draw_unit(d) < 0.3 ? 0 : draw_exponential(d);
}

static inline float draw_ties(struct draw *d)
{
  return draw_unit(d) < 0.5 ? 2.3025851F : draw_lognormal(d);
}

static inline float draw_equal(struct draw *d)
{
  (void)d;
  return 6.9077553F;
}

static inline float draw_zero(struct draw *d)
{
  (void)d;
  return 0;
}

/* Losses of an untrained model lie about the logarithm of the number of its classes. */
static inline float draw_high_cluster(struct draw *d)
{
  return (float)(6.91 + 0.1 * draw_normal(d));
}

static inline float draw_low_cluster(struct draw *d)
{
  return (float)(2.30 + 0.02 * draw_normal(d));
}

static inline float draw_narrow_cluster(struct draw *d)
{
  return (float)(2.30 + 0.0005 * draw_normal(d));
}

static inline float draw_cluster_and_tail(struct draw *d)
{
  return (float)(draw_unit(d) < 0.9 ? 2.30 + 1e-5 * draw_normal(d) : exp(6 * draw_normal(d)));
}

static inline float draw_signed(struct draw *d)
{
  return (float)draw_normal(d);
}

typedef float (*draw_fn)(struct draw *d);

enum { DRAW_SHAPES = 14, DRAW_SIGNED = DRAW_SHAPES - 1 };

/* All of the above. */
static inline draw_fn draw_shape(int shape)
{
  static const draw_fn shapes[DRAW_SHAPES] = {draw_lognormal,
                                              draw_exponential,
                                              draw_bimodal,
                                              draw_pareto,
                                              draw_near_zero,
                                              draw_zeros,
                                              draw_ties,
                                              draw_equal,
                                              draw_zero,
                                              draw_high_cluster,
                                              draw_low_cluster,
                                              draw_narrow_cluster,
                                              draw_cluster_and_tail,
                                              draw_signed};

  return shapes[shape];
}

#endif
