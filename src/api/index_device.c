#include "api/index_device.h"

#include "backend/device.h"

enum { FIRST_BLOCK = 1 << 14, ALIGNMENT = 16 };

/* Of a library that has reports of a device, and so kernels. */
static const struct msift_device *chosen(mpisift_ctx *ctx)
{
  return msift_device_choose("", &ctx->error);
}

static const struct msift_backend *pinned(mpisift_ctx *ctx)
{
  return msift_backend_choose(true, &ctx->error);
}

/* A block that copies are on their way to cannot be moved, so there is a next one, of twice the size. After an epoch or
 * so one block holds all. */
static mpisift_status reserve(struct msift_device_reports *r, mpisift_ctx *ctx, size_t bytes)
{
  size_t size = 2 * r->size > FIRST_BLOCK ? 2 * r->size : FIRST_BLOCK;

  if (r->n == r->capacity) {
    MSIFT_TRY(msift_resize(&ctx->memory, &ctx->error, &r->items, 2 * r->n + 16, sizeof *r->items));
    r->capacity = 2 * r->n + 16;
  }
  if (bytes <= r->size - r->used)
    return MPISIFT_OK;
  size = size > bytes ? size : bytes;
  if (r->n_blocks == MSIFT_REPORT_BLOCKS)
    return msift_error_set(&ctx->error, MPISIFT_ERR_MEMORY, "cannot allocate %zu bytes for reports", size);
  r->blocks[r->n_blocks] = pinned(ctx)->allocate(&ctx->memory, &ctx->error, (int64_t)size, 1);
  if (r->blocks[r->n_blocks] == NULL)
    return ctx->error.status;
  r->n_blocks++;
  r->size = size;
  r->used = 0;
  return MPISIFT_OK;
}

static size_t bytes_of(int64_t n)
{
  return ((size_t)n * sizeof(float) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Where the next column of a report goes; NULL: it has none. */
static void *place(struct msift_device_reports *r, const void *column, int64_t n)
{
  void *at = column == NULL ? NULL : r->blocks[r->n_blocks - 1] + r->used;

  r->used += column == NULL ? 0 : bytes_of(n);
  return at;
}

static mpisift_status check(const struct msift_device *device, const struct msift_reported *from, const char *call,
                            void *stream, struct msift_error *error)
{
  MSIFT_TRY(device->check_pointer(from->losses, "the array of reported losses", error));
  if (from->confidences != NULL)
    MSIFT_TRY(device->check_pointer(from->confidences, "the array of reported confidences", error));
  if (from->groups != NULL)
    MSIFT_TRY(device->check_pointer(from->groups, "the array of reported groups", error));
  return device->check_stream(stream, call, error);
}

static mpisift_status copy(const struct msift_device *device, const float *to, const void *from, int64_t n,
                           int64_t stride, void *stream, struct msift_error *error)
{
  void *into = (void *)(uintptr_t)to;

  if (from == NULL)
    return MPISIFT_OK;
  if (stride == 1)
    return device->download(into, from, (size_t)n * sizeof *to, stream, error);
  return device->gather(into, from, (size_t)stride * sizeof *to, sizeof *to, n, stream, error);
}

static mpisift_status copy_all(const struct msift_device *device, const struct msift_device_report *to,
                               const struct msift_reported *from, int64_t stride, void *stream,
                               struct msift_error *error)
{
  const float *groups = (const void *)to->reported.groups;

  MSIFT_TRY(copy(device, to->reported.losses, from->losses, to->n, stride, stream, error));
  MSIFT_TRY(copy(device, to->reported.confidences, from->confidences, to->n, stride, stream, error));
  MSIFT_TRY(copy(device, groups, from->groups, to->n, stride, stream, error));
  return device->event_record(to->event, stream, error);
}

/* The copies, and the event behind them. Where one fails, those before it still need our memory: they are waited for.
 */
static mpisift_status enqueue(const struct msift_device *device, const struct msift_device_report *to,
                              const struct msift_reported *from, int64_t stride, void *stream,
                              struct msift_error *error)
{
  if (copy_all(device, to, from, stride, stream, error) != MPISIFT_OK)
    device->synchronize(stream, error);
  return error->status;
}

mpisift_status msift_device_reports_add(struct msift_device_reports *r, mpisift_ctx *ctx, const char *call,
                                        const struct msift_device_report *report, int64_t stride, void *stream)
{
  const struct msift_device *device = msift_device_choose(call, &ctx->error);
  const struct msift_reported *from = &report->reported;
  struct msift_device_report item = *report;
  size_t before;

  if (device == NULL)
    return ctx->error.status;
  MSIFT_TRY(check(device, from, call, stream, &ctx->error));
  MSIFT_TRY(reserve(r, ctx, 3 * bytes_of(report->n)));
  MSIFT_TRY(device->event_create(&item.event, &ctx->error));
  before = r->used;
  item.reported.losses = place(r, from->losses, item.n);
  item.reported.confidences = place(r, from->confidences, item.n);
  item.reported.groups = place(r, from->groups, item.n);
  if (enqueue(device, &item, from, stride, stream, &ctx->error) == MPISIFT_OK) {
    r->items[r->n++] = item;
    return MPISIFT_OK;
  }
  r->used = before;
  device->event_destroy(item.event);
  return ctx->error.status;
}

mpisift_status msift_device_reports_wait(const struct msift_device_reports *r, mpisift_ctx *ctx)
{
  for (int64_t i = 0; i < r->n; i++)
    MSIFT_TRY(chosen(ctx)->event_reach(r->items[i].event, &ctx->error));
  return MPISIFT_OK;
}

void msift_device_reports_clear(struct msift_device_reports *r, mpisift_ctx *ctx)
{
  for (int64_t i = 0; i < r->n; i++)
    chosen(ctx)->event_destroy(r->items[i].event);
  for (int b = 0; b + 1 < r->n_blocks; b++)
    pinned(ctx)->release(&ctx->memory, r->blocks[b]);
  if (r->n_blocks > 1)
    r->blocks[0] = r->blocks[r->n_blocks - 1];
  r->n_blocks = r->n_blocks > 0;
  r->n = 0;
  r->used = 0;
}

void msift_device_reports_destroy(struct msift_device_reports *r, mpisift_ctx *ctx)
{
  struct msift_error ignored = {0};

  for (int64_t i = 0; i < r->n; i++) /* what is copied still needs our memory */
    chosen(ctx)->event_reach(r->items[i].event, &ignored);
  msift_device_reports_clear(r, ctx);
  if (r->n_blocks > 0)
    pinned(ctx)->release(&ctx->memory, r->blocks[0]);
  msift_free(&ctx->memory, &r->items);
}
