/* What a file takes from other files: by links, and as virtual data sets. */
#ifndef MSIFT_IO_OUTSIDE_H
#define MSIFT_IO_OUTSIDE_H

#include <hdf5.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Whether following a link of a group cannot wait for ever, as opening a pipe in another file's place would. */
bool msift_link_is_safe(hid_t group, const char *name);

/* Whether all sources of a virtual data set are there: HDF5 reads what is missing as zeros, without a word. `path` is
 * the file, and `name` the field, for messages. Data sets that are not virtual pass. */
mpisift_status msift_virtual_check(hid_t data, const char *path, const char *name, struct msift_error *error);

/* Rows of a chunk of the first source; 1 where it has none. */
int64_t msift_virtual_chunk(hid_t data);

#endif
