/* Reading rows of a field from its file. */
#ifndef MSIFT_IO_FETCH_H
#define MSIFT_IO_FETCH_H

#include "io/cache.h"
#include "io/dataset.h"

/* With pread, in any thread: rows [first, first + n) of a field that is read so, decoded. Where it has filters `first`
 * begins a chunk, and there is room for whole chunks. */
bool msift_fetch(const struct msift_h5_field *field, int64_t first, int64_t n, unsigned char *to,
                 struct msift_scratch *scratch, struct msift_fault *fault);

/* The rows of a block of the cache, with pread. */
void msift_fetch_block(struct msift_cached *block, struct msift_scratch *scratch);

/* Whether the file is as it was when it was opened. In any thread. */
bool msift_fetch_unchanged(const struct msift_h5_field *field, struct msift_fault *fault);

/* Whether it is known where these rows are stored. */
bool msift_fetch_located(const struct msift_h5_field *field, int64_t first, int64_t n);

/* By HDF5, in the caller's thread. False with its cause, of MSIFT_TEXT bytes. */
bool msift_fetch_by_hdf5(const struct msift_h5_field *field, int64_t first, int64_t n, void *to, char *cause);

#endif
