#include "core/decide.h"

#include <math.h>
#include <string.h>

#include "core/random.h"

#define MSIFT_UNSET UINT64_MAX

void msift_decider_init(struct msift_decider *d, const struct msift_policy *policy, const mpisift_config *config,
                        const struct msift_history *history)
{
  d->policy = policy;
  d->config = config;
  d->history = history;
  msift_decider_refresh(d);
}

void msift_decider_refresh(struct msift_decider *d)
{
  memset(d->thresholds, 0xff, sizeof d->thresholds); /* MSIFT_UNSET */
}

static uint64_t integer_threshold(double p)
{
  return p >= 1 ? MSIFT_CERTAIN : p > 0 ? (uint64_t)llround(p * 0x1p32) : 0;
}

static uint64_t make_threshold(const struct msift_decider *d, float loss, int bin)
{
  const uint64_t *below = d->history->below;
  double total = (double)below[MSIFT_BINS];

  if (total == 0)
    return MSIFT_CERTAIN;
  return integer_threshold(
      d->policy->probability(d->config, loss, (double)below[bin] / total, (double)below[bin + 1] / total));
}

static uint64_t bin_threshold(struct msift_decider *d, int bin)
{
  if (d->thresholds[bin] == MSIFT_UNSET)
    d->thresholds[bin] = make_threshold(d, msift_scale_edge(&d->history->scale, bin), bin);
  return d->thresholds[bin];
}

uint64_t msift_decider_threshold(struct msift_decider *d, float loss)
{
  int bin;

  if (!d->policy->scored)
    return integer_threshold(d->policy->probability(d->config, loss, 0, 1));
  bin = msift_scale_bin(&d->history->scale, loss);
  return d->policy->exact ? make_threshold(d, loss, bin) : bin_threshold(d, bin);
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

static bool is_outlier(const struct msift_decider *d, float loss)
{
  const uint64_t *below = d->history->below;
  double total = (double)below[MSIFT_BINS];

  if (d->config->outlier_share <= 0 || !d->policy->scored || total == 0)
    return false;
  return (double)below[msift_scale_bin(&d->history->scale, loss)] >= (1 - d->config->outlier_share) * total;
}

static float weight_of(const mpisift_config *config, uint64_t threshold)
{
  double weight;

  if (!config->unbiased_weights || threshold == 0)
    return 1;
  weight = 0x1p32 / (double)threshold;
  return (float)(config->weight_clip > 0 ? fmin(weight, config->weight_clip) : weight);
}

struct msift_verdict msift_decide(struct msift_decider *d, float loss, int64_t id, int64_t epoch)
{
  uint64_t threshold, least = integer_threshold(d->config->floor);

  if (covered(d->config, id, epoch))
    return msift_accept_all();
  if (is_outlier(d, loss))
    return (struct msift_verdict){.outlier = true, .weight = 1};
  threshold = msift_decider_threshold(d, loss);
  threshold = threshold > least ? threshold : least;
  return (struct msift_verdict){.threshold = threshold, .weight = weight_of(d->config, threshold)};
}

double msift_decider_loss_at(struct msift_decider *d, double p)
{
  if (!d->policy->scored || !msift_history_full(d->history))
    return NAN;
  for (int b = 0; b < MSIFT_BINS; b++)
    if ((double)bin_threshold(d, b) * 0x1p-32 >= p)
      return (double)msift_scale_edge(&d->history->scale, b);
  return NAN;
}

bool msift_accept(uint64_t seed, int64_t epoch, int64_t id, uint64_t threshold)
{
  uint64_t bits = msift_random(seed, MSIFT_STREAM_ACCEPT, (uint64_t)epoch, (uint64_t)id);

  return (bits & UINT32_MAX) < threshold;
}
