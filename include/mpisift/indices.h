/** \file indices.h
 * Which samples come next, for training codes with a reader of their own. Part of mpisift.h, whose conventions hold.
 */
#ifndef MPISIFT_INDICES_H
#define MPISIFT_INDICES_H

#include <mpisift/mpisift.h>

#ifdef __cplusplus
extern "C" {
#endif

/** \defgroup indices Index plan
 * For training codes that keep their own reader: which ids next, with which weights. No data pass through the library,
 * and no forward pass scores: policies go by *stale* losses, those with which samples were trained last and which the
 * trainer reports, or by none ("stale_relative", "soft_prune", "hide", "random", "all"). An epoch is planned when it
 * begins, so that its number of steps is known.
 *
 * One epoch: mpisift_indices_begin_epoch(), then mpisift_indices_next() until MPISIFT_END_OF_EPOCH, and
 * mpisift_indices_report() for what was trained. With equal configuration and losses the plan, hence every global
 * batch, is the same for any number of ranks.
 * @{ */

/** A plan of indices, with the table of losses: each rank keeps those of n / replicas ids, 20 bytes each. */
typedef struct mpisift_indices mpisift_indices;

/** What is known of an epoch when it begins: global, and equal on all ranks.
 * candidates = accepted + sifted_out + outliers, and carried_in + accepted = samples of `steps` batches + carried_out +
 * dropped. */
typedef struct mpisift_index_epoch {
  int64_t epoch;         /**< from 0 */
  int64_t steps;         /**< batches that mpisift_indices_next() will give */
  int64_t refresh_steps; /**< batches that mpisift_indices_refresh() can give */
  int64_t run_steps;     /**< of the run: those up to the end of this epoch, and of later ones a forecast from the share
                              kept, up to mpisift_config::step_budget. Where that is reached, or this epoch is the last,
                              it is exact. With neither budget nor epochs: up to the end of this epoch */
  int64_t candidates;    /**< all samples */
  int64_t accepted;      /**< of these, */
  int64_t sifted_out;
  int64_t outliers;            /**< left out because of outlier_share */
  int64_t unknown;             /**< without a loss: never trained, or the last report was bad or missing so far */
  int64_t carried_in;          /**< waiting since the epoch before, */
  int64_t carried_out;         /**< and for the next */
  int64_t dropped;             /**< by MPISIFT_DROP, or as beyond the budget */
  int64_t moved;               /**< samples trained by another replica than their lane's, to fill quotas */
  int64_t blocks_empty;        /**< blocks of ids of which none is accepted: but for what was carried in, they need not
                                  be read */
  int64_t reported;            /**< reports taken into account since the last plan: samples, */
  int64_t bad;                 /**< of these, with a loss that is NaN, infinite or negative: it is unknown again, */
  int64_t unreported;          /**< and samples trained whose report never came: their loss stays what it was */
  double share;                /**< mean probability of acceptance, of what delay and tail leave to the policy */
  double mean_loss;            /**< of all known; each rounded to 2^-24 and cut at 2^23; NaN if none is */
  double learning_rate_factor; /**< candidates / accepted: for policy "hide", multiply the learning rate by it */
} mpisift_index_epoch;

/** Create an index plan. Collective over the context's team.
 * \param [in]  ctx
 * \param [in]  config  As for a loader; equal on all ranks. Schedules see the run grow from epoch to epoch; the delay
 *                      and the full tail hold to the sample. report_lag counts here: see
 *                      mpisift_indices_begin_epoch(). Without effect: loss_history_length, exact_history,
 *                      score_batch_size, pipeline_depth, pin_memory. Classes for class_floor come with
 *                      mpisift_indices_report_scores().
 * \param [in]  n       Samples of the data set; ids are 0 to n − 1.
 * \param [in]  block   mpisift_source::block: consecutive ids that are cheap to read together. 1: no locality.
 * \param [out] indices NULL on error. Released with mpisift_indices_destroy().
 * \return ERR_ARG, ERR_DATA (fewer samples than one global batch), ERR_MEMORY, ERR_MPI. */
mpisift_status mpisift_indices_create(mpisift_ctx *ctx, const mpisift_config *config, int64_t n, int64_t block,
                                      mpisift_indices **indices);

/** Plan the next epoch. Collective. mpisift_indices_next() has told MPISIFT_END_OF_EPOCH of the one before. Reports go
 * to the owners of their ids in bulk. Those for the last mpisift_config::report_lag batches are left for a later plan,
 * whether they have come or not, so that the plan does not depend on when they do; with that the tickets of all older
 * batches close. An epoch that accepts too little for a batch has 0 steps.
 * \param [in]  indices
 * \param [in]  n      Samples of the data set as found now: it must not have changed.
 * \param [out] epoch  May be NULL.
 * \return OK; on an error the epoch has not begun, and the call may be repeated: ERR_DATA (n has changed, or more than
 * mpisift_config::bad_loss_share of the reports are bad), ERR_STATE (batches are left, or the run is over), ERR_MEMORY,
 * ERR_USER, ERR_DEVICE (of reports from a device), ERR_MPI. */
mpisift_status mpisift_indices_begin_epoch(mpisift_indices *indices, int64_t n, mpisift_index_epoch *epoch);

/** The next batch: this replica's ids, in place of samples. Collective; all replicas get their full quota.
 *
 * Without a message in the caller's way: 8 bytes tell, during the training step, whether a rank has failed. So an error
 * is returned by the call after the one in which it was met, on all ranks, and nothing of the plan is lost.
 * \param [in]  indices
 * \param [out] batch  Set on MPISIFT_OK only: a batch without fields; `losses` are stale, NaN where unknown. The arrays
 *                     live until the next mpisift_indices_begin_epoch(). NULL is ERR_ARG: here at once, and with the
 *                     next call on all ranks; the batch is not given again.
 * \return OK, END_OF_EPOCH, or an error: ERR_STATE (no epoch has begun), ERR_USER, ERR_MPI. */
mpisift_status mpisift_indices_next(mpisift_indices *indices, mpisift_batch *batch);

/** The next batch of samples to score again: in every mpisift_config::refresh_every-th epoch, those that its plan left
 * out, or the share refresh_share of them. They are to be scored, not trained (weights are 0), and reported as others,
 * for the next plan. Collective. At any time after mpisift_indices_begin_epoch(), and behind the epoch's end until the
 * next; what is not taken till then is left out. The last batch is padded to full size.
 * \return OK; END_OF_EPOCH: there are no more; or an error, as mpisift_indices_next(). */
mpisift_status mpisift_indices_refresh(mpisift_indices *indices, mpisift_batch *batch);

/** Ids of coming batches, of all replicas, for prefetchers and data stores. Collective; equal arguments on all ranks.
 * \param [in]  indices
 * \param [in]  first  0: from the next batch on; 1: from the one after it; and so on.
 * \param [in]  steps  Batches; those behind the end of the epoch are left out.
 * \param [out] ids    [steps][global batch], batch after batch: first the rows of replica 0, as in its batch, then
 *                     those of replica 1, and so on. A short last batch has fewer.
 * \param [out] n      Ids written. May be NULL.
 * \return OK, ERR_ARG (also where first or steps differ between ranks), ERR_STATE (no epoch has begun), ERR_MEMORY,
 * ERR_USER, ERR_MPI. */
mpisift_status mpisift_indices_ahead(mpisift_indices *indices, int64_t first, int64_t steps, int64_t *ids, int64_t *n);

/** Report losses of a batch: rows [first, first + n), each once, in any number of pieces. Not collective: ranks report
 * when they have the losses, up to mpisift_config::report_lag batches late, or not at all. In a replica the reports of
 * mpisift_team::loss_rank count.
 * \param [in]  indices
 * \param [in]  serial  mpisift_batch::serial.
 * \param [in]  first   First row, >= 0.
 * \param [in]  n       Rows; 0: none. Padding rows are ignored.
 * \param [in]  losses  losses[i × stride] of row first + i, in host memory. One that is NaN, infinite or negative
 *                      makes the sample's loss unknown, so that it is accepted next.
 * \param [in]  stride  Elements from row to row, >= 1.
 * \return ERR_ARG, with nothing taken, if the ticket is unknown or closed, or rows lie outside the batch or have been
 *         reported. Local: the peers are not told, and the run can go on. */
mpisift_status mpisift_indices_report(mpisift_indices *indices, int64_t serial, int64_t first, int64_t n,
                                      const float *losses, int64_t stride);

/** As mpisift_indices_report(), with more than losses, each with the stride: `confidence` for policy "hide", the
 * model's probability of the class that it predicts, 0 where that is wrong; `group` for mpisift_config::class_floor, in
 * [0, groups), else ERR_ARG. They may be NULL. A confidence that is NaN or below 0 counts as 0. Only read. */
mpisift_status mpisift_indices_report_scores(mpisift_indices *indices, int64_t serial, int64_t first, int64_t n,
                                             const mpisift_scores *scores, int64_t stride);

/** Tell the peers that this rank's own work failed. Not collective: this rank goes on with the calls, and collectives
 * of the training step, that its peers make, until at most the second call of mpisift_indices_next(), or another
 * collective call before that, returns ERR_USER with \a message on all ranks. */
mpisift_status mpisift_indices_fail(mpisift_indices *indices, const char *message);

/** What is known of the epoch of a loader whose policy goes by stale losses, which plans its epochs as above and reads
 * only what is accepted. Not collective. ERR_STATE where there is no plan: before the first call of
 * mpisift_loader_next(), or with another policy; ERR_ARG. */
mpisift_status mpisift_loader_epoch(const mpisift_loader *loader, mpisift_index_epoch *epoch);

/** Share of the run that is done, in [0, 1], for learning-rate schedules: of mpisift_config::step_budget if there is
 * one, else (epochs ended + share of this one's steps) / epochs. 0 for endless runs. Not collective. */
double mpisift_indices_fraction(const mpisift_indices *indices);

/** As mpisift_loader_sample_seed(). Not collective. */
uint64_t mpisift_indices_sample_seed(const mpisift_indices *indices, int64_t epoch, int64_t id);

/** Release the plan and set *indices to NULL. Collective. NULL and a pointer to NULL are no-ops. */
mpisift_status mpisift_indices_destroy(mpisift_indices **indices);

/** @} */

#ifdef __cplusplus
}
#endif
#endif
