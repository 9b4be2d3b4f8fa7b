/* NCCL between leaders: sums and messages against the host's, beside a training code with NCCL of its own, with
 * communicators given and made; and its failures, which end on all ranks. The same messages by an MPI that takes device
 * memory. With a device for each rank, or stand-ins for CUDA and NCCL; without, the errors alone are tested. */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "../testing.h"
#include "../unit/draw.h"
#include "comm/aware.h"
#include "comm/exchange.h"
#include "comm/nccl.h"

static struct msift_memory memory;
static struct msift_error error;
static struct msift_team team;

static void open_team(void)
{
  mpisift_team asked = {MPI_COMM_WORLD, MPI_COMM_NULL, 0};

  msift_error_clear(&error);
  CU_ASSERT_EQUAL(msift_team_open(&team, &asked, &memory, &error), MPISIFT_OK);
}

static void close_team(void)
{
  msift_team_close(&team, &memory);
  CU_ASSERT_EQUAL(memory.blocks, 0);
}

static bool all_have(mpisift_status status, const char *words)
{
  char first[MSIFT_TEXT];
  int same;

  memcpy(first, error.text, sizeof first);
  MPI_Bcast(first, sizeof first, MPI_CHAR, 0, MPI_COMM_WORLD);
  same = strcmp(first, error.text) == 0 && error.status == status && strstr(error.text, words) != NULL;
  if (!same)
    fprintf(stderr, "rank %d: %d: %s\n", test_rank, (int)error.status, error.text);
  MPI_Allreduce(MPI_IN_PLACE, &same, 1, MPI_INT, MPI_LAND, MPI_COMM_WORLD);
  return same;
}

#ifdef HAVE_CUDA
#include "aware_mpi.h"
#else
static bool aware;

int MPIX_Query_cuda_support(void);
int MPIX_Query_cuda_support(void)
{
  return aware;
}
#endif

static void device_memory_by_mpi(void)
{
  open_team();
#ifdef HAVE_MPIX_QUERY_CUDA_SUPPORT
  aware = true;
  CU_ASSERT_EQUAL(msift_aware_check(&team, &error), MPISIFT_OK);
  aware = test_rank < test_size - 1; /* the last rank's MPI is another */
#endif
  CU_ASSERT_EQUAL(msift_aware_check(&team, &error), MPISIFT_ERR_DEVICE);
  CU_ASSERT(all_have(MPISIFT_ERR_DEVICE, "MPISIFT_TRANSPORT_CUDA_AWARE"));
  aware = false;
  close_team();
}

/* Without a device, or without NCCL. */
static void without(void)
{
  struct msift_nccl nccl;

  open_team();
  CU_ASSERT_EQUAL(msift_nccl_open(&nccl, &team, NULL, &memory, &error), MPISIFT_ERR_DEVICE);
  CU_ASSERT(all_have(MPISIFT_ERR_DEVICE, "NCCL") || all_have(MPISIFT_ERR_DEVICE, "nccl"));
  msift_nccl_close(&nccl, &memory);
  close_team();
}

#ifdef HAVE_NCCL
#include "faulty_nccl.h"

enum { WORDS = 70001, MOST = 300, ROUNDS = 4 };

static ncclComm_t users; /* the user's communicator */
static cudaStream_t stream, other;
static uint32_t host[WORDS], expected[WORDS];
static bool skipped; /* NCCL takes no two ranks on a device */

/* A communicator of the user's own, of all ranks in their order, or turned round. */
static ncclResult_t make_users(ncclComm_t *comm, bool turned)
{
  int rank = turned ? test_size - 1 - test_rank : test_rank;
  ncclUniqueId id;

  if (rank == 0)
    ncclGetUniqueId(&id);
  MPI_Bcast(&id, sizeof id, MPI_BYTE, turned ? test_size - 1 : 0, MPI_COMM_WORLD);
  return ncclCommInitRank(comm, test_size, id, rank);
}

static void *on_device(size_t bytes)
{
  void *block = NULL;

  CU_ASSERT_EQUAL_FATAL(cudaMalloc(&block, bytes), cudaSuccess);
  return block;
}

