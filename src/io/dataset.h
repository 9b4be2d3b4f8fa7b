/* A group of an HDF5 file whose data sets are the fields of samples, while it is open. */
#ifndef MSIFT_IO_DATASET_H
#define MSIFT_IO_DATASET_H

#include <hdf5.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "io/chunks.h"
#include "io/decode.h"

enum { MSIFT_NAME = 128 };

/* How a field is read: by HDF5, or with pread at known offsets. */
struct msift_route {
  const char *why; /* by HDF5, and why; NULL: with pread */
  int descriptor;  /* HDF5's own */
  uint64_t offset; /* of the first row, where they are contiguous */
  int64_t chunk;   /* rows of a chunk; 0: contiguous */
  int64_t n_chunks;
  struct msift_extent *chunks;
  struct msift_filters filters;
  bool alone;         /* HDF5 lacks a filter, and cannot read any row to compare with */
  size_t element;     /* bytes */
  bool swapped;       /* they are in the other order in the file */
  struct stat opened; /* the file, as it was */
};

struct msift_h5_field {
  char name[MSIFT_NAME];
  mpisift_field field; /* its name points to `name` */
  size_t bytes;        /* of a row */
  int stored_rank;     /* dimensions in the file, with that of samples; those of an array type come behind */
  hid_t data, memory_type;
  struct msift_route route;
  int64_t block; /* rows that are read at once: whole chunks */
};

struct msift_dataset {
  char path[256]; /* for messages */
  hid_t file, group;
  int descriptor;   /* of a file that is opened without HDF5; −1: none */
  int64_t bytes;    /* of the file when it was opened; −1: unknown */
  int64_t n, block; /* samples; samples a block of the largest field */
  int n_fields;
  struct msift_h5_field fields[MPISIFT_MAX_FIELDS];
};

/* Local. `scratch` grows to what decodes the file's chunks. On failure nothing else is left behind. */
mpisift_status msift_dataset_open(struct msift_dataset *dataset, const char *path, const char *group,
                                  const char *const *names, int n_names, bool unlocked, struct msift_scratch *scratch,
                                  struct msift_memory *memory, struct msift_error *error);
void msift_dataset_close(struct msift_dataset *dataset, struct msift_memory *memory);

/* Bytes of the largest chunk that has to be decoded; 0: none. */
size_t msift_dataset_decodes(const struct msift_dataset *dataset);

#endif
