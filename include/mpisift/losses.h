/** \file losses.h
 * Losses of samples from logits, for score callbacks. Part of mpisift.h, whose conventions hold.
 */
#ifndef MPISIFT_LOSSES_H
#define MPISIFT_LOSSES_H

#include <mpisift/mpisift.h>

#ifdef __cplusplus
extern "C" {
#endif

/** \defgroup losses Per-sample losses
 * For score callbacks. Besides these functions, callbacks may call mpisift_explain(), mpisift_error(),
 * mpisift_loader_sample_seed() and mpisift_batch_slice(), and nothing else of the library. Not collective.
 * @{ */

/** Numbers in memory of the caller, row by row. */
typedef struct mpisift_values {
  const void *data;
  mpisift_type type;
  int64_t stride; /**< elements from a row to the next; 0: the rows are dense */
} mpisift_values;

/** What a loss is of a row x of logits, or of predictions. Its target is a *label*, the index of a class, of type U8,
 * U16, I32 or I64; or a row y of as many values as x, of a floating-point type. */
typedef enum mpisift_loss_kind {
  MPISIFT_CROSS_ENTROPY, /**< −log p[label], p = softmax(x); with a row: −sum y log p, y >= 0 */
  MPISIFT_NLL,           /**< −x[label]: x are logarithms of probabilities. Labels only */
  MPISIFT_FOCAL, /**< (1 − p[label])^gamma times the cross-entropy (Lin et al., 2017); with a row, y in [0, 1]:
                      the same of each column's sigmoid, mean over the columns */
  MPISIFT_KL,    /**< sum y (log y − log p), y >= 0. Rows only. x may be logarithms of probabilities, which are
                      their own log-softmax */
  MPISIFT_BCE, /**< −y log s − (1 − y) log(1 − s), s = sigmoid(x); mean over the columns, as all that follow */
  MPISIFT_MSE, /**< (x − y)^2 */
  MPISIFT_L1,  /**< |x − y| */
  MPISIFT_HUBER, /**< (x − y)^2 / 2 up to |x − y| = delta, then delta (|x − y| − delta / 2) */
  MPISIFT_HINGE  /**< max(0, 1 − x y), y −1 or 1; with a label: max(0, 1 − x[label] + x[c]) over the other
                      classes c, divided by the number of all */
} mpisift_loss_kind;

/** What becomes of the losses of several tokens. */
typedef enum mpisift_reduction { MPISIFT_MEAN, MPISIFT_SUM } mpisift_reduction;

/** A loss in full. What is zero has its default, so that {0} is cross-entropy. */
typedef struct mpisift_loss {
  mpisift_loss_kind kind;      /**< default MPISIFT_CROSS_ENTROPY */
  int64_t tokens;              /**< rows of a sample. Default 0: one */
  mpisift_reduction reduction; /**< of the tokens that count. Default MPISIFT_MEAN: over their number, also with class
                                    weights */
  bool ignore;                 /**< rows with the label ignore_index do not count; a sample in which none does has 0 for
                                    all its scores */
  int64_t ignore_index;
  const float *class_weights; /**< [columns], >= 0: factors, of a label's row by its class, else of each column's term.
                                   Default NULL: 1 */
  const float *pos_weights; /**< MPISIFT_BCE and FOCAL of sigmoids, [columns], >= 0: factors of the terms of y. Default
                                 NULL: 1 */
  double label_smoothing;   /**< MPISIFT_CROSS_ENTROPY, in [0, 1]: the share of the target that is spread evenly over
                                 the classes. Default 0 */
  double huber_delta;       /**< > 0. Default 0: 1 */
  double focal_gamma;       /**< > 0. Default 0: 2 */
} mpisift_loss;

/** Losses of samples, and what else a policy or its user may ask for, in one pass over the logits: fills those of
 * \a scores that are not NULL, [n] each.
 *
 * float32, float16 and bfloat16 are computed with in float32, with sums in float64; float64, and all kinds that have no
 * softmax, in float64. What is not finite in a row makes its loss so, but for logits of −infinity, which have the
 * probability 0. A row depends on nothing but itself: results are the same, bit by bit, however samples are spread over
 * calls and ranks, on processors with the same vector instructions; else they may differ in the last places. See
 * doc/guide.md for the accuracy.
 * \param [in]  ctx
 * \param [in]  loss     NULL: cross-entropy.
 * \param [in]  n        Samples. 0 is a no-op.
 * \param [in]  columns  Classes, or columns.
 * \param [in]  logits   [n × tokens][columns] of type F32, F64, F16 or BF16. Only read.
 * \param [in]  targets  Labels: [n][tokens]. Else as the logits, of a floating-point type of its own.
 * \param [out] scores   Kinds without a softmax have `loss`, and with labels `group`, only. Over tokens, loss and bound
 *                       are reduced as the loss says, and of the others it is the mean; group is that of the first.
 * \return ERR_DATA if a label is outside [0, columns): the message names row and label, and the scores are undefined;
 * ERR_ARG. */
mpisift_status mpisift_losses(mpisift_ctx *ctx, const mpisift_loss *loss, int64_t n, int64_t columns,
                              mpisift_values logits, mpisift_values targets, const mpisift_scores *scores);

/** What the tokens of a sample have come to so far; all zero at the start. */
typedef struct mpisift_token_sum {
  double losses;  /**< sum of the losses that count */
  int64_t tokens; /**< their number */
} mpisift_token_sum;

/** Losses of samples from losses of tokens, such as those of a fused classifier, which leaves no logits to pass to
 * mpisift_losses(); at once, or from micro-steps that bring some tokens of each sample. Losses are added up one after
 * the other in double precision, so that it makes no difference how a sequence is cut; of float32 losses it is what
 * mpisift_losses() gives with the same mpisift_loss.
 * \param [in]  ctx
 * \param [in]  loss    tokens (of this call), reduction, ignore and ignore_index count. NULL: one token.
 * \param [in]  n       Samples. 0 is a no-op.
 * \param [in]  tokens  [n][tokens] losses of type F32, F64, F16 or BF16. Only read.
 * \param [in]  labels  [n][tokens] of type U8, U16, I32 or I64, of which those equal to ignore_index do not count,
 *                      whatever their loss: labels, or a mask with ignore_index 0. Without `ignore` data may be NULL.
 * \param [in,out] sums [n], to which the tokens are added. NULL: there is this call only.
 * \param [out] losses  [n], of all tokens so far; 0 where none counts. NULL: there are more to come, and sums is given.
 * \return ERR_ARG. */
mpisift_status mpisift_token_losses(mpisift_ctx *ctx, const mpisift_loss *loss, int64_t n, mpisift_values tokens,
                                    mpisift_values labels, mpisift_token_sum *sums, float *losses);

/** @} */

#ifdef __cplusplus
}
#endif
#endif
