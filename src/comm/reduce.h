/* The one collective of a round: the sum, modulo 2^32, of the ranks' buffers. */
#ifndef MSIFT_COMM_REDUCE_H
#define MSIFT_COMM_REDUCE_H

#include "comm/team.h"

struct msift_reduction {
  uint32_t *words;
  int n, header; /* words in all; words at the beginning to which every rank of a replica adds, not its leader alone */
  int64_t begun; /* how many, so far */
  MPI_Request request;
};

/* Begin; overlap: in the background, else it is done on return. Collective over the team, as is the end. */
mpisift_status msift_reduction_begin(struct msift_reduction *reduction, const struct msift_team *team, bool overlap,
                                     struct msift_error *error);
mpisift_status msift_reduction_end(struct msift_reduction *reduction, const struct msift_team *team,
                                   struct msift_error *error);

/* Let it advance without waiting. */
mpisift_status msift_reduction_progress(struct msift_reduction *reduction, struct msift_error *error);

#endif
