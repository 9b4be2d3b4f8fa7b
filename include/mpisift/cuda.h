/** \file cuda.h
 * Losses of logits that are in the memory of a CUDA device. This header needs none of CUDA's: a cudaStream_t is a
 * pointer to the structure named here.
 */
#ifndef MPISIFT_CUDA_H
#define MPISIFT_CUDA_H

#include <mpisift/mpisift.h>

#ifdef __cplusplus
extern "C" {
#endif

/** \defgroup cuda CUDA
 * The work is enqueued on a stream of the current device, and nothing waits for it: inputs must stay, and outputs are
 * there, as the stream's order has it. All arrays are device memory, also those that the loss points to; structures are
 * host memory and copied. Not collective. Errors of the work itself come up where the stream is next waited for.
 * @{ */

/** A cudaStream_t. */
typedef struct CUstream_st *mpisift_stream;

/** mpisift_losses() on a device. A label outside [0, columns) makes all scores of its row NaN, since nothing waits to
 * tell of it. Each row is computed by threads whose number depends on the columns alone: the bits do not depend on
 * other rows; they differ from those of the CPU in the last places. With several tokens, 4 bytes a row and score come
 * from and go back to the device's pool, in the order of the stream. \return ERR_DEVICE if the library was built
 * without nvcc, or CUDA refuses; and ERR_ARG as mpisift_losses(). */
mpisift_status mpisift_losses_cuda(mpisift_ctx *ctx, const mpisift_loss *loss, int64_t n, int64_t columns,
                                   mpisift_values logits, mpisift_values targets, const mpisift_scores *scores,
                                   mpisift_stream stream);

/** mpisift_token_losses() on a device, with the same bits from the same token losses. */
mpisift_status mpisift_token_losses_cuda(mpisift_ctx *ctx, const mpisift_loss *loss, int64_t n, mpisift_values tokens,
                                         mpisift_values labels, mpisift_token_sum *sums, float *losses,
                                         mpisift_stream stream);

/** @} */
/** \defgroup cuda_reports Reports from a device
 * @{ */

/** mpisift_indices_report() of losses in the memory of the current device. They are copied to page-locked memory of
 * ours in the order of the stream, so that they may be overwritten by what is enqueued behind; nothing waits for it but
 * the mpisift_indices_begin_epoch() that they are for. That call tells errors of the work itself, on all ranks:
 * ERR_DEVICE. \return as mpisift_indices_report(); ERR_ARG also for memory that is not the device's, ERR_STATE if the
 * stream is being captured, ERR_MEMORY, and ERR_DEVICE without a device, if the library was built without nvcc, or if
 * CUDA refuses. */
mpisift_status mpisift_indices_report_cuda(mpisift_indices *indices, int64_t serial, int64_t first, int64_t n,
                                           const float *losses, int64_t stride, mpisift_stream stream);

/** mpisift_indices_report_scores() likewise. A group out of range makes its sample's loss bad, since nothing waits to
 * tell of it. */
mpisift_status mpisift_indices_report_scores_cuda(mpisift_indices *indices, int64_t serial, int64_t first, int64_t n,
                                                  const mpisift_scores *scores, int64_t stride, mpisift_stream stream);

/** @} */

#ifdef __cplusplus
}
#endif
#endif
