/* 07_index_plan: a training loop that keeps its own reader, and asks only which samples come next.
 *
 * No forward pass scores samples: the plan of an epoch goes by the losses with which they were trained last. It says
 * how many steps the epoch has, so that the learning rate can follow, and samples that are left out are never read.
 * Gradients are summed as integers, so the output is the same for any number of ranks.
 *
 * Build:  mpicc 07_index_plan.c -o 07_index_plan $(pkg-config --cflags --libs mpisift) -lm
 * Run:    mpirun -n 4 ./07_index_plan
 *
 * Output:
 * epoch 0: 156 steps, 0 samples left out
 * epoch 4: 78 steps, 4983 samples left out
 * model -16.35 16.35 16.35, after 30272 samples of 50000 */
#include <math.h>
#include <mpisift/mpisift.h>
#include <stdio.h>
enum { N = 10000, CHUNK = 100, MOST = 64 };
static double model[3]; /* of a logistic regression */
static int64_t n_read;

/* Your reader. Here sample `id` is a point of the unit square, of class 1 above the diagonal. */
static int read_sample(int64_t id, double x[3])
{
  x[0] = 1;
  x[1] = (double)(id * 7919 % N) / N;
  x[2] = (double)(id * 104729 % 9973) / 9973;
  n_read++;
  return x[1] + x[2] > 1;
}

/* Your forward and backward pass over the ids of a batch: losses, and gradients added up in units of 2^-32. */
static void pass(const mpisift_batch *b, float *losses, int64_t gradient[3])
{
  for (int64_t i = 0; i < b->n; i++) {
    double x[3], label = read_sample(b->ids[i], x), z = model[0] + model[1] * x[1] + model[2] * x[2];
    double p = 1 / (1 + exp(-z));

    losses[i] = (float)log1p(exp(label > 0 ? -z : z));
    for (int k = 0; k < 3; k++)
      gradient[k] += llrint((double)b->weights[i] * (p - label) * x[k] * 0x1p32);
  }
}

/* Train the epoch that has been planned. Returns MPISIFT_END_OF_EPOCH or an error. */
static mpisift_status train(mpisift_indices *indices)
{
  mpisift_status status;
  mpisift_batch b;

  while ((status = mpisift_indices_next(indices, &b)) == MPISIFT_OK) {
    double rate = 10 * (1 - mpisift_indices_fraction(indices)); /* falls to 0 with the last step of the run */
    int64_t gradient[3] = {0, 0, 0};
    float losses[MOST];
    pass(&b, losses, gradient);
    MPI_Allreduce(MPI_IN_PLACE, gradient, 3, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
    for (int k = 0; k < 3; k++)
      model[k] -= rate * (double)gradient[k] * 0x1p-32 / (double)b.global_n;
    if (mpisift_indices_report(indices, b.serial, 0, b.n, losses, 1) != MPISIFT_OK)
      mpisift_indices_fail(indices, "a report was refused"); /* the others learn it with one of their next calls */
  }
  return status;
}

int main(int argc, char **argv)
{
  mpisift_index_epoch epoch;
  mpisift_indices *indices;
  mpisift_config config;
  mpisift_status status;
  mpisift_ctx *ctx;
  int rank;

  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  mpisift_config_init(&config, sizeof config);
  config.policy = "stale_relative";
  config.floor = 0.1; /* what has a low loss is looked at again in one of ten epochs or so */
  config.global_batch_size = MOST;
  config.epochs = 5;
  mpisift_open(&(mpisift_team){MPI_COMM_WORLD, MPI_COMM_NULL, 0}, NULL, NULL, 0, &ctx);
  status = mpisift_indices_create(ctx, &config, N, CHUNK, &indices);
  for (int e = 0; e < config.epochs && status >= 0; e++) {
    status = mpisift_indices_begin_epoch(indices, N, &epoch);
    if (status == MPISIFT_OK)
      status = train(indices);
    if (status >= 0 && rank == 0)
      printf("epoch %d: %d steps, %d samples left out\n", e, (int)epoch.steps, (int)epoch.sifted_out);
  }
  MPI_Allreduce(MPI_IN_PLACE, &n_read, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
  if (rank == 0 && status >= 0)
    printf("model %.2f %.2f %.2f, after %d samples of %d\n", model[0], model[1], model[2], (int)n_read, 5 * N);
  if (status < 0)
    fprintf(stderr, "rank %d: %s: %s\n", rank, mpisift_strerror(status), mpisift_error(ctx));
  mpisift_indices_destroy(&indices);
  mpisift_close(&ctx);
  MPI_Finalize();
  return status < 0;
}
