/* Movement of samples between leaders: one packed message a pair of ranks, sizes known on both sides. */
#ifndef MSIFT_COMM_EXCHANGE_H
#define MSIFT_COMM_EXCHANGE_H

#include "comm/team.h"

struct msift_exchange {
  MPI_Comm comm;         /* of this exchange alone; MPI_COMM_NULL off the leaders */
  MPI_Datatype record;   /* one sample, so that counts stay small where bytes exceed 2 GiB */
  MPI_Request *requests; /* [ranks] */
  int n_requests;
};

/* Collective over the leaders; a no-op on other ranks. */
mpisift_status msift_exchange_open(struct msift_exchange *exchange, const struct msift_team *team, size_t record_bytes,
                                   struct msift_memory *memory, struct msift_error *error);
void msift_exchange_close(struct msift_exchange *exchange, struct msift_memory *memory);

/* Post a message of n records to, or from, a rank. The memory is in use until msift_exchange_end(). */
mpisift_status msift_exchange_send(struct msift_exchange *exchange, const void *records, int64_t n, int64_t to,
                                   struct msift_error *error);
mpisift_status msift_exchange_receive(struct msift_exchange *exchange, void *records, int64_t n, int64_t from,
                                      struct msift_error *error);

/* Wait for all messages. */
mpisift_status msift_exchange_end(struct msift_exchange *exchange, struct msift_error *error);

/* Let messages advance without waiting. */
mpisift_status msift_exchange_progress(struct msift_exchange *exchange, struct msift_error *error);

#endif
