/* Whether what a field claims can be read: its filters, its sources, and the bytes that it would have. */
#ifndef MSIFT_IO_STORAGE_H
#define MSIFT_IO_STORAGE_H

#include "io/dataset.h"

/* Of a field of n rows whose type and shape are known; the error names the file and the field. */
mpisift_status msift_storage_check(const struct msift_dataset *dataset, const struct msift_h5_field *field, int64_t n,
                                   struct msift_error *error);

/* Bytes of an open file, as the system tells them now; −1: unknown. HDF5 reads what lies behind the end as zeros. */
int64_t msift_storage_bytes(hid_t file);

#endif
