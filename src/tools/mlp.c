#include "tools/mlp.h"

#include <cblas.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <Random123/philox.h>

/* Element-wise loops run over blocks of this many, which compilers turn into vector instructions at -O2 already; arrays
 * are padded to whole blocks. */
enum { LANES = 16 };

static float *allocate(size_t rows, size_t width)
{
  return calloc((rows * width + LANES - 1) / LANES * LANES, sizeof(float));
}

static size_t layer_params(const mlp *net, int layer)
{
  return ((size_t)net->width[layer] + 1) * (size_t)net->width[layer + 1];
}

static float *layer_weights(const mlp *net, float *array, int layer)
{
  for (int l = 0; l < layer; l++)
    array += layer_params(net, l);
  return array;
}

static float *layer_bias(const mlp *net, float *array, int layer)
{
  return layer_weights(net, array, layer) + (size_t)net->width[layer] * (size_t)net->width[layer + 1];
}

static size_t count_params(const mlp *net)
{
  size_t total = 0;
  for (int l = 0; l < net->n_layers; l++)
    total += layer_params(net, l);
  return (total + LANES - 1) / LANES * LANES;
}

static bool allocate_outputs(mlp *net)
{
  int widest = 0;
  for (int l = 0; l < net->n_layers; l++) {
    int width = net->width[l + 1];
    net->outputs[l] = allocate((size_t)net->max_rows, (size_t)width);
    if (net->outputs[l] == NULL)
      return false;
    widest = width > widest ? width : widest;
  }
  net->scratch = allocate((size_t)net->max_rows, (size_t)widest);
  return net->scratch != NULL;
}

bool mlp_create(mlp *net, int features, int n_hidden, const int *hidden, int classes, int max_rows)
{
  *net = (mlp){.n_layers = n_hidden + 1, .max_rows = max_rows};
  net->width[0] = features;
  for (int l = 0; l < n_hidden; l++)
    net->width[l + 1] = hidden[l];
  net->width[n_hidden + 1] = classes;
  size_t n = count_params(net);
  if (n >= INT_MAX)
    return false;
  net->n_params = (int)n;
  net->params = allocate(n, 1);
  net->velocity = allocate(n, 1);
  net->grads = allocate(n + 1, 1);
  if (net->params && net->velocity && net->grads && allocate_outputs(net))
    return true;
  mlp_destroy(net);
  return false;
}

void mlp_destroy(mlp *net)
{
  for (int l = 0; l < net->n_layers; l++)
    free(net->outputs[l]);
  free(net->scratch);
  free(net->grads);
  free(net->velocity);
  free(net->params);
  *net = (mlp){0};
}

/* A standard normal number keyed by (seed, index): Box and Muller on two uniform numbers in (0, 1). */
static double normal(uint64_t seed, uint32_t index)
{
  philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
  philox4x32_ctr_t counter = {{index, 0, 0, 0}};
  philox4x32_ctr_t bits = philox4x32(counter, key);
  double u = ((double)bits.v[0] + 0.5) / 4294967296.0;
  double v = ((double)bits.v[1] + 0.5) / 4294967296.0;
  return sqrt(-2 * log(u)) * cos(2 * acos(-1.0) * v);
}

void mlp_reset(mlp *net, uint64_t seed)
{
  memset(net->params, 0, (size_t)net->n_params * sizeof(float));
  memset(net->velocity, 0, (size_t)net->n_params * sizeof(float));
  for (int l = 0; l < net->n_layers; l++) {
    float *weights = layer_weights(net, net->params, l);
    ptrdiff_t n = layer_bias(net, net->params, l) - weights;
    double deviation = sqrt(2.0 / net->width[l]);
    for (ptrdiff_t i = 0; i < n; i++)
      weights[i] = (float)(deviation * normal(seed, (uint32_t)(weights + i - net->params)));
  }
}

static void relu(size_t n, float *values)
{
  for (size_t i = 0; i < n; i += LANES) {
    for (size_t j = i; j < i + LANES; j++)
      values[j] = values[j] > 0 ? values[j] : 0;
  }
}

/* The derivative of ReLU: outputs that are positive become `values`, others 0. */
static void relu_backward(size_t n, float *restrict outputs, const float *restrict values)
{
  for (size_t i = 0; i < n; i += LANES) {
    for (size_t j = i; j < i + LANES; j++)
      outputs[j] = outputs[j] > 0 ? values[j] : 0;
  }
}

