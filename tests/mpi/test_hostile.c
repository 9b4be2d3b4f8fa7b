/* Files made to do harm, and files that are changed under the reader: an error that names file, field and cause, the
 * same on all ranks, or the data; never a crash, a hang or memory without bound. */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "api/context.h"
#include "h5_files.h"

enum { ROWS = 100 };

static void write_x(hid_t file)
{
  const struct field_spec x = {.name = "x", .type = MPISIFT_F32};

  write_field(file, &x, ROWS);
}

static hid_t create(const char *path)
{
  return H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
}

/* The group holds field x alone, whatever else it seems to hold. */
static void expect_x(const struct fixture *f, const char *group)
{
  static const int64_t ids[] = {0, ROWS - 1, 7};
  mpisift_dataset *dataset = open_dataset(f, group, NULL, 0, 0);
  mpisift_source source = mpisift_dataset_source(dataset);

  CU_ASSERT(source.n == ROWS && source.n_fields == 1 && strcmp(source.fields[0].name, "x") == 0);
  CU_ASSERT_EQUAL(count_wrong(&source, 3, ids), 0);
  mpisift_dataset_close(&dataset);
}

static void refuse_field(const struct fixture *f, const char *name, mpisift_status status, const char *word)
{
  refuse_as(f, f->path, NULL, &name, 1, status, word);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f->ctx), f->path));
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f->ctx), name));
}

