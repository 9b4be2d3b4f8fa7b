/* Below a line, the mean of the losses or a quantile of theirs, p = keep; else all are accepted (Qin et al.,
 * "InfoBatch", ICLR 2024, whose r is 1 − keep). With weights, or low losses would count for less than there are. */
#include "core/census.h"
#include "core/policy.h"

static mpisift_status check(const mpisift_config *config, struct msift_error *error)
{
  if (!(config->prune_quantile >= 0 && config->prune_quantile <= 1))
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.prune_quantile is %g; it must be in [0, 1]",
                           config->prune_quantile);
  return msift_rule_check_keep(config, error);
}

/* Where half the losses lie below the line. */
static double keep(double strength)
{
  return (1 + strength) / 2;
}

/* The share of losses like this one that lie below the line. */
static double below(const struct msift_terms *terms, float value, struct msift_place q)
{
  double line = terms->config->prune_quantile;

  if (line <= 0)
    return (double)msift_fixed(value) * 0x1p-24 < terms->mean;
  if (q.high <= line || q.low >= line)
    return q.low < line;
  return (line - q.low) / (q.high - q.low);
}

static double probability(const struct msift_terms *terms, float value, struct msift_place q)
{
  return 1 - (1 - terms->strength) * below(terms, value, q);
}

const struct msift_rule msift_rule_soft = {.strength = MSIFT_STRENGTH_KEEP,
                                           .by_value = true,
                                           .weighted = true,
                                           .check = check,
                                           .keep = keep,
                                           .probability = probability};
