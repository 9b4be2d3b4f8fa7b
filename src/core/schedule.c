#include "core/schedule.h"

#include <math.h>

double msift_schedule_value(const mpisift_schedule *s, double initial, double fraction)
{
  const double pi = 3.14159265358979323846;
  double share, from, to;
  int i = 0;

  while (s->shape != MPISIFT_CONSTANT && i < s->n && fraction >= s->at[i])
    i++;
  if (i == 0)
    return initial;
  from = s->value[i - 1];
  if (i == s->n || s->shape == MPISIFT_STEPS)
    return from;
  to = s->value[i];
  share = (fraction - s->at[i - 1]) / (s->at[i] - s->at[i - 1]);
  return from + (to - from) * (s->shape == MPISIFT_COSINE ? (1 - cos(pi * share)) / 2 : share);
}

static mpisift_status check_point(const mpisift_schedule *s, int i, struct msift_error *error)
{
  if (!(s->at[i] >= 0 && s->at[i] <= 1) || (i > 0 && s->at[i] <= s->at[i - 1]))
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "config.schedule.at[%d] is %g; points lie in [0, 1], each above the one before", i,
                           s->at[i]);
  return MPISIFT_OK;
}

mpisift_status msift_schedule_check(const mpisift_schedule *s, struct msift_error *error)
{
  if (s->shape == MPISIFT_CONSTANT)
    return MPISIFT_OK;
  if (s->shape != MPISIFT_STEPS && s->shape != MPISIFT_LINEAR && s->shape != MPISIFT_COSINE)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.schedule.shape is %d, not a mpisift_shape", (int)s->shape);
  if (s->n < 1 || s->n > MPISIFT_MAX_POINTS)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.schedule.n is %d; 1 to %d points are possible", s->n,
                           MPISIFT_MAX_POINTS);
  for (int i = 0; i < s->n; i++)
    MSIFT_TRY(check_point(s, i, error));
  return MPISIFT_OK;
}
