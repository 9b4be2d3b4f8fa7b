/* Preloaded into MPI programs whose ranks outnumber the cores, for MPIs that spin where they wait: the same calls, but
 * each gives way to the other ranks while it waits. */
#include <mpi.h>
#include <sched.h>

static int wait_for(int code, int n, MPI_Request *requests, MPI_Status *statuses)
{
  int done = 0;

  while (code == MPI_SUCCESS && !done) {
    code = PMPI_Testall(n, requests, &done, statuses);
    if (!done)
      sched_yield();
  }
  return code;
}

static int finish(int code, MPI_Request *request)
{
  MPI_Status status;

  return wait_for(code, 1, request, &status);
}

int MPI_Wait(MPI_Request *request, MPI_Status *status)
{
  MPI_Status ignored;

  return wait_for(MPI_SUCCESS, 1, request, status == MPI_STATUS_IGNORE ? &ignored : status);
}

int MPI_Waitall(int n, MPI_Request *requests, MPI_Status *statuses)
{
  return wait_for(MPI_SUCCESS, n, requests, statuses);
}

int MPI_Barrier(MPI_Comm comm)
{
  MPI_Request request;

  return finish(PMPI_Ibarrier(comm, &request), &request);
}

int MPI_Bcast(void *data, int n, MPI_Datatype type, int root, MPI_Comm comm)
{
  MPI_Request request;

  return finish(PMPI_Ibcast(data, n, type, root, comm, &request), &request);
}

int MPI_Reduce(const void *from, void *to, int n, MPI_Datatype type, MPI_Op op, int root, MPI_Comm comm)
{
  MPI_Request request;

  return finish(PMPI_Ireduce(from, to, n, type, op, root, comm, &request), &request);
}

int MPI_Allreduce(const void *from, void *to, int n, MPI_Datatype type, MPI_Op op, MPI_Comm comm)
{
  MPI_Request request;

  return finish(PMPI_Iallreduce(from, to, n, type, op, comm, &request), &request);
}

int MPI_Allgather(const void *from, int n_from, MPI_Datatype type_from, void *to, int n_to, MPI_Datatype type_to,
                  MPI_Comm comm)
{
  MPI_Request request;

  return finish(PMPI_Iallgather(from, n_from, type_from, to, n_to, type_to, comm, &request), &request);
}

int MPI_Comm_dup(MPI_Comm comm, MPI_Comm *copy)
{
  MPI_Request request;

  return finish(PMPI_Comm_idup(comm, copy, &request), &request);
}
