/* Acceptance as a comparison of integers: a random number below 2^32, keyed by (seed, epoch, id), against a threshold
 * in [0, 2^32]. The threshold of each bin of the history is made when first asked for. */
#ifndef MSIFT_CORE_DECIDE_H
#define MSIFT_CORE_DECIDE_H

#include "core/history.h"
#include "core/policy.h"
#include "core/random.h"

#define MSIFT_CERTAIN (UINT64_C(1) << 32)

struct msift_decider {
  const struct msift_policy *policy;
  const struct msift_history *history;
  struct msift_terms terms;
  double share;                        /* of candidates kept, all modifiers included: expected or measured */
  uint64_t thresholds[MSIFT_BINS_MAX]; /* of those bins that have a bit here: */
  uint64_t made[(MSIFT_BINS_MAX + 63) / 64];
};

void msift_decider_init(struct msift_decider *decider, const struct msift_policy *policy, const mpisift_config *config,
                        const struct msift_history *history);

/* Before a round: the history or the run's progress has changed, thresholds are made anew.
 * \param fraction  of the run, for schedules.
 * \param share     of candidates kept of late; 0 if it is not known: the policy's is taken. */
void msift_decider_refresh(struct msift_decider *decider, double fraction, double share);

/* A candidate, with what the policy and the modifiers ask of it. */
struct msift_candidate {
  int64_t id;
  float value;   /* the policy's measure, finite; of no matter to a policy that does not score */
  int32_t group; /* in [0, config.groups), or −1: not known; of no matter without a class floor */
  uint32_t key;  /* of the value, and its bin in the history: see msift_candidates_find() */
  int16_t bin;
  bool sure; /* the policy is overruled: p = 1, but for outliers */
};

/* Find the places of n candidates in the history. */
void msift_candidates_find(int64_t n, struct msift_candidate *candidates, const struct msift_history *history);

struct msift_verdict {
  uint64_t threshold;
  float weight;
  bool outlier; /* never accepted, since its measure is among the highest */
};

/* Everything is accepted: before sifting starts, and where it pauses. */
struct msift_verdict msift_accept_all(void);

/* What policy and modifiers make of a candidate, wherever its place. In this order: coverage, outliers, class floor and
 * policy, floor, weight. */
struct msift_verdict msift_decide(struct msift_decider *decider, const struct msift_candidate *candidate,
                                  int64_t epoch);

/* Decide on n candidates, whose places are found if the policy scores. */
void msift_decide_all(struct msift_decider *decider, int64_t n, const struct msift_candidate *candidates, int64_t epoch,
                      struct msift_verdict *verdicts);

/* The same for a device, which decides by what the host makes in advance: the policy's thresholds as a formula of the
 * candidate's measure, or by bin. */
enum msift_formula_kind {
  MSIFT_FORMULA_CONSTANT,    /* `constant` */
  MSIFT_FORMULA_BY_BIN,      /* msift_decider_by_bin() */
  MSIFT_FORMULA_AT_LEAST,    /* MSIFT_CERTAIN where the measure is at least `parameter`, else 0 */
  MSIFT_FORMULA_PROPORTIONAL /* of p = min(1, parameter × measure); 0 where the measure is not positive */
};

struct msift_formula {
  enum msift_formula_kind kind;
  uint64_t constant;
  double parameter;
};
struct msift_formula msift_decider_formula(const struct msift_decider *decider);

/* [bins]: the policy's threshold; whether the outlier guard drops a measure of the bin. */
void msift_decider_by_bin(struct msift_decider *decider, uint64_t *thresholds);
void msift_decider_outliers(const struct msift_decider *decider, uint8_t *outliers);
/* [groups]: the class floor's threshold. */
void msift_decider_by_group(const struct msift_decider *decider, uint64_t *thresholds);
/* The floor's threshold; what weights are, times 1/p: 0 if they are all 1. */
uint64_t msift_decider_floor(const struct msift_decider *decider);
double msift_decider_weight_factor(const struct msift_decider *decider);

/* The weight of what is accepted with probability p; share: of candidates kept. */
float msift_weight(const struct msift_decider *decider, double p, double share);

/* The policy's threshold for a value. */
uint64_t msift_decider_threshold(struct msift_decider *decider, float value);

/* By the policy: the smallest value whose probability reaches p by the present history; NaN if the history is not full
 * or none does. */
double msift_decider_value_at(struct msift_decider *decider, double p);

static inline float msift_probability(uint64_t threshold)
{
  return (float)((double)threshold * 0x1p-32);
}

/* The key of an epoch's acceptance. */
static inline philox2x32_key_t msift_accept_key(uint64_t seed, int64_t epoch)
{
  return (philox2x32_key_t){{(uint32_t)msift_random(seed, MSIFT_STREAM_ACCEPT, (uint64_t)epoch, 0)}};
}

/* What decides on a sample: Philox2x32-10 of its id (Salmon et al., SC 2011). */
static inline uint32_t msift_draw(philox2x32_key_t key, int64_t id)
{
  philox2x32_ctr_t c = {{(uint32_t)id, (uint32_t)((uint64_t)id >> 32)}};

  return philox2x32(c, key).v[0];
}

/* The same of n ids, sooner: samples go through each round together, in vector instructions. */
void msift_draw_all(philox2x32_key_t key, int64_t n, const int64_t *ids, uint32_t *draws);

/* Whether a sample is accepted. */
static inline bool msift_accept_by(philox2x32_key_t key, int64_t id, uint64_t threshold)
{
  return msift_draw(key, id) < threshold;
}

static inline bool msift_accept(uint64_t seed, int64_t epoch, int64_t id, uint64_t threshold)
{
  return msift_accept_by(msift_accept_key(seed, epoch), id, threshold);
}

#endif
