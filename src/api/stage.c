/* The fallible half of a round: read, score, decide, and make room for what the collective will bring. */
#include <math.h>
#include <string.h>

#include "api/loader.h"

static unsigned char *row(const mpisift_loader *l, int f, int64_t i)
{
  return (unsigned char *)l->stage.data[f] + (size_t)i * l->field_bytes[f];
}

static mpisift_status reserve_rows(mpisift_loader *l, int64_t rows, struct msift_error *error)
{
  struct msift_memory *memory = &l->ctx->memory;
  struct msift_stage *s = &l->stage;

  if (rows <= s->capacity)
    return MPISIFT_OK;
  for (int f = 0; f < l->source.n_fields; f++)
    MSIFT_TRY(msift_resize(memory, error, &s->data[f], rows, l->field_bytes[f]));
  MSIFT_TRY(msift_resize(memory, error, &s->ids, rows, sizeof *s->ids));
  MSIFT_TRY(msift_resize(memory, error, &s->positions, rows, sizeof *s->positions));
  MSIFT_TRY(msift_resize(memory, error, &s->losses, rows, sizeof *s->losses));
  MSIFT_TRY(msift_resize(memory, error, &s->verdicts, rows, sizeof *s->verdicts));
  MSIFT_TRY(msift_resize(memory, error, &s->accepted, rows, sizeof *s->accepted));
  MSIFT_TRY(msift_resize(memory, error, &s->seen, rows, sizeof *s->seen));
  s->capacity = rows;
  return MPISIFT_OK;
}

/* Rows behind the candidates that stay free for padding: a rank that fails still takes part in scoring, on these. */
static int64_t spare_rows(const mpisift_loader *l)
{
  return l->policy->scored ? l->score_rows : 0;
}

/* Room for all that a commit of this round may bring, so that the commit cannot fail. */
mpisift_status msift_stage_reserve(mpisift_loader *l, struct msift_error *error)
{
  struct msift_memory *memory = &l->ctx->memory;
  struct msift_stage *s = &l->stage;
  int64_t rows = s->score_calls * l->score_rows, own = l->pool.records.n + s->share;

  rows = rows > s->share ? rows : s->share;
  MSIFT_TRY(reserve_rows(l, rows + spare_rows(l), error));
  MSIFT_TRY(msift_ring_reserve(&l->history.seen, memory, error, s->share));
  MSIFT_TRY(msift_ring_reserve(&l->pool.owners, memory, error, s->end - s->begin));
  MSIFT_TRY(msift_ring_reserve(&l->pool.records, memory, error, s->share));
  if (own <= l->send_capacity)
    return MPISIFT_OK;
  MSIFT_TRY(msift_resize(memory, error, &l->send, own + own / 2, l->record_bytes));
  l->send_capacity = own + own / 2;
  return MPISIFT_OK;
}

void msift_stage_destroy(mpisift_loader *l)
{
  struct msift_memory *memory = &l->ctx->memory;
  struct msift_stage *s = &l->stage;

  for (int f = 0; f < l->source.n_fields; f++)
    msift_free(memory, &s->data[f]);
  msift_free(memory, &s->ids);
  msift_free(memory, &s->positions);
  msift_free(memory, &s->losses);
  msift_free(memory, &s->verdicts);
  msift_free(memory, &s->accepted);
  msift_free(memory, &s->seen);
}

/* A callback returned non-zero: its own explanation is the better text. */
static void callback_failed(mpisift_loader *l, const char *what, int code)
{
  const struct msift_error *cause = &l->ctx->cause;

  if (cause->status != MPISIFT_OK)
    msift_error_set(&l->failure, cause->status, "%s failed: %.440s", what, cause->text);
  else
    msift_error_set(&l->failure, MPISIFT_ERR_CALLBACK, "%s returned %d", what, code);
}

static void place_rows(mpisift_loader *l)
{
  struct msift_stage *s = &l->stage;
  const struct msift_team *team = &l->ctx->team;
  int64_t position = s->begin;

  for (int64_t i = 0; i < s->share; i++) {
    position = msift_lane_next(l->lanes, team->size, team->rank, position);
    s->positions[i] = position++;
  }
}

