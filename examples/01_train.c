/* 01_train: fit y = 3x and train on the third of the candidates that still errs most.
 *
 * Build:  mpicc 01_train.c -o 01_train $(pkg-config --cflags --libs mpisift)
 * Run:    mpirun -n 4 ./01_train
 *
 * The output is the same for any number of ranks.
 *
 * Output: epoch 0: trained on 3200 of 10000 candidates, w = 2.6790
 *         epoch 1: trained on 2944 of 10000 candidates, w = 2.9656
 *         epoch 2: trained on 2912 of 10000 candidates, w = 2.9963 */
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
  static float x[10000];
  const mpisift_field field = {.name = "x", .type = MPISIFT_F32};
  const mpisift_arrays arrays = {10000, 1, &field, (const void *const[]){x}};
  const mpisift_source source = mpisift_arrays_source(&arrays);
  const mpisift_team team = {.comm = MPI_COMM_WORLD, .replica = MPI_COMM_NULL};
  mpisift_status status = MPISIFT_END_OF_EPOCH;
  mpisift_config config;
  mpisift_ctx *ctx;
  mpisift_loader *loader;
  mpisift_batch batch;
  int rank;

  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  for (int i = 0; i < 10000; i++)
    x[i] = (float)i / 10000;
  mpisift_config_init(&config, sizeof config);
  config.epochs = 3;
  config.beta = 2; /* keeps 1 / (1 + beta) of the candidates */
  config.loss_history_length = 512;
  config.global_batch_size = 32;
  mpisift_open(&team, NULL, NULL, 0, &ctx);
  mpisift_loader_create(ctx, &config, &source, score, NULL, &loader);
  for (int epoch = 0; epoch < 3 && status == MPISIFT_END_OF_EPOCH; epoch++) {
    while ((status = mpisift_loader_next(loader, &batch)) == MPISIFT_OK)
      train(&batch);
    if (rank == 0 && status == MPISIFT_END_OF_EPOCH)
      printf("epoch %d: trained on %d of 10000 candidates, w = %.4f\n", epoch,
             (int)mpisift_loader_stats(loader, MPISIFT_EPOCH).trained, w);
  }
  if (status != MPISIFT_END_OF_EPOCH)
    printf("rank %d: %s: %s\n", rank, mpisift_strerror(status), mpisift_error(ctx));
  mpisift_loader_destroy(&loader);
  mpisift_close(&ctx);
  MPI_Finalize();
  return status != MPISIFT_END_OF_EPOCH;
}
