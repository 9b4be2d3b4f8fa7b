/* Reports of an index plan: kept by row on the rank that trained it until its batch's ticket closes, and then taken to
 * the owners of the ids in bulk. */
#include <math.h>
#include <mpisift/cuda.h>
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

static struct msift_receipt receipt_of(const mpisift_batch *batch, int64_t i)
{
  return (struct msift_receipt){.report = {.id = batch->ids[i],
                                           .trained = (int32_t)batch->epoch,
                                           .drawn = (int32_t)batch->epochs[i],
                                           .group = -1,
                                           .loss = NAN,
                                           .confidence = NAN}};
}

void msift_receipts_add(mpisift_indices *x, const mpisift_batch *batch)
{
  x->tickets[batch->serial - x->oldest] = (struct msift_index_ticket){x->n_receipts, batch->n, batch->valid};
  for (int64_t i = 0; i < batch->valid; i++)
    x->receipts[x->n_receipts++] = receipt_of(batch, i);
}

/* A confidence that is none, such as NaN where the model broke down, says that the model is not sure. */
static float sane_confidence(float confidence)
{
  return isfinite(confidence) && confidence > 0 ? confidence : 0;
}

/* Row i of what is reported. */
static void note(const mpisift_indices *x, struct msift_receipt *receipt, const struct msift_reported *r, int64_t i)
{
  receipt->reported = true;
  receipt->report.loss = r->losses[i];
  receipt->report.confidence = r->confidences == NULL ? NAN : sane_confidence(r->confidences[i]);
  receipt->report.group = r->groups != NULL && x->config.groups > 0 ? r->groups[i] : -1;
}

