/* mpisift bench read: how fast the library reads HDF5 files in the order of an epoch, next to what lies below it.
 *
 * Files are made, read in several ways in turn, and deleted. All ways read the same rows in the same order with a
 * window of the same size, from the page cache: the first epoch of each file does not count. Ratios are rates: above 1
 * the library is faster. */
#include "tools/bench_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tools/h5.h"
#include "tools/tool.h"

enum { MEGABYTES, ROWS, BATCH, LANES, WINDOW, THREADS, REPEATS, CHUNKS, FOLDER };
enum { WIDEST_CHUNK = 32 << 20, LEAST_CHUNKS = 16, TINY_ROW = 64 };

static const struct {
  const char *name;
  int64_t elements;
  size_t size;
} kinds[] = {{"f32", 784, 4}, {"u8", 3072, 1}, {"large", 150528, 1}};

static const struct {
  const char *name;
  int64_t chunk_rows;
  bool deflate, single; /* rows in full shuffle, one by one */
} layouts[] = {{"contiguous", 0, false, false},
               {"single", 0, false, true},
               {"chunk64", 64, false, false},
               {"chunk1024", 1024, false, false},
               {"deflate64", 64, true, false}};

enum { N_KINDS = sizeof kinds / sizeof *kinds, N_LAYOUTS = sizeof layouts / sizeof *layouts };
enum { KEPT_KIND = 1, KEPT_LAYOUT = 2 }; /* of bytes, in chunks */

