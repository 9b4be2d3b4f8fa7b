/* NCCL between leaders: sums and messages of device memory, enqueued on a stream (a cudaStream_t seen as void *) of the
 * current device and not waited for. All leaders enqueue the same in the same order. Where one fails, it tells the
 * others, so that none waits for it for ever; that is ERR_MPI, and all that is left to do is to close. */
#ifndef MSIFT_COMM_NCCL_H
#define MSIFT_COMM_NCCL_H

#include "comm/team.h"

struct ncclComm;

struct msift_nccl {
  bool open;
  struct ncclComm *comm; /* NULL off the leaders, and after a failure */
  bool owned;            /* it is not the user's */
  MPI_Comm word;         /* on which a leader tells that it has failed; MPI_COMM_NULL off the leaders */
  MPI_Request hears;     /* a receive of such a word, of any leader */
  char told;
};

/* Over the leaders, with the communicator given, whose ranks have to be theirs and whose device has to be the current
 * one, or NULL: one of its own. Collective over the team: all ranks return the same, ERR_ARG or ERR_DEVICE. On failure
 * nothing is left behind. */
mpisift_status msift_nccl_open(struct msift_nccl *nccl, const struct msift_team *team, struct ncclComm *given,
                               struct msift_memory *memory, struct msift_error *error);

/* What was enqueued has to be done, unless something failed. A communicator that was given stays, also after a failure;
 * then only its owner can stop what is enqueued on it. A no-op where nothing is open. */
void msift_nccl_close(struct msift_nccl *nccl, struct msift_memory *memory);

/* words += those of all other leaders, modulo 2^32. */
mpisift_status msift_nccl_sum(struct msift_nccl *nccl, uint32_t *words, int64_t n, void *stream,
                              struct msift_error *error);

/* Messages between begin and end are one operation. Those of a pair of leaders match in their order, and are of the
 * same size on both sides; empty ones match nothing. The end is due also where a message failed. */
mpisift_status msift_nccl_begin(struct msift_nccl *nccl, struct msift_error *error);
mpisift_status msift_nccl_send(struct msift_nccl *nccl, const void *bytes, size_t n, int64_t to, void *stream,
                               struct msift_error *error);
mpisift_status msift_nccl_receive(struct msift_nccl *nccl, void *bytes, size_t n, int64_t from, void *stream,
                                  struct msift_error *error);
mpisift_status msift_nccl_end(struct msift_nccl *nccl, struct msift_error *error);

/* Tell the others that this leader cannot go on, for a reason of its own, the error, which becomes ERR_MPI. */
mpisift_status msift_nccl_fail(struct msift_nccl *nccl, struct msift_error *error);

/* Whether NCCL or another leader has failed since. */
mpisift_status msift_nccl_check(struct msift_nccl *nccl, struct msift_error *error);

/* Wait for an event (a cudaEvent_t seen as void *) of a stream, as long as nobody has failed. */
mpisift_status msift_nccl_wait(struct msift_nccl *nccl, void *event, void *stream, struct msift_error *error);

#endif
