/* Conversion of elements: every type to every type against the values written, every float of 16 bits, the edges of
 * ranges, rounding, NaN and infinities, and where a value that does not fit is found. */
#include "base/convert.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

enum { TYPES = MPISIFT_I64 + 1, MANY = 1700 };

static const mpisift_type targets[] = {MPISIFT_F32, MPISIFT_F64, MPISIFT_I32, MPISIFT_I64};
static const struct msift_scaling as_it_is = {1, 0};

/* The 16 bits of an integer from −128 to 127, exact in both formats: made from float32, whose upper half bfloat16 is.
 */
static uint16_t small_half(int value, bool bfloat)
{
  float f = (float)value;
  uint32_t bits;

  memcpy(&bits, &f, sizeof bits);
  if (bfloat || value == 0)
    return (uint16_t)(bits >> 16);
  return (uint16_t)((bits >> 16 & 0x8000) | ((bits >> 23 & 255) - 127 + 15) << 10 | (bits >> 13 & 1023));
}

static void write_value(mpisift_type type, void *array, int64_t i, int value)
{
  int64_t wide = value;

  switch (type) {
  case MPISIFT_F32:
    ((float *)array)[i] = (float)value;
    break;
  case MPISIFT_F64:
    ((double *)array)[i] = value;
    break;
  case MPISIFT_F16:
  case MPISIFT_BF16:
    ((uint16_t *)array)[i] = small_half(value, type == MPISIFT_BF16);
    break;
  default: /* little-endian two's complement */
    memcpy((unsigned char *)array + (size_t)i * mpisift_type_size(type), &wide, mpisift_type_size(type));
  }
}

static double read_value(mpisift_type type, const void *array, int64_t i)
{
  switch (type) {
  case MPISIFT_F32:
    return (double)((const float *)array)[i];
  case MPISIFT_F64:
    return ((const double *)array)[i];
  case MPISIFT_I32:
    return ((const int32_t *)array)[i];
  default:
    return (double)((const int64_t *)array)[i];
  }
}

static bool is_unsigned(mpisift_type type)
{
  return type == MPISIFT_U8 || type == MPISIFT_U16 || type == MPISIFT_U32 || type == MPISIFT_U64;
}

static int value_of(mpisift_type type, int64_t i)
{
  int value = (int)(i * 37 % 128);

  return is_unsigned(type) || i % 2 == 0 ? value : -value - 1;
}

static int count_wrong(mpisift_type in, mpisift_type out, struct msift_scaling scaling, void *from, void *to)
{
  int wrong = 0;

  for (int64_t i = 0; i < MANY; i++)
    write_value(in, from, i, value_of(in, i));
  wrong += msift_convert(in, from, out, to, MANY, scaling) != MANY;
  for (int64_t i = 0; i < MANY; i++) {
    double value = value_of(in, i) * scaling.scale + scaling.offset;

    wrong += read_value(out, to, i) != (out == MPISIFT_I32 || out == MPISIFT_I64 ? nearbyint(value) : value);
  }
  return wrong;
}

static void all_pairs(void)
{
  static const struct msift_scaling scalings[] = {{1, 0}, {0.5, 0}, {1, -3}, {-2, 0.25}};
  double *from = calloc(MANY, 8), *to = calloc(MANY, 8);

  for (int pair = 0; pair < TYPES * 4; pair++)
    for (int s = 0; s < 4; s++)
      CU_ASSERT_EQUAL(count_wrong((mpisift_type)(pair / 4), targets[pair % 4], scalings[s], from, to), 0);
  free(from);
  free(to);
}

/* Half precision by its definition, from the sign, exponent and fraction, for all of its values. */
static void all_halves(void)
{
  int wrong = 0;

  for (int bits = 0; bits < 65536; bits++) {
    uint16_t half = (uint16_t)bits;
    int exponent = bits / 1024 % 32, fraction = bits % 1024;
    double size = pow(2, exponent > 0 ? exponent - 15 : -14) * ((exponent > 0) + fraction / 1024.0), value;
    float narrow;

    size = exponent < 31 ? size : fraction > 0 ? NAN : INFINITY;
    wrong += msift_convert(MPISIFT_F16, &half, MPISIFT_F64, &value, 1, as_it_is) != 1;
    wrong += msift_convert(MPISIFT_F16, &half, MPISIFT_F32, &narrow, 1, as_it_is) != 1;
    wrong += isnan(size) ? !isnan(value) || !isnan(narrow) : value != (bits < 32768 ? size : -size);
    wrong += !isnan(size) && ((double)narrow != value || !signbit(value) != (bits < 32768));
  }
  CU_ASSERT_EQUAL(wrong, 0);
}

