/* p = keep, blind to the loss: the control that any claim for sifting has to beat. */
#include "core/policy.h"

static double probability(const struct msift_terms *terms, float value, struct msift_place q)
{
  (void)value;
  (void)q;
  return terms->strength;
}

const struct msift_rule msift_rule_random = {.strength = MSIFT_STRENGTH_KEEP,
                                             .check = msift_rule_check_keep,
                                             .keep = msift_rule_keep,
                                             .probability = probability};
