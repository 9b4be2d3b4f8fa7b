/* 08_gpu_train: a classifier trained on GPUs, data parallel, with sifting on them too: samples go up once; scores,
 * decisions, batches, their exchange and the gradients' sums stay on the devices.
 *
 * A perceptron with one hidden layer: cuBLAS for the products, kernels of its own (08_gpu_kernels.cu) for the rest,
 * NCCL for sums of gradients, and all on one stream, with one communicator, which the loader uses too. One device a
 * rank.
 *
 * Build:  nvcc -O3 -c 08_gpu_kernels.cu
 *         mpicc 08_gpu_train.c 08_gpu_kernels.o -o 08_gpu_train $(pkg-config --cflags --libs mpisift) \
 *           -I$CUDA_HOME/include -L$CUDA_HOME/lib64 -lcublas -lnccl -lcudart -lstdc++ -lm
 * Run:    mpirun -n 4 ./08_gpu_train data/shuttle.h5
 *
 * It exits with 77 where there is no device, or not one for each rank. Where cuBLAS does not run, such as on stand-ins
 * for the CUDA runtime, products are made by a plain kernel, and the run is short. */
#include <cublas_v2.h>
#include <math.h>
#include <mpisift/cuda.h>
#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>

#include "08_gpu_kernels.h"

#ifndef SHUTTLE
#define SHUTTLE "data/shuttle.h5"
#endif

enum { FEATURES = 9, HIDDEN = 64, CLASSES = 7, BATCH = 256, EPOCHS = 3, FIRST_ROWS = 4096, SHORT = 16 };

/* Where the parameters are, and the gradients likewise. */
enum {
  WEIGHTS_1 = 0,
  BIAS_1 = WEIGHTS_1 + FEATURES * HIDDEN,
  WEIGHTS_2 = BIAS_1 + HIDDEN,
  BIAS_2 = WEIGHTS_2 + HIDDEN * CLASSES,
  PARAMETERS = BIAS_2 + CLASSES
};

struct training {
  int rank, ranks, max_rows;
  mpisift_ctx *ctx;
  cudaStream_t stream;
  ncclComm_t nccl;
  cublasHandle_t cublas; /* NULL: it does not run here */
  float *parameters, *gradients, *velocity, *mean, *scale;
  float *x, *hidden, *hidden_gradient, *logits; /* of max_rows rows */
};

static void fail(const char *what, const char *why)
{
  fprintf(stderr, "%s: %s\n", what, why);
  MPI_Abort(MPI_COMM_WORLD, 1);
}

static void cuda(cudaError_t code, const char *what)
{
  if (code != cudaSuccess)
    fail(what, cudaGetErrorString(code));
}

static void check(const struct training *t, mpisift_status status)
{
  if (status < 0)
    fail(mpisift_strerror(status), mpisift_error(t->ctx));
}

static void *on_device(const struct training *t, size_t n, size_t size)
{
  void *block = NULL;

  cuda(cudaMalloc(&block, n * size), "cudaMalloc");
  cuda(cudaMemsetAsync(block, 0, n * size, t->stream), "cudaMemsetAsync");
  return block;
}

static void upload(const struct training *t, void *to, const void *from, size_t bytes)
{
  cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, t->stream), "uploading");
}

/* c [n][m] = a [n][k] b [k][m]. To cuBLAS, which goes by columns, our matrices are turned: c' = b' a'. */
static void multiply(const struct training *t, int n, int m, int k, const float *a, int a_turned, const float *b,
                     int b_turned, float *c)
{
  const float one = 1, zero = 0;

  if (t->cublas == NULL)
    gpu_product(t->stream, n, m, k, a, a_turned, b, b_turned, c);
  else if (n > 0 &&
           cublasSgemm(t->cublas, b_turned ? CUBLAS_OP_T : CUBLAS_OP_N, a_turned ? CUBLAS_OP_T : CUBLAS_OP_N, m, n, k,
                       &one, b, b_turned ? k : m, a, a_turned ? n : k, &zero, c, m) != CUBLAS_STATUS_SUCCESS)
    fail("cublasSgemm", "it failed");
}

