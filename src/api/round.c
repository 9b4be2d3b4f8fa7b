#include <string.h>

#include "api/loader.h"
#include "core/random.h"

/* The training step, of the run or of the epoch, that the next sample accepted goes into. */
static int64_t next_step(const mpisift_loader *l, bool of_epoch)
{
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

  s->sifting = delay == 0 && !pauses(l) && (!l->policy->scored || full);
  s->scored = l->policy->scored && (s->sifting || filling_now);
}

static void choose_extent(mpisift_loader *l, bool candidates)
{
  const struct msift_team *team = &l->ctx->team;
  struct msift_stage *s = &l->stage;
  int64_t most;

  s->begin = s->end = l->position;
  s->scored = s->sifting = false;
  if (candidates) {
    choose_kind(l, delay_left(l));
    s->end += s->sifting ? l->round_size : l->global_batch;
    s->end = l->source.n > 0 && s->end > l->source.n ? l->source.n : s->end;
  }
  s->share = msift_lane_count(l->lanes, team->size, team->rank, s->end) -
             msift_lane_count(l->lanes, team->size, team->rank, s->begin);
  most = msift_lane_count_max(l->lanes, team->size, s->begin, s->end);
  s->score_calls = s->scored ? (most + l->score_rows - 1) / l->score_rows : 0;
}

void msift_round_stage(mpisift_loader *l, bool candidates)
{
  struct msift_stage *s = &l->stage;

  choose_extent(l, candidates);
  l->reduction.n = (int)(MSIFT_HEADER_WORDS + (s->scored ? MSIFT_BINS : 0) + (s->end - s->begin + 31) / 32);
  memset(l->reduction.words, 0, (size_t)l->reduction.n * sizeof *l->reduction.words);
  if (!candidates)
    return;
  msift_stage_reserve(l, &l->failure);
  msift_stage_read(l);
  msift_stage_score(l);
  msift_stage_decide(l);
}

static void put_report(mpisift_loader *l)
{
  uint32_t *words = l->reduction.words;

  l->reported_told = l->reported;
  l->report_sum_told = l->report_sum;
  words[MSIFT_WORD_REPORTED] = l->reported;
  for (int i = 0; i < 4; i++)
    words[MSIFT_WORD_REPORT_SUM + i] = (uint32_t)((uint64_t)l->report_sum >> 16 * i & 0xffff);
}

static void take_report(mpisift_loader *l)
{
  const uint32_t *words = l->reduction.words;
  uint64_t sum = 0;

  for (int i = 0; i < 4; i++)
    sum += (uint64_t)words[MSIFT_WORD_REPORT_SUM + i] << 16 * i;
  l->run.reported += words[MSIFT_WORD_REPORTED];
  l->run.report_sum += (double)(int64_t)sum / MSIFT_REPORT_ONE;
  l->reported -= l->reported_told;
  l->report_sum -= l->report_sum_told;
}

mpisift_status msift_round_post(mpisift_loader *l)
{
  const struct msift_stage *s = &l->stage;
  uint32_t *words = l->reduction.words;
  double begin = msift_range_begin(l->ctx, "mpisift reduce");

  l->failure_told = l->failure.status != MPISIFT_OK;
  words[MSIFT_WORD_FAILED] = l->failure_told;
  if (msift_team_leads(&l->ctx->team)) {
    words[MSIFT_WORD_ENDED] = l->stream_ended;
    words[MSIFT_WORD_CANDIDATES] = s->end > s->begin ? (uint32_t)s->filled : 0;
    words[MSIFT_WORD_BAD] = s->end > s->begin ? (uint32_t)s->n_bad : 0;
    words[MSIFT_WORD_OUTLIERS] = s->end > s->begin ? (uint32_t)s->n_outliers : 0;
  }
  put_report(l);
  msift_reduction_begin(&l->reduction, &l->ctx->team, l->config.pipeline_depth > 0, &l->ctx->error);
  l->round_pending = l->ctx->error.status == MPISIFT_OK;
  l->run.seconds[MSIFT_WAIT] += msift_range_end(l->ctx) - begin;
  return l->ctx->error.status;
}

mpisift_status msift_round_failed(mpisift_loader *l)
{
  if (l->failure_told) {
    msift_error_set(&l->ctx->error, l->failure.status, "%s", l->failure.text);
    msift_error_clear(&l->failure);
    l->failure_told = false;
  }
  return msift_team_agree(&l->ctx->team, &l->ctx->error);
}

static mpisift_status check_losses(mpisift_loader *l)
{
  const uint32_t *words = l->reduction.words;
  struct msift_error *error = &l->ctx->error;

  if ((double)words[MSIFT_WORD_BAD] <= l->config.bad_loss_share * (double)words[MSIFT_WORD_CANDIDATES])
    return MPISIFT_OK;
  if (l->stage.n_bad > 0)
    msift_error_set(error, MPISIFT_ERR_DATA,
                    "%.100s; %u of the round's %u candidates have NaN, infinite or negative losses, more than "
                    "config.bad_loss_share %g allows",
                    l->stage.bad.text, words[MSIFT_WORD_BAD], words[MSIFT_WORD_CANDIDATES], l->config.bad_loss_share);
  return msift_team_agree(&l->ctx->team, error);
}

/* A rescale needs the counts of all ranks by the new scale: one more reduction, once a turnover of the window at most.
 */
