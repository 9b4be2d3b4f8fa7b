/* Vectors of the instruction set that a file is compiled for, and exp and log on them. */
#ifndef MSIFT_BACKEND_CPU_SIMD_H
#define MSIFT_BACKEND_CPU_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined __AVX512F__ && defined __AVX512DQ__
#include <immintrin.h>
#define VECTOR 64
#elif defined __AVX2__
#include <immintrin.h>
#define VECTOR 32
#else
#define VECTOR 16
#endif

enum { FLOATS = VECTOR / 4, DOUBLES = VECTOR / 8 };

#define INLINE static inline __attribute__((always_inline))

typedef float vfloat __attribute__((vector_size(VECTOR)));
typedef int32_t vint __attribute__((vector_size(VECTOR)));
typedef uint32_t vuint __attribute__((vector_size(VECTOR)));
typedef double vdouble __attribute__((vector_size(VECTOR)));
typedef int64_t vlong __attribute__((vector_size(VECTOR)));
typedef float vfloat_half __attribute__((vector_size(VECTOR / 2)));
typedef uint16_t vshort_half __attribute__((vector_size(VECTOR / 2)));

INLINE vfloat float_load(const float *p)
{
  vfloat v;

  memcpy(&v, p, sizeof v);
  return v;
}

INLINE vdouble double_load(const double *p)
{
  vdouble v;

  memcpy(&v, p, sizeof v);
  return v;
}

INLINE vint float_lanes(void)
{
  vint lanes;

  for (int i = 0; i < FLOATS; i++)
    lanes[i] = i;
  return lanes;
}

INLINE vlong double_lanes(void)
{
  vlong lanes;

  for (int i = 0; i < DOUBLES; i++)
    lanes[i] = i;
  return lanes;
}

/* Where the mask is set a, else b. */
INLINE vfloat float_select(vint mask, vfloat a, vfloat b)
{
  return (vfloat)((mask & (vint)a) | (~mask & (vint)b));
}

INLINE vdouble double_select(vlong mask, vdouble a, vdouble b)
{
  return (vdouble)((mask & (vlong)a) | (~mask & (vlong)b));
}

INLINE vfloat float_set(float x)
{
  return x - (vfloat){0};
}

INLINE vdouble double_set(double x)
{
  return x - (vdouble){0};
}

/* The larger; b where one is NaN. */
#if VECTOR == 64
INLINE vfloat float_max(vfloat a, vfloat b)
{
  return (vfloat)_mm512_max_ps((__m512)a, (__m512)b);
}

INLINE vdouble double_max(vdouble a, vdouble b)
{
  return (vdouble)_mm512_max_pd((__m512d)a, (__m512d)b);
}
#elif VECTOR == 32
INLINE vfloat float_max(vfloat a, vfloat b)
{
  return (vfloat)_mm256_max_ps((__m256)a, (__m256)b);
}

INLINE vdouble double_max(vdouble a, vdouble b)
{
  return (vdouble)_mm256_max_pd((__m256d)a, (__m256d)b);
}
#else
INLINE vfloat float_max(vfloat a, vfloat b)
{
  return float_select((vint)(a > b), a, b);
}

INLINE vdouble double_max(vdouble a, vdouble b)
{
  return double_select((vlong)(a > b), a, b);
}
#endif

/* The first n < FLOATS of p, and the same value in the other lanes; nothing behind them is read. */
INLINE vfloat float_part(const float *p, int n, float rest)
{
  vfloat v = float_set(rest);

#if VECTOR == 64
  v = (vfloat)_mm512_mask_loadu_ps((__m512)v, (__mmask16)((1U << n) - 1), p);
#elif VECTOR == 32
  vint mask = (vint)(float_lanes() < n);

  v = float_select(mask, (vfloat)_mm256_maskload_ps(p, (__m256i)mask), v);
#else
  memcpy(&v, p, (size_t)n * sizeof *p);
#endif
  return v;
}

INLINE vdouble double_part(const double *p, int n, double rest)
{
  vdouble v = double_set(rest);

#if VECTOR == 64
  v = (vdouble)_mm512_mask_loadu_pd((__m512d)v, (__mmask8)((1U << n) - 1), p);
#else
  memcpy(&v, p, (size_t)n * sizeof *p);
#endif
  return v;
}

