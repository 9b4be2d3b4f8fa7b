#include "api/context.h"
#include "backend/backend.h"

static mpisift_status check(const struct msift_logits *x, const void *targets, const float *losses, const char *call,
                            struct msift_error *error)
{
  if (x->n < 0 || x->columns < 1 || x->stride < x->columns)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "%s: n is %lld, columns %lld and stride %lld; n >= 0 and stride >= columns >= 1 are needed",
                           call, (long long)x->n, (long long)x->columns, (long long)x->stride);
  if (x->n > 0 && (x->values == NULL || targets == NULL || losses == NULL))
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: an array is NULL", call);
  return MPISIFT_OK;
}

mpisift_status mpisift_cross_entropy(mpisift_ctx *ctx, int64_t n, int64_t classes, int64_t stride, const float *logits,
                                     mpisift_type label_type, const void *labels, float *losses)
{
  struct msift_logits x = {n, classes, stride, logits};
  struct msift_error *error;

  if (ctx == NULL)
    return MPISIFT_ERR_ARG;
  error = msift_error_begin(ctx);
  MSIFT_TRY(check(&x, labels, losses, "mpisift_cross_entropy", error));
  if (label_type != MPISIFT_U8 && label_type != MPISIFT_U16 && label_type != MPISIFT_I32 && label_type != MPISIFT_I64)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "mpisift_cross_entropy: labels of type %s; uint8, uint16, int32 and int64 are taken",
                           mpisift_type_name(label_type));
  return msift_backend_cpu.cross_entropy(&x, label_type, labels, losses, error);
}

mpisift_status mpisift_bce_with_logits(mpisift_ctx *ctx, int64_t n, int64_t columns, int64_t stride,
                                       const float *logits, const float *targets, float *losses)
{
  struct msift_logits x = {n, columns, stride, logits};

  if (ctx == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(check(&x, targets, losses, "mpisift_bce_with_logits", msift_error_begin(ctx)));
  msift_backend_cpu.bce(&x, targets, losses);
  return MPISIFT_OK;
}

mpisift_status mpisift_mse(mpisift_ctx *ctx, int64_t n, int64_t columns, int64_t stride, const float *predictions,
                           const float *targets, float *losses)
{
  struct msift_logits x = {n, columns, stride, predictions};

  if (ctx == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(check(&x, targets, losses, "mpisift_mse", msift_error_begin(ctx)));
  msift_backend_cpu.mse(&x, targets, losses);
  return MPISIFT_OK;
}
