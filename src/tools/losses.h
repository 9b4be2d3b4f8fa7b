/* The trained model's losses, as a field of the file it was trained from. */
#ifndef MSIFT_TOOLS_LOSSES_H
#define MSIFT_TOOLS_LOSSES_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/data.h"
#include "tools/mlp.h"
#include "tools/progress.h"

typedef struct loss_field {
  const char *file, *group, *name;
  bool replace;  /* losses that the field holds; nothing else is replaced */
  bool unlocked; /* the file is not locked */
} loss_field;

/* This rank's slice of the losses; data_slice() says which. */
typedef struct loss_slice {
  int64_t total; /* of all ranks */
  int64_t begin;
  float *values;
} loss_slice;

/* All are collective, print their errors and return an enum tool_exit, the same on all ranks. */

/* Before the file is opened for training: can the field be written? */
int losses_check(const loss_field *field, MPI_Comm comm, job_progress *progress);

/* Allocate for, and later compute, the losses of data->losses_of. */
int losses_create(loss_slice *losses, data_set *data);
int losses_compute(loss_slice *losses, data_set *data, mlp *net);
void losses_destroy(loss_slice *losses);

/* Write the field, after the data set was closed on all ranks. Rank 0 writes, and gives the name last: a run that is
 * interrupted before leaves the file as it was. */
int losses_write(const loss_slice *losses, const loss_field *field, MPI_Comm comm, job_progress *progress);

#endif
