/* 01_train: fit y = 3x, and train on a third of the candidates, mostly on those that err most.
 *
 * Build:  mpicc 01_train.c -o 01_train $(pkg-config --cflags --libs mpisift)
 * Run:    mpirun -n 4 ./01_train
 *
 * The output is the same for any number of ranks.
 *
 * Output: w = 2.9962, trained on 9024 of 30000 candidates */
#include <mpisift/mpisift.h>
#include <stdio.h>

static double w; /* the model: y = w x */

static int score(void *user, const mpisift_batch *candidates, const mpisift_scores *scores)
{
  const float *x = candidates->data[0];

  (void)user;
  for (int64_t i = 0; i < candidates->n; i++)
    scores->loss[i] = (float)((w - 3) * x[i] * (w - 3) * x[i]);
  return 0;
}

static void train(const mpisift_batch *batch)
{
  const float *x = batch->data[0];
  double gradient = 0;

  for (int64_t i = 0; i < batch->n; i++)
    gradient += 2 * (w - 3) * x[i] * x[i];
  MPI_Allreduce(MPI_IN_PLACE, &gradient, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  w -= 0.02 * gradient / (double)batch->global_n;
}

int main(int argc, char **argv)
{
  static float x[30000];
  const mpisift_field field = {.name = "x", .type = MPISIFT_F32};
  const mpisift_arrays arrays = {30000, 1, &field, (const void *const[]){x}};
  const mpisift_source source = mpisift_arrays_source(&arrays);
  const mpisift_team team = {.comm = MPI_COMM_WORLD, .replica = MPI_COMM_NULL};
  mpisift_config config;
  mpisift_ctx *ctx;
  mpisift_loader *loader;
  mpisift_batch batch;
  mpisift_status status;
  int rank;

  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  for (int i = 0; i < 30000; i++)
    x[i] = (float)i / 30000;
  mpisift_config_init(&config, sizeof config);
  config.beta = 2; /* keep 1 / (1 + beta) */
  config.loss_history_length = 512;
  config.global_batch_size = 32;
  mpisift_open(&team, NULL, NULL, 0, &ctx);
  mpisift_loader_create(ctx, &config, &source, score, NULL, &loader);
  while ((status = mpisift_loader_next(loader, &batch)) == MPISIFT_OK)
    train(&batch);
  if (status != MPISIFT_END_OF_EPOCH)
    fprintf(stderr, "rank %d: %s: %s\n", rank, mpisift_strerror(status), mpisift_error(ctx));
  else if (rank == 0)
    printf("w = %.4f, trained on %d of 30000 candidates\n", w, (int)mpisift_loader_stats(loader, MPISIFT_RUN).trained);
  mpisift_loader_destroy(&loader);
  mpisift_close(&ctx);
  MPI_Finalize();
  return status != MPISIFT_END_OF_EPOCH;
}
