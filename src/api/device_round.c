/* A round's decisions on a device. What they go by, thresholds by bin above all, is made on the host while candidates
 * are being scored; what comes back is one copy of findings and words. */
#include <string.h>

#include "api/device.h"

static struct msift_device_bins bins_at(const struct msift_gpu *g, const struct msift_bins *bins, int which)
{
  return (struct msift_device_bins){
      .n = bins->n, .top = g->tables->top[which], .split = &g->tables->split[which][0][0]};
}

static void upload_bins(mpisift_loader *l, const struct msift_bins *bins, int which, struct msift_error *error)
{
  struct msift_gpu *g = l->gpu;
  size_t splits = (size_t)bins->n_splits * sizeof bins->split[0];

  memcpy(g->made->top[which], bins->top, sizeof bins->top);
  memcpy(g->made->split[which], bins->split, splits);
  g->device->upload(g->tables->top[which], g->made->top[which], sizeof bins->top, g->stream, error);
  g->device->upload(g->tables->split[which], g->made->split[which], splits, g->stream, error);
}

/* Those of the history change when they are fitted, the next ones are used once. */
static mpisift_status prepare_bins(mpisift_loader *l, struct msift_error *error)
{
  struct msift_gpu *g = l->gpu;

  if (g->refits != l->history.refits)
    upload_bins(l, &l->history.bins, 0, error);
  if (l->history.refitting)
    upload_bins(l, &l->history.next, 1, error);
  if (error->status == MPISIFT_OK)
    g->refits = l->history.refits;
  return error->status;
}

static const uint64_t *prepare_by_bin(mpisift_loader *l, struct msift_error *error)
{
  struct msift_gpu *g = l->gpu;

  msift_decider_by_bin(&l->decider, g->made->by_bin);
  g->device->upload(g->tables->by_bin, g->made->by_bin, (size_t)l->history.bins.n * sizeof *g->made->by_bin, g->stream,
                    error);
  return g->tables->by_bin;
}

static const uint8_t *prepare_outliers(mpisift_loader *l, struct msift_error *error)
{
  struct msift_gpu *g = l->gpu;

  if (l->config.outlier_share <= 0 || !l->stage.scored)
    return NULL;
  msift_decider_outliers(&l->decider, g->made->outliers);
  g->device->upload(g->tables->outliers, g->made->outliers, (size_t)l->history.bins.n, g->stream, error);
  return g->tables->outliers;
}

static const uint64_t *prepare_by_group(mpisift_loader *l, struct msift_error *error)
{
  struct msift_gpu *g = l->gpu;

  if (l->config.class_floor <= 0 || !l->stage.scored)
    return NULL;
  msift_decider_by_group(&l->decider, g->made_by_group);
  g->device->upload(g->by_group, g->made_by_group, (size_t)l->config.groups * sizeof *g->by_group, g->stream, error);
  return g->by_group;
}

static struct msift_device_terms make_terms(mpisift_loader *l, struct msift_error *error)
{
  static const enum msift_device_law laws[] = {
      [MSIFT_FORMULA_CONSTANT] = MSIFT_LAW_CONSTANT,
      [MSIFT_FORMULA_BY_BIN] = MSIFT_LAW_BY_BIN,
      [MSIFT_FORMULA_AT_LEAST] = MSIFT_LAW_AT_LEAST,
      [MSIFT_FORMULA_PROPORTIONAL] = MSIFT_LAW_PROPORTIONAL,
  };
  struct msift_formula formula = msift_decider_formula(&l->decider);
  double factor = msift_decider_weight_factor(&l->decider);

  return (struct msift_device_terms){
      .law = laws[formula.kind],
      .constant = formula.constant,
      .parameter = formula.parameter,
      .by_bin = formula.kind == MSIFT_FORMULA_BY_BIN ? prepare_by_bin(l, error) : NULL,
      .outliers = prepare_outliers(l, error),
      .by_group = prepare_by_group(l, error),
      .floor = msift_decider_floor(&l->decider),
      .coverage_epochs = (uint64_t)l->config.coverage_epochs,
      .epoch = (uint64_t)l->epoch,
      .weighted = factor > 0,
      .factor = factor,
      .clip = l->config.weight_clip,
  };
}

static struct msift_device_window window(const struct msift_gpu *g)
{
  uint32_t *keys = (uint32_t *)(void *)g->window.items;

  return (struct msift_device_window){.keys = keys,
                                      .groups = g->window_sides > 1 ? (int32_t *)(keys + g->window.capacity) : NULL,
                                      .capacity = g->window.capacity};
}

/* Place i of this rank's losses of the window in the ring. */
static int64_t ring_place(const struct msift_ring *ring, int64_t i)
{
  int64_t at = ring->first + i;

  return at < ring->capacity ? at : at - ring->capacity;
}

