#include <math.h>

#include "api/loader.h"
#include "core/random.h"

mpisift_status msift_report_check(mpisift_loader *l, int64_t serial, int64_t first, int64_t n, const float *losses)
{
  struct msift_error *error = &l->ctx->error;
  const struct msift_ticket *ticket = serial < 0 ? NULL : &l->tickets[serial % (l->config.report_lag + 1)];

  if (ticket == NULL || ticket->serial != serial)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "mpisift_loader_report: batch %lld is not among the last %lld; the newest is %lld",
                           (long long)serial, (long long)l->config.report_lag + 1, (long long)l->serial - 1);
  if (first < 0 || n < 0 || first > ticket->rows || n > ticket->rows - first || (n > 0 && losses == NULL))
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "mpisift_loader_report: rows %lld to %lld of a batch of %lld, or losses are NULL",
                           (long long)first, (long long)(first + n), (long long)ticket->rows);
  return MPISIFT_OK;
}

/* Rows of samples that a report may name; −1: it is refused. */
static int64_t take_report(mpisift_loader *l, int64_t serial, int64_t first, int64_t n, const struct msift_reported *r)
{
  if (l->indices != NULL)
    return msift_planned_report(l, serial, first, n, r);
  if (msift_report_check(l, serial, first, n, r->losses) != MPISIFT_OK)
    return -1;
  return l->tickets[serial % (l->config.report_lag + 1)].valid;
}

void msift_report_add(mpisift_loader *l, int64_t n, const float *losses)
{
  for (int64_t i = 0; i < n; i++)
    if (isfinite(losses[i])) {
      l->report_sum += llrint(fmax(-MSIFT_REPORT_MOST, fmin(MSIFT_REPORT_MOST, (double)losses[i])) * MSIFT_REPORT_ONE);
      l->reported++;
    }
}

static mpisift_status report(mpisift_loader *l, int64_t serial, int64_t first, int64_t n,
                             const struct msift_reported *r)
{
  int64_t valid;

  MSIFT_TRY(msift_enter(l->ctx, "mpisift_loader_report"));
  valid = take_report(l, serial, first, n, r);
  if (valid >= 0)
    msift_report_add(l, first + n < valid ? n : valid - first, r->losses);
  return msift_leave(l->ctx);
}

mpisift_status mpisift_loader_report(mpisift_loader *loader, int64_t serial, int64_t first, int64_t n,
                                     const float *losses)
{
  const struct msift_reported r = {.losses = losses};

  return loader == NULL ? MPISIFT_ERR_ARG : report(loader, serial, first, n, &r);
}

mpisift_status mpisift_loader_report_scores(mpisift_loader *loader, int64_t serial, int64_t first, int64_t n,
                                            const mpisift_scores *scores)
{
  struct msift_reported r;

  if (loader == NULL || scores == NULL)
    return MPISIFT_ERR_ARG;
  r = (struct msift_reported){scores->loss, scores->confidence, scores->group};
  return report(loader, serial, first, n, &r);
}

double mpisift_loader_fraction(const mpisift_loader *loader)
{
  double epochs = (double)loader->config.epochs, part = 0;

  if (loader->indices != NULL)
    return mpisift_indices_fraction(loader->indices);

  if (epochs <= 0)
    return 0;
  if (loader->in_epoch && loader->source.n > 0)
    part = (double)loader->position / (double)loader->source.n;
  return ((double)loader->epoch + part) / epochs;
}

uint64_t mpisift_loader_sample_seed(const mpisift_loader *loader, int64_t epoch, int64_t id)
{
  return msift_random(loader->config.seed, MSIFT_STREAM_SAMPLE, (uint64_t)epoch, (uint64_t)id);
}

static void scope_of(const mpisift_loader *l, mpisift_scope scope, struct msift_tally *begin, struct msift_tally *end)
{
  static const struct msift_tally zero;

  *begin = scope == MPISIFT_STEP ? l->at_step : scope == MPISIFT_EPOCH ? l->at_epoch : zero;
  *end = scope == MPISIFT_STEP ? l->after_step : l->run;
}

/* By a decider of its own: that of the loader must not change in a call that only asks. */
static void find_thresholds(const mpisift_loader *l, double thresholds[3])
{
  struct msift_decider decider;

  msift_decider_init(&decider, l->policy, &l->config, &l->history);
  msift_decider_refresh(&decider, mpisift_loader_fraction(l), 0);
  thresholds[0] = msift_decider_value_at(&decider, 0.1);
  thresholds[1] = msift_decider_value_at(&decider, 0.5);
  thresholds[2] = msift_decider_value_at(&decider, 0.9);
}

/* Spent in some kinds of work. */
static double seconds(const struct msift_tally *begin, const struct msift_tally *end, enum msift_time first,
                      enum msift_time last)
{
  double sum = 0;

  for (int t = (int)first; t <= (int)last; t++)
    sum += end->seconds[t] - begin->seconds[t];
  return sum;
}

mpisift_stats mpisift_loader_stats(const mpisift_loader *loader, mpisift_scope scope)
{
  struct msift_tally a, b;
  mpisift_stats s;

  scope_of(loader, scope, &a, &b);
  s = (mpisift_stats){
      .steps = b.steps - a.steps,
      .rounds = b.rounds - a.rounds,
      .candidates = b.candidates - a.candidates,
      .scored = b.scored - a.scored,
      .accepted = b.accepted - a.accepted,
      .rejected = b.rejected - a.rejected,
      .outliers = b.outliers - a.outliers,
      .trained = b.trained - a.trained,
      .dropped = b.dropped - a.dropped,
      .carried_in = a.pooled,
      .carried_out = loader->in_epoch ? 0 : b.pooled,
      .pooled = loader->in_epoch ? b.pooled : 0,
      .moved = b.moved - a.moved,
      .moved_bytes = b.moved_bytes - a.moved_bytes,
      .refits = b.refits - a.refits,
      .unread_bytes = b.unread_bytes - a.unread_bytes,
      .unread_blocks = b.unread_blocks - a.unread_blocks,
      .id_hash = loader->id_hash,
      .trained_loss = b.reported > a.reported ? (b.report_sum - a.report_sum) / (double)(b.reported - a.reported) : NAN,
      .read_s = seconds(&a, &b, MSIFT_READ, MSIFT_READ),
      .score_s = seconds(&a, &b, MSIFT_SCORE, MSIFT_SCORE),
      .decide_s = seconds(&a, &b, MSIFT_DECIDE, MSIFT_DECIDE),
      .exchange_s = seconds(&a, &b, MSIFT_SEND, MSIFT_FILL),
      .wait_s = seconds(&a, &b, MSIFT_WAIT, MSIFT_WAIT),
  };
  s.sifted_out = s.candidates - s.rejected - s.outliers - s.accepted;
  find_thresholds(loader, s.threshold_loss);
  return s;
}
