/* Policies: what is measured of a candidate, and a rule that turns it into a probability of acceptance. A rule is a
 * file rule_*.c, a policy a line in policy.c. */
#ifndef MSIFT_CORE_POLICY_H
#define MSIFT_CORE_POLICY_H

#include <stdbool.h>

#include "base/error.h"
#include "core/history.h"

/* What the history records and the rule goes by. */
enum msift_measure {
  MSIFT_MEASURE_NOTHING,
  MSIFT_MEASURE_LOSS,
  MSIFT_MEASURE_BOUND,       /* of the gradient's norm */
  MSIFT_MEASURE_UNCERTAINTY, /* 1 − confidence */
  MSIFT_MEASURE_REDUCIBLE,   /* loss − reference loss; may be negative */
  MSIFT_MEASURE_STALE        /* the loss with which the sample was trained last, of a table */
};

/* The setting that a schedule drives. */
enum msift_strength { MSIFT_STRENGTH_NONE, MSIFT_STRENGTH_BETA, MSIFT_STRENGTH_KEEP };

/* What a rule goes by besides the candidate. */
struct msift_terms {
  const mpisift_config *config;
  double strength; /* beta or keep, as of now */
  double scale;    /* as prepared */
  double mean;     /* of stale losses */
};

struct msift_rule {
  enum msift_strength strength;
  bool by_value; /* looks at the measure itself, and not at its percentiles alone */
  bool weighted; /* of use with weights only */

  /* Whether the configuration suits the rule; records what is wrong. */
  mpisift_status (*check)(const mpisift_config *config, struct msift_error *error);

  /* Expected share of candidates kept, in (0, 1]. */
  double (*keep)(double strength);

  /* What the rule needs to know of the history, which may be empty. NULL: nothing. */
  double (*prepare)(const struct msift_terms *terms, const struct msift_history *history);

  /* Mean probability over the percentiles that a measure shares with its equals. */
  double (*probability)(const struct msift_terms *terms, float value, struct msift_place place);
};

extern const struct msift_rule msift_rule_absolute;
extern const struct msift_rule msift_rule_all;
extern const struct msift_rule msift_rule_proportional;
extern const struct msift_rule msift_rule_random;
extern const struct msift_rule msift_rule_relative;
extern const struct msift_rule msift_rule_soft;
extern const struct msift_rule msift_rule_top;

struct msift_policy {
  const char *name;
  enum msift_measure measure;
  const struct msift_rule *rule;
};

/* Whether the policy goes by something of the candidate, */
static inline bool msift_policy_measures(const struct msift_policy *policy)
{
  return policy->measure != MSIFT_MEASURE_NOTHING;
}

/* which is that of its last training, */
static inline bool msift_policy_stale(const struct msift_policy *policy)
{
  return policy->measure == MSIFT_MEASURE_STALE;
}

/* or asks for a forward pass. */
static inline bool msift_policy_scored(const struct msift_policy *policy)
{
  return msift_policy_measures(policy) && !msift_policy_stale(policy);
}

/* `check` and `keep` of the rules that keep the share config->keep. */
mpisift_status msift_rule_check_keep(const mpisift_config *config, struct msift_error *error);
double msift_rule_keep(double strength);

/* The policy of a name; NULL with an error that lists the names. */
const struct msift_policy *msift_policy_find(const char *name, struct msift_error *error);

#endif
