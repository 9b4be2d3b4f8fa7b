/* Settings that change over a run. */
#ifndef MSIFT_CORE_SCHEDULE_H
#define MSIFT_CORE_SCHEDULE_H

#include "base/error.h"

/* The value at a share of the run, in [0, 1]; `initial` up to the first point. */
double msift_schedule_value(const mpisift_schedule *schedule, double initial, double fraction);

mpisift_status msift_schedule_check(const mpisift_schedule *schedule, struct msift_error *error);

#endif