static void forward(const struct training *t, int n, const float *x)
{
  const float *p = t->parameters;

  gpu_standardise(t->stream, n, FEATURES, x, t->mean, t->scale, t->x);
  multiply(t, n, HIDDEN, FEATURES, t->x, 0, p + WEIGHTS_1, 0, t->hidden);
  gpu_add_bias(t->stream, n, HIDDEN, p + BIAS_1, 1, t->hidden);
  multiply(t, n, CLASSES, HIDDEN, t->hidden, 0, p + WEIGHTS_2, 0, t->logits);
  gpu_add_bias(t->stream, n, CLASSES, p + BIAS_2, 0, t->logits);
}

/* Step 3: candidates are scored where they are. Nothing waits. */
static int score(void *user, const mpisift_batch *b, const mpisift_scores *scores)
{
  const struct training *t = user;

  forward(t, (int)b->valid, b->data[0]);
  return mpisift_losses_cuda(t->ctx, NULL, b->valid, CLASSES, (mpisift_values){t->logits, MPISIFT_F32, CLASSES},
                             (mpisift_values){b->data[1], MPISIFT_U8, 1}, scores, t->stream) != MPISIFT_OK;
}

/* Step 4: a training step on the batch, as it comes from the loader. Nothing waits here either. */
static void train(const struct training *t, const mpisift_batch *b)
{
  float *g = t->gradients;
  int n = (int)b->valid;

  forward(t, n, b->data[0]);
  gpu_softmax_gradient(t->stream, n, CLASSES, b->data[1], 1 / (float)b->global_n, t->logits);
  multiply(t, HIDDEN, CLASSES, n, t->hidden, 1, t->logits, 0, g + WEIGHTS_2);
  gpu_column_sums(t->stream, n, CLASSES, t->logits, g + BIAS_2);
  multiply(t, n, HIDDEN, CLASSES, t->logits, 0, t->parameters + WEIGHTS_2, 1, t->hidden_gradient);
  gpu_relu_gradient(t->stream, n * HIDDEN, t->hidden, t->hidden_gradient);
  multiply(t, FEATURES, HIDDEN, n, t->x, 1, t->hidden_gradient, 0, g + WEIGHTS_1);
  gpu_column_sums(t->stream, n, HIDDEN, t->hidden_gradient, g + BIAS_1);
  if (ncclAllReduce(g, g, PARAMETERS, ncclFloat32, ncclSum, t->nccl, t->stream) != ncclSuccess)
    fail("ncclAllReduce", ncclGetLastError(t->nccl));
  gpu_update(t->stream, PARAMETERS, 0.9F, 0.05F, g, t->velocity, t->parameters);
  cuda(cudaGetLastError(), "a kernel");
}

/* Step 1: a device and a stream for this rank, and NCCL. Returns whether they are to be had. */
static int open_device(struct training *t)
{
  ncclUniqueId id = {{0}};
  int devices = 0, local_rank, have;
  MPI_Comm node;

  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  MPI_Comm_rank(node, &local_rank);
  MPI_Comm_free(&node);
  have = cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0 &&
         cudaSetDevice(local_rank % devices) == cudaSuccess && cudaStreamCreate(&t->stream) == cudaSuccess;
  MPI_Allreduce(MPI_IN_PLACE, &have, 1, MPI_INT, MPI_LAND, MPI_COMM_WORLD);
  if (!have)
    return 0;
  if (t->rank == 0)
    ncclGetUniqueId(&id);
  MPI_Bcast(&id, sizeof id, MPI_BYTE, 0, MPI_COMM_WORLD);
  have = ncclCommInitRank(&t->nccl, t->ranks, id, t->rank) == ncclSuccess;
  MPI_Allreduce(MPI_IN_PLACE, &have, 1, MPI_INT, MPI_LAND, MPI_COMM_WORLD);
  if (cublasCreate(&t->cublas) != CUBLAS_STATUS_SUCCESS ||
      cublasSetStream(t->cublas, t->stream) != CUBLAS_STATUS_SUCCESS)
    t->cublas = NULL;
  return have;
}

