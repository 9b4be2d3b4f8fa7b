/* The share `keep` with the highest losses: q >= 1 - keep. Of losses that tie across that line, the fraction that meets
 * the share is accepted. */
#include "core/policy.h"

static double probability(const mpisift_config *config, float loss, double low, double high)
{
  double line = 1 - config->keep;

  (void)loss;
  if (low >= line || high <= line)
    return low >= line;
  return (high - line) / (high - low);
}

const struct msift_policy msift_policy_top = {"top",      true, false, msift_policy_check_keep, msift_policy_keep,
                                              probability};
