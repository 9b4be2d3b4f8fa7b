#include "api/context.h"
#include "backend/backend.h"

static mpisift_status check(const struct msift_logits *x, const void *targets, bool outputs, const char *call,
                            struct msift_error *error)
{
  if (x->n < 0 || x->columns < 1 || x->stride < x->columns)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "%s: n is %lld, columns %lld and stride %lld; n >= 0 and stride >= columns >= 1 are needed",
                           call, (long long)x->n, (long long)x->columns, (long long)x->stride);
  if (x->n > 0 && (x->values == NULL || targets == NULL || !outputs))
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: an array is NULL", call);
  return MPISIFT_OK;
}

static mpisift_status score(mpisift_ctx *ctx, const char *call, const struct msift_logits *x, mpisift_type label_type,
                            const void *labels, const mpisift_scores *scores)
{
  struct msift_error *error = msift_error_begin(ctx);
  bool any = scores->loss != NULL || scores->bound != NULL || scores->confidence != NULL || scores->group != NULL;

  MSIFT_TRY(check(x, labels, any, call, error));
  if (label_type != MPISIFT_U8 && label_type != MPISIFT_U16 && label_type != MPISIFT_I32 && label_type != MPISIFT_I64)
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: labels of type %s; uint8, uint16, int32 and int64 are taken",
                           call, mpisift_type_name(label_type));
  return msift_backend_cpu.cross_entropy(x, label_type, labels, scores, error);
}

mpisift_status mpisift_cross_entropy(mpisift_ctx *ctx, int64_t n, int64_t classes, int64_t stride, const float *logits,
                                     mpisift_type label_type, const void *labels, float *losses)
{
  struct msift_logits x = {n, classes, stride, logits};
  mpisift_scores scores = {.loss = losses};

  return ctx == NULL ? MPISIFT_ERR_ARG : score(ctx, "mpisift_cross_entropy", &x, label_type, labels, &scores);
}

mpisift_status mpisift_cross_entropy_scores(mpisift_ctx *ctx, int64_t n, int64_t classes, int64_t stride,
                                            const float *logits, mpisift_type label_type, const void *labels,
                                            const mpisift_scores *scores)
{
  const mpisift_scores none = {0};
  struct msift_logits x = {n, classes, stride, logits};

  return ctx == NULL
             ? MPISIFT_ERR_ARG
             : score(ctx, "mpisift_cross_entropy_scores", &x, label_type, labels, scores == NULL ? &none : scores);
}

mpisift_status mpisift_bce_with_logits(mpisift_ctx *ctx, int64_t n, int64_t columns, int64_t stride,
                                       const float *logits, const float *targets, float *losses)
{
  struct msift_logits x = {n, columns, stride, logits};

  if (ctx == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(check(&x, targets, losses != NULL, "mpisift_bce_with_logits", msift_error_begin(ctx)));
  msift_backend_cpu.bce(&x, targets, losses);
  return MPISIFT_OK;
}

mpisift_status mpisift_mse(mpisift_ctx *ctx, int64_t n, int64_t columns, int64_t stride, const float *predictions,
                           const float *targets, float *losses)
{
  struct msift_logits x = {n, columns, stride, predictions};

  if (ctx == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(check(&x, targets, losses != NULL, "mpisift_mse", msift_error_begin(ctx)));
  msift_backend_cpu.mse(&x, targets, losses);
  return MPISIFT_OK;
}
