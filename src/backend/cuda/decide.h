/* Launchers of the kernels that count and decide, as kernels.h has those of losses. See backend/device.h. */
#ifndef MSIFT_BACKEND_CUDA_DECIDE_H
#define MSIFT_BACKEND_CUDA_DECIDE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* As msift_device_law and msift_device_measure; decide.c asserts it. */
enum msift_cuda_law {
  MSIFT_CUDA_LAW_CONSTANT,
  MSIFT_CUDA_LAW_BY_BIN,
  MSIFT_CUDA_LAW_AT_LEAST,
  MSIFT_CUDA_LAW_PROPORTIONAL
};
enum msift_cuda_measure {
  MSIFT_CUDA_MEASURE_LOSS,
  MSIFT_CUDA_MEASURE_BOUND,
  MSIFT_CUDA_MEASURE_UNCERTAINTY,
  MSIFT_CUDA_MEASURE_REDUCIBLE
};

struct msift_cuda_bins {
  int n;
  const int16_t *top, *split;
};

struct msift_cuda_window {
  uint32_t *keys;
  int32_t *groups;
  int64_t capacity;
};

struct msift_cuda_count {
  struct msift_cuda_window window;
  int64_t first, n;
  uint32_t change;
  struct msift_cuda_bins bins;
  int64_t groups;
  int in_groups, in_bins;
  uint32_t *words;
};

/* n > 0; as all below. */
int msift_cuda_launch_count(const struct msift_cuda_count *job, void *stream);

struct msift_cuda_terms {
  int law;
  uint64_t constant;
  double parameter;
  const uint64_t *by_bin;
  const uint8_t *outliers;
  const uint64_t *by_group;
  uint64_t floor, coverage_epochs, epoch;
  int weighted;
  double factor, clip;
  uint32_t accept_key;
};

struct msift_cuda_findings {
  int64_t bad_row, bad_group_row;
  double bad_value;
  float bad_loss;
  int32_t bad_group;
};

struct msift_cuda_round {
  int64_t n;
  const int64_t *ids;
  const int32_t *places;
  int scored, sifting, measure;
  const float *losses, *bounds, *confidences;
  const void *references;
  int references_f64;
  const int32_t *classes;
  int64_t groups;
  struct msift_cuda_terms terms;
  struct msift_cuda_window window;
  int64_t first;
  struct msift_cuda_bins bins, counting; /* counting: those by which the words count */
  int refitting;
  int64_t too_old;
  uint8_t *accepted;
  float *probabilities, *weights;
  uint32_t *changes, *map, holder;
  uint32_t *bad, *outliers, *accepted_count, *failed;
  struct msift_cuda_findings *findings;
};

/* Decide on candidates; then, of a round that is scored, tell what was found in the lowest rows at fault. */
int msift_cuda_launch_decide(const struct msift_cuda_round *job, void *stream);
int msift_cuda_launch_findings(const struct msift_cuda_round *job, void *stream);

/* kept[0..*n_kept): the rows that are accepted, ascending. Scratch NULL: set *scratch_bytes only. */
int msift_cuda_launch_compact(int64_t n, const uint8_t *accepted, int32_t *kept, int64_t *n_kept, void *scratch,
                              size_t *scratch_bytes, void *stream);

#ifdef __cplusplus
}
#endif
#endif
