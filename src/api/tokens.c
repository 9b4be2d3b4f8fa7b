#include "api/context.h"
#include "backend/backend.h"

static const char call[] = "mpisift_token_losses";

static mpisift_status check_matrix(const mpisift_values *values, const char *name, bool taken, int64_t columns,
                                   struct msift_error *error)
{
  if (!taken)
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: %s of type %s are not taken", call, name,
                           mpisift_type_name(values->type));
  if (values->stride != 0 && values->stride < columns)
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: the stride of %s is %lld; it must be 0 or at least loss.tokens",
                           call, name, (long long)values->stride);
  return MPISIFT_OK;
}

static mpisift_status check(const struct msift_tokens *job, struct msift_error *error)
{
  int64_t tokens = job->spec.tokens;

  if (job->n < 0 || tokens < 1)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "%s: n is %lld and loss.tokens %lld; n >= 0 and tokens >= 0 are needed", call,
                           (long long)job->n, (long long)tokens);
  if ((unsigned)job->spec.reduction > MPISIFT_SUM)
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: loss.reduction is %d: unknown", call, (int)job->spec.reduction);
  MSIFT_TRY(check_matrix(&job->tokens, "tokens", msift_is_float_type(job->tokens.type), tokens, error));
  if (job->spec.ignore)
    MSIFT_TRY(check_matrix(&job->labels, "labels", msift_is_label_type(job->labels.type), tokens, error));
  if (job->n > 0 && (job->tokens.data == NULL || (job->spec.ignore && job->labels.data == NULL) ||
                     (job->sums == NULL && job->losses == NULL)))
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: an array is NULL", call);
  return MPISIFT_OK;
}

mpisift_status mpisift_token_losses(mpisift_ctx *ctx, const mpisift_loss *loss, int64_t n, mpisift_values tokens,
                                    mpisift_values labels, mpisift_token_sum *sums, float *losses)
{
  struct msift_tokens job = {.n = n, .tokens = tokens, .labels = labels, .sums = sums, .losses = losses};

  if (ctx == NULL)
    return MPISIFT_ERR_ARG;
  if (loss != NULL)
    job.spec = *loss;
  if (job.spec.tokens == 0)
    job.spec.tokens = 1;
  MSIFT_TRY(check(&job, msift_error_begin(ctx)));
  if (job.tokens.stride == 0)
    job.tokens.stride = job.spec.tokens;
  if (job.labels.stride == 0)
    job.labels.stride = job.spec.tokens;
  msift_backend_cpu.tokens(&job);
  return MPISIFT_OK;
}
