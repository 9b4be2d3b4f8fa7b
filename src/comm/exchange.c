#include "comm/exchange.h"

mpisift_status msift_exchange_open(struct msift_exchange *x, const struct msift_team *team, size_t record_bytes,
                                   struct msift_memory *memory, struct msift_error *error)
{
  x->comm = MPI_COMM_NULL;
  x->record = MPI_DATATYPE_NULL;
  if (!msift_team_leads(team))
    return MPISIFT_OK;
  MSIFT_TRY(msift_mpi(error, MPI_Comm_dup(team->leaders, &x->comm), "MPI_Comm_dup"));
  MPI_Comm_set_name(x->comm, "mpisift exchange");
  MPI_Type_contiguous((int)record_bytes, MPI_BYTE, &x->record);
  MSIFT_TRY(msift_mpi(error, MPI_Type_commit(&x->record), "MPI_Type_commit"));
  return msift_resize(memory, error, &x->requests, team->size, sizeof *x->requests);
}

void msift_exchange_close(struct msift_exchange *x, struct msift_memory *memory)
{
  if (x->comm != MPI_COMM_NULL)
    MPI_Comm_free(&x->comm);
  if (x->record != MPI_DATATYPE_NULL)
    MPI_Type_free(&x->record);
  msift_free(memory, &x->requests);
}

mpisift_status msift_exchange_send(struct msift_exchange *x, const void *records, int64_t n, int64_t to,
                                   struct msift_error *error)
{
  return msift_mpi(error, MPI_Isend(records, (int)n, x->record, (int)to, 0, x->comm, &x->requests[x->n_requests++]),
                   "MPI_Isend");
}

mpisift_status msift_exchange_receive(struct msift_exchange *x, void *records, int64_t n, int64_t from,
                                      struct msift_error *error)
{
  return msift_mpi(error, MPI_Irecv(records, (int)n, x->record, (int)from, 0, x->comm, &x->requests[x->n_requests++]),
                   "MPI_Irecv");
}

mpisift_status msift_exchange_end(struct msift_exchange *x, struct msift_error *error)
{
  int n = x->n_requests;

  x->n_requests = 0;
  return msift_mpi(error, MPI_Waitall(n, x->requests, MPI_STATUSES_IGNORE), "MPI_Waitall");
}

mpisift_status msift_exchange_progress(struct msift_exchange *x, struct msift_error *error)
{
  int done;

  return msift_mpi(error, MPI_Testall(x->n_requests, x->requests, &done, MPI_STATUSES_IGNORE), "MPI_Testall");
}
