#include <string.h>

#include "api/device.h"
#include "core/random.h"

/* The training step, of the run or of the epoch, that the next sample accepted goes into. Where the user forms the
 * batches, they are taken to have the configured size. */
static int64_t next_step(const mpisift_loader *l, bool of_epoch)
{
  if (l->source.n_fields == 0)
    return (l->run.accepted - (of_epoch ? l->at_epoch.accepted : 0)) / l->global_batch;
  return (of_epoch ? l->formed_in_epoch : l->formed) + l->pool.owners.n / l->global_batch;
}

/* Steps for which the delay still holds. */
static int64_t delay_left(const mpisift_loader *l)
{
  int64_t left = l->config.sift_delay - next_step(l, l->config.repeat_delay_per_epoch);

  return left > 0 ? left : 0;
}

static bool pauses(const mpisift_loader *l)
{
  return next_step(l, false) % l->config.sift_every != 0 ||
         (l->config.full_data_tail > 0 && mpisift_loader_fraction(l) >= 1 - l->config.full_data_tail);
}

/* Losses are asked for where the policy decides by them and where the history has yet to be filled: of a delay, in the
 * last rounds. */
static void choose_kind(mpisift_loader *l, int64_t delay)
{
  struct msift_stage *s = &l->stage;
  int64_t filling = (l->history.length + l->global_batch - 1) / l->global_batch;
  bool full = msift_history_full(&l->history), filling_now = delay > 0 ? delay <= filling : !full;
  bool scores = msift_policy_scored(l->policy);

  s->sifting = delay == 0 && !pauses(l) && (!scores || full);
  s->scored = scores && (s->sifting || filling_now || l->pushed);
}

/* Where the round ends, were there no end of the data. */
static int64_t extent(const mpisift_loader *l)
{
  if (l->pushed)
    return l->max_round;
  return l->stage.sifting ? l->round_size : l->global_batch;
}

static int64_t history_words(const mpisift_loader *l)
{
  return l->stage.scored ? msift_history_words(&l->history, l->stage.end - l->stage.begin) : 0;
}

/* Candidates of a leader whose arguments are good. */
static int64_t pushed_share(const mpisift_loader *l)
{
  bool good = l->candidates != NULL && l->failure.status == MPISIFT_OK && msift_team_leads(&l->ctx->team);

  return good ? l->candidates->n : 0;
}

static void choose_extent(mpisift_loader *l)
{
  const struct msift_team *team = &l->ctx->team;
  struct msift_stage *s = &l->stage;
  int64_t most;

  choose_kind(l, delay_left(l));
  s->begin = l->position;
  s->end = s->begin + extent(l);
  s->end = l->source.n > 0 && s->end > l->source.n ? l->source.n : s->end;
  s->round = (struct msift_history_round){s->end - s->begin, l->source.n < 0};
  s->share = msift_lane_count(l->lanes, team->size, team->rank, s->end) -
             msift_lane_count(l->lanes, team->size, team->rank, s->begin);
  if (l->pushed)
    s->share = pushed_share(l);
  most = msift_lane_count_max(l->lanes, team->size, s->begin, s->end);
  s->score_calls = s->scored && !l->pushed ? (most + l->score_rows - 1) / l->score_rows : 0;
}

void msift_round_read(mpisift_loader *l)
{
  struct msift_stage *s = &l->stage;

  choose_extent(l);
  l->reduction.n = (int)(MSIFT_HEADER_WORDS + history_words(l) + msift_map_words(l, s->end - s->begin));
  msift_pool_settle(l);
  msift_stage_reserve(l, &l->failure);
  if (l->pushed)
    msift_stage_take(l);
  else
    msift_stage_read(l);
}

void msift_round_judge(mpisift_loader *l)
{
  if (!l->pushed)
    msift_stage_score(l);
  msift_stage_decide(l);
}

void msift_round_header(mpisift_loader *l, uint32_t *words)
{
  const struct msift_stage *s = &l->stage;

  msift_agreement_put(l, words);
  words[MSIFT_WORD_ENDED] = l->stream_ended;
  words[MSIFT_WORD_CANDIDATES] = (uint32_t)s->filled;
  words[MSIFT_WORD_BAD] = (uint32_t)s->n_bad;
  words[MSIFT_WORD_OUTLIERS] = (uint32_t)s->n_outliers;
  words[MSIFT_WORD_ACCEPTED] = (uint32_t)s->n_accepted;
}

