/* Reads a data set through a loader, as training would, and prints rows a second: read_loop FILE BATCH EPOCHS. The
 * first epoch, which fills the cache of the system, does not count. For h5py_loop.py, which reads the same file. */
#include <mpi.h>
#include <mpisift/mpisift.h>
#include <stdio.h>
#include <stdlib.h>

/* It keeps the reading from being left out. */
static volatile unsigned char touched;

static mpisift_status read_epoch(mpisift_loader *loader, int64_t *rows)
{
  mpisift_batch batch;
  mpisift_status status;

  *rows = 0;
  while ((status = mpisift_loader_next(loader, &batch)) == MPISIFT_OK) {
    *rows += batch.n;
    touched = *(const unsigned char *)batch.data[0];
  }
  return status == MPISIFT_END_OF_EPOCH ? MPISIFT_OK : status;
}

static mpisift_status read_file(mpisift_ctx *ctx, const char *path, int64_t batch, int epochs)
{
  mpisift_dataset *dataset = NULL;
  mpisift_loader *loader = NULL;
  mpisift_config config;
  mpisift_source source;
  mpisift_status status = mpisift_dataset_open(ctx, path, NULL, NULL, 0, 64 << 20, &dataset);

  if (status != MPISIFT_OK)
    return status;
  source = mpisift_dataset_source(dataset);
  mpisift_config_init(&config, sizeof config);
  config.policy = "all";
  config.batch_size = batch;
  config.end_of_epoch = MPISIFT_FLUSH;
  config.epochs = epochs;
  config.lanes = 16;
  status = mpisift_loader_create(ctx, &config, &source, NULL, NULL, &loader);
  for (int e = 0; e < epochs && status == MPISIFT_OK; e++) {
    double start = MPI_Wtime();
    int64_t rows;

    status = read_epoch(loader, &rows);
    if (e > 0)
      printf("%.0f\n", (double)rows / (MPI_Wtime() - start));
  }
  mpisift_loader_destroy(&loader);
  mpisift_dataset_close(&dataset);
  return status;
}

int main(int argc, char **argv)
{
  mpisift_team team;
  mpisift_ctx *ctx = NULL;
  mpisift_status status;

  MPI_Init(&argc, &argv);
  team = (mpisift_team){MPI_COMM_WORLD, MPI_COMM_NULL, 0};
  status = argc == 4 ? mpisift_open(&team, NULL, NULL, 0, &ctx) : MPISIFT_ERR_ARG;
  if (status == MPISIFT_OK)
    status = read_file(ctx, argv[1], atol(argv[2]), atoi(argv[3]));
  if (status != MPISIFT_OK)
    fprintf(stderr, "%s\n", ctx ? mpisift_error(ctx) : mpisift_strerror(status));
  mpisift_close(&ctx);
  MPI_Finalize();
  return status != MPISIFT_OK;
}
