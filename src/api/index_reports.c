/* Reports of an index plan: kept by row on the rank that trained it until its batch's ticket closes, and then taken to
 * the owners of the ids in bulk. */
#include <math.h>
#include <string.h>

#include "api/indices.h"
#include "core/runs.h"

mpisift_status msift_receipts_reserve(mpisift_indices *x, int64_t rows, int64_t batches)
{
  int64_t tickets = x->serial - x->oldest + batches, receipts = x->n_receipts + rows;

  if (receipts > x->receipt_capacity) {
    MSIFT_TRY(msift_resize(&x->ctx->memory, &x->ctx->error, &x->receipts, receipts, sizeof *x->receipts));
    x->receipt_capacity = receipts;
  }
  if (tickets > x->ticket_capacity) {
    MSIFT_TRY(msift_resize(&x->ctx->memory, &x->ctx->error, &x->tickets, tickets, sizeof *x->tickets));
    x->ticket_capacity = tickets;
  }
  return MPISIFT_OK;
}

void msift_receipts_add(mpisift_indices *x, const mpisift_batch *batch)
{
  x->tickets[batch->serial - x->oldest] = (struct msift_index_ticket){x->n_receipts, batch->n, batch->valid};
  for (int64_t i = 0; i < batch->valid; i++)
    x->receipts[x->n_receipts++] = (struct msift_receipt){.report = {.id = batch->ids[i],
                                                                     .trained = (int32_t)batch->epoch,
                                                                     .drawn = (int32_t)batch->epochs[i],
                                                                     .group = -1,
                                                                     .loss = NAN,
                                                                     .confidence = NAN}};
}

/* Tickets below are closed. */
static int64_t first_open(const mpisift_indices *x, int64_t next)
{
  int64_t first = next - x->config.report_lag;

  return first > x->oldest ? first : x->oldest;
}

static bool is_bad(float loss)
{
  return !(isfinite(loss) && loss >= 0);
}

enum { REPORTED, BAD, UNREPORTED, N_SUMS };

/* On the rank whose losses count. */
static void count(const mpisift_indices *x, int64_t n, uint64_t sums[N_SUMS])
{
  const struct msift_team *team = &x->ctx->team;

  for (int64_t i = 0; i < n && team->replica_rank == team->loss_rank; i++) {
    sums[REPORTED] += x->receipts[i].reported;
    sums[BAD] += x->receipts[i].reported && is_bad(x->receipts[i].report.loss);
    sums[UNREPORTED] += !x->receipts[i].reported;
  }
}

static mpisift_status check_bad(mpisift_indices *x, int64_t n, const uint64_t sums[N_SUMS])
{
  struct msift_error *error = &x->ctx->error;

  if ((double)sums[BAD] <= x->config.bad_loss_share * (double)sums[REPORTED])
    return MPISIFT_OK;
  for (int64_t i = 0; i < n; i++)
    if (x->receipts[i].reported && is_bad(x->receipts[i].report.loss))
      msift_error_set(
          error, MPISIFT_ERR_DATA,
          "sample %lld was reported with loss %g; %llu of the %llu reports of the epoch are NaN, infinite or "
          "negative, more than config.bad_loss_share %g allows",
          (long long)x->receipts[i].report.id, (double)x->receipts[i].report.loss, (unsigned long long)sums[BAD],
          (unsigned long long)sums[REPORTED], x->config.bad_loss_share);
  return msift_team_agree(&x->ctx->team, error);
}

/* The first n receipts to the owners of their ids. */
static mpisift_status carry(mpisift_indices *x, int64_t n, struct msift_parcels *p)
{
  const struct msift_team *team = &x->ctx->team;
  struct msift_report *reports;

  msift_parcels_resize(x, p, msift_team_leads(team) ? n : 0, sizeof *reports);
  MSIFT_TRY(msift_team_agree(team, &x->ctx->error));
  reports = p->items;
  for (int64_t i = 0; i < n && msift_team_leads(team); i++)
    if (x->receipts[i].reported) {
      p->to[p->n] = (int32_t)msift_run_of(x->n, team->size, x->receipts[i].report.id);
      reports[p->n++] = x->receipts[i].report;
    }
  return msift_deliver(x, p, sizeof *reports);
}

/* Drop the first n receipts, and the tickets before one. */
static void forget(mpisift_indices *x, int64_t n, int64_t oldest)
{
  int64_t left = x->serial - oldest;

  x->n_receipts -= n;
  memmove(x->receipts, x->receipts + n, (size_t)x->n_receipts * sizeof *x->receipts);
  memmove(x->tickets, x->tickets + (oldest - x->oldest), (size_t)left * sizeof *x->tickets);
  for (int64_t i = 0; i < left; i++)
    x->tickets[i].receipt -= n;
  x->oldest = oldest;
}

