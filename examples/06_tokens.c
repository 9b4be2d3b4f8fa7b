/* 06_tokens: a file of tokens, cut into sequences that overlap by one, and a model that counts pairs of tokens.
 *
 * Sequence i is tokens 64 i to 64 i + 64 of the file: the model sees 64 of them, field x, and is to predict the one
 * behind each, field y. A quarter of the sequences is noisier than the others.
 *
 * Build:  mpicc 06_tokens.c -o 06_tokens $(pkg-config --cflags --libs mpisift) -lm
 * Run:    mpirun -n 4 ./06_tokens
 *
 * The output is the same for any number of ranks.
 *
 * Output: 6 follows 1 with probability 0.737, learnt from 2200 of 4000 sequences */
#include <math.h>
#include <mpisift/mpisift.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { V = 16, T = 64, SEQUENCES = 4000 };
static double counts[V * V], sums[V]; /* the model: y follows x with probability counts[x V + y] / sums[x] */

/* What a tokenizer would leave: uint16 tokens behind a header of 8 bytes. */
static void write_tokens(char *path)
{
  FILE *file = fdopen(mkstemp(path), "wb");
  uint32_t chance = 1;
  uint16_t token = 1;

  fwrite("tokens16", 1, 8, file);
  for (int i = 0; i <= SEQUENCES * T; i++) {
    fwrite(&token, sizeof token, 1, file);
    chance = chance * 1664525 + 1013904223;
    token = (uint16_t)(chance % 4096 < 256 ? chance >> 24 : token * 5U + (i / T % 4 == 0 ? chance >> 31 : 1)) % V;
  }
  fclose(file);
}

static int score(void *user, const mpisift_batch *b, const mpisift_scores *scores)
{
  const uint16_t *x = b->data[0], *y = b->data[1];

  for (int64_t i = 0; i < b->valid; i++) {
    scores->loss[i] = 0;
    for (int64_t k = i * T; k < (i + 1) * T; k++)
      scores->loss[i] -= (float)log(counts[x[k] * V + y[k]] / sums[x[k]]) / T;
  }
  return user != NULL;
}

static void train(const mpisift_batch *b)
{
  const uint16_t *x = b->data[0], *y = b->data[1];
  double seen[V * V] = {0};

  for (int64_t k = 0; k < b->n * T; k++)
    seen[x[k] * V + y[k]]++;
  MPI_Allreduce(MPI_IN_PLACE, seen, V * V, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  for (int k = 0; k < V * V; k++) {
    counts[k] += seen[k];
    sums[k / V] += seen[k];
  }
}

int main(void)
{
  const mpisift_field fields[] = {{"x", MPISIFT_U16, 1, {T}}, {"y", MPISIFT_U16, 1, {T}}};
  char path[] = "/tmp/tokens-XXXXXX"; /* on one machine; else a folder that all ranks see */
  const char *paths[] = {path};
  mpisift_row_files files = {.paths = paths, .n_paths = 1, .header = 8, .stride = 2 * T, .row = 2 * (T + 1)};
  mpisift_config config;
  mpisift_ctx *ctx;
  mpisift_rows *rows;
  mpisift_loader *loader;
  mpisift_batch b;
  int rank;

  MPI_Init(NULL, NULL);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (rank == 0)
    write_tokens(path);
  MPI_Bcast(path, sizeof path, MPI_CHAR, 0, MPI_COMM_WORLD);
  for (int k = 0; k < V * V; k++)
    sums[k / V] += counts[k] = 1;
  mpisift_config_init(&config, sizeof config);
  config.global_batch_size = 40;
  config.loss_history_length = 400;
  files.n_fields = 2;
  files.fields = fields;
  files.offsets = (const int64_t[]){0, 2}; /* y is x, one token later */
  mpisift_open(&(mpisift_team){MPI_COMM_WORLD, MPI_COMM_NULL, 0}, NULL, NULL, 0, &ctx);
  if (mpisift_rows_open(ctx, &files, &rows) != MPISIFT_OK)
    return fprintf(stderr, "%s\n", mpisift_error(ctx));
  mpisift_source source = mpisift_rows_source(rows);
  if (mpisift_loader_create(ctx, &config, &source, score, NULL, &loader) != MPISIFT_OK)
    return fprintf(stderr, "%s\n", mpisift_error(ctx));
  while (mpisift_loader_next(loader, &b) == MPISIFT_OK)
    train(&b);
  if (rank == 0)
    printf("6 follows 1 with probability %.3f, learnt from %d of %d sequences\n", counts[V + 6] / sums[1],
           (int)mpisift_loader_stats(loader, MPISIFT_RUN).trained, (int)source.n);
  mpisift_loader_destroy(&loader);
  mpisift_rows_close(&rows);
  mpisift_close(&ctx);
  MPI_Finalize();
  return rank == 0 && unlink(path) != 0;
}
