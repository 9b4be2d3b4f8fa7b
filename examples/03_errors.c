/* 03_errors: what fails on one rank is the same error on all ranks, from the same call, which can then be repeated.
 *
 * Build:  mpicc 03_errors.c -o 03_errors $(pkg-config --cflags --libs mpisift)
 * Run:    mpirun -n 4 ./03_errors
 *
 * Output: 4 of 4 ranks got: callback failed: rank 3: reading failed: the file server does not answer
 *         4 of 4 ranks got: a rank reported a failure: rank 3: no memory left for the gradients
 *         trained on 1000 of 1000 samples in 20 steps */
#include <mpisift/mpisift.h>
#include <stdio.h>

static int rank, ranks;

struct reader {
  mpisift_ctx *ctx; /* for mpisift_explain() */
  int calls;
};

/* Its fourth call on the last rank fails. */
static int read_samples(void *user, int64_t n, const int64_t *ids, void *const *dst)
{
  struct reader *reader = user;

  if (++reader->calls == 4 && rank == ranks - 1) {
    mpisift_explain(reader->ctx, "the file server does not answer");
    return 1;
  }
  for (int64_t i = 0; i < n; i++)
    ((float *)dst[0])[i] = (float)ids[i];
  return 0;
}

/* Rank 0 tells its error, and how many ranks got the same. */
static void tell(const mpisift_ctx *ctx, mpisift_status status)
{
  int others = status, mine, same;

  MPI_Bcast(&others, 1, MPI_INT, 0, MPI_COMM_WORLD);
  mine = others == (int)status;
  MPI_Reduce(&mine, &same, 1, MPI_INT, MPI_SUM, 0, MPI_COMM_WORLD);
  if (rank == 0)
    printf("%d of %d ranks got: %s: %s\n", same, ranks, mpisift_strerror(status), mpisift_error(ctx));
}

/* The last rank's own work fails after batch 9: it says so in place of its next call. */
static mpisift_status call_next(mpisift_loader *loader, mpisift_batch *batch, mpisift_status before)
{
  if (before == MPISIFT_OK && batch->serial == 9 && rank == ranks - 1)
    return mpisift_loader_fail(loader, "no memory left for the gradients");
  return mpisift_loader_next(loader, batch);
}

int main(int argc, char **argv)
{
  const mpisift_field field = {.name = "x", .type = MPISIFT_F32};
  const mpisift_team team = {.comm = MPI_COMM_WORLD, .replica = MPI_COMM_NULL};
  struct reader reader = {0};
  mpisift_source source = {
      .user = &reader, .n = 1000, .block = 1, .n_fields = 1, .fields = &field, .read = read_samples};
  mpisift_status status = MPISIFT_ERR_STATE;
  mpisift_config config;
  mpisift_loader *loader;
  mpisift_batch batch;
  int failures = 0;

  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  mpisift_config_init(&config, sizeof config);
  config.policy = "all";
  config.global_batch_size = 50;
  mpisift_open(&team, NULL, NULL, 0, &reader.ctx);
  mpisift_loader_create(reader.ctx, &config, &source, NULL, NULL, &loader);
  while (status != MPISIFT_END_OF_EPOCH && failures < 3) {
    status = call_next(loader, &batch, status);
    if (status < 0) {
      failures++;
      tell(reader.ctx, status);
    }
  }
  if (rank == 0 && status == MPISIFT_END_OF_EPOCH)
    printf("trained on %d of 1000 samples in %d steps\n", (int)mpisift_loader_stats(loader, MPISIFT_RUN).trained,
           (int)mpisift_loader_stats(loader, MPISIFT_RUN).steps);
  mpisift_loader_destroy(&loader);
  mpisift_close(&reader.ctx);
  MPI_Finalize();
  return status != MPISIFT_END_OF_EPOCH;
}
