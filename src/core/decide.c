#include "core/decide.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "core/schedule.h"

enum { DRAWS = 16, MANY = 256 }; /* random numbers made at once; candidates decided on at once */

/* A block's samples go through one round of Philox each. */
static void draw_round(uint32_t key, uint32_t *low, uint32_t *high)
{
  for (int i = 0; i < DRAWS; i++) {
    uint64_t product = (uint64_t)low[i] * PHILOX_M2x32_0;

    low[i] = (uint32_t)(product >> 32) ^ key ^ high[i];
    high[i] = (uint32_t)product;
  }
}

static void draw_block(philox2x32_key_t key, const int64_t *ids, uint32_t *draws)
{
  uint32_t high[DRAWS];

  for (int i = 0; i < DRAWS; i++) {
    draws[i] = (uint32_t)ids[i];
    high[i] = (uint32_t)((uint64_t)ids[i] >> 32);
  }
  for (uint32_t round = 0; round < PHILOX2x32_DEFAULT_ROUNDS; round++)
    draw_round(key.v[0] + round * PHILOX_W32_0, draws, high);
}

void msift_draw_all(philox2x32_key_t key, int64_t n, const int64_t *ids, uint32_t *draws)
{
  int64_t whole = n - n % DRAWS;

  for (int64_t i = 0; i < whole; i += DRAWS)
    draw_block(key, ids + i, draws + i);
  for (int64_t i = whole; i < n; i++)
    draws[i] = msift_draw(key, ids[i]);
}

void msift_candidates_find(int64_t n, struct msift_candidate *candidates, const struct msift_history *history)
{
  for (int64_t i = 0; i < n; i++)
    candidates[i].key = msift_key(candidates[i].value);
  for (int64_t i = 0; i < n && !history->exact; i++)
    candidates[i].bin = (int16_t)msift_bin(&history->bins, candidates[i].key);
}

void msift_decider_init(struct msift_decider *d, const struct msift_policy *policy, const mpisift_config *config,
                        const struct msift_history *history)
{
  d->policy = policy;
  d->history = history;
  d->terms.config = config;
  msift_decider_refresh(d, 0, 0);
}

/* Beta or keep, at a share of the run. */
static double strength(const struct msift_decider *d, double fraction)
{
  const mpisift_config *config = d->terms.config;

  switch (d->policy->rule->strength) {
  case MSIFT_STRENGTH_BETA:
    return msift_schedule_value(&config->schedule, config->beta, fraction);
  case MSIFT_STRENGTH_KEEP:
    return msift_schedule_value(&config->schedule, config->keep, fraction);
  default:
    return 0;
  }
}

void msift_decider_refresh(struct msift_decider *d, double fraction, double share)
{
  const struct msift_rule *rule = d->policy->rule;

  d->terms.strength = strength(d, fraction);
  d->share = share > 0 ? share : rule->keep(d->terms.strength);
  if (rule->prepare != NULL)
    d->terms.scale = rule->prepare(&d->terms, d->history);
  memset(d->made, 0, sizeof d->made);
}

/* The nearest integer, halves upwards: what is added is the largest number below a half. */
static uint64_t integer_threshold(double p)
{
  return p >= 1 ? MSIFT_CERTAIN : p > 0 ? (uint64_t)(p * 0x1p32 + 0x1.fffffffffffffp-2) : 0;
}

static uint64_t make_threshold(const struct msift_decider *d, float value, struct msift_place place)
{
  return integer_threshold(d->policy->rule->probability(&d->terms, value, place));
}

static inline bool is_made(const struct msift_decider *d, int bin)
{
  return d->made[bin / 64] >> bin % 64 & 1;
}

static inline void note_made(struct msift_decider *d, int bin)
{
  d->made[bin / 64] |= UINT64_C(1) << bin % 64;
}

/* For rules that go by percentiles alone. */
static inline uint64_t bin_threshold(struct msift_decider *d, int bin)
{
  if (!is_made(d, bin)) {
    d->thresholds[bin] = make_threshold(d, NAN, msift_history_bin_place(d->history, bin));
    note_made(d, bin);
  }
  return d->thresholds[bin];
}

static struct msift_place place_of(const struct msift_decider *d, const struct msift_candidate *c)
{
  return d->history->exact ? msift_history_place(d->history, c->key) : msift_history_bin_place(d->history, c->bin);
}