/* Add the words up over the ranks: in the background, if there is a training step to hide it behind. */
static mpisift_status reduce(mpisift_loader *l, bool overlap)
{
  uint32_t *words = l->reduction.words;
  double begin = msift_range_begin(l->ctx, "mpisift reduce");

  if (l->gpu != NULL)
    msift_gpu_collect(l);
  if (msift_team_leads(&l->ctx->team))
    msift_round_header(l, words);
  else
    msift_agreement_put(l, words);
  msift_reduction_begin(&l->reduction, &l->ctx->team, overlap, &l->ctx->error);
  l->round_pending = l->ctx->error.status == MPISIFT_OK;
  l->run.seconds[MSIFT_WAIT] += msift_range_end(l->ctx) - begin;
  return l->ctx->error.status;
}

/* The words of a device are still to come, behind the scores. */
mpisift_status msift_round_post(mpisift_loader *l)
{
  l->round_pending = l->ctx->error.status == MPISIFT_OK;
  return l->gpu != NULL ? l->ctx->error.status : reduce(l, l->config.pipeline_depth > 0);
}

static mpisift_status check_losses(mpisift_loader *l)
{
  const uint32_t *words = l->reduction.words;
  struct msift_error *error = &l->ctx->error;

  if ((double)words[MSIFT_WORD_BAD] <= l->config.bad_loss_share * (double)words[MSIFT_WORD_CANDIDATES])
    return MPISIFT_OK;
  if (l->stage.n_bad > 0)
    msift_error_set(error, MPISIFT_ERR_DATA,
                    "%.100s; %u of the round's %u candidates have scores that are NaN, infinite or out of range, more "
                    "than config.bad_loss_share %g allows",
                    l->stage.bad.text, words[MSIFT_WORD_BAD], words[MSIFT_WORD_CANDIDATES], l->config.bad_loss_share);
  return msift_team_agree(&l->ctx->team, error);
}

/* Of pushes: all ranks end the epoch, or none. */
static mpisift_status check_ended(const mpisift_loader *l)
{
  uint32_t ended = l->reduction.words[MSIFT_WORD_ENDED];

  if (!l->pushed || ended == 0 || ended == (uint32_t)l->ctx->team.size)
    return MPISIFT_OK;
  return msift_error_set(&l->ctx->error, MPISIFT_ERR_STATE,
                         "%u of %d replicas have ended the epoch, the others push; ranks without candidates push too, "
                         "with n = 0",
                         ended, l->ctx->team.size);
}

/* Where users give positions: each candidate has one of its own, or another covers it. */
static mpisift_status check_positions(mpisift_loader *l)
{
  const uint32_t *map = l->reduction.words + MSIFT_HEADER_WORDS + history_words(l);
  int64_t taken = 0, candidates = l->reduction.words[MSIFT_WORD_CANDIDATES];

  if (!l->positioned)
    return MPISIFT_OK;
  for (int64_t place = 0; place < l->stage.end - l->stage.begin; place++)
    taken += map[place] != 0;
  if (taken != candidates)
    return msift_error_set(&l->ctx->error, MPISIFT_ERR_ARG,
                           "%lld candidates have %lld different positions; positions of a push are distinct over all "
                           "ranks",
                           (long long)candidates, (long long)taken);
  return MPISIFT_OK;
}

static void add_owner(mpisift_loader *l, uint32_t owner)
{
  memcpy(msift_ring_push(&l->pool.owners), &owner, sizeof owner);
}

/* From the map every rank knows who holds what. */
static void commit_owners(mpisift_loader *l, const uint32_t *map)
{
  const struct msift_stage *s = &l->stage;
  int64_t ranks = l->ctx->team.size, words = msift_map_words(l, s->end - s->begin);

  for (int64_t w = 0; l->positioned && w < words; w++)
    if (map[w] % 2 == 1)
      add_owner(l, map[w] / 2 - 1);
  for (int64_t w = 0; !l->positioned && w < words; w++)
    for (uint32_t bits = map[w]; bits != 0; bits &= bits - 1)
      add_owner(l, (uint32_t)((s->begin + 32 * w + __builtin_ctz(bits)) % l->lanes % ranks));
}

/* On a device, what became of this rank's candidates: the map tells. */
static void find_accepted(mpisift_loader *l, const uint32_t *map)
{
  struct msift_stage *s = &l->stage;

  for (int64_t i = 0; i < s->filled; i++) {
    int64_t place = s->positions[i] - s->begin;

    s->accepted[i] = (l->positioned ? map[place] : map[place / 32] >> place % 32) & 1;
  }
}

