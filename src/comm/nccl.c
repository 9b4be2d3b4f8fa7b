#include "comm/nccl.h"

#include <nccl.h>
#include <sched.h>

/* What NCCL says of a failure. A CUDA error that it came upon is not for the caller's next check to find. */
static mpisift_status record(ncclResult_t code, const char *call, mpisift_status status, struct msift_error *error)
{
  const char *more = ncclGetLastError(NULL);

  cudaGetLastError();
  more = more == NULL ? "" : more;
  return msift_error_set(error, status, "%s failed: %s%s%.200s", call, ncclGetErrorString(code),
                         more[0] != '\0' ? ": " : "", more);
}

static void tell_others(const struct msift_nccl *nccl)
{
  int rank, ranks;

  MPI_Comm_rank(nccl->word, &rank);
  MPI_Comm_size(nccl->word, &ranks);
  for (int r = 0; r < ranks; r++) {
    MPI_Request request;

    if (r != rank && MPI_Isend(NULL, 0, MPI_CHAR, r, 0, nccl->word, &request) == MPI_SUCCESS)
      MPI_Request_free(&request);
  }
}

/* What is enqueued ends now, if the communicator is ours. */
static void discard(struct msift_nccl *nccl)
{
  if (nccl->owned && nccl->comm != NULL)
    ncclCommAbort(nccl->comm);
  nccl->comm = NULL;
}

static mpisift_status give_up(struct msift_nccl *nccl, const struct msift_error *error)
{
  tell_others(nccl);
  discard(nccl);
  return error->status;
}

/* Whether another leader has failed: what we wait for may never come. */
static mpisift_status hear(struct msift_nccl *nccl, struct msift_error *error)
{
  MPI_Status from;
  int heard = 0;

  MSIFT_TRY(msift_mpi(error, MPI_Test(&nccl->hears, &heard, &from), "MPI_Test"));
  if (!heard)
    return MPISIFT_OK;
  discard(nccl);
  return msift_error_set(error, MPISIFT_ERR_MPI, "NCCL failed on leader %d; its own message says why", from.MPI_SOURCE);
}

/* A communicator that does not block says that a call goes on: let it end. */
static mpisift_status settle(struct msift_nccl *nccl, ncclResult_t code, const char *call, struct msift_error *error)
{
  while (code == ncclInProgress) {
    ncclResult_t asked = ncclCommGetAsyncError(nccl->comm, &code);

    code = asked == ncclSuccess ? code : asked;
    if (code == ncclInProgress)
      MSIFT_TRY(hear(nccl, error));
  }
  if (code == ncclSuccess)
    return MPISIFT_OK;
  record(code, call, MPISIFT_ERR_MPI, error);
  return give_up(nccl, error);
}

static mpisift_status check_open(const struct msift_nccl *nccl, struct msift_error *error)
{
  return nccl->comm != NULL ? MPISIFT_OK : msift_error_set(error, MPISIFT_ERR_MPI, "NCCL failed in an earlier call");
}

static mpisift_status check_given(const struct msift_nccl *nccl, const struct msift_team *team,
                                  struct msift_error *error)
{
  int ranks = 0, rank = 0, device = 0, current = -1;
  ncclResult_t code = ncclCommCount(nccl->comm, &ranks);

  code = code != ncclSuccess ? code : ncclCommUserRank(nccl->comm, &rank);
  code = code != ncclSuccess ? code : ncclCommCuDevice(nccl->comm, &device);
  if (code != ncclSuccess)
    return record(code, "device.nccl: asking for its ranks", MPISIFT_ERR_DEVICE, error);
  if (ranks != team->size || rank != team->rank)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "device.nccl has rank %d of %d where the team has rank %d of %d; give a communicator of the "
                           "team's ranks, in their order, or NULL",
                           rank, ranks, team->rank, team->size);
  if (cudaGetDevice(&current) != cudaSuccess || current != device)
    return msift_error_set(error, MPISIFT_ERR_ARG, "device.nccl is of device %d, but the current device is %d", device,
                           current);
  return MPISIFT_OK;
}

/* Leader 0 makes the name by which the others find it. NCCL waits for all, so all have to be well before. */
static mpisift_status make_own(struct msift_nccl *nccl, const struct msift_team *team, struct msift_error *error)
{
  ncclResult_t code = ncclSuccess;
  ncclUniqueId id = {{0}};

  if (msift_team_leads(team) && team->rank == 0)
    code = ncclGetUniqueId(&id);
  if (code != ncclSuccess)
    record(code, "ncclGetUniqueId", MPISIFT_ERR_DEVICE, error);
  MSIFT_TRY(msift_team_agree(team, error));
  if (!msift_team_leads(team))
    return MPISIFT_OK;
  MSIFT_TRY(msift_mpi(error, MPI_Bcast(&id, (int)sizeof id, MPI_BYTE, 0, team->leaders), "MPI_Bcast"));
  code = ncclCommInitRank(&nccl->comm, team->size, id, team->rank);
  if (code == ncclSuccess)
    return MPISIFT_OK;
  nccl->comm = NULL; /* NCCL has released it */
  return record(code, "ncclCommInitRank", MPISIFT_ERR_DEVICE, error);
}