/* The policy's threshold. */
static inline uint64_t threshold_of(struct msift_decider *d, const struct msift_candidate *c)
{
  const struct msift_place whole = {0, 1};

  if (!msift_policy_measures(d->policy))
    return make_threshold(d, c->value, whole);
  if (d->history->total == 0)
    return d->policy->rule->by_value ? make_threshold(d, c->value, whole) : MSIFT_CERTAIN;
  if (d->history->exact || d->policy->rule->by_value)
    return make_threshold(d, c->value, place_of(d, c));
  return bin_threshold(d, c->bin);
}

uint64_t msift_decider_threshold(struct msift_decider *d, float value)
{
  struct msift_candidate candidate = {.value = value};

  msift_candidates_find(1, &candidate, d->history);
  return threshold_of(d, &candidate);
}

struct msift_verdict msift_accept_all(void)
{
  return (struct msift_verdict){.threshold = MSIFT_CERTAIN, .weight = 1};
}

/* Once in so many epochs each sample is taken whatever its loss; in which one depends on its id. */
static bool covered(const mpisift_config *config, int64_t id, int64_t epoch)
{
  uint64_t epochs = (uint64_t)config->coverage_epochs;

  return epochs > 0 && (msift_mix((uint64_t)id + 1) % epochs + (uint64_t)epoch) % epochs == 0;
}

static bool is_outlier(const struct msift_decider *d, const struct msift_candidate *c)
{
  double share = d->terms.config->outlier_share;

  if (share <= 0 || !msift_policy_measures(d->policy) || d->history->total == 0)
    return false;
  return place_of(d, c).low >= 1 - share;
}

/* Of a class that has the share n / total of the candidates, p is needed for the share class_floor of what is kept. */
static double class_floor(const struct msift_decider *d, int32_t group)
{
  const mpisift_config *config = d->terms.config;
  double n, total = (double)d->history->total;

  if (config->class_floor <= 0 || total == 0 || group < 0)
    return 0;
  n = (double)d->history->in_group[group];
  return n > 0 ? config->class_floor * d->share * total / n : 1;
}

static mpisift_weights weights_of(const struct msift_decider *d)
{
  mpisift_weights kind = d->terms.config->weights;

  return kind == MPISIFT_WEIGHTS_POLICY && d->policy->rule->weighted ? MPISIFT_WEIGHTS_NORMALIZED : kind;
}

float msift_weight(const struct msift_decider *d, double p, double share)
{
  const mpisift_config *config = d->terms.config;
  mpisift_weights kind = weights_of(d);
  double weight;

  if (kind == MPISIFT_WEIGHTS_POLICY || p <= 0)
    return 1;
  weight = 1 / p * (kind == MPISIFT_WEIGHTS_NORMALIZED ? share : 1);
  return (float)(config->weight_clip > 0 ? fmin(weight, config->weight_clip) : weight);
}

static uint64_t larger(uint64_t a, uint64_t b)
{
  return a > b ? a : b;
}

static inline struct msift_verdict decide(struct msift_decider *d, const struct msift_candidate *c, int64_t epoch)
{
  const mpisift_config *config = d->terms.config;
  uint64_t threshold;

  if (covered(config, c->id, epoch)) {
    threshold = MSIFT_CERTAIN;
  } else if (is_outlier(d, c)) {
    return (struct msift_verdict){.outlier = true, .weight = 1};
  } else {
    threshold = larger(c->sure ? MSIFT_CERTAIN : threshold_of(d, c), integer_threshold(class_floor(d, c->group)));
    threshold = larger(threshold, integer_threshold(config->floor));
  }
  return (struct msift_verdict){.threshold = threshold,
                                .weight = msift_weight(d, (double)threshold * 0x1p-32, d->share)};
}

struct msift_verdict msift_decide(struct msift_decider *d, const struct msift_candidate *candidate, int64_t epoch)
{
  struct msift_candidate found = *candidate;

  msift_candidates_find(1, &found, d->history);
  return decide(d, &found, epoch);
}

/* Whether a candidate's bin alone decides: the common case, and the fast one. */
static bool plain(const struct msift_decider *d)
{
  const mpisift_config *c = d->terms.config;

  return msift_policy_measures(d->policy) && !d->policy->rule->by_value && !d->policy->rule->weighted &&
         !d->history->exact && d->history->total > 0 && c->coverage_epochs == 0 && c->outlier_share <= 0 &&
         c->class_floor <= 0 && c->floor <= 0 && c->weights == MPISIFT_WEIGHTS_POLICY;
}

/* By their bins, of up to MANY. Thresholds that have yet to be made are made together, so that what they need of the
 * history, mostly far from the caches, is fetched at once. */
