/* The fallible half of a round: read, score, and make room for what the collective will bring. */
#include <math.h>
#include <string.h>

#include "api/device.h"

unsigned char *msift_stage_row(const mpisift_loader *l, int f, int64_t i)
{
  void *rows = l->stage.in_batch ? l->batch_data[f] : l->stage.data[f];

  return (unsigned char *)rows + (size_t)i * l->field_bytes[f];
}

/* Scores that the configuration asks for besides the loss. */
static mpisift_status reserve_scores(mpisift_loader *l, int64_t rows, struct msift_error *error)
{
  struct msift_memory *memory = &l->ctx->memory;
  mpisift_scores *more = &l->stage.more;

  if (l->policy->measure == MSIFT_MEASURE_BOUND)
    MSIFT_TRY(msift_resize(memory, error, &more->bound, rows, sizeof *more->bound));
  if (l->policy->measure == MSIFT_MEASURE_UNCERTAINTY || msift_policy_stale(l->policy))
    MSIFT_TRY(msift_resize(memory, error, &more->confidence, rows, sizeof *more->confidence));
  if (l->config.groups > 0)
    MSIFT_TRY(msift_resize(memory, error, &more->group, rows, sizeof *more->group));
  return MPISIFT_OK;
}

/* What is on a device, where there is one. */
static mpisift_status reserve_samples(mpisift_loader *l, int64_t rows, struct msift_error *error)
{
  struct msift_memory *memory = &l->ctx->memory;
  struct msift_stage *s = &l->stage;

  for (int f = 0; f < l->source.n_fields && !l->pushed; f++)
    MSIFT_TRY(msift_resize(memory, error, &s->data[f], rows, l->field_bytes[f]));
  MSIFT_TRY(msift_resize(memory, error, &s->losses, rows, sizeof *s->losses));
  MSIFT_TRY(msift_resize(memory, error, &s->chances, rows, sizeof *s->chances));
  MSIFT_TRY(msift_resize(memory, error, &s->kept, rows, sizeof *s->kept));
  return reserve_scores(l, rows, error);
}

static mpisift_status reserve_rows(mpisift_loader *l, int64_t rows, struct msift_error *error)
{
  struct msift_memory *memory = &l->ctx->memory;
  struct msift_stage *s = &l->stage;

  if (rows <= s->capacity)
    return MPISIFT_OK;
  rows += rows / 4; /* rounds grow as the share kept falls */
  MSIFT_TRY(l->gpu != NULL ? msift_gpu_reserve_rows(l, rows, error) : reserve_samples(l, rows, error));
  MSIFT_TRY(msift_resize(memory, error, &s->ids, rows, sizeof *s->ids));
  if (l->source.prefetch != NULL)
    MSIFT_TRY(msift_resize(memory, error, &s->ahead, rows, sizeof *s->ahead));
  if (l->n_padded > 0)
    MSIFT_TRY(msift_resize(memory, error, &s->lengths, rows, (size_t)l->n_padded * sizeof *s->lengths));
  if (l->pushed)
    MSIFT_TRY(msift_resize(memory, error, &s->arrivals, rows, sizeof *s->arrivals));
  MSIFT_TRY(msift_resize(memory, error, &s->positions, rows, sizeof *s->positions));
  MSIFT_TRY(msift_resize(memory, error, &s->accepted, rows, sizeof *s->accepted));
  s->capacity = rows;
  return MPISIFT_OK;
}

/* Rows behind the candidates that stay free for padding: a rank that fails still takes part in scoring, on these. */
static int64_t spare_rows(const mpisift_loader *l)
{
  return msift_policy_measures(l->policy) ? l->score_rows : 0;
}

/* Room for all that a commit of this round may bring, so that the commit cannot fail. */
mpisift_status msift_stage_reserve(mpisift_loader *l, struct msift_error *error)
{
  struct msift_memory *memory = &l->ctx->memory;
  struct msift_stage *s = &l->stage;
  int64_t rows = s->score_calls * l->score_rows, own = l->pool.records.n + s->share;

  rows = rows > s->share ? rows : s->share;
  if (l->gpu != NULL)
    MSIFT_TRY(error->status); /* not where a rank has failed: its stream may not be in a state for it */
  MSIFT_TRY(reserve_rows(l, rows + spare_rows(l), error));
  if (l->source.n > 0 && l->indices == NULL)
    MSIFT_TRY(msift_walk_reserve(&l->walk, &l->order, l->ctx->team.size, l->ctx->team.rank, memory, error));
  if (s->scored)
    MSIFT_TRY(msift_history_reserve(&l->history, memory, error, s->round, s->share));
  if (l->source.n_fields > 0)
    MSIFT_TRY(msift_ring_reserve(&l->pool.owners, memory, error, s->end - s->begin));
  if (l->gpu != NULL)
    return msift_gpu_reserve(l, error);
  if (l->source.n_fields == 0)
    return MPISIFT_OK; /* nothing is pooled */
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
  msift_free(memory, &s->lengths);
  msift_free(memory, &s->arrivals);
  msift_free(memory, &s->ids);
  msift_free(memory, &s->ahead);
  msift_free(memory, &s->positions);
  msift_free(memory, &s->more.bound);
  msift_free(memory, &s->more.confidence);
  msift_free(memory, &s->more.group);
  msift_free(memory, &s->losses);
  msift_free(memory, &s->chances);
  msift_free(memory, &s->accepted);
  msift_free(memory, &s->kept);
  msift_walk_destroy(&l->walk, memory);
}

