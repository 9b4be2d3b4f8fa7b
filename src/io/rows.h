/* Plain binary files of rows, read without a cache. */
#ifndef MSIFT_IO_ROWS_H
#define MSIFT_IO_ROWS_H

#include <stdbool.h>

#include "base/memory.h"

enum { MSIFT_ROWS_OPEN = 64 }; /* files open at a time */

struct msift_rows_file {
  char *path;
  int64_t first;  /* id of its first row */
  int descriptor; /* −1: not open now */
};

struct msift_rows {
  int n_files;
  struct msift_rows_file *files; /* [n_files + 1]; the last is none, and begins at n */
  int open[MSIFT_ROWS_OPEN];     /* those with descriptors, in a ring; −1: none */
  int oldest;
  int64_t n, block, header, stride, row;
  int64_t left_out; /* bytes at the ends of files that fill no row */

  int n_fields;
  mpisift_field fields[MPISIFT_MAX_FIELDS];
  int64_t offsets[MPISIFT_MAX_FIELDS];
  bool swapped;         /* the files' bytes are in the other order */
  int64_t begin, width; /* of what the fields cover of a row */
  int64_t most;         /* rows that are read in one piece */
  unsigned char *piece; /* rows as they are in the file; NULL: they are read into their place */
};

/* Local; `files` has been checked. On failure nothing is left behind. */
mpisift_status msift_rows_open(struct msift_rows *rows, const mpisift_row_files *files, struct msift_memory *memory,
                               struct msift_error *error);
void msift_rows_close(struct msift_rows *rows, struct msift_memory *memory);

/* Read rows ids[0..n) to dst[f], [n][field f]. */
mpisift_status msift_rows_read(struct msift_rows *rows, int64_t n, const int64_t *ids, void *const *dst,
                               struct msift_error *error);

#endif