static void read_indexed(mpisift_loader *l, void *const *dst)
{
  struct msift_stage *s = &l->stage;
  int64_t n = s->share - s->filled;
  int code;

  for (int64_t i = s->filled; i < s->share; i++)
    s->ids[i] = msift_order_id(&l->order, s->positions[i]);
  code = n > 0 ? l->source.read(l->source.user, n, s->ids + s->filled, dst) : 0;
  if (code != 0)
    callback_failed(l, "reading", code);
  else
    s->filled = s->share;
}

static mpisift_status check_ids(mpisift_loader *l, const int64_t *ids, int64_t n)
{
  for (int64_t i = 0; i < n; i++)
    if (ids[i] < 0)
      return msift_error_set(&l->failure, MPISIFT_ERR_CALLBACK, "pull gave id %lld in row %lld; ids are at least 0",
                             (long long)ids[i], (long long)i);
  return MPISIFT_OK;
}

static void read_stream(mpisift_loader *l, void *const *dst)
{
  struct msift_stage *s = &l->stage;
  int64_t want = s->share - s->filled, got = 0;
  int code = 0;

  if (!l->stream_begun && l->source.begin_epoch != NULL)
    code = l->source.begin_epoch(l->source.user, l->epoch);
  if (code != 0) {
    callback_failed(l, "beginning the stream's epoch", code);
    return;
  }
  l->stream_begun = true;
  if (l->stream_ended || want == 0)
    return;
  code = l->source.pull(l->source.user, want, &got, s->ids + s->filled, dst);
  if (code != 0)
    callback_failed(l, "pulling from the stream", code);
  else if (got < 0 || got > want)
    msift_error_set(&l->failure, MPISIFT_ERR_CALLBACK, "pull gave %lld samples where up to %lld were wanted",
                    (long long)got, (long long)want);
  else if (check_ids(l, s->ids + s->filled, got) == MPISIFT_OK)
    s->filled += got;
  l->stream_ended = l->failure.status == MPISIFT_OK && got < want;
}

static void pad(mpisift_loader *l, int64_t begin, int64_t end)
{
  for (int64_t i = begin; i < end; i++)
    l->stage.ids[i] = -1;
  for (int f = 0; f < l->source.n_fields && begin < end; f++)
    memset(row(l, f, begin), 0, (size_t)(end - begin) * l->field_bytes[f]);
}

/* Rows read before a failure stay: a repeated call goes on behind them. */
void msift_stage_read(mpisift_loader *l)
{
  struct msift_stage *s = &l->stage;
  double begin = msift_range_begin(l->ctx, "mpisift read");
  void *dst[MPISIFT_MAX_FIELDS];

  msift_error_clear(&l->ctx->cause);
  if (l->failure.status == MPISIFT_OK && msift_team_leads(&l->ctx->team)) {
    place_rows(l);
    for (int f = 0; f < l->source.n_fields; f++)
      dst[f] = row(l, f, s->filled);
    if (l->source.n < 0)
      read_stream(l, dst);
    else
      read_indexed(l, dst);
  }
  l->run.seconds[MSIFT_READ] += msift_range_end(l->ctx) - begin;
}

static void call_score(mpisift_loader *l, int64_t first)
{
  struct msift_stage *s = &l->stage;
  mpisift_batch candidates = {
      .n = l->score_rows,
      .global_n = s->end - s->begin,
      .serial = -1,
      .epoch = l->epoch,
      .n_fields = l->source.n_fields,
      .fields = l->fields,
      .ids = s->ids + first,
  };
  mpisift_scores scores = {s->losses + first};
  int code;

  for (int f = 0; f < l->source.n_fields; f++)
    candidates.data[f] = row(l, f, first);
  while (candidates.valid < l->score_rows && candidates.ids[candidates.valid] >= 0)
    candidates.valid++;
  for (int64_t i = 0; i < l->score_rows; i++)
    scores.loss[i] = NAN; /* what the callback forgets is bad */
  msift_error_clear(&l->ctx->cause);
  code = l->score(l->user, &candidates, &scores);
  if (code != 0)
    callback_failed(l, "the score callback", code);
}

