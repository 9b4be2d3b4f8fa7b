/* The plan of an epoch: each owner decides for its ids, from the table, and what is kept is spread over the replicas.
 */
#include <math.h>
#include <string.h>

#include "api/indices.h"
#include "comm/route.h"
#include "core/schedule.h"

/* Sums over all ranks. Probabilities count in units of 2^-24. */
enum {
  ACCEPTED,
  OUTLIERS,
  UNKNOWN,
  SIFTED,
  CHANCES,
  JUDGED,
  JUDGED_CHANCES,
  REFRESHED,
  BLOCKS,
  HASH,
  ALL_HASH,
  N_SUMS
};

/* A plan in the making. */
struct draft {
  mpisift_indices *x;
  mpisift_index_epoch *now;
  struct msift_order order;
  philox2x32_key_t accept;
  uint64_t sums[N_SUMS];
  int64_t all_until, all_from; /* positions below and from which all are accepted */
  bool refreshes;
  struct msift_spread train, refresh;
};

static mpisift_status sum(const mpisift_indices *x, uint64_t *values, int n)
{
  return msift_team_sum(&x->ctx->team, values, n, &x->ctx->error);
}

/* Of the run, at the beginning of an epoch. */
static double fraction(const mpisift_indices *x)
{
  if (x->config.step_budget > 0)
    return mpisift_indices_fraction(x);
  return x->config.epochs > 0 ? (double)x->epoch / (double)x->config.epochs : 0;
}

static mpisift_status count_losses(const mpisift_indices *x, uint64_t *counts)
{
  bool done;

  if (!msift_policy_measures(x->policy))
    return MPISIFT_OK;
  do {
    memset(counts, 0, (size_t)x->history->bins.n * sizeof *counts);
    msift_census_count(x->history, &x->table, counts);
    MSIFT_TRY(sum(x, counts, x->history->bins.n));
    done = msift_census_take(x->history, counts);
  } while (!done);
  return MPISIFT_OK;
}

/* What the policy goes by: the mean and the places of all known losses. */
static mpisift_status take_census(mpisift_indices *x, mpisift_index_epoch *now)
{
  uint64_t sums[MSIFT_CENSUS_SUMS], *counts;
  mpisift_status status;

  msift_census_begin(x->history);
  msift_census_sum(&x->table, sums);
  MSIFT_TRY(sum(x, sums, MSIFT_CENSUS_SUMS));
  x->decider->terms.mean = msift_census_mean(sums);
  memset(x->history->in_group, 0, (size_t)x->history->groups * sizeof *x->history->in_group);
  msift_census_groups(&x->table, x->history->in_group);
  MSIFT_TRY(sum(x, x->history->in_group, (int)x->history->groups));
  now->mean_loss = sums[MSIFT_CENSUS_KNOWN] > 0 ? x->decider->terms.mean : NAN;
  counts = msift_alloc(&x->ctx->memory, &x->ctx->error, MSIFT_BINS_MAX, sizeof *counts);
  status = msift_team_agree(&x->ctx->team, &x->ctx->error);
  if (status == MPISIFT_OK)
    status = count_losses(x, counts);
  msift_free(&x->ctx->memory, &counts);
  return status;
}

/* Positions for which the delay, the full tail, or one of the epochs between those that are sifted holds. */
static void find_stretch(struct draft *d)
{
  const mpisift_indices *x = d->x;
  const mpisift_config *c = &x->config;
  int64_t delay = c->sift_delay - (c->repeat_delay_per_epoch ? 0 : x->steps);
  double tail = ((1 - c->full_data_tail) * (double)c->epochs - (double)x->epoch) * (double)x->n;

  if (delay > 0)
    d->all_until = delay > x->n / x->global_batch + 1 ? x->n : delay * x->global_batch - d->now->carried_in;
  if ((x->epoch + 1) % c->sift_every != 0)
    d->all_until = x->n;
  d->all_from = x->n;
  if (c->step_budget > 0)
    d->all_from = fraction(x) >= 1 - c->full_data_tail ? 0 : x->n;
  else if (c->full_data_tail > 0 && tail < (double)x->n)
    d->all_from = tail > 0 ? (int64_t)ceil(tail) : 0;
}