/* Lanes in another order: lane i is that of i ^ k, or of two vectors, one behind the other, lane order[i]. */
#ifdef __clang__
#define SWAP_LANES(type, v, lanes, k)                                                                                  \
  ({                                                                                                                   \
    type swapped;                                                                                                      \
    for (int lane = 0; lane < (int)(sizeof(v) / sizeof(v)[0]); lane++)                                                 \
      swapped[lane] = (v)[lane ^ (k)];                                                                                 \
    swapped;                                                                                                           \
  })
#define PICK_LANES(type, a, b, order)                                                                                  \
  ({                                                                                                                   \
    type picked;                                                                                                       \
    for (int lane = 0; lane < (int)(sizeof(a) / sizeof(a)[0]); lane++)                                                 \
      picked[lane] = (order)[lane] < (int)(sizeof(a) / sizeof(a)[0])                                                   \
                         ? (a)[(order)[lane]]                                                                          \
                         : (b)[(order)[lane] - (int)(sizeof(a) / sizeof(a)[0])];                                       \
    picked;                                                                                                            \
  })
#else
#define SWAP_LANES(type, v, lanes, k) __builtin_shuffle(v, (lanes) ^ (k))
#define PICK_LANES(type, a, b, order) __builtin_shuffle(a, b, order)
#endif

/* Transpose a square of vectors: rows i and i + k exchange the parts off their diagonal, for k = 1, 2, 4, … */
#define TRANSPOSE(vector, mask, count, lanes, square)                                                                  \
  _Pragma("GCC unroll 4") for (int k = 1; k < (count); k *= 2)                                                         \
  {                                                                                                                    \
    const mask second = (lanes & k) != 0, low = lanes + (second & ((count)-k)),                                        \
               high = lanes + (k & ~second) + (second & (count));                                                      \
    _Pragma("GCC unroll 16") for (int i = 0; i < (count); i++)                                                         \
    {                                                                                                                  \
      if ((i & k) == 0) {                                                                                              \
        vector a = (square)[i], b = (square)[i + k];                                                                   \
        (square)[i] = PICK_LANES(vector, a, b, low);                                                                   \
        (square)[i + k] = PICK_LANES(vector, a, b, high);                                                              \
      }                                                                                                                \
    }                                                                                                                  \
  }

INLINE void float_transpose(vfloat *square)
{
  const vint lanes = float_lanes();

  TRANSPOSE(vfloat, vint, FLOATS, lanes, square);
}

INLINE void double_transpose(vdouble *square)
{
  const vlong lanes = double_lanes();

  TRANSPOSE(vdouble, vlong, DOUBLES, lanes, square);
}

INLINE float float_largest(vfloat v)
{
#pragma GCC unroll 4
  for (int k = FLOATS / 2; k > 0; k /= 2)
    v = float_max(v, SWAP_LANES(vfloat, v, float_lanes(), k));
  return v[0];
}

INLINE double double_largest(vdouble v)
{
#pragma GCC unroll 4
  for (int k = DOUBLES / 2; k > 0; k /= 2)
    v = double_max(v, SWAP_LANES(vdouble, v, double_lanes(), k));
  return v[0];
}

INLINE double double_total(vdouble v)
{
#pragma GCC unroll 4
  for (int k = DOUBLES / 2; k > 0; k /= 2)
    v += SWAP_LANES(vdouble, v, double_lanes(), k);
  return v[0];
}

INLINE vdouble widen(vfloat_half half)
{
#if VECTOR == 64
  return (vdouble)_mm512_cvtps_pd((__m256)half);
#elif VECTOR == 32
  return (vdouble)_mm256_cvtps_pd((__m128)half);
#else
  return __builtin_convertvector(half, vdouble);
#endif
}

/* Half of the lanes in double precision. */
INLINE vdouble float_widen(vfloat v, int upper)
{
  vfloat_half half;

#if VECTOR == 64
  half = (vfloat_half)(upper ? _mm512_extractf32x8_ps((__m512)v, 1) : _mm512_castps512_ps256((__m512)v));
#elif VECTOR == 32
  half = (vfloat_half)(upper ? _mm256_extractf128_ps((__m256)v, 1) : _mm256_castps256_ps128((__m256)v));
#else
  memcpy(&half, (const char *)&v + (upper ? sizeof half : 0), sizeof half);
#endif
  return widen(half);
}

INLINE double float_total(vfloat v)
{
  return double_total(float_widen(v, 0) + float_widen(v, 1));
}

