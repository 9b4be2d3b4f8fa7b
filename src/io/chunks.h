/* Where the chunks of a data set are in the file. */
#ifndef MSIFT_IO_CHUNKS_H
#define MSIFT_IO_CHUNKS_H

#include <hdf5.h>
#include <stdbool.h>
#include <stdint.h>

struct msift_extent {
  uint64_t offset;
  uint32_t bytes;   /* 0: nothing is stored, or it is not known where */
  uint32_t skipped; /* bit i: filter i was not applied */
};

/* Find n chunks of a number of rows each, which hold whole rows. False where HDF5 does not tell. `descriptor` is that
 * of the data set's file. */
bool msift_chunks_find(hid_t data, int descriptor, int64_t chunk_rows, int64_t n, struct msift_extent *chunks);

#endif
