/* Kernels of 08_gpu_train, enqueued on a stream. Arrays are the device's, matrices are row by row. */
#ifndef GPU_KERNELS_H
#define GPU_KERNELS_H

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* out = (x - mean) * scale, of n rows; mean and scale are of columns. */
void gpu_standardise(cudaStream_t stream, int n, int columns, const float *x, const float *mean, const float *scale,
                     float *out);
/* y += bias of its column, of n rows; with relu negative ones become 0. */
void gpu_add_bias(cudaStream_t stream, int n, int columns, const float *bias, int relu, float *y);
/* Logits become factor * (softmax - onehot of the label). */
void gpu_softmax_gradient(cudaStream_t stream, int n, int columns, const unsigned char *labels, float factor, float *y);
/* Gradients of outputs that are 0 become 0. */
void gpu_relu_gradient(cudaStream_t stream, int n, const float *outputs, float *gradient);
void gpu_column_sums(cudaStream_t stream, int n, int columns, const float *x, float *sums);
/* velocity = momentum * velocity - rate * gradient; x += velocity. */
void gpu_update(cudaStream_t stream, int n, float momentum, float rate, const float *gradient, float *velocity,
                float *x);
/* *wrong += rows whose largest logit is not their label's. */
void gpu_count_wrong(cudaStream_t stream, int n, int columns, const float *logits, const unsigned char *labels,
                     int *wrong);
/* c [n][m] = a [n][k] b [k][m], where a and b are given transposed if asked: for machines where cuBLAS does not run. */
void gpu_product(cudaStream_t stream, int n, int m, int k, const float *a, int a_turned, const float *b, int b_turned,
                 float *c);

#ifdef __cplusplus
}
#endif
#endif