/* bfloat16 is the upper half of float32. */
static void all_bfloats(void)
{
  int wrong = 0;

  for (int bits = 0; bits < 65536; bits++) {
    uint16_t in = (uint16_t)bits;
    uint32_t wide = (uint32_t)bits << 16;
    float out, wanted;

    memcpy(&wanted, &wide, sizeof wanted);
    wrong += msift_convert(MPISIFT_BF16, &in, MPISIFT_F32, &out, 1, as_it_is) != 1;
    wrong += isnan(wanted) ? !isnan(out) : memcmp(&out, &wanted, sizeof out) != 0;
  }
  CU_ASSERT_EQUAL(wrong, 0);
}

/* Whether a single value fits, with the result in *to. */
static bool fits(mpisift_type in, const void *value, mpisift_type out, void *to, struct msift_scaling scaling)
{
  return msift_convert(in, value, out, to, 1, scaling) == 1;
}

static void exact_integers(void)
{
  int64_t large = INT64_MAX - 2, least = INT64_MIN, to;
  uint64_t most = UINT64_C(1) << 63, below = most - 1;
  double wide;

  CU_ASSERT(fits(MPISIFT_I64, &large, MPISIFT_I64, &to, as_it_is) && to == large);
  CU_ASSERT(fits(MPISIFT_I64, &least, MPISIFT_I64, &to, as_it_is) && to == least);
  CU_ASSERT(fits(MPISIFT_U64, &below, MPISIFT_I64, &to, as_it_is) && to == INT64_MAX);
  CU_ASSERT_FALSE(fits(MPISIFT_U64, &most, MPISIFT_I64, &to, as_it_is));
  CU_ASSERT(fits(MPISIFT_U64, &most, MPISIFT_F64, &wide, as_it_is) && wide == 0x1p63);
  CU_ASSERT_FALSE(fits(MPISIFT_I64, &large, MPISIFT_I64, &to, (struct msift_scaling){1, 1})); /* by way of 2^63 */
}

static void edges_of_int32(void)
{
  const int64_t inside[] = {INT32_MAX, INT32_MIN}, outside[] = {INT64_C(2147483648), INT64_C(-2147483649)};
  const double fractions[] = {2147483647.4, -2147483648.5}, beyond[] = {2147483647.5, -2147483648.6};
  const uint32_t word = UINT32_MAX;
  int32_t to;

  for (int i = 0; i < 2; i++) {
    CU_ASSERT(fits(MPISIFT_I64, &inside[i], MPISIFT_I32, &to, as_it_is) && to == inside[i]);
    CU_ASSERT_FALSE(fits(MPISIFT_I64, &outside[i], MPISIFT_I32, &to, as_it_is));
    CU_ASSERT(fits(MPISIFT_F64, &fractions[i], MPISIFT_I32, &to, as_it_is) && to == inside[i]);
    CU_ASSERT_FALSE(fits(MPISIFT_F64, &beyond[i], MPISIFT_I32, &to, as_it_is));
  }
  CU_ASSERT_FALSE(fits(MPISIFT_U32, &word, MPISIFT_I32, &to, as_it_is));
}

static void edges_of_int64(void)
{
  const double least = -0x1p63, end = 0x1p63, below = 0x1.fffffffffffffp62;
  int64_t to;

  CU_ASSERT(fits(MPISIFT_F64, &least, MPISIFT_I64, &to, as_it_is) && to == INT64_MIN);
  CU_ASSERT(fits(MPISIFT_F64, &below, MPISIFT_I64, &to, as_it_is) && to == INT64_MAX - 1023);
  CU_ASSERT_FALSE(fits(MPISIFT_F64, &end, MPISIFT_I64, &to, as_it_is));
}

static void ties_to_even(void)
{
  const float halves[] = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 2.4f, -2.6f};
  const int32_t wanted[] = {0, 2, 2, 0, -2, -2, 2, -3};
  int32_t to[8];

  CU_ASSERT_EQUAL(msift_convert(MPISIFT_F32, halves, MPISIFT_I32, to, 8, as_it_is), 8);
  CU_ASSERT_EQUAL(memcmp(to, wanted, sizeof to), 0);
}