static mpisift_status zoom(mpisift_loader *l)
{
  struct msift_reduction reduction = {.words = l->reduction.words, .n = MSIFT_BINS};
  struct msift_error *error = &l->ctx->error;
  struct msift_scale finer;

  if (!msift_history_zoom(&l->history, &finer))
    return MPISIFT_OK;
  memset(reduction.words, 0, MSIFT_BINS * sizeof *reduction.words);
  msift_history_recount(&l->history, &finer, reduction.words);
  MSIFT_TRY(msift_reduction_begin(&reduction, &l->ctx->team, false, error));
  MSIFT_TRY(msift_reduction_end(&reduction, &l->ctx->team, error));
  msift_history_rescale(&l->history, &finer, reduction.words);
  l->run.zooms++;
  return MPISIFT_OK;
}

/* From the bitmap every rank knows who holds what. */
static int64_t commit_owners(mpisift_loader *l, const uint32_t *bitmap)
{
  const struct msift_stage *s = &l->stage;
  int64_t before = l->pool.owners.n, ranks = l->ctx->team.size;

  for (int64_t w = 0; w < (s->end - s->begin + 31) / 32; w++)
    for (uint32_t bits = bitmap[w]; bits != 0; bits &= bits - 1) {
      int64_t position = s->begin + 32 * w + __builtin_ctz(bits);
      uint32_t owner = (uint32_t)(position % l->lanes % ranks);

      memcpy(msift_ring_push(&l->pool.owners), &owner, sizeof owner);
    }
  return l->pool.owners.n - before;
}

static void commit_record(mpisift_loader *l, int64_t i)
{
  const struct msift_stage *s = &l->stage;
  unsigned char *record = msift_ring_push(&l->pool.records);
  struct msift_tag tag = {.id = s->ids[i],
                          .epoch = l->epoch,
                          .loss = s->losses[i],
                          .probability = msift_probability(s->verdicts[i].threshold),
                          .weight = s->verdicts[i].weight};

  memcpy(record, &tag, sizeof tag);
  record += sizeof tag;
  for (int f = 0; f < l->source.n_fields; f++) {
    memcpy(record, (const unsigned char *)s->data[f] + (size_t)i * l->field_bytes[f], l->field_bytes[f]);
    record += l->field_bytes[f];
  }
}

static void commit_rows(mpisift_loader *l)
{
  const struct msift_stage *s = &l->stage;

  for (int64_t i = 0; i < s->filled && msift_team_leads(&l->ctx->team); i++) {
    uint64_t hash = msift_mix((uint64_t)s->ids[i] + 1);

    l->books.n_in++;
    l->books.hash_in += hash;
    if (s->accepted[i]) {
      commit_record(l, i);
    } else {
      l->books.n_out++;
      l->books.hash_out += hash;
    }
  }
}

static void commit_counts(mpisift_loader *l, int64_t accepted)
{
  const uint32_t *words = l->reduction.words;
  int64_t candidates = words[MSIFT_WORD_CANDIDATES];

  l->run.rounds++;
  l->run.candidates += candidates;
  l->run.scored += l->stage.scored ? candidates : 0;
  l->run.accepted += accepted;
  l->run.rejected += words[MSIFT_WORD_BAD];
  l->run.outliers += words[MSIFT_WORD_OUTLIERS];
  l->run.pooled = l->pool.owners.n;
  if (l->stage.sifting) {
    l->epoch_candidates += candidates;
    l->epoch_accepted += accepted;
  }
}

static mpisift_status commit(mpisift_loader *l)
{
  struct msift_stage *s = &l->stage;
  const uint32_t *changes = l->reduction.words + MSIFT_HEADER_WORDS;
  bool streams_ended = l->reduction.words[MSIFT_WORD_ENDED] == (uint32_t)l->ctx->team.size;

  commit_rows(l);
  commit_counts(l, commit_owners(l, changes + (s->scored ? MSIFT_BINS : 0)));
  l->position = s->end;
  l->exhausted = l->source.n > 0 ? l->position == l->source.n : streams_ended;
  s->filled = 0;
  if (!s->scored)
    return MPISIFT_OK;
  msift_history_commit(&l->history, s->seen, s->n_seen, l->history.end + s->end - s->begin, changes);
  MSIFT_TRY(zoom(l));
  msift_decider_refresh(&l->decider);
  return MPISIFT_OK;
}

mpisift_status msift_round_end(mpisift_loader *l)
{
  double begin = msift_range_begin(l->ctx, "mpisift wait"), end;
  mpisift_status status = msift_reduction_end(&l->reduction, &l->ctx->team, &l->ctx->error);

  l->round_pending = false;
  end = msift_range_end(l->ctx);
  l->run.seconds[MSIFT_WAIT] += end - begin;
  MSIFT_TRY(status);
  if (l->reduction.words[MSIFT_WORD_FAILED] > 0)
    return msift_round_failed(l);
  take_report(l);
  l->agreed = true;
  if (l->stage.end == l->stage.begin)
    return MPISIFT_OK;
  MSIFT_TRY(check_losses(l));
  begin = msift_range_begin(l->ctx, "mpisift commit");
  status = commit(l);
  l->run.seconds[MSIFT_DECIDE] += msift_range_end(l->ctx) - begin;
  return status;
}
