#include <mpisift/cuda.h>

#include "api/context.h"
#include "backend/device.h"

static mpisift_status check_matrix(const char *call, const mpisift_values *values, const char *name, bool taken,
                                   int64_t columns, struct msift_error *error)
{
  if (!taken)
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: %s of type %s are not taken", call, name,
                           mpisift_type_name(values->type));
  if (values->stride != 0 && values->stride < columns)
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: the stride of %s is %lld; it must be 0 or at least loss.tokens",
                           call, name, (long long)values->stride);
  return MPISIFT_OK;
}

static mpisift_status check(const char *call, const struct msift_tokens *job, struct msift_error *error)
{
  int64_t tokens = job->spec.tokens;

  if (job->n < 0 || tokens < 1)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "%s: n is %lld and loss.tokens %lld; n >= 0 and tokens >= 0 are needed", call,
                           (long long)job->n, (long long)tokens);
  if ((unsigned)job->spec.reduction > MPISIFT_SUM)
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: loss.reduction is %d: unknown", call, (int)job->spec.reduction);
  MSIFT_TRY(check_matrix(call, &job->tokens, "tokens", msift_is_float_type(job->tokens.type), tokens, error));
  if (job->spec.ignore)
    MSIFT_TRY(check_matrix(call, &job->labels, "labels", msift_is_label_type(job->labels.type), tokens, error));
  if (job->n > 0 && (job->tokens.data == NULL || (job->spec.ignore && job->labels.data == NULL) ||
                     (job->sums == NULL && job->losses == NULL)))
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: an array is NULL", call);
  return MPISIFT_OK;
}

/* Check the arguments of a call and fill in defaults. */
static mpisift_status prepare(const char *call, struct msift_tokens *job, const mpisift_loss *loss,
                              struct msift_error *error)
{
  if (loss != NULL)
    job->spec = *loss;
  if (job->spec.tokens == 0)
    job->spec.tokens = 1;
  MSIFT_TRY(check(call, job, error));
  if (job->tokens.stride == 0)
    job->tokens.stride = job->spec.tokens;
  if (job->labels.stride == 0)
    job->labels.stride = job->spec.tokens;
  return MPISIFT_OK;
}

mpisift_status mpisift_token_losses(mpisift_ctx *ctx, const mpisift_loss *loss, int64_t n, mpisift_values tokens,
                                    mpisift_values labels, mpisift_token_sum *sums, float *losses)
{
  struct msift_tokens job = {.n = n, .tokens = tokens, .labels = labels, .sums = sums, .losses = losses};

  if (ctx == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(prepare("mpisift_token_losses", &job, loss, msift_error_begin(ctx)));
  msift_backend_cpu.tokens(&job);
  return MPISIFT_OK;
}

mpisift_status mpisift_token_losses_cuda(mpisift_ctx *ctx, const mpisift_loss *loss, int64_t n, mpisift_values tokens,
                                         mpisift_values labels, mpisift_token_sum *sums, float *losses,
                                         mpisift_stream stream)
{
  struct msift_tokens job = {.n = n, .tokens = tokens, .labels = labels, .sums = sums, .losses = losses};
  const struct msift_device *device;
  struct msift_error *error;

  if (ctx == NULL)
    return MPISIFT_ERR_ARG;
  error = msift_error_begin(ctx);
  MSIFT_TRY(prepare("mpisift_token_losses_cuda", &job, loss, error));
  device = msift_device_choose("mpisift_token_losses_cuda", error);
  if (device == NULL)
    return MPISIFT_ERR_DEVICE;
  return n == 0 ? MPISIFT_OK : device->tokens(&job, stream, error);
}
