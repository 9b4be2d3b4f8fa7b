/* Elements of any type, and sums over the threads that share a row. */
#ifndef MSIFT_BACKEND_CUDA_LOAD_CUH
#define MSIFT_BACKEND_CUDA_LOAD_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "backend/cuda/kernels.h"

enum { THREADS = 256, WARP = 32 };

/* Enough blocks of THREADS for n, or 0 where there are too many. */
static inline unsigned blocks_of(int64_t n, int64_t in_block)
{
  int64_t blocks = (n + in_block - 1) / in_block;

  return blocks <= INT32_MAX ? (unsigned)blocks : 0;
}

/* What values of a type are computed in. */
template <typename T> struct arithmetic {
  typedef float real;
};
template <> struct arithmetic<double> {
  typedef double real;
};

__device__ inline float value_of(float x)
{
  return x;
}

__device__ inline double value_of(double x)
{
  return x;
}

__device__ inline float value_of(__half x)
{
  return __half2float(x);
}

__device__ inline float value_of(__nv_bfloat16 x)
{
  return __bfloat162float(x);
}

/* Labels as they are. */
template <typename T> __device__ inline T value_of(T x)
{
  return x;
}

__device__ inline double number_at(const msift_cuda_values &values, int64_t i)
{
  switch (values.type) {
  case MSIFT_CUDA_F64:
    return ((const double *)values.data)[i];
  case MSIFT_CUDA_F16:
    return __half2float(((const __half *)values.data)[i]);
  case MSIFT_CUDA_BF16:
    return __bfloat162float(((const __nv_bfloat16 *)values.data)[i]);
  default:
    return ((const float *)values.data)[i];
  }
}

__device__ inline int64_t label_at(const msift_cuda_values &labels, int64_t i)
{
  switch (labels.type) {
  case MSIFT_CUDA_U8:
    return ((const uint8_t *)labels.data)[i];
  case MSIFT_CUDA_U16:
    return ((const uint16_t *)labels.data)[i];
  case MSIFT_CUDA_I32:
    return ((const int32_t *)labels.data)[i];
  default:
    return ((const int64_t *)labels.data)[i];
  }
}

__device__ inline double weight_at(const float *weights, int64_t c)
{
  return weights == nullptr ? 1 : (double)weights[c];
}

/* The threads of a row: a power of two up to a warp, or the block. All threads of a block call the reductions, and all
 * of a row get the same result. */
struct team {
  int size, lane;
};

template <typename V, typename Op> __device__ inline V reduce(const team &t, V value, Op op)
{
  __shared__ V parts[THREADS / WARP];

  for (int o = (t.size < WARP ? t.size : WARP) / 2; o > 0; o /= 2)
    value = op(value, __shfl_xor_sync(0xffffffffu, value, o));
  if (t.size <= WARP)
    return value;
  if (t.lane % WARP == 0)
    parts[t.lane / WARP] = value;
  __syncthreads();
  value = parts[0];
  for (int i = 1; i < THREADS / WARP; i++)
    value = op(value, parts[i]);
  __syncthreads();
  return value;
}

struct larger {
  template <typename V> __device__ V operator()(V a, V b) const { return a > b ? a : b; }
};

struct smaller {
  template <typename V> __device__ V operator()(V a, V b) const { return a < b ? a : b; }
};

struct added {
  template <typename V> __device__ V operator()(V a, V b) const { return a + b; }
};

#endif