/* A callback returned non-zero: its own explanation is the better text. */
void msift_callback_failed(mpisift_loader *l, const char *what, int code)
{
  const struct msift_error *cause = &l->ctx->cause;

  if (cause->status != MPISIFT_OK)
    msift_error_set(&l->failure, cause->status, "%s failed: %.440s", what, cause->text);
  else
    msift_error_set(&l->failure, MPISIFT_ERR_CALLBACK, "%s returned %d", what, code);
}

void msift_stage_place(mpisift_loader *l)
{
  struct msift_stage *s = &l->stage;
  const struct msift_team *team = &l->ctx->team;
  int64_t position = msift_lane_next(l->lanes, team->size, team->rank, s->begin), lane = position % l->lanes;

  for (int64_t i = 0; i < s->share; i++) {
    int64_t step = lane + team->size < l->lanes ? team->size : l->lanes - lane + team->rank;

    s->positions[i] = position;
    position += step;
    lane = lane + step < l->lanes ? lane + step : team->rank;
  }
}

/* Tell the source which samples this rank reads next in this epoch, if the next round is like this one. */
static void prefetch(mpisift_loader *l)
{
  struct msift_stage *s = &l->stage;
  const struct msift_team *team = &l->ctx->team;
  int64_t end = s->end + (s->end - s->begin), position = s->end, n = 0;

  if (l->source.prefetch == NULL || l->source.n < 0 || team->rank >= l->order.lanes)
    return;
  end = end < l->source.n ? end : l->source.n;
  while (n < s->capacity && (position = msift_lane_next(l->lanes, team->size, team->rank, position)) < end)
    s->ahead[n++] = msift_walk_id(&l->walk, &l->order, position++);
  s->ahead_epoch = l->epoch;
  s->ahead_begin = s->end;
  s->n_ahead = n;
  if (n > 0)
    l->source.prefetch(l->source.user, n, s->ahead);
}

static void read_indexed(mpisift_loader *l, int64_t end, void *const *dst)
{
  struct msift_stage *s = &l->stage;
  int64_t n = end - s->filled;
  int64_t known = s->ahead_epoch == l->epoch && s->ahead_begin == s->begin ? s->n_ahead : 0;
  int code;

  for (int64_t i = s->filled; i < end; i++)
    s->ids[i] = i < known ? s->ahead[i] : msift_walk_id(&l->walk, &l->order, s->positions[i]);
  code = n > 0 ? l->source.read(l->source.user, n, s->ids + s->filled, dst) : 0;
  if (code != 0)
    msift_callback_failed(l, "reading", code);
  else
    s->filled = end;
}

static mpisift_status check_ids(mpisift_loader *l, const int64_t *ids, int64_t n)
{
  for (int64_t i = 0; i < n; i++)
    if (ids[i] < 0)
      return msift_error_set(&l->failure, MPISIFT_ERR_CALLBACK, "pull gave id %lld in row %lld; ids are at least 0",
                             (long long)ids[i], (long long)i);
  return MPISIFT_OK;
}

static void read_stream(mpisift_loader *l, int64_t end, void *const *dst)
{
  struct msift_stage *s = &l->stage;
  int64_t want = end - s->filled, got = 0;
  int code = 0;

  if (!l->stream_begun && l->source.begin_epoch != NULL)
    code = l->source.begin_epoch(l->source.user, l->epoch);
  if (code != 0) {
    msift_callback_failed(l, "beginning the stream's epoch", code);
    return;
  }
  l->stream_begun = true;
  if (l->stream_ended || want == 0)
    return;
  code = l->source.pull(l->source.user, want, &got, s->ids + s->filled, dst);
  if (code != 0)
    msift_callback_failed(l, "pulling from the stream", code);
  else if (got < 0 || got > want)
    msift_error_set(&l->failure, MPISIFT_ERR_CALLBACK, "pull gave %lld samples where up to %lld were wanted",
                    (long long)got, (long long)want);
  else if (check_ids(l, s->ids + s->filled, got) == MPISIFT_OK)
    s->filled += got;
  l->stream_ended = l->failure.status == MPISIFT_OK && got < want;
}

void msift_stage_fetch(mpisift_loader *l, int64_t end, void *const *dst)
{
  if (l->source.n < 0)
    read_stream(l, end, dst);
  else
    read_indexed(l, end, dst);
}

