/* An MPI that takes device memory, made of one that does not: its calls for messages are replaced in the program that
 * includes this. A message is read, and written, in no order with any stream, as MPI does: who forgets to synchronise
 * is found with PTXM_LAZY=1. */
#ifndef MPISIFT_AWARE_MPI_H
#define MPISIFT_AWARE_MPI_H

#include <cuda_runtime_api.h>
#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

static bool aware; /* what MPI says of itself */
static int aware_messages;

int MPIX_Query_cuda_support(void);
int MPIX_Query_cuda_support(void)
{
  return aware;
}

/* Messages of device memory under way. */
enum { AWARE_MOST = 256 };

static struct aware_message {
  MPI_Request request;
  void *device, *host;
  size_t bytes;
  bool receive;
} aware_flying[AWARE_MOST];
static int aware_n;

static bool aware_is_device(const void *pointer)
{
  struct cudaPointerAttributes attributes;
  bool known = cudaPointerGetAttributes(&attributes, pointer) == cudaSuccess;

  cudaGetLastError();
  return known && attributes.type == cudaMemoryTypeDevice;
}

static void aware_copy(void *to, const void *from, size_t bytes)
{
  cudaStream_t stream;

  if (cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) != cudaSuccess ||
      cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream) != cudaSuccess ||
      cudaStreamSynchronize(stream) != cudaSuccess || cudaStreamDestroy(stream) != cudaSuccess)
    MPI_Abort(MPI_COMM_WORLD, 3);
}

static struct aware_message *aware_stage(void *device, int count, MPI_Datatype type, bool receive)
{
  struct aware_message *m = &aware_flying[aware_n++];
  int size;

  MPI_Type_size(type, &size);
  *m = (struct aware_message){.device = device, .bytes = (size_t)count * (size_t)size, .receive = receive};
  m->host = malloc(m->bytes + 1);
  if (!receive)
    aware_copy(m->host, device, m->bytes);
  aware_messages++;
  return m;
}

int MPI_Isend(const void *buffer, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request *request)
{
  struct aware_message *m;
  int code;

  if (!aware || count == 0 || !aware_is_device(buffer))
    return PMPI_Isend(buffer, count, type, to, tag, comm, request);
  m = aware_stage((void *)(uintptr_t)buffer, count, type, false);
  code = PMPI_Isend(m->host, count, type, to, tag, comm, request);
  m->request = *request;
  return code;
}

int MPI_Irecv(void *buffer, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm, MPI_Request *request)
{
  struct aware_message *m;
  int code;

  if (!aware || count == 0 || !aware_is_device(buffer))
    return PMPI_Irecv(buffer, count, type, from, tag, comm, request);
  m = aware_stage(buffer, count, type, true);
  code = PMPI_Irecv(m->host, count, type, from, tag, comm, request);
  m->request = *request;
  return code;
}

static void aware_land(MPI_Request request)
{
  for (int k = 0; k < aware_n; k++) {
    struct aware_message m = aware_flying[k];

    if (m.request != request)
      continue;
    if (m.receive)
      aware_copy(m.device, m.host, m.bytes);
    free(m.host);
    aware_flying[k] = aware_flying[--aware_n];
    return;
  }
}

int MPI_Waitall(int n, MPI_Request *requests, MPI_Status *statuses)
{
  MPI_Request before[AWARE_MOST];
  int code;

  for (int k = 0; k < n; k++)
    before[k] = requests[k];
  code = PMPI_Waitall(n, requests, statuses);
  for (int k = 0; k < n; k++)
    aware_land(before[k]);
  return code;
}

int MPI_Testall(int n, MPI_Request *requests, int *done, MPI_Status *statuses)
{
  MPI_Request before[AWARE_MOST];
  int code;

  for (int k = 0; k < n; k++)
    before[k] = requests[k];
  code = PMPI_Testall(n, requests, done, statuses);
  for (int k = 0; k < n && *done; k++)
    aware_land(before[k]);
  return code;
}

#endif
