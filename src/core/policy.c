#include "core/policy.h"

#include <stdio.h>
#include <string.h>

static const struct msift_policy policies[] = {
    {"relative", MSIFT_MEASURE_LOSS, &msift_rule_relative},
    {"top", MSIFT_MEASURE_LOSS, &msift_rule_top},
    {"absolute", MSIFT_MEASURE_LOSS, &msift_rule_absolute},
    {"reducible", MSIFT_MEASURE_REDUCIBLE, &msift_rule_relative},
    {"reducible_top", MSIFT_MEASURE_REDUCIBLE, &msift_rule_top},
    {"importance", MSIFT_MEASURE_LOSS, &msift_rule_proportional},
    {"importance_bound", MSIFT_MEASURE_BOUND, &msift_rule_proportional},
    {"uncertainty", MSIFT_MEASURE_UNCERTAINTY, &msift_rule_relative},
    {"stale_relative", MSIFT_MEASURE_STALE, &msift_rule_relative},
    {"soft_prune", MSIFT_MEASURE_STALE, &msift_rule_soft},
    {"hide", MSIFT_MEASURE_STALE, &msift_rule_top},
    {"random", MSIFT_MEASURE_NOTHING, &msift_rule_random},
    {"all", MSIFT_MEASURE_NOTHING, &msift_rule_all},
};

enum { N_POLICIES = sizeof policies / sizeof policies[0] };

const struct msift_policy *msift_policy_find(const char *name, struct msift_error *error)
{
  char names[MSIFT_TEXT] = "";
  size_t used = 0;

  for (size_t i = 0; i < N_POLICIES; i++) {
    if (strcmp(policies[i].name, name) == 0)
      return &policies[i];
    used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i == 0 ? "" : ", ", policies[i].name);
  }
  msift_error_set(error, MPISIFT_ERR_ARG, "config.policy: no policy is called '%.64s'; choose one of: %s", name, names);
  return NULL;
}

mpisift_status msift_rule_check_keep(const mpisift_config *config, struct msift_error *error)
{
  if (!(config->keep > 0 && config->keep <= 1))
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.keep is %g; it must be in (0, 1]", config->keep);
  return MPISIFT_OK;
}

double msift_rule_keep(double strength)
{
  return strength;
}
