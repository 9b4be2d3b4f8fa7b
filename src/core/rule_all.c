/* Accept everything: plain training, or evaluation, through the same loader. */
#include "core/policy.h"

static mpisift_status check(const mpisift_config *config, struct msift_error *error)
{
  (void)config;
  (void)error;
  return MPISIFT_OK;
}

static double keep(double strength)
{
  (void)strength;
  return 1;
}

static double probability(const struct msift_terms *terms, float value, struct msift_place q)
{
  (void)terms;
  (void)value;
  (void)q;
  return 1;
}

const struct msift_rule msift_rule_all = {.check = check, .keep = keep, .probability = probability};
