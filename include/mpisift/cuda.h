/** \file cuda.h
 * Losses of logits that are in the memory of a CUDA device, and loaders and sifters that work there. This header needs
 * none of CUDA's: a cudaStream_t is a pointer to the structure named here.
 */
#ifndef MPISIFT_CUDA_H
#define MPISIFT_CUDA_H

#include <mpisift/mpisift.h>

#ifdef __cplusplus
extern "C" {
#endif

/** \defgroup cuda Losses on a device
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
 * without nvcc, or CUDA refuses, or has failed before and nobody has asked (cudaGetLastError()); and ERR_ARG as
 * mpisift_losses(), or if an array is no memory of the device. */
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
/** \defgroup device Loaders and sifters on a device
 * Samples, losses, decisions and batches stay on the device; the host sees numbers, and which positions are accepted.
 * With equal losses the batches are, bit for bit, those of a loader in host memory, for any number of ranks.
 *
 * Once created, such a loader or sifter is used with the calls of mpisift.h. What differs:
 *  - All that mpisift_batch and mpisift_scores point to is memory of the device, but for `fields`; so are the arrays
 *    of mpisift_candidates and mpisift_decisions, but for `ids` and `positions`. Other memory is ERR_ARG.
 *  - A score callback enqueues its work on the stream of the loader, or makes that stream wait for it, and need not
 *    wait itself. Its rows are there in the order of that stream.
 *  - A batch is there in the order of the stream, and is overwritten by work that later calls enqueue on it: for what
 *    reads a batch on another stream, this one has to wait before the next call. The arrays have the same addresses
 *    in every step, so that they can be part of a CUDA graph.
 *  - Calls and callbacks run on the device that was current at creation; the caller's is current again afterwards.
 *  - mpisift_loader_next() is ERR_STATE on all ranks if the stream of one of them is being captured. Its callback may
 *    be called on padding all the same, as those of the others are: what it enqueues is captured.
 *  - An error of CUDA that was there before a call, or that a callback has left, and that nobody has asked for
 *    (cudaGetLastError()), is ERR_DEVICE on all ranks, once. That something is not ready yet is none.
 *  - An error of the work itself is ERR_DEVICE on all ranks, as long as the round it belongs to can be repeated. What
 *    is lost after that is told by the call on the rank concerned, and by the next call on all; the loader is then
 *    at its end, and all that is left is to destroy it.
 *
 * Not to be had on a device: mpisift_config::exact_history, policies by stale losses, fields that are padded, and
 * replicas of several ranks. mpisift_config::pin_memory has no effect.
 * @{ */

struct ncclComm;

/** How samples move between ranks, and counts. */
typedef enum mpisift_transport {
  MPISIFT_TRANSPORT_HOST,       /**< through page-locked host memory, with any MPI (default) */
  MPISIFT_TRANSPORT_CUDA_AWARE, /**< MPI reads and writes the device's memory: an MPI that does so says it by
                                     MPIX_Query_cuda_support() */
  MPISIFT_TRANSPORT_NCCL        /**< NCCL, enqueued on the stream inside our calls; doc/gpu.md tells how to use other
                                     communicators beside it */
} mpisift_transport;

/** On what a loader or sifter works. Set by mpisift_device_init(), then changed. */
typedef struct mpisift_device {
  size_t size;                 /**< sizeof(mpisift_device) of the caller */
  mpisift_stream stream;       /**< of the current device; used until the loader is destroyed. Default NULL: the legacy
                                    stream */
  mpisift_transport transport; /**< equal on all ranks. Default MPISIFT_TRANSPORT_HOST */
  struct ncclComm *nccl;       /**< an ncclComm_t of this device, whose ranks are those of mpisift_team::comm; borrowed.
                                    Default NULL: one is made, where the transport needs it */
} mpisift_device;

/** Fill with defaults. \a size: sizeof(mpisift_device). Not collective. */
void mpisift_device_init(mpisift_device *device, size_t size);

/** As mpisift_loader_create(), on the current device. Collective. The source still reads into host memory, in pieces of
 * score_batch_size rows; they go up while the next one is read.
 * \param [in] device  Copied.
 * \return as mpisift_loader_create(); ERR_DEVICE on all ranks where one has no device, or was built without nvcc. */
mpisift_status mpisift_loader_create_cuda(mpisift_ctx *ctx, const mpisift_config *config, const mpisift_source *source,
                                          mpisift_score_fn score, void *user, const mpisift_device *device,
                                          mpisift_loader **loader);

/** As mpisift_sifter_create(), on the current device. Collective. Losses are MPISIFT_F32, and positions, where they are
 * given, ascend on each rank. What is pushed is borrowed, and what is decided is written, in the order of the stream.
 * \param [in] device  Copied.
 * \return as mpisift_sifter_create(); ERR_DEVICE on all ranks where one has no device, or was built without nvcc. */
mpisift_status mpisift_sifter_create_cuda(mpisift_ctx *ctx, const mpisift_config *config, const mpisift_pushes *pushes,
                                          const mpisift_device *device, mpisift_sifter **sifter);

/** As mpisift_loader_report(), of losses in the memory of the device of a loader there. Not collective. Nothing waits
 * for them: they are copied in the order of \a stream, and taken into account by the second call of
 * mpisift_loader_next() that follows, or at the end of the epoch. More than 16 reports at a time wait for the oldest.
 * \param [in] losses  losses[i × stride] of row first + i.
 * \param [in] stride  Elements from row to row, >= 1.
 * \param [in] stream  On which they are made; any of the device.
 * \return as mpisift_loader_report(); ERR_ARG also for losses in other memory, ERR_STATE while the stream is being
 * captured, ERR_DEVICE. Local. */
mpisift_status mpisift_loader_report_cuda(mpisift_loader *loader, int64_t serial, int64_t first, int64_t n,
                                          const float *losses, int64_t stride, mpisift_stream stream);

/** @} */

#ifdef __cplusplus
}
#endif
#endif
