/* 04_replicas: models that are spread over several ranks, which then get the same batch.
 *
 * With an even number of ranks, two ranks hold a model together (tensor parallel), else each rank holds a whole one.
 *
 * Build:  mpicc 04_replicas.c -o 04_replicas $(pkg-config --cflags --libs mpisift)
 * Run:    mpirun -n 4 ./04_replicas
 *
 * Output: 2 replicas with 2 ranks each
 *         trained on 4992 of 6000 samples, with the same batches inside a replica: yes */
#include <mpisift/mpisift.h>
#include <stdio.h>
#include <string.h>

enum { N = 6000, WIDTH = 4, BATCH = 32 };
static const float weights[WIDTH] = {2, -1, 0.5f, -3};

/* Scoring may communicate: every rank calls it equally often, with the same number of rows. Each rank of a replica adds
 * its share of the output. */
static int score(void *user, const mpisift_batch *candidates, const mpisift_scores *scores)
{
  const MPI_Comm *replica = user;
  const float *x = candidates->data[0];
  int n = (int)candidates->n, part, parts;

  MPI_Comm_rank(*replica, &part);
  MPI_Comm_size(*replica, &parts);
  memset(scores->loss, 0, (size_t)n * sizeof *scores->loss);
  for (int i = 0; i < n; i++)
    for (int k = part; k < WIDTH; k += parts)
      scores->loss[i] += weights[k] * x[i * WIDTH + k];
  MPI_Allreduce(MPI_IN_PLACE, scores->loss, n, MPI_FLOAT, MPI_SUM, *replica);
  for (int i = 0; i < n; i++)
    scores->loss[i] *= scores->loss[i];
  return 0;
}

/* Whether the batch is that of the replica's rank 0. */
static int has_same_ids(const mpisift_batch *batch, MPI_Comm replica)
{
  int64_t ids[BATCH];

  memcpy(ids, batch->ids, (size_t)batch->n * sizeof *ids);
  MPI_Bcast(ids, (int)batch->n, MPI_INT64_T, 0, replica);
  return memcmp(ids, batch->ids, (size_t)batch->n * sizeof *ids) == 0;
}

int main(int argc, char **argv)
{
  static float x[N][WIDTH];
  const mpisift_field field = {"x", MPISIFT_F32, 1, {WIDTH}};
  const mpisift_arrays arrays = {N, 1, &field, (const void *const[]){x}};
  const mpisift_source source = mpisift_arrays_source(&arrays);
  mpisift_team team = {.comm = MPI_COMM_WORLD};
  mpisift_status status;
  mpisift_config config;
  mpisift_ctx *ctx;
  mpisift_loader *loader;
  mpisift_batch batch;
  int rank, ranks, parts, same = 1;

  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  for (int i = 0; i < N * WIDTH; i++)
    x[i / WIDTH][i % WIDTH] = (float)(i * 7919 % 1000) / 1000;
  parts = ranks % 2 == 0 ? 2 : 1;
  MPI_Comm_split(MPI_COMM_WORLD, rank / parts, rank, &team.replica);
  mpisift_config_init(&config, sizeof config);
  config.global_batch_size = BATCH;
  mpisift_open(&team, NULL, NULL, 0, &ctx);
  mpisift_loader_create(ctx, &config, &source, score, &team.replica, &loader);
  while ((status = mpisift_loader_next(loader, &batch)) == MPISIFT_OK)
    same &= has_same_ids(&batch, team.replica);
  if (status == MPISIFT_END_OF_EPOCH) {
    MPI_Allreduce(MPI_IN_PLACE, &same, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    if (rank == 0)
      printf(
          "%d replicas with %d ranks each\ntrained on %d of %d samples, with the same batches inside a replica: %s\n",
          ranks / parts, parts, (int)mpisift_loader_stats(loader, MPISIFT_RUN).trained, N, same ? "yes" : "no");
  } else {
    fprintf(stderr, "rank %d: %s: %s\n", rank, mpisift_strerror(status), mpisift_error(ctx));
  }
  mpisift_loader_destroy(&loader);
  mpisift_close(&ctx);
  MPI_Comm_free(&team.replica);
  MPI_Finalize();
  return status != MPISIFT_END_OF_EPOCH || !same;
}
