/* A group of an HDF5 file whose data sets are the fields of samples, read in blocks through a cache. */
#ifndef MSIFT_IO_DATASET_H
#define MSIFT_IO_DATASET_H

#include <hdf5.h>

#include "base/memory.h"

enum { MSIFT_NAME = 128 };

struct msift_h5_field {
  char name[MSIFT_NAME];
  mpisift_field field; /* its name points to `name` */
  hid_t data, memory_type;
  size_t offset; /* of its rows in a cached block */
};

struct msift_cached {
  unsigned char *rows;
  int64_t block;
  int32_t newer, older; /* neighbours in the order of use; −1: none */
};

struct msift_dataset {
  char path[256]; /* for messages */
  hid_t file, group;
  int64_t bytes;    /* of the file when it was opened; −1: unknown */
  int64_t n, block; /* samples; samples a block */
  int n_fields;
  struct msift_h5_field fields[MPISIFT_MAX_FIELDS];
  size_t block_bytes;

  /* The cache: least recently used blocks give way. */
  struct msift_cached *cached;
  int32_t *place; /* [blocks]: index in `cached`, or −1 */
  int32_t n_cached, max_cached, newest, oldest;
};

/* Local. On failure nothing is left behind. */
mpisift_status msift_dataset_open(struct msift_dataset *dataset, const char *path, const char *group,
                                  const char *const *names, int n_names, size_t cache_bytes,
                                  struct msift_memory *memory, struct msift_error *error);
void msift_dataset_close(struct msift_dataset *dataset, struct msift_memory *memory);

/* Copy samples ids[0..n) to dst[f], [n][field f]. */
mpisift_status msift_dataset_read(struct msift_dataset *dataset, int64_t n, const int64_t *ids, void *const *dst,
                                  struct msift_memory *memory, struct msift_error *error);

#endif
