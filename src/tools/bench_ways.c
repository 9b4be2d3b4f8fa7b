/* The ways of bench_read.h. */
#include <fcntl.h>
#include <hdf5.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/clock.h"
#include "core/order.h"
#include "io/decode.h"
#include "tools/bench_read.h"
#include "tools/tool.h"

enum { PAGE = 4096, LINE = 64, SEED = 1, LEAST_ROWS = 3 };

static const double sampled_s = 0.25; /* of H5Dread, row by row */

static size_t round_up(size_t bytes, size_t to)
{
  return (bytes + to - 1) / to * to;
}

static int64_t clamp(int64_t value, int64_t least, int64_t most)
{
  return value > most ? most : value < least ? least : value;
}

/* As many lanes as are asked for, but few enough that the window is a quarter of the file, and never more than half: or
 * an epoch would find its rows where the last one left them. */
static void choose_lanes(read_run *run)
{
  int64_t ranks = run->job->ranks, most = run->n_units / (4 * (run->window + 2));

  run->lanes = clamp(most < run->lanes ? most : run->lanes, ranks, INT64_MAX) / ranks * ranks;
  run->slots = clamp(run->lanes / ranks * (run->window + 2), 1, run->n_units > 1 ? run->n_units / 2 : 1);
}

static mpisift_status create_loader(read_run *run)
{
  mpisift_source source = mpisift_dataset_source(run->dataset);
  mpisift_config config;

  mpisift_config_init(&config, sizeof config);
  config.policy = "all";
  config.batch_size = run->batch;
  config.end_of_epoch = MPISIFT_FLUSH;
  config.epochs = INT32_MAX;
  config.seed = SEED;
  config.lanes = run->lanes;
  config.window = run->window;
  source.block = run->block;
  return mpisift_loader_create(run->job->ctx, &config, &source, NULL, NULL, &run->loader);
}

/* What threads decode with does not count against the window; without a number of threads, that of the most. */
static size_t scratch_bytes(const read_run *run, size_t unit)
{
  size_t threads = run->threads < 0 ? 4 : (size_t)run->threads;

  return run->shape.deflate ? (1 + threads) * msift_scratch_bytes(unit) : 0;
}

/* One data set for the loader and one for plain reading: each has its cache. */
static mpisift_status open_library(read_run *run, bool single)
{
  mpisift_ctx *ctx = run->job->ctx;
  mpisift_status status = mpisift_dataset_open(ctx, run->path, NULL, NULL, 0, 1, &run->plain);
  mpisift_reading reading;
  size_t unit;

  if (status != MPISIFT_OK)
    return status;
  run->block = single ? 1 : mpisift_dataset_source(run->plain).block;
  mpisift_dataset_close(&run->plain);
  run->unit_rows = run->shape.chunk_rows > 0 ? run->shape.chunk_rows : run->block;
  run->n_units = (run->shape.rows + run->unit_rows - 1) / run->unit_rows;
  choose_lanes(run);
  mpisift_reading_init(&reading, sizeof reading);
  unit = round_up((size_t)run->unit_rows * run->row_bytes, LINE);
  reading.threads = run->threads;
  reading.cache_bytes = (size_t)run->slots * (unit + LINE) + scratch_bytes(run, unit);
  status = mpisift_dataset_open_files(ctx, (const char *const[]){run->path}, 1, NULL, NULL, 0, &reading, &run->plain);
  if (status == MPISIFT_OK)
    status =
        mpisift_dataset_open_files(ctx, (const char *const[]){run->path}, 1, NULL, NULL, 0, &reading, &run->dataset);
  if (status == MPISIFT_OK)
    run->source = mpisift_dataset_source(run->plain);
  return status == MPISIFT_OK ? create_loader(run) : status;
}

static unsigned char *aligned(size_t bytes)
{
  unsigned char *memory = aligned_alloc(PAGE, round_up(bytes, PAGE));

  if (memory)
    memset(memory, 0, bytes); /* its pages are there */
  return memory;
}

static bool allocate(read_run *run)
{
  size_t unit = (size_t)run->unit_rows * run->row_bytes, packed = unit, slots = (size_t)run->slots;

  run->mine = msift_lane_count(run->lanes, run->job->ranks, run->job->rank, run->shape.rows);
  run->units = bench_locate(run->path, &run->shape, run->unit_rows);
  for (int64_t u = 0; run->units && u < run->n_units; u++)
    packed = run->units[u].bytes > packed ? run->units[u].bytes : packed;
  run->stride = round_up(packed, LINE);
  run->places = malloc((size_t)run->mine * sizeof *run->places);
  run->ids = malloc((size_t)run->mine * sizeof *run->ids);
  run->slot_of = malloc((size_t)run->n_units * sizeof *run->slot_of);
  run->held = malloc(slots * sizeof *run->held);
  run->used_at = calloc(slots, sizeof *run->used_at);
  run->filled = aligned(slots * run->stride);
  run->bare = aligned(slots * run->stride);
  run->rows = aligned((size_t)run->batch * round_up(run->row_bytes, LINE));
  run->packed = aligned(run->stride);
  run->unpacked = aligned(run->stride);
  if (!run->units || !run->places || !run->ids || !run->slot_of || !run->held || !run->used_at || !run->filled ||
      !run->bare || !run->rows || !run->packed || !run->unpacked)
    return false;
  memset(run->slot_of, 0xff, (size_t)run->n_units * sizeof *run->slot_of);
  memset(run->held, 0xff, slots * sizeof *run->held);
  return true;
}

