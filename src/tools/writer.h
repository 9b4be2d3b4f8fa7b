/* Writes an HDF5 data set under a temporary name, which becomes the wanted name only when all is written. */
#ifndef MSIFT_TOOLS_WRITER_H
#define MSIFT_TOOLS_WRITER_H

#include "tools/input.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct writer writer;
typedef struct writer_field writer_field;

typedef struct writer_options {
  int gzip;           /* deflate level, after the shuffle filter; 0: no filters */
  int64_t chunk_rows; /* 0: about 1 MiB */
} writer_options;

/* All functions print their errors with tool_error(). */

/* One writer at a time. An existing file is replaced only if `force`. The temporary file is removed if the process is
 * interrupted (SIGINT, SIGTERM, SIGHUP). */
writer *writer_create(const char *path, bool force);

/* Finish the file: give it its name, and its size to *bytes. Releases the writer, also on failure. */
bool writer_commit(writer *w, int64_t *bytes);

/* Remove the file and release the writer. NULL is a no-op. */
void writer_discard(writer *w);

/* A text attribute of the root. */
bool writer_attribute(writer *w, const char *name, const char *text);

/* A number as attribute of a group that is there; "" is the root. */
bool writer_number(writer *w, const char *group, const char *name, double value);
bool writer_integer(writer *w, const char *group, const char *name, int64_t value);

/* A field of `rows` rows in a group; "" is the root. Rows are appended one by one and written chunk by chunk. */
writer_field *writer_field_create(writer *w, const char *group, const input_field *like, int64_t rows,
                                  const writer_options *options);
bool writer_append(writer_field *f, const void *row);

/* Release the field; if `keep`, write what is left first. NULL is a no-op that succeeds. */
bool writer_field_close(writer_field *f, bool keep);

#endif
