/* Files that `mpisift convert` reads: rows of one field (IDX, NumPy) or two (CSV). */
#ifndef MSIFT_TOOLS_INPUT_H
#define MSIFT_TOOLS_INPUT_H

#include "tools/stream.h"

#include <hdf5.h>
#include <mpisift/mpisift.h>
#include <stdbool.h>
#include <stdint.h>

enum { INPUT_MAX_FIELDS = 2 };

typedef struct input_field {
  char *name;
  hid_t type; /* of the elements that read() delivers */
  int ndim;
  hsize_t shape[MPISIFT_MAX_DIMS]; /* of one row; the first `ndim` count */
  size_t row_bytes;
} input_field;

enum input_header { INPUT_HEADER_AUTO, INPUT_HEADER_YES, INPUT_HEADER_NO };

/* How to read CSV files. */
typedef struct input_csv_options {
  const char *label; /* name, or number from 1; NULL: the last column */
  enum input_header header;
  char delimiter;
} input_csv_options;

typedef struct input {
  const char *argument; /* as the user wrote it */
  char *group;          /* "" for the root, else without slashes at the ends */
  stream *stream;
  int64_t rows;
  int64_t row; /* the next to be read */
  int n_fields;
  input_field fields[INPUT_MAX_FIELDS];
  /* Read the next `n` rows to dst[field]; n is at most what is left. */
  bool (*read)(struct input *in, int64_t n, void *const *dst);
  void (*close)(struct input *in);
  /* Deliver the last field as `type`, which holds all that it holds; NULL: its type is the file's. */
  bool (*widen)(struct input *in, hid_t type);
  int n_columns; /* with names, of a CSV file, */
  char *const *columns;
  void *state; /* of the format */
} input;

/* All functions print their errors with tool_error(). */

/* Whether two arguments name the same group and field. */
bool input_same_place(const char *a, const char *b);

/* Open "FILE", "GROUP/=FILE" (CSV) or "[GROUP/]FIELD=FILE". */
bool input_open(input *in, const char *argument, const input_csv_options *csv);
void input_close(input *in); /* of a zeroed input: no-op */

/* For the formats: set a field whose shape is there; prints what is wrong with it. */
bool input_set_field(input *in, int field, const char *name, hid_t type);

/* For the formats of one field, after its header: set rows and shape from dims[ndim], and read the rest as rows. */
bool input_set_array(input *in, hid_t type, int ndim, const uint64_t *dims);

#endif
