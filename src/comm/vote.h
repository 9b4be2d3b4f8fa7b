/* Whether any rank has failed: 8 bytes, in the background of a training step. */
#ifndef MSIFT_COMM_VOTE_H
#define MSIFT_COMM_VOTE_H

#include "comm/team.h"

struct msift_vote {
  int64_t failed; /* ranks */
  bool pending;
  MPI_Request request;
};

/* Collective over `all`. The end waits for all beginnings. */
mpisift_status msift_vote_begin(struct msift_vote *vote, const struct msift_team *team, bool failed,
                                struct msift_error *error);
mpisift_status msift_vote_end(struct msift_vote *vote, struct msift_error *error);

#endif