mpisift_status msift_receipts_settle(mpisift_indices *x, mpisift_index_epoch *now)
{
  int64_t oldest = first_open(x, x->serial);
  int64_t n = oldest < x->serial ? x->tickets[oldest - x->oldest].receipt : x->n_receipts;
  const struct msift_team *team = &x->ctx->team;
  struct msift_error *error = &x->ctx->error;
  struct msift_parcels parcels = {NULL, NULL, 0};
  uint64_t sums[N_SUMS] = {0};

  if (oldest == x->oldest)
    return MPISIFT_OK;
  MSIFT_TRY(msift_team_share(team, x->receipts, n, sizeof *x->receipts, team->loss_rank, error));
  count(x, n, sums);
  MSIFT_TRY(msift_team_sum(team, sums, N_SUMS, error));
  MSIFT_TRY(check_bad(x, n, sums));
  if (carry(x, n, &parcels) == MPISIFT_OK) {
    msift_table_take(&x->table, parcels.items, parcels.n);
    forget(x, n, oldest);
    now->reported = (int64_t)sums[REPORTED];
    now->bad = (int64_t)sums[BAD];
    now->unreported = (int64_t)sums[UNREPORTED];
  }
  msift_parcels_free(x, &parcels);
  return error->status;
}

/* The ticket of a batch; NULL with an error. */
static const struct msift_index_ticket *find_ticket(const mpisift_indices *x, int64_t serial)
{
  if (serial >= first_open(x, x->serial - 1) && serial < x->serial)
    return &x->tickets[serial - x->oldest];
  msift_error_set(&x->ctx->error, MPISIFT_ERR_ARG, "report: batch %lld is not among the open ones, %lld to %lld",
                  (long long)serial, (long long)first_open(x, x->serial - 1), (long long)x->serial - 1);
  return NULL;
}

static mpisift_status check_rows(const mpisift_indices *x, const struct msift_index_ticket *t, int64_t first, int64_t n,
                                 const float *losses, int64_t stride)
{
  struct msift_error *error = &x->ctx->error;

  if (first < 0 || n < 0 || first > t->rows || n > t->rows - first || stride < 1 || (n > 0 && losses == NULL))
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "report: rows %lld to %lld of a batch of %lld with stride %lld, or losses are NULL",
                           (long long)first, (long long)(first + n), (long long)t->rows, (long long)stride);
  for (int64_t row = first; row < first + n && row < t->valid; row++)
    if (x->receipts[t->receipt + row].reported)
      return msift_error_set(error, MPISIFT_ERR_ARG, "report: row %lld has been reported already", (long long)row);
  return MPISIFT_OK;
}

static mpisift_status check_groups(const mpisift_indices *x, const int32_t *groups, int64_t n, int64_t stride)
{
  for (int64_t i = 0; i < n && groups != NULL && x->config.groups > 0; i++)
    if (groups[i * stride] < 0 || groups[i * stride] >= x->config.groups)
      return msift_error_set(&x->ctx->error, MPISIFT_ERR_ARG, "report: row %lld has group %d; config.groups is %lld",
                             (long long)i, groups[i * stride], (long long)x->config.groups);
  return MPISIFT_OK;
}

mpisift_status msift_indices_report(mpisift_indices *x, int64_t serial, int64_t first, int64_t n,
                                    const struct msift_reported *r, int64_t stride)
{
  const struct msift_index_ticket *t = find_ticket(x, serial);
  bool grouped = r->groups != NULL && x->config.groups > 0;
  int64_t rows;

  if (t == NULL)
    return x->ctx->error.status;
  MSIFT_TRY(check_rows(x, t, first, n, r->losses, stride));
  rows = first + n < t->valid ? n : t->valid - first; /* the others are padding */
  MSIFT_TRY(check_groups(x, r->groups, rows, stride));
  for (int64_t i = 0; i < rows; i++) {
    struct msift_receipt *receipt = &x->receipts[t->receipt + first + i];

    receipt->reported = true;
    receipt->report.loss = r->losses[i * stride];
    receipt->report.confidence = r->confidences == NULL ? NAN : r->confidences[i * stride];
    receipt->report.group = grouped ? r->groups[i * stride] : -1;
  }
  return MPISIFT_OK;
}

static mpisift_status report(mpisift_indices *x, int64_t serial, int64_t first, int64_t n,
                             const struct msift_reported *r, int64_t stride)
{
  MSIFT_TRY(msift_enter(x->ctx, "mpisift_indices_report"));
  msift_indices_report(x, serial, first, n, r, stride);
  return msift_leave(x->ctx);
}

mpisift_status mpisift_indices_report(mpisift_indices *x, int64_t serial, int64_t first, int64_t n, const float *losses,
                                      int64_t stride)
{
  const struct msift_reported r = {.losses = losses};

  return x == NULL ? MPISIFT_ERR_ARG : report(x, serial, first, n, &r, stride);
}

mpisift_status mpisift_indices_report_scores(mpisift_indices *x, int64_t serial, int64_t first, int64_t n,
                                             const mpisift_scores *scores, int64_t stride)
{
  struct msift_reported r;

  if (x == NULL || scores == NULL)
    return MPISIFT_ERR_ARG;
  r = (struct msift_reported){scores->loss, scores->confidence, scores->group};
  return report(x, serial, first, n, &r, stride);
}
