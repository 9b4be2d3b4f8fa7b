#include "comm/vote.h"

mpisift_status msift_vote_begin(struct msift_vote *vote, const struct msift_team *team, bool failed,
                                struct msift_error *error)
{
  vote->failed = failed;
  MSIFT_TRY(msift_mpi(error,
                      MPI_Iallreduce(MPI_IN_PLACE, &vote->failed, 1, MPI_INT64_T, MPI_SUM, team->all, &vote->request),
                      "MPI_Iallreduce"));
  vote->pending = true;
  return MPISIFT_OK;
}

mpisift_status msift_vote_end(struct msift_vote *vote, struct msift_error *error)
{
  vote->pending = false;
  return msift_mpi(error, MPI_Wait(&vote->request, MPI_STATUS_IGNORE), "MPI_Wait");
}
