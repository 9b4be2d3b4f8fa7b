/* p = keep, blind to the loss: the control that any claim for sifting has to beat. */
#include "core/policy.h"

static double probability(const mpisift_config *config, float loss, double low, double high)
{
  (void)loss;
  (void)low;
  (void)high;
  return config->keep;
}

const struct msift_policy msift_policy_random = {"random",          false,      false, msift_policy_check_keep,
                                                 msift_policy_keep, probability};
