#include "tools/bench_bare.h"

#include <float.h>

#include "backend/cpu/simd.h"

static double read_all(const float *x, int64_t n)
{
  vfloat sums[4] = {{0}};
  int64_t i = 0;

  for (; i + 4 * FLOATS <= n; i += 4 * FLOATS)
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++)
      sums[k] += float_load(x + i + k * FLOATS);
  for (; i < n; i++)
    sums[0][0] += x[i];
  return float_total(sums[0] + sums[1] + sums[2] + sums[3]);
}

static float find_top(const float *x, int64_t columns)
{
  vfloat top[4] = {float_set(-FLT_MAX), float_set(-FLT_MAX), float_set(-FLT_MAX), float_set(-FLT_MAX)};
  int64_t c = 0;

  for (; c + 4 * FLOATS <= columns; c += 4 * FLOATS)
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++)
      top[k] = float_max(float_load(x + c + k * FLOATS), top[k]);
  for (; c < columns; c += FLOATS)
    top[0] =
        float_max(columns - c < FLOATS ? float_part(x + c, (int)(columns - c), -FLT_MAX) : float_load(x + c), top[0]);
  return float_largest(float_max(float_max(top[0], top[1]), float_max(top[2], top[3])));
}

static float sum_row(const float *x, int64_t columns, float top)
{
  vfloat sums[4] = {{0}}, all;
  int64_t c = 0;

  for (; c + 4 * FLOATS <= columns; c += 4 * FLOATS)
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++)
      sums[k] += float_exp(float_load(x + c + k * FLOATS) - top);
  for (; c < columns; c += FLOATS)
    sums[0] +=
        float_exp((columns - c < FLOATS ? float_part(x + c, (int)(columns - c), -FLT_MAX) : float_load(x + c)) - top);
  all = sums[0] + sums[1] + sums[2] + sums[3];
#pragma GCC unroll 4
  for (int k = FLOATS / 2; k > 0; k /= 2)
    all += SWAP_LANES(vfloat, all, float_lanes(), k);
  return all[0];
}

static void pass(const float *x, int64_t rows, int64_t columns, float *sums)
{
  for (int64_t i = 0; i < rows; i++)
    sums[i] = sum_row(x + i * columns, columns, find_top(x + i * columns, columns));
}

const struct bare BARE = {KERNELS_NAME, read_all, pass};