int read_open(read_run *run, bool single)
{
  run->row_bytes = (size_t)run->shape.elements * run->shape.size;
  run->epoch = -1;
  run->fd = open(run->path, O_RDONLY | O_CLOEXEC);
  if (!bench_all(run->job, run->fd >= 0))
    return bench_fail(run->job, "%s: not all ranks can open this file; give a --folder that all of them see",
                      run->path);
  if (open_library(run, single) != MPISIFT_OK)
    return bench_fail(run->job, "%s", mpisift_error(run->job->ctx));
  if (!bench_all(run->job, allocate(run)))
    return bench_fail(run->job, "%s: out of memory, or a file that cannot be read", run->path);
  return TOOL_OK;
}

void read_close(read_run *run)
{
  mpisift_loader_destroy(&run->loader);
  mpisift_dataset_close(&run->dataset);
  mpisift_dataset_close(&run->plain);
  if (run->fd >= 0)
    close(run->fd);
  free(run->units);
  free(run->places);
  free(run->ids);
  free(run->slot_of);
  free(run->held);
  free(run->used_at);
  free(run->filled);
  free(run->bare);
  free(run->rows);
  free(run->packed);
  free(run->unpacked);
}

/* The slot of a unit, the least recently used where it has none. */
static read_place place(read_run *run, int64_t id)
{
  int64_t unit = id / run->unit_rows, slot = run->slot_of[unit];
  read_place found = {id, slot, slot < 0};

  if (slot < 0) {
    slot = 0;
    for (int64_t s = 1; s < run->slots; s++)
      slot = run->used_at[s] < run->used_at[slot] ? s : slot;
    if (run->held[slot] >= 0)
      run->slot_of[run->held[slot]] = -1;
    run->held[slot] = unit;
    run->slot_of[unit] = found.slot = slot;
  }
  run->used_at[slot] = ++run->clock;
  return found;
}

void read_plan(read_run *run)
{
  int64_t ranks = run->job->ranks, rank = run->job->rank, position = 0;
  struct msift_order order =
      msift_order_make(run->shape.rows, run->block, run->lanes, run->window, true, SEED, ++run->epoch);

  for (int64_t i = 0; i < run->mine; i++) {
    position = msift_lane_next(order.lanes, ranks, rank, position);
    run->ids[i] = msift_order_id(&order, position++);
    run->places[i] = place(run, run->ids[i]);
  }
}

static bool begins_with(const void *row, int64_t id)
{
  return memcmp(row, &id, sizeof id) == 0;
}

/* Samples may change rank: no rank has to get its own. */
static double by_loader(read_run *run)
{
  double begin = bench_start(run->job);
  mpisift_status status;
  mpisift_batch batch;
  int64_t rows = 0;
  bool right = true;

  while ((status = mpisift_loader_next(run->loader, &batch)) == MPISIFT_OK) {
    for (int64_t i = 0; i < batch.valid; i++)
      right = begins_with((unsigned char *)batch.data[0] + (size_t)i * run->row_bytes, batch.ids[i]) && right;
    rows += batch.valid;
  }
  begin = msift_seconds() - begin;
  MPI_Allreduce(MPI_IN_PLACE, &rows, 1, MPI_INT64_T, MPI_SUM, run->job->comm);
  return status == MPISIFT_END_OF_EPOCH && right && rows == run->shape.rows ? begin : -1;
}

/* As a loader does, of the batch from a row on. */
static void announce(const read_run *run, int64_t first)
{
  int64_t n = clamp(run->batch, 0, run->mine - first);

  if (n > 0 && run->source.prefetch != NULL)
    run->source.prefetch(run->source.user, n, run->ids + first);
}

static double by_source(read_run *run)
{
  double begin = bench_start(run->job);
  void *rows[1] = {run->rows};
  bool right = true;

  for (int64_t first = 0; first < run->mine && right; first += run->batch) {
    int64_t n = clamp(run->batch, 0, run->mine - first);

    right = run->source.read(run->source.user, n, run->ids + first, rows) == 0;
    announce(run, first + n);
    for (int64_t i = 0; i < n; i++)
      right = begins_with(run->rows + (size_t)i * run->row_bytes, run->ids[first + i]) && right;
  }
  return right ? msift_seconds() - begin : -1;
}

static bool fetch(const read_run *run, int64_t unit, unsigned char *to)
{
  const bench_extent *extent = &run->units[unit];
  size_t done = 0;

  while (done < extent->bytes) {
    ssize_t n = pread(run->fd, to + done, extent->bytes - done, extent->offset + (int64_t)done);

    if (n <= 0)
      return false;
    done += (size_t)n;
  }
  return true;
}

