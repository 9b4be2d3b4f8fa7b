/* Choosing how a field is read. */
#ifndef MSIFT_IO_ROUTE_H
#define MSIFT_IO_ROUTE_H

#include "io/dataset.h"

/* Find out where the rows of a field are, and whether they can be read without HDF5. What cannot is left to HDF5; only
 * memory that is short is an error. */
mpisift_status msift_route_find(struct msift_h5_field *field, int64_t n, struct msift_memory *memory,
                                struct msift_error *error);
void msift_route_destroy(struct msift_h5_field *field, struct msift_memory *memory);

/* Whether a filter is undone without HDF5. */
bool msift_route_undoes(H5Z_filter_t id);

/* Bytes that decoding a chunk needs room for; 0: none. */
size_t msift_route_decodes(const struct msift_h5_field *field);

/* Read the last row both ways, and leave the field to HDF5 where they differ. */
mpisift_status msift_route_check(struct msift_h5_field *field, int64_t n, struct msift_scratch *scratch,
                                 struct msift_memory *memory, struct msift_error *error);

#endif