/* The threshold of acceptance of an id, and its weight but for the share, if it goes by one. */
static uint64_t judge(struct draft *d, int64_t id, int64_t position, float *weight)
{
  const mpisift_indices *x = d->x;
  const struct msift_entry *entry = msift_table_at(&x->table, id);
  struct msift_candidate candidate = {.id = id, .value = entry->loss, .group = entry->group};
  bool measures = msift_policy_measures(x->policy), known = msift_entry_known(entry);
  struct msift_verdict verdict = msift_accept_all();

  d->sums[UNKNOWN] += !known;
  *weight = 1;
  if (position < d->all_until || position >= d->all_from)
    return MSIFT_CERTAIN;
  if (known || !measures) {
    candidate.value = known ? entry->loss : 0;
    candidate.sure = x->hides && (double)entry->confidence < x->config.move_back;
    verdict = msift_decide(x->decider, &candidate, x->epoch);
    d->sums[JUDGED]++;
    d->sums[JUDGED_CHANCES] += verdict.threshold >> 8;
  }
  d->sums[SIFTED]++;
  d->sums[CHANCES] += verdict.threshold >> 8;
  d->sums[OUTLIERS] += verdict.outlier;
  *weight = 0;
  return verdict.threshold;
}

static void pick(struct msift_parcels *parcels, const struct msift_pick *p)
{
  ((struct msift_pick *)parcels->items)[parcels->n++] = *p;
}

/* Whether an id that is left out is to be scored. */
static bool refreshed(const struct draft *d, int64_t id)
{
  const mpisift_config *c = &d->x->config;
  uint64_t draw = msift_random(c->seed, MSIFT_STREAM_REFRESH, (uint64_t)d->x->epoch, (uint64_t)id);

  return d->refreshes && (double)(draw >> 11) * 0x1p-53 < c->refresh_share;
}

/* Decide on this rank's ids. Weights of 0 wait for the share. */
static void choose(struct draft *d, int64_t *last_block)
{
  const mpisift_indices *x = d->x;
  struct msift_finder finder;

  msift_finder_make(&finder, &d->order);
  for (int64_t id = x->table.first; id < x->table.first + x->table.n; id++) {
    struct msift_pick p = {.at = msift_finder_position(&finder, id), .id = id, .epoch = (int32_t)x->epoch};
    uint64_t threshold = judge(d, id, p.at, &p.weight);

    p.loss = msift_table_at(&x->table, id)->loss;
    d->sums[ALL_HASH] += msift_mix((uint64_t)id + 1);
    p.probability = msift_probability(threshold);
    if (msift_accept_by(d->accept, id, threshold)) {
      pick(&d->train.picks, &p);
      d->sums[HASH] += msift_mix((uint64_t)id + 1);
      d->sums[BLOCKS] += id / x->block != *last_block;
      *last_block = id / x->block;
    } else if (refreshed(d, id)) {
      p.probability = p.weight = 0;
      pick(&d->refresh.picks, &p);
    }
  }
  d->sums[ACCEPTED] = (uint64_t)d->train.picks.n;
  d->sums[REFRESHED] = (uint64_t)d->refresh.picks.n;
}

/* A block on the border of two ranks counts once: the higher rank knows the last block of those below. */
static mpisift_status count_blocks(struct draft *d, int64_t last_block)
{
  const mpisift_indices *x = d->x;
  const struct msift_pick *picks = d->train.picks.items;
  int64_t before;

  MSIFT_TRY(msift_route_most_before(&x->ctx->team, last_block + 1, &before, &x->ctx->error));
  if (d->train.picks.n > 0 && picks[0].id / x->block == before - 1)
    d->sums[BLOCKS]--;
  return MPISIFT_OK;
}

static int64_t ceil_quotient(int64_t a, int64_t b)
{
  return a / b + (a % b != 0);
}

static double quotient(uint64_t a, uint64_t b, double otherwise)
{
  return b > 0 ? (double)a / (double)b : otherwise;
}

/* What has been chosen, of all ranks; and the weights that follow from it. */
static mpisift_status finish_choice(struct draft *d)
{
  mpisift_indices *x = d->x;
  mpisift_index_epoch *now = d->now;
  struct msift_pick *picks = d->train.picks.items;
  const uint64_t *s = d->sums;
  double kept;

  MSIFT_TRY(sum(x, d->sums, N_SUMS));
  now->candidates = x->n;
  x->id_hash = s[ALL_HASH];
  now->accepted = (int64_t)s[ACCEPTED];
  now->outliers = (int64_t)s[OUTLIERS];
  now->sifted_out = now->candidates - now->accepted - now->outliers;
  now->unknown = (int64_t)s[UNKNOWN];
  now->blocks_empty = ceil_quotient(x->n, x->block) - (int64_t)s[BLOCKS];
  now->share = quotient(s[CHANCES], s[SIFTED], 0x1p24) * 0x1p-24;
  kept = quotient(s[CHANCES], s[SIFTED] - s[OUTLIERS], 0x1p24) * 0x1p-24;
  now->learning_rate_factor = quotient((uint64_t)x->n, s[ACCEPTED], 1);
  for (int64_t i = 0; i < d->train.picks.n; i++)
    if (picks[i].weight == 0)
      picks[i].weight = msift_weight(x->decider, (double)picks[i].probability, kept);
  return MPISIFT_OK;
}

