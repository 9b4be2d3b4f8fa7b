/* 02_wrap_a_stream: sift what a data pipeline of your own delivers.
 *
 * Each rank draws from a generator that runs dry after 1000 + 100 · rank samples. Yet all ranks make the same number of
 * steps, on batches of one size; only those of the last step, the flushed one, may differ, and by one sample.
 *
 * Build:  mpicc 02_wrap_a_stream.c -o 02_wrap_a_stream $(pkg-config --cflags --libs mpisift)
 * Run:    mpirun -n 4 ./02_wrap_a_stream
 *
 * Output: epoch 0: drawn 1000 to 1300, trained 641 to 641 in 41 to 41 steps a rank
 *         epoch 1: drawn 1000 to 1300, trained 576 to 577 in 37 to 37 steps a rank */
#include <mpisift/mpisift.h>
#include <stdio.h>

struct generator {
  int64_t rank, drawn, length;
};

static int begin_epoch(void *user, int64_t epoch)
{
  (void)epoch;
  ((struct generator *)user)->drawn = 0;
  return 0;
}

/* Up to `want` samples; fewer say that the epoch ends here on this rank. Ids are ours to choose, but should be unique,
 * since chance is drawn from them. */
static int pull(void *user, int64_t want, int64_t *got, int64_t *ids, void *const *dst)
{
  struct generator *g = user;
  float *x = dst[0];

  for (*got = 0; *got < want && g->drawn < g->length; ++*got) {
    ids[*got] = g->rank * 1000000 + g->drawn++;
    x[*got] = (float)(ids[*got] * 7919 % 1000) / 1000;
  }
  return 0;
}

static int score(void *user, const mpisift_batch *candidates, const mpisift_scores *scores)
{
  (void)user;
  for (int64_t i = 0; i < candidates->n; i++)
    scores->loss[i] = ((const float *)candidates->data[0])[i];
  return 0;
}

/* Print the smallest and the largest count of all ranks. */
static void print_spread(int64_t rank, int epoch, const int64_t counts[3])
{
  int64_t least[3], most[3];

  MPI_Reduce(counts, least, 3, MPI_INT64_T, MPI_MIN, 0, MPI_COMM_WORLD);
  MPI_Reduce(counts, most, 3, MPI_INT64_T, MPI_MAX, 0, MPI_COMM_WORLD);
  if (rank == 0)
    printf("epoch %d: drawn %d to %d, trained %d to %d in %d to %d steps a rank\n", epoch, (int)least[0], (int)most[0],
           (int)least[1], (int)most[1], (int)least[2], (int)most[2]);
}

int main(int argc, char **argv)
{
  const mpisift_field field = {.name = "x", .type = MPISIFT_F32};
  const mpisift_team team = {.comm = MPI_COMM_WORLD, .replica = MPI_COMM_NULL};
  struct generator g;
  mpisift_source source = {
      .user = &g, .n = -1, .n_fields = 1, .fields = &field, .pull = pull, .begin_epoch = begin_epoch};
  mpisift_status status = MPISIFT_END_OF_EPOCH;
  mpisift_config config;
  mpisift_ctx *ctx;
  mpisift_loader *loader;
  mpisift_batch batch;
  int rank;

  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  g = (struct generator){.rank = rank, .length = 1000 + 100 * rank};
  mpisift_config_init(&config, sizeof config);
  config.epochs = 2;
  config.batch_size = 16;
  config.loss_history_length = 500;
  config.end_of_epoch = MPISIFT_FLUSH;
  mpisift_open(&team, NULL, NULL, 0, &ctx);
  mpisift_loader_create(ctx, &config, &source, score, NULL, &loader);
  for (int epoch = 0; epoch < 2 && status == MPISIFT_END_OF_EPOCH; epoch++) {
    int64_t trained = 0, steps = 0;

    for (; (status = mpisift_loader_next(loader, &batch)) == MPISIFT_OK; steps++)
      trained += batch.n; /* your training step comes here */
    print_spread(rank, epoch, (int64_t[]){g.drawn, trained, steps});
  }
  if (status != MPISIFT_END_OF_EPOCH)
    fprintf(stderr, "rank %d: %s: %s\n", rank, mpisift_strerror(status), mpisift_error(ctx));
  mpisift_loader_destroy(&loader);
  mpisift_close(&ctx);
  MPI_Finalize();
  return status != MPISIFT_END_OF_EPOCH;
}
