#include "08_gpu_kernels.h"

enum { THREADS = 128 };

#define LAUNCH(kernel, n, ...)                                                                                         \
  do {                                                                                                                 \
    if ((n) > 0)                                                                                                       \
      kernel<<<((n) + THREADS - 1) / THREADS, THREADS, 0, stream>>>(n, __VA_ARGS__);                                   \
  } while (0)

/* The thread's element; kernels return where it is not below n. */
__device__ static int element()
{
  return (int)(blockIdx.x * blockDim.x + threadIdx.x);
}

__global__ void standardise(int n, int columns, const float *x, const float *mean, const float *scale, float *out)
{
  int i = element();

  if (i < n)
    out[i] = (x[i] - mean[i % columns]) * scale[i % columns];
}

__global__ void add_bias(int n, int columns, const float *bias, int relu, float *y)
{
  int i = element();

  if (i >= n)
    return;
  y[i] += bias[i % columns];
  if (relu && y[i] < 0)
    y[i] = 0;
}

__global__ void softmax_gradient(int n, int columns, const unsigned char *labels, float factor, float *y)
{
  int i = element();
  float *row = y + (size_t)i * columns, most, sum = 0;

  if (i >= n)
    return;
  most = row[0];
  for (int k = 1; k < columns; k++)
    most = fmaxf(most, row[k]);
  for (int k = 0; k < columns; k++)
    sum += expf(row[k] - most);
  for (int k = 0; k < columns; k++)
    row[k] = factor * (expf(row[k] - most) / sum - (k == labels[i]));
}

__global__ void relu_gradient(int n, const float *outputs, float *gradient)
{
  int i = element();

  if (i < n && outputs[i] == 0)
    gradient[i] = 0;
}

__global__ void column_sums(int columns, int n, const float *x, float *sums)
{
  int k = element();
  float sum = 0;

  if (k >= columns)
    return;
  for (int i = 0; i < n; i++)
    sum += x[(size_t)i * columns + k];
  sums[k] = sum;
}

__global__ void update(int n, float momentum, float rate, const float *gradient, float *velocity, float *x)
{
  int i = element();

  if (i >= n)
    return;
  velocity[i] = momentum * velocity[i] - rate * gradient[i];
  x[i] += velocity[i];
}

__global__ void count_wrong(int n, int columns, const float *logits, const unsigned char *labels, int *wrong)
{
  int i = element(), best = 0;
  const float *row = logits + (size_t)i * columns;

  if (i >= n)
    return;
  for (int k = 1; k < columns; k++)
    best = row[k] > row[best] ? k : best;
  if (best != labels[i])
    atomicAdd(wrong, 1);
}

__global__ void product(int n, int m, int k, const float *a, int a_turned, const float *b, int b_turned, float *c)
{
  int row = element() / m, column = element() % m;
  float sum = 0;

  if (element() >= n)
    return;
  for (int j = 0; j < k; j++)
    sum += a[a_turned ? j * (n / m) + row : row * k + j] * b[b_turned ? column * k + j : j * m + column];
  c[element()] = sum;
}

void gpu_standardise(cudaStream_t stream, int n, int columns, const float *x, const float *mean, const float *scale,
                     float *out)
{
  LAUNCH(standardise, n * columns, columns, x, mean, scale, out);
}

void gpu_add_bias(cudaStream_t stream, int n, int columns, const float *bias, int relu, float *y)
{
  LAUNCH(add_bias, n * columns, columns, bias, relu, y);
}

void gpu_softmax_gradient(cudaStream_t stream, int n, int columns, const unsigned char *labels, float factor, float *y)
{
  LAUNCH(softmax_gradient, n, columns, labels, factor, y);
}

void gpu_relu_gradient(cudaStream_t stream, int n, const float *outputs, float *gradient)
{
  LAUNCH(relu_gradient, n, outputs, gradient);
}

void gpu_column_sums(cudaStream_t stream, int n, int columns, const float *x, float *sums)
{
  LAUNCH(column_sums, columns, n, x, sums);
}

void gpu_update(cudaStream_t stream, int n, float momentum, float rate, const float *gradient, float *velocity,
                float *x)
{
  LAUNCH(update, n, momentum, rate, gradient, velocity, x);
}

void gpu_count_wrong(cudaStream_t stream, int n, int columns, const float *logits, const unsigned char *labels,
                     int *wrong)
{
  LAUNCH(count_wrong, n, columns, logits, labels, wrong);
}

void gpu_product(cudaStream_t stream, int n, int m, int k, const float *a, int a_turned, const float *b, int b_turned,
                 float *c)
{
  LAUNCH(product, n * m, m, k, a, a_turned, b, b_turned, c);
}
