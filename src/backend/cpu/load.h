/* Values of any floating-point type as float or double. */
#ifndef MSIFT_BACKEND_CPU_LOAD_H
#define MSIFT_BACKEND_CPU_LOAD_H

#include "backend/cpu/simd.h"

/* As many float16 or bfloat16 as fit. Bits of a float16 moved to their places are a float 2^112 times too small. */
INLINE vfloat widen_short(vshort_half bits16, const bool half)
{
#if VECTOR == 64
  vuint bits = (vuint)_mm512_cvtepu16_epi32((__m256i)bits16);
#elif VECTOR == 32
  vuint bits = (vuint)_mm256_cvtepu16_epi32((__m128i)bits16);
#else
  vuint bits = __builtin_convertvector(bits16, vuint);
#endif
  vuint size = (bits & 0x7fff) << 13;
  vfloat value;

  if (!half)
    return (vfloat)(bits << 16);
  value = (vfloat)size * 0x1p112F;
  value = float_select((vint)(size >= (vuint){0} + 0xf800000U), (vfloat)(size | 0x7f800000), value);
  return (vfloat)((vuint)value | (bits & 0x8000) << 16);
}

INLINE void shorts_to_floats(const char *p, int n, const bool half, float *to)
{
  vshort_half bits = {0};
  vfloat value;
  int i = 0;

  for (; i + FLOATS <= n; i += FLOATS) {
    memcpy(&bits, p + 2 * i, sizeof bits);
    value = widen_short(bits, half);
    memcpy(to + i, &value, sizeof value);
  }
  if (i < n) {
    bits = (vshort_half){0};
    memcpy(&bits, p + 2 * i, (size_t)(n - i) * 2);
    value = widen_short(bits, half);
    memcpy(to + i, &value, (size_t)(n - i) * sizeof *to);
  }
}

/* n floats of a type of at most 32 bits. */
static void to_floats(mpisift_type type, const char *p, int n, float *to)
{
  if (type == MPISIFT_F16)
    shorts_to_floats(p, n, true, to);
  else if (type == MPISIFT_BF16)
    shorts_to_floats(p, n, false, to);
  else
    memcpy(to, p, (size_t)n * sizeof *to);
}

/* n <= TILE doubles, and zeros up to the next whole vector. */
static void to_doubles(mpisift_type type, const char *p, int n, double *to)
{
  float floats[TILE];
  int i = 0;

  for (int end = (n + DOUBLES - 1) / DOUBLES * DOUBLES, k = n; k < end; k++)
    to[k] = 0;
  if (type == MPISIFT_F64) {
    memcpy(to, p, (size_t)n * sizeof *to);
    return;
  }
  to_floats(type, p, n, floats);
  for (; i + DOUBLES <= n; i += DOUBLES) {
    vfloat_half half;
    vdouble value;

    memcpy(&half, floats + i, sizeof half);
    value = widen(half);
    memcpy(to + i, &value, sizeof value);
  }
  for (; i < n; i++)
    to[i] = (double)floats[i];
}

INLINE double to_double(mpisift_type type, const char *p)
{
  double value;
  float narrow;

  if (type == MPISIFT_F64) {
    memcpy(&value, p, sizeof value);
    return value;
  }
  if (type == MPISIFT_F32)
    memcpy(&narrow, p, sizeof narrow);
  else
    to_floats(type, p, 1, &narrow);
  return (double)narrow;
}

#endif
