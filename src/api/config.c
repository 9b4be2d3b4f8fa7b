#include <math.h>
#include <string.h>

#include "api/hash.h"
#include "api/loader.h"
#include "core/schedule.h"

enum { DEFAULT_LANES = 240 };

void mpisift_config_init(mpisift_config *config, size_t size)
{
  mpisift_config defaults = {
      .size = sizeof defaults,
      .policy = "relative",
      .beta = 1,
      .keep = 0.5,
      .move_back = 0.7,
      .refresh_share = 1,
      .reference_field = "reference_loss",
      .loss_history_length = 4096,
      .sift_every = 1,
      .batch_size = 32,
      .epochs = 1,
      .end_of_epoch = MPISIFT_CARRY,
      .shuffle = true,
      .window = 2,
      .bad_loss_share = 0.01,
      .report_lag = 1,
  };

  if (config == NULL)
    return;
  memset(config, 0, size);
  memcpy(config, &defaults, size < sizeof defaults ? size : sizeof defaults);
  config->size = size;
}

static mpisift_status at_least(const char *name, int64_t value, int64_t least, struct msift_error *error)
{
  if (value >= least)
    return MPISIFT_OK;
  return msift_error_set(error, MPISIFT_ERR_ARG, "config.%s is %lld; it must be at least %lld", name, (long long)value,
                         (long long)least);
}

static mpisift_status check_numbers(const mpisift_config *c, struct msift_error *error)
{
  MSIFT_TRY(at_least("loss_history_length", c->loss_history_length, 1, error));
  MSIFT_TRY(at_least("sift_delay", c->sift_delay, 0, error));
  MSIFT_TRY(at_least("sift_every", c->sift_every, 1, error));
  MSIFT_TRY(at_least("coverage_epochs", c->coverage_epochs, 0, error));
  MSIFT_TRY(at_least("groups", c->groups, 0, error));
  MSIFT_TRY(at_least("refresh_every", c->refresh_every, 0, error));
  MSIFT_TRY(at_least("step_budget", c->step_budget, 0, error));
  MSIFT_TRY(at_least("global_batch_size", c->global_batch_size, 0, error));
  if (c->global_batch_size == 0)
    MSIFT_TRY(at_least("batch_size", c->batch_size, 1, error));
  MSIFT_TRY(at_least("score_batch_size", c->score_batch_size, 0, error));
  MSIFT_TRY(at_least("epochs", c->epochs, 0, error));
  MSIFT_TRY(at_least("lanes", c->lanes, 0, error));
  MSIFT_TRY(at_least("window", c->window, 1, error));
  MSIFT_TRY(at_least("report_lag", c->report_lag, 0, error));
  if (c->loss_history_length > UINT32_MAX / 2)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.loss_history_length is %lld; at most %u is possible",
                           (long long)c->loss_history_length, UINT32_MAX / 2);
  if (c->groups > 1 << 16)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.groups is %lld; at most %d is possible",
                           (long long)c->groups, 1 << 16);
  if (c->score_batch_size > 1 << 24)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.score_batch_size is %lld; at most %d is possible",
                           (long long)c->score_batch_size, 1 << 24);
  if (c->report_lag > 1 << 20)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.report_lag is %lld; at most %d is possible",
                           (long long)c->report_lag, 1 << 20);
  if (c->pipeline_depth < 0 || c->pipeline_depth > 1)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.pipeline_depth is %d; 0 and 1 are possible",
                           c->pipeline_depth);
  return MPISIFT_OK;
}

static mpisift_status check_share(const char *name, double value, double most, struct msift_error *error)
{
  if (value >= 0 && value <= most)
    return MPISIFT_OK;
  return msift_error_set(error, MPISIFT_ERR_ARG, "config.%s is %g; it must be in [0, 1%c", name, value,
                         most < 1 ? ')' : ']');
}

static mpisift_status check_modifiers(const mpisift_config *c, struct msift_error *error)
{
  const double below_one = nextafter(1, 0);

  MSIFT_TRY(check_share("full_data_tail", c->full_data_tail, below_one, error));
  MSIFT_TRY(check_share("outlier_share", c->outlier_share, below_one, error));
  MSIFT_TRY(check_share("floor", c->floor, 1, error));
  MSIFT_TRY(check_share("bad_loss_share", c->bad_loss_share, 1, error));
  MSIFT_TRY(check_share("class_floor", c->class_floor, 1, error));
  MSIFT_TRY(check_share("move_back", c->move_back, 1, error));
  MSIFT_TRY(check_share("refresh_share", c->refresh_share, 1, error));
  MSIFT_TRY(check_share("loss_smoothing", c->loss_smoothing, below_one, error));
  if (!(c->loss_difference >= 0 && c->loss_difference <= c->loss_smoothing))
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.loss_difference is %g; it must be in [0, %g], the smoothing",
                           c->loss_difference, c->loss_smoothing);
  if (c->full_data_tail > 0 && c->epochs == 0)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "config.full_data_tail is %g, but an endless run has no tail; set epochs",
                           c->full_data_tail);
  if (c->class_floor > 0 && (c->groups < 1 || c->class_floor * (double)c->groups > 1))
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "config.class_floor is %g with config.groups %lld; give the number of classes, and a share "
                           "of at most one over it",
                           c->class_floor, (long long)c->groups);
  if (c->class_floor == 0 && c->groups > 0)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.groups is %lld, but there is no config.class_floor",
                           (long long)c->groups);
  return MPISIFT_OK;
}

