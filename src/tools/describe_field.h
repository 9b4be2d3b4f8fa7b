/* Describes one HDF5 data set, and the attributes of any object. */
#ifndef MSIFT_TOOLS_DESCRIBE_FIELD_H
#define MSIFT_TOOLS_DESCRIBE_FIELD_H

#include "tools/describe.h"

/* Both print errors with tool_error(). `f` and `list` are zeroed. */
bool describe_field(described_field *f, hid_t dataset, const char *name);
bool describe_attributes(described_attributes *list, hid_t object);

#endif
