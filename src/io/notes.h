/* What a rank has learnt of files through HDF5, for ranks that see the same files: they need not ask HDF5, and the
 * servers of the file system, again. */
#ifndef MSIFT_IO_NOTES_H
#define MSIFT_IO_NOTES_H

#include "io/dataset.h"

struct msift_notes {
  bool taken; /* they are read; else they are written */
  int64_t n, capacity, at;
  unsigned char *bytes; /* [n], one file after the other; read so far: `at` */
};

/* Note what is known of a file that is open; of one that HDF5 has to read, that it is not told. With its chunks where
 * it stays open. */
mpisift_status msift_notes_write(struct msift_notes *notes, const struct msift_dataset *dataset, bool chunks,
                                 struct msift_memory *memory, struct msift_error *error);

/* Open the next file by the notes, as msift_dataset_open() does. False, and nothing is left behind, where there are
 * none, they do not tell of the file that is here, or there is an error. */
bool msift_notes_open(struct msift_notes *notes, const char *path, struct msift_dataset *dataset,
                      struct msift_scratch *scratch, struct msift_memory *memory, struct msift_error *error);

#endif
