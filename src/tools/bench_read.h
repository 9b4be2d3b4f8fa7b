/* A file that `mpisift bench read` reads in several ways, all in the order of the loader. */
#ifndef MSIFT_TOOLS_BENCH_READ_H
#define MSIFT_TOOLS_BENCH_READ_H

#include "tools/bench.h"
#include "tools/bench_files.h"

enum { READ_LOADER, READ_SOURCE, READ_PREAD, READ_FLOOR, READ_H5DREAD, READ_UNCOMPRESS, READ_WAYS };

/* A row of this rank, in the order of the epoch, and where its unit is in the window. */
typedef struct read_place {
  int64_t id, slot;
  bool fetch; /* the unit comes into the window with this row */
} read_place;

typedef struct read_run {
  bench_job *job;
  const char *path;
  bench_shape shape;
  size_t row_bytes;
  int64_t batch, lanes, window, block; /* of the loader */
  int threads;                         /* of the data sets */
  mpisift_dataset *dataset, *plain;
  mpisift_source source; /* of `plain` */
  mpisift_loader *loader;

  /* A unit is what is fetched at once: a chunk; of a contiguous file, the source's block. */
  int64_t unit_rows, n_units, slots;
  size_t stride; /* of units in the window */
  bench_extent *units;
  int fd;

  int64_t epoch, mine;
  read_place *places;                /* [mine] */
  int64_t *ids;                      /* [mine] */
  int64_t *slot_of, *held, *used_at; /* slot of a unit or −1; of a slot: its unit or −1, its last use */
  int64_t clock;
  unsigned char *filled, *bare; /* [slots]: windows of those that copy rows, and of those that do not */
  unsigned char *rows;          /* [batch], aligned */
  unsigned char *packed, *unpacked;
} read_run;

/* Open the file and make room. Collective; returns an enum tool_exit. Whatever it is, read_close() releases all. */
int read_open(read_run *run, bool single);
void read_close(read_run *run);

/* Lay out the next epoch, as the loader will. */
void read_plan(read_run *run);

/* Seconds that a way takes for this rank's rows of the epoch; negative where it failed. Collective. Each way but the
 * sampled H5Dread is to read each epoch once: what its window holds stays there. */
double read_by(read_run *run, int way);

/* bench_kept.c: what is not read of a file in chunks by a loader that goes by stale losses. Collective; an enum
 * tool_exit. */
int read_kept(bench_job *job, const char *path, const bench_shape *shape, int64_t batch, int64_t repeats);

#endif
