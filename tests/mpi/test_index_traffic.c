/* What index plans say to other ranks: 8 bytes in the background of a step, and once an epoch, in bulk, the kept
 * samples and the reports, to no rank more than its share. MPI's functions are counted on their way. And what a rank
 * holds in an epoch: its share, too. */
#include <stdlib.h>

#include "api/indices.h"
#include "indexing.h"

static struct {
  int64_t votes, vote_bytes; /* reductions in the background */
  int64_t waiting;           /* collectives in the caller's way */
  int64_t bulk;              /* bytes sent to other ranks */
} count;

int MPI_Iallreduce(const void *from, void *to, int n, MPI_Datatype type, MPI_Op op, MPI_Comm comm, MPI_Request *request)
{
  int size;

  PMPI_Type_size(type, &size);
  count.votes++;
  count.vote_bytes += (int64_t)n * size;
  return PMPI_Iallreduce(from, to, n, type, op, comm, request);
}

int MPI_Allreduce(const void *from, void *to, int n, MPI_Datatype type, MPI_Op op, MPI_Comm comm)
{
  count.waiting++;
  return PMPI_Allreduce(from, to, n, type, op, comm);
}

int MPI_Sendrecv(const void *out, int n_out, MPI_Datatype type, int to, int tag, void *in, int n_in,
                 MPI_Datatype type_in, int from, int tag_in, MPI_Comm comm, MPI_Status *status)
{
  int size;

  PMPI_Type_size(type, &size);
  count.bulk += (int64_t)n_out * size;
  return PMPI_Sendrecv(out, n_out, type, to, tag, in, n_in, type_in, from, tag_in, comm, status);
}

/* An epoch's steps; returns the rows of this rank. */
static int64_t train(mpisift_indices *x, const struct index_world *w, int64_t steps)
{
  int64_t rows = 0;
  mpisift_batch b;

  memset(&count, 0, sizeof count);
  for (int64_t k = 0; k < steps; k++) {
    CU_ASSERT_EQUAL_FATAL(mpisift_indices_next(x, &b), MPISIFT_OK);
    CU_ASSERT_EQUAL(count.votes, k + 1);
    for (int64_t i = 0; i < b.valid; i++) {
      float loss = index_loss(w, b.ids[i], b.epoch);

      CU_ASSERT_EQUAL(mpisift_indices_report(x, b.serial, i, 1, &loss, 1), MPISIFT_OK);
    }
    rows += b.valid;
  }
  CU_ASSERT_EQUAL(count.vote_bytes, 8 * steps);
  CU_ASSERT_EQUAL(count.waiting, 0);
  CU_ASSERT_EQUAL(count.bulk, 0);
  CU_ASSERT_EQUAL(mpisift_indices_next(x, &b), MPISIFT_END_OF_EPOCH);
  return rows;
}

/* Of a sample of the table, its row and its receipt, 20, 36 and 40 bytes; and, whatever their number, histories. */
static void check_held(const mpisift_ctx *ctx, const struct index_world *w, const mpisift_index_epoch *epoch)
{
  double expected = (20 * (double)w->n + 36 * (double)epoch->accepted + 40 * (double)w->n) / test_size;

  CU_ASSERT((double)ctx->memory.bytes < 1.01 * expected + (5 << 16));
}

/* A kept sample travels twice, 40 bytes each, and a report once, in 32, all but the rank's own: places and batches lie
 * on the ranks in the same order, so that hardly any travels between these. */
static void traffic(void)
{
  struct index_world w = index_world_make("traffic", "stale_relative");
  mpisift_ctx *ctx = open_indexing();
  mpisift_indices *x = NULL;
  mpisift_index_epoch epoch;
  int64_t reported = 0;

  w.n = 60000;
  w.config.global_batch_size = 48;
  w.config.report_lag = 0;
  w.config.end_of_epoch = MPISIFT_DROP;
  CU_ASSERT_EQUAL_FATAL(mpisift_indices_create(ctx, &w.config, w.n, w.block, &x), MPISIFT_OK);
  for (int e = 0; e < 3; e++) {
    int64_t bulk;
    double expected;

    memset(&count, 0, sizeof count);
    CU_ASSERT_EQUAL_FATAL(mpisift_indices_begin_epoch(x, w.n, &epoch), MPISIFT_OK);
    bulk = count.bulk;
    expected = (80 * (double)epoch.accepted + 32 * (double)reported) / test_size * (test_size - 1) / test_size;
    CU_ASSERT((double)bulk <= 1.05 * expected && (double)bulk >= 0.95 * expected);
    check_held(ctx, &w, &epoch);
    reported = epoch.steps * 48;
    train(x, &w, epoch.steps);
  }
  CU_ASSERT_EQUAL(mpisift_indices_destroy(&x), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

TEST_MAIN("index traffic", {"traffic", traffic})
