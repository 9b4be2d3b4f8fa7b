/* p = keep, blind to the loss: the control that any claim for sifting has to beat. */
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
  (void)loss;
  (void)low;
  (void)high;
  return config->keep;
}

const struct msift_policy msift_policy_random = {"random", false, false, check, keep, probability};
