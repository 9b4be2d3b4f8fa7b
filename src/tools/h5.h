/* Small helpers over the HDF5 library. */
#ifndef MSIFT_TOOLS_H5_H
#define MSIFT_TOOLS_H5_H

#include <hdf5.h>
#include <stdbool.h>
#include <stddef.h>

/* To be called before all else of HDF5: keep it from printing its error stack, and from tidying up at exit, where it
 * would crash on a file that could not be written (1.10). */
void h5_start(void);

/* How a file is to be opened; to be closed with H5Pclose(). HDF5 before 1.10.7 asks the environment only. */
hid_t h5_access(bool unlocked);

/* The innermost message of HDF5's error stack, or the system's message in it. Valid until the next call. */
const char *h5_reason(void);

/* A new type of class 'i' (signed), 'u' (unsigned) or 'f' (IEEE); negative if there is none of that size. Closed with
 * H5Tclose(). */
hid_t h5_type(char kind, size_t bytes, bool big_endian);

/* Name of a type, such as "float32" or "int16 (big-endian)". Returns whether data sets for training may have it. */
bool h5_type_name(hid_t type, char *name, size_t size);

/* Whether two open objects are the same one, by whatever links they were reached. */
bool h5_same_object(hid_t a, hid_t b);

/* Of groups by name in a file that can be read: whether one is not there, or is and has no such field; and whether two
 * are the same. */
bool h5_lacks_group(const char *path, const char *group);
bool h5_lacks_field(const char *path, const char *group, const char *field);
bool h5_same_group(const char *path, const char *a, const char *b);

#endif