static void pad(mpisift_loader *l, int64_t begin, int64_t end)
{
  for (int64_t i = begin; i < end; i++)
    l->stage.ids[i] = -1;
  if (l->gpu != NULL)
    msift_gpu_pad(l, begin, end);
  for (int f = 0; f < l->source.n_fields && begin < end && l->gpu == NULL; f++)
    memset(msift_stage_row(l, f, begin), 0, (size_t)(end - begin) * l->field_bytes[f]);
}

/* Candidates of a round that nobody scores become the next batch, where none waits already: a copy is saved. At depth 1
 * the batch before is still in use. */
static void choose_place(mpisift_loader *l)
{
  struct msift_stage *s = &l->stage;

  if (s->filled == 0)
    s->in_batch = l->source.n > 0 && s->score_calls == 0 && l->config.pipeline_depth == 0 && l->gpu == NULL &&
                  l->pool.owners.n == 0 && s->share <= l->quota;
}

/* All at once, to where they stay. */
static void read_rows(mpisift_loader *l)
{
  void *dst[MPISIFT_MAX_FIELDS];

  choose_place(l);
  for (int f = 0; f < l->source.n_fields; f++)
    dst[f] = msift_stage_row(l, f, l->stage.filled);
  msift_stage_fetch(l, l->stage.share, dst);
}

/* Rows read before a failure stay: a repeated call goes on behind them. */
void msift_stage_read(mpisift_loader *l)
{
  double begin = msift_range_begin(l->ctx, "mpisift read");

  msift_error_clear(&l->ctx->cause);
  if (l->failure.status == MPISIFT_OK && msift_team_leads(&l->ctx->team)) {
    msift_stage_place(l);
    if (l->gpu != NULL)
      msift_gpu_read(l);
    else
      read_rows(l);
    if (l->failure.status == MPISIFT_OK)
      prefetch(l);
  }
  l->run.seconds[MSIFT_READ] += msift_range_end(l->ctx) - begin;
}

/* What the callback writes, from a row on; what it forgets is bad. */
static mpisift_scores scores_at(mpisift_loader *l, int64_t first)
{
  struct msift_stage *s = &l->stage;
  mpisift_scores scores = {.loss = s->losses + first};

  scores.bound = s->more.bound == NULL ? NULL : s->more.bound + first;
  scores.confidence = s->more.confidence == NULL ? NULL : s->more.confidence + first;
  scores.group = s->more.group == NULL ? NULL : s->more.group + first;
  if (l->gpu != NULL)
    msift_gpu_forget(l, first);
  for (int64_t i = 0; i < l->score_rows && l->gpu == NULL; i++) {
    scores.loss[i] = NAN;
    if (scores.bound != NULL)
      scores.bound[i] = NAN;
    if (scores.confidence != NULL)
      scores.confidence[i] = NAN;
    if (scores.group != NULL)
      scores.group[i] = -1;
  }
  return scores;
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
      .ids = (l->gpu != NULL ? l->gpu->ids : s->ids) + first,
  };
  mpisift_scores scores = scores_at(l, first);
  int code;

  for (int f = 0; f < l->source.n_fields; f++)
    candidates.data[f] = msift_stage_row(l, f, first);
  while (candidates.valid < l->score_rows && s->ids[first + candidates.valid] >= 0)
    candidates.valid++;
  msift_error_clear(&l->ctx->cause);
  code = l->score(l->user, &candidates, &scores);
  if (code != 0)
    msift_callback_failed(l, "the score callback", code);
}

/* Give the replica's other ranks the leader's candidates. */
static void share_candidates(mpisift_loader *l, int64_t rows)
{
  for (int f = 0; f < l->source.n_fields; f++)
    msift_team_share(&l->ctx->team, l->stage.data[f], rows, l->field_bytes[f], 0, &l->failure);
  msift_team_share(&l->ctx->team, l->stage.ids, rows, sizeof *l->stage.ids, 0, &l->failure);
}

/* Give the replica's leader the scores of the rank that has them. */
static void share_scores(mpisift_loader *l, int64_t rows)
{
  const struct msift_team *team = &l->ctx->team;
  struct msift_stage *s = &l->stage;

  msift_team_share(team, s->losses, rows, sizeof *s->losses, team->loss_rank, &l->failure);
  if (s->more.bound != NULL)
    msift_team_share(team, s->more.bound, rows, sizeof *s->more.bound, team->loss_rank, &l->failure);
  if (s->more.confidence != NULL)
    msift_team_share(team, s->more.confidence, rows, sizeof *s->more.confidence, team->loss_rank, &l->failure);
  if (s->more.group != NULL)
    msift_team_share(team, s->more.group, rows, sizeof *s->more.group, team->loss_rank, &l->failure);
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
  share_scores(l, rows);
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