static void upload(void *to, const void *from, size_t bytes, cudaStream_t on)
{
  CU_ASSERT_EQUAL(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, on), cudaSuccess);
}

static void download(void *to, const void *from, size_t bytes, cudaStream_t on)
{
  CU_ASSERT_EQUAL(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, on), cudaSuccess);
}

/* Wait as the loader does. */
static mpisift_status wait_for(struct msift_nccl *nccl)
{
  mpisift_status status;
  cudaEvent_t event;

  CU_ASSERT_EQUAL(cudaEventCreate(&event), cudaSuccess);
  CU_ASSERT_EQUAL(cudaEventRecord(event, stream), cudaSuccess);
  status = msift_nccl_wait(nccl, event, stream, &error);
  cudaEventDestroy(event);
  return status;
}

/* Words of a rank, whose sums go round. */
static void draw_words(uint32_t *words, int n, int rank, int round)
{
  struct draw d = {(uint64_t)(1000 * round + rank + 1)};

  for (int i = 0; i < n; i++)
    words[i] = (uint32_t)draw_below(&d, INT64_C(1) << 32);
}

static void sum(struct msift_nccl *nccl, int n, int round)
{
  uint32_t *words = on_device((size_t)n * sizeof *words);
  static uint32_t others[WORDS];

  memset(expected, 0, sizeof expected);
  for (int rank = 0; rank < test_size; rank++) {
    draw_words(others, n, rank, round);
    for (int i = 0; i < n; i++)
      expected[i] += others[i];
  }
  draw_words(host, n, test_rank, round);
  upload(words, host, (size_t)n * sizeof *words, stream);
  CU_ASSERT_EQUAL(msift_nccl_sum(nccl, words, n, stream, &error), MPISIFT_OK);
  download(host, words, (size_t)n * sizeof *words, stream);
  CU_ASSERT_EQUAL(wait_for(nccl), MPISIFT_OK);
  CU_ASSERT_EQUAL(memcmp(host, expected, (size_t)n * sizeof *words), 0);
  cudaFree(words);
}

/* Records that a rank has for another in a round: many, one, or none. By MPI ranks send or receive, as the loader's. */
static int64_t count(int round, int from, int to)
{
  int64_t n = (from * 31 + to * 17 + round * 7) % (MOST + 1);

  return from == to || n % 4 == 0 || (aware && (from < to) == (round % 2 == 0)) ? 0 : n;
}

static unsigned char byte_of(int round, int from, int to, int64_t i)
{
  return (unsigned char)(round * 91 + from * 50 + to * 3 + i * 7);
}

/* The messages of all rounds follow one another on the stream, out of one buffer that is filled anew as soon as they
 * are posted. */
static void by_nccl(struct msift_nccl *nccl, int round, size_t size, const unsigned char *send, unsigned char *receive)
{
  CU_ASSERT_EQUAL(msift_nccl_begin(nccl, &error), MPISIFT_OK);
  for (int r = 0; r < test_size; r++) {
    size_t to_us = (size_t)count(round, r, test_rank) * size, to_them = (size_t)count(round, test_rank, r) * size;

    CU_ASSERT_EQUAL(msift_nccl_receive(nccl, receive, to_us, r, stream, &error), MPISIFT_OK);
    CU_ASSERT_EQUAL(msift_nccl_send(nccl, send, to_them, r, stream, &error), MPISIFT_OK);
    receive += to_us;
    send += to_them;
  }
  CU_ASSERT_EQUAL(msift_nccl_end(nccl, &error), MPISIFT_OK);
}

