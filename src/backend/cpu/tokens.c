#include "backend/cpu/losses.h"
#include "base/half.h"

static double loss_at(const mpisift_values *tokens, int64_t i)
{
  switch (tokens->type) {
  case MPISIFT_F64:
    return ((const double *)tokens->data)[i];
  case MPISIFT_F16:
    return (double)msift_half(((const uint16_t *)tokens->data)[i]);
  case MPISIFT_BF16:
    return (double)msift_bfloat(((const uint16_t *)tokens->data)[i]);
  default:
    return (double)((const float *)tokens->data)[i];
  }
}

static int64_t label_at(const mpisift_values *labels, int64_t i)
{
  switch (labels->type) {
  case MPISIFT_U8:
    return ((const uint8_t *)labels->data)[i];
  case MPISIFT_U16:
    return ((const uint16_t *)labels->data)[i];
  case MPISIFT_I32:
    return ((const int32_t *)labels->data)[i];
  default:
    return ((const int64_t *)labels->data)[i];
  }
}

static void add_tokens(const struct msift_tokens *job, int64_t i, mpisift_token_sum *sum)
{
  for (int64_t t = 0; t < job->spec.tokens; t++) {
    if (job->spec.ignore && label_at(&job->labels, i * job->labels.stride + t) == job->spec.ignore_index)
      continue;
    sum->losses += loss_at(&job->tokens, i * job->tokens.stride + t);
    sum->tokens++;
  }
}

void msift_cpu_tokens(const struct msift_tokens *job)
{
  for (int64_t i = 0; i < job->n; i++) {
    mpisift_token_sum sum = job->sums != NULL ? job->sums[i] : (mpisift_token_sum){0};

    add_tokens(job, i, &sum);
    if (job->sums != NULL)
      job->sums[i] = sum;
    if (job->losses != NULL)
      job->losses[i] =
          (float)(sum.losses / (job->spec.reduction == MPISIFT_SUM || sum.tokens == 0 ? 1 : (double)sum.tokens));
  }
}
