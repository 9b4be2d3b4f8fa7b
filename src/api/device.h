/* A loader on a device: what it has there, and the parts of its work that differ from those on host memory. The files:
 * device_loader.c opens and closes, device_stage.c holds candidates, device_round.c decides, device_batch.c keeps what
 * waits and fills batches, device_sifter.c takes pushes, device_report.c reports. The rest is that of any loader, with
 * pointers to the device's memory in its structure.
 */
#ifndef MSIFT_API_DEVICE_H
#define MSIFT_API_DEVICE_H

#include <mpisift/cuda.h>

#include "api/loader.h"
#include "backend/device.h"
#include "comm/nccl.h"

/* Rows on their way to the device, in page-locked memory. */
struct msift_piece {
  void *data[MPISIFT_MAX_FIELDS];
  int64_t *ids;
  int32_t *places;
  void *event; /* they have arrived */
};

/* What decisions go by, made on the host. */
struct msift_tables {
  int16_t top[2][MSIFT_BINS_ROOT * MSIFT_BINS_FAN]; /* of the history's bins, and of those that come next */
  int16_t split[2][MSIFT_BINS_SPLITS][MSIFT_BINS_FAN];
  uint64_t by_bin[MSIFT_BINS_MAX];
  uint8_t outliers[MSIFT_BINS_MAX];
};

/* Reported losses on their way to the host. */
struct msift_late {
  int64_t n, call; /* the last call before the report */
  float *losses;   /* [quota], page-locked */
  void *event;     /* they have arrived */
};

enum { MSIFT_LATE = 16 };

/* Where a row of the batch comes from, as a device is told. */
struct msift_seats {
  const unsigned char **sources; /* [quota] */
  int64_t *slots;                /* [quota] */
};

struct msift_gpu {
  const struct msift_device *device;
  const struct msift_backend *pinned;
  void *stream;
  int number, outside; /* the device; the one that is current for the caller, while a call runs */
  mpisift_transport transport;
  struct msift_nccl nccl;    /* where that is the transport */
  bool closed;               /* nothing may be enqueued in this call */
  struct msift_error broken; /* work was lost that all ranks had agreed on */

  /* Candidates. Scores and fields are those of struct msift_stage. */
  struct msift_piece pieces[2];
  int64_t piece_rows;
  int turn;
  int64_t *ids;
  int32_t *places;
  uint8_t *accepted;
  float *probabilities, *weights;
  int32_t *kept; /* accepted rows */
  unsigned char *scratch;
  struct msift_ring
      window; /* this rank's losses: keys of uint32_t, 0 for bad ones, on a second side classes of int32_t */

  int window_sides; /* 1, or 2 where there are classes */

  /* A round: findings, and behind them words; and what it goes by. The host's ones are page-locked. */
  struct msift_device_findings *findings, *found;
  uint32_t *words, *told;
  uint32_t *header; /* NCCL: what goes ahead of the round's words; page-locked */
  int64_t *n_kept;
  struct msift_tables *tables, *made;
  uint64_t *by_group, *made_by_group;
  int64_t refits; /* of the history whose bins are there; −1: none are */
  void *decided;  /* event: the findings and words have come */

  /* Batches. The ids of the pool's records are known to the host too. */
  struct msift_ring pooled; /* of int64_t */
  unsigned char *received;
  struct msift_seats seats, chosen; /* the latter are the host's */
  uint64_t *id_hash, *id_hash_told; /* of all that was delivered; page-locked */
  uint64_t id_hash_before;
  void *delivered; /* event: the batch is there */

  /* Reports: the oldest, and how many. */
  struct msift_late late[MSIFT_LATE];
  int first_late, n_late;
  int64_t calls;
};

/* Messages are the host's, on their way to and from the device. */
static inline bool msift_gpu_staged(const struct msift_gpu *g)
{
  return g->transport == MPISIFT_TRANSPORT_HOST;
}

static inline bool msift_gpu_by_nccl(const struct msift_gpu *g)
{
  return g != NULL && g->transport == MPISIFT_TRANSPORT_NCCL;
}

