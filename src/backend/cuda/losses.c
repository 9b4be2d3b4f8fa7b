#include <cuda_runtime_api.h>

#include "backend/cuda/device.h"
#include "backend/cuda/kernels.h"

_Static_assert((int)MSIFT_CUDA_F32 == MPISIFT_F32 && (int)MSIFT_CUDA_F64 == MPISIFT_F64 &&
                   (int)MSIFT_CUDA_F16 == MPISIFT_F16 && (int)MSIFT_CUDA_BF16 == MPISIFT_BF16 &&
                   (int)MSIFT_CUDA_U8 == MPISIFT_U8 && (int)MSIFT_CUDA_U16 == MPISIFT_U16 &&
                   (int)MSIFT_CUDA_I32 == MPISIFT_I32 && (int)MSIFT_CUDA_I64 == MPISIFT_I64,
               "types differ");
_Static_assert((int)MSIFT_CUDA_CROSS_ENTROPY == MPISIFT_CROSS_ENTROPY && (int)MSIFT_CUDA_NLL == MPISIFT_NLL &&
                   (int)MSIFT_CUDA_FOCAL == MPISIFT_FOCAL && (int)MSIFT_CUDA_KL == MPISIFT_KL &&
                   (int)MSIFT_CUDA_BCE == MPISIFT_BCE && (int)MSIFT_CUDA_MSE == MPISIFT_MSE &&
                   (int)MSIFT_CUDA_L1 == MPISIFT_L1 && (int)MSIFT_CUDA_HUBER == MPISIFT_HUBER &&
                   (int)MSIFT_CUDA_HINGE == MPISIFT_HINGE,
               "kinds differ");
_Static_assert(sizeof(struct msift_cuda_sum) == sizeof(mpisift_token_sum), "sums differ");

static struct msift_cuda_values to_values(mpisift_values values)
{
  return (struct msift_cuda_values){values.data, (int)values.type, values.stride};
}

static struct msift_cuda_losses to_job(const struct msift_losses *job, const mpisift_scores *scores)
{
  const mpisift_loss *spec = &job->spec;

  return (struct msift_cuda_losses){
      .kind = (int)spec->kind,
      .sum = spec->reduction == MPISIFT_SUM,
      .n = job->n,
      .columns = job->columns,
      .tokens = spec->tokens,
      .logits = to_values(job->logits),
      .targets = to_values(job->targets),
      .labels = msift_is_label_type(job->targets.type),
      .ignore = spec->ignore,
      .ignore_index = spec->ignore_index,
      .class_weights = spec->class_weights,
      .pos_weights = spec->pos_weights,
      .label_smoothing = spec->label_smoothing,
      .huber_delta = spec->huber_delta,
      .focal_gamma = spec->focal_gamma,
      .scores = {scores->loss, scores->bound, scores->confidence, scores->entropy, scores->margin, scores->correct},
      .group = scores->group};
}

/* The rows' scores first, in memory that is had and given back in the stream's order. */
static mpisift_status reduce_tokens(const struct msift_cuda_losses *job, cudaStream_t stream, struct msift_error *error)
{
  int64_t rows = job->n * job->tokens, wanted = 0;
  struct msift_cuda_losses each = *job;
  mpisift_status status;
  float *scratch;

  for (int k = 0; k < MSIFT_CUDA_SCORES; k++)
    wanted += job->scores[k] != NULL;
  MSIFT_TRY(msift_cuda_check((int)cudaMallocAsync((void **)&scratch, (size_t)(rows * wanted) * sizeof *scratch, stream),
                             "mpisift_losses_cuda: cudaMallocAsync", error));
  for (int k = 0, at = 0; k < MSIFT_CUDA_SCORES; k++)
    each.scores[k] = job->scores[k] == NULL ? NULL : scratch + rows * at++;
  status = msift_cuda_check(msift_cuda_launch_rows(&each, stream), "mpisift_losses_cuda: launching a kernel", error);
  if (status == MPISIFT_OK)
    status = msift_cuda_check(msift_cuda_launch_reduce(job, each.scores, stream),
                              "mpisift_losses_cuda: launching a kernel", error);
  msift_cuda_check((int)cudaFreeAsync(scratch, stream), "mpisift_losses_cuda: cudaFreeAsync", error);
  return status != MPISIFT_OK ? status : error->status;
}

struct array {
  const void *data;
  const char *name;
};

/* Those that are given are memory of the device. */
static mpisift_status check_arrays(const struct array *arrays, size_t n, const char *call, struct msift_error *error)
{
  MSIFT_TRY(msift_device_cuda.check_past(call, error));
  for (size_t i = 0; i < n; i++)
    if (arrays[i].data != NULL &&
        msift_device_cuda.check_pointer(arrays[i].data, arrays[i].name, error) != MPISIFT_OK) {
      msift_error_prefix(error, "%s: ", call);
      return error->status;
    }
  return MPISIFT_OK;
}

static mpisift_status check_losses(const struct msift_losses *job, const mpisift_scores *scores,
                                   struct msift_error *error)
{
  const struct array arrays[] = {{job->logits.data, "logits"},
                                 {job->targets.data, "targets"},
                                 {job->spec.class_weights, "loss.class_weights"},
                                 {job->spec.pos_weights, "loss.pos_weights"},
                                 {scores->loss, "scores.loss"},
                                 {scores->bound, "scores.bound"},
                                 {scores->confidence, "scores.confidence"},
                                 {scores->group, "scores.group"},
                                 {scores->entropy, "scores.entropy"},
                                 {scores->margin, "scores.margin"},
                                 {scores->correct, "scores.correct"}};

  return check_arrays(arrays, sizeof arrays / sizeof *arrays, "mpisift_losses_cuda", error);
}

static mpisift_status check_tokens(const struct msift_tokens *job, struct msift_error *error)
{
  const struct array arrays[] = {
      {job->tokens.data, "tokens"}, {job->labels.data, "labels"}, {job->sums, "sums"}, {job->losses, "losses"}};

  return check_arrays(arrays, sizeof arrays / sizeof *arrays, "mpisift_token_losses_cuda", error);
}

mpisift_status msift_cuda_losses(const struct msift_losses *job, const mpisift_scores *scores, void *stream,
                                 struct msift_error *error)
{
  struct msift_cuda_losses device = to_job(job, scores);

  MSIFT_TRY(check_losses(job, scores, error));
  if (job->spec.tokens > 1)
    return reduce_tokens(&device, stream, error);
  return msift_cuda_check(msift_cuda_launch_rows(&device, stream), "mpisift_losses_cuda: launching a kernel", error);
}

mpisift_status msift_cuda_tokens(const struct msift_tokens *job, void *stream, struct msift_error *error)
{
  struct msift_cuda_tokens device = {.sum = job->spec.reduction == MPISIFT_SUM,
                                     .n = job->n,
                                     .tokens = job->spec.tokens,
                                     .losses = to_values(job->tokens),
                                     .labels = to_values(job->labels),
                                     .ignore = job->spec.ignore,
                                     .ignore_index = job->spec.ignore_index,
                                     .sums = (struct msift_cuda_sum *)(void *)job->sums,
                                     .out = job->losses};

  MSIFT_TRY(check_tokens(job, error));
  return msift_cuda_check(msift_cuda_launch_tokens(&device, stream), "mpisift_token_losses_cuda: launching a kernel",
                          error);
}
