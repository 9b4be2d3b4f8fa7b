#include "backend/cuda/decide.h"

#include <cuda_runtime_api.h>

#include "backend/cuda/device.h"

_Static_assert((int)MSIFT_CUDA_LAW_CONSTANT == MSIFT_LAW_CONSTANT && (int)MSIFT_CUDA_LAW_BY_BIN == MSIFT_LAW_BY_BIN &&
                   (int)MSIFT_CUDA_LAW_AT_LEAST == MSIFT_LAW_AT_LEAST &&
                   (int)MSIFT_CUDA_LAW_PROPORTIONAL == MSIFT_LAW_PROPORTIONAL,
               "laws differ");
_Static_assert((int)MSIFT_CUDA_MEASURE_LOSS == MSIFT_DEVICE_LOSS &&
                   (int)MSIFT_CUDA_MEASURE_BOUND == MSIFT_DEVICE_BOUND &&
                   (int)MSIFT_CUDA_MEASURE_UNCERTAINTY == MSIFT_DEVICE_UNCERTAINTY &&
                   (int)MSIFT_CUDA_MEASURE_REDUCIBLE == MSIFT_DEVICE_REDUCIBLE,
               "measures differ");
_Static_assert(sizeof(struct msift_cuda_findings) == sizeof(struct msift_device_findings) &&
                   offsetof(struct msift_cuda_findings, bad_value) == offsetof(struct msift_device_findings, bad_value),
               "findings differ");

static struct msift_cuda_bins to_bins(struct msift_device_bins bins)
{
  return (struct msift_cuda_bins){bins.n, bins.top, bins.split};
}

static struct msift_cuda_window to_window(struct msift_device_window window)
{
  return (struct msift_cuda_window){window.keys, window.groups, window.capacity};
}

mpisift_status msift_cuda_count(const struct msift_device_count *job, void *stream, struct msift_error *error)
{
  const struct msift_cuda_count device = {.window = to_window(job->window),
                                          .first = job->first,
                                          .n = job->n,
                                          .change = job->change,
                                          .bins = to_bins(job->bins),
                                          .groups = job->groups,
                                          .in_groups = job->in_groups && job->groups > 0,
                                          .in_bins = job->in_bins,
                                          .words = job->words};

  if (job->n == 0)
    return MPISIFT_OK;
  return msift_cuda_check(msift_cuda_launch_count(&device, stream), "counting losses on the device", error);
}

static struct msift_cuda_terms to_terms(const struct msift_device_terms *terms)
{
  return (struct msift_cuda_terms){.law = (int)terms->law,
                                   .constant = terms->constant,
                                   .parameter = terms->parameter,
                                   .by_bin = terms->by_bin,
                                   .outliers = terms->outliers,
                                   .by_group = terms->by_group,
                                   .floor = terms->floor,
                                   .coverage_epochs = terms->coverage_epochs,
                                   .epoch = terms->epoch,
                                   .weighted = terms->weighted,
                                   .factor = terms->factor,
                                   .clip = terms->clip,
                                   .accept_key = terms->accept_key};
}

static struct msift_cuda_round to_round(const struct msift_device_round *job)
{
  return (struct msift_cuda_round){.n = job->n,
                                   .ids = job->ids,
                                   .places = job->places,
                                   .scored = job->scored,
                                   .sifting = job->sifting,
                                   .measure = (int)job->measure,
                                   .losses = job->losses,
                                   .bounds = job->bounds,
                                   .confidences = job->confidences,
                                   .references = job->references,
                                   .references_f64 = job->references_f64,
                                   .classes = job->groups > 0 ? job->classes : NULL,
                                   .groups = job->groups,
                                   .terms = to_terms(&job->terms),
                                   .window = to_window(job->window),
                                   .first = job->first,
                                   .bins = to_bins(job->bins),
                                   .counting = to_bins(job->refitting ? job->next : job->bins),
                                   .refitting = job->refitting,
                                   .too_old = job->too_old,
                                   .accepted = job->accepted,
                                   .probabilities = job->probabilities,
                                   .weights = job->weights,
                                   .changes = job->changes,
                                   .map = job->map,
                                   .holder = job->holder,
                                   .bad = job->bad,
                                   .outliers = job->outliers,
                                   .accepted_count = job->accepted_count,
                                   .failed = job->failed,
                                   .findings = (struct msift_cuda_findings *)(void *)job->findings};
}

size_t msift_cuda_decide_scratch(int64_t n)
{
  size_t bytes = 0;

  if (msift_cuda_launch_compact(n, NULL, NULL, NULL, NULL, &bytes, NULL) != cudaSuccess)
    cudaGetLastError(); /* told where there is to be a decision */
  return bytes;
}

mpisift_status msift_cuda_decide(const struct msift_device_round *job, void *scratch, size_t scratch_bytes,
                                 void *stream, struct msift_error *error)
{
  static const char what[] = "deciding on the device";
  const struct msift_cuda_round device = to_round(job);

  if (job->n == 0)
    return msift_device_cuda.fill(job->n_kept, 0, sizeof *job->n_kept, stream, error);
  MSIFT_TRY(msift_cuda_check(msift_cuda_launch_decide(&device, stream), what, error));
  if (job->scored)
    MSIFT_TRY(msift_cuda_check(msift_cuda_launch_findings(&device, stream), what, error));
  return msift_cuda_check(
      msift_cuda_launch_compact(job->n, job->accepted, job->kept, job->n_kept, scratch, &scratch_bytes, stream), what,
      error);
}
