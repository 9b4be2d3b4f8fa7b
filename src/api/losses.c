#include <mpisift/cuda.h>

#include "api/context.h"
#include "backend/device.h"

static mpisift_status check_matrix(const char *call, const mpisift_values *values, const char *name, int64_t columns,
                                   struct msift_error *error)
{
  if (!msift_is_float_type(values->type) && !msift_is_label_type(values->type))
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: %s of type %s are not taken", call, name,
                           mpisift_type_name(values->type));
  if (values->stride != 0 && values->stride < columns)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "%s: the stride of %s is %lld; it must be 0 or at least the %lld values of a row", call,
                           name, (long long)values->stride, (long long)columns);
  return MPISIFT_OK;
}

static mpisift_status check_shape(const char *call, const struct msift_losses *job, struct msift_error *error)
{
  int64_t tokens = job->spec.tokens;

  if (job->n < 0 || job->columns < 1)
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: n is %lld and columns %lld; n >= 0 and columns >= 1 are needed",
                           call, (long long)job->n, (long long)job->columns);
  if (tokens < 0 || (tokens > 0 && job->n > INT64_MAX / tokens))
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: loss.tokens is %lld; it must be 0 or the rows of a sample",
                           call, (long long)tokens);
  if (!msift_is_float_type(job->logits.type))
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: logits of type %s are not taken", call,
                           mpisift_type_name(job->logits.type));
  MSIFT_TRY(check_matrix(call, &job->logits, "logits", job->columns, error));
  return check_matrix(call, &job->targets, "targets",
                      msift_is_float_type(job->targets.type) ? job->columns
                      : tokens > 0                           ? tokens
                                                             : 1,
                      error);
}

static mpisift_status check_number(const char *call, double value, const char *name, double most,
                                   struct msift_error *error)
{
  return value >= 0 && value <= most
             ? MPISIFT_OK
             : msift_error_set(error, MPISIFT_ERR_ARG, "%s: loss.%s is %g; it must be in [0, %g]", call, name, value,
                               most);
}

static mpisift_status check_spec(const char *call, const mpisift_loss *spec, bool labels, struct msift_error *error)
{
  const mpisift_loss_kind kind = spec->kind;
  bool by_row =
      kind == MPISIFT_KL || kind == MPISIFT_BCE || kind == MPISIFT_MSE || kind == MPISIFT_L1 || kind == MPISIFT_HUBER;

  if ((unsigned)kind > MPISIFT_HINGE || (unsigned)spec->reduction > MPISIFT_SUM)
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: loss.kind is %d and loss.reduction %d: unknown", call,
                           (int)kind, (int)spec->reduction);
  if (labels ? by_row : kind == MPISIFT_NLL)
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: loss.kind is %d, whose targets are %s", call, (int)kind,
                           by_row ? "rows of a floating-point type" : "labels: uint8, uint16, int32 or int64");
  if (spec->ignore && !labels)
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: loss.ignore needs targets that are labels", call);
  if (spec->label_smoothing != 0 && kind != MPISIFT_CROSS_ENTROPY)
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: loss.label_smoothing is of MPISIFT_CROSS_ENTROPY only", call);
  MSIFT_TRY(check_number(call, spec->label_smoothing, "label_smoothing", 1, error));
  MSIFT_TRY(check_number(call, spec->huber_delta, "huber_delta", 1e30, error));
  return check_number(call, spec->focal_gamma, "focal_gamma", 1e6, error);
}

static mpisift_status check_scores(const char *call, const struct msift_losses *job, const mpisift_scores *scores,
                                   struct msift_error *error)
{
  bool labels = msift_is_label_type(job->targets.type);
  bool more = scores->bound != NULL || scores->confidence != NULL || scores->entropy != NULL ||
              scores->margin != NULL || scores->correct != NULL;

  if (job->n > 0 && (job->logits.data == NULL || job->targets.data == NULL ||
                     (scores->loss == NULL && scores->group == NULL && !more)))
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: an array is NULL", call);
  if (more && !msift_has_softmax(job->spec.kind, labels))
    return msift_error_set(
        error, MPISIFT_ERR_ARG,
        "%s: bound, confidence, entropy, margin and correct are of a softmax, and loss.kind %d has none", call,
        (int)job->spec.kind);
  if (scores->group != NULL && (!labels || job->spec.tokens > 1))
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: group is the label of a sample's only row", call);
  return MPISIFT_OK;
}

static void fill_in(struct msift_losses *job)
{
  mpisift_loss *spec = &job->spec;

  spec->tokens = spec->tokens == 0 ? 1 : spec->tokens;
  spec->huber_delta = spec->huber_delta == 0 ? 1 : spec->huber_delta;
  spec->focal_gamma = spec->focal_gamma == 0 ? 2 : spec->focal_gamma;
  if (job->logits.stride == 0)
    job->logits.stride = job->columns;
  if (job->targets.stride == 0)
    job->targets.stride = msift_is_label_type(job->targets.type) ? spec->tokens : job->columns;
}

/* Check the arguments of a call and fill in defaults. */
static mpisift_status prepare(const char *call, struct msift_losses *job, const mpisift_loss *loss,
                              const mpisift_scores *scores, struct msift_error *error)
{
  if (loss != NULL)
    job->spec = *loss;
  MSIFT_TRY(check_shape(call, job, error));
  MSIFT_TRY(check_spec(call, &job->spec, msift_is_label_type(job->targets.type), error));
  MSIFT_TRY(check_scores(call, job, scores == NULL ? &(mpisift_scores){0} : scores, error));
  fill_in(job);
  return MPISIFT_OK;
}

mpisift_status mpisift_losses(mpisift_ctx *ctx, const mpisift_loss *loss, int64_t n, int64_t columns,
                              mpisift_values logits, mpisift_values targets, const mpisift_scores *scores)
{
  struct msift_losses job = {.n = n, .columns = columns, .logits = logits, .targets = targets};
  struct msift_error *error;

  if (ctx == NULL)
    return MPISIFT_ERR_ARG;
  error = msift_error_begin(ctx);
  MSIFT_TRY(prepare("mpisift_losses", &job, loss, scores, error));
  return n == 0 ? MPISIFT_OK : msift_backend_cpu.losses(&job, scores, error);
}

mpisift_status mpisift_losses_cuda(mpisift_ctx *ctx, const mpisift_loss *loss, int64_t n, int64_t columns,
                                   mpisift_values logits, mpisift_values targets, const mpisift_scores *scores,
                                   mpisift_stream stream)
{
  struct msift_losses job = {.n = n, .columns = columns, .logits = logits, .targets = targets};
  const struct msift_device *device;
  struct msift_error *error;

  if (ctx == NULL)
    return MPISIFT_ERR_ARG;
  error = msift_error_begin(ctx);
  MSIFT_TRY(prepare("mpisift_losses_cuda", &job, loss, scores, error));
  device = msift_device_choose("mpisift_losses_cuda", error);
  if (device == NULL)
    return MPISIFT_ERR_DEVICE;
  return n == 0 ? MPISIFT_OK : device->losses(&job, scores, stream, error);
}
