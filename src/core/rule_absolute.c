/* Accept what has at least a given loss. The share kept is not known ahead: rounds start from a half, and follow the
 * share that the epoch before kept. */
#include <math.h>

#include "core/policy.h"

static mpisift_status check(const mpisift_config *config, struct msift_error *error)
{
  if (!(config->threshold >= 0) || !isfinite(config->threshold))
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.threshold is %g; it must be a finite loss of at least 0",
                           config->threshold);
  return MPISIFT_OK;
}

static double keep(double strength)
{
  (void)strength;
  return 0.5;
}

static double probability(const struct msift_terms *terms, float value, struct msift_place q)
{
  (void)q;
  return (double)value >= terms->config->threshold;
}

const struct msift_rule msift_rule_absolute = {
    .by_value = true, .check = check, .keep = keep, .probability = probability};
