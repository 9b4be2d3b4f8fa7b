/* A policy turns a place in the loss history into a probability of acceptance. One file and one line in policy.c each.
 */
#ifndef MSIFT_CORE_POLICY_H
#define MSIFT_CORE_POLICY_H

#include <stdbool.h>

#include "base/error.h"

struct msift_policy {
  const char *name;
  bool scored; /* needs losses */
  bool exact;  /* looks at the loss itself, and not at its percentiles alone */

  /* Whether the configuration suits the policy; records what is wrong. */
  mpisift_status (*check)(const mpisift_config *config, struct msift_error *error);

  /* Expected share of candidates kept, in (0, 1]. */
  double (*keep)(const mpisift_config *config);

  /* Mean probability over the percentiles [low, high] that a loss shares with its equals; low <= high, in [0, 1]. */
  double (*probability)(const mpisift_config *config, float loss, double low, double high);
};

extern const struct msift_policy msift_policy_absolute;
extern const struct msift_policy msift_policy_all;
extern const struct msift_policy msift_policy_random;
extern const struct msift_policy msift_policy_relative;
extern const struct msift_policy msift_policy_top;

/* `check` and `keep` of the policies that keep the share config->keep. */
mpisift_status msift_policy_check_keep(const mpisift_config *config, struct msift_error *error);
double msift_policy_keep(const mpisift_config *config);

/* The policy of a name; NULL with an error that lists the names. */
const struct msift_policy *msift_policy_find(const char *name, struct msift_error *error);

#endif