static mpisift_status count(mpisift_loader *l, int64_t begin, int64_t end, uint32_t change, bool in_groups,
                            bool in_bins, struct msift_error *error)
{
  struct msift_gpu *g = l->gpu;
  const struct msift_history *h = &l->history;
  struct msift_device_count job = {
      .window = window(g),
      .first = ring_place(&g->window, begin),
      .n = end - begin,
      .change = change,
      .bins = h->refitting ? bins_at(g, &h->next, 1) : bins_at(g, &h->bins, 0),
      .groups = h->groups,
      .in_groups = in_groups && h->groups > 0,
      .in_bins = in_bins,
      .words = g->words + MSIFT_HEADER_WORDS,
  };

  if (begin == end || (!job.in_groups && !in_bins))
    return MPISIFT_OK;
  return g->device->count(&job, g->stream, error);
}

/* As msift_history_begin(): what the round's passing takes from the window, or what it leaves there. */
static mpisift_status count_window(mpisift_loader *l, struct msift_error *error)
{
  struct msift_stage *s = &l->stage;
  int64_t gone = msift_history_gone(&l->history, s->round), n = l->gpu->window.n;
  bool refitting = l->history.refitting;

  msift_history_note(&l->history, s->filled, s->positions, s->begin);
  MSIFT_TRY(count(l, 0, gone, UINT32_MAX, true, !refitting, error));
  return refitting ? count(l, gone, n, 1, false, true, error) : MPISIFT_OK;
}

static enum msift_device_measure measure(const mpisift_loader *l)
{
  switch (l->policy->measure) {
  case MSIFT_MEASURE_BOUND:
    return MSIFT_DEVICE_BOUND;
  case MSIFT_MEASURE_UNCERTAINTY:
    return MSIFT_DEVICE_UNCERTAINTY;
  case MSIFT_MEASURE_REDUCIBLE:
    return MSIFT_DEVICE_REDUCIBLE;
  default:
    return MSIFT_DEVICE_LOSS;
  }
}

/* Where the scores are: the stage's, or the user's. */
static void add_scores(const mpisift_loader *l, struct msift_device_round *job)
{
  const mpisift_candidates *c = l->candidates;
  const struct msift_stage *s = &l->stage;

  job->losses = l->pushed ? c->losses : s->losses;
  job->bounds = l->pushed ? c->bounds : s->more.bound;
  job->confidences = l->pushed ? c->confidences : s->more.confidence;
  job->classes = l->pushed ? c->groups : s->more.group;
  if (l->pushed)
    job->references = c->references;
  else if (l->reference >= 0)
    job->references = s->data[l->reference];
  job->references_f64 = !l->pushed && l->reference >= 0 && l->fields[l->reference].type == MPISIFT_F64;
  if (l->config.groups == 0 || !s->scored)
    job->classes = NULL;
}

/* Where the results go. */
static void add_results(const mpisift_loader *l, struct msift_device_round *job)
{
  struct msift_gpu *g = l->gpu;
  int64_t places = l->stage.end - l->stage.begin;

  job->accepted = g->accepted;
  job->probabilities = g->probabilities;
  job->weights = g->weights;
  job->kept = g->kept;
  job->n_kept = g->n_kept;
  job->changes = g->words + MSIFT_HEADER_WORDS;
  job->map = job->changes + (l->stage.scored ? msift_history_words(&l->history, places) : 0);
  job->holder = l->positioned ? (uint32_t)l->ctx->team.rank + 1 : 0;
  job->bad = g->words + MSIFT_WORD_BAD;
  job->outliers = g->words + MSIFT_WORD_OUTLIERS;
  job->accepted_count = g->words + MSIFT_WORD_ACCEPTED;
  job->failed = g->words + MSIFT_WORD_FAILED;
  job->findings = g->findings;
}

static mpisift_status run(mpisift_loader *l, struct msift_error *error)
{
  struct msift_stage *s = &l->stage;
  struct msift_gpu *g = l->gpu;
  int64_t too_old = msift_history_oldest(&l->history, s->round) - l->history.end;
  struct msift_device_round job = {
      .n = s->filled,
      .ids = g->ids,
      .places = g->places,
      .scored = s->scored,
      .sifting = s->sifting,
      .measure = measure(l),
      .groups = l->config.groups,
      .window = window(g),
      .first = ring_place(&g->window, g->window.n),
      .bins = bins_at(g, &l->history.bins, 0),
      .next = bins_at(g, &l->history.next, 1),
      .refitting = l->history.refitting,
      .too_old = too_old > 0 ? too_old : 0,
  };

  if (s->sifting)
    job.terms = make_terms(l, error);
  job.terms.accept_key = msift_accept_key(l->config.seed, l->epoch).v[0];
  add_scores(l, &job);
  add_results(l, &job);
  MSIFT_TRY(error->status);
  return g->device->decide(&job, g->scratch, g->device->decide_scratch(s->capacity), g->stream, error);
}

