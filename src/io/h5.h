/* HDF5 as the reader uses it: silent, with its innermost message at hand. */
#ifndef MSIFT_IO_H5_H
#define MSIFT_IO_H5_H

#include <hdf5.h>

#include "base/error.h"

/* HDF5 prints its error stack unless told not to; the user's own handler, of either version of its interface, is put
 * back afterwards. */
struct msift_h5_quiet {
  unsigned version2;
  H5E_auto1_t print1;
  H5E_auto2_t print2;
  void *data;
};

void msift_h5_quiet_begin(struct msift_h5_quiet *quiet);
void msift_h5_quiet_end(const struct msift_h5_quiet *quiet);

/* The innermost message of the error stack, or "unknown cause". `text` has MSIFT_TEXT bytes. */
const char *msift_h5_cause(char *text);

/* Our type for a data set's type, or −1; *memory_type is then to be closed by the caller. */
int msift_h5_type(hid_t file_type, hid_t *memory_type);

/* Write the dimensions of an array type, and of arrays in it, to dims[at] and on; returns where they end. */
int msift_h5_array_dims(hid_t type, hsize_t *dims, int at);

/* The type of what an array or enumeration is made of; else a copy. To be closed. */
hid_t msift_h5_element(hid_t type);

#endif
