/* A loader from the inside; a sifter is one whose candidates are pushed. The files: loader.c creates and destroys,
 * next.c runs a call of mpisift_loader_next, agree.c tells of failures, round.c stages and commits a round, stage.c
 * reads and scores, judge.c decides, pool.c keeps what waits, deliver.c forms a batch, stats.c counts, sifter.c pushes.
 */
#ifndef MSIFT_API_LOADER_H
#define MSIFT_API_LOADER_H

#include <mpisift/cuda.h>

#include "api/context.h"
#include "backend/backend.h"
#include "comm/exchange.h"
#include "comm/reduce.h"
#include "core/decide.h"
#include "core/order.h"
#include "core/plan.h"
#include "core/pool.h"
#include "core/walk.h"

/* A round is at most so many global batches, or the bitmap would have no bound. */
enum { MSIFT_MAX_ROUND_BATCHES = 128 };

/* Words of the round's reduction ahead of the history's changes and the bitmap. */
enum {
  MSIFT_WORD_FAILED,                                 /* ranks that failed */
  MSIFT_WORD_REPORTED,                               /* losses reported, */
  MSIFT_WORD_REPORT_SUM,                             /* and their sum in fixed point, in four pieces of 16 bits */
  MSIFT_AGREEMENT_WORDS = MSIFT_WORD_REPORT_SUM + 4, /* those are all where there is no round to carry an agreement */
  MSIFT_WORD_ENDED = MSIFT_AGREEMENT_WORDS,          /* leaders whose stream has ended */
  MSIFT_WORD_CANDIDATES,
  MSIFT_WORD_BAD,      /* bad losses */
  MSIFT_WORD_OUTLIERS, /* not accepted as outliers */
  MSIFT_WORD_ACCEPTED,
  MSIFT_HEADER_WORDS
};

/* Where a row of pushed candidates comes from. */
struct msift_arrival {
  int64_t position, candidate;
};

/* What a sample takes along when it is accepted. */
struct msift_chance {
  float probability, weight;
};

/* Candidates of a round on this rank, in the order of positions. */
struct msift_stage {
  int64_t begin, end; /* positions of the round, of all ranks */
  int64_t share;      /* positions of this rank */
  int64_t filled;     /* of these, read */
  int64_t score_calls;
  struct msift_history_round round;
  bool scored, sifting; /* candidates are scored; the policy decides */
  int64_t capacity;     /* rows below */
  void *data[MPISIFT_MAX_FIELDS];
  bool in_batch;                  /* rows are not there, but read to where the batch has them */
  int64_t *lengths;               /* [capacity][n_padded] */
  struct msift_arrival *arrivals; /* of pushed candidates */
  int64_t *ids, *positions;
  int64_t *ahead; /* [capacity]: ids told to the source, of this rank's places from a position of an epoch on */
  int64_t ahead_epoch, ahead_begin, n_ahead;
  float *losses;
  mpisift_scores more; /* those besides the loss that the configuration asks for */
  struct msift_chance *chances;
  bool *accepted;
  int64_t *kept; /* [first_kept, n_kept): rows of the last round that wait here for their batch, behind the pool's */
  int64_t first_kept, n_kept;
  int64_t n_accepted, n_bad, n_outliers;
  struct msift_error bad; /* about the first bad loss of this rank */
};

/* A batch's arrays other than its fields, in one block so that a replica shares them in one message. */
struct msift_columns {
  int64_t *ids, *slots, *epochs;
  int64_t *lengths[MPISIFT_MAX_FIELDS]; /* of padded fields */
  float *losses, *probabilities, *weights;
  size_t bytes;
};

/* Of an exchange: planning and packing, waiting for its messages, and moving rows to the batch or into the pool. */
enum msift_time {
  MSIFT_READ,
  MSIFT_SCORE,
  MSIFT_DECIDE,
  MSIFT_SEND,
  MSIFT_RECEIVE,
  MSIFT_FILL,
  MSIFT_WAIT,
  MSIFT_N_TIMES
};

/* Counters that only grow. */
struct msift_tally {
  int64_t steps, rounds, candidates, scored, accepted, rejected, outliers, trained, dropped, moved, moved_bytes, refits,
      pooled, unread_bytes, unread_blocks;
  int64_t reported;
  double report_sum;
  double seconds[MSIFT_N_TIMES];
};

/* This rank's part in the books of an epoch: hashes and numbers of ids that came in, and that found their end. */
struct msift_books {
  uint64_t hash_in, hash_out, n_in, n_out;
};

/* What a loader has on a device (api/device.h). */
struct msift_gpu;

/* Sizes of the last batches, against which reports are checked. */
struct msift_ticket {
  int64_t serial, rows, valid;
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
  struct msift_gpu *gpu; /* NULL: all is in host memory. Else fields, scores, records and batches are on a device */

