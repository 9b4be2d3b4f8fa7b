/* p = q^beta, the rule of selective backpropagation (Jiang et al., 2019). Losses that tie share an interval of
 * percentiles and get its mean, so that 1/(1 + beta) of the candidates are kept for every distribution of losses. */
#include <math.h>

#include "core/policy.h"

static mpisift_status check(const mpisift_config *config, struct msift_error *error)
{
  if (!(config->beta > 0) || !isfinite(config->beta))
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.beta is %g; it must be a finite number above 0",
                           config->beta);
  return MPISIFT_OK;
}

static double keep(double beta)
{
  return 1 / (1 + beta);
}

/* x^e, without a logarithm where e is a small whole number, as it mostly is: thresholds of many bins are made in every
 * round. */
static double power(double x, double e)
{
  double result = 1;

  if (e > 16 || e != (double)(int)e)
    return pow(x, e);
  for (int n = (int)e; n > 0; n--)
    result *= x;
  return result;
}

static double probability(const struct msift_terms *terms, float value, struct msift_place q)
{
  double beta = terms->strength;

  (void)value;
  if (q.high <= q.low)
    return power(q.low, beta);
  return (power(q.high, beta + 1) - power(q.low, beta + 1)) / ((beta + 1) * (q.high - q.low));
}

const struct msift_rule msift_rule_relative = {
    .strength = MSIFT_STRENGTH_BETA, .check = check, .keep = keep, .probability = probability};
