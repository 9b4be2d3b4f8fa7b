/* Virtual data sets, whose rows are in data sets of other files. */
#ifndef MSIFT_IO_VIRTUAL_H
#define MSIFT_IO_VIRTUAL_H

#include <hdf5.h>
#include <stdint.h>

#include "base/error.h"

/* Whether all sources are there: HDF5 reads what is missing as zeros, without a word. `path` is the file, and `name`
 * the field, for messages. Data sets that are not virtual pass. */
mpisift_status msift_virtual_check(hid_t data, const char *path, const char *name, struct msift_error *error);

/* Rows of a chunk of the first source; 1 where it has none. */
int64_t msift_virtual_chunk(hid_t data, const char *path);

#endif
