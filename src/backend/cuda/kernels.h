/* Launchers of the CUDA kernels, as seen from C. CUDA sources include nothing else of ours: no MPI, no config.h. Return
 * the cudaError_t of the launch; nothing waits. */
#ifndef MSIFT_BACKEND_CUDA_KERNELS_H
#define MSIFT_BACKEND_CUDA_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* As mpisift_type, mpisift_loss_kind and mpisift_reduction; losses.c asserts it. */
enum msift_cuda_type {
  MSIFT_CUDA_F32 = 0,
  MSIFT_CUDA_F64 = 1,
  MSIFT_CUDA_F16 = 2,
  MSIFT_CUDA_BF16 = 3,
  MSIFT_CUDA_U8 = 4,
  MSIFT_CUDA_U16 = 6,
  MSIFT_CUDA_I32 = 9,
  MSIFT_CUDA_I64 = 11
};
enum msift_cuda_kind {
  MSIFT_CUDA_CROSS_ENTROPY,
  MSIFT_CUDA_NLL,
  MSIFT_CUDA_FOCAL,
  MSIFT_CUDA_KL,
  MSIFT_CUDA_BCE,
  MSIFT_CUDA_MSE,
  MSIFT_CUDA_L1,
  MSIFT_CUDA_HUBER,
  MSIFT_CUDA_HINGE
};
enum {
  MSIFT_CUDA_LOSS,
  MSIFT_CUDA_BOUND,
  MSIFT_CUDA_CONFIDENCE,
  MSIFT_CUDA_ENTROPY,
  MSIFT_CUDA_MARGIN,
  MSIFT_CUDA_CORRECT,
  MSIFT_CUDA_SCORES
};

struct msift_cuda_values {
  const void *data;
  int type;
  int64_t stride;
};

struct msift_cuda_losses {
  int kind, sum; /* sum: of tokens, else mean */
  int64_t n, columns, tokens;
  struct msift_cuda_values logits, targets;
  int labels; /* the targets are labels */
  int ignore;
  int64_t ignore_index;
  const float *class_weights, *pos_weights;
  double label_smoothing, huber_delta, focal_gamma;
  float *scores[MSIFT_CUDA_SCORES]; /* NULL: not wanted */
  int32_t *group;
};

/* Rows of scores before tokens are reduced: [tokens n] each of what is wanted. */
int msift_cuda_launch_rows(const struct msift_cuda_losses *job, void *stream);

/* Reduce `rows`, [tokens n] each, to the job's scores. */
int msift_cuda_launch_reduce(const struct msift_cuda_losses *job, float *const rows[MSIFT_CUDA_SCORES], void *stream);

struct msift_cuda_sum {
  double losses;
  int64_t tokens;
};

struct msift_cuda_tokens {
  int sum;
  int64_t n, tokens;
  struct msift_cuda_values losses, labels;
  int ignore;
  int64_t ignore_index;
  struct msift_cuda_sum *sums; /* may be NULL */
  float *out;                  /* may be NULL */
};

int msift_cuda_launch_tokens(const struct msift_cuda_tokens *job, void *stream);

#ifdef __cplusplus
}
#endif
#endif
