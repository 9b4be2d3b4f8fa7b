/* 05_sifter: a data pipeline and a training loop of your own, which push candidates and take full batches.
 *
 * Samples are sequences of up to 16 tokens; the model is their mean. Each rank loads and scores every ranks-th sample.
 * The library decides, and moves accepted sequences, without their padding, so that all ranks train on as many.
 * Positions fix the order, so the output is the same for any number of ranks.
 *
 * Build:  mpicc 05_sifter.c -o 05_sifter $(pkg-config --cflags --libs mpisift)
 * Run:    mpirun -n 4 ./05_sifter
 *
 * Output: model 0.4927: accepted 5908 of 12000 sequences, trained on 5908 in 93 steps */
#include <mpisift/mpisift.h>
#include <stdio.h>

enum { N = 12000, SPAN = 480, LENGTH = 16 };
static double model;
static int rank, ranks;

/* Candidates of this rank, in your own memory. */
static int64_t ids[SPAN], positions[SPAN], lengths[SPAN];
static float tokens[SPAN][LENGTH], losses[SPAN];
static bool accepted[SPAN];

static double error_of(const float *sequence, int64_t length)
{
  double mean = 0;

  for (int64_t k = 0; k < length; k++)
    mean += (double)sequence[k] / (double)length;
  return model - mean;
}

/* Your pipeline and your forward pass: this rank's part of samples [first, first + SPAN). */
static int64_t load_and_score(int64_t first)
{
  int64_t n = 0;

  for (int64_t position = rank; position < SPAN; position += ranks, n++) {
    positions[n] = position;
    ids[n] = first + position;
    lengths[n] = 1 + ids[n] * 7919 % LENGTH;
    for (int64_t k = 0; k < lengths[n]; k++)
      tokens[n][k] = (float)((ids[n] * 31 + k * 17) % 100) / 100;
    losses[n] = (float)(error_of(tokens[n], lengths[n]) * error_of(tokens[n], lengths[n]));
  }
  return n;
}

/* Push candidates, and count what is accepted. */
static mpisift_status push(mpisift_sifter *sifter, int64_t n, int64_t *count)
{
  const mpisift_candidates candidates = {.n = n,
                                         .ids = ids,
                                         .positions = positions,
                                         .losses = losses,
                                         .loss_type = MPISIFT_F32,
                                         .records = (const void *const[]){tokens},
                                         .lengths = (const int64_t *const[]){lengths}};
  mpisift_status status = mpisift_sifter_push(sifter, &candidates, &(mpisift_decisions){.accepted = accepted});

  for (int64_t i = 0; status == MPISIFT_OK && i < n; i++)
    *count += accepted[i];
  return status;
}

/* A step on each batch that is ready. Returns MPISIFT_MORE, MPISIFT_END_OF_EPOCH or an error. */
static mpisift_status train(mpisift_sifter *sifter, int64_t *count)
{
  mpisift_status status;
  mpisift_batch b;

  while ((status = mpisift_sifter_next(sifter, &b)) == MPISIFT_OK) {
    double gradient = 0;

    for (int64_t i = 0; i < b.n; i++)
      gradient += 2 * error_of((float *)b.data[0] + i * LENGTH, b.lengths[0][i]);
    MPI_Allreduce(MPI_IN_PLACE, &gradient, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    model -= 0.05 * gradient / (double)b.global_n;
    *count += b.n;
  }
  return status;
}

int main(int argc, char **argv)
{
  const mpisift_field field = {"tokens", MPISIFT_F32, 1, {LENGTH}};
  const mpisift_pushes pushes = {
      .max_candidates = SPAN, .max_span = SPAN, .n_fields = 1, .fields = &field, .padded = (const bool[]){true}};
  int64_t counts[2] = {0, 0}; /* accepted, and trained, by this rank */
  mpisift_status status;
  mpisift_config config;
  mpisift_ctx *ctx;
  mpisift_sifter *sifter;

  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  mpisift_config_init(&config, sizeof config);
  config.global_batch_size = 64;
  config.loss_history_length = 960;
  config.end_of_epoch = MPISIFT_FLUSH;
  mpisift_open(&(mpisift_team){MPI_COMM_WORLD, MPI_COMM_NULL, 0}, NULL, NULL, 0, &ctx);
  status = mpisift_sifter_create(ctx, &config, &pushes, &sifter);
  for (int64_t first = 0; first < N && status >= 0; first += SPAN)
    if ((status = push(sifter, load_and_score(first), &counts[0])) == MPISIFT_OK)
      status = train(sifter, &counts[1]);
  if (status >= 0 && (status = mpisift_sifter_end_epoch(sifter)) == MPISIFT_OK)
    status = train(sifter, &counts[1]);
  MPI_Allreduce(MPI_IN_PLACE, counts, 2, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
  if (rank == 0 && status == MPISIFT_END_OF_EPOCH)
    printf("model %.4f: accepted %d of %d sequences, trained on %d in %d steps\n", model, (int)counts[0], N,
           (int)counts[1], (int)mpisift_sifter_stats(sifter, MPISIFT_RUN).steps);
  if (status < 0)
    fprintf(stderr, "rank %d: %s: %s\n", rank, mpisift_strerror(status), mpisift_error(ctx));
  mpisift_sifter_destroy(&sifter);
  mpisift_close(&ctx);
  MPI_Finalize();
  return status < 0;
}