/* device_loader.c. Make l->gpu, in the creation of a loader; its fixed buffers; release all. */
mpisift_status msift_gpu_open(mpisift_loader *l, const mpisift_device *device, struct msift_error *error);
mpisift_status msift_gpu_allocate(mpisift_loader *l, struct msift_error *error);
mpisift_status msift_gpu_connect(mpisift_loader *l, struct ncclComm *nccl, struct msift_error *error); /* collective */
void msift_gpu_close(mpisift_loader *l);
/* The device becomes current; the caller's again. */
mpisift_status msift_gpu_switch(mpisift_loader *l, struct msift_error *error);
void msift_gpu_switch_back(mpisift_loader *l, struct msift_error *error);
/* A call begins: the device becomes current, and what stands against it becomes this rank's failure; and ends, as its
 * peers' does, with an error if something is broken. */
void msift_gpu_enter(mpisift_loader *l, const char *call);
void msift_gpu_leave(mpisift_loader *l);
/* Before work for NCCL, which would wait for ever for a rank that cannot take part: the agreed error of those. */
mpisift_status msift_gpu_ready(mpisift_loader *l);
/* Work has failed that cannot be repeated. */
void msift_gpu_break(mpisift_loader *l, const struct msift_error *error);
/* Memory of the batch; that of a device, or of page-locked, grows to n items, of which the first `kept` stay. */
void *msift_gpu_new(mpisift_loader *l, struct msift_error *error, int64_t n, size_t size);
mpisift_status msift_gpu_grow(mpisift_loader *l, void *array, int64_t kept, int64_t n, size_t size,
                              struct msift_error *error);
mpisift_status msift_gpu_grow_pinned(mpisift_loader *l, void *array, int64_t n, size_t size, struct msift_error *error);
/* Of a ring of several sides each has the ring's capacity; what is between them is the same. */
mpisift_status msift_gpu_grow_ring(mpisift_loader *l, struct msift_ring *ring, int sides, int64_t n,
                                   struct msift_error *error);

/* device_stage.c, for stage.c and sifter.c: room for rows; read, or take what is pushed; make rows padding; forget the
 * scores of the rows from one on. */
mpisift_status msift_gpu_reserve_rows(mpisift_loader *l, int64_t rows, struct msift_error *error);
void msift_gpu_read(mpisift_loader *l);
void msift_gpu_take(mpisift_loader *l);
void msift_gpu_pad(mpisift_loader *l, int64_t begin, int64_t end);
void msift_gpu_forget(mpisift_loader *l, int64_t first);

/* device_sifter.c, for sifter.c: whether candidates, and what is to be written, are on the device, and suit it; write.
 */
mpisift_status msift_gpu_check_candidates(const mpisift_loader *l, const mpisift_candidates *c,
                                          struct msift_error *error);
mpisift_status msift_gpu_check_decisions(const mpisift_loader *l, const mpisift_decisions *d,
                                         struct msift_error *error);
void msift_gpu_give_decisions(mpisift_loader *l, int64_t n, const mpisift_decisions *d);

/* device_report.c: take the losses that have been reported before the last call, or all. */
void msift_gpu_take_reports(mpisift_loader *l, bool all);

/* device_round.c, for judge.c and round.c: enqueue the decisions of a round; wait for what the host is to know of them,
 * the words that this rank adds to the reduction. */
void msift_gpu_decide(mpisift_loader *l);
void msift_gpu_collect(mpisift_loader *l);
/* NCCL: wait for the sum that was enqueued with the decisions. */
mpisift_status msift_gpu_sum_end(mpisift_loader *l);

/* device_batch.c, for stage.c, round.c, pool.c, deliver.c and epoch.c: room in the pool, the window and messages; take
 * a round over; copy out messages; fill the batch; the hash of the ids delivered, into the books. */
mpisift_status msift_gpu_reserve(mpisift_loader *l, struct msift_error *error);
void msift_gpu_commit(mpisift_loader *l);
void msift_gpu_pack(mpisift_loader *l);
mpisift_status msift_gpu_exchange(mpisift_loader *l); /* by NCCL, the messages */
void msift_gpu_fill(mpisift_loader *l, int64_t rows);
void msift_gpu_count_out(mpisift_loader *l);

#endif