/* MPI knows of no stream. */
static void by_mpi(int round, size_t size, const unsigned char *send, unsigned char *receive)
{
  struct msift_exchange x = {0};

  CU_ASSERT_EQUAL(msift_exchange_open(&x, &team, size, &memory, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(cudaStreamSynchronize(stream), cudaSuccess);
  for (int r = 0; r < test_size; r++) {
    int64_t to_us = count(round, r, test_rank), to_them = count(round, test_rank, r);

    if (to_us > 0)
      CU_ASSERT_EQUAL(msift_exchange_receive(&x, receive, to_us, r, &error), MPISIFT_OK);
    if (to_them > 0)
      CU_ASSERT_EQUAL(msift_exchange_send(&x, send, to_them, r, &error), MPISIFT_OK);
    receive += (size_t)to_us * size;
    send += (size_t)to_them * size;
  }
  CU_ASSERT_EQUAL(msift_exchange_end(&x, &error), MPISIFT_OK);
  msift_exchange_close(&x, &memory);
}

static size_t fill(unsigned char *bytes, int round, size_t size, bool sent)
{
  size_t at = 0;

  for (int r = 0; r < test_size; r++) {
    int from = sent ? test_rank : r, to = sent ? r : test_rank;

    for (int64_t i = 0; i < count(round, from, to) * (int64_t)size; i++)
      bytes[at++] = byte_of(round, from, to, i);
  }
  return at;
}

static void exchange(struct msift_nccl *nccl, size_t size)
{
  size_t most = (size_t)test_size * MOST * size;
  unsigned char *send = on_device(most), *receive = on_device(ROUNDS * most);
  unsigned char *sent = malloc(ROUNDS * most), *received = calloc(ROUNDS, most), *right = malloc(most);

  for (int round = 0; round < ROUNDS; round++) {
    unsigned char *from = sent + (size_t)round * most, *to = receive + (size_t)round * most;
    size_t bytes = fill(right, round, size, false);

    upload(send, from, fill(from, round, size, true), stream);
    if (nccl != NULL)
      by_nccl(nccl, round, size, send, to);
    else
      by_mpi(round, size, send, to);
    download(received + (size_t)round * most, to, bytes, stream);
  }
  CU_ASSERT_EQUAL(cudaStreamSynchronize(stream), cudaSuccess);
  for (int round = 0; round < ROUNDS; round++)
    CU_ASSERT_EQUAL(memcmp(received + (size_t)round * most, right, fill(right, round, size, false)), 0);
  cudaFree(send);
  cudaFree(receive);
  free(sent);
  free(received);
  free(right);
}

static void work(struct msift_nccl *nccl)
{
  static const int words[] = {1, 7, 1000, WORDS};
  static const size_t sizes[] = {1, 3, 24, 40};

  for (int i = 0; i < 4; i++) {
    sum(nccl, words[i], i);
    exchange(nccl, sizes[i]);
  }
}

static bool can_open(void)
{
  int same = 1, devices = 0;

  if (users == NULL && !skipped) {
    cudaGetDeviceCount(&devices);
    cudaSetDevice(test_rank % devices);
    same = make_users(&users, false) == ncclSuccess && cudaStreamCreate(&stream) == cudaSuccess &&
           cudaStreamCreate(&other) == cudaSuccess;
    MPI_Allreduce(MPI_IN_PLACE, &same, 1, MPI_INT, MPI_LAND, MPI_COMM_WORLD);
    skipped = !same && test_size > devices;
    CU_ASSERT(same || skipped);
  }
  CU_ASSERT_TRUE(true);
  return !skipped;
}

static void own_communicator(void)
{
  struct msift_nccl nccl;

  if (!can_open())
    return;
  open_team();
  for (int again = 0; again < 2; again++) {
    CU_ASSERT_EQUAL_FATAL(msift_nccl_open(&nccl, &team, NULL, &memory, &error), MPISIFT_OK);
    work(&nccl);
    msift_nccl_close(&nccl, &memory);
    msift_nccl_close(&nccl, &memory);
  }
  close_team();
}

static void users_communicator(void)
{
  struct msift_nccl nccl;

  if (!can_open())
    return;
  open_team();
  for (int again = 0; again < 2; again++) { /* it stays the user's */
    CU_ASSERT_EQUAL_FATAL(msift_nccl_open(&nccl, &team, users, &memory, &error), MPISIFT_OK);
    work(&nccl);
    msift_nccl_close(&nccl, &memory);
  }
  close_team();
}

/* Of a communicator made with config.blocking = 0. */
static void calls_that_go_on(void)
{
  struct msift_nccl nccl;

  if (!can_open())
    return;
  open_team();
  CU_ASSERT_EQUAL_FATAL(msift_nccl_open(&nccl, &team, users, &memory, &error), MPISIFT_OK);
  choose_fault(GO_ON);
  work(&nccl);
  choose_fault(NO_FAULT);
  msift_nccl_close(&nccl, &memory);
  close_team();
}

static void by_aware_mpi(void)
{
  if (!can_open())
    return;
  open_team();
  aware = true;
  exchange(NULL, 1);
  exchange(NULL, 24);
  aware = false;
  CU_ASSERT_EQUAL(aware_n, 0);
  CU_ASSERT(aware_messages > 0 || test_size == 1);
  close_team();
}

static void refuse(ncclComm_t comm, const char *words)
{
  struct msift_nccl nccl;

  open_team();
  CU_ASSERT_EQUAL(msift_nccl_open(&nccl, &team, comm, &memory, &error), MPISIFT_ERR_ARG);
  CU_ASSERT(all_have(MPISIFT_ERR_ARG, words));
  msift_nccl_close(&nccl, &memory);
  close_team();
}

static void wrong_communicators(void)
{
  ncclComm_t wrong = NULL;
  ncclUniqueId id;

  if (!can_open() || test_size == 1)
    return;
  CU_ASSERT_EQUAL(make_users(&wrong, true), ncclSuccess);
  refuse(wrong, "rank 0: device.nccl has rank");
  ncclCommDestroy(wrong);
  CU_ASSERT_EQUAL(ncclGetUniqueId(&id), ncclSuccess);
  CU_ASSERT_EQUAL(ncclCommInitRank(&wrong, 1, id, 0), ncclSuccess);
  refuse(wrong, "device.nccl has rank 0 of 1");
  refuse(test_rank == test_size - 1 ? wrong : users, "device.nccl has rank 0 of 1"); /* one rank's is wrong */
  refuse(test_rank == 0 ? NULL : users, "device.nccl is NULL differs");
  ncclCommDestroy(wrong);
}

/* A training code sums gradients on a stream of its own between our calls, with no order between the two streams. */
static void beside_training(void)
{
  enum { GRADIENTS = 5000 };
  struct msift_nccl nccl;
  float *gradients, mine[GRADIENTS], sums[GRADIENTS];

  if (!can_open())
    return;
  open_team();
  gradients = on_device(sizeof mine);
  CU_ASSERT_EQUAL_FATAL(msift_nccl_open(&nccl, &team, NULL, &memory, &error), MPISIFT_OK);
  for (int step = 0; step < 3; step++) {
    for (int i = 0; i < GRADIENTS; i++)
      mine[i] = (float)((test_rank + 1) * (i % 100 + step));
    upload(gradients, mine, sizeof mine, other);
    CU_ASSERT_EQUAL(ncclAllReduce(gradients, gradients, GRADIENTS, ncclFloat32, ncclSum, users, other), ncclSuccess);
    sum(&nccl, 1000 + step, step);
    CU_ASSERT_EQUAL(ncclAllReduce(gradients, gradients, GRADIENTS, ncclFloat32, ncclSum, users, other), ncclSuccess);
    exchange(&nccl, 12);
    download(sums, gradients, sizeof sums, other);
    CU_ASSERT_EQUAL(cudaStreamSynchronize(other), cudaSuccess);
    for (int i = 0; i < GRADIENTS; i++)
      if (sums[i] != (float)(test_size * (test_size * (test_size + 1) / 2) * (i % 100 + step)))
        CU_FAIL("the gradients' sum is wrong");
  }
  msift_nccl_close(&nccl, &memory);
  cudaFree(gradients);
  close_team();
}

static void failing_openings(void)
{
  struct msift_nccl nccl;

  if (!can_open())
    return;
  open_team();
  for (int failing = 0; failing < test_size; failing++) {
    choose_fault(failing > 0 ? (test_rank == failing ? FAIL_INIT : NO_FAULT) : test_rank == 0 ? FAIL_ID : NO_FAULT);
    CU_ASSERT_EQUAL(msift_nccl_open(&nccl, &team, NULL, &memory, &error), MPISIFT_ERR_DEVICE);
    choose_fault(NO_FAULT);
    CU_ASSERT(all_have(MPISIFT_ERR_DEVICE, failing > 0 ? "ncclCommInitRank failed" : "ncclGetUniqueId failed"));
    msift_error_clear(&error);
  }
  CU_ASSERT_EQUAL(msift_nccl_open(&nccl, &team, NULL, &memory, &error), MPISIFT_OK);
  msift_nccl_close(&nccl, &memory);
  close_team();
}

/* A sum and a message, of which a call fails on one rank. */
static mpisift_status failing_calls(struct msift_nccl *nccl, uint32_t *words)
{
  mpisift_status status = msift_nccl_sum(nccl, words, 2, stream, &error);

  if (status != MPISIFT_OK)
    return status;
  CU_ASSERT_EQUAL(msift_nccl_begin(nccl, &error), MPISIFT_OK);
  msift_nccl_receive(nccl, words, 4, (test_rank + test_size - 1) % test_size, stream, &error);
  msift_nccl_send(nccl, words + 1, 4, (test_rank + 1) % test_size, stream, &error);
  status = msift_nccl_end(nccl, &error);
  return status == MPISIFT_OK ? wait_for(nccl) : status;
}

static void fail_in(enum fault which, int failing, ncclComm_t given)
{
  uint32_t *words = on_device(2 * sizeof *words);
  struct msift_nccl nccl;

  open_team();
  CU_ASSERT_EQUAL(msift_nccl_open(&nccl, &team, given, &memory, &error), MPISIFT_OK);
  cudaMemset(words, 0, 2 * sizeof *words);
  choose_fault(test_rank == failing ? which : WAIT);
  CU_ASSERT_EQUAL(failing_calls(&nccl, words), MPISIFT_ERR_MPI);
  CU_ASSERT_PTR_NOT_NULL(strstr(error.text, test_rank == failing ? " failed: " : "NCCL failed on leader"));
  msift_error_clear(&error);
  CU_ASSERT_EQUAL(msift_nccl_sum(&nccl, words, 1, stream, &error), MPISIFT_ERR_MPI);
  choose_fault(NO_FAULT);
  msift_nccl_close(&nccl, &memory);
  cudaFree(words);
  close_team();
}

static void failures(void)
{
  if (!can_open())
    return;
  for (int failing = 0; failing < test_size; failing++)
    for (enum fault which = FAIL_SUM; which <= FAIL_ASYNC; which++) {
      fail_in(which, failing, NULL);
      fail_in(which, failing, users);
    }
}

static bool have_device(void)
{
  int n = 0;

  return cudaGetDeviceCount(&n) == cudaSuccess && n > 0;
}

static int test_device(int argc, char **argv)
{
  static const test_case cases[] = {
      {"device memory by MPI", device_memory_by_mpi},
      {"own communicator", own_communicator},
      {"user's communicator", users_communicator},
      {"wrong communicators", wrong_communicators},
      {"calls that go on", calls_that_go_on},
      {"by an aware MPI", by_aware_mpi},
      {"beside training", beside_training},
      {"failing openings", failing_openings},
      {"failures", failures},
  };
  int failed = test_main(argc, argv, "nccl", cases, sizeof cases / sizeof *cases);

  if (users != NULL)
    ncclCommDestroy(users);
  if (skipped)
    printf("SKIPPED: NCCL wants a device for each rank\n");
  return failed != 0 ? 1 : skipped ? 77 : 0;
}
#else
static bool have_device(void)
{
  return false;
}

static int test_device(int argc, char **argv)
{
  return argv[argc] != NULL;
}
#endif

int main(int argc, char **argv)
{
  static const test_case cases[] = {{"device memory by MPI", device_memory_by_mpi}, {"without", without}};

  if (have_device())
    return test_device(argc, argv);
  printf("SKIPPED: no CUDA device, no stand-in for one, or no NCCL: only the errors are tested\n");
  return test_main(argc, argv, "nccl", cases, 2) != 0 ? 1 : 77;
}
