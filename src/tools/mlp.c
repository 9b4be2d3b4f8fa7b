#include "tools/mlp.h"

#include <cblas.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <Random123/philox.h>

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
  return total;
}

static bool allocate_outputs(mlp *net)
{
  int widest = 0;
  for (int l = 0; l < net->n_layers; l++) {
    int width = net->width[l + 1];
    net->outputs[l] = calloc((size_t)net->max_rows * (size_t)width, sizeof(float));
    if (net->outputs[l] == NULL)
      return false;
    widest = width > widest ? width : widest;
  }
  net->scratch = calloc((size_t)net->max_rows * (size_t)widest, sizeof(float));
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
  net->params = calloc(n, sizeof(float));
  net->velocity = calloc(n, sizeof(float));
  net->grads = calloc(n + 1, sizeof(float));
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
  for (size_t i = 0; i < n; i++)
    values[i] = values[i] > 0 ? values[i] : 0;
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
  float *below = net->outputs[layer - 1];
  size_t size = (size_t)n * (size_t)in;
  for (size_t i = 0; i < size; i++)
    below[i] = below[i] > 0 ? net->scratch[i] : 0;
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

void mlp_update(mlp *net, double rate, double momentum, double weight_decay, double count)
{
  cblas_sscal(net->n_params, (float)momentum, net->velocity, 1);
  cblas_saxpy(net->n_params, (float)(1 / count), net->grads, 1, net->velocity, 1);
  if (weight_decay > 0)
    cblas_saxpy(net->n_params, (float)weight_decay, net->params, 1, net->velocity, 1);
  cblas_saxpy(net->n_params, (float)-rate, net->velocity, 1, net->params, 1);
}