static mpisift_status reserve_choice(struct draft *d)
{
  mpisift_indices *x = d->x;

  MSIFT_TRY(msift_parcels_resize(x, &d->train.picks, x->table.n, sizeof(struct msift_pick)));
  return msift_parcels_resize(x, &d->refresh.picks, d->refreshes ? x->table.n : 0, sizeof(struct msift_pick));
}

static int64_t least(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

/* The share of its candidates that a later epoch that is sifted is expected to keep: what the policy keeps of known
 * losses now, or kept when it decided last; where that changes or none is known, what it expects. */
static double later_share(const struct draft *d, int64_t epoch)
{
  const mpisift_config *c = &d->x->config;
  const struct msift_rule *rule = d->x->policy->rule;
  double strength = rule->strength == MSIFT_STRENGTH_BETA ? c->beta : c->keep;

  if (c->schedule.shape == MPISIFT_CONSTANT && d->sums[JUDGED] > 0)
    return quotient(d->sums[JUDGED_CHANCES], d->sums[JUDGED], 0) * 0x1p-24;
  if (c->schedule.shape == MPISIFT_CONSTANT && d->x->share > 0)
    return d->x->share;
  return rule->keep(msift_schedule_value(&c->schedule, strength, (double)epoch / (double)c->epochs));
}

/* Of the epochs before one, those that are sifted: every k-th, up to the full tail. */
static double sifted_epochs(const mpisift_config *c, int64_t before)
{
  double end = fmin((double)before, (1 - c->full_data_tail) * (double)c->epochs), whole = floor(end);
  double of_last = fmod(whole + 1, (double)c->sift_every) == 0 ? end - whole : 0;

  return floor(whole / (double)c->sift_every) + of_last;
}

/* Samples that later epochs are expected to train. */
static double later_samples(const struct draft *d)
{
  const mpisift_config *c = &d->x->config;
  double samples = 0, budget = (double)c->step_budget * (double)d->x->global_batch;
  double left = (double)(c->epochs - d->x->epoch - 1), sifted;

  if (left <= 0)
    return 0;
  if (c->schedule.shape == MPISIFT_CONSTANT) {
    sifted = fmax(0, sifted_epochs(c, c->epochs) - sifted_epochs(c, d->x->epoch + 1));
    return (left - sifted * (1 - later_share(d, d->x->epoch))) * (double)d->x->n;
  }
  for (int64_t e = d->x->epoch + 1; e < c->epochs && (c->step_budget == 0 || samples < budget); e++) {
    sifted = sifted_epochs(c, e + 1) - sifted_epochs(c, e);
    samples += (1 - sifted * (1 - later_share(d, e))) * (double)d->x->n;
  }
  return samples;
}

static void forecast(struct draft *d)
{
  mpisift_indices *x = d->x;
  const mpisift_config *c = &x->config;
  double later = ((double)d->now->carried_out + later_samples(d)) / (double)x->global_batch;

  d->now->run_steps = x->steps + d->now->steps;
  if (c->epochs == 0)
    later = c->step_budget > 0 ? (double)c->step_budget : 0;
  d->now->run_steps += (int64_t)fmin(later, 0x1p62);
  if (c->step_budget > 0)
    d->now->run_steps = least(d->now->run_steps, c->step_budget);
}

static void cut(struct draft *d)
{
  mpisift_indices *x = d->x;
  const mpisift_config *c = &x->config;
  int64_t most = c->step_budget > 0 ? c->step_budget - x->steps : INT64_MAX;

  d->train.carried_in = d->now->carried_in;
  d->train.cut = msift_cut_make(d->now->carried_in + d->now->accepted, x->global_batch, c->end_of_epoch, most);
  d->refresh.cut = msift_cut_make((int64_t)d->sums[REFRESHED], x->global_batch, MPISIFT_FLUSH, INT64_MAX);
  d->now->steps = d->train.cut.steps;
  d->now->carried_out = d->train.cut.carried;
  d->now->dropped = d->train.cut.dropped;
  d->now->refresh_steps = d->refresh.cut.steps;
}

/* Nothing lost, nothing twice: ids that were carried in or accepted are those of the rows and those carried out. */
static mpisift_status check_books(struct draft *d)
{
  mpisift_indices *x = d->x;
  bool leads = msift_team_leads(&x->ctx->team), first = leads && x->ctx->team.rank == 0;
  uint64_t sums[4] = {0};

  for (int64_t i = 0; leads && i < d->train.rows.n; i++)
    sums[0] += msift_mix((uint64_t)d->train.rows.ids[i] + 1);
  for (int64_t i = 0; first && i < d->now->carried_out; i++)
    sums[0] += msift_mix((uint64_t)d->train.carried[i].id + 1);
  for (int64_t i = 0; first && i < d->now->carried_in; i++)
    sums[1] += msift_mix((uint64_t)x->carried[i].id + 1);
  sums[2] = leads ? (uint64_t)d->train.rows.n : 0;
  sums[3] = leads ? (uint64_t)d->train.moved : 0;
  sums[0] += d->train.dropped;
  MSIFT_TRY(sum(x, sums, 4));
  d->now->moved = (int64_t)sums[3];
  if (sums[2] != (uint64_t)d->train.cut.trained || sums[0] != sums[1] + d->sums[HASH])
    return msift_error_set(&x->ctx->error, MPISIFT_ERR_STATE,
                           "epoch %lld: %lld samples were planned, but %llu have a batch; please report this as a bug",
                           (long long)x->epoch, (long long)d->train.cut.trained, (unsigned long long)sums[2]);
  return MPISIFT_OK;
}

static mpisift_status make(struct draft *d)
{
  mpisift_indices *x = d->x;
  const struct msift_team *team = &x->ctx->team;
  struct msift_error *error = &x->ctx->error;
  int64_t last_block = -1;

  MSIFT_TRY(take_census(x, d->now));
  msift_decider_refresh(x->decider, fraction(x), x->config.schedule.shape == MPISIFT_CONSTANT ? x->share : 0);
  find_stretch(d);
  reserve_choice(d);
  MSIFT_TRY(msift_team_agree(team, error));
  choose(d, &last_block);
  MSIFT_TRY(count_blocks(d, last_block));
  MSIFT_TRY(finish_choice(d));
  cut(d);
  MSIFT_TRY(msift_spread(x, &d->train, x->config.pad_last_batch));
  if (d->now->refresh_steps > 0)
    MSIFT_TRY(msift_spread(x, &d->refresh, true));
  MSIFT_TRY(check_books(d));
  msift_receipts_reserve(x, d->train.rows.n + d->refresh.rows.n, d->now->steps + d->now->refresh_steps);
  MSIFT_TRY(msift_team_agree(team, error));
  forecast(d);
  return MPISIFT_OK;
}

/* What is planned takes the place of what was. */
static void commit(struct draft *d)
{
  mpisift_indices *x = d->x;
  struct msift_rows_of train = x->train, refresh = x->refresh;
  struct msift_pick *carried = x->carried;

  x->train = d->train.rows;
  x->refresh = d->refresh.rows;
  x->carried = d->train.carried;
  x->share = d->sums[JUDGED] > 0 ? d->now->share : x->share;
  d->train.rows = train;
  d->refresh.rows = refresh;
  d->train.carried = carried;
}

mpisift_status msift_index_plan(mpisift_indices *x, mpisift_index_epoch *now)
{
  const mpisift_config *c = &x->config;
  struct draft d = {.x = x, .now = now};

  d.order = msift_order_make(x->n, x->block, x->lanes, c->window, c->shuffle, c->seed, x->epoch);
  d.accept = msift_accept_key(c->seed, x->epoch);
  d.refreshes = c->refresh_every > 0 && (x->epoch + 1) % c->refresh_every == 0 && x->epoch + 1 != c->epochs;
  if (make(&d) == MPISIFT_OK)
    commit(&d);
  msift_rows_free(x, &d.train.rows);
  msift_rows_free(x, &d.refresh.rows);
  msift_parcels_free(x, &d.train.picks);
  msift_parcels_free(x, &d.refresh.picks);
  msift_free(&x->ctx->memory, &d.train.carried);
  msift_free(&x->ctx->memory, &d.refresh.carried);
  return x->ctx->error.status;
}