/* Groups that hold themselves, links in circles and to nowhere, in this file and out of it. */
static void links(void)
{
  static const char *const names[] = {"circle", "other circle", "nowhere", "outside", "self"};
  struct fixture f;

  begin(&f);
  if (test_rank == 0) {
    hid_t file = create(f.path);

    write_x(file);
    H5Lcreate_soft("/other circle", file, "circle", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/circle", file, "other circle", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/nothing/here", file, "nowhere", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_external("/no/such/file.h5", "/x", file, "outside", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_external("data.h5", "/self", file, "self", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_hard(file, "/", file, "root", H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(file);
  }
  written();
  expect_x(&f, NULL);
  expect_x(&f, "/root/root/root");
  for (int i = 0; i < 5; i++)
    refuse_field(&f, names[i], MPISIFT_ERR_IO, "no field");
  refuse_as(&f, f.path, "/circle", NULL, 0, MPISIFT_ERR_IO, "no group /circle");
  end(&f);
}

/* Opening a pipe waits for its other end, for ever. */
static void links_to_pipes(void)
{
  struct fixture f;
  char pipe[160];

  begin(&f);
  snprintf(pipe, sizeof pipe, "%s/pipe", f.folder);
  if (test_rank == 0) {
    hid_t file = create(f.path);

    CU_ASSERT_EQUAL(mkfifo(pipe, 0600), 0);
    write_x(file);
    H5Lcreate_external(pipe, "/x", file, "absolute", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_external("pipe", "/x", file, "relative", H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(file);
  }
  written();
  expect_x(&f, NULL);
  refuse_field(&f, "absolute", MPISIFT_ERR_IO, "no field");
  refuse_field(&f, "relative", MPISIFT_ERR_IO, "no field");
  refuse_as(&f, f.path, "/relative", NULL, 0, MPISIFT_ERR_IO, "no group /relative");
  refuse_as(&f, pipe, NULL, NULL, 0, MPISIFT_ERR_IO, "not a regular file");
  written();
  if (test_rank == 0)
    unlink(pipe);
  end(&f);
}

/* A field of one byte a row of which nothing is stored. */
static void write_claim(hid_t file, const char *name, hsize_t rows, hsize_t width, hsize_t chunk)
{
  hsize_t dims[2] = {rows, width}, chunks[2] = {chunk, width};
  hid_t space = H5Screate_simple(2, dims, NULL), properties = H5Pcreate(H5P_DATASET_CREATE);

  if (chunk > 0)
    H5Pset_chunk(properties, 2, chunks);
  H5Dclose(H5Dcreate2(file, name, H5T_STD_U8LE, space, H5P_DEFAULT, properties, H5P_DEFAULT));
  H5Pclose(properties);
  H5Sclose(space);
}

static int64_t peak_kib(void)
{
  struct rusage usage;

  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

static void huge_claims(void)
{
  static const char *const names[] = {"chunks", "small chunks", "contiguous", "most", "wide"};
  struct fixture f;
  int64_t before;

  begin(&f);
  if (test_rank == 0) {
    hid_t file = create(f.path);

    write_claim(file, names[0], UINT64_C(1) << 46, 1, 1 << 20);
    write_claim(file, names[1], UINT64_C(1) << 45, 1, 1);
    write_claim(file, names[2], UINT64_C(1) << 46, 1, 0);
    write_claim(file, names[3], INT64_MAX, 1, 1 << 20);
    write_claim(file, names[4], UINT64_C(1) << 33, 1 << 20, 64);
    H5Fclose(file);
  }
  written();
  before = peak_kib();
  for (int i = 0; i < 5; i++)
    refuse_field(&f, names[i], MPISIFT_ERR_DATA, "bytes are stored");
  CU_ASSERT(peak_kib() - before < 65536);
  end(&f);
}

/* Chunks that are longer than the field, and such that cut through rows and fields. */
static void odd_chunks(void)
{
  static const int64_t ids[] = {0, 9, 4};
  struct fixture f;

  begin(&f);
  if (test_rank == 0) {
    hsize_t dims[2] = {10, 6}, most[2] = {H5S_UNLIMITED, H5S_UNLIMITED};
    const hsize_t chunks[3][2] = {{1 << 20, 4}, {3, 1 << 18}, {1, 1}};
    hid_t file = create(f.path), space = H5Screate_simple(2, dims, most);

    for (int i = 0; i < 3; i++) {
      hid_t properties = H5Pcreate(H5P_DATASET_CREATE), data;
      char name[] = {(char)('a' + i), '\0'};
      int64_t values[60];

      H5Pset_chunk(properties, 2, chunks[i]);
      for (int e = 0; e < 60; e++)
        values[e] = element_value(MPISIFT_U8, e / 6, e % 6);
      data = H5Dcreate2(file, name, H5T_STD_U8LE, space, H5P_DEFAULT, properties, H5P_DEFAULT);
      CU_ASSERT(H5Dwrite(data, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
      H5Dclose(data);
      H5Pclose(properties);
    }
    H5Sclose(space);
    H5Fclose(file);
  }
  written();
  for (int i = 0; i < 4; i++) {
    const char *names[] = {"a", "b", "c"};
    mpisift_dataset *dataset = open_dataset(&f, NULL, i < 3 ? names + i : names, i < 3 ? 1 : 3, 1);
    mpisift_source source = mpisift_dataset_source(dataset);

    CU_ASSERT_EQUAL(count_wrong(&source, 3, ids), 0);
    mpisift_dataset_close(&dataset);
  }
  end(&f);
}

static void write_virtual(hid_t file, const char *name, const char *source)
{
  hsize_t rows = 10;
  hid_t space = H5Screate_simple(1, &rows, NULL), properties = H5Pcreate(H5P_DATASET_CREATE);

  H5Pset_virtual(properties, space, ".", source, space);
  H5Dclose(H5Dcreate2(file, name, H5T_STD_U8LE, space, H5P_DEFAULT, properties, H5P_DEFAULT));
  H5Pclose(properties);
  H5Sclose(space);
}

/* HDF5 reads those that are made of themselves until the memory or the stack is used up. */
static void virtual_circles(void)
{
  struct fixture f;

  begin(&f);
  if (test_rank == 0) {
    hid_t file = create(f.path);

    write_virtual(file, "itself", "itself");
    write_virtual(file, "one", "other");
    write_virtual(file, "other", "one");
    H5Fclose(file);
  }
  written();
  refuse_field(&f, "itself", MPISIFT_ERR_DATA, "in a circle");
  refuse_field(&f, "one", MPISIFT_ERR_DATA, "in a circle");
  end(&f);
}

static size_t pass_through(unsigned flags, size_t n_values, const unsigned *values, size_t bytes, size_t *size,
                           void **buffer)
{
  (void)flags, (void)n_values, (void)values, (void)size, (void)buffer;
  return bytes;
}

/* A filter that the program that wrote the file had. */
static void unknown_filters(void)
{
  const H5Z_class2_t filter = {H5Z_CLASS_T_VERS, 300, 1, 1, "packing", NULL, NULL, pass_through};
  static const char *const optional[] = {"optional"};
  static const int64_t ids[] = {3};
  struct fixture f;
  mpisift_dataset *dataset;
  mpisift_source source;

  begin(&f);
  if (test_rank == 0) {
    hsize_t rows = 10, chunk = 5;
    hid_t file = create(f.path), space = H5Screate_simple(1, &rows, NULL);
    const uint8_t values[10] = {0};

    H5Zregister(&filter);
    for (int i = 0; i < 2; i++) {
      hid_t properties = H5Pcreate(H5P_DATASET_CREATE), data;

      H5Pset_chunk(properties, 1, &chunk);
      H5Pset_filter(properties, 300, i == 0 ? H5Z_FLAG_MANDATORY : H5Z_FLAG_OPTIONAL, 0, NULL);
      data =
          H5Dcreate2(file, i == 0 ? "needed" : "optional", H5T_STD_U8LE, space, H5P_DEFAULT, properties, H5P_DEFAULT);
      H5Dwrite(data, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
      H5Dclose(data);
      H5Pclose(properties);
    }
    H5Sclose(space);
    H5Fclose(file);
    H5Zunregister(300);
  }
  written();
  refuse_field(&f, "needed", MPISIFT_ERR_IO, "needs the filter 300 packing");
  dataset = open_dataset(&f, NULL, optional, 1, 0);
  source = mpisift_dataset_source(dataset);
  CU_ASSERT_EQUAL(count_wrong(&source, 1, ids), -1);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f.ctx), "field optional: rows 0 to 9 cannot be read"));
  mpisift_dataset_close(&dataset);
  end(&f);
}

/* What is cut off would be read as zeros. */
static void files_that_shrink(void)
{
  const struct field_spec x = {.name = "x", .type = MPISIFT_F32, .ndim = 1, .shape = {1024}};
  static const int64_t first[] = {0}, last[] = {999};
  struct fixture f;
  mpisift_dataset *dataset;
  mpisift_source source;

  for (int kind = 0; kind < 3; kind++) { /* contiguous, in chunks, and left to HDF5 */
    struct field_spec spec = x;
    struct stat status;

    begin(&f);
    spec.chunk = kind > 0 ? 64 : 0;
    spec.nbit = kind == 2;
    write_fields(&f, NULL, &spec, 1, 1000);
    dataset = open_dataset(&f, NULL, NULL, 0, 1);
    source = mpisift_dataset_source(dataset);
    CU_ASSERT_EQUAL(count_wrong(&source, 1, first), 0);
    CU_ASSERT_EQUAL(stat(f.path, &status), 0);
    written();
    if (test_rank == 0)
      CU_ASSERT_EQUAL(truncate(f.path, status.st_size - 1000), 0);
    written();
    CU_ASSERT_EQUAL(count_wrong(&source, 1, last), -1);
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f.ctx), f.path));
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f.ctx), "field x: rows"));
    CU_ASSERT_PTR_NOT_NULL(
        strstr(mpisift_error(f.ctx), kind == 2 ? "the file has become shorter" : "the file has changed"));
    mpisift_dataset_close(&dataset);
    end(&f);
  }
}

/* Bytes written over in place are noticed, whoever reads them. */
static void files_that_change(void)
{
  static const int64_t first[] = {0}, last[] = {999};

  for (int kind = 0; kind < 3; kind++) {
    const struct field_spec x = {
        .name = "x", .type = MPISIFT_I32, .ndim = 1, .shape = {1024}, .chunk = kind > 0 ? 64 : 0, .nbit = kind == 2};
    struct fixture f;
    mpisift_dataset *dataset;
    mpisift_source source;

    begin(&f);
    write_fields(&f, NULL, &x, 1, 1000);
    usleep(50000); /* times of change are not finer than a tick of the clock */
    dataset = open_dataset(&f, NULL, NULL, 0, 1);
    source = mpisift_dataset_source(dataset);
    CU_ASSERT_EQUAL(count_wrong(&source, 1, first), 0);
    written();
    if (test_rank == 0) {
      int file = open(f.path, O_RDWR);

      CU_ASSERT_EQUAL(pwrite(file, "\x7f", 1, lseek(file, 0, SEEK_END) - 5000), 1);
      close(file);
    }
    written();
    CU_ASSERT_EQUAL(count_wrong(&source, 1, last), -1);
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f.ctx), "the file has changed since it was opened"));
    mpisift_dataset_close(&dataset);
    end(&f);
  }
}

