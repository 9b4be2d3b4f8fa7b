/* Launchers of the kernels that copy samples, as kernels.h has those of losses. See backend/device.h. */
#ifndef MSIFT_BACKEND_CUDA_RECORDS_H
#define MSIFT_BACKEND_CUDA_RECORDS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { MSIFT_CUDA_FIELDS = 16 };

/* As struct msift_tag of core/pool.h. */
struct msift_cuda_tag {
  int64_t id, epoch;
  float loss, probability, weight;
  uint32_t unused;
};

struct msift_cuda_rows {
  int n;
  unsigned char *fields[MSIFT_CUDA_FIELDS];
  size_t bytes[MSIFT_CUDA_FIELDS];
};

struct msift_cuda_pack {
  struct msift_cuda_rows from;
  const int32_t *rows;
  int64_t n;
  const int64_t *ids;
  const float *losses, *probabilities, *weights;
  int64_t epoch;
  unsigned char *records;
  int64_t first, capacity;
  size_t record_bytes;
};

/* n > 0. */
int msift_cuda_launch_pack(const struct msift_cuda_pack *job, void *stream);

struct msift_cuda_scatter {
  int64_t n, n_padded;
  const unsigned char *const *sources;
  const int64_t *slots;
  int64_t padding_epoch;
  struct msift_cuda_rows to;
  int64_t *ids, *to_slots, *epochs;
  float *losses, *probabilities, *weights;
  uint64_t *id_hash;
};

/* The columns of n_padded > 0 rows, and the fields of n > 0. */
int msift_cuda_launch_columns(const struct msift_cuda_scatter *job, void *stream);
int msift_cuda_launch_fields(const struct msift_cuda_scatter *job, void *stream);

#ifdef __cplusplus
}
#endif
#endif
