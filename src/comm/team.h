/* The ranks of a run: replicas of the model, their leaders (rank 0 of each), and what they agree on. */
#ifndef MSIFT_COMM_TEAM_H
#define MSIFT_COMM_TEAM_H

#include <stdbool.h>

#include "base/memory.h"

struct msift_team {
  MPI_Comm all;     /* every rank */
  MPI_Comm replica; /* the ranks of this model copy */
  MPI_Comm leaders; /* rank 0 of every replica; MPI_COMM_NULL on other ranks */
  int all_rank, all_size, replica_rank, replica_size, loss_rank;
  int rank, size; /* number of this replica, and of replicas */
  int *node;      /* [size]: equal for replicas whose leaders share a node */
};

/* Record a failed MPI call. Returns its status. */
mpisift_status msift_mpi(struct msift_error *error, int code, const char *call);

/* Collective over team->comm. On failure nothing is left behind. */
mpisift_status msift_team_open(struct msift_team *team, const mpisift_team *asked, struct msift_memory *memory,
                               struct msift_error *error);
void msift_team_close(struct msift_team *team, struct msift_memory *memory);

static inline bool msift_team_leads(const struct msift_team *team)
{
  return team->replica_rank == 0;
}

/* Turn the ranks' outcomes into one: OK if all are, else that of the lowest failing rank, with its number in the text
 * unless all failed alike. Collective over `all`; all ranks return the same status and hold the same text. */
mpisift_status msift_team_agree(const struct msift_team *team, struct msift_error *error);

/* Whether any rank of this replica says so. Collective over the replica. */
bool msift_team_any(const struct msift_team *team, bool mine, struct msift_error *error);

/* A value that has to be equal on all ranks. */
enum { MSIFT_MAX_SETTINGS = 64 };

struct msift_setting {
  const char *name;
  uint64_t value;
};

/* Collective over `all`: ERR_ARG naming the first setting whose values differ. */
mpisift_status msift_team_compare(const struct msift_team *team, const struct msift_setting *settings, int n,
                                  struct msift_error *error);

/* Sums of n integers, modulo 2^64, over `all`. */
mpisift_status msift_team_sum(const struct msift_team *team, uint64_t *values, int n, struct msift_error *error);

/* Copy bytes from rank 0 of `all` to its other ranks. */
mpisift_status msift_team_tell(const struct msift_team *team, void *bytes, int64_t n, struct msift_error *error);

/* Copy n items of a size from a rank of the replica to its other ranks. */
mpisift_status msift_team_share(const struct msift_team *team, void *items, int64_t n, size_t size, int from,
                                struct msift_error *error);

#endif
