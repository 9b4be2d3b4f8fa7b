/** \file mpisift.h
 * Loss-based sifting of training samples over MPI. At its end it includes indices.h and losses.h.
 *
 * Every candidate sample is scored with the user's own model, accepted or left out by one rule that all ranks share,
 * and accepted samples move between ranks so that every rank gets a full batch in every step.
 *
 * Conventions of this header
 *  - *Collective* means: called by all ranks of the team, in the same order. A collective call returns the same status
 *    on every rank; where a call cannot keep that promise, its comment says so.
 *  - A *replica* is one copy of the model: one rank, or the ranks of \ref mpisift_team::replica.
 *  - All memory is host memory (<mpisift/cuda.h> has what works on a device's). Counts are rows (samples) unless a unit
 *    is given. `[n][shape]` is a dense C array.
 *  - Objects are opaque and are released by their `destroy`, which takes the address of the handle and sets it to NULL.
 *  - One context, with all that is made from it, may be used by one thread at a time. Where MPI provides less than
 *    MPI_THREAD_SERIALIZED, that thread must be MPI's main thread.
 */
#ifndef MPISIFT_MPISIFT_H
#define MPISIFT_MPISIFT_H

#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mpisift/version.h>

#ifdef __cplusplus
extern "C" {
#endif

/** \defgroup status Status
 * @{ */

/** Result of a call: 0 is success, positive values are news, negative values are errors. */
typedef enum mpisift_status {
  MPISIFT_OK = 0,
  MPISIFT_END_OF_EPOCH = 1,  /**< no batch: the epoch is over; the next call begins the next epoch */
  MPISIFT_MORE = 2,          /**< no batch yet: push more candidates */
  MPISIFT_ERR_ARG = -1,      /**< an argument or a configuration value is invalid, or differs between ranks */
  MPISIFT_ERR_MEMORY = -2,   /**< an allocation failed */
  MPISIFT_ERR_IO = -3,       /**< a file could not be opened, read or understood */
  MPISIFT_ERR_DATA = -4,     /**< the data break a rule: too many bad losses, a label out of range */
  MPISIFT_ERR_CALLBACK = -5, /**< a callback of the user returned non-zero */
  MPISIFT_ERR_MPI = -6,      /**< an MPI call failed; the context refuses further work. Not agreed between ranks */
  MPISIFT_ERR_THREAD = -7,   /**< called from a thread that may not call MPI. Local: the peers wait in their call */
  MPISIFT_ERR_DEVICE = -8,   /**< a CUDA call failed, or no device is there */
  MPISIFT_ERR_BUSY = -9,     /**< called from inside a callback of the same context. Local */
  MPISIFT_ERR_STATE = -10,   /**< the call does not fit the object's state, e.g. an epoch beyond the last */
  MPISIFT_ERR_USER = -11     /**< a rank reported a failure of its own: mpisift_loader_fail(), mpisift_sifter_fail() */
} mpisift_status;

/** Static text for a status. Never NULL, for any value. Not collective. */
const char *mpisift_strerror(mpisift_status status);

/** @} */
/** \defgroup context Context
 * @{ */

/** One per training run: communicators, hooks, error text. */
typedef struct mpisift_ctx mpisift_ctx;

/** Who takes part. */
typedef struct mpisift_team {
  MPI_Comm comm;    /**< all ranks of the training run; duplicated, the caller may free it */
  MPI_Comm replica; /**< the ranks that together hold one model copy and get the same batch (tensor or pipeline
                         parallel); MPI_COMM_NULL or MPI_COMM_SELF where each rank holds a whole model. Duplicated.
                         All replicas have the same number of ranks. Replicas are numbered by their rank 0 in `comm` */
  int loss_rank;    /**< rank of `replica` whose score callback delivers the losses, e.g. the last pipeline stage */
} mpisift_team;

/** Levels of log lines. */
typedef enum mpisift_log_level { MPISIFT_LOG_WARNING = 1, MPISIFT_LOG_INFO = 2 } mpisift_log_level;

/** The user's hooks; any may be NULL, and the hooks may differ between ranks. They must not call the library. */
typedef struct mpisift_hooks {
  void *user;                                           /**< passed to each hook */
  void (*log)(void *user, int level, const char *text); /**< a line without newline; level: mpisift_log_level */
  void (*push)(void *user, const char *range);          /**< a named range begins (NVTX, Caliper); ranges nest */
  void (*pop)(void *user);                              /**< the innermost range ends */
} mpisift_hooks;

/** Open a context. Collective over team->comm.
 * \param [in]  team     Must describe the same replicas on all ranks.
 * \param [in]  hooks    NULL for none. Copied.
 * \param [out] message  Buffer of the caller for the error text, since no context exists then. May be NULL.
 * \param [in]  size     Bytes of \a message.
 * \param [out] ctx      The new context; NULL on error. Released with mpisift_close().
 * \return ERR_STATE if MPI is not initialised or already finalised (local), ERR_THREAD (local), ERR_ARG (local where
 * team or its comm is NULL), ERR_MEMORY, ERR_MPI.
 */
mpisift_status mpisift_open(const mpisift_team *team, const mpisift_hooks *hooks, char *message, size_t size,
                            mpisift_ctx **ctx);

/** Release the context and set *ctx to NULL. Collective. NULL and a pointer to NULL are no-ops.
 * \return ERR_STATE, with nothing released, while a loader, sifter or source made from it is alive. */
mpisift_status mpisift_close(mpisift_ctx **ctx);

/** Text of the last error of this context: failing rank (unless all failed alike), call, cause, what to do. "" where
 * none occurred. Inside a callback: of the callback's own calls. Not collective. Valid until the next call with the
 * same context. */
const char *mpisift_error(const mpisift_ctx *ctx);

/** Say, inside a callback that is about to return non-zero, why. The text becomes part of the error on all ranks.
 * Not collective. May be called from callbacks only; copied. */
void mpisift_explain(mpisift_ctx *ctx, const char *text);

/** @} */
/** \defgroup source Sources of samples
 * @{ */

/** Element types. */
typedef enum mpisift_type {
  MPISIFT_F32,
  MPISIFT_F64,
  MPISIFT_F16,
  MPISIFT_BF16,
  MPISIFT_U8,
  MPISIFT_I8,
  MPISIFT_U16,
  MPISIFT_I16,
  MPISIFT_U32,
  MPISIFT_I32,
  MPISIFT_U64,
  MPISIFT_I64
} mpisift_type;

enum { MPISIFT_MAX_FIELDS = 16, MPISIFT_MAX_DIMS = 8 };

/** Bytes of one element of a type; 0 for an unknown type. Not collective. */
size_t mpisift_type_size(mpisift_type type);
/** Static name of a type, such as "float32". Not collective. */
const char *mpisift_type_name(mpisift_type type);

/** One field of a sample, such as an image or a label. */
typedef struct mpisift_field {
  const char *name;
  mpisift_type type;
  int ndim;                        /**< dimensions of one sample; 0 for a scalar */
  int64_t shape[MPISIFT_MAX_DIMS]; /**< each at least 1; the first `ndim` count */
} mpisift_field;

/** Bytes of one sample of a field. Not collective. */
size_t mpisift_field_bytes(const mpisift_field *field);

/** Where candidates come from. mpisift_arrays_source(), mpisift_dataset_source(), mpisift_rows_source() and
 * mpisift_convert_source() fill one; or fill it with callbacks.
 *
 * *Indexed*: `n` samples with ids 0 to n−1, any of which `read` delivers; `n` and `block` agree between ranks.
 * *Stream*: `n` = −1 and `pull` delivers what comes next on this rank; its length is unknown and may differ between
 * ranks, and ids are the user's. `fields` agree between ranks. In a replica only rank 0's callbacks are called.
 *
 * The callbacks return 0 on success; any other value fails the round on all ranks, with ERR_CALLBACK, or for the
 * library's own sources with what they met (ERR_IO, ERR_DATA, ERR_MEMORY). They run on the
 * caller's thread inside collective calls and must not call the library, but for mpisift_explain().
 */
typedef struct mpisift_source {
  void *user;                  /**< passed to each callback */
  int64_t n;                   /**< samples, or −1 for a stream */
  int64_t block;               /**< consecutive ids that are cheap to read together, e.g. a chunk; 1: no locality */
  int n_fields;                /**< 1 to MPISIFT_MAX_FIELDS */
  const mpisift_field *fields; /**< copied by mpisift_loader_create() */

  /** Indexed: write samples ids[0] to ids[n−1] to dst[f], shape [n][field f]. n >= 1. */
  int (*read)(void *user, int64_t n, const int64_t *ids, void *const *dst);
  /** Stream: write up to `want` samples to dst[f] and ids, their number to *got. Fewer than wanted: the epoch's stream
   * ends here on this rank. Ids are >= 0. */
  int (*pull)(void *user, int64_t want, int64_t *got, int64_t *ids, void *const *dst);
  /** Stream: called before the first pull of every epoch. May be NULL: each epoch goes on with what follows. */
  int (*begin_epoch)(void *user, int64_t epoch);
  /** Indexed: these samples will probably be read next, in this order. Called by loaders after a round or a
   * planned batch was read, before it is scored or delivered; to return at once, such as after having threads begin.
   * May be NULL; a source that wraps another one hands it on with the ids of that one, or sets NULL. */
  void (*prefetch)(void *user, int64_t n, const int64_t *ids);
} mpisift_source;

/** Samples in arrays in memory; every rank holds the whole arrays. */
typedef struct mpisift_arrays {
  int64_t n;                   /**< samples */
  int n_fields;                /**< 1 to MPISIFT_MAX_FIELDS */
  const mpisift_field *fields; /**< [n_fields] */
  const void *const *data;     /**< data[f]: [n][field f] */
} mpisift_arrays;

/** The arrays as an indexed source. The structure and all it points to are borrowed while the source is in use.
 * Not collective. */
mpisift_source mpisift_arrays_source(const mpisift_arrays *arrays);

/** A group of an HDF5 file, or of several, whose data sets are fields with the sample as first dimension; see
 * doc/dataset.md. */
typedef struct mpisift_dataset mpisift_dataset;

/** Open a data set. Collective over the context's team; every rank opens the file.
 * \param [in]  ctx
 * \param [in]  path         The HDF5 file, same on all ranks; or, if no file has this name, a pattern as of glob(7)
 *                           such as "part-*.h5": see mpisift_dataset_open_files().
 * \param [in]  group        Such as "/train"; NULL for "/".
 * \param [in]  names        The fields wanted, [n_names]; NULL for all data sets of the group, by name.
 * \param [in]  n_names      0 with NULL.
 * \param [in]  cache_bytes  Memory for chunks on this rank; 0 for 512 MiB. A data set that fits is read once; else
 *                           there should be room for lanes / replicas × window chunks, or chunks are read again
 *                           and again.
 * \param [out] dataset      NULL on error. Released with mpisift_dataset_close().
 * \return ERR_IO (missing, truncated, not HDF5, no such group or field), ERR_DATA (lengths differ, zero rows,
 * unsupported type or shape), ERR_ARG (also where ranks find different rows), ERR_MEMORY, ERR_MPI. Reading: ERR_IO.
 */
mpisift_status mpisift_dataset_open(mpisift_ctx *ctx, const char *path, const char *group, const char *const *names,
                                    int n_names, size_t cache_bytes, mpisift_dataset **dataset);

/** How a data set is to be read. Set up by mpisift_reading_init(); of no effect on what is read, and may differ between
 * ranks. */
typedef struct mpisift_reading {
  size_t size;        /**< set by mpisift_reading_init() */
  size_t cache_bytes; /**< memory for chunks on this rank, as of mpisift_dataset_open(), with what decodes them.
                         SIZE_MAX keeps all of the data set, once read. Default 512 MiB */
  int threads;        /**< threads of this rank that read and decode beside the caller, at most 64; 0: none. They do
                           without HDF5 and MPI, and end when the data set is closed. Default −1: as many as there are
                           cores for this rank beside the caller's, at most 4 */
  int64_t prefetch; /**< chunks of a field, at most, that the threads read ahead for the next round of a loader, within
                         the cache; 0: none. Default −1: any number */
  bool unlocked;    /**< do not lock the file while it is open, as some parallel file systems need it. The environment's
                         HDF5_USE_FILE_LOCKING, where it is set, is stronger. Default false */
} mpisift_reading;

/** Fill in the defaults. \a size is sizeof(mpisift_reading). Not collective. */
void mpisift_reading_init(mpisift_reading *reading, size_t size);

/** Open several files as one data set: the ids of a file follow those of the one before. As mpisift_dataset_open().
 * Every rank looks into each file. Reading opens files as they are needed and keeps up to 256 open, but no more than
 * half of the descriptors that the process may have. All files share one cache and its threads.
 * \param [in]  paths  [n_paths] of files, or of patterns, whose files come in the order of their names (strcmp). They
 *                     may differ between ranks, such as copies on local disks; what is in the files may not. All have
 *                     the group, and in it the fields, with the same types and shapes; without names those of the
 *                     first.
 * \param [in]  reading  NULL: the defaults.
 * \return As mpisift_dataset_open(); ERR_DATA also where fields differ between files. Messages name the file.
 */
mpisift_status mpisift_dataset_open_files(mpisift_ctx *ctx, const char *const *paths, int n_paths, const char *group,
                                          const char *const *names, int n_names, const mpisift_reading *reading,
                                          mpisift_dataset **dataset);
/** How a field of a data set would be read: "pread", if the library reads and decodes its rows itself, or "H5Dread: "
 * and why it leaves them to HDF5. Local: needs neither a context nor MPI.
 * \param [in]  path, group  As for mpisift_dataset_open().
 * \param [in]  name         The field.
 * \param [out] text         [size]; on an error, its cause. \param [in] size
 * \return ERR_IO, ERR_DATA, ERR_ARG, ERR_MEMORY. */
mpisift_status mpisift_dataset_explain(const char *path, const char *group, const char *name, char *text, size_t size);

/** The data set as a source. Valid until the data set is closed. Not collective. */
mpisift_source mpisift_dataset_source(const mpisift_dataset *dataset);

/** Close the data set and set *dataset to NULL. Not collective. No loader may use it any more. */
void mpisift_dataset_close(mpisift_dataset **dataset);

/** Order of the bytes of an element in a file. */
typedef enum mpisift_byte_order { MPISIFT_NATIVE_ENDIAN, MPISIFT_LITTLE_ENDIAN, MPISIFT_BIG_ENDIAN } mpisift_byte_order;

/** Plain binary files of rows, all rows of one size, without compression. Row i of a file begins at byte header +
 * i × stride. Rows may have gaps between them (stride > row), or overlap (stride < row), such as sequences of T + 1
 * tokens with stride T. Files without overlap hold whole rows only; what fills no row at the end of a file whose rows
 * overlap is left out, and a log line says so. Rows do not go on in the next file. What is not set is zero. */
typedef struct mpisift_row_files {
  const char *const *paths; /**< [n_paths]; the ids of a file follow those of the one before. The paths may differ
                                 between ranks, such as copies on local disks; what is in the files may not */
  int n_paths;
  int64_t header;              /**< bytes before the first row of each file. Default 0 */
  int64_t stride;              /**< bytes from one row's begin to the next; >= 1 */
  int64_t row;                 /**< bytes of a row. Default 0: as stride */
  int n_fields;                /**< 1 to MPISIFT_MAX_FIELDS */
  const mpisift_field *fields; /**< [n_fields] */
  const int64_t *offsets;      /**< [n_fields]: the byte of a row at which the field begins; fields may overlap, and
                                    bytes may belong to none. NULL: one behind the other */
  mpisift_byte_order order;    /**< default MPISIFT_NATIVE_ENDIAN */
  int64_t block;               /**< mpisift_source::block. Default 0: the rows of about 1 MiB */
} mpisift_row_files;

/** Files of rows that are open. */
typedef struct mpisift_rows mpisift_rows;

/** Open files of rows. Collective over the context's team; every rank opens each file, and keeps at most 64 open.
 * Rows are read straight from the files, consecutive ids in one piece; up to 1 MiB, or one row, is kept as a buffer
 * where rows have several fields or bytes of none.
 * \param [in]  ctx
 * \param [in]  files  Copied. Equal on all ranks but for the paths, and so are the numbers of rows found; checked.
 * \param [out] rows   NULL on error. Released with mpisift_rows_close().
 * \return ERR_IO (missing, not a regular file), ERR_DATA (no rows, or bytes that are no whole row), ERR_ARG (also a
 * field that ends beyond its row), ERR_MEMORY, ERR_MPI. Reading: ERR_IO (also where a file has shrunk).
 */
mpisift_status mpisift_rows_open(mpisift_ctx *ctx, const mpisift_row_files *files, mpisift_rows **rows);

/** The rows as an indexed source. Valid until they are closed. Not collective. */
mpisift_source mpisift_rows_source(const mpisift_rows *rows);

/** Close the files and set *rows to NULL. Not collective. No loader may use them any more. */
void mpisift_rows_close(mpisift_rows **rows);

/** How a field of a source is to be converted: each value to value × scale + offset, of another type. */
typedef struct mpisift_conversion {
  const char *field; /**< its name */
  mpisift_type type; /**< MPISIFT_F32, MPISIFT_F64, MPISIFT_I32 or MPISIFT_I64; from any type */
  double scale;      /**< finite; 0 stands for 1 */
  double offset;     /**< finite */
} mpisift_conversion;

/** A source whose fields are converted. */
typedef struct mpisift_convert mpisift_convert;

/** Convert fields of a source as they are read or pulled; other fields pass as they are. Collective over the context's
 * team.
 *
 * From integer to integer, without scale and offset, values are exact. All else is computed in float64; results are
 * rounded to the nearest, for integer types to an integer, ties to even. A value that the type cannot hold is ERR_DATA,
 * and the message names field, sample and value: an integer out of range, NaN or infinite for an integer type, or a
 * finite value that would become infinite. NaN and infinite values stay so in float types. A stream goes on behind the
 * samples that were pulled with such a value.
 * \param [in]  ctx
 * \param [in]  source       Indexed or a stream. Copied; all that it points to must live as long as the new source.
 * \param [in]  conversions  [n], equal on all ranks; checked. One for each field that is to be converted. Borrowed for
 *                           the time of the call.
 * \param [in]  n            At least 1.
 * \param [out] convert      NULL on error. Released with mpisift_convert_destroy().
 * \return ERR_ARG (also a field that the source does not have), ERR_DATA (the source is empty), ERR_MEMORY, ERR_MPI.
 */
mpisift_status mpisift_convert_create(mpisift_ctx *ctx, const mpisift_source *source,
                                      const mpisift_conversion *conversions, int n, mpisift_convert **convert);

/** The source of what is converted; as many samples, with the same ids. Valid until it is destroyed. Not collective.
 */
mpisift_source mpisift_convert_source(const mpisift_convert *convert);

/** Release what converts and set *convert to NULL; the source that was converted stays. Not collective. No loader may
 * use it any more. */
void mpisift_convert_destroy(mpisift_convert **convert);

/** @} */
/** \defgroup config Configuration
 * @{ */

/** What happens to accepted samples that do not fill a global batch when an epoch ends. */
typedef enum mpisift_end {
  MPISIFT_CARRY, /**< they open the first batch of the next epoch (default) */
  MPISIFT_FLUSH, /**< they form a last short batch whose sizes differ by at most one between replicas */
  MPISIFT_DROP   /**< they are dropped and counted */
} mpisift_end;

/** The weights of accepted samples, with p the probability of acceptance. Trainers that apply weights multiply each
 * sample's loss by its weight and say so with mpisift_config::weights_applied. */
typedef enum mpisift_weights {
  MPISIFT_WEIGHTS_POLICY,    /**< what the policy asks for: NORMALIZED for importance sampling, else 1 (default) */
  MPISIFT_WEIGHTS_UNBIASED,  /**< 1/p: weighted sums over accepted samples estimate sums over candidates */
  MPISIFT_WEIGHTS_NORMALIZED /**< k/p, with k the share kept of late, or with a schedule what the policy expects:
                                weighted means over accepted samples estimate means over candidates; weights are 1 on
                                average */
} mpisift_weights;

/** How a scheduled setting goes from point to point. */
typedef enum mpisift_shape { MPISIFT_CONSTANT, MPISIFT_STEPS, MPISIFT_LINEAR, MPISIFT_COSINE } mpisift_shape;

enum { MPISIFT_MAX_POINTS = 16 };

/** The course of a policy's strength, its beta or keep, over the run. Up to the first point the value is that of
 * mpisift_config::beta or keep, from the last point on that of the last point. In between it goes from point to point:
 * in steps, linearly, or along half a cosine. */
typedef struct mpisift_schedule {
  mpisift_shape shape;              /**< MPISIFT_CONSTANT: there is no schedule */
  int n;                            /**< points; 1 to MPISIFT_MAX_POINTS */
  double at[MPISIFT_MAX_POINTS];    /**< shares of the run (see mpisift_loader_fraction()), ascending, in [0, 1] */
  double value[MPISIFT_MAX_POINTS]; /**< beta or keep from there on */
} mpisift_schedule;

/** Configuration of a loader or a sifter. Equal on all ranks, field by field; checked. Set by mpisift_config_init(),
 * then changed. */
typedef struct mpisift_config {
  size_t size; /**< sizeof(mpisift_config) of the caller */

  const char *policy; /**< "relative" (default), "top", "absolute", "reducible", "reducible_top", "importance",
                           "importance_bound", "uncertainty", "random" or "all"; by stale losses, for loaders
                           and index plans, "stale_relative", "soft_prune" or "hide"; see doc/policies.md */
  double beta;      /**< relative, reducible, uncertainty, stale_relative: p = q^beta with q the percentile; > 0; keeps
                         1/(1+beta). Default 1 */
  double keep;      /**< top, reducible_top, importance, importance_bound, random, hide: share kept; soft_prune:
                         probability of losses below the line; in (0, 1]. Default 0.5 */
  double threshold; /**< absolute: the least loss that is accepted; >= 0. Default 0 */
  double prune_quantile; /**< soft_prune: losses below this quantile are pruned; in [0, 1]; 0: below the mean.
                              Default 0 */
  double move_back; /**< hide: samples whose confidence was below this when trained last are kept; in [0, 1]. Default
                         0.7 */
  double loss_smoothing; /**< stale losses: a sample's loss is smoothed over its reports, s = b s + (1 − b) loss, with b
                              this; in [0, 1). Default 0: the last loss counts */
  double loss_difference; /**< stale losses: so many times the change, loss − s of before, is added; in
                               [0, loss_smoothing]. Default 0 */
  int64_t refresh_every;  /**< stale losses: score samples that are left out in every k-th epoch. Default 0: never */
  double refresh_share;   /**< of these, this share; in [0, 1]. Default 1 */
  int64_t step_budget; /**< stale losses and index plans: the run ends after so many steps, if not sooner. Default 0: no
                          budget */
  mpisift_schedule schedule;   /**< of beta or keep over the run. Default constant */
  const char *reference_field; /**< reducible: the scalar field, float32 or float64, that holds each sample's reference
                                    loss. Default "reference_loss" */
  int64_t loss_history_length; /**< candidates of all ranks, scored last, in the loss history; places of rejected ones
                                    count. Default 4096 */
  bool exact_history; /**< percentiles from the sorted losses of the window, of which every rank holds all, in place of
                           counts by bins, which place a loss within 1/341 or so. Default false */
  int64_t sift_delay; /**< training steps before sifting starts; all candidates are accepted until then. Default 0 */
  bool repeat_delay_per_epoch; /**< the delay holds in each epoch again */

  int64_t sift_every; /**< sift for every k-th training step only, and accept all for the others; by stale losses, and
                         in index plans, every k-th epoch. Default 1 */
  double full_data_tail; /**< share of the run's candidates, at its end, that are all accepted; in [0, 1). Default 0 */
  int64_t coverage_epochs; /**< each sample is accepted in at least one of so many epochs, whatever its loss. Default 0:
                              no */
  double outlier_share;    /**< the highest share of losses, or of what else the policy goes by, is never accepted, as
                              noise;    in [0, 1). Default 0 */
  double class_floor;      /**< no class falls below this share of what is accepted, as far as its candidates go; in
                                [0, 1]. Needs groups. Default 0 */
  int64_t groups;          /**< with class_floor: the number of classes, see mpisift_scores::group. Default 0 */
  double floor;            /**< least probability of acceptance, but for outliers; in [0, 1]. Default 0 */
  mpisift_weights weights; /**< default MPISIFT_WEIGHTS_POLICY */
  double weight_clip;      /**< largest weight other than 1, >= 1; 0: no limit. Default 0 */

  int64_t batch_size;        /**< samples per replica and step. Default 32 */
  int64_t global_batch_size; /**< samples of all replicas per step, instead of batch_size; quotas differ by at most
                                  one. Default 0: batch_size × replicas */
  int64_t score_batch_size;  /**< rows of each call of the score callback. Default 0: those of one batch */
  int64_t epochs;            /**< epochs of the run, for mpisift_loader_fraction(); 0: endless. Default 1 */
  mpisift_end end_of_epoch;  /**< default MPISIFT_CARRY */
  bool pad_last_batch;       /**< with MPISIFT_FLUSH: pad the short batch to full size with rows of id −1, weight 0 */
  bool weights_applied;      /**< the trainer multiplies each sample's loss by its weight; needed for padding and
                                  for weights other than 1, see weights */
  int pipeline_depth; /**< 0: a batch is formed from the round just scored; 1: batches use rounds up to the previous
                         one, and exchange and statistics overlap the training step. Default 0 */

  uint64_t seed;  /**< of order and acceptance. Default 0 */
  bool shuffle;   /**< indexed sources: false reads ids in ascending order. Default true */
  int64_t lanes;  /**< independent runs the order is woven from; at least the number of replicas. Default 0:
                       240, or the next multiple of it that is not less than the number of replicas */
  int64_t window; /**< blocks of a lane among which samples are shuffled. Default 2 */

  double bad_loss_share; /**< a round with more than this share of NaN, infinite or negative losses is an error;
                              below it they are rejected and counted. In [0, 1]. Default 0.01 */
  int64_t report_lag;    /**< a report of losses may come this many batches late. Default 1 */
  bool pin_memory;       /**< batches in page-locked memory, for fast copies to a GPU; needs a CUDA device and
                              initialises it. Default false */
} mpisift_config;

/** Fill with defaults. \a size: sizeof(mpisift_config). Not collective. */
void mpisift_config_init(mpisift_config *config, size_t size);

/** @} */
/** \defgroup loader Loader
 * @{ */

typedef struct mpisift_loader mpisift_loader;

/** A batch, a micro-batch, or the candidates handed to a score callback: a struct of arrays.
 * The library owns the memory. The arrays of a loader's batches have the same addresses in every step (by stale losses:
 * the fields do, the columns beside them do not), and hold a batch
 * until the next call of mpisift_loader_next() or mpisift_loader_fail(). */
typedef struct mpisift_batch {
  int64_t n;        /**< rows; the replica's quota */
  int64_t valid;    /**< the first `valid` rows are samples, the rest is padding */
  int64_t global_n; /**< samples of all replicas in this step: the divisor of a mean loss, but with
                         MPISIFT_WEIGHTS_UNBIASED, where it is the sum of all replicas' weights */
  int64_t serial;   /**< ticket for mpisift_loader_report(); 0, 1, 2 … over the run */
  int64_t epoch;    /**< epoch in which the batch is trained, from 0 */
  int n_fields;
  const mpisift_field *fields;                /**< [n_fields] */
  void *data[MPISIFT_MAX_FIELDS];             /**< data[f]: [n][field f]; the caller may overwrite it */
  const int64_t *lengths[MPISIFT_MAX_FIELDS]; /**< lengths[f]: [n] of a padded field, else NULL */
  const int64_t *ids;                         /**< [n]; −1 in padding */
  const int64_t *slots;       /**< [n]; place in the global batch, ascending; −1 in padding; NULL in candidates */
  const int64_t *epochs;      /**< [n]; epoch in which the sample was drawn: less than `epoch` if carried over; NULL in
                                  candidates, which are all of `epoch` */
  const float *losses;        /**< [n]; as scored; NaN where not scored, 0 in padding; NULL in candidates */
  const float *probabilities; /**< [n]; of acceptance; NULL in candidates */
  const float *weights;       /**< [n]; factor for the sample's loss; 0 in padding; NULL in candidates */
} mpisift_batch;

/** What a score callback writes: [n] each; NULL where the configuration does not ask for it. Values in padding rows are
 * ignored. Values out of range are bad like a bad loss, but for group, which is an error. */
typedef struct mpisift_scores {
  float *loss;  /**< each sample's own loss, finite and >= 0 */
  float *bound; /**< importance_bound: a bound of the norm of its gradient, such as ‖softmax − onehot‖, finite and
                     >= 0 */
  float *confidence; /**< uncertainty: the model's probability of the class that it predicts, in [0, 1] */
  int32_t *group;    /**< class_floor: its class, in [0, mpisift_config::groups) */
  float *entropy;    /**< of the softmax, −sum p log p. No policy asks for what follows */
  float *margin;     /**< logit of the label less the largest other one */
  float *correct;    /**< 1 where the margin is above 0, else 0 */
} mpisift_scores;

/** Score candidates with the model in evaluation mode. Called on every rank of the team equally often, each time with
 * n = score_batch_size rows, so that it may communicate; what is missing is padding (id −1, zeros). It is called on the
 * caller's thread, inside mpisift_loader_next() or mpisift_loader_fail(). After a failure in a round the remaining
 * calls of that round still take place, so that no peer waits. \return 0, or any other value to fail the round on all
 * ranks (see mpisift_explain()). */
typedef int (*mpisift_score_fn)(void *user, const mpisift_batch *candidates, const mpisift_scores *scores);

/** Create a loader. Collective over the context's team.
 * \param [in]  ctx
 * \param [in]  config  Copied. Equal on all ranks, else ERR_ARG names the field.
 * \param [in]  source  Copied; what it points to (but `fields`) must live as long as the loader.
 * \param [in]  score   May be NULL for policies that do not score ("random", "all", and those by stale losses if
 *                      nothing is refreshed).
 * \param [in]  user    Passed to \a score.
 * \param [out] loader  NULL on error. Released with mpisift_loader_destroy().
 * \return ERR_ARG, ERR_DATA (fewer samples than one global batch), ERR_MEMORY, ERR_DEVICE, ERR_MPI.
 */
mpisift_status mpisift_loader_create(mpisift_ctx *ctx, const mpisift_config *config, const mpisift_source *source,
                                     mpisift_score_fn score, void *user, mpisift_loader **loader);

/** The next batch. Collective: all ranks get their full quota, or the same end of epoch, or the same error.
 *
 * Policies by stale losses plan an epoch in its first call (see mpisift_loader_epoch()), and read only what it accepts;
 * losses of what is trained are to be reported. pipeline_depth has no effect on them.
 *
 * After an error nothing is lost: the failed round was not committed and the call may be repeated. At pipeline depth 1
 * an error of a round is returned by the call after the one that scored it, on all ranks.
 * \param [in]  loader
 * \param [out] batch  Set on MPISIFT_OK only.
 * \return OK, END_OF_EPOCH, or an error.
 */
mpisift_status mpisift_loader_next(mpisift_loader *loader, mpisift_batch *batch);

/** Tell the peers that this rank's own work failed, in place of its next call of mpisift_loader_next().
 * Collective with the peers' mpisift_loader_next(), in which it takes part (score callbacks included, on padding).
 * That call of the peers returns ERR_USER with \a message, at each pipeline depth.
 * \return ERR_USER; or another error, if the round failed otherwise too. */
mpisift_status mpisift_loader_fail(mpisift_loader *loader, const char *message);

/** Let messages in flight make progress; worth a call between parts of a training step at pipeline depth 1, since MPI
 * advances only inside MPI calls. Not collective, cheap, never blocks. */
void mpisift_loader_progress(mpisift_loader *loader);

/** Report the losses with which samples of a batch were trained; their global mean becomes mpisift_stats::trained_loss.
 * Not collective: reports come in pieces, late by up to report_lag batches, or not at all. In a replica one rank
 * reports. \param [in] loader \param [in] serial  mpisift_batch::serial. \param [in] first   First row of the batch, >=
 * 0. \param [in] n       Rows; 0 is a no-op. \param [in] losses  [n]; values that are not finite are left out of the
 * mean; padding rows are ignored. \return ERR_ARG if the ticket is unknown or too old, or rows lie outside the batch
 * (local).
 */
mpisift_status mpisift_loader_report(mpisift_loader *loader, int64_t serial, int64_t first, int64_t n,
                                     const float *losses);

/** As mpisift_loader_report(), with more than losses: `confidence` for policy "hide", 0 where the prediction is wrong,
 * and `group` for a class floor by stale losses. Others are not used, and may be NULL. Policies by stale losses take
 * each row once, and in a replica that of mpisift_team::loss_rank. A confidence that is NaN or below 0 counts as 0. */
mpisift_status mpisift_loader_report_scores(mpisift_loader *loader, int64_t serial, int64_t first, int64_t n,
                                            const mpisift_scores *scores);

/** A micro-batch: rows [first, first + n) of a batch, without a copy. Clipped to the batch's rows. Not collective. */
mpisift_batch mpisift_batch_slice(const mpisift_batch *batch, int64_t first, int64_t n);

/** Share of the run's candidates consumed, in [0, 1], for learning-rate schedules: (epoch + position / n) / epochs.
 * Equal on all ranks. 0 for streams' unknown lengths within an epoch and for endless runs. Not collective. */
double mpisift_loader_fraction(const mpisift_loader *loader);

/** Seed for the random augmentation of a sample, equal at scoring and at training: of (seed, epoch, id), where epoch is
 * the one of mpisift_batch::epochs. Not collective. */
uint64_t mpisift_loader_sample_seed(const mpisift_loader *loader, int64_t epoch, int64_t id);

/** Which steps a statistic covers. */
typedef enum mpisift_scope { MPISIFT_STEP, MPISIFT_EPOCH, MPISIFT_RUN } mpisift_scope;

/** Counts are global, and equal on all ranks; times are this rank's. In each scope
 * candidates = sifted_out + rejected + outliers + accepted, and
 * carried_in + accepted = trained + dropped + carried_out + pooled (zero at the end of an epoch). */
typedef struct mpisift_stats {
  int64_t steps;      /**< batches delivered */
  int64_t rounds;     /**< rounds scored and decided */
  int64_t candidates; /**< samples drawn */
  int64_t scored;     /**< of these, scored */
  int64_t accepted;
  int64_t sifted_out;
  int64_t rejected;      /**< bad losses */
  int64_t outliers;      /**< not accepted because of outlier_share */
  int64_t trained;       /**< samples delivered in batches */
  int64_t dropped;       /**< by MPISIFT_DROP */
  int64_t carried_in;    /**< waiting when the scope began */
  int64_t carried_out;   /**< waiting when the scope ended, for later epochs */
  int64_t pooled;        /**< accepted and waiting now */
  int64_t moved;         /**< samples that changed rank */
  int64_t moved_bytes;   /**< bytes of these, as they travel; with padded fields known at the end of each epoch */
  int64_t unread_bytes;  /**< of samples that were left out without being read: by policies that go by stale losses */
  int64_t unread_blocks; /**< blocks of the source of which an epoch had no sample */
  int64_t refits;        /**< times the bins of the history were fitted to the losses */
  uint64_t id_hash; /**< sum modulo 2^64 of the hashes of the ids of all candidates of the run, as of the last epoch
                         that ended; that of all outcomes is the same, which is checked at each such end */
  double threshold_loss[3]; /**< loss, or what else the policy goes by, at which its probability reaches 0.1, 0.5, 0.9,
                                 modifiers aside, by the current history; NaN until the history is full or where no
                                 loss reaches it */
  double
      trained_loss; /**< mean of reported losses, each rounded to 2^-24 and cut at 2^23; NaN where none were reported */
  double read_s;    /**< seconds in reading, */
  double score_s;   /**< in the score callback, */
  double decide_s;  /**< in decisions and statistics, */
  double exchange_s; /**< in packing, moving and unpacking samples, */
  double wait_s;     /**< and in waiting for peers in the round's collective */
} mpisift_stats;

/** Statistics of the last step, the epoch (the running one, or the one that just ended) or the run. Not collective. */
mpisift_stats mpisift_loader_stats(const mpisift_loader *loader, mpisift_scope scope);

/** Release the loader and set *loader to NULL, also in the middle of an epoch and after errors. Collective.
 * NULL and a pointer to NULL are no-ops. */
mpisift_status mpisift_loader_destroy(mpisift_loader **loader);

/** @} */
/** \defgroup sifter Sifter
 * For training codes with a data pipeline of their own: they push scored candidates, learn which are accepted, and may
 * let the library rebalance the samples into full batches. One epoch: push and take what is ready until the data end,
 * then mpisift_sifter_end_epoch(), then take the rest.
 * @{ */

typedef struct mpisift_sifter mpisift_sifter;

/** What will be pushed. Equal on all ranks; checked. */
typedef struct mpisift_pushes {
  int64_t max_candidates;      /**< most candidates of a rank in one push; >= 1 */
  int64_t max_span;            /**< 0: no positions are given; else the places of a push, see
                                    mpisift_candidates::positions */
  int n_fields;                /**< fields of the records to be rebalanced; 0: none, there are decisions only */
  const mpisift_field *fields; /**< [n_fields]; copied */
  const bool *padded; /**< [n_fields]: samples have a length of at most the field's shape[0]; what is behind it does not
                           travel, and is zero in batches. NULL: no field is padded */
} mpisift_pushes;

/** Candidates of this rank. [n] each. All is borrowed for the time of the call, and read only. */
typedef struct mpisift_candidates {
  int64_t n;                     /**< 0 to max_candidates; ranks may differ */
  const int64_t *ids;            /**< >= 0; NULL: the library numbers all candidates of the run by position. With
                                      coverage_epochs give ids, the same in all epochs */
  const int64_t *positions;      /**< with max_span: places in the global order of this push, in [0, max_span), distinct
                                      over all ranks, in any order on a rank: accepted samples enter batches by position.
                                      Without: must be NULL, and the order is (push, index, rank) */
  const void *losses;            /**< as mpisift_scores::loss. Not needed by policies that do not score */
  mpisift_type loss_type;        /**< MPISIFT_F32, F64 (rounded to float32 first), F16 or BF16 */
  const float *bounds;           /**< as mpisift_scores::bound, */
  const float *confidences;      /**< mpisift_scores::confidence, */
  const int32_t *groups;         /**< and mpisift_scores::group; where the configuration asks for them */
  const float *references;       /**< reference losses, for policies "reducible" */
  const void *const *records;    /**< records[f]: [n][field f] */
  const int64_t *const *lengths; /**< lengths[f]: [n], in [0, shape[0]], of each padded field */
} mpisift_candidates;

/** What became of the candidates: [n] each; memory of the caller; NULL where it is not wanted. */
typedef struct mpisift_decisions {
  bool *accepted;
  float *probabilities; /**< of acceptance; 0 for bad losses and outliers */
  float *weights;       /**< factors for the losses of accepted samples */
} mpisift_decisions;

/** Create a sifter. Collective over the context's team.
 * \param [in]  ctx
 * \param [in]  config  As for a loader. What concerns sources has no effect: lanes, window, shuffle, score_batch_size.
 *                      pipeline_depth must be 0. Schedules and full_data_tail see the run grow from epoch to
 *                      epoch only. Without fields, a global batch of accepted samples counts as a training step. With
 *                      epochs 0 epochs end as well, by mpisift_sifter_end_epoch().
 * \param [in]  pushes
 * \param [out] sifter  NULL on error. Released with mpisift_sifter_destroy().
 * \return ERR_ARG, ERR_MEMORY, ERR_DEVICE, ERR_MPI. */
mpisift_status mpisift_sifter_create(mpisift_ctx *ctx, const mpisift_config *config, const mpisift_pushes *pushes,
                                     mpisift_sifter **sifter);

/** Push candidates and decide on them. Collective, also for ranks without candidates; a push in which no rank has any
 * changes nothing. Batches that are ready must be
 * taken first: call mpisift_sifter_next() until it returns MORE. In a replica the arguments of
 * rank 0 count, and decisions are given there.
 * With equal positions, ids, losses and configuration, decisions and batches are the same for any number of ranks.
 * \param [in]  sifter
 * \param [in]  candidates  NULL: none.
 * \param [out] decisions   Written on MPISIFT_OK only. NULL: not wanted.
 * \return OK; on an error nothing was taken, and the call may be repeated: ERR_ARG, ERR_DATA (too many bad losses, a
 * group out of range), ERR_MEMORY, ERR_STATE (a batch is ready, the epoch has been ended and mpisift_sifter_next() has
 * not said so yet, other ranks have ended it, or the run is over), ERR_USER, ERR_MPI. */
mpisift_status mpisift_sifter_push(mpisift_sifter *sifter, const mpisift_candidates *candidates,
                                   const mpisift_decisions *decisions);

/** Take the next batch, if one is ready. Collective. The batch is as mpisift_loader_next() gives it.
 * \return OK; MORE: push more candidates; END_OF_EPOCH; or an error, after which the call may be repeated. Sifters
 * without fields return MORE or END_OF_EPOCH. */
mpisift_status mpisift_sifter_next(mpisift_sifter *sifter, mpisift_batch *batch);

/** Say that the epoch has no more candidates. All ranks call it, between the same calls; not collective by itself.
 * Where some have ended it and others push, the next collective call is ERR_STATE.
 * mpisift_sifter_next() gives what is left by mpisift_config::end_of_epoch, and then END_OF_EPOCH. */
mpisift_status mpisift_sifter_end_epoch(mpisift_sifter *sifter);

/** Tell the peers that this rank's own work failed, in place of its next call of mpisift_sifter_push() or
 * mpisift_sifter_next(). Collective with that call of the peers, which returns ERR_USER with \a message; if it is a
 * mpisift_sifter_next() that returns MORE, with their next push, or the next mpisift_sifter_next() if they end the
 * epoch (to go on, this rank ends it too). \return ERR_USER; or another error, if the call failed otherwise too. */
mpisift_status mpisift_sifter_fail(mpisift_sifter *sifter, const char *message);

/** Statistics, as mpisift_loader_stats(); the step is the last push, or the last call of mpisift_sifter_next().
 * Accepted samples of a sifter without fields count neither as trained nor as pooled. Not collective. */
mpisift_stats mpisift_sifter_stats(const mpisift_sifter *sifter, mpisift_scope scope);

/** Release the sifter and set *sifter to NULL. Collective. NULL and a pointer to NULL are no-ops. */
mpisift_status mpisift_sifter_destroy(mpisift_sifter **sifter);

/** @} */

#ifdef __cplusplus
}
#endif

#include <mpisift/indices.h>
#include <mpisift/losses.h>
#endif
