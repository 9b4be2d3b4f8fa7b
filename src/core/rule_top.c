/* The share `keep` with the highest losses: q >= 1 - keep. Of losses that tie across that line, the fraction that meets
 * the share is accepted. */
#include "core/policy.h"

static double probability(const struct msift_terms *terms, float value, struct msift_place q)
{
  double line = 1 - terms->strength;

  (void)value;
  if (q.low >= line || q.high <= line)
    return q.low >= line;
  return (q.high - line) / (q.high - q.low);
}

const struct msift_rule msift_rule_top = {.strength = MSIFT_STRENGTH_KEEP,
                                          .check = msift_rule_check_keep,
                                          .keep = msift_rule_keep,
                                          .probability = probability};
