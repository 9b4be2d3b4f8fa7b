#include "comm/reduce.h"

static mpisift_status gather_header(struct msift_reduction *r, const struct msift_team *team, struct msift_error *error)
{
  const void *from = msift_team_leads(team) ? MPI_IN_PLACE : (const void *)r->words;

  if (team->replica_size == 1)
    return MPISIFT_OK;
  return msift_mpi(error, MPI_Reduce(from, r->words, r->header, MPI_UINT32_T, MPI_SUM, 0, team->replica), "MPI_Reduce");
}

mpisift_status msift_reduction_begin(struct msift_reduction *r, const struct msift_team *team, bool overlap,
                                     struct msift_error *error)
{
  r->request = MPI_REQUEST_NULL;
  r->begun++;
  MSIFT_TRY(gather_header(r, team, error));
  if (!msift_team_leads(team))
    return MPISIFT_OK;
  if (overlap)
    return msift_mpi(error,
                     MPI_Iallreduce(MPI_IN_PLACE, r->words, r->n, MPI_UINT32_T, MPI_SUM, team->leaders, &r->request),
                     "MPI_Iallreduce");
  return msift_mpi(error, MPI_Allreduce(MPI_IN_PLACE, r->words, r->n, MPI_UINT32_T, MPI_SUM, team->leaders),
                   "MPI_Allreduce");
}

mpisift_status msift_reduction_end(struct msift_reduction *r, const struct msift_team *team, struct msift_error *error)
{
  MSIFT_TRY(msift_mpi(error, MPI_Wait(&r->request, MPI_STATUS_IGNORE), "MPI_Wait"));
  return msift_team_share(team, r->words, r->n, sizeof *r->words, 0, error);
}

mpisift_status msift_reduction_progress(struct msift_reduction *r, struct msift_error *error)
{
  int done;

  return msift_mpi(error, MPI_Test(&r->request, &done, MPI_STATUS_IGNORE), "MPI_Test");
}