static void not_finite(void)
{
  const double values[] = {NAN, INFINITY, -INFINITY};
  double wide[3];
  float narrow[3];
  int64_t integer;

  CU_ASSERT_EQUAL(msift_convert(MPISIFT_F64, values, MPISIFT_F32, narrow, 3, (struct msift_scaling){-2, 1}), 3);
  CU_ASSERT(isnan(narrow[0]) && narrow[1] == -INFINITY && narrow[2] == INFINITY);
  CU_ASSERT_EQUAL(msift_convert(MPISIFT_F64, values, MPISIFT_F64, wide, 3, as_it_is), 3);
  CU_ASSERT(isnan(wide[0]) && wide[1] == INFINITY && wide[2] == -INFINITY);
  for (int i = 0; i < 3; i++) {
    CU_ASSERT_FALSE(fits(MPISIFT_F64, &values[i], MPISIFT_I32, &integer, as_it_is));
    CU_ASSERT_FALSE(fits(MPISIFT_F64, &values[i], MPISIFT_I64, &integer, as_it_is));
  }
}

/* What was finite stays so, or is refused. */
static void overflow(void)
{
  const double large = 1e300, most = 3.4028234663852886e38, above = 3.5e38;
  double wide;
  float narrow;

  CU_ASSERT(fits(MPISIFT_F64, &most, MPISIFT_F32, &narrow, as_it_is) && (double)narrow == most);
  CU_ASSERT_FALSE(fits(MPISIFT_F64, &above, MPISIFT_F32, &narrow, as_it_is));
  CU_ASSERT_FALSE(fits(MPISIFT_F64, &large, MPISIFT_F64, &wide, (struct msift_scaling){1e10, 0}));
  CU_ASSERT(fits(MPISIFT_F64, &large, MPISIFT_F32, &narrow, (struct msift_scaling){1e-290, 0}));
}

/* The first that does not fit, wherever it is. */
static void first_misfit(void)
{
  int64_t *values = calloc(MANY, sizeof *values), wrong = 0;
  int32_t *to = calloc(MANY, sizeof *to);

  for (int64_t at = 0; at < MANY; at += 7) {
    values[at] = INT64_C(1) << 40;
    values[MANY - 1] = INT64_MIN;
    wrong += msift_convert(MPISIFT_I64, values, MPISIFT_I32, to, MANY, as_it_is) != at;
    wrong += msift_convert(MPISIFT_I64, values, MPISIFT_I32, to, MANY, (struct msift_scaling){2, 0}) != at;
    wrong += msift_convert(MPISIFT_I64, values, MPISIFT_I32, to, at, as_it_is) != at;
    values[at] = 0;
  }
  CU_ASSERT_EQUAL(wrong, 0);
  CU_ASSERT_EQUAL(msift_convert(MPISIFT_I64, values, MPISIFT_I32, to, 0, as_it_is), 0);
  free(values);
  free(to);
}

static void digits(void)
{
  const uint64_t most = UINT64_MAX;
  const int64_t least = INT64_MIN;
  const float number = 1.5f;
  const uint16_t halves[] = {0, 0x7c00};
  char text[64];

  msift_element_text(MPISIFT_U64, &most, 0, text, sizeof text);
  CU_ASSERT_STRING_EQUAL(text, "18446744073709551615");
  msift_element_text(MPISIFT_I64, &least, 0, text, sizeof text);
  CU_ASSERT_STRING_EQUAL(text, "-9223372036854775808");
  msift_element_text(MPISIFT_F32, &number, 0, text, sizeof text);
  CU_ASSERT_STRING_EQUAL(text, "1.5");
  msift_element_text(MPISIFT_F16, halves, 1, text, sizeof text);
  CU_ASSERT_STRING_EQUAL(text, "inf");
}

TEST_MAIN("convert", {"all pairs", all_pairs}, {"all halves", all_halves}, {"all bfloats", all_bfloats},
          {"exact integers", exact_integers}, {"edges of int32", edges_of_int32}, {"edges of int64", edges_of_int64},
          {"ties to even", ties_to_even}, {"not finite", not_finite}, {"overflow", overflow},
          {"first misfit", first_misfit}, {"digits", digits})
