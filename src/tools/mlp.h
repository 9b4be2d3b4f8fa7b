/* A multi-layer perceptron: ReLU hidden layers, softmax cross-entropy, float32, SGD with momentum. No MPI: the caller
 * sums `grads` over the ranks between mlp_backward() and mlp_update(). */
#ifndef MSIFT_TOOLS_MLP_H
#define MSIFT_TOOLS_MLP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MLP_MAX_HIDDEN = 16 };

/* Layer l maps width[l] inputs to width[l + 1] outputs; its parameters are a matrix [in][out], then a bias [out]. */
typedef struct mlp {
  int n_layers;
  int width[MLP_MAX_HIDDEN + 2];
  int max_rows;
  int n_params;    /* rounded up; what the layers do not use stays 0 */
  float *params;   /* [n_params] */
  float *velocity; /* [n_params] */
  float *grads;    /* [n_params + 1]; the last is the sum of the weighted losses, so that it is reduced with them */
  float *outputs[MLP_MAX_HIDDEN + 1]; /* [max_rows][width[l + 1]] */
  float *scratch;                     /* [max_rows][largest width] */
} mlp;

/* Allocate for up to max_rows rows at a time. False if memory is short or the network has more than INT_MAX - 1
 * parameters; the network is then empty. */
bool mlp_create(mlp *net, int features, int n_hidden, const int *hidden, int classes, int max_rows);
void mlp_destroy(mlp *net);

/* He initialisation of the weights by seed, biases and velocity 0. */
void mlp_reset(mlp *net, uint64_t seed);

/* Logits [n][classes] of the rows x [n][features]; valid until the next call. Touches no parameter or gradient. */
const float *mlp_forward(mlp *net, int n, const float *x);

/* After mlp_forward() of the same rows: write each row's loss, and to grads the sums over rows of weight times
 * gradient, and of weight times loss. Overwrites the outputs of the forward pass. n = 0 gives zeros. */
void mlp_backward(mlp *net, int n, const float *x, const int32_t *labels, const float *weights, float *losses);

/* How SGD steps. */
typedef struct mlp_sgd {
  double momentum, weight_decay;
  double clip; /* largest norm of the mean gradient, which is scaled down to it; 0: no limit */
} mlp_sgd;

/* With g = grads / count, clipped: velocity = momentum velocity + g + weight_decay params; params -= rate velocity. */
void mlp_update(mlp *net, const mlp_sgd *sgd, double rate, double count);

#endif