static double by_pread(read_run *run)
{
  double begin = bench_start(run->job);
  bool read = true;

  for (const read_place *p = run->places; p < run->places + run->mine; p++)
    if (p->fetch)
      read = fetch(run, p->id / run->unit_rows, run->bare + (size_t)p->slot * run->stride) && read;
  return read ? msift_seconds() - begin : -1;
}

/* Undo HDF5's shuffle: byte b of all elements is together. */
static void unshuffle(const unsigned char *from, size_t n, size_t size, unsigned char *to)
{
  for (size_t b = 0; b < size; b++)
    for (size_t i = 0; i < n; i++)
      to[i * size + b] = *from++;
}

/* What lies in `packed` as rows. */
static bool unpack(const read_run *run, int64_t unit, unsigned char *to)
{
  uLongf bytes = (uLongf)((size_t)run->unit_rows * run->row_bytes);
  unsigned char *unpacked = run->shape.size > 1 ? run->unpacked : to;

  if (uncompress(unpacked, &bytes, run->packed, (uLong)run->units[unit].bytes) != Z_OK)
    return false;
  if (unpacked != to)
    unshuffle(unpacked, bytes / run->shape.size, run->shape.size, to);
  return true;
}

static double by_floor(read_run *run)
{
  size_t row_stride = round_up(run->row_bytes, LINE);
  double begin = bench_start(run->job);
  bool right = true;

  for (int64_t i = 0; i < run->mine && right; i++) {
    const read_place *p = &run->places[i];
    unsigned char *unit = run->filled + (size_t)p->slot * run->stride;
    unsigned char *row = run->rows + (size_t)(i % run->batch) * row_stride;

    if (p->fetch && run->shape.deflate)
      right = fetch(run, p->id / run->unit_rows, run->packed) && unpack(run, p->id / run->unit_rows, unit);
    else if (p->fetch)
      right = fetch(run, p->id / run->unit_rows, unit);
    memcpy(row, unit + (size_t)(p->id % run->unit_rows) * run->row_bytes, run->row_bytes);
    right = begins_with(row, p->id) && right;
  }
  return right ? msift_seconds() - begin : -1;
}

static double by_uncompress(read_run *run)
{
  double seconds = 0;
  bool right = true;

  bench_start(run->job);
  for (const read_place *p = run->places; p < run->places + run->mine && right; p++) {
    double begin;

    if (!p->fetch)
      continue;
    right = fetch(run, p->id / run->unit_rows, run->packed);
    begin = msift_seconds();
    right = right && unpack(run, p->id / run->unit_rows, run->bare + (size_t)p->slot * run->stride);
    seconds += msift_seconds() - begin;
  }
  return right ? seconds : -1;
}

static bool read_row(hid_t data, const bench_shape *shape, hid_t space, hid_t memory, int64_t id, unsigned char *row)
{
  hsize_t start[2] = {(hsize_t)id, 0}, count[2] = {1, (hsize_t)shape->elements};

  return H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL) >= 0 &&
         H5Dread(data, shape->size == sizeof(float) ? H5T_NATIVE_FLOAT : H5T_NATIVE_UINT8, memory, space, H5P_DEFAULT,
                 row) >= 0 &&
         begins_with(row, id);
}

/* The first rows of the epoch, as many as there is time for. */
static double time_rows(read_run *run, hid_t data)
{
  hsize_t count[2] = {1, (hsize_t)run->shape.elements};
  hid_t space = H5Dget_space(data), memory = H5Screate_simple(2, count, NULL);
  double begin = bench_start(run->job), seconds = 0;
  int64_t n = 0;
  bool right = true;

  for (; n < run->mine && right && (n < LEAST_ROWS || seconds < sampled_s); n++) {
    right = read_row(data, &run->shape, space, memory, run->ids[n],
                     run->rows + (size_t)(n % run->batch) * round_up(run->row_bytes, LINE));
    seconds = msift_seconds() - begin;
  }
  H5Sclose(memory);
  H5Sclose(space);
  return right ? seconds * (double)run->mine / (double)n : -1;
}

/* HDF5 as a user meets it, with its own cache of chunks, which is empty. */
static double by_h5dread(read_run *run)
{
  hid_t file = H5Fopen(run->path, H5F_ACC_RDONLY, H5P_DEFAULT), data = file < 0 ? -1 : H5Dopen2(file, "x", H5P_DEFAULT);
  double seconds = bench_all(run->job, data >= 0) ? time_rows(run, data) : -1;

  if (data >= 0)
    H5Dclose(data);
  if (file >= 0)
    H5Fclose(file);
  return seconds;
}

double read_by(read_run *run, int way)
{
  static double (*const ways[READ_WAYS])(read_run * run) = {
      [READ_LOADER] = by_loader, [READ_SOURCE] = by_source,   [READ_PREAD] = by_pread,
      [READ_FLOOR] = by_floor,   [READ_H5DREAD] = by_h5dread, [READ_UNCOMPRESS] = by_uncompress};

  return ways[way](run);
}
