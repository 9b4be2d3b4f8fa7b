/* Accept everything: plain training, or evaluation, through the same loader. */
#include "core/policy.h"

static mpisift_status check(const mpisift_config *config, struct msift_error *error)
{
  (void)config;
  (void)error;
  return MPISIFT_OK;
}

static double keep(const mpisift_config *config)
{
  (void)config;
  return 1;
}

static double probability(const mpisift_config *config, float loss, double low, double high)
{
  (void)loss;
  (void)config;
  (void)low;
  (void)high;
  return 1;
}

const struct msift_policy msift_policy_all = {"all", false, false, check, keep, probability};
