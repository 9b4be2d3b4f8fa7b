/* p = min(1, c x), proportional to the measure x, as in importance sampling (Katharopoulos and Fleuret, 2018). The
 * factor c keeps the share `keep` of a history like the present one: those that are sure to be kept leave the others
 * a smaller share, so c is found with them, from the lowest losses up. */
#include <float.h>
#include <math.h>

#include "core/policy.h"

/* The measures of the history in runs, ascending: losses of a bin count with its middle. */
static int64_t runs(const struct msift_history *h)
{
  return h->exact ? (int64_t)h->total : h->bins.n;
}

static double run_count(const struct msift_history *h, int64_t i)
{
  return h->exact ? 1 : (double)h->counts.in[i];
}

static double edge(const struct msift_history *h, int64_t bin)
{
  float value = msift_key_float(h->bins.first[bin]);

  return value <= FLT_MAX ? (double)value : FLT_MAX; /* also where the key is none of a number's */
}

static double run_value(const struct msift_history *h, int64_t i)
{
  if (h->exact)
    return (double)msift_key_float(h->sorted[i]);
  return msift_bin_splits(&h->bins, (int)i) ? (edge(h, i) + edge(h, i + 1)) / 2 : edge(h, i);
}

/* NAN where all measures are zero, or there are none. The sum never has a larger measure taken away: what remained
 * would be rounding. */
static double prepare(const struct msift_terms *terms, const struct msift_history *h)
{
  double above = (double)h->total, kept = terms->strength * above, sum = 0, scale = NAN;

  for (int64_t i = 0; i < runs(h); i++) {
    double n = run_count(h, i), value = n > 0 ? run_value(h, i) : 0;

    if (n == 0)
      continue;
    above -= n;
    sum += n * value;
    if ((kept - above) * value > sum)
      break; /* sure to be kept, with all above */
    scale = sum > 0 ? (kept - above) / sum : above > 0 ? INFINITY : NAN;
  }
  return scale;
}

static double probability(const struct msift_terms *terms, float value, struct msift_place q)
{
  (void)q;
  if (isnan(terms->scale))
    return terms->strength;
  return value > 0 ? terms->scale * (double)value : 0;
}

const struct msift_rule msift_rule_proportional = {.strength = MSIFT_STRENGTH_KEEP,
                                                   .by_value = true,
                                                   .weighted = true,
                                                   .check = msift_rule_check_keep,
                                                   .keep = msift_rule_keep,
                                                   .prepare = prepare,
                                                   .probability = probability};
