/* A loader from the inside. The files: loader.c creates and destroys, next.c runs a call of mpisift_loader_next,
 * round.c stages and commits a round, deliver.c forms a batch, stats.c counts. */
#ifndef MSIFT_API_LOADER_H
#define MSIFT_API_LOADER_H

#include "api/context.h"
#include "backend/backend.h"
#include "comm/exchange.h"
#include "comm/reduce.h"
#include "core/decide.h"
#include "core/order.h"
#include "core/plan.h"
#include "core/pool.h"

/* Words of the round's reduction ahead of the history's changes and the bitmap. */
enum {
  MSIFT_WORD_FAILED, /* ranks that failed */
  MSIFT_WORD_ENDED,  /* leaders whose stream has ended */
  MSIFT_WORD_CANDIDATES,
  MSIFT_WORD_BAD,        /* bad losses */
  MSIFT_WORD_OUTLIERS,   /* not accepted as outliers */
  MSIFT_WORD_REPORTED,   /* losses reported, */
  MSIFT_WORD_REPORT_SUM, /* and their sum in fixed point, in four pieces of 16 bits */
  MSIFT_HEADER_WORDS = MSIFT_WORD_REPORT_SUM + 4
};

/* Candidates of a round on this rank. */
struct msift_stage {
  int64_t begin, end; /* positions of the round, of all ranks; equal where the round only agrees */
  int64_t share;      /* positions of this rank */
  int64_t filled;     /* of these, read */
  int64_t score_calls;
  bool scored, sifting; /* the score callback is called; the policy decides */
  int64_t capacity;     /* rows below */
  void *data[MPISIFT_MAX_FIELDS];
  int64_t *ids, *positions;
  float *losses;
  struct msift_verdict *verdicts;
  bool *accepted;
  struct msift_seen *seen; /* good losses, for the history */
  int64_t n_seen, n_accepted, n_bad, n_outliers;
  struct msift_error bad; /* about the first bad loss of this rank */
};

/* A batch's arrays other than its fields, in one block so that a replica shares them in one message. */
struct msift_columns {
  int64_t *ids, *slots, *epochs;
  float *losses, *probabilities, *weights;
  size_t bytes;
};

enum msift_time { MSIFT_READ, MSIFT_SCORE, MSIFT_DECIDE, MSIFT_EXCHANGE, MSIFT_WAIT, MSIFT_N_TIMES };

/* Counters that only grow. */
struct msift_tally {
  int64_t steps, rounds, candidates, scored, accepted, rejected, outliers, trained, dropped, moved, zooms, pooled;
  int64_t reported;
  double report_sum;
  double seconds[MSIFT_N_TIMES];
};

/* This rank's part in the books of an epoch: hashes and numbers of ids that came in, and that found their end. */
struct msift_books {
  uint64_t hash_in, hash_out, n_in, n_out;
};

/* Sizes of the last batches, against which reports are checked. */
struct msift_ticket {
  int64_t serial, n;
};

struct mpisift_loader {
  mpisift_ctx *ctx;
  mpisift_config config;
  mpisift_source source;
  mpisift_field fields[MPISIFT_MAX_FIELDS];
  char *names; /* the fields' */
  mpisift_score_fn score;
  void *user;
  const struct msift_policy *policy;
  const struct msift_backend *backend;

  /* Fixed. */
  int64_t global_batch, quota, score_rows, lanes, max_round;
  size_t field_bytes[MPISIFT_MAX_FIELDS], record_bytes;

  /* Global state, equal on all ranks. */
  int64_t epoch, position, round_size, formed, formed_in_epoch, serial;
  int64_t epoch_candidates, epoch_accepted; /* of rounds in which the policy decided: the keep rate */
  bool in_epoch, exhausted, over;
  struct msift_order order;
  struct msift_history history;
  struct msift_decider decider;

  /* This rank's part. */
  struct msift_pool pool;
  struct msift_stage stage;
  struct msift_reduction reduction;
  struct msift_exchange exchange;
  struct msift_plan plan;
  bool stream_begun, stream_ended, round_pending, exchange_pending, agreed;
  struct msift_error failure; /* to be told in the next agreement */
  bool failure_told;          /* it is in the agreement under way */
  unsigned char *send, *receive;
  int64_t send_capacity; /* records */
  void *batch_data[MPISIFT_MAX_FIELDS];
  struct msift_columns columns;

  /* Reports and statistics. */
  int64_t flight;                      /* samples of the batch under way, of all ranks */
  struct msift_ticket *tickets;        /* [report_lag + 1], by serial modulo */
  int64_t report_sum, report_sum_told; /* fixed point; of these, in the agreement under way */
  uint32_t reported, reported_told;
  struct msift_tally run, at_epoch, at_step, after_step;
  struct msift_books books;
  uint64_t id_hash;
};

/* Fixed point of reported losses: 2^-24, clipped where 2^15 samples of a rank would overflow. */
#define MSIFT_REPORT_ONE 0x1p24
#define MSIFT_REPORT_MOST 0x1p23

mpisift_status msift_config_check(const mpisift_config *config, struct msift_error *error);
/* Values that must agree between ranks, in a list of the caller; returns their number. */
int msift_config_settings(const mpisift_config *config, struct msift_setting *settings);

/* round.c: stage a round of new candidates, or one that only agrees: the work that can fail comes first, and its
 * failure travels in the collective that is posted then. End: OK after the commit, or the agreed error with nothing
 * committed. */
void msift_round_stage(mpisift_loader *loader, bool candidates);
mpisift_status msift_round_post(mpisift_loader *loader);
mpisift_status msift_round_end(mpisift_loader *loader);

/* stage.c: the fallible half of a round. */
void msift_stage_read(mpisift_loader *loader);
void msift_stage_score(mpisift_loader *loader);
void msift_stage_decide(mpisift_loader *loader);
mpisift_status msift_stage_reserve(mpisift_loader *loader, struct msift_error *error);
void msift_stage_destroy(mpisift_loader *loader);

/* Tell all ranks the outcome of those that failed. */
mpisift_status msift_round_failed(mpisift_loader *loader);

/* deliver.c: plan a batch of the oldest n pooled samples and post its messages; wait and fill the batch. */
mpisift_status msift_batch_begin(mpisift_loader *loader, int64_t n);
mpisift_status msift_batch_end(mpisift_loader *loader, mpisift_batch *batch);

/* epoch.c */
void msift_epoch_begin(mpisift_loader *loader);
mpisift_status msift_epoch_end(mpisift_loader *loader);

#endif
