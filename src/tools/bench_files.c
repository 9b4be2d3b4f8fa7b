#include "tools/bench_files.h"

#include <errno.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/random.h"
#include "tools/tool.h"

/* Pictures, which repeat: at a distance at which deflate does not see it. */
enum { PICTURES = 61, WRITTEN_ROWS = 64 };

/* A ramp that comes and goes, with noise on it and empty stripes, as objects have before an empty background. */
static unsigned char pixel(int64_t picture, int64_t i)
{
  uint64_t noise = msift_mix((uint64_t)(picture << 32 | i));
  int64_t ramp = llabs((i * 3 + picture * 17) % 500 - 250);

  return (i / 28 + picture) % 3 == 0 ? 0 : (unsigned char)(ramp + (int64_t)(noise & 3));
}

static unsigned char *draw_pictures(const bench_shape *shape)
{
  int64_t n = PICTURES * shape->elements;
  unsigned char *pictures = malloc((size_t)n * shape->size);

  for (int64_t i = 0; pictures && i < n; i++) {
    unsigned char value = pixel(i / shape->elements, i % shape->elements);

    if (shape->size == sizeof(float))
      ((float *)(void *)pictures)[i] = (float)value / 255;
    else
      pictures[i] = value;
  }
  return pictures;
}

static hid_t create_data(hid_t file, const bench_shape *shape)
{
  hsize_t dims[2] = {(hsize_t)shape->rows, (hsize_t)shape->elements};
  hsize_t chunk[2] = {(hsize_t)shape->chunk_rows, (hsize_t)shape->elements};
  hid_t space = H5Screate_simple(2, dims, NULL), properties = H5Pcreate(H5P_DATASET_CREATE), data;

  H5Pset_fill_time(properties, H5D_FILL_TIME_NEVER);
  if (shape->chunk_rows > 0)
    H5Pset_chunk(properties, 2, chunk);
  if (shape->deflate) {
    H5Pset_shuffle(properties);
    H5Pset_deflate(properties, 1);
  }
  data = H5Dcreate2(file, "x", shape->size == sizeof(float) ? H5T_IEEE_F32LE : H5T_STD_U8LE, space, H5P_DEFAULT,
                    properties, H5P_DEFAULT);
  H5Pclose(properties);
  H5Sclose(space);
  return data;
}

static bool write_run(hid_t data, const bench_shape *shape, int64_t first, int64_t n, const unsigned char *rows)
{
  hsize_t start[2] = {(hsize_t)first, 0}, count[2] = {(hsize_t)n, (hsize_t)shape->elements};
  hid_t space = H5Dget_space(data), memory = H5Screate_simple(2, count, NULL);
  bool written = H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL) >= 0 &&
                 H5Dwrite(data, shape->size == sizeof(float) ? H5T_NATIVE_FLOAT : H5T_NATIVE_UINT8, memory, space,
                          H5P_DEFAULT, rows) >= 0;

  H5Sclose(memory);
  H5Sclose(space);
  return written;
}

/* Whole chunks at a time, or each would be compressed again and again. */
static bool write_rows(hid_t data, const bench_shape *shape)
{
  size_t bytes = (size_t)shape->elements * shape->size;
  int64_t run = shape->chunk_rows > WRITTEN_ROWS ? shape->chunk_rows : WRITTEN_ROWS;
  unsigned char *pictures = draw_pictures(shape), *rows = malloc((size_t)run * bytes);
  bool written = data >= 0 && pictures && rows;

  for (int64_t first = 0; first < shape->rows && written; first += run) {
    int64_t n = shape->rows - first < run ? shape->rows - first : run;

    for (int64_t id = first; id < first + n; id++) {
      unsigned char *row = rows + (size_t)(id - first) * bytes;

      memcpy(row, pictures + (size_t)(id % PICTURES) * bytes, bytes);
      memcpy(row, &id, sizeof id);
    }
    written = write_run(data, shape, first, n, rows);
  }
  free(pictures);
  free(rows);
  return written;
}

bool bench_write_file(const char *path, const bench_shape *shape)
{
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  hid_t data = file < 0 ? -1 : create_data(file, shape);
  bool written = data >= 0 && write_rows(data, shape);

  if (data >= 0)
    H5Dclose(data);
  return file >= 0 && H5Fclose(file) >= 0 && written;
}

static bool locate_chunks(hid_t data, const bench_shape *shape, int64_t n, bench_extent *units)
{
  for (int64_t u = 0; u < n; u++) {
    hsize_t at[2] = {(hsize_t)(u * shape->chunk_rows), 0}, bytes = 0;
    haddr_t address = HADDR_UNDEF;

    if (H5Dget_chunk_info_by_coord(data, at, NULL, &address, &bytes) < 0 || address == HADDR_UNDEF)
      return false;
    units[u] = (bench_extent){(int64_t)address, (size_t)bytes};
  }
  return true;
}

static bool locate_runs(hid_t data, const bench_shape *shape, int64_t unit_rows, int64_t n, bench_extent *units)
{
  haddr_t address = H5Dget_offset(data);
  int64_t bytes = shape->elements * (int64_t)shape->size, last = shape->rows - (n - 1) * unit_rows;

  for (int64_t u = 0; u < n; u++)
    units[u] = (bench_extent){(int64_t)address + u * unit_rows * bytes, (size_t)(unit_rows * bytes)};
  units[n - 1].bytes = (size_t)(last * bytes);
  return address != HADDR_UNDEF;
}

bench_extent *bench_locate(const char *path, const bench_shape *shape, int64_t unit_rows)
{
  int64_t n = (shape->rows + unit_rows - 1) / unit_rows;
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), data = file < 0 ? -1 : H5Dopen2(file, "x", H5P_DEFAULT);
  bench_extent *units = malloc((size_t)n * sizeof *units);
  bool found =
      data >= 0 && units &&
      (shape->chunk_rows > 0 ? locate_chunks(data, shape, n, units) : locate_runs(data, shape, unit_rows, n, units));

  if (data >= 0)
    H5Dclose(data);
  if (file >= 0)
    H5Fclose(file);
  if (!found) {
    free(units);
    units = NULL;
  }
  return units;
}

int bench_make_folder(bench_job *job, const char *parent, char *folder)
{
  const char *usual = getenv("TMPDIR");
  int reason = 0, code = TOOL_OK;

  if (strcmp(parent, "$TMPDIR") == 0)
    parent = usual && *usual != '\0' ? usual : "/tmp";
  if (strlen(parent) > BENCH_PATH - 64)
    return bench_fail(job, "--folder: the name is too long");
  snprintf(folder, BENCH_PATH, "%s/mpisift-bench-XXXXXX", parent);
  if (job->rank == 0 && mkdtemp(folder) == NULL)
    reason = errno;
  MPI_Bcast(&reason, 1, MPI_INT, 0, job->comm);
  if (reason != 0)
    code = bench_fail(job, "%s: no folder can be made here: %s", parent, strerror(reason));
  MPI_Bcast(folder, BENCH_PATH, MPI_CHAR, 0, job->comm);
  return code;
}
