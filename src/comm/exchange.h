/* Movement of samples between leaders: one packed message a pair of ranks, sizes known on both sides. */
#ifndef MSIFT_COMM_EXCHANGE_H
#define MSIFT_COMM_EXCHANGE_H

#include "comm/nccl.h"

struct msift_exchange {
  MPI_Comm comm;         /* of this exchange alone; MPI_COMM_NULL off the leaders */
  MPI_Datatype record;   /* one sample, so that counts stay small where bytes exceed 2 GiB */
  MPI_Request *requests; /* [ranks] */
  int n_requests;
  size_t record_bytes;
  struct msift_nccl *nccl; /* NULL: messages travel by MPI */
  void *stream;
};

/* Collective over the leaders; a no-op on other ranks. */
mpisift_status msift_exchange_open(struct msift_exchange *exchange, const struct msift_team *team, size_t record_bytes,
                                   struct msift_memory *memory, struct msift_error *error);
void msift_exchange_close(struct msift_exchange *exchange, struct msift_memory *memory);

/* From now on messages travel by NCCL, in the order of a stream: memory is a device's. With MPI it is the host's, or
 * what MPI takes (comm/aware.h). */
void msift_exchange_use(struct msift_exchange *exchange, struct msift_nccl *nccl, void *stream);

/* Messages are posted between begin and post, the latter also where a message failed. */
mpisift_status msift_exchange_begin(struct msift_exchange *exchange, struct msift_error *error);
mpisift_status msift_exchange_post(struct msift_exchange *exchange, struct msift_error *error);

/* Post a message of n records to, or from, a rank: one a rank between two ends. The memory is in use until
 * msift_exchange_end(), on a stream until it has come there. */
mpisift_status msift_exchange_send(struct msift_exchange *exchange, const void *records, int64_t n, int64_t to,
                                   struct msift_error *error);
mpisift_status msift_exchange_receive(struct msift_exchange *exchange, void *records, int64_t n, int64_t from,
                                      struct msift_error *error);

/* Wait for all messages; on a stream nothing waits. */
mpisift_status msift_exchange_end(struct msift_exchange *exchange, struct msift_error *error);

/* Let messages advance without waiting. */
mpisift_status msift_exchange_progress(struct msift_exchange *exchange, struct msift_error *error);

#endif
