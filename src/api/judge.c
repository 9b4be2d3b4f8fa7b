/* From scores to decisions, written into the words of the round's reduction: the history's changes, and the map of
 * accepted positions. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "api/device.h"

enum { BLOCK = 256 };

/* One bit a position where the position tells who holds it. Else a word: 0 where there is no candidate, or twice the
 * holder's number, counted from 1, plus one if it is accepted. */
int64_t msift_map_words(const mpisift_loader *l, int64_t positions)
{
  return l->positioned ? positions : (positions + 31) / 32;
}

static double reference_loss(const mpisift_loader *l, int64_t i)
{
  const void *values;

  if (l->pushed)
    return (double)l->candidates->references[l->stage.arrivals[i].candidate];
  values = msift_stage_row(l, l->reference, 0);
  return l->fields[l->reference].type == MPISIFT_F32 ? (double)((const float *)values)[i] : ((const double *)values)[i];
}

static bool in_range(float value, float most)
{
  return (value >= 0) & (value <= most); /* false for NaN */
}

static float finite_or_nan(float value)
{
  return isfinite(value) ? value : NAN;
}

/* What the policy goes by besides the loss; NAN where it is out of range. */
static float other_score(const mpisift_loader *l, int64_t i)
{
  const struct msift_stage *s = &l->stage;

  if (l->policy->measure == MSIFT_MEASURE_BOUND)
    return in_range(s->more.bound[i], FLT_MAX) ? s->more.bound[i] : NAN;
  if (l->policy->measure == MSIFT_MEASURE_UNCERTAINTY)
    return in_range(s->more.confidence[i], 1) ? 1 - s->more.confidence[i] : NAN;
  return finite_or_nan((float)((double)s->losses[i] - reference_loss(l, i)));
}

/* The policy's measure of rows; NAN where a score is no good. */
static void measure(const mpisift_loader *l, int64_t begin, int64_t n, float *values)
{
  const float *losses = l->stage.losses + begin;

  for (int64_t i = 0; i < n; i++)
    values[i] = in_range(losses[i], FLT_MAX) ? losses[i] : NAN;
  for (int64_t i = 0; i < n && l->policy->measure != MSIFT_MEASURE_LOSS; i++)
    if (!isnan(values[i]))
      values[i] = other_score(l, begin + i);
}

void msift_stage_flaw(mpisift_loader *l, int64_t i, float loss, double score)
{
  const char *name = "loss";

  if (!in_range(loss, FLT_MAX))
    score = (double)loss;
  else if (l->policy->measure == MSIFT_MEASURE_BOUND)
    name = "bound";
  else if (l->policy->measure == MSIFT_MEASURE_UNCERTAINTY)
    name = "confidence";
  else
    name = "reference loss";
  msift_error_set(&l->stage.bad, MPISIFT_ERR_DATA, "sample %lld has %s %g", (long long)l->stage.ids[i], name, score);
}

/* What the policy goes by, as it was given. */
static double given_score(const mpisift_loader *l, int64_t i)
{
  if (l->policy->measure == MSIFT_MEASURE_BOUND)
    return (double)l->stage.more.bound[i];
  if (l->policy->measure == MSIFT_MEASURE_UNCERTAINTY)
    return (double)l->stage.more.confidence[i];
  return l->policy->measure == MSIFT_MEASURE_REDUCIBLE ? reference_loss(l, i) : (double)l->stage.losses[i];
}

void msift_stage_bad_group(mpisift_loader *l, int64_t i, int32_t group)
{
  msift_error_set(&l->failure, MPISIFT_ERR_DATA, "sample %lld has group %d; config.groups is %lld",
                  (long long)l->stage.ids[i], (int)group, (long long)l->config.groups);
}

/* The class of a candidate; a class out of range fails the round. */
static int32_t group_of(mpisift_loader *l, int64_t i)
{
  int32_t group = l->stage.more.group[i];

  if (group >= 0 && group < l->config.groups)
    return group;
  msift_stage_bad_group(l, i, group);
  return 0;
}

/* Say what is wrong with a block's bad scores, and count them. */
static void note_flaws(mpisift_loader *l, int64_t begin, int64_t n, const bool *good)
{
  for (int64_t i = begin; i < begin + n; i++)
    if (!good[i - begin]) {
      msift_stage_flaw(l, i, l->stage.losses[i], given_score(l, i));
      l->stage.n_bad++;
    }
}

/* Make candidates of rows. Returns whether all are good: what has bad scores is not. */
static bool make_candidates(mpisift_loader *l, int64_t begin, int64_t n, struct msift_candidate *candidates, bool *good)
{
  const int64_t *ids = l->stage.ids + begin;
  bool all_good = true;
  float values[BLOCK];

  measure(l, begin, n, values);
  for (int64_t i = 0; i < n; i++) {
    candidates[i] = (struct msift_candidate){.id = ids[i], .value = values[i]};
    good[i] = !isnan(values[i]);
    all_good &= good[i];
  }
  if (!all_good)
    note_flaws(l, begin, n, good);
  for (int64_t i = 0; i < n && l->config.groups > 0; i++)
    if (good[i])
      candidates[i].group = group_of(l, begin + i);
  return all_good;
}

/* Make candidates of rows, find their places in the history, and add the good ones to it. Loops are short, so that the
 * work of many candidates overlaps. Returns whether all are good. */
