/* Losses that are reported in a device's memory: copied in the order of the user's stream to page-locked memory of
 * ours, which is read when they are needed. */
#ifndef MSIFT_API_INDEX_DEVICE_H
#define MSIFT_API_INDEX_DEVICE_H

#include "api/loader.h"

enum { MSIFT_REPORT_BLOCKS = 48 };

struct msift_device_report {
  int64_t serial, first, n;       /* rows of a batch */
  struct msift_reported reported; /* [n] each, once the event is reached */
  void *event;
};

struct msift_device_reports {
  struct msift_device_report *items; /* [n], oldest first */
  int64_t n, capacity;
  unsigned char *blocks[MSIFT_REPORT_BLOCKS]; /* page-locked, each larger than the one before; the last is filled */
  int n_blocks;
  size_t size, used; /* bytes of the last block */
};

/* Enqueue the copies of a report, whose rows come from arrays of the device with a stride. Waits for nothing. On an
 * error nothing is noted: ERR_DEVICE, ERR_ARG for memory that is not the current device's, ERR_STATE for a stream that
 * captures, ERR_MEMORY. */
mpisift_status msift_device_reports_add(struct msift_device_reports *reports, mpisift_ctx *ctx, const char *call,
                                        const struct msift_device_report *report, int64_t stride, void *stream);

/* Wait until all copies are there; on an error they stay noted. Not collective. */
mpisift_status msift_device_reports_wait(const struct msift_device_reports *reports, mpisift_ctx *ctx);

/* Forget all reports, which have been waited for: their memory is used again. */
void msift_device_reports_clear(struct msift_device_reports *reports, mpisift_ctx *ctx);
void msift_device_reports_destroy(struct msift_device_reports *reports, mpisift_ctx *ctx);

#endif