static mpisift_status check_weights(const mpisift_config *c, const struct msift_policy *policy,
                                    struct msift_error *error)
{
  bool weighted = c->weights != MPISIFT_WEIGHTS_POLICY || policy->rule->weighted;

  if (c->weights != MPISIFT_WEIGHTS_POLICY && c->weights != MPISIFT_WEIGHTS_UNBIASED &&
      c->weights != MPISIFT_WEIGHTS_NORMALIZED)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.weights is %d, not a mpisift_weights", (int)c->weights);
  if (weighted && !c->weights_applied)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "%s gives weights other than 1; apply them in training and set weights_applied",
                           policy->rule->weighted ? policy->name : "config.weights");
  if (c->weight_clip != 0 && !(c->weight_clip >= 1))
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.weight_clip is %g; it must be 0 or at least 1",
                           c->weight_clip);
  return MPISIFT_OK;
}

/* Every point of the schedule must suit the policy's rule. */
static mpisift_status check_schedule(const mpisift_config *c, const struct msift_policy *policy,
                                     struct msift_error *error)
{
  mpisift_config at_point = *c;

  MSIFT_TRY(msift_schedule_check(&c->schedule, error));
  if (c->schedule.shape == MPISIFT_CONSTANT)
    return MPISIFT_OK;
  if (policy->rule->strength == MSIFT_STRENGTH_NONE)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.schedule: policy %s has neither beta nor keep",
                           policy->name);
  if (c->epochs == 0)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.schedule needs the length of the run; set epochs");
  for (int i = 0; i < c->schedule.n; i++) {
    at_point.beta = at_point.keep = c->schedule.value[i];
    if (policy->rule->check(&at_point, error) != MPISIFT_OK) {
      msift_error_prefix(error, "config.schedule.value[%d]: ", i);
      return error->status;
    }
  }
  return MPISIFT_OK;
}

/* Who can use the policy. */
static mpisift_status check_use(const struct msift_policy *policy, enum msift_use use, struct msift_error *error)
{
  if (use == MSIFT_USE_INDICES && msift_policy_scored(policy))
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "config.policy: %s scores candidates; index plans take stale_relative, soft_prune, hide, "
                           "random and all",
                           policy->name);
  if (use == MSIFT_USE_SIFTER && msift_policy_stale(policy))
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "config.policy: %s goes by the losses of samples trained before, which sifters do not keep",
                           policy->name);
  return MPISIFT_OK;
}

static mpisift_status check_policy(const mpisift_config *c, enum msift_use use, struct msift_error *error)
{
  const struct msift_policy *policy = msift_policy_find(c->policy, error);

  if (policy == NULL)
    return error->status;
  MSIFT_TRY(check_use(policy, use, error));
  MSIFT_TRY(policy->rule->check(c, error));
  MSIFT_TRY(check_schedule(c, policy, error));
  MSIFT_TRY(check_weights(c, policy, error));
  if (c->class_floor > 0 && !msift_policy_measures(policy))
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.class_floor needs a policy that goes by losses; %s does not",
                           policy->name);
  if (policy->measure == MSIFT_MEASURE_REDUCIBLE && c->reference_field == NULL)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.reference_field is NULL; policy %s needs it", policy->name);
  return MPISIFT_OK;
}

static mpisift_status check_end(const mpisift_config *c, enum msift_use use, struct msift_error *error)
{
  if (c->end_of_epoch != MPISIFT_CARRY && c->end_of_epoch != MPISIFT_FLUSH && c->end_of_epoch != MPISIFT_DROP)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.end_of_epoch is %d, not a mpisift_end",
                           (int)c->end_of_epoch);
  if (c->epochs == 0 && use == MSIFT_USE_LOADER && c->end_of_epoch != MPISIFT_CARRY)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "config.epochs is 0, endless; end_of_epoch must be MPISIFT_CARRY then");
  if (c->pad_last_batch && c->end_of_epoch != MPISIFT_FLUSH)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.pad_last_batch needs end_of_epoch MPISIFT_FLUSH");
  if (c->pad_last_batch && !c->weights_applied)
    return msift_error_set(
        error, MPISIFT_ERR_ARG,
        "config.pad_last_batch gives rows of weight 0; apply weights in training and set weights_applied");
  return MPISIFT_OK;
}

mpisift_status msift_config_check(const mpisift_config *c, enum msift_use use, struct msift_error *error)
{
  if (c->size != sizeof *c)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "config.size is %zu, not %zu; set the configuration up with mpisift_config_init()", c->size,
                           sizeof *c);
  if (c->policy == NULL)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.policy is NULL");
  MSIFT_TRY(check_numbers(c, error));
  MSIFT_TRY(check_modifiers(c, error));
  MSIFT_TRY(check_policy(c, use, error));
  return check_end(c, use, error);
}

