/* What `mpisift info` tells about an HDF5 file. */
#ifndef MSIFT_TOOLS_DESCRIBE_H
#define MSIFT_TOOLS_DESCRIBE_H

#include <hdf5.h>
#include <stdbool.h>
#include <stdint.h>

enum { DESCRIBE_MAX_CLASSES = 100, DESCRIBE_MAX_FILTERS = 8 };

typedef struct described_attribute {
  char *name;
  char *value; /* text, a number as text, or the type in parentheses */
  bool is_number;
} described_attribute;

typedef struct described_attributes {
  int n;
  described_attribute *items;
} described_attributes;

typedef struct described_class {
  int64_t label, count;
} described_class;

typedef struct described_field {
  char *name;
  char type[48];
  const char *problem; /* why it cannot be a field for training; NULL if it can */
  int ndim;            /* with the rows */
  hsize_t dims[H5S_MAX_RANK];
  const char *layout;
  int chunk_ndim; /* 0 if not chunked */
  hsize_t chunk[H5S_MAX_RANK];
  int n_filters;
  char filters[DESCRIBE_MAX_FILTERS][64];
  bool readable; /* all filters are there */
  uint64_t raw_bytes, stored_bytes;
  char reading[160]; /* how training reads it, and why; "" if it cannot be a field for training */
  int n_classes;     /* 0: not counted */
  described_class *classes;
  described_attributes attributes;
} described_field;

typedef struct described_group {
  char *path;
  int64_t rows; /* of the fields without a problem; -1: they differ, or there is none */
  int n_fields;
  described_field *fields;
  described_attributes attributes;
} described_group;

typedef struct description {
  char *path; /* of the first file */
  int n_files;
  described_attributes attributes; /* of the root */
  int n_groups;
  described_group *groups; /* those with fields */
} description;

/* Describe a file, or one group of it. Prints errors with tool_error(). Released in both cases. */
bool describe_file(description *d, const char *path, const char *group);
void describe_release(description *d);

#endif
