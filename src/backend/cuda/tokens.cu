/* Tokens to samples: a thread adds up a sample's tokens one after the other, as the CPU does. */
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

__global__ void add_tokens(const msift_cuda_tokens job)
{
  int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
  msift_cuda_sum sum = {0, 0};

  if (i >= job.n)
    return;
  if (job.sums != nullptr)
    sum = job.sums[i];
  for (int64_t t = 0; t < job.tokens; t++) {
    if (job.ignore && label_at(job.labels, i * job.labels.stride + t) == job.ignore_index)
      continue;
    sum.losses += number_at(job.losses, i * job.losses.stride + t);
    sum.tokens++;
  }
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