mpisift_status msift_config_batch(const mpisift_config *c, int64_t ranks, int64_t *batch, struct msift_error *error)
{
  bool global = c->global_batch_size > 0;

  *batch = global ? c->global_batch_size : c->batch_size;
  if (*batch > INT32_MAX / MSIFT_MAX_ROUND_BATCHES / (global ? 1 : ranks))
    return msift_error_set(error, MPISIFT_ERR_ARG, "the global batch has more than %d samples",
                           INT32_MAX / MSIFT_MAX_ROUND_BATCHES);
  *batch *= global ? 1 : ranks;
  if (*batch < ranks)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.global_batch_size is %lld, less than the %lld replicas",
                           (long long)*batch, (long long)ranks);
  return MPISIFT_OK;
}

mpisift_status msift_config_lanes(const mpisift_config *c, int64_t ranks, int64_t n, int64_t *lanes,
                                  struct msift_error *error)
{
  if (c->lanes > 0 && c->lanes < ranks)
    return msift_error_set(error, MPISIFT_ERR_ARG, "config.lanes is %lld, less than the %lld replicas",
                           (long long)c->lanes, (long long)ranks);
  *lanes = c->lanes > 0 ? c->lanes : (ranks + DEFAULT_LANES - 1) / DEFAULT_LANES * DEFAULT_LANES;
  *lanes = *lanes < n ? *lanes : n;
  return MPISIFT_OK;
}

static uint64_t text_hash(const char *text)
{
  return text == NULL ? 0 : msift_hash(0, text, strlen(text));
}

/* The points beyond n do not matter. */
static uint64_t schedule_hash(const mpisift_schedule *s)
{
  uint64_t hash = msift_hash(0, &s->shape, sizeof s->shape);

  if (s->shape == MPISIFT_CONSTANT)
    return hash;
  hash = msift_hash(hash, s->at, (size_t)s->n * sizeof s->at[0]);
  return msift_hash(hash, s->value, (size_t)s->n * sizeof s->value[0]);
}

static uint64_t bits(double value)
{
  uint64_t word;

  memcpy(&word, &value, sizeof word);
  return word;
}

int msift_config_settings(const mpisift_config *c, struct msift_setting *settings)
{
  const struct msift_setting all[] = {
      {"config.policy", text_hash(c->policy)},
      {"config.beta", bits(c->beta)},
      {"config.keep", bits(c->keep)},
      {"config.threshold", bits(c->threshold)},
      {"config.prune_quantile", bits(c->prune_quantile)},
      {"config.move_back", bits(c->move_back)},
      {"config.loss_smoothing", bits(c->loss_smoothing)},
      {"config.loss_difference", bits(c->loss_difference)},
      {"config.refresh_every", (uint64_t)c->refresh_every},
      {"config.refresh_share", bits(c->refresh_share)},
      {"config.step_budget", (uint64_t)c->step_budget},
      {"config.schedule", schedule_hash(&c->schedule)},
      {"config.reference_field", text_hash(c->reference_field)},
      {"config.loss_history_length", (uint64_t)c->loss_history_length},
      {"config.exact_history", c->exact_history},
      {"config.sift_delay", (uint64_t)c->sift_delay},
      {"config.repeat_delay_per_epoch", c->repeat_delay_per_epoch},
      {"config.sift_every", (uint64_t)c->sift_every},
      {"config.full_data_tail", bits(c->full_data_tail)},
      {"config.coverage_epochs", (uint64_t)c->coverage_epochs},
      {"config.outlier_share", bits(c->outlier_share)},
      {"config.floor", bits(c->floor)},
      {"config.class_floor", bits(c->class_floor)},
      {"config.groups", (uint64_t)c->groups},
      {"config.weights", (uint64_t)c->weights},
      {"config.weight_clip", bits(c->weight_clip)},
      {"config.batch_size", (uint64_t)c->batch_size},
      {"config.global_batch_size", (uint64_t)c->global_batch_size},
      {"config.score_batch_size", (uint64_t)c->score_batch_size},
      {"config.epochs", (uint64_t)c->epochs},
      {"config.end_of_epoch", (uint64_t)c->end_of_epoch},
      {"config.pad_last_batch", c->pad_last_batch},
      {"config.weights_applied", c->weights_applied},
      {"config.pipeline_depth", (uint64_t)c->pipeline_depth},
      {"config.seed", c->seed},
      {"config.shuffle", c->shuffle},
      {"config.lanes", (uint64_t)c->lanes},
      {"config.window", (uint64_t)c->window},
      {"config.bad_loss_share", bits(c->bad_loss_share)},
      {"config.report_lag", (uint64_t)c->report_lag},
      {"config.pin_memory", c->pin_memory},
  };

  _Static_assert(sizeof all / sizeof all[0] < MSIFT_MAX_SETTINGS, "room for the source's settings too");
  memcpy(settings, all, sizeof all);
  return (int)(sizeof all / sizeof all[0]);
}
