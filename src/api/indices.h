/* An index plan from the inside. The files: indices.c creates, destroys and gives batches, index_plan.c plans an epoch,
 * index_spread.c spreads kept samples over the replicas, index_reports.c takes reports to the table, index_device.c has
 * those of a device copied. */
#ifndef MSIFT_API_INDICES_H
#define MSIFT_API_INDICES_H

#include "api/index_device.h"
#include "comm/vote.h"
#include "core/census.h"
#include "core/decide.h"
#include "core/order.h"
#include "core/picks.h"

/* This replica's rows of an epoch, batch after batch, as the arrays that batches point to. */
struct msift_rows_of {
  int64_t steps, total;          /* batches; samples of all replicas in these */
  int64_t n, padding;            /* rows of samples, and of padding behind them */
  int64_t *ids, *slots, *epochs; /* [n + padding], in one block that begins with the ids */
  float *losses, *probabilities, *weights;
};

/* A row that has been given out, until its report has gone to the table. */
struct msift_receipt {
  struct msift_report report;
  bool reported;
};

/* A batch that has been given out. Its receipts follow those of the batch before. */
struct msift_index_ticket {
  int64_t receipt, rows, valid;
};

struct mpisift_indices {
  mpisift_ctx *ctx;
  mpisift_config config;
  const struct msift_policy *policy;
  int64_t n, block, lanes, global_batch;
  bool hides;       /* the policy is "hide" */
  uint64_t id_hash; /* the sum of hashes of all ids */

  /* Global state, equal on all ranks. */
  double share;          /* that the last plan in which the policy decided kept; for class floors. 0: none has */
  int64_t epoch;         /* being trained, or to begin next */
  int64_t serial;        /* of the next batch */
  int64_t steps;         /* training batches given in all epochs */
  int64_t step, scoring; /* batches of this epoch that have been given: to train, and to score */
  bool in_epoch, over, planned;
  mpisift_index_epoch now;
  mpisift_index_epoch settled; /* counts of reports taken, until the plan that they are for is made */

  /* This rank's part. */
  struct msift_table table;
  struct msift_history *history; /* of the table's losses, and the decider by it: made anew for each plan */
  struct msift_decider *decider;
  struct msift_rows_of train, refresh;
  struct msift_pick *carried; /* on rank 0: those that wait, [now.carried_out] */

  struct msift_receipt *receipts; /* of batches from serial `oldest` on */
  struct msift_index_ticket *tickets;
  int64_t oldest, n_receipts, receipt_capacity, ticket_capacity;
  int64_t n_scored; /* receipts behind all others: of samples that a loader scored, due whatever the lag */
  struct msift_device_reports on_device; /* of receipts, until their losses are needed */

  struct msift_vote *vote;
  struct msift_error failure; /* to be told in the next vote or agreement */
};

/* indices.c: what the public functions do, and loaders with it; ctx->error has the outcome. Create, and plan the next
 * epoch; collective. Agree on errors so far, and on what this rank is to tell: collective. The next batch, k of some
 * rows; give it out; end the epoch, which is collective. Take reports, also of memory of a device; not collective. */
mpisift_status msift_indices_make(mpisift_ctx *ctx, const mpisift_config *config, int64_t n, int64_t block,
                                  mpisift_indices **indices);
void msift_indices_free(mpisift_indices **indices);
mpisift_status msift_indices_begin(mpisift_indices *indices, int64_t n);
mpisift_status msift_indices_agree(mpisift_indices *indices);
mpisift_batch msift_indices_batch(const mpisift_indices *indices, const struct msift_rows_of *rows, int64_t k);
void msift_indices_give(mpisift_indices *indices, const mpisift_batch *batch);
mpisift_status msift_indices_end(mpisift_indices *indices);
mpisift_status msift_indices_report(mpisift_indices *indices, int64_t serial, int64_t first, int64_t n,
                                    const struct msift_reported *reported, int64_t stride);
mpisift_status msift_indices_report_device(mpisift_indices *indices, const char *call,
                                           const struct msift_device_report *report, int64_t stride, void *stream);

/* index_reports.c: make room for what the next epoch gives out; note a batch that is given out; take what was scored at
 * the end of an epoch, which has no ticket; wait for losses reported on a device; take the reports of closed batches,
 * and what was scored, to the table, and add to their counts. The last is collective. */
mpisift_status msift_receipts_reserve(mpisift_indices *indices, int64_t rows, int64_t batches);
void msift_receipts_add(mpisift_indices *indices, const mpisift_batch *batch);
void msift_receipts_score(mpisift_indices *indices, const mpisift_batch *batch, const struct msift_reported *reported);
mpisift_status msift_receipts_fetch(mpisift_indices *indices);
mpisift_status msift_receipts_settle(mpisift_indices *indices, mpisift_index_epoch *counts);

/* index_plan.c: plan the next epoch; collective. On an error nothing has changed. */
mpisift_status msift_index_plan(mpisift_indices *indices, mpisift_index_epoch *now);

/* Items on their way to ranks. */
struct msift_parcels {
  void *items; /* [n] of a size */
  int32_t *to; /* [n]: rank, or −1: nowhere */
  int64_t n;
};

/* index_spread.c. Deliver parcels: `items` and n are then what this rank got, those of a lower rank first, each rank's
 * in their order; `to` has room for as many. Collective. */
mpisift_status msift_deliver(mpisift_indices *indices, struct msift_parcels *parcels, size_t size);
void msift_parcels_free(mpisift_indices *indices, struct msift_parcels *parcels);
mpisift_status msift_parcels_resize(mpisift_indices *indices, struct msift_parcels *parcels, int64_t n, size_t size);

/* A sequence of kept samples, while it is spread. */
struct msift_spread {
  struct msift_parcels picks; /* in: this rank's kept ids with their positions */
  int64_t carried_in;         /* in: samples that go before all, from rank 0's indices->carried */
  struct msift_pick *carried; /* out: on rank 0, what is left for the next epoch */
  struct msift_cut cut;       /* in */
  int64_t moved;              /* out: by this rank's count; and the sum of hashes of ids that it dropped */
  uint64_t dropped;
  struct msift_rows_of rows; /* out */
};

/* Spread a sequence: positions become places in it, batches are cut and seated, and each replica gets its rows.
 * Collective. */
mpisift_status msift_spread(mpisift_indices *indices, struct msift_spread *spread, bool padded);
void msift_rows_free(mpisift_indices *indices, struct msift_rows_of *rows);

/* Rows of samples of a replica in the batches before step k. */
int64_t msift_rows_before(const mpisift_indices *indices, const struct msift_rows_of *rows, int64_t k, int64_t replica);

#endif
