/* Losses that are reported from a device: copied where they are made, and added up when they have long arrived. */
#include "api/device.h"

static void take_oldest(mpisift_loader *l, struct msift_error *error)
{
  struct msift_gpu *g = l->gpu;
  struct msift_late *late = &g->late[g->first_late];

  if (g->device->event_reach(late->event, error) == MPISIFT_OK)
    msift_report_add(l, late->n, late->losses);
  g->first_late = (g->first_late + 1) % MSIFT_LATE;
  g->n_late--;
}

void msift_gpu_take_reports(mpisift_loader *l, bool all)
{
  struct msift_gpu *g = l->gpu;

  while (g->n_late > 0 && !g->closed && (all || g->late[g->first_late].call + 2 <= g->calls))
    take_oldest(l, &l->failure);
}

/* Of rows that are samples. */
static mpisift_status report(mpisift_loader *l, int64_t n, const float *losses, int64_t stride, void *stream,
                             struct msift_error *error)
{
  struct msift_gpu *g = l->gpu;
  struct msift_late *late;

  MSIFT_TRY(g->device->check_pointer(losses, "losses", error));
  MSIFT_TRY(g->device->check_stream(stream, "mpisift_loader_report_cuda", error));
  if (g->n_late == MSIFT_LATE)
    take_oldest(l, error);
  late = &g->late[(g->first_late + g->n_late) % MSIFT_LATE];
  late->n = n;
  late->call = g->calls;
  MSIFT_TRY(g->device->gather(late->losses, losses, (size_t)stride * sizeof *losses, sizeof *losses, n, stream, error));
  MSIFT_TRY(g->device->event_record(late->event, stream, error));
  g->n_late++;
  return MPISIFT_OK;
}

static mpisift_status check_arguments(mpisift_loader *l, int64_t serial, int64_t first, int64_t n, const float *losses,
                                      int64_t stride, struct msift_error *error)
{
  if (l->gpu == NULL)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "mpisift_loader_report_cuda: this loader is in host memory; use mpisift_loader_report");
  if (stride < 1)
    return msift_error_set(error, MPISIFT_ERR_ARG, "mpisift_loader_report_cuda: stride is %lld; it must be at least 1",
                           (long long)stride);
  return msift_report_check(l, serial, first, n, losses);
}

mpisift_status mpisift_loader_report_cuda(mpisift_loader *loader, int64_t serial, int64_t first, int64_t n,
                                          const float *losses, int64_t stride, mpisift_stream stream)
{
  mpisift_loader *l = loader;
  struct msift_error *error;
  int64_t valid;

  if (l == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(msift_enter(l->ctx, "mpisift_loader_report_cuda"));
  error = &l->ctx->error;
  if (check_arguments(l, serial, first, n, losses, stride, error) != MPISIFT_OK)
    return msift_leave(l->ctx);
  valid = l->tickets[serial % (l->config.report_lag + 1)].valid;
  n = first + n < valid ? n : valid - first;
  if (n > 0 && msift_gpu_switch(l, error) == MPISIFT_OK) {
    report(l, n, losses, stride, stream, error);
    msift_gpu_switch_back(l, error);
  }
  return msift_leave(l->ctx);
}
