/* Tokens to samples: a thread adds up a sample's tokens one after the other, as the CPU does. It reads STEP of them at
 * once, in words of 16 bytes where they are aligned. */
#include "backend/cuda/load.cuh"

struct score_rows {
  const float *rows[MSIFT_CUDA_SCORES];
};

__global__ void reduce_rows(const msift_cuda_losses job, const score_rows from)
{
  int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;

  for (int k = 0; k < MSIFT_CUDA_SCORES && i < job.n; k++) {
    double sum = 0, count = 0;

    if (job.scores[k] == nullptr)
      continue;
    for (int64_t t = 0; t < job.tokens; t++) {
      if (job.ignore && label_at(job.targets, i * job.targets.stride + t) == job.ignore_index)
        continue;
      sum += (double)from.rows[k][i * job.tokens + t];
      count++;
    }
    job.scores[k][i] = (float)(sum / (count == 0 || (job.sum && k <= MSIFT_CUDA_BOUND) ? 1 : count));
  }
}

enum { STEP = 8 };

template <size_t BYTES> struct word {
  typedef uint4 type;
};
template <> struct word<8> {
  typedef uint2 type;
};

/* n <= STEP elements from `first` on, as V. */
template <typename T, typename V> __device__ inline void load_step(const void *data, int64_t first, int n, V *to)
{
  typedef typename word<STEP * sizeof(T)>::type W;
  const T *from = (const T *)data + first;
  alignas(16) T values[STEP];

  if (n == STEP && (uintptr_t)from % sizeof(W) == 0)
#pragma unroll
    for (size_t k = 0; k < sizeof values / sizeof(W); k++)
      ((W *)(void *)values)[k] = ((const W *)(const void *)from)[k];
  else
#pragma unroll
    for (int k = 0; k < STEP; k++)
      values[k] = from[k < n ? k : 0];
#pragma unroll
  for (int k = 0; k < STEP; k++)
    to[k] = (V)value_of(values[k]);
}

__device__ inline void load_numbers(const msift_cuda_values &x, int64_t first, int n, double *to)
{
  switch (x.type) {
  case MSIFT_CUDA_F64:
    return load_step<double>(x.data, first, n, to);
  case MSIFT_CUDA_F16:
    return load_step<__half>(x.data, first, n, to);
  case MSIFT_CUDA_BF16:
    return load_step<__nv_bfloat16>(x.data, first, n, to);
  default:
    return load_step<float>(x.data, first, n, to);
  }
}

__device__ inline void load_labels(const msift_cuda_values &x, int64_t first, int n, int64_t *to)
{
  switch (x.type) {
  case MSIFT_CUDA_U8:
    return load_step<uint8_t>(x.data, first, n, to);
  case MSIFT_CUDA_U16:
    return load_step<uint16_t>(x.data, first, n, to);
  case MSIFT_CUDA_I32:
    return load_step<int32_t>(x.data, first, n, to);
  default:
    return load_step<int64_t>(x.data, first, n, to);
  }
}

__device__ inline void add_step(const msift_cuda_tokens &job, int64_t i, int64_t t, msift_cuda_sum &sum)
{
  int n = job.tokens - t < STEP ? (int)(job.tokens - t) : STEP;
  double losses[STEP];
  int64_t labels[STEP] = {0};

  load_numbers(job.losses, i * job.losses.stride + t, n, losses);
  if (job.ignore)
    load_labels(job.labels, i * job.labels.stride + t, n, labels);
#pragma unroll
  for (int k = 0; k < STEP; k++)
    if (k < n && !(job.ignore && labels[k] == job.ignore_index)) {
      sum.losses += losses[k];
      sum.tokens++;
    }
}

__global__ void add_tokens(const msift_cuda_tokens job)
{
  int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
  msift_cuda_sum sum = {0, 0};

  if (i >= job.n)
    return;
  if (job.sums != nullptr)
    sum = job.sums[i];
  for (int64_t t = 0; t < job.tokens; t += STEP)
    add_step(job, i, t, sum);
  if (job.sums != nullptr)
    job.sums[i] = sum;
  if (job.out != nullptr)
    job.out[i] = (float)(sum.losses / (job.sum || sum.tokens == 0 ? 1 : (double)sum.tokens));
}

extern "C" int msift_cuda_launch_reduce(const struct msift_cuda_losses *job, float *const rows[MSIFT_CUDA_SCORES],
                                        void *stream)
{
  score_rows from;

  for (int k = 0; k < MSIFT_CUDA_SCORES; k++)
    from.rows[k] = rows[k];
  reduce_rows<<<blocks_of(job->n, THREADS), THREADS, 0, (cudaStream_t)stream>>>(*job, from);
  return (int)cudaGetLastError();
}

extern "C" int msift_cuda_launch_tokens(const struct msift_cuda_tokens *job, void *stream)
{
  add_tokens<<<blocks_of(job->n, THREADS), THREADS, 0, (cudaStream_t)stream>>>(*job);
  return (int)cudaGetLastError();
}
