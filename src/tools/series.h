/* Inputs of the same fields of a group, read one after the other. Between its reading and its opening an input holds no
 * file open, so that there may be many. */
#ifndef MSIFT_TOOLS_SERIES_H
#define MSIFT_TOOLS_SERIES_H

#include "tools/input.h"

typedef struct series {
  int n, at; /* inputs; the one being read */
  input *parts;
  int64_t rows, row; /* of all; the next to be read */
  int n_fields;
  const input_field *fields;    /* those of the first part, which all have; the names, too */
  const char *group, *argument; /* of the first part */
  char *const *arguments;       /* [n]; borrowed */
} series;

/* All functions print their errors with tool_error(). */

/* Open the inputs and check that their fields are alike. */
bool series_open(series *s, int n, char *const *arguments, const input_csv_options *csv);
void series_close(series *s); /* of a zeroed series: no-op */

/* Read the next n rows to dst[field]; n is at most what is left. */
bool series_read(series *s, int64_t n, void *const *dst);

/* The field of a name, or -1. */
int series_field(const series *s, const char *name);

#endif