/* What a rank says ahead of its words, which NCCL adds up without the host's seeing them. */
static mpisift_status send_header(mpisift_loader *l, struct msift_error *error)
{
  struct msift_gpu *g = l->gpu;

  msift_round_header(l, g->header);
  return g->device->upload(g->words, g->header, MSIFT_HEADER_WORDS * sizeof *g->words, g->stream, error);
}

static mpisift_status clear_words(mpisift_loader *l, struct msift_error *error)
{
  struct msift_gpu *g = l->gpu;
  const struct msift_device *d = g->device;

  MSIFT_TRY(d->fill(g->findings, 0xff, sizeof *g->findings, g->stream, error));
  MSIFT_TRY(d->fill(g->words, 0, (size_t)l->reduction.n * sizeof *g->words, g->stream, error));
  return msift_gpu_by_nccl(g) ? send_header(l, error) : MPISIFT_OK;
}

static mpisift_status decide(mpisift_loader *l, struct msift_error *error)
{
  const struct msift_device *d = l->gpu->device;

  MSIFT_TRY(d->check_past("what reads and scores candidates", error));
  MSIFT_TRY(d->event_reach(l->gpu->decided, error)); /* what was made for the round before has gone up */
  MSIFT_TRY(clear_words(l, error));
  if (l->stage.scored) {
    MSIFT_TRY(prepare_bins(l, error));
    MSIFT_TRY(count_window(l, error));
  }
  return l->stage.filled > 0 ? run(l, error) : MPISIFT_OK;
}

static mpisift_status download(mpisift_loader *l, struct msift_error *error)
{
  const struct msift_gpu *g = l->gpu;
  size_t bytes = sizeof *g->findings + (size_t)l->reduction.n * sizeof *g->words;

  MSIFT_TRY(g->device->download(g->found, g->findings, bytes, g->stream, error));
  return g->device->event_record(g->decided, g->stream, error);
}

/* The sum of the ranks' words replaces those of this one. A rank that has failed takes part, with nothing but that. */
static mpisift_status sum(mpisift_loader *l, struct msift_error *error)
{
  struct msift_gpu *g = l->gpu;

  if (l->failure.status != MPISIFT_OK)
    MSIFT_TRY(clear_words(l, error));
  MSIFT_TRY(msift_nccl_sum(&g->nccl, g->words, l->reduction.n, g->stream, error));
  return download(l, error);
}

/* After a failure of this rank nothing of the round will count. */
void msift_gpu_decide(mpisift_loader *l)
{
  struct msift_error *error = &l->ctx->error;
  struct msift_gpu *g = l->gpu;

  if (l->failure.status == MPISIFT_OK)
    decide(l, &l->failure);
  if (msift_gpu_by_nccl(g) && sum(l, error) == MPISIFT_ERR_DEVICE)
    msift_nccl_fail(&g->nccl, error);
  if (!msift_gpu_by_nccl(g) && l->failure.status == MPISIFT_OK)
    download(l, &l->failure);
}

static void take_findings(mpisift_loader *l)
{
  const struct msift_device_findings *found = l->gpu->found;

  if (found->bad_row >= 0)
    msift_stage_flaw(l, found->bad_row, found->bad_loss, found->bad_value);
  if (found->bad_group_row >= 0)
    msift_stage_bad_group(l, found->bad_group_row, found->bad_group);
}

void msift_gpu_collect(mpisift_loader *l)
{
  struct msift_stage *s = &l->stage;
  struct msift_gpu *g = l->gpu;

  if (l->failure.status != MPISIFT_OK || g->device->event_reach(g->decided, &l->failure) != MPISIFT_OK)
    return;
  memcpy(l->reduction.words, g->told, (size_t)l->reduction.n * sizeof *g->told);
  s->n_bad = g->told[MSIFT_WORD_BAD];
  s->n_outliers = g->told[MSIFT_WORD_OUTLIERS];
  s->n_accepted = g->told[MSIFT_WORD_ACCEPTED];
  take_findings(l);
}

mpisift_status msift_gpu_sum_end(mpisift_loader *l)
{
  struct msift_gpu *g = l->gpu;

  MSIFT_TRY(msift_nccl_wait(&g->nccl, g->decided, g->stream, &l->ctx->error));
  memcpy(l->reduction.words, g->told, (size_t)l->reduction.n * sizeof *g->told);
  l->stage.n_bad = g->found->bad_row >= 0;
  take_findings(l);
  l->failure_told = l->failure.status != MPISIFT_OK;
  return MPISIFT_OK;
}