static void decide_plain(struct msift_decider *d, int64_t n, const struct msift_candidate *candidates,
                         struct msift_verdict *verdicts)
{
  struct msift_place places[MANY];
  int16_t bins[MANY];
  int n_bins = 0;

  for (int64_t i = 0; i < n; i++)
    if (!is_made(d, candidates[i].bin)) {
      bins[n_bins++] = candidates[i].bin;
      note_made(d, candidates[i].bin);
    }
  for (int i = 0; i < n_bins; i++)
    places[i] = msift_history_bin_place(d->history, bins[i]);
  for (int i = 0; i < n_bins; i++)
    d->thresholds[bins[i]] = make_threshold(d, NAN, places[i]);
  for (int64_t i = 0; i < n; i++)
    verdicts[i] = (struct msift_verdict){.threshold = d->thresholds[candidates[i].bin], .weight = 1};
}

void msift_decide_all(struct msift_decider *d, int64_t n, const struct msift_candidate *candidates, int64_t epoch,
                      struct msift_verdict *verdicts)
{
  if (plain(d))
    for (int64_t i = 0; i < n; i += MANY)
      decide_plain(d, n - i < MANY ? n - i : MANY, candidates + i, verdicts + i);
  else
    for (int64_t i = 0; i < n; i++)
      verdicts[i] = decide(d, &candidates[i], epoch);
}

struct msift_formula msift_decider_formula(const struct msift_decider *d)
{
  const struct msift_rule *rule = d->policy->rule;
  const struct msift_place whole = {0, 1};

  if (rule == &msift_rule_absolute)
    return (struct msift_formula){.kind = MSIFT_FORMULA_AT_LEAST, .parameter = d->terms.config->threshold};
  if (rule == &msift_rule_proportional && !isnan(d->terms.scale))
    return (struct msift_formula){.kind = MSIFT_FORMULA_PROPORTIONAL, .parameter = d->terms.scale};
  if (rule->by_value || !msift_policy_measures(d->policy))
    return (struct msift_formula){.constant = make_threshold(d, 0, whole)};
  if (d->history->total == 0)
    return (struct msift_formula){.constant = MSIFT_CERTAIN};
  return (struct msift_formula){.kind = MSIFT_FORMULA_BY_BIN};
}

void msift_decider_by_bin(struct msift_decider *d, uint64_t *thresholds)
{
  for (int b = 0; b < d->history->bins.n; b++)
    thresholds[b] = bin_threshold(d, b);
}

void msift_decider_outliers(const struct msift_decider *d, uint8_t *outliers)
{
  for (int b = 0; b < d->history->bins.n; b++)
    outliers[b] = is_outlier(d, &(struct msift_candidate){.bin = (int16_t)b});
}

void msift_decider_by_group(const struct msift_decider *d, uint64_t *thresholds)
{
  for (int32_t g = 0; g < d->history->groups; g++)
    thresholds[g] = integer_threshold(class_floor(d, g));
}

uint64_t msift_decider_floor(const struct msift_decider *d)
{
  return integer_threshold(d->terms.config->floor);
}

double msift_decider_weight_factor(const struct msift_decider *d)
{
  mpisift_weights kind = weights_of(d);

  return kind == MPISIFT_WEIGHTS_POLICY ? 0 : kind == MPISIFT_WEIGHTS_NORMALIZED ? d->share : 1;
}

/* The value of a bin, or in an exact history of a place of the sorted window. */
static float value_of(const struct msift_history *h, int64_t i)
{
  return msift_key_float(h->exact ? h->sorted[i] : h->bins.first[i]);
}

/* Probabilities ascend with values; bins below and above have keys that are none of a number's. */
double msift_decider_value_at(struct msift_decider *d, double p)
{
  const struct msift_history *h = d->history;
  int64_t low = h->exact ? 0 : msift_bin(&h->bins, msift_key(-FLT_MAX));
  int64_t n = h->exact ? (int64_t)h->total : msift_bin(&h->bins, msift_key(FLT_MAX)) + 1, high = n;

  if (!msift_policy_measures(d->policy) || !msift_history_full(h) || h->total == 0)
    return NAN;
  if (d->policy->rule == &msift_rule_absolute)
    return d->terms.config->threshold; /* whatever the bins are */
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if ((double)msift_decider_threshold(d, value_of(h, middle)) * 0x1p-32 < p)
      low = middle + 1;
    else
      high = middle;
  }
  return low < n ? (double)value_of(h, low) : NAN;
}
