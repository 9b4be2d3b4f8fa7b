/* Candidates that are pushed from a device's memory, and what becomes of them. */
#include "api/device.h"

static mpisift_status check(const mpisift_loader *l, bool asked, const void *pointer, const char *what,
                            struct msift_error *error)
{
  return asked ? l->gpu->device->check_pointer(pointer, what, error) : MPISIFT_OK;
}

/* Rows are decided in the order of their positions, and nothing sorts them on a device. */
static mpisift_status check_order(const mpisift_candidates *c, struct msift_error *error)
{
  for (int64_t i = 1; i < c->n && c->positions != NULL; i++)
    if (c->positions[i] <= c->positions[i - 1])
      return msift_error_set(error, MPISIFT_ERR_ARG,
                             "candidates.positions[%lld] is %lld, behind %lld: on a device positions of a rank ascend",
                             (long long)i, (long long)c->positions[i], (long long)c->positions[i - 1]);
  return MPISIFT_OK;
}

mpisift_status msift_gpu_check_candidates(const mpisift_loader *l, const mpisift_candidates *c,
                                          struct msift_error *error)
{
  enum msift_measure measure = l->policy->measure;
  bool scored = msift_policy_scored(l->policy);

  if (scored && c->loss_type != MPISIFT_F32)
    return msift_error_set(error, MPISIFT_ERR_ARG, "candidates.loss_type is %s; on a device losses are float32",
                           mpisift_type_name(c->loss_type));
  MSIFT_TRY(check_order(c, error));
  MSIFT_TRY(check(l, scored, c->losses, "candidates.losses", error));
  MSIFT_TRY(check(l, measure == MSIFT_MEASURE_BOUND, c->bounds, "candidates.bounds", error));
  MSIFT_TRY(check(l, measure == MSIFT_MEASURE_UNCERTAINTY, c->confidences, "candidates.confidences", error));
  MSIFT_TRY(check(l, measure == MSIFT_MEASURE_REDUCIBLE, c->references, "candidates.references", error));
  MSIFT_TRY(check(l, l->config.groups > 0, c->groups, "candidates.groups", error));
  for (int f = 0; f < l->source.n_fields; f++)
    MSIFT_TRY(check(l, true, c->records[f], "candidates.records[]", error));
  return MPISIFT_OK;
}

mpisift_status msift_gpu_check_decisions(const mpisift_loader *l, const mpisift_decisions *d, struct msift_error *error)
{
  MSIFT_TRY(check(l, d->accepted != NULL, d->accepted, "decisions.accepted", error));
  MSIFT_TRY(check(l, d->probabilities != NULL, d->probabilities, "decisions.probabilities", error));
  return check(l, d->weights != NULL, d->weights, "decisions.weights", error);
}

static mpisift_status give(mpisift_loader *l, void *to, const void *from, size_t bytes, struct msift_error *error)
{
  return to == NULL ? MPISIFT_OK : l->gpu->device->copy(to, from, bytes, l->gpu->stream, error);
}

void msift_gpu_give_decisions(mpisift_loader *l, int64_t n, const mpisift_decisions *d)
{
  struct msift_error error = {0};
  struct msift_gpu *g = l->gpu;

  give(l, d->accepted, g->accepted, (size_t)n * sizeof *d->accepted, &error);
  give(l, d->probabilities, g->probabilities, (size_t)n * sizeof *d->probabilities, &error);
  give(l, d->weights, g->weights, (size_t)n * sizeof *d->weights, &error);
  if (error.status != MPISIFT_OK)
    msift_gpu_break(l, &error);
}