static int64_t min64(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

/* Seconds of the slowest rank, [repeats] of each way. */
typedef struct read_times {
  double *seconds[READ_WAYS], *ratios;
  int64_t n;
} read_times;

/* What decompression costs dwarfs what the loader costs beyond its source. */
static bool has_way(const read_run *run, int way)
{
  return way != READ_UNCOMPRESS || run->shape.deflate;
}

/* An epoch in all ways; of the first one, k < 0, nothing is noted. */
static bool read_epoch(read_run *run, read_times *times, int64_t k)
{
  bool right = true;

  read_plan(run);
  for (int i = 0; i < READ_WAYS && right; i++) {
    int way = (int)((i + k + READ_WAYS) % READ_WAYS);
    double seconds = has_way(run, way) ? read_by(run, way) : 0;

    right = bench_all(run->job, seconds >= 0);
    if (k >= 0)
      times->seconds[way][k] = seconds;
  }
  return right;
}

static void put_ratio(read_run *run, read_times *times, const char *prefix, const char *name, int of, int over,
                      const char *what)
{
  bench_put(run->job, prefix, name, bench_ratio(times->seconds[over], times->seconds[of], times->n, times->ratios),
            what);
}

static void put_rate(read_run *run, read_times *times, const char *prefix, const char *name, int way, const char *what)
{
  double bytes = (double)run->shape.rows * (double)run->row_bytes;

  bench_put(run->job, prefix, name, 1e-6 * bytes / bench_median(times->seconds[way], times->n), what);
}

static double stored_share(const read_run *run)
{
  double stored = 0;

  for (int64_t u = 0; u < run->n_units; u++)
    stored += (double)run->units[u].bytes;
  return stored / ((double)run->n_units * (double)run->unit_rows * (double)run->row_bytes);
}

/* Ratios first: a median sorts the samples that they pair. */
static void put(read_run *run, read_times *times, const char *prefix)
{
  for (int way = 0; way < READ_WAYS; way++)
    bench_slowest(run->job, times->seconds[way], times->n);
  put_ratio(run, times, prefix, "over_pread", READ_LOADER, READ_PREAD, "loader's rate over that of bare pread");
  put_ratio(run, times, prefix, "over_floor", READ_LOADER, READ_FLOOR, "loader's over pread and one copy of each row");
  put_ratio(run, times, prefix, "over_h5dread", READ_LOADER, READ_H5DREAD, "loader's over H5Dread row by row");
  put_ratio(run, times, prefix, "source_over_pread", READ_SOURCE, READ_PREAD, "reading alone over bare pread");
  put_ratio(run, times, prefix, "source_over_floor", READ_SOURCE, READ_FLOOR, "over pread and one copy of each row");
  put_ratio(run, times, prefix, "source_over_h5dread", READ_SOURCE, READ_H5DREAD, "over H5Dread row by row");
  if (run->shape.chunk_rows > 0)
    bench_put(run->job, prefix, "chunk_rows", (double)run->shape.chunk_rows, "rows of a chunk");
  if (run->shape.deflate) {
    put_ratio(run, times, prefix, "over_uncompress", READ_LOADER, READ_UNCOMPRESS, "over zlib and unshuffling alone");
    put_ratio(run, times, prefix, "source_over_uncompress", READ_SOURCE, READ_UNCOMPRESS, "reading alone over these");
    put_rate(run, times, prefix, "uncompress_mb_s", READ_UNCOMPRESS, "MB/s of these, of rows");
    bench_put(run->job, prefix, "stored_share", stored_share(run), "compressed size over size");
  }
  put_rate(run, times, prefix, "mb_s", READ_LOADER, "MB/s of the loader, all ranks");
  put_rate(run, times, prefix, "pread_mb_s", READ_PREAD, "MB/s of bare pread, of rows");
  put_rate(run, times, prefix, "floor_mb_s", READ_FLOOR, "MB/s of pread and one copy");
  put_rate(run, times, prefix, "h5dread_mb_s", READ_H5DREAD, "MB/s of H5Dread");
}

static int with_times(read_run *run, bool single, read_times *times, const char *prefix)
{
  int code = read_open(run, single);
  bool right = code == TOOL_OK;

  for (int64_t k = -1; k < times->n && right; k++)
    right = read_epoch(run, times, k);
  if (code == TOOL_OK && !right)
    code = bench_fail(run->job, "%s: reading went wrong: %s", run->path, mpisift_error(run->job->ctx));
  if (code == TOOL_OK)
    put(run, times, prefix);
  read_close(run);
  return code;
}

static int time_file(bench_job *job, const char *path, const bench_shape *shape, bool single, const char *prefix)
{
  const double *v = job->values;
  read_times times = {.n = (int64_t)v[REPEATS]};
  read_run run = {.job = job,
                  .path = path,
                  .shape = *shape,
                  .batch = min64((int64_t)v[BATCH], shape->rows / job->ranks),
                  .lanes = (int64_t)v[LANES],
                  .window = (int64_t)v[WINDOW],
                  .threads = (int)v[THREADS],
                  .fd = -1};
  bool complete = (times.ratios = calloc((size_t)times.n, sizeof *times.ratios)) != NULL;
  int code;

  for (int way = 0; way < READ_WAYS; way++)
    complete = (times.seconds[way] = calloc((size_t)times.n, sizeof **times.seconds)) != NULL && complete;
  code = bench_all(job, complete) ? with_times(&run, single, &times, prefix) : bench_fail(job, "out of memory");
  for (int way = 0; way < READ_WAYS; way++)
    free(times.seconds[way]);
  free(times.ratios);
  return code;
}

static int make_file(bench_job *job, const char *path, const bench_shape *shape)
{
  bool written = job->rank != 0 || bench_write_file(path, shape);

  return bench_all(job, written) ? TOOL_OK : bench_fail(job, "%s: cannot be written: %s", path, h5_reason());
}

static void delete_file(bench_job *job, const char *path)
{
  MPI_Barrier(job->comm);
  if (job->rank == 0)
    unlink(path);
}

/* What takes long to write and to read is of half the size. Of a small file chunks are small too. */
static bench_shape shape_of(const bench_job *job, int kind, int layout)
{
  bench_shape shape = {.elements = kinds[kind].elements,
                       .size = kinds[kind].size,
                       .chunk_rows = layouts[layout].chunk_rows,
                       .deflate = layouts[layout].deflate};
  int64_t bytes = shape.elements * (int64_t)shape.size, least = 4 * job->ranks;

  shape.rows = (int64_t)(job->values[MEGABYTES] * 1e6) / (shape.deflate ? 2 * bytes : bytes);
  shape.rows = job->values[ROWS] > 0 ? min64(shape.rows, (int64_t)job->values[ROWS]) : shape.rows;
  shape.rows = shape.rows > least ? shape.rows : least;
  if (shape.chunk_rows > 0)
    shape.chunk_rows = min64(shape.chunk_rows, shape.rows < LEAST_CHUNKS ? 1 : shape.rows / LEAST_CHUNKS);
  return shape;
}

static int measure(bench_job *job, const char *path, int kind, int layout)
{
  const bench_shape shape = shape_of(job, kind, layout);
  char prefix[BENCH_MAX_KEY];
  int code;

  if (layouts[layout].chunk_rows * shape.elements * (int64_t)shape.size > WIDEST_CHUNK)
    return TOOL_OK;
  snprintf(prefix, sizeof prefix, "%s_%s", kinds[kind].name, layouts[layout].name);
  code = make_file(job, path, &shape);
  if (code == TOOL_OK)
    code = time_file(job, path, &shape, layouts[layout].single, prefix);
  delete_file(job, path);
  return code;
}

static int measure_kept(bench_job *job, const char *path)
{
  const bench_shape shape = shape_of(job, KEPT_KIND, KEPT_LAYOUT);
  int code = make_file(job, path, &shape);

  if (code == TOOL_OK)
    code = read_kept(job, path, &shape, min64((int64_t)job->values[BATCH], shape.rows / job->ranks),
                     (int64_t)job->values[REPEATS]);
  delete_file(job, path);
  return code;
}

/* Open a file and read one row, in milliseconds each. */
static bool open_once(bench_job *job, const char *path, double *opening, double *first)
{
  unsigned char row[TINY_ROW];
  void *rows[1] = {row};
  const int64_t last = (int64_t)job->values[CHUNKS] - 1;
  double begin = bench_start(job);
  mpisift_dataset *dataset;
  mpisift_source source;
  bool read;

  if (mpisift_dataset_open(job->ctx, path, NULL, NULL, 0, 0, &dataset) != MPISIFT_OK)
    return false;
  *opening = 1e3 * (msift_seconds() - begin);
  source = mpisift_dataset_source(dataset);
  read = source.read(source.user, 1, &last, rows) == 0 && memcmp(row, &last, sizeof last) == 0;
  *first = 1e3 * (msift_seconds() - begin);
  mpisift_dataset_close(&dataset);
  return read;
}

static int time_opening(bench_job *job, const char *path)
{
  const bench_shape shape = {.rows = (int64_t)job->values[CHUNKS], .elements = TINY_ROW, .size = 1, .chunk_rows = 1};
  int64_t n = (int64_t)job->values[REPEATS];
  double *samples = calloc(2 * (size_t)n + 2, sizeof *samples), *opening = samples, *first = samples + n + 1;
  bool complete = bench_all(job, samples != NULL);
  char prefix[BENCH_MAX_KEY];
  int code = complete ? make_file(job, path, &shape) : bench_fail(job, "out of memory");

  for (int64_t k = 0; k <= n && code == TOOL_OK; k++)
    if (!bench_all(job, open_once(job, path, &opening[k], &first[k])))
      code = bench_fail(job, "%s: opening went wrong: %s", path, mpisift_error(job->ctx));
  if (code == TOOL_OK) {
    bench_slowest(job, samples, 2 * n + 2);
    /* The first one has met a cold cache. */
    snprintf(prefix, sizeof prefix, "open_%lld_chunks", (long long)shape.rows);
    bench_put(job, prefix, "ms", bench_median(opening + 1, n), "opening a file of many chunks");
    bench_put(job, prefix, "row_ms", bench_median(first + 1, n), "opening it and reading a row");
  }
  delete_file(job, path);
  free(samples);
  return code;
}

static int run_read(bench_job *job)
{
  char folder[BENCH_PATH], path[BENCH_PATH + 16];
  int code;

  h5_start();
  code = bench_make_folder(job, job->texts[FOLDER], folder);
  if (code != TOOL_OK)
    return code;
  snprintf(path, sizeof path, "%s/rows.h5", folder);
  for (int kind = 0; kind < N_KINDS; kind++)
    for (int layout = 0; layout < N_LAYOUTS && code == TOOL_OK; layout++)
      code = measure(job, path, kind, layout);
  if (code == TOOL_OK)
    code = measure_kept(job, path);
  if (code == TOOL_OK)
    code = time_opening(job, path);
  if (job->rank == 0)
    rmdir(folder);
  return code;
}

const benchmark bench_read = {
    .name = "read",
    .summary = "reading of HDF5 files in the order of an epoch, over pread, H5Dread and uncompress",
    .options = {{"megabytes", "N", 64, 1, 1e6, false, "size of a file", NULL},
                {"rows", "N", 0, 0, 1e9, false, "most rows of a file; 0: as many as its size has", NULL},
                {"batch", "N", 64, 1, 1e6, false, "samples a rank and step", NULL},
                {"lanes", "L", 240, 1, 1e6, false, "of the order; fewer where the file is small", NULL},
                {"window", "W", 2, 1, 1e3, false, "blocks of a lane among which samples are shuffled", NULL},
                {"threads", "N", -1, -1, 64, false, "that read for each rank; -1: as its cores allow", NULL},
                {"repeats", "K", 5, 1, 1e6, false, "epochs of which the median counts", NULL},
                {"chunks", "N", 50000, 1, 1e7, false, "of the file that is opened", NULL},
                {"folder", "DIR", 0, 0, 0, false, "where files are made, and deleted", "$TMPDIR"}},
    .run = run_read,
};