  /* Fixed. */
  int64_t global_batch, quota, score_rows, lanes, max_round, max_words;
  size_t field_bytes[MPISIFT_MAX_FIELDS], record_bytes;
  bool padded[MPISIFT_MAX_FIELDS]; /* fields whose records have lengths */
  int n_padded;
  int reference; /* field of the reference losses; −1: none */

  mpisift_indices *indices; /* the plan of epochs, of a policy by stale losses; NULL: rounds choose */

  /* A sifter's. */
  bool pushed, positioned;              /* it is one; its candidates' positions are the user's */
  bool closed;                          /* all ranks know that the epoch has been ended */
  int64_t max_candidates;               /* of a rank in one push */
  const mpisift_candidates *candidates; /* while they are pushed */

  /* Global state, equal on all ranks. */
  int64_t epoch, position, round_size, formed, formed_in_epoch, serial;
  int64_t epoch_candidates, epoch_accepted; /* of rounds in which the policy decided: the keep rate */
  int64_t accepted_at;                      /* candidates drawn up to the last round that accepted one */
  double last_share;                        /* kept in the last epoch in which enough came to tell; 0: none */
  int64_t numbered;                         /* positions of epochs gone by, for ids of those pushed without */
  bool in_epoch, exhausted, over;
  struct msift_order order;
  struct msift_walk walk; /* of this rank */
  struct msift_history history;
  struct msift_decider decider;

  /* This rank's part. */
  struct msift_pool pool;
  struct msift_stage stage;
  struct msift_reduction reduction, agreement;
  uint32_t agreement_words[MSIFT_AGREEMENT_WORDS];
  struct msift_exchange exchange;
  struct msift_plan plan;
  bool stream_begun, stream_ended, round_pending, exchange_pending, agreed;
  struct msift_error failure;     /* to be told in the next agreement */
  bool failure_told;              /* it is in the agreement under way */
  unsigned char *send, *receive;  /* of a loader on a device, its memory; for the transport HOST page-locked */
  const unsigned char **received; /* [quota]: records among these */
  int64_t send_capacity;          /* records */
  void *batch_data[MPISIFT_MAX_FIELDS];
  struct msift_columns columns;

  /* Reports and statistics. */
  int64_t flight;                      /* samples of the batch under way, of all ranks */
  struct msift_ticket *tickets;        /* [report_lag + 1], by serial modulo */
  int64_t sent_bytes;                  /* of records of changing size; to be told at the end of the epoch */
  int64_t report_sum, report_sum_told; /* fixed point; of these, in the agreement under way */
  uint32_t reported, reported_told;
  struct msift_tally run, at_epoch, at_step, after_step;
  struct msift_books books;
  uint64_t id_hash;
};

/* Fixed point of reported losses: 2^-24, clipped where 2^15 samples of a rank would overflow. */
#define MSIFT_REPORT_ONE 0x1p24
#define MSIFT_REPORT_MOST 0x1p23

/* Whose configuration it is. Epochs of a loader end by themselves, those of others when the user says so. */
enum msift_use { MSIFT_USE_LOADER, MSIFT_USE_SIFTER, MSIFT_USE_INDICES };

mpisift_status msift_config_check(const mpisift_config *config, enum msift_use use, struct msift_error *error);
/* Samples of a global batch, and lanes for n of them, as a configuration has them for so many replicas. */
mpisift_status msift_config_batch(const mpisift_config *config, int64_t ranks, int64_t *batch,
                                  struct msift_error *error);
mpisift_status msift_config_lanes(const mpisift_config *config, int64_t ranks, int64_t n, int64_t *lanes,
                                  struct msift_error *error);
/* Values that must agree between ranks, in a list of the caller; returns their number. */
int msift_config_settings(const mpisift_config *config, struct msift_setting *settings);

/* round.c: read a round's candidates, judge them, post its reduction. The work that can fail comes first, and its
 * failure travels in the reduction. End: OK after the commit, or the agreed error with nothing committed.
 * msift_round_run: all of it. */
void msift_round_read(mpisift_loader *loader);
void msift_round_judge(mpisift_loader *loader);
void msift_round_header(mpisift_loader *loader, uint32_t *words); /* what this rank's words begin with */
mpisift_status msift_round_post(mpisift_loader *loader);
mpisift_status msift_round_end(mpisift_loader *loader);
mpisift_status msift_round_run(mpisift_loader *loader);

/* agree.c: an agreement without a round: no rank has failed, or the error. A round carries one of these too: put what
 * this rank has to tell into its words; take what all told, OK or the error. */
mpisift_status msift_agreement_post(mpisift_loader *loader);
mpisift_status msift_agreement_end(mpisift_loader *loader);
void msift_agreement_put(mpisift_loader *loader, uint32_t *words);
mpisift_status msift_agreement_take(mpisift_loader *loader, const uint32_t *words);

