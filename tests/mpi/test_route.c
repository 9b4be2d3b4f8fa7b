/* Records in bulk: what each rank gets from each, in messages of any size; sums and maxima of lower ranks; votes. */
#include <stdlib.h>
#include <string.h>

#include "comm/route.h"
#include "comm/vote.h"
#include "testing.h"

enum { BYTES = 24, MOST = 90 };

static struct msift_memory memory;
static struct msift_error error;
static struct msift_team team;

static void open_team(void)
{
  mpisift_team asked = {MPI_COMM_WORLD, MPI_COMM_NULL, 0};

  CU_ASSERT_EQUAL(msift_team_open(&team, &asked, &memory, &error), MPISIFT_OK);
}

/* How many records a rank has for another; some have none. */
static int64_t count(int trial, int from, int to)
{
  int64_t n = (from * 31 + to * 17 + trial * 7) % (MOST + 1);

  return trial == 0 || n % 4 == 0 ? 0 : n;
}

static unsigned char byte_of(int from, int to, int64_t i, int k)
{
  return (unsigned char)(from * 50 + to * 3 + i * 7 + k);
}

/* Records of a pair in memory: written, or compared; returns wrong bytes. */
static int64_t records(unsigned char *at, int from, int to, int64_t n, bool write)
{
  int64_t wrong = 0;

  for (int64_t i = 0; i < n * BYTES; i++) {
    unsigned char byte = byte_of(from, to, i / BYTES, (int)(i % BYTES));

    wrong += !write && at[i] != byte;
    at[i] = write ? byte : at[i];
  }
  return wrong;
}

static void route(int trial, size_t most)
{
  int64_t sent[64], received[64], wrong = 0;
  unsigned char *send = malloc(64 * MOST * BYTES), *receive = calloc(64 * MOST, BYTES), *at = send;

  for (int r = 0; r < test_size; r++) {
    sent[r] = count(trial, test_rank, r);
    records(at, test_rank, r, sent[r], true);
    at += sent[r] * BYTES;
  }
  CU_ASSERT_EQUAL(msift_route_counts(&team, sent, received, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(msift_route(&team, BYTES, most, send, sent, receive, received, &error), MPISIFT_OK);
  at = receive;
  for (int r = 0; r < test_size; r++) {
    wrong += received[r] != count(trial, r, test_rank);
    wrong += records(at, r, test_rank, received[r], false);
    at += received[r] * BYTES;
  }
  CU_ASSERT_EQUAL(wrong, 0);
  free(send);
  free(receive);
}

static void routes(void)
{
  static const size_t sizes[] = {1, 7, BYTES, 1000, MSIFT_MESSAGE_MOST};

  open_team();
  for (int trial = 0; trial < 6; trial++)
    for (int s = 0; s < 5; s++)
      route(trial, sizes[s]);
  msift_team_close(&team, &memory);
}

static void lower_ranks(void)
{
  int64_t value = (test_rank * 5 + 3) % 11, sum, most, expected_sum = 0, expected_most = -1;

  open_team();
  for (int r = 0; r < test_rank; r++) {
    expected_sum += (r * 5 + 3) % 11;
    expected_most = (r * 5 + 3) % 11 > expected_most ? (r * 5 + 3) % 11 : expected_most;
  }
  CU_ASSERT_EQUAL(msift_route_sum_before(&team, value, &sum, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(msift_route_most_before(&team, value, &most, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(sum, expected_sum);
  CU_ASSERT_EQUAL(most, expected_most);
  msift_team_close(&team, &memory);
}

static void votes(void)
{
  struct msift_vote vote = {0};

  open_team();
  for (int failing = -1; failing < test_size; failing++) {
    CU_ASSERT_EQUAL(msift_vote_begin(&vote, &team, test_rank <= failing, &error), MPISIFT_OK);
    CU_ASSERT(vote.pending);
    CU_ASSERT_EQUAL(msift_vote_end(&vote, &error), MPISIFT_OK);
    CU_ASSERT_EQUAL(vote.failed, failing + 1);
    CU_ASSERT(!vote.pending);
  }
  msift_team_close(&team, &memory);
}

TEST_MAIN("route", {"routes", routes}, {"lower ranks", lower_ranks}, {"votes", votes})
