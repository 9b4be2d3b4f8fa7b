/* HDF5 files read one after the other as one data set: the same fields of the same group of each. */
#ifndef MSIFT_IO_FILES_H
#define MSIFT_IO_FILES_H

#include "io/dataset.h"

enum { MSIFT_FILES_OPEN = 256 }; /* files open at a time, at most */

struct msift_file {
  char *path;
  int64_t first;              /* id of its first row */
  struct msift_dataset *open; /* NULL: not open now */
  struct stat seen;           /* the file, as it was at first */
  int64_t used;               /* when it was read last */
};

struct msift_files {
  int n_files;
  struct msift_file *files; /* [n_files + 1]; the last is none, and begins at n */
  int n_open, max_open;
  int64_t clock; /* reads so far */
  char *group;
  struct msift_reading reading; /* its cache is of all files */
  bool reads_ahead;             /* there are threads: of a single file only */
  int64_t n, block;
  int n_fields;
  mpisift_field fields[MPISIFT_MAX_FIELDS];
  char names[MPISIFT_MAX_FIELDS][MSIFT_NAME];
};

/* Local. Each path is a file, or a pattern as of glob(7) for files in the order of their names. On failure nothing is
 * left behind. */
mpisift_status msift_files_open(struct msift_files *files, const char *const *paths, int n_paths, const char *group,
                                const char *const *names, int n_names, const struct msift_reading *reading,
                                struct msift_memory *memory, struct msift_error *error);
void msift_files_close(struct msift_files *files, struct msift_memory *memory);

/* Copy samples ids[0..n) to dst[f], [n][field f]. */
mpisift_status msift_files_read(struct msift_files *files, int64_t n, const int64_t *ids, void *const *dst,
                                struct msift_memory *memory, struct msift_error *error);

/* As msift_dataset_prefetch(). */
void msift_files_prefetch(struct msift_files *files, int64_t n, const int64_t *ids, struct msift_memory *memory);

#endif
