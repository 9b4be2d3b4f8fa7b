/* p = q^beta, the rule of selective backpropagation (Jiang et al., 2019). Losses that tie share an interval of
 * percentiles and get its mean, so that 1/(1 + beta) of the candidates are kept for every distribution of losses. */
#include <math.h>

#include "core/policy.h"

static mpisift_status check(const mpisift_config *config, struct msift_error *error)
{
  if (!(config->beta > 0) || !isfinite(config->beta))
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.beta is %g; it must be a finite number above 0",
                           config->beta);
  return MPISIFT_OK;
}

static double keep(const mpisift_config *config)
{
  return 1 / (1 + config->beta);
}

static double probability(const mpisift_config *config, float loss, double low, double high)
{
  double beta = config->beta;

  (void)loss;
  if (high <= low)
    return pow(low, beta);
  return (pow(high, beta + 1) - pow(low, beta + 1)) / ((beta + 1) * (high - low));
}

const struct msift_policy msift_policy_relative = {"relative", true, false, check, keep, probability};