/* stage.c: the fallible half of a round. */
void msift_stage_read(mpisift_loader *loader);
void msift_stage_fetch(mpisift_loader *loader, int64_t end, void *const *dst); /* rows `filled` to `end`, into dst */
void msift_stage_score(mpisift_loader *loader);
void msift_stage_take(mpisift_loader *loader); /* what is pushed, in place of both */
void msift_stage_place(mpisift_loader *loader);
mpisift_status msift_stage_reserve(mpisift_loader *loader, struct msift_error *error);
void msift_stage_destroy(mpisift_loader *loader);
/* Row i of a field. */
unsigned char *msift_stage_row(const mpisift_loader *loader, int f, int64_t i);

/* judge.c: decide on the candidates of a stage, into the round's words. */
void msift_stage_decide(mpisift_loader *loader);
/* Say of a row which score is no good: the loss, or the one that the policy goes by; that its class is none. */
void msift_stage_flaw(mpisift_loader *loader, int64_t row, float loss, double score);
void msift_stage_bad_group(mpisift_loader *loader, int64_t row, int32_t group);
/* The words that tell which positions are accepted. */
int64_t msift_map_words(const mpisift_loader *loader, int64_t positions);

/* record.c: a staged row as a record; a record, or a staged row, as a row of the batch, returns its tag; bytes of a
 * record. */
void msift_record_write(const mpisift_loader *loader, int64_t staged, unsigned char *record);
struct msift_tag msift_record_read(mpisift_loader *loader, const unsigned char *record, int64_t row);
struct msift_tag msift_staged_read(mpisift_loader *loader, int64_t staged, int64_t row);
size_t msift_record_size(const mpisift_loader *loader, const unsigned char *record);

/* pool.c: this rank's samples that wait, oldest first: records, and behind them rows that are still staged. Most rows
 * of a round go into the next batch, for which a copy of each into the pool would be in vain.
 * msift_pool_settle: the stage is needed for other rows; none of them stay there. */
void msift_pool_settle(mpisift_loader *loader);
void msift_pool_pop(mpisift_loader *loader, int64_t n);
/* The id of record i. */
int64_t msift_pool_id(const mpisift_loader *loader, int64_t i);
/* Sample i as a record to be sent, returns its end; and as a row of the batch, returns its tag. */
unsigned char *msift_pool_pack(const mpisift_loader *loader, int64_t i, unsigned char *record);
struct msift_tag msift_pool_read(mpisift_loader *loader, int64_t i, int64_t row);

/* What a loader is made of. */
struct msift_blueprint {
  mpisift_config config;
  mpisift_source source;
  mpisift_score_fn score;
  void *user;
  int64_t max_candidates, max_span; /* a sifter's; 0 for a loader */
  const bool *padded;               /* [source.n_fields]; NULL: none */
  const mpisift_device *device;     /* NULL: host memory */
};

/* Collective. `blueprint` is NULL where this rank's arguments are wrong and ctx->error says why. */
mpisift_status msift_loader_make(mpisift_ctx *ctx, const struct msift_blueprint *blueprint, mpisift_loader **loader);

/* agree.c: tell all ranks the outcome of those that failed. */
mpisift_status msift_tell_failure(mpisift_loader *loader);

/* deliver.c: plan a batch of the oldest n pooled samples and post its messages; wait for them; that, and fill the
 * batch. */
mpisift_status msift_batch_begin(mpisift_loader *loader, int64_t n);
mpisift_status msift_batch_wait(mpisift_loader *loader);
mpisift_status msift_batch_end(mpisift_loader *loader, mpisift_batch *batch);

/* What is reported of samples that were trained: [n] each; NULL where it is not given. */
struct msift_reported {
  const float *losses, *confidences;
  const int32_t *groups;
};

/* planned.c: a loader whose epochs are planned, with the batches of an index plan, read. Create the plan; a call of
 * next, with this rank's failure in loader->failure; a report; release. */
mpisift_status msift_planned_make(mpisift_loader *loader);
mpisift_status msift_planned_next(mpisift_loader *loader, mpisift_batch *batch);
/* Returns the rows of samples in the batch; −1 with an error. */
int64_t msift_planned_report(mpisift_loader *loader, int64_t serial, int64_t first, int64_t n,
                             const struct msift_reported *reported);

/* stats.c: whether rows of a batch may be reported; take the losses of n samples. */
mpisift_status msift_report_check(mpisift_loader *loader, int64_t serial, int64_t first, int64_t n,
                                  const float *losses);
void msift_report_add(mpisift_loader *loader, int64_t n, const float *losses);

/* stage.c: note that a callback returned non-zero. */
void msift_callback_failed(mpisift_loader *loader, const char *what, int code);

/* sifter.c: what is inside a sifter. */
mpisift_loader *msift_sifter_loader(mpisift_sifter *sifter);

/* next.c: a round of the pushed candidates; no more are pushed in this epoch. */
mpisift_status msift_push(mpisift_loader *loader);
mpisift_status msift_push_end(mpisift_loader *loader);

/* epoch.c */
void msift_epoch_begin(mpisift_loader *loader);
mpisift_status msift_epoch_end(mpisift_loader *loader);

#endif
