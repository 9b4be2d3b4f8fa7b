/* The data of a training run: inputs and class labels from an HDF5 file, standardised; folds; evaluation. */
#ifndef MSIFT_TOOLS_DATA_H
#define MSIFT_TOOLS_DATA_H

#include <mpisift/mpisift.h>
#include <stdbool.h>
#include <stdint.h>

#include "tools/mlp.h"
#include "tools/progress.h"

enum { DATA_X, DATA_Y, DATA_REFERENCE, DATA_FIELDS }; /* reference losses: of the training group, if at all */
enum { DATA_GROUPS = 3 };
enum { DATA_PIECE = 256 }; /* rows that are read and evaluated together */

/* Where a data set is. */
typedef struct data_place {
  const char *file;                     /* the first, for messages */
  const char *const *files, *test_data; /* [n_files]; test_data NULL: the test group is in the same files */
  int n_files;
  const char *train_group, *test_group;
  const char *loss_group;          /* whose losses will be written; NULL: none */
  const char *fields[DATA_FIELDS]; /* the reference losses NULL: they are not needed */
  mpisift_reading reading;
} data_place;

typedef struct data_set {
  mpisift_ctx *ctx;
  MPI_Comm comm;
  int rank, ranks;
  job_progress *progress; /* where errors go */
  const data_place *place;
  mpisift_dataset *handles[DATA_GROUPS];
  mpisift_source train, test;
  mpisift_source losses_of; /* n = 0: none */
  int features, classes;
  double *mean, *scale;   /* [features]; standardised = (value - mean) * scale */
  double *row;            /* [features] */
  void *raw[DATA_FIELDS]; /* [DATA_PIECE] rows of any group */
  int64_t max_rows;
  float *x;        /* [max_rows][features], as filled by data_load() */
  int32_t *labels; /* [max_rows] */
} data_set;

/* Open the groups, find the number of classes and the standardisation, and allocate for loads of up to max_rows rows
 * (at least DATA_PIECE). Collective; prints its errors and returns an enum tool_exit, the same on all ranks. Fields
 * that the caller sets before: ctx, comm, progress, place. */
int data_open(data_set *data, int64_t max_rows);
void data_close(data_set *data);

/* First sample of a rank's slice of n samples; that of rank `ranks` is n. */
int64_t data_slice(int64_t n, int rank, int ranks);

/* Does something with n rows of a source, samples `first` and following, in data->raw. */
typedef void (*data_visit_fn)(data_set *data, const mpisift_source *source, int64_t first, int64_t n, void *user);

/* Read this rank's slice of a source, piece by piece. False if reading fails. */
bool data_visit(data_set *data, const mpisift_source *source, data_visit_fn visit, void *user);

/* Say that a rank could not read. Returns TOOL_FAILURE. */
int data_read_failed(data_set *data);

/* Fill data->x and data->labels from n rows of fields x and y, n <= max_rows. False if a label is out of range. */
bool data_load(data_set *data, const mpisift_field *fields, int64_t n, void *const *rows);

/* Nine tenths of a source, or the tenth held out: of every ten consecutive samples one, chosen by a hash. */
typedef struct data_fold {
  const mpisift_source *whole;
  int number; /* of ten, that have no sample held out in common */
  bool held_out;
} data_fold;

/* The fold as a source; `fold` is borrowed while it is in use. */
mpisift_source data_fold_source(data_fold *fold);

typedef struct data_errors {
  double error;    /* share of samples that are predicted wrongly */
  double balanced; /* mean over the classes present of the share in the class */
  double loss;     /* mean cross-entropy */
} data_errors;

/* Predict all samples of a source, split over the ranks. Collective; as data_open(). */
int data_evaluate(data_set *data, const mpisift_source *source, mlp *net, data_errors *errors);

#endif
