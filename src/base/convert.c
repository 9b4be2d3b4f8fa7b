#include "base/convert.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/half.h"

/* Elements at a time: their intermediate form stays in the first cache. */
enum { PIECE = 512 };

/* Cases of a switch over mpisift_type: each element of type T by VALUE. */
#define LOAD(TYPE, T, VALUE)                                                                                           \
  case TYPE:                                                                                                           \
    for (int64_t i = 0; i < n; i++)                                                                                    \
      out[i] = VALUE(((const T *)from)[i]);                                                                            \
    break

static void load_doubles(mpisift_type type, const void *from, int64_t n, double *out)
{
  switch (type) {
    LOAD(MPISIFT_F32, float, (double));
    LOAD(MPISIFT_F64, double, (double));
    LOAD(MPISIFT_F16, uint16_t, (double)msift_half);
    LOAD(MPISIFT_BF16, uint16_t, (double)msift_bfloat);
    LOAD(MPISIFT_U8, uint8_t, (double));
    LOAD(MPISIFT_I8, int8_t, (double));
    LOAD(MPISIFT_U16, uint16_t, (double));
    LOAD(MPISIFT_I16, int16_t, (double));
    LOAD(MPISIFT_U32, uint32_t, (double));
    LOAD(MPISIFT_I32, int32_t, (double));
    LOAD(MPISIFT_U64, uint64_t, (double));
    LOAD(MPISIFT_I64, int64_t, (double));
  }
}

/* Of an integer type. False: a value is above those of int64. */
static bool load_integers(mpisift_type type, const void *from, int64_t n, int64_t *out)
{
  bool fits = true;

  switch (type) {
    LOAD(MPISIFT_U8, uint8_t, (int64_t));
    LOAD(MPISIFT_I8, int8_t, (int64_t));
    LOAD(MPISIFT_U16, uint16_t, (int64_t));
    LOAD(MPISIFT_I16, int16_t, (int64_t));
    LOAD(MPISIFT_U32, uint32_t, (int64_t));
    LOAD(MPISIFT_I32, int32_t, (int64_t));
    LOAD(MPISIFT_U64, uint64_t, (int64_t));
    LOAD(MPISIFT_I64, int64_t, (int64_t));
  default:
    return false;
  }
  for (int64_t i = 0; i < n && type == MPISIFT_U64; i++)
    fits &= out[i] >= 0;
  return fits;
}

static bool is_integer(mpisift_type type)
{
  return type >= MPISIFT_U8;
}

bool msift_converts_to(mpisift_type type)
{
  return type == MPISIFT_F32 || type == MPISIFT_F64 || type == MPISIFT_I32 || type == MPISIFT_I64;
}

static bool store_integers(const int64_t *values, int64_t n, mpisift_type type, void *to)
{
  bool fits = true;

  if (type == MPISIFT_I64) {
    memcpy(to, values, (size_t)n * sizeof *values);
    return true;
  }
  for (int64_t i = 0; i < n; i++) {
    ((int32_t *)to)[i] = (int32_t)values[i];
    fits &= values[i] == (int32_t)values[i];
  }
  return fits;
}

/* Only a value that was finite can grow out of range. */
static bool scale(double *values, int64_t n, struct msift_scaling scaling)
{
  bool fits = true;

  for (int64_t i = 0; i < n; i++) {
    double scaled = values[i] * scaling.scale + scaling.offset;

    fits &= !isfinite(values[i]) || isfinite(scaled);
    values[i] = scaled;
  }
  return fits;
}

static bool store_floats(const double *values, int64_t n, float *to)
{
  bool fits = true;

  for (int64_t i = 0; i < n; i++) {
    to[i] = (float)values[i];
    fits &= !isfinite(values[i]) || isfinite(to[i]);
  }
  return fits;
}

/* NaN lies in no range. */
static bool round_doubles(const double *values, int64_t n, mpisift_type type, int64_t *out)
{
  double end = type == MPISIFT_I32 ? 0x1p31 : 0x1p63;

  for (int64_t i = 0; i < n; i++) {
    double value = rint(values[i]);

    if (!(value >= -end && value < end))
      return false;
    out[i] = (int64_t)value;
  }
  return true;
}

static bool convert_piece(mpisift_type from_type, const void *from, mpisift_type to_type, void *to, int64_t n,
                          struct msift_scaling scaling)
{
  bool scaled = scaling.scale != 1 || scaling.offset != 0;
  int64_t integers[PIECE];
  double values[PIECE];

  if (is_integer(from_type) && is_integer(to_type) && !scaled)
    return load_integers(from_type, from, n, integers) && store_integers(integers, n, to_type, to);
  load_doubles(from_type, from, n, values);
  if (scaled && !scale(values, n, scaling))
    return false;
  if (to_type == MPISIFT_F32)
    return store_floats(values, n, to);
  if (to_type == MPISIFT_F64)
    memcpy(to, values, (size_t)n * sizeof *values);
  else
    return round_doubles(values, n, to_type, integers) && store_integers(integers, n, to_type, to);
  return true;
}

/* Elements from i on: where they begin. */
static const void *element(mpisift_type type, const void *elements, int64_t i)
{
  return (const unsigned char *)elements + (size_t)i * mpisift_type_size(type);
}

/* Once more, one by one. */
static int64_t find_misfit(mpisift_type from_type, const void *from, mpisift_type to_type, int64_t n,
                           struct msift_scaling scaling)
{
  int64_t i = 0, one;

  while (i < n && convert_piece(from_type, element(from_type, from, i), to_type, &one, 1, scaling))
    i++;
  return i;
}

int64_t msift_convert(mpisift_type from_type, const void *from, mpisift_type to_type, void *to, int64_t n,
                      struct msift_scaling scaling)
{
  for (int64_t first = 0; first < n; first += PIECE) {
    const void *in = element(from_type, from, first);
    unsigned char *out = (unsigned char *)to + (size_t)first * mpisift_type_size(to_type);
    int64_t piece = n - first < PIECE ? n - first : PIECE;

    if (!convert_piece(from_type, in, to_type, out, piece, scaling))
      return first + find_misfit(from_type, in, to_type, piece, scaling);
  }
  return n;
}

void msift_element_text(mpisift_type type, const void *elements, int64_t i, char *text, size_t size)
{
  const void *at = element(type, elements, i);
  int64_t integer;
  double value;

  load_doubles(type, at, 1, &value);
  if (!is_integer(type))
    snprintf(text, size, "%.9g", value);
  else if (load_integers(type, at, 1, &integer))
    snprintf(text, size, "%" PRId64, integer);
  else
    snprintf(text, size, "%" PRIu64, (uint64_t)integer);
}
