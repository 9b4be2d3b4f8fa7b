/* Several HDF5 files, described as the one data set that they make when they are read one after the other. */
#ifndef MSIFT_TOOLS_DESCRIBE_FILES_H
#define MSIFT_TOOLS_DESCRIBE_FILES_H

#include "tools/describe.h"

/* As describe_file(), of files or patterns of files. Groups with the same name must have the same fields; attributes
 * that differ are told so. */
bool describe_files(description *d, int n, char *const *names, const char *group);

/* Whether an argument names a file, or files. */
bool describe_is_file(const char *name);

#endif