/* Give the replica's other ranks the leader's candidates. */
static void share_candidates(mpisift_loader *l, int64_t rows)
{
  for (int f = 0; f < l->source.n_fields; f++)
    msift_team_share(&l->ctx->team, l->stage.data[f], rows, l->field_bytes[f], 0, &l->failure);
  msift_team_share(&l->ctx->team, l->stage.ids, rows, sizeof *l->stage.ids, 0, &l->failure);
}

/* After a failure in the replica: as many calls as the peers make, on padding. */
static void score_padding(mpisift_loader *l)
{
  int64_t first = l->stage.capacity - l->score_rows;

  pad(l, first, l->stage.capacity);
  for (int64_t k = 0; k < l->stage.score_calls; k++)
    call_score(l, first);
}

static void score_candidates(mpisift_loader *l)
{
  struct msift_stage *s = &l->stage;
  int64_t rows = s->score_calls * l->score_rows;

  pad(l, s->filled, rows);
  share_candidates(l, rows);
  for (int64_t k = 0; k < s->score_calls; k++)
    call_score(l, k * l->score_rows);
  msift_team_share(&l->ctx->team, s->losses, rows, sizeof *s->losses, l->ctx->team.loss_rank, &l->failure);
}

void msift_stage_score(mpisift_loader *l)
{
  bool failed = l->failure.status != MPISIFT_OK;
  double begin;

  if (l->stage.score_calls == 0)
    return;
  begin = msift_range_begin(l->ctx, "mpisift score");
  if (msift_team_any(&l->ctx->team, failed, &l->failure))
    score_padding(l);
  else
    score_candidates(l);
  l->run.seconds[MSIFT_SCORE] += msift_range_end(l->ctx) - begin;
}

static void decide_row(mpisift_loader *l, int64_t i, uint32_t *bitmap)
{
  struct msift_stage *s = &l->stage;
  int64_t offset = s->positions[i] - s->begin;

  s->accepted[i] = false;
  if (!s->scored) {
    s->losses[i] = NAN;
  } else if (isfinite(s->losses[i]) && s->losses[i] >= 0) {
    s->seen[s->n_seen++] = (struct msift_seen){l->history.end + offset, s->losses[i]};
  } else {
    s->n_bad++;
    msift_error_set(&s->bad, MPISIFT_ERR_DATA, "sample %lld has loss %g", (long long)s->ids[i], (double)s->losses[i]);
    return;
  }
  s->verdicts[i] = s->sifting ? msift_decide(&l->decider, s->losses[i], s->ids[i], l->epoch) : msift_accept_all();
  s->accepted[i] = msift_accept(l->config.seed, l->epoch, s->ids[i], s->verdicts[i].threshold);
  s->n_outliers += s->verdicts[i].outlier;
  s->n_accepted += s->accepted[i];
  bitmap[offset / 32] |= (uint32_t)s->accepted[i] << offset % 32;
}

void msift_stage_decide(mpisift_loader *l)
{
  struct msift_stage *s = &l->stage;
  uint32_t *changes = l->reduction.words + MSIFT_HEADER_WORDS, *bitmap = changes + (s->scored ? MSIFT_BINS : 0);
  double begin = msift_range_begin(l->ctx, "mpisift decide");

  s->n_seen = s->n_accepted = s->n_bad = s->n_outliers = 0;
  msift_error_clear(&s->bad);
  for (int64_t i = 0; i < s->filled && msift_team_leads(&l->ctx->team); i++)
    decide_row(l, i, bitmap);
  if (s->scored)
    msift_history_changes(&l->history, s->seen, s->n_seen, l->history.end + s->end - s->begin, changes);
  l->run.seconds[MSIFT_DECIDE] += msift_range_end(l->ctx) - begin;
}