static bool record(mpisift_loader *l, int64_t begin, int64_t n, struct msift_candidate *candidates, bool *good,
                   uint32_t *changes)
{
  const int64_t *positions = l->stage.positions + begin;
  int64_t n_seen = 0, offset = l->history.end - l->stage.begin;
  bool all_good = make_candidates(l, begin, n, candidates, good);
  struct msift_seen seen[BLOCK];

  msift_candidates_find(n, candidates, &l->history);
  for (int64_t i = 0; i < n; i++) {
    seen[n_seen] =
        (struct msift_seen){positions[i] + offset, candidates[i].key, candidates[i].group, candidates[i].bin};
    n_seen += good[i];
  }
  msift_history_add(&l->history, l->stage.round, n_seen, seen, changes);
  return all_good;
}

static void name(const mpisift_loader *l, int64_t begin, int64_t n, struct msift_candidate *candidates)
{
  for (int64_t i = 0; i < n; i++) {
    candidates[i] = (struct msift_candidate){.id = l->stage.ids[begin + i]};
    l->stage.losses[begin + i] = NAN;
  }
}

static void judge(mpisift_loader *l, int64_t begin, int64_t n, struct msift_verdict *verdicts, uint32_t *changes)
{
  struct msift_candidate candidates[BLOCK];
  struct msift_stage *s = &l->stage;
  bool good[BLOCK], all_good = true;

  if (s->scored)
    all_good = record(l, begin, n, candidates, good, changes);
  else
    name(l, begin, n, candidates);
  if (s->sifting)
    msift_decide_all(&l->decider, n, candidates, l->epoch, verdicts);
  for (int64_t i = 0; i < n && !s->sifting; i++)
    verdicts[i] = msift_accept_all();
  for (int64_t i = 0; i < n && !all_good; i++)
    if (!good[i])
      verdicts[i] = (struct msift_verdict){.weight = 1};
}

static void accept(mpisift_loader *l, int64_t begin, int64_t n, const struct msift_verdict *verdicts)
{
  const philox2x32_key_t key = msift_accept_key(l->config.seed, l->epoch);
  struct msift_stage *s = &l->stage;
  struct msift_chance *chances = s->chances + begin;
  const int64_t *ids = s->ids + begin;
  bool *accepted = s->accepted + begin;
  uint32_t draws[BLOCK];

  msift_draw_all(key, n, ids, draws);
  for (int64_t i = 0; i < n; i++) {
    accepted[i] = draws[i] < verdicts[i].threshold;
    chances[i] = (struct msift_chance){msift_probability(verdicts[i].threshold), verdicts[i].weight};
    s->n_accepted += accepted[i];
    s->n_outliers += verdicts[i].outlier;
  }
}

/* Positions ascend: bits gather in a word before it is written. */
static void map_bits(const struct msift_stage *s, int64_t begin, int64_t end, uint32_t *map)
{
  uint64_t at = (uint64_t)(s->positions[begin] - s->begin) / 32;
  uint32_t word = 0;

  for (int64_t i = begin; i < end; i++) {
    uint64_t offset = (uint64_t)(s->positions[i] - s->begin);

    if (offset / 32 != at) {
      map[at] |= word;
      at = offset / 32;
      word = 0;
    }
    word |= (uint32_t)s->accepted[i] << offset % 32;
  }
  map[at] |= word;
}

static void map_rows(const mpisift_loader *l, int64_t begin, int64_t end, uint32_t *map)
{
  const struct msift_stage *s = &l->stage;
  uint32_t rank = (uint32_t)l->ctx->team.rank + 1;

  if (!l->positioned)
    map_bits(s, begin, end, map);
  for (int64_t i = begin; i < end && l->positioned; i++)
    map[s->positions[i] - s->begin] += 2 * rank + s->accepted[i];
}

/* In blocks that stay in the cache. */
static void decide_rows(mpisift_loader *l, uint32_t *changes, uint32_t *map)
{
  struct msift_verdict verdicts[BLOCK];
  const struct msift_stage *s = &l->stage;

  for (int64_t begin = 0, end; begin < s->filled; begin = end) {
    end = begin + BLOCK < s->filled ? begin + BLOCK : s->filled;
    judge(l, begin, end - begin, verdicts, changes);
    accept(l, begin, end - begin, verdicts);
    map_rows(l, begin, end, map);
  }
}

/* The share of candidates kept in this epoch, in which that of an epoch before counts as one history of candidates; 0,
 * for what the policy expects, as long as too few have come to tell, and where a schedule changes it. */
static double share_kept(const mpisift_loader *l)
{
  double before = l->last_share > 0 ? (double)l->config.loss_history_length : 0;
  double candidates = (double)l->epoch_candidates + before;

  if (l->config.schedule.shape != MPISIFT_CONSTANT || candidates < (double)l->global_batch)
    return 0;
  return ((double)l->epoch_accepted + l->last_share * before) / candidates;
}

void msift_stage_decide(mpisift_loader *l)
{
  struct msift_stage *s = &l->stage;
  int64_t places = s->end - s->begin;
  uint32_t *changes = l->reduction.words + MSIFT_HEADER_WORDS;
  uint32_t *map = changes + (s->scored ? msift_history_words(&l->history, places) : 0);
  double begin = msift_range_begin(l->ctx, "mpisift decide");

  memset(l->reduction.words, 0, (size_t)l->reduction.n * sizeof *l->reduction.words); /* now: they stay in the cache */
  s->n_accepted = s->n_bad = s->n_outliers = 0;
  msift_error_clear(&s->bad);
  if (s->sifting)
    msift_decider_refresh(&l->decider, mpisift_loader_fraction(l), share_kept(l));
  if (l->gpu != NULL)
    msift_gpu_decide(l);
  if (s->scored && l->gpu == NULL)
    msift_history_begin(&l->history, s->round, changes);
  if (msift_team_leads(&l->ctx->team) && l->gpu == NULL)
    decide_rows(l, changes, map);
  l->run.seconds[MSIFT_DECIDE] += msift_range_end(l->ctx) - begin;
}