/* Sums of each lane in double precision. */
struct float_wide {
  vdouble lower, upper;
};

struct double_wide {
  vdouble all;
};

INLINE void float_add(struct float_wide *sum, vfloat v)
{
  sum->lower += float_widen(v, 0);
  sum->upper += float_widen(v, 1);
}

INLINE void double_add(struct double_wide *sum, vdouble v)
{
  sum->all += v;
}

INLINE void float_store(double *to, struct float_wide sum)
{
  memcpy(to, &sum.lower, sizeof sum.lower);
  memcpy(to + DOUBLES, &sum.upper, sizeof sum.upper);
}

INLINE void double_store(double *to, struct double_wide sum)
{
  memcpy(to, &sum.all, sizeof sum.all);
}

/* A polynomial of n coefficients, the highest first; n is even. Odd and even powers apart wait half as long. */
INLINE vdouble double_polynomial(const double *c, const int n, vdouble x)
{
  vdouble square = x * x, odd = double_set(c[0]), even = double_set(c[1]);

#pragma GCC unroll 8
  for (int i = 2; i < n; i += 2) {
    odd = odd * square + c[i];
    even = even * square + c[i + 1];
  }
  return odd * x + even;
}

/* exp(x) for x <= 0, to 1.2 ulp; below −87 it stays at exp(−87). NaN stays NaN. With n the integer nearest to x / ln 2,
 * 2^n times a polynomial in x − n ln 2; adding 1.5·2^23 rounds to n and leaves it in the low bits. */
INLINE vfloat float_exp(vfloat x)
{
  vfloat shifted, n, r, p;

  x = float_max(float_set(-87), x);
  shifted = x * 0x1.715476p+0F + 0x1.8000fep+23F; /* n + 127 */
  n = shifted - 0x1.8000fep+23F;
  r = x - n * 0x1.62ep-1F - n * 0x1.0bfbe8p-15F;
  p = r * 0x1.6a23dp-10F + 0x1.123a2p-7F;
  p = p * r + 0x1.5558f2p-5F;
  p = p * r + 0x1.555492p-3F;
  p = p * r + 0x1.fffffcp-2F;
  p = p * r + 1;
  p = p * r + 1;
  return p * (vfloat)((vint)shifted << 23);
}

/* The same in double precision, to 1e-11; below −708 it stays at exp(−708). */
INLINE vdouble double_exp(vdouble x)
{
  static const double inverse[] = {1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120,
                                   1.0 / 24,     1.0 / 6,     0.5,        1,         1};
  vdouble shifted, n, r;

  x = double_max(double_set(-708), x);
  shifted = x * 0x1.71547652b82fep+0 + (0x1.8p+52 + 1023);
  n = shifted - (0x1.8p+52 + 1023);
  r = x - n * 0x1.62e42feep-1 - n * 0x1.a39ef35793c76p-33;
  return double_polynomial(inverse, 10, r) * (vdouble)((vlong)shifted << 52);
}

/* log(x + rest) for normal x > 0 and a rest below its last place, to 1e-13 of its value; NaN where x is NaN or
 * infinite. x = 2^k m with m in [sqrt(1/2), sqrt(2)), and log m = 2 atanh((m − 1) / (m + 1)). */
INLINE vdouble double_log_sum(vdouble x, vdouble rest)
{
  static const double inverse[] = {2.0 / 15, 2.0 / 13, 2.0 / 11, 2.0 / 9, 2.0 / 7, 2.0 / 5, 2.0 / 3, 2};
  const vlong root = (vlong)double_set(0x1.6a09e667f3bcdp-1), shift = (vlong)double_set(0x1.8p+52);
  const vlong one = (vlong)double_set(1);
  vlong k = ((vlong)x - root) >> 52;
  vdouble f = ((vdouble)((vlong)x - (k << 52)) - 1) + rest * (vdouble)(one - (k << 52));
  vdouble s = f / (f + 2);

  return ((vdouble)(k + shift) - 0x1.8p+52) * 0x1.62e42fefa39efp-1 + s * double_polynomial(inverse, 8, s * s) + (x - x);
}

INLINE vdouble double_log(vdouble x)
{
  return double_log_sum(x, double_set(0));
}

/* log(1 + x) for x >= 0. */
INLINE vdouble double_log1p(vdouble x)
{
  vdouble one = 1 + x;

  return double_log_sum(one, x - (one - 1));
}

#endif