/* Ids that come in, and of these those that end here; accepted samples go on to the pool, if there is one. */
static void commit_ids(mpisift_loader *l)
{
  const struct msift_stage *s = &l->stage;
  bool pooled = l->source.n_fields > 0;
  uint64_t in = 0, out = 0, n_out = 0;

  for (int64_t i = 0; i < s->filled; i++) {
    uint64_t hash = msift_mix((uint64_t)s->ids[i] + 1), ends = !pooled || !s->accepted[i];

    in += hash;
    out += hash * ends;
    n_out += ends;
  }
  l->books.n_in += (uint64_t)s->filled;
  l->books.hash_in += in;
  l->books.n_out += n_out;
  l->books.hash_out += out;
}

/* Accepted rows stay in the stage as long as it is not needed; those of a push are the user's. */
static void keep_rows(mpisift_loader *l)
{
  struct msift_stage *s = &l->stage;

  for (int64_t i = 0; i < s->filled; i++)
    if (s->accepted[i])
      s->kept[s->n_kept++] = i;
  if (l->pushed)
    msift_pool_settle(l);
}

static void commit_counts(mpisift_loader *l)
{
  const uint32_t *words = l->reduction.words;
  int64_t candidates = words[MSIFT_WORD_CANDIDATES], accepted = words[MSIFT_WORD_ACCEPTED];

  l->run.rounds++;
  l->run.candidates += candidates;
  l->run.scored += l->stage.scored ? candidates : 0;
  l->run.accepted += accepted;
  l->accepted_at = accepted > 0 ? l->run.candidates : l->accepted_at;
  l->run.rejected += words[MSIFT_WORD_BAD];
  l->run.outliers += words[MSIFT_WORD_OUTLIERS];
  l->run.pooled = l->pool.owners.n + (l->exchange_pending ? l->flight : 0);
  if (l->stage.sifting) {
    l->epoch_candidates += candidates;
    l->epoch_accepted += accepted;
  }
}

static void commit(mpisift_loader *l)
{
  struct msift_stage *s = &l->stage;
  const uint32_t *changes = l->reduction.words + MSIFT_HEADER_WORDS;
  bool streams_ended = l->reduction.words[MSIFT_WORD_ENDED] == (uint32_t)l->ctx->team.size;

  if (l->gpu != NULL)
    find_accepted(l, changes + history_words(l));
  if (msift_team_leads(&l->ctx->team))
    commit_ids(l);
  if (l->source.n_fields > 0)
    commit_owners(l, changes + history_words(l));
  commit_counts(l);
  l->position = s->end;
  l->exhausted = l->source.n > 0 ? l->position == l->source.n : streams_ended;
  if (s->scored)
    msift_history_commit(&l->history, s->round, l->reduction.words[MSIFT_WORD_CANDIDATES], changes);
  l->run.refits = l->history.refits;
}

static mpisift_status wait(mpisift_loader *l)
{
  if (msift_gpu_by_nccl(l->gpu))
    return msift_gpu_sum_end(l);
  return msift_reduction_end(&l->reduction, &l->ctx->team, &l->ctx->error);
}

mpisift_status msift_round_end(mpisift_loader *l)
{
  double begin, end;
  mpisift_status status;

  if (l->gpu != NULL && !msift_gpu_by_nccl(l->gpu))
    MSIFT_TRY(reduce(l, false));
  begin = msift_range_begin(l->ctx, "mpisift wait");
  status = wait(l);
  l->round_pending = false;
  end = msift_range_end(l->ctx);
  l->run.seconds[MSIFT_WAIT] += end - begin;
  MSIFT_TRY(status);
  MSIFT_TRY(msift_agreement_take(l, l->reduction.words));
  MSIFT_TRY(check_ended(l));
  MSIFT_TRY(check_positions(l));
  MSIFT_TRY(check_losses(l));
  if (l->pushed && l->reduction.words[MSIFT_WORD_CANDIDATES] == 0)
    return MPISIFT_OK; /* no place of the order or the history is used up */
  begin = msift_range_begin(l->ctx, "mpisift commit");
  commit(l);
  l->run.seconds[MSIFT_DECIDE] += msift_range_end(l->ctx) - begin;
  if (l->gpu != NULL)
    msift_gpu_commit(l);
  else if (l->source.n_fields > 0 && msift_team_leads(&l->ctx->team))
    keep_rows(l);
  l->stage.filled = 0;
  return MPISIFT_OK;
}

mpisift_status msift_round_run(mpisift_loader *l)
{
  msift_round_read(l);
  msift_round_judge(l);
  MSIFT_TRY(msift_round_post(l));
  return msift_round_end(l);
}
