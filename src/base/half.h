/* Floats of 16 bits. */
#ifndef MSIFT_BASE_HALF_H
#define MSIFT_BASE_HALF_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* IEEE half precision. */
static inline float msift_half(uint16_t bits)
{
  int exponent = bits >> 10 & 31, fraction = bits & 1023;
  float value = exponent == 0 ? ldexpf((float)fraction, -24) : ldexpf((float)(1024 + fraction), exponent - 25);

  if (exponent == 31)
    value = fraction == 0 ? INFINITY : NAN;
  return (bits & 0x8000) != 0 ? -value : value;
}

/* bfloat16. */
static inline float msift_bfloat(uint16_t bits)
{
  uint32_t word = (uint32_t)bits << 16;
  float value;

  memcpy(&value, &word, sizeof value);
  return value;
}

#endif
