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

static uint64_t make_threshold(const struct msift_decider *d, double low, double high)
{
  double p = d->policy->probability(d->config, low, high);

  return p >= 1 ? MSIFT_CERTAIN : p > 0 ? (uint64_t)llround(p * 0x1p32) : 0;
}

static uint64_t bin_threshold(struct msift_decider *d, int bin)
{
  const uint64_t *below = d->history->below;
  double total = (double)below[MSIFT_BINS];

  if (d->thresholds[bin] == MSIFT_UNSET)
    d->thresholds[bin] =
        total > 0 ? make_threshold(d, (double)below[bin] / total, (double)below[bin + 1] / total) : MSIFT_CERTAIN;
  return d->thresholds[bin];
}

uint64_t msift_decider_threshold(struct msift_decider *d, float loss)
{
  if (!d->policy->scored)
    return make_threshold(d, 0, 1);
  return bin_threshold(d, msift_scale_bin(&d->history->scale, loss));
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
