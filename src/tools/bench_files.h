/* Files that `mpisift bench read` and `bench step` read: one data set, "x", whose rows begin with their own number. */
#ifndef MSIFT_TOOLS_BENCH_FILES_H
#define MSIFT_TOOLS_BENCH_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/bench.h"

enum { BENCH_PATH = 1024 }; /* of a folder */

typedef struct bench_shape {
  int64_t rows, elements; /* of a row */
  size_t size;            /* of an element: 4 for float32, 1 for uint8 */
  int64_t chunk_rows;     /* 0: contiguous */
  bool deflate;           /* shuffle and deflate at level 1 */
} bench_shape;

/* Where bytes lie in a file. */
typedef struct bench_extent {
  int64_t offset;
  size_t bytes;
} bench_extent;

/* Write a file of rows that look like pictures. False where that fails; what is there of the file is to be deleted. */
bool bench_write_file(const char *path, const bench_shape *shape);

/* Where runs of `unit_rows` rows lie, which are the chunks unless the file is contiguous. NULL where that fails. */
bench_extent *bench_locate(const char *path, const bench_shape *shape, int64_t unit_rows);

/* Make a new folder in another, or in $TMPDIR where it is named so; `folder` has BENCH_PATH bytes. Collective; returns
 * an enum tool_exit. */
int bench_make_folder(bench_job *job, const char *parent, char *folder);

#endif