static mpisift_status listen_to_others(struct msift_nccl *nccl, const struct msift_team *team,
                                       struct msift_error *error)
{
  MSIFT_TRY(msift_mpi(error, MPI_Comm_dup(team->leaders, &nccl->word), "MPI_Comm_dup"));
  MPI_Comm_set_name(nccl->word, "mpisift nccl");
  return msift_mpi(error, MPI_Irecv(&nccl->told, 1, MPI_CHAR, MPI_ANY_SOURCE, 0, nccl->word, &nccl->hears),
                   "MPI_Irecv");
}

mpisift_status msift_nccl_open(struct msift_nccl *nccl, const struct msift_team *team, struct ncclComm *given,
                               struct msift_memory *memory, struct msift_error *error)
{
  struct msift_setting setting = {"whether device.nccl is NULL", given == NULL};

  *nccl = (struct msift_nccl){.word = MPI_COMM_NULL, .hears = MPI_REQUEST_NULL, .owned = given == NULL};
  MSIFT_TRY(msift_team_compare(team, &setting, 1, error));
  nccl->open = true;
  memory->blocks++;
  if (msift_team_leads(team))
    listen_to_others(nccl, team, error);
  nccl->comm = msift_team_leads(team) ? given : NULL;
  if (nccl->owned)
    make_own(nccl, team, error);
  else if (nccl->comm != NULL)
    check_given(nccl, team, error);
  if (msift_team_agree(team, error) != MPISIFT_OK) {
    discard(nccl);
    msift_nccl_close(nccl, memory);
  }
  return error->status;
}

void msift_nccl_close(struct msift_nccl *nccl, struct msift_memory *memory)
{
  if (!nccl->open)
    return;
  if (nccl->owned && nccl->comm != NULL)
    ncclCommDestroy(nccl->comm);
  if (nccl->hears != MPI_REQUEST_NULL) {
    MPI_Cancel(&nccl->hears);
    MPI_Wait(&nccl->hears, MPI_STATUS_IGNORE);
  }
  if (nccl->word != MPI_COMM_NULL)
    MPI_Comm_free(&nccl->word);
  nccl->open = false;
  memory->blocks--;
}

mpisift_status msift_nccl_sum(struct msift_nccl *nccl, uint32_t *words, int64_t n, void *stream,
                              struct msift_error *error)
{
  MSIFT_TRY(check_open(nccl, error));
  return settle(nccl, ncclAllReduce(words, words, (size_t)n, ncclUint32, ncclSum, nccl->comm, stream), "ncclAllReduce",
                error);
}

mpisift_status msift_nccl_begin(struct msift_nccl *nccl, struct msift_error *error)
{
  MSIFT_TRY(check_open(nccl, error));
  return settle(nccl, ncclGroupStart(), "ncclGroupStart", error);
}

/* In a group nothing is done yet, and nothing may be given up before its end. */
static mpisift_status check_message(ncclResult_t code, const char *call, struct msift_error *error)
{
  return code == ncclSuccess || code == ncclInProgress ? MPISIFT_OK : record(code, call, MPISIFT_ERR_MPI, error);
}

mpisift_status msift_nccl_send(struct msift_nccl *nccl, const void *bytes, size_t n, int64_t to, void *stream,
                               struct msift_error *error)
{
  if (n == 0)
    return MPISIFT_OK;
  return check_message(ncclSend(bytes, n, ncclUint8, (int)to, nccl->comm, stream), "ncclSend", error);
}

mpisift_status msift_nccl_receive(struct msift_nccl *nccl, void *bytes, size_t n, int64_t from, void *stream,
                                  struct msift_error *error)
{
  if (n == 0)
    return MPISIFT_OK;
  return check_message(ncclRecv(bytes, n, ncclUint8, (int)from, nccl->comm, stream), "ncclRecv", error);
}

mpisift_status msift_nccl_end(struct msift_nccl *nccl, struct msift_error *error)
{
  ncclResult_t code = ncclGroupEnd();

  return error->status == MPISIFT_OK ? settle(nccl, code, "ncclGroupEnd", error) : give_up(nccl, error);
}

mpisift_status msift_nccl_fail(struct msift_nccl *nccl, struct msift_error *error)
{
  error->status = MPISIFT_ERR_MPI;
  return nccl->comm != NULL ? give_up(nccl, error) : error->status;
}

mpisift_status msift_nccl_check(struct msift_nccl *nccl, struct msift_error *error)
{
  ncclResult_t code = ncclSuccess, asked;

  MSIFT_TRY(check_open(nccl, error));
  asked = ncclCommGetAsyncError(nccl->comm, &code);
  code = asked == ncclSuccess ? code : asked;
  MSIFT_TRY(settle(nccl, code == ncclInProgress ? ncclSuccess : code, "NCCL, in the background,", error));
  return hear(nccl, error);
}

/* The stream is asked first: where a driver has put its work aside, that sends it off. */
static cudaError_t ask(void *event, void *stream)
{
  cudaError_t code = cudaStreamQuery(stream);

  return code == cudaErrorNotReady ? cudaEventQuery(event) : code;
}

mpisift_status msift_nccl_wait(struct msift_nccl *nccl, void *event, void *stream, struct msift_error *error)
{
  cudaError_t code;

  while ((code = ask(event, stream)) == cudaErrorNotReady) {
    MSIFT_TRY(msift_nccl_check(nccl, error));
    sched_yield();
  }
  cudaGetLastError(); /* nor this for the caller's next check to find */
  if (code == cudaSuccess)
    return MPISIFT_OK;
  msift_error_set(error, MPISIFT_ERR_MPI, "the device failed between the ranks' sums: %s", cudaGetErrorString(code));
  return give_up(nccl, error);
}
