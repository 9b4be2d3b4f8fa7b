#ifndef MSIFT_API_CONTEXT_H
#define MSIFT_API_CONTEXT_H

#include "comm/team.h"

struct mpisift_ctx {
  struct msift_team team;
  struct msift_memory memory;
  struct msift_error error; /* of the last call */
  struct msift_error cause; /* why a callback is failing */
  mpisift_hooks hooks;
  bool busy;     /* a public call is running */
  bool poisoned; /* MPI has failed */
  int children;  /* loaders, sifters and opened sources alive */
};

/* Begin a public call: check thread, MPI, re-entry and poison, and clear the error. What fails here is local. */
mpisift_status msift_enter(mpisift_ctx *ctx, const char *call);

/* End a public call with the status recorded in ctx->error. */
mpisift_status msift_leave(mpisift_ctx *ctx);

/* Where an error goes, cleared: inside a callback to the callback's cause, since the outer call's outcome is not its.
 */
struct msift_error *msift_error_begin(mpisift_ctx *ctx);

void msift_log(const mpisift_ctx *ctx, mpisift_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Profiler ranges of the user. Return the time, so that range and clock are read at once. */
double msift_range_begin(const mpisift_ctx *ctx, const char *name);
double msift_range_end(const mpisift_ctx *ctx);

#endif
