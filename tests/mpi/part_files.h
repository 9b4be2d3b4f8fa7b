/* Several HDF5 files whose rows follow one another, for tests of data sets in parts. */
#ifndef MPISIFT_PART_FILES_H
#define MPISIFT_PART_FILES_H

#include "api/context.h"
#include "h5_files.h"
#include "io/files.h"

enum { MOST = 40, WIDTH = 5 };

/* Rows of the files, whose values tell the file and the row. */
struct parts {
  struct fixture f;
  int n;
  int64_t rows[MOST], n_rows;
  char path[MOST][160], pattern[160];
  const char *paths[MOST];
};

static inline int32_t value_of(int64_t id, int64_t e)
{
  return (int32_t)(id * WIDTH + e);
}

static inline void write_numbers(hid_t file, const char *name, int64_t first, int64_t n, int64_t width, hsize_t chunk,
                                 bool deflate)
{
  hsize_t dims[2] = {(hsize_t)n, (hsize_t)width}, chunks[2] = {chunk < dims[0] ? chunk : dims[0], dims[1]};
  hid_t space = H5Screate_simple(2, dims, NULL), properties = H5Pcreate(H5P_DATASET_CREATE), data;
  int32_t *values = malloc((size_t)(n * width) * sizeof *values);

  for (int64_t i = 0; i < n * width; i++)
    values[i] = value_of(first + i / width, i % width);
  if (chunk > 0)
    H5Pset_chunk(properties, 2, chunks);
  if (deflate)
    H5Pset_deflate(properties, 1);
  data = H5Dcreate2(file, name, H5T_STD_I32LE, space, H5P_DEFAULT, properties, H5P_DEFAULT);
  H5Dwrite(data, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
  free(values);
  H5Dclose(data);
  H5Pclose(properties);
  H5Sclose(space);
}

static inline void write_chunked(const char *path, int64_t first, int64_t n, hsize_t chunk, bool deflate)
{
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);

  write_numbers(file, "x", first, n, WIDTH, chunk, deflate);
  write_numbers(file, "id", first, n, 1, chunk, deflate);
  H5Fclose(file);
}

static inline void write_part(const char *path, int64_t first, int64_t n, hsize_t chunk)
{
  write_chunked(path, first, n, chunk, false);
}

/* Chunks of part i have `chunk` rows and `more` for each part before it. */
static inline void begin_parts_of(struct parts *p, int n, const int64_t *rows, hsize_t chunk, hsize_t more,
                                  bool deflate)
{
  begin(&p->f);
  p->n = n;
  p->n_rows = 0;
  snprintf(p->pattern, sizeof p->pattern, "%s/part-*.h5", p->f.folder);
  for (int i = 0; i < n; i++) {
    snprintf(p->path[i], sizeof p->path[i], "%s/part-%02d.h5", p->f.folder, i);
    p->paths[i] = p->path[i];
    p->rows[i] = rows == NULL ? 20 + i : rows[i];
    if (test_rank == 0)
      write_chunked(p->path[i], p->n_rows, p->rows[i], chunk + more * (hsize_t)i, deflate);
    p->n_rows += p->rows[i];
  }
  written();
}

static inline void begin_parts(struct parts *p, int n, const int64_t *rows, hsize_t chunk)
{
  begin_parts_of(p, n, rows, chunk, 0, false);
}

static inline void end_parts(struct parts *p)
{
  written();
  for (int i = 0; i < p->n && test_rank == 0; i++)
    unlink(p->path[i]);
  end(&p->f);
}

static inline mpisift_dataset *open_threaded_parts(const struct parts *p, size_t cache_bytes, int threads)
{
  mpisift_dataset *dataset = NULL;
  mpisift_reading reading;

  mpisift_reading_init(&reading, sizeof reading);
  reading.cache_bytes = cache_bytes;
  reading.threads = threads;
  CU_ASSERT_EQUAL_FATAL(mpisift_dataset_open_files(p->f.ctx, p->paths, p->n, NULL, NULL, 0, &reading, &dataset),
                        MPISIFT_OK);
  CU_ASSERT_STRING_EQUAL(mpisift_error(p->f.ctx), "");
  return dataset;
}

static inline mpisift_dataset *open_parts(const struct parts *p, size_t cache_bytes)
{
  return open_threaded_parts(p, cache_bytes, -1);
}

/* Fields are "id" and "x". Numbers that are not those of the row; −1 where reading fails. */
static inline int64_t wrong_numbers(const mpisift_source *s, int64_t n, const int64_t *ids)
{
  int32_t *id = malloc((size_t)n * sizeof *id), *x = malloc((size_t)n * WIDTH * sizeof *x);
  void *dst[] = {id, x};
  int64_t wrong = 0;

  if (s->read(s->user, n, ids, dst) != 0)
    wrong = -1;
  for (int64_t i = 0; i < n && wrong >= 0; i++) {
    wrong += id[i] != value_of(ids[i], 0);
    for (int64_t e = 0; e < WIDTH; e++)
      wrong += x[i * WIDTH + e] != value_of(ids[i], e);
  }
  free(id);
  free(x);
  return wrong;
}

/* All rows forwards, backwards, and with jumps between the files. */
static inline void check_rows(const mpisift_source *s, int64_t n)
{
  int64_t *ids = malloc((size_t)n * sizeof *ids);

  CU_ASSERT_EQUAL_FATAL(s->n, n);
  CU_ASSERT_EQUAL_FATAL(s->n_fields, 2);
  for (int order = 0; order < 3; order++) {
    for (int64_t i = 0; i < n; i++)
      ids[i] = order == 0 ? i : order == 1 ? n - 1 - i : i * 7919 % n;
    CU_ASSERT_EQUAL(wrong_numbers(s, n, ids), 0);
  }
  free(ids);
}

#endif
