#include <math.h>

#include "api/device.h"
#include "core/random.h"

/* Global batches of candidates of which about one is kept, by the last epoch's counts or else the policy's expectation,
 * as where a schedule changes it. They are whole, so that the ranks' shares fill whole batches to score; the pool makes
 * up for the difference. */
static int64_t choose_round_size(mpisift_loader *l)
{
  double keep;

  msift_decider_refresh(&l->decider, mpisift_loader_fraction(l), l->last_share);
  keep = l->decider.share;
  return l->global_batch * (1 / keep < MSIFT_MAX_ROUND_BATCHES ? llround(1 / keep) : MSIFT_MAX_ROUND_BATCHES);
}

void msift_epoch_begin(mpisift_loader *l)
{
  const mpisift_config *c = &l->config;

  l->at_epoch = l->run;
  if (l->epoch_candidates >= l->global_batch)
    l->last_share = c->schedule.shape == MPISIFT_CONSTANT ? (double)l->epoch_accepted / (double)l->epoch_candidates : 0;
  l->round_size = choose_round_size(l);
  l->epoch_candidates = l->epoch_accepted = 0;
  l->numbered += l->position;
  l->formed_in_epoch = l->position = 0;
  l->stream_begun = l->stream_ended = l->exhausted = l->closed = false;
  if (l->source.n > 0)
    l->order = msift_order_make(l->source.n, l->source.block, l->lanes, c->window, c->shuffle, c->seed, l->epoch);
  l->in_epoch = true;
}

/* The sum of the hashes of this rank's samples that wait. */
static uint64_t hash_pool(const mpisift_loader *l)
{
  uint64_t hash = 0;

  for (int64_t i = 0; i < l->pool.records.n; i++)
    hash += msift_mix((uint64_t)msift_pool_id(l, i) + 1);
  return hash;
}

static void drop_pool(mpisift_loader *l)
{
  l->books.n_out += (uint64_t)l->pool.records.n;
  l->books.hash_out += hash_pool(l);
  l->run.dropped += l->pool.owners.n;
  msift_pool_pop(l, l->pool.records.n);
  msift_ring_pop(&l->pool.owners, l->pool.owners.n);
  l->run.pooled = 0;
}

enum { FAILED, HASH_IN, HASH_OUT, N_IN, N_OUT, REPORTED, REPORT_SUM, SENT_BYTES, N_SUMS };

/* All that came in has found its end or waits in the pool: asked of numbers and hashes of ids, over all ranks. */
static mpisift_status close_books(mpisift_loader *l, uint64_t *sums)
{
  struct msift_error *error = &l->ctx->error;

  if (l->gpu != NULL)
    msift_gpu_count_out(l);
  l->failure_told = l->failure.status != MPISIFT_OK;
  sums[FAILED] = l->failure_told;
  sums[HASH_IN] = l->books.hash_in;
  sums[HASH_OUT] = l->books.hash_out + hash_pool(l);
  sums[N_IN] = l->books.n_in;
  sums[N_OUT] = l->books.n_out + (uint64_t)l->pool.records.n;
  sums[REPORTED] = l->reported;
  sums[REPORT_SUM] = (uint64_t)l->report_sum;
  sums[SENT_BYTES] = (uint64_t)l->sent_bytes;
  MSIFT_TRY(msift_team_sum(&l->ctx->team, sums, N_SUMS, error));
  if (sums[FAILED] > 0)
    return msift_tell_failure(l);
  if (sums[HASH_IN] != sums[HASH_OUT] || sums[N_IN] != sums[N_OUT] || sums[N_IN] != (uint64_t)l->run.candidates)
    return msift_error_set(error, MPISIFT_ERR_STATE,
                           "epoch %lld: %llu candidates came in, but %llu found their end; please report this as a bug",
                           (long long)l->epoch, (unsigned long long)sums[N_IN], (unsigned long long)sums[N_OUT]);
  return MPISIFT_OK;
}

/* Whether an endless run would go on for ever: an epoch without candidates, or none accepted for two turnovers of the
 * history, which holds nothing else then than what the model, untrained since, makes of the data. */
static bool barren(const mpisift_loader *l)
{
  int64_t since = l->run.candidates - l->accepted_at;

  if (l->run.accepted > l->at_epoch.accepted)
    return false;
  return l->run.candidates == l->at_epoch.candidates || !msift_policy_scored(l->policy) ||
         since > 2 * l->config.loss_history_length;
}

mpisift_status msift_epoch_end(mpisift_loader *l)
{
  uint64_t sums[N_SUMS];

  msift_pool_settle(l);
  MSIFT_TRY(close_books(l, sums));
  if (l->config.epochs == 0 && !l->pushed && barren(l))
    return msift_error_set(&l->ctx->error, MPISIFT_ERR_DATA,
                           "epoch %lld: no sample was accepted of the last %lld candidates; an endless run would hang",
                           (long long)l->epoch, (long long)(l->run.candidates - l->accepted_at));
  l->id_hash = sums[HASH_IN];
  l->run.reported += (int64_t)sums[REPORTED];
  l->run.report_sum += (double)(int64_t)sums[REPORT_SUM] / MSIFT_REPORT_ONE;
  l->run.moved_bytes += (int64_t)sums[SENT_BYTES];
  l->sent_bytes = l->reported = 0;
  l->report_sum = 0;
  if (l->config.end_of_epoch == MPISIFT_DROP)
    drop_pool(l);
  l->in_epoch = false;
  l->epoch++;
  l->over = l->epoch == l->config.epochs;
  return MPISIFT_OK;
}