/* Mean and deviation of the features, from the first rows: the same on all ranks. */
static void standardisation(const struct training *t, const mpisift_source *source)
{
  static float x[FIRST_ROWS][FEATURES], mean[FEATURES], scale[FEATURES];
  static unsigned char y[FIRST_ROWS];
  static int64_t ids[FIRST_ROWS];

  for (int i = 0; i < FIRST_ROWS; i++)
    ids[i] = i;
  if (source->read(source->user, FIRST_ROWS, ids, (void *[]){x, y}) != 0)
    fail("reading", mpisift_error(t->ctx));
  for (int k = 0; k < FEATURES; k++) {
    double sum = 0, squares = 0;

    for (int i = 0; i < FIRST_ROWS; i++) {
      sum += x[i][k];
      squares += (double)x[i][k] * x[i][k];
    }
    mean[k] = (float)(sum / FIRST_ROWS);
    scale[k] = (float)(1 / sqrt(squares / FIRST_ROWS - (double)mean[k] * mean[k] + 1e-6));
  }
  upload(t, t->mean, mean, sizeof mean);
  upload(t, t->scale, scale, sizeof scale);
}

static void make_model(struct training *t)
{
  static float start[PARAMETERS];
  uint32_t chance = 1;

  for (int i = 0; i < PARAMETERS; i++) {
    float width = i < BIAS_1 ? sqrtf(6.0F / FEATURES) : i >= WEIGHTS_2 && i < BIAS_2 ? sqrtf(6.0F / HIDDEN) : 0;

    chance = chance * 1664525 + 1013904223;
    start[i] = width * ((float)(chance >> 8) / (1 << 23) - 1);
  }
  t->parameters = on_device(t, PARAMETERS, sizeof(float));
  t->gradients = on_device(t, PARAMETERS, sizeof(float));
  t->velocity = on_device(t, PARAMETERS, sizeof(float));
  t->mean = on_device(t, FEATURES, sizeof(float));
  t->scale = on_device(t, FEATURES, sizeof(float));
  t->x = on_device(t, (size_t)t->max_rows * FEATURES, sizeof(float));
  t->hidden = on_device(t, (size_t)t->max_rows * HIDDEN, sizeof(float));
  t->hidden_gradient = on_device(t, (size_t)t->max_rows * HIDDEN, sizeof(float));
  t->logits = on_device(t, (size_t)t->max_rows * CLASSES, sizeof(float));
  upload(t, t->parameters, start, sizeof start);
}

static void close_device(struct training *t)
{
  float *arrays[] = {t->parameters, t->gradients, t->velocity,        t->mean,  t->scale,
                     t->x,          t->hidden,    t->hidden_gradient, t->logits};

  for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
    cudaFree(arrays[i]);
  if (t->cublas != NULL)
    cublasDestroy(t->cublas);
  ncclCommDestroy(t->nccl);
  cudaStreamDestroy(t->stream);
}

/* Step 2: the loader on the device. Its batches travel by our communicator. */
static mpisift_loader *make_loader(struct training *t, const mpisift_source *source)
{
  mpisift_loader *loader = NULL;
  mpisift_device device;
  mpisift_config config;

  mpisift_config_init(&config, sizeof config);
  config.global_batch_size = BATCH;
  config.score_batch_size = t->max_rows;
  config.loss_history_length = 1024;
  config.beta = 2; /* keep 1 / (1 + beta) */
  config.epochs = EPOCHS;
  mpisift_device_init(&device, sizeof device);
  device.stream = t->stream;
  device.transport = MPISIFT_TRANSPORT_NCCL;
  device.nccl = t->nccl;
  check(t, mpisift_loader_create_cuda(t->ctx, &config, source, score, t, &device, &loader));
  return loader;
}

