/* NCCL whose calls fail, or go on in the background for a while, of a program's choice: they are replaced in the
 * program that includes this. */
#ifndef MPISIFT_FAULTY_NCCL_H
#define MPISIFT_FAULTY_NCCL_H

#include <dlfcn.h>
#include <nccl.h>
#include <stdbool.h>
#include <stdint.h>

/* On this rank. Where a round is to fail, it does on one; of the others calls seem to work, but their devices WAIT. */
enum fault { NO_FAULT, GO_ON, FAIL_ID, FAIL_INIT, FAIL_SUM, FAIL_SEND, FAIL_END, FAIL_ASYNC, WAIT };

static enum fault fault;
static int going_on;   /* for so many questions */
static bool swallowed; /* something was not enqueued: the device waits for it */
static bool hung;      /* and so did the host */

#define REAL(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

static inline void choose_fault(enum fault chosen)
{
  fault = chosen;
  swallowed = false;
}

/* Nothing is enqueued where a round is to fail. */
static bool swallow(void)
{
  swallowed |= fault >= FAIL_SUM;
  return fault >= FAIL_SUM;
}

static ncclResult_t go_on(ncclResult_t code)
{
  if (fault != GO_ON || code != ncclSuccess)
    return code;
  going_on = 3;
  return ncclInProgress;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
  return fault == FAIL_ID ? ncclSystemError : REAL(ncclGetUniqueId)(id);
}

ncclResult_t ncclCommInitRank(ncclComm_t *comm, int ranks, ncclUniqueId id, int rank)
{
  ncclResult_t code = REAL(ncclCommInitRank)(comm, ranks, id, rank);

  if (fault != FAIL_INIT)
    return code;
  ncclCommAbort(*comm);
  return ncclInvalidUsage;
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t n, ncclDataType_t type, ncclRedOp_t op, ncclComm_t comm,
                           cudaStream_t on)
{
  if (swallow())
    return fault == FAIL_SUM ? ncclInvalidUsage : ncclSuccess;
  return go_on(REAL(ncclAllReduce)(from, to, n, type, op, comm, on));
}

ncclResult_t ncclSend(const void *from, size_t n, ncclDataType_t type, int to, ncclComm_t comm, cudaStream_t on)
{
  if (swallow())
    return fault == FAIL_SEND ? ncclInvalidArgument : ncclSuccess;
  return go_on(REAL(ncclSend)(from, n, type, to, comm, on));
}

ncclResult_t ncclRecv(void *to, size_t n, ncclDataType_t type, int from, ncclComm_t comm, cudaStream_t on)
{
  return swallow() ? ncclSuccess : REAL(ncclRecv)(to, n, type, from, comm, on);
}

ncclResult_t ncclGroupEnd(void); /* nccl.h has it without arguments named */
ncclResult_t ncclGroupEnd(void)
{
  ncclResult_t code = REAL(ncclGroupEnd)();

  return fault == FAIL_END ? ncclUnhandledCudaError : go_on(code);
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *code)
{
  ncclResult_t asked = REAL(ncclCommGetAsyncError)(comm, code);

  if (going_on > 0)
    *code = --going_on > 0 ? ncclInProgress : *code;
  *code = fault == FAIL_ASYNC ? ncclRemoteError : *code;
  return asked;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
  return swallowed ? cudaErrorNotReady : REAL(cudaEventQuery)(event);
}

/* What is enqueued on a communicator that is aborted ends. */
ncclResult_t ncclCommAbort(ncclComm_t comm)
{
  swallowed = false;
  return REAL(ncclCommAbort)(comm);
}

cudaError_t cudaStreamSynchronize(cudaStream_t on)
{
  hung |= swallowed;
  return REAL(cudaStreamSynchronize)(on);
}

cudaError_t cudaStreamQuery(cudaStream_t on)
{
  return swallowed ? cudaErrorNotReady : REAL(cudaStreamQuery)(on);
}

#endif
