/* A group of an HDF5 file whose data sets are the fields of samples, read in blocks through caches, one a field. */
#ifndef MSIFT_IO_DATASET_H
#define MSIFT_IO_DATASET_H

#include <hdf5.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "io/chunks.h"
#include "io/decode.h"
#include "io/readers.h"

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

/* What is in a place of the cache. */
enum msift_cached_state {
  MSIFT_VACANT,
  MSIFT_QUEUED,  /* for the readers; */
  MSIFT_READING, /* what it holds is theirs */
  MSIFT_READY,
  MSIFT_FAILED,
  MSIFT_NOTED /* nothing: rows of this block are read one by one */
};

/* The caller's thread owns all but what is queued or being read, and the queue's links. */
struct msift_cached {
  unsigned char *memory, *rows; /* rows: aligned */
  int64_t block;
  int32_t newer, older; /* neighbours in the order of use; −1: none */
  bool pinned;          /* does not give way: its rows are still wanted */
  int64_t group;        /* of rows that wait for it; −1: none */
  int64_t used;         /* rows copied from it */

  /* To be read. */
  atomic_int state;
  const struct msift_h5_field *field;
  int64_t first, n;         /* rows */
  struct msift_fault fault; /* what: NULL unless reading failed */
  struct msift_cached *before, *behind;
};

/* The blocks of a field: least recently used ones give way. */
struct msift_cache {
  int64_t rows, n_blocks; /* rows of a block; blocks of the field */
  size_t bytes;           /* of a block */
  struct msift_cached *cached;
  int32_t *place; /* [n_blocks]: index in `cached`, or −1; while rows are gathered, −2 − index of a group */
  int32_t n_cached, max_cached, newest, oldest;
  bool by_row;                 /* rows are read one by one, as few of a block are wanted while it is held */
  bool wasteful;               /* few rows were used of the last blocks that gave way */
  int64_t n_left, n_left_used; /* blocks that gave way since that was last judged, and the rows used of them */
};

struct msift_h5_field {
  char name[MSIFT_NAME];
  mpisift_field field; /* its name points to `name` */
  size_t bytes;        /* of a row */
  int stored_rank;     /* dimensions in the file, with that of samples; those of an array type come behind */
  hid_t data, memory_type;
  struct msift_route route;
  struct msift_cache cache;
};

/* Rows wanted of a block that is not there yet. */
struct msift_group {
  int64_t block, first, last; /* the rows' places among those wanted */
  int32_t place;              /* of the block in the cache; negative: none */
};

/* How a data set is to be read. */
struct msift_reading {
  size_t cache_bytes; /* memory for blocks and for what decodes */
  int threads;
  int64_t prefetch; /* most blocks of a field that are read ahead */
  bool unlocked;    /* the file is opened without locking it */
};

struct msift_dataset {
  char path[256]; /* for messages */
  hid_t file, group;
  int64_t bytes;    /* of the file when it was opened; −1: unknown */
  int64_t n, block; /* samples; samples a block of the largest field */
  int n_fields;
  struct msift_h5_field fields[MPISIFT_MAX_FIELDS];
  struct msift_scratch scratch; /* of the caller's thread */
  struct msift_readers readers;
  int64_t prefetch; /* as in msift_reading */

  /* Of the rows that are gathered. */
  int64_t capacity;
  int64_t *next; /* place of the next row wanted of the same block, or −1 */
  struct msift_group *groups;
};

/* Local. On failure nothing is left behind. */
mpisift_status msift_dataset_open(struct msift_dataset *dataset, const char *path, const char *group,
                                  const char *const *names, int n_names, const struct msift_reading *reading,
                                  struct msift_memory *memory, struct msift_error *error);
void msift_dataset_close(struct msift_dataset *dataset, struct msift_memory *memory);

/* Copy samples ids[0..n) to dst[f], [n][field f]. */
mpisift_status msift_dataset_read(struct msift_dataset *dataset, int64_t n, const int64_t *ids, void *const *dst,
                                  struct msift_memory *memory, struct msift_error *error);

/* Have the readers begin with the blocks of samples that will be read next. Cannot fail: what goes wrong is met when
 * they are read. */
void msift_dataset_prefetch(struct msift_dataset *dataset, int64_t n, const int64_t *ids, struct msift_memory *memory);

#endif
