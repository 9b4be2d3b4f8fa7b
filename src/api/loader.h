/* A loader from the inside; a sifter is one whose candidates are pushed. The files: loader.c creates and destroys,
 * next.c runs a call of mpisift_loader_next, round.c stages and commits a round, stage.c reads and scores, judge.c
 * decides, deliver.c forms a batch, stats.c counts, sifter.c pushes. */
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

/* A round is at most so many global batches, or the bitmap would have no bound. */
enum { MSIFT_MAX_ROUND_BATCHES = 128 };

/* Words of the round's reduction ahead of the history's changes and the bitmap. */
enum {
  MSIFT_WORD_FAILED, /* ranks that failed */
  MSIFT_WORD_ENDED,  /* leaders whose stream has ended */
  MSIFT_WORD_CANDIDATES,
  MSIFT_WORD_BAD,      /* bad losses */
  MSIFT_WORD_OUTLIERS, /* not accepted as outliers */
  MSIFT_WORD_ACCEPTED,
  MSIFT_WORD_REPORTED,   /* losses reported, */
  MSIFT_WORD_REPORT_SUM, /* and their sum in fixed point, in four pieces of 16 bits */
  MSIFT_HEADER_WORDS = MSIFT_WORD_REPORT_SUM + 4
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
  int64_t begin, end; /* positions of the round, of all ranks; equal where the round only agrees */
  int64_t share;      /* positions of this rank */
  int64_t filled;     /* of these, read */
  int64_t score_calls;
  struct msift_history_round round;
  bool scored, sifting; /* candidates are scored; the policy decides */
  int64_t capacity;     /* rows below */
  void *data[MPISIFT_MAX_FIELDS];
  int64_t *lengths;               /* [capacity][n_padded] */
  struct msift_arrival *arrivals; /* of pushed candidates */
  int64_t *ids, *positions;
  int64_t *ahead; /* [capacity]: ids told to the source, of this rank's places from a position of an epoch on */
  int64_t ahead_epoch, ahead_begin, n_ahead;
  float *losses;
  mpisift_scores more; /* those besides the loss that the configuration asks for */
  struct msift_chance *chances;
  bool *accepted;
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

enum msift_time { MSIFT_READ, MSIFT_SCORE, MSIFT_DECIDE, MSIFT_EXCHANGE, MSIFT_WAIT, MSIFT_N_TIMES };

/* Counters that only grow. */
struct msift_tally {
  int64_t steps, rounds, candidates, scored, accepted, rejected, outliers, trained, dropped, moved, moved_bytes, refits,
      pooled;
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

  /* Fixed. */
  int64_t global_batch, quota, score_rows, lanes, max_round, max_words;
  size_t field_bytes[MPISIFT_MAX_FIELDS], record_bytes;
  bool padded[MPISIFT_MAX_FIELDS]; /* fields whose records have lengths */
  int n_padded;
  int reference; /* field of the reference losses; −1: none */

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

/* pushed: of a sifter, whose epochs end when the user says so. */
mpisift_status msift_config_check(const mpisift_config *config, bool pushed, struct msift_error *error);
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
void msift_stage_take(mpisift_loader *loader); /* what is pushed, in place of both */
void msift_stage_place(mpisift_loader *loader);
mpisift_status msift_stage_reserve(mpisift_loader *loader, struct msift_error *error);
void msift_stage_destroy(mpisift_loader *loader);

/* judge.c: decide on the candidates of a stage, into the round's words. */
void msift_stage_decide(mpisift_loader *loader);
/* The words that tell which positions are accepted. */
int64_t msift_map_words(const mpisift_loader *loader, int64_t positions);

/* record.c: a staged row as a record; records complete, before the stage is filled again; a complete copy of a record,
 * returns its bytes; a record as a row of the batch, returns its tag; bytes of a record. */
void msift_record_write(const mpisift_loader *loader, int64_t row, unsigned char *record);
void msift_records_settle(mpisift_loader *loader);
size_t msift_record_copy(const mpisift_loader *loader, const unsigned char *record, unsigned char *to);
struct msift_tag msift_record_read(mpisift_loader *loader, const unsigned char *record, int64_t row);
size_t msift_record_size(const mpisift_loader *loader, const unsigned char *record);

/* What a loader is made of. */
struct msift_blueprint {
  mpisift_config config;
  mpisift_source source;
  mpisift_score_fn score;
  void *user;
  int64_t max_candidates, max_span; /* a sifter's; 0 for a loader */
  const bool *padded;               /* [source.n_fields]; NULL: none */
};

/* Collective. `blueprint` is NULL where this rank's arguments are wrong and ctx->error says why. */
mpisift_status msift_loader_make(mpisift_ctx *ctx, const struct msift_blueprint *blueprint, mpisift_loader **loader);

/* Tell all ranks the outcome of those that failed. */
mpisift_status msift_round_failed(mpisift_loader *loader);

/* deliver.c: plan a batch of the oldest n pooled samples and post its messages; wait and fill the batch. */
mpisift_status msift_batch_begin(mpisift_loader *loader, int64_t n);
mpisift_status msift_batch_end(mpisift_loader *loader, mpisift_batch *batch);

/* sifter.c: what is inside a sifter. */
mpisift_loader *msift_sifter_loader(mpisift_sifter *sifter);

/* next.c: a round of the pushed candidates; no more are pushed in this epoch. */
mpisift_status msift_push(mpisift_loader *loader);
mpisift_status msift_push_end(mpisift_loader *loader);

/* epoch.c */
void msift_epoch_begin(mpisift_loader *loader);
mpisift_status msift_epoch_end(mpisift_loader *loader);

#endif