void msift_receipts_score(mpisift_indices *x, const mpisift_batch *batch, const struct msift_reported *r)
{
  for (int64_t i = 0; i < batch->valid; i++) {
    x->receipts[x->n_receipts] = receipt_of(batch, i);
    note(x, &x->receipts[x->n_receipts++], r, i);
  }
  x->n_scored += batch->valid;
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

/* What is due: the first `closed` receipts, of closed tickets, and the last ones, that were scored; n in all. */
struct due {
  int64_t oldest, closed, n; /* oldest: ticket that stays open */
};

static const struct msift_receipt *due_at(const mpisift_indices *x, const struct due *due, int64_t i)
{
  return &x->receipts[i < due->closed ? i : x->n_receipts - due->n + i];
}

/* On the rank whose losses count. */
static void count(const mpisift_indices *x, const struct due *due, uint64_t sums[N_SUMS])
{
  const struct msift_team *team = &x->ctx->team;

  for (int64_t i = 0; i < due->n && team->replica_rank == team->loss_rank; i++) {
    const struct msift_receipt *receipt = due_at(x, due, i);

    sums[REPORTED] += receipt->reported;
    sums[BAD] += receipt->reported && is_bad(receipt->report.loss);
    sums[UNREPORTED] += !receipt->reported;
  }
}

static mpisift_status check_bad(mpisift_indices *x, const struct due *due, const uint64_t sums[N_SUMS])
{
  struct msift_error *error = &x->ctx->error;

  if ((double)sums[BAD] <= x->config.bad_loss_share * (double)sums[REPORTED])
    return MPISIFT_OK;
  for (int64_t i = 0; i < due->n; i++) {
    const struct msift_receipt *receipt = due_at(x, due, i);

    if (receipt->reported && is_bad(receipt->report.loss))
      msift_error_set(
          error, MPISIFT_ERR_DATA,
          "sample %lld was reported with loss %g; %llu of the %llu reports of the epoch are NaN, infinite or "
          "negative, more than config.bad_loss_share %g allows",
          (long long)receipt->report.id, (double)receipt->report.loss, (unsigned long long)sums[BAD],
          (unsigned long long)sums[REPORTED], x->config.bad_loss_share);
  }
  return msift_team_agree(&x->ctx->team, error);
}

/* What is due to the owners of the ids. */
static mpisift_status carry(mpisift_indices *x, const struct due *due, struct msift_parcels *p)
{
  const struct msift_team *team = &x->ctx->team;
  struct msift_report *reports;

  msift_parcels_resize(x, p, msift_team_leads(team) ? due->n : 0, sizeof *reports);
  MSIFT_TRY(msift_team_agree(team, &x->ctx->error));
  reports = p->items;
  for (int64_t i = 0; i < due->n && msift_team_leads(team); i++) {
    const struct msift_receipt *receipt = due_at(x, due, i);

    if (!receipt->reported)
      continue;
    p->to[p->n] = (int32_t)msift_run_of(x->n, team->size, receipt->report.id);
    reports[p->n++] = receipt->report;
  }
  return msift_deliver(x, p, sizeof *reports);
}

/* Drop the receipts of what was due, and the tickets. */
static void forget(mpisift_indices *x, const struct due *due)
{
  int64_t left = x->serial - due->oldest;

  x->n_receipts -= due->n;
  memmove(x->receipts, x->receipts + due->closed, (size_t)x->n_receipts * sizeof *x->receipts);
  memmove(x->tickets, x->tickets + (due->oldest - x->oldest), (size_t)left * sizeof *x->tickets);
  for (int64_t i = 0; i < left; i++)
    x->tickets[i].receipt -= due->closed;
  x->oldest = due->oldest;
  x->n_scored = 0;
}

static struct due find_due(const mpisift_indices *x)
{
  struct due due = {.oldest = first_open(x, x->serial), .closed = x->n_receipts - x->n_scored};

  if (due.oldest < x->serial)
    due.closed = x->tickets[due.oldest - x->oldest].receipt;
  due.n = due.closed + x->n_scored;
  return due;
}

/* Row i of what a device has reported: nothing waited there to tell of a class that is none. */
static void note_fetched(const mpisift_indices *x, struct msift_receipt *receipt, const struct msift_reported *r,
                         int64_t i)
{
  note(x, receipt, r, i);
  if (r->groups != NULL && (r->groups[i] < 0 || r->groups[i] >= x->config.groups)) {
    receipt->report.group = -1;
    receipt->report.loss = NAN;
  }
}

mpisift_status msift_receipts_fetch(mpisift_indices *x)
{
  MSIFT_TRY(msift_device_reports_wait(&x->on_device, x->ctx));
  for (int64_t k = 0; k < x->on_device.n; k++) {
    const struct msift_device_report *report = &x->on_device.items[k];
    const struct msift_index_ticket *t = &x->tickets[report->serial - x->oldest];

    for (int64_t i = 0; i < report->n; i++)
      note_fetched(x, &x->receipts[t->receipt + report->first + i], &report->reported, i);
  }
  msift_device_reports_clear(&x->on_device, x->ctx);
  return MPISIFT_OK;
}

/* What was scored, the ranks of a replica share already. */
mpisift_status msift_receipts_settle(mpisift_indices *x, mpisift_index_epoch *now)
{
  const struct due due = find_due(x);
  const struct msift_team *team = &x->ctx->team;
  struct msift_error *error = &x->ctx->error;
  struct msift_parcels parcels = {NULL, NULL, 0};
  uint64_t sums[N_SUMS] = {0};

  MSIFT_TRY(msift_team_share(team, x->receipts, due.closed, sizeof *x->receipts, team->loss_rank, error));
  count(x, &due, sums);
  MSIFT_TRY(msift_team_sum(team, sums, N_SUMS, error));
  MSIFT_TRY(check_bad(x, &due, sums));
  if (carry(x, &due, &parcels) == MPISIFT_OK) {
    msift_table_take(&x->table, parcels.items, parcels.n);
    forget(x, &due);
    now->reported += (int64_t)sums[REPORTED];
    now->bad += (int64_t)sums[BAD];
    now->unreported += (int64_t)sums[UNREPORTED];
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

/* Rows of samples among those that a report names, the others being padding; −1: it is refused. */
static int64_t rows_of(const mpisift_indices *x, int64_t serial, int64_t first, int64_t n,
                       const struct msift_reported *r, int64_t stride)
{
  const struct msift_index_ticket *t = find_ticket(x, serial);

  if (t == NULL || check_rows(x, t, first, n, r->losses, stride) != MPISIFT_OK)
    return -1;
  return first >= t->valid ? 0 : first + n < t->valid ? n : t->valid - first;
}

static struct msift_receipt *receipts_at(mpisift_indices *x, int64_t serial, int64_t first)
{
  return x->receipts + x->tickets[serial - x->oldest].receipt + first;
}

mpisift_status msift_indices_report(mpisift_indices *x, int64_t serial, int64_t first, int64_t n,
                                    const struct msift_reported *r, int64_t stride)
{
  int64_t rows = rows_of(x, serial, first, n, r, stride);

  if (rows < 0)
    return x->ctx->error.status;
  MSIFT_TRY(check_groups(x, r->groups, rows, stride));
  for (int64_t i = 0; i < rows; i++)
    note(x, receipts_at(x, serial, first) + i, r, i * stride);
  return MPISIFT_OK;
}

mpisift_status msift_indices_report_device(mpisift_indices *x, const char *call,
                                           const struct msift_device_report *report, int64_t stride, void *stream)
{
  struct msift_device_report of_samples = *report;
  int64_t rows = rows_of(x, report->serial, report->first, report->n, &report->reported, stride);

  if (rows <= 0)
    return x->ctx->error.status;
  of_samples.n = rows;
  of_samples.reported.groups = x->config.groups > 0 ? report->reported.groups : NULL;
  MSIFT_TRY(msift_device_reports_add(&x->on_device, x->ctx, call, &of_samples, stride, stream));
  for (int64_t i = 0; i < rows; i++)
    receipts_at(x, report->serial, report->first)[i].reported = true;
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

static mpisift_status report_device(mpisift_indices *x, const struct msift_device_report *r, int64_t stride,
                                    mpisift_stream stream)
{
  static const char *const call = "mpisift_indices_report_cuda";

  MSIFT_TRY(msift_enter(x->ctx, call));
  msift_indices_report_device(x, call, r, stride, stream);
  return msift_leave(x->ctx);
}

mpisift_status mpisift_indices_report_cuda(mpisift_indices *x, int64_t serial, int64_t first, int64_t n,
                                           const float *losses, int64_t stride, mpisift_stream stream)
{
  const struct msift_device_report r = {.serial = serial, .first = first, .n = n, .reported = {.losses = losses}};

  return x == NULL ? MPISIFT_ERR_ARG : report_device(x, &r, stride, stream);
}

mpisift_status mpisift_indices_report_scores_cuda(mpisift_indices *x, int64_t serial, int64_t first, int64_t n,
                                                  const mpisift_scores *scores, int64_t stride, mpisift_stream stream)
{
  struct msift_device_report r = {.serial = serial, .first = first, .n = n};

  if (x == NULL || scores == NULL)
    return MPISIFT_ERR_ARG;
  r.reported = (struct msift_reported){scores->loss, scores->confidence, scores->group};
  return report_device(x, &r, stride, stream);
}
