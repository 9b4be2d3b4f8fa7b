/* The share `keep` with the highest losses: q >= 1 - keep. Of losses that tie across that line, the fraction that meets
 * the share is accepted. */
#include "core/policy.h"

static mpisift_status check(const mpisift_config *config, struct msift_error *error)
{
  if (!(config->keep > 0 && config->keep <= 1))
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.keep is %g; it must be in (0, 1]", config->keep);
  return MPISIFT_OK;
}

static double keep(const mpisift_config *config)
{
  return config->keep;
}

static double probability(const mpisift_config *config, float loss, double low, double high)
{
  double line = 1 - config->keep;

  (void)loss;
  if (low >= line || high <= line)
    return low >= line;
  return (high - line) / (high - low);
}

const struct msift_policy msift_policy_top = {"top", true, false, check, keep, probability};
