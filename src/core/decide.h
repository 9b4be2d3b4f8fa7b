/* Acceptance as a comparison of integers: a random number below 2^32, keyed by (seed, epoch, id), against a threshold
 * in [0, 2^32]. The threshold of each bin of the history is made when first asked for. */
#ifndef MSIFT_CORE_DECIDE_H
#define MSIFT_CORE_DECIDE_H

#include "core/history.h"
#include "core/policy.h"

#define MSIFT_CERTAIN (UINT64_C(1) << 32)

struct msift_decider {
  const struct msift_policy *policy;
  const mpisift_config *config;
  const struct msift_history *history;
  uint64_t thresholds[MSIFT_BINS]; /* MSIFT_UNSET: not made yet */
};

void msift_decider_init(struct msift_decider *decider, const struct msift_policy *policy, const mpisift_config *config,
                        const struct msift_history *history);

/* The history has changed: thresholds are made anew. */
void msift_decider_refresh(struct msift_decider *decider);

/* The policy's threshold for a finite loss >= 0; the loss does not matter to a policy that does not score. */
uint64_t msift_decider_threshold(struct msift_decider *decider, float loss);

struct msift_verdict {
  uint64_t threshold;
  float weight;
  bool outlier; /* never accepted, since its loss is among the highest */
};

/* Everything is accepted: before sifting starts, and where it pauses. */
struct msift_verdict msift_accept_all(void);

/* What policy and modifiers make of a sample with a finite loss >= 0 (NaN where the policy does not score). In this
 * order: coverage, outliers, policy, floor, weight. */
struct msift_verdict msift_decide(struct msift_decider *decider, float loss, int64_t id, int64_t epoch);

/* By the policy: the smallest loss whose probability reaches p by the present history; NaN if the history is not full
 * or none does. */
double msift_decider_loss_at(struct msift_decider *decider, double p);

static inline float msift_probability(uint64_t threshold)
{
  return (float)((double)threshold * 0x1p-32);
}

/* Whether a sample is accepted. */
bool msift_accept(uint64_t seed, int64_t epoch, int64_t id, uint64_t threshold);

#endif