const float *mlp_forward(mlp *net, int n, const float *x)
{
  for (int l = 0; l < net->n_layers; l++) {
    int in = net->width[l], out = net->width[l + 1];
    float *y = net->outputs[l];
    const float *bias = layer_bias(net, net->params, l);
    for (int r = 0; r < n; r++)
      memcpy(y + (size_t)r * (size_t)out, bias, (size_t)out * sizeof(float));
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, out, in, 1, x, in, layer_weights(net, net->params, l),
                out, 1, y, out);
    if (l + 1 < net->n_layers)
      relu((size_t)n * (size_t)out, y);
    x = y;
  }
  return x;
}

/* Turn a row of logits into weight * (softmax - onehot); returns the row's loss. */
static float softmax_row(int classes, float *row, int32_t label, float weight)
{
  float top = row[0], sum = 0;
  for (int c = 1; c < classes; c++)
    top = row[c] > top ? row[c] : top;
  float own = row[label] - top;
  for (int c = 0; c < classes; c++) {
    row[c] = expf(row[c] - top);
    sum += row[c];
  }
  for (int c = 0; c < classes; c++)
    row[c] *= weight / sum;
  row[label] -= weight;
  return logf(sum) - own;
}

static void bias_gradient(const mlp *net, int layer, int n, const float *delta)
{
  int out = net->width[layer + 1];
  float *bias = layer_bias(net, net->grads, layer);
  memset(bias, 0, (size_t)out * sizeof(float));
  for (int r = 0; r < n; r++)
    cblas_saxpy(out, 1, delta + (size_t)r * (size_t)out, 1, bias, 1);
}

/* From the derivative by the outputs of a layer, delta [n][out], to that by the outputs of the layer below, which
 * replaces them: a ReLU passes it on where its output is positive. */
static void propagate(mlp *net, int layer, int n, const float *delta)
{
  int in = net->width[layer], out = net->width[layer + 1];
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, in, out, 1, delta, out,
              layer_weights(net, net->params, layer), out, 0, net->scratch, in);
  relu_backward((size_t)n * (size_t)in, net->outputs[layer - 1], net->scratch);
}

void mlp_backward(mlp *net, int n, const float *x, const int32_t *labels, const float *weights, float *losses)
{
  int classes = net->width[net->n_layers];
  float *delta = net->outputs[net->n_layers - 1];
  double loss = 0;
  for (int r = 0; r < n; r++) {
    losses[r] = softmax_row(classes, delta + (size_t)r * (size_t)classes, labels[r], weights[r]);
    loss += (double)weights[r] * (double)losses[r];
  }
  net->grads[net->n_params] = (float)loss;
  for (int l = net->n_layers - 1; l >= 0; l--) {
    int in = net->width[l], out = net->width[l + 1];
    delta = net->outputs[l];
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, in, out, n, 1, l > 0 ? net->outputs[l - 1] : x, in, delta, out,
                0, layer_weights(net, net->grads, l), out);
    bias_gradient(net, l, n, delta);
    if (l > 0)
      propagate(net, l, n, delta);
  }
}

static void sgd_block(float *restrict params, float *restrict velocity, const float *restrict grads, float momentum,
                      float scale, float weight_decay, float rate)
{
  for (int i = 0; i < LANES; i++) {
    float v = momentum * velocity[i] + scale * grads[i] + weight_decay * params[i];
    /* Where a unit is dead the velocity would decay into subnormal numbers, which are slow. */
    v = fabsf(v) < FLT_MIN / FLT_EPSILON ? 0 : v;
    velocity[i] = v;
    params[i] -= rate * v;
  }
}

void mlp_update(mlp *net, const mlp_sgd *sgd, double rate, double count)
{
  double norm = sqrt((double)cblas_sdot(net->n_params, net->grads, 1, net->grads, 1)) / count;
  double factor = sgd->clip > 0 && norm > sgd->clip ? sgd->clip / norm : 1;
  for (int i = 0; i < net->n_params; i += LANES)
    sgd_block(net->params + i, net->velocity + i, net->grads + i, (float)sgd->momentum, (float)(factor / count),
              (float)sgd->weight_decay, (float)rate);
}