/* Share of the test set that is classified wrongly; ranks take turns with the pieces. */
static double test_error(const struct training *t, const char *path)
{
  int rows = t->max_rows, wrong = 0, *found = on_device(t, 1, sizeof *found);
  float *x = malloc((size_t)rows * FEATURES * sizeof *x), *on_x = on_device(t, (size_t)rows * FEATURES, sizeof *x);
  unsigned char *y = malloc((size_t)rows), *on_y = on_device(t, (size_t)rows, 1);
  int64_t *ids = malloc((size_t)rows * sizeof *ids), n;
  mpisift_dataset *dataset = NULL;
  mpisift_source source;

  check(t, mpisift_dataset_open(t->ctx, path, "/test", (const char *const[]){"x", "y"}, 2, SIZE_MAX, &dataset));
  source = mpisift_dataset_source(dataset);
  n = t->cublas != NULL ? source.n : rows;
  for (int64_t first = (int64_t)t->rank * rows; first < n; first += (int64_t)t->ranks * rows) {
    int piece = (int)(n - first < rows ? n - first : rows);

    for (int i = 0; i < piece; i++)
      ids[i] = first + i;
    if (source.read(source.user, piece, ids, (void *[]){x, y}) != 0)
      fail("reading", mpisift_error(t->ctx));
    upload(t, on_x, x, (size_t)piece * FEATURES * sizeof *x);
    upload(t, on_y, y, (size_t)piece);
    forward(t, piece, on_x);
    gpu_count_wrong(t->stream, piece, CLASSES, t->logits, on_y, found);
    cuda(cudaStreamSynchronize(t->stream), "testing");
  }
  cuda(cudaMemcpyAsync(&wrong, found, sizeof wrong, cudaMemcpyDeviceToHost, t->stream), "testing");
  cuda(cudaStreamSynchronize(t->stream), "testing");
  MPI_Allreduce(MPI_IN_PLACE, &wrong, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  mpisift_dataset_close(&dataset);
  cudaFree(found);
  cudaFree(on_x);
  cudaFree(on_y);
  free(x);
  free(y);
  free(ids);
  return (double)wrong / (double)n;
}

static void run(struct training *t, const char *path)
{
  mpisift_dataset *dataset = NULL;
  mpisift_loader *loader;
  mpisift_source source;
  mpisift_stats stats;
  mpisift_batch batch;
  double error;

  check(t, mpisift_dataset_open(t->ctx, path, "/train", (const char *const[]){"x", "y"}, 2, SIZE_MAX, &dataset));
  source = mpisift_dataset_source(dataset);
  make_model(t);
  standardisation(t, &source);
  loader = make_loader(t, &source);
  for (int epoch = 0, steps = 0; epoch < EPOCHS && (t->cublas != NULL || steps < SHORT);) {
    mpisift_status status = mpisift_loader_next(loader, &batch);

    check(t, status);
    epoch += status == MPISIFT_END_OF_EPOCH;
    steps += status == MPISIFT_OK;
    if (status == MPISIFT_OK)
      train(t, &batch);
  }
  stats = mpisift_loader_stats(loader, MPISIFT_RUN);
  error = test_error(t, path);
  if (t->rank == 0)
    printf("%d GPUs: %d steps on %d of %d candidates, test error %.2f %%\n", t->ranks, (int)stats.steps,
           (int)stats.trained, (int)stats.candidates, 100 * error);
  mpisift_loader_destroy(&loader);
  mpisift_dataset_close(&dataset);
}

int main(int argc, char **argv)
{
  struct training t = {.max_rows = BATCH};
  const char *path = argc > 1 ? argv[1] : SHUTTLE;
  char text[512] = "";
  int have;

  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &t.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &t.ranks);
  have = open_device(&t);
  if (have) {
    if (mpisift_open(&(mpisift_team){MPI_COMM_WORLD, MPI_COMM_NULL, 0}, NULL, text, sizeof text, &t.ctx) != MPISIFT_OK)
      fail("mpisift_open", text);
    if (t.rank == 0 && t.cublas == NULL)
      printf("cuBLAS does not run here: products by a plain kernel, %d steps\n", SHORT);
    run(&t, path);
    mpisift_close(&t.ctx);
    close_device(&t);
  } else if (t.rank == 0) {
    printf("SKIPPED: no CUDA device for each rank\n");
  }
  MPI_Finalize();
  return have ? 0 : 77;
}