/* A file that is replaced, or removed, is read on as it was. */
static void files_that_are_replaced(void)
{
  const struct field_spec x = {.name = "x", .type = MPISIFT_F32, .ndim = 1, .shape = {64}, .chunk = 50};
  static const int64_t ids[] = {0, 999, 500};
  struct fixture f;
  mpisift_dataset *dataset;
  mpisift_source source;
  char other[160];

  begin(&f);
  write_fields(&f, NULL, &x, 1, 1000);
  dataset = open_dataset(&f, NULL, NULL, 0, 1);
  source = mpisift_dataset_source(dataset);
  snprintf(other, sizeof other, "%s/other.h5", f.folder);
  written();
  if (test_rank == 0) {
    write_file(other, NULL, &x, 1, 3);
    CU_ASSERT_EQUAL(rename(other, f.path), 0);
  }
  written();
  CU_ASSERT_EQUAL(count_wrong(&source, 3, ids), 0);
  written();
  if (test_rank == 0)
    unlink(f.path);
  written();
  CU_ASSERT_EQUAL(count_wrong(&source, 3, ids), 0);
  mpisift_dataset_close(&dataset);
  end(&f);
}

/* No permission: as root this cannot be tried. */
static void a_file_of_others(void)
{
  struct fixture f;

  begin(&f);
  if (geteuid() != 0) {
    const struct field_spec x = {.name = "x", .type = MPISIFT_F32};

    write_fields(&f, NULL, &x, 1, 10);
    written();
    if (test_rank == 0)
      chmod(f.path, 0);
    written();
    refuse_as(&f, f.path, NULL, NULL, 0, MPISIFT_ERR_IO, "Permission denied");
  }
  end(&f);
}

TEST_MAIN("hostile", {"links", links}, {"links to pipes", links_to_pipes}, {"huge claims", huge_claims},
          {"odd chunks", odd_chunks}, {"virtual circles", virtual_circles}, {"unknown filters", unknown_filters},
          {"files that shrink", files_that_shrink}, {"files that change", files_that_change},
          {"files that are replaced", files_that_are_replaced}, {"a file of others", a_file_of_others})
