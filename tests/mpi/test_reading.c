/* Rows that the library reads and decodes itself are those that HDF5 reads: over types, byte orders, layouts, filters
 * and file formats, with random bytes. What it cannot read is left to HDF5, and a text says why. */
#include <config.h>

#include "h5_files.h"

enum { ROWS = 157, CHUNK = 16 };

/* A data set of random bytes. */
struct made {
  hid_t type; /* of the file; closed by make() */
  int rank;
  hsize_t shape[3]; /* of a row */
  hsize_t chunk[4]; /* chunk[0] 0: contiguous */
  hid_t properties; /* with filters; closed by make() */
};

static uint64_t state = 1;

static unsigned char random_byte(void)
{
  state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (unsigned char)(state >> 40) & (unsigned char)(state >> 50); /* not quite incompressible */
}

static void *random_bytes(size_t n)
{
  unsigned char *bytes = malloc(n);

  for (size_t i = 0; i < n; i++)
    bytes[i] = random_byte();
  return bytes;
}

static hid_t make_in(hid_t file, const char *name, const struct made *m)
{
  hsize_t dims[4] = {ROWS, m->shape[0], m->shape[1], m->shape[2]};
  hid_t space = H5Screate_simple(m->rank + 1, dims, NULL), data;
  size_t bytes = (size_t)H5Sget_simple_extent_npoints(space) * H5Tget_size(m->type);
  void *values = random_bytes(bytes);

  if (m->chunk[0] > 0)
    H5Pset_chunk(m->properties, m->rank + 1, m->chunk);
  data = H5Dcreate2(file, name, m->type, space, H5P_DEFAULT, m->properties, H5P_DEFAULT);
  CU_ASSERT(H5Dwrite(data, m->type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
  free(values);
  H5Sclose(space);
  H5Pclose(m->properties);
  H5Tclose(m->type);
  return data;
}

/* All of a data set, as HDF5 reads it into the elements of a field. */
static void *read_oracle(const char *path, const char *name, size_t bytes, hid_t memory)
{
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), data = H5Dopen2(file, name, H5P_DEFAULT);
  void *values = malloc(bytes);

  CU_ASSERT(H5Dread(data, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
  H5Dclose(data);
  H5Fclose(file);
  return values;
}

/* Single rows, runs, and many rows in a random order. */
static int64_t count_wrong_rows(const mpisift_source *s, const unsigned char *oracle)
{
  size_t bytes = mpisift_field_bytes(&s->fields[0]);
  unsigned char *rows = malloc(3 * ROWS * bytes);
  void *dst[1] = {rows};
  int64_t ids[3 * ROWS], wrong = 0;

  for (int round = 0; round < 12; round++) {
    int64_t n = round % 4 == 3 ? 3 * ROWS : 1 + random_byte() % 20;

    for (int64_t i = 0; i < n; i++)
      ids[i] = round % 2 == 1 || i == 0 ? random_byte() * 251 % s->n : (ids[i - 1] + 1) % s->n;
    wrong += s->read(s->user, n, ids, dst) != 0;
    for (int64_t i = 0; i < n; i++)
      wrong += memcmp(rows + (size_t)i * bytes, oracle + (size_t)ids[i] * bytes, bytes) != 0;
  }
  free(rows);
  return wrong;
}

static void check_reading(const struct fixture *f, const char *name, const char *how)
{
  char text[200] = "";

  CU_ASSERT_EQUAL(mpisift_dataset_explain(f->path, NULL, name, text, sizeof text), MPISIFT_OK);
  CU_ASSERT(strncmp(text, how, strlen(how)) == 0);
  if (strncmp(text, how, strlen(how)) != 0)
    fprintf(stderr, "# %s: '%s' is not '%s'\n", name, text, how);
}

/* A field against HDF5, under caches of one block, of some, and of all. */
static void check_field(const struct fixture *f, const char *name, hid_t memory, const char *how)
{
  static const size_t caches[] = {1, 60000, 0};

  check_reading(f, name, how);
  for (int c = 0; c < 3; c++) {
    mpisift_dataset *dataset = open_dataset(f, NULL, &name, 1, caches[c]);
    mpisift_source source = mpisift_dataset_source(dataset);
    void *oracle = read_oracle(f->path, name, (size_t)source.n * mpisift_field_bytes(&source.fields[0]), memory);

    CU_ASSERT_EQUAL(count_wrong_rows(&source, oracle), 0);
    free(oracle);
    mpisift_dataset_close(&dataset);
  }
}

static hid_t create(const struct fixture *f)
{
  return H5Fcreate(f->path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
}

static hid_t native_type(mpisift_type type)
{
  return file_type(type, __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
}

enum { FILTER_SETS = 7 };

static void set_none(hid_t p)
{
  (void)p;
}
static void set_deflate(hid_t p)
{
  H5Pset_deflate(p, 1);
}
static void set_shuffle_deflate(hid_t p)
{
  H5Pset_shuffle(p);
  H5Pset_deflate(p, 6);
}
static void set_shuffle(hid_t p)
{
  H5Pset_shuffle(p);
}
static void set_fletcher(hid_t p)
{
  H5Pset_fletcher32(p);
}
static void set_all(hid_t p)
{
  H5Pset_fletcher32(p);
  H5Pset_shuffle(p);
  H5Pset_deflate(p, 4);
}
static void set_deflate_fletcher(hid_t p)
{
  H5Pset_shuffle(p);
  H5Pset_deflate(p, 4);
  H5Pset_fletcher32(p);
}

static void (*const filter_sets[FILTER_SETS])(hid_t) = {set_none,     set_deflate, set_shuffle_deflate, set_shuffle,
                                                        set_fletcher, set_all,     set_deflate_fletcher};

static const char *field_name(int type, int order, int set, int layout)
{
  static char name[64];

  snprintf(name, sizeof name, "t%d order %d filters %d layout %d", type, order, set, layout);
  return name;
}

/* Layout 0: contiguous; 1: chunks that do not divide the rows; 2: one chunk; 3: chunks that cut rows. */
static struct made make(int type, int order, int set, int layout)
{
  struct made m = {.type = file_type((mpisift_type)type, order),
                   .rank = 1 + type % 2,
                   .shape = {7, 5},
                   .chunk = {layout == 0   ? 0
                             : layout == 2 ? ROWS
                                           : CHUNK,
                             layout == 3 ? 4 : 7, 5},
                   .properties = H5Pcreate(H5P_DATASET_CREATE)};

  filter_sets[set](m.properties);
  return m;
}

static void check_all_of_type(int type)
{
  struct fixture f;

  begin(&f);
  if (test_rank == 0) {
    hid_t file = create(&f);

    for (int order = 0; order < 2; order++)
      for (int layout = 0; layout < 4; layout++)
        for (int set = 0; set < (layout == 0 ? 1 : FILTER_SETS); set++) {
          struct made m = make(type, order, set, layout);

          H5Dclose(make_in(file, field_name(type, order, set, layout), &m));
        }
    H5Fclose(file);
  }
  written();
  for (int order = 0; order < 2; order++)
    for (int layout = 0; layout < 4; layout++)
      for (int set = 0; set < (layout == 0 ? 1 : FILTER_SETS); set++) {
        hid_t memory = native_type((mpisift_type)type);

        check_field(&f, field_name(type, order, set, layout), memory,
                    layout == 3 ? "H5Dread: its chunks do not hold whole rows" : "pread");
        H5Tclose(memory);
      }
  end(&f);
}

static void types_and_filters(void)
{
  for (int type = 0; type < N_TYPES; type += 1 + type % 2) /* every size, both kinds */
    check_all_of_type(type);
}

/* Files in HDF5's newest format have other indices of chunks: one for a single chunk, one for chunks all of a size, one
 * for data sets that grow, in one dimension or more. */
static void write_new_format(const char *path)
{
  hid_t access = H5Pcreate(H5P_FILE_ACCESS), file;
  const hsize_t dims[2] = {ROWS, 9}, growing[2] = {H5S_UNLIMITED, 9}, free_dims[2] = {H5S_UNLIMITED, H5S_UNLIMITED};
  const hsize_t *most[] = {NULL, growing, free_dims};
  const hsize_t chunks[] = {CHUNK, ROWS};

  H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
  file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access);
  for (int i = 0; i < 12; i++) {
    const hsize_t chunk[2] = {chunks[i / 6], 9};
    hid_t space = H5Screate_simple(2, dims, most[i % 3]), properties = H5Pcreate(H5P_DATASET_CREATE), data;
    void *values = random_bytes(ROWS * 9 * sizeof(float));
    char name[16];

    snprintf(name, sizeof name, "x%d", i);
    H5Pset_chunk(properties, 2, chunk);
    if (i / 3 % 2 == 1)
      set_shuffle_deflate(properties);
    data = H5Dcreate2(file, name, H5T_IEEE_F32LE, space, H5P_DEFAULT, properties, H5P_DEFAULT);
    CU_ASSERT(H5Dwrite(data, H5T_IEEE_F32LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    free(values);
    H5Dclose(data);
    H5Pclose(properties);
    H5Sclose(space);
  }
  H5Fclose(file);
  H5Pclose(access);
}

static void new_format(void)
{
  struct fixture f;

  begin(&f);
  if (test_rank == 0)
    write_new_format(f.path);
  written();
  for (int i = 0; i < 12; i++) {
    char name[16];

    snprintf(name, sizeof name, "x%d", i);
    check_field(&f, name, H5T_NATIVE_FLOAT, "pread");
  }
  end(&f);
}

/* Addresses count from behind the bytes that a user keeps at the beginning. */
static void user_block(void)
{
  struct fixture f;

  begin(&f);
  if (test_rank == 0) {
    hid_t creation = H5Pcreate(H5P_FILE_CREATE), file;

    H5Pset_userblock(creation, 2048);
    file = H5Fcreate(f.path, H5F_ACC_TRUNC, creation, H5P_DEFAULT);
    for (int layout = 0; layout < 2; layout++) {
      struct made m = make(MPISIFT_I32, 1, layout == 0 ? 0 : 2, layout);

      H5Dclose(make_in(file, layout == 0 ? "contiguous" : "chunked", &m));
    }
    H5Fclose(file);
    H5Pclose(creation);
  }
  written();
  check_field(&f, "contiguous", H5T_NATIVE_INT32, "pread");
#if defined HAVE_H5DCHUNK_ITER && !H5_VERSION_GE(1, 14, 4) /* which forgets the bytes */
  check_field(&f, "chunked", H5T_NATIVE_INT32, "H5Dread: HDF5 does not tell where its chunks are");
#else
  check_field(&f, "chunked", H5T_NATIVE_INT32, "pread");
#endif
  end(&f);
}

/* Integers of 3 and 5 bytes, which HDF5 converts to the next size that is ours. */
static void odd_integers(void)
{
  static const char *const names[] = {"three", "three unsigned", "five"};
  const hid_t own[] = {H5T_NATIVE_INT32, H5T_NATIVE_UINT32, H5T_NATIVE_INT64};
  struct fixture f;

  begin(&f);
  if (test_rank == 0) {
    hid_t file = create(&f);

    for (int i = 0; i < 3; i++) {
      struct made m = {.type = H5Tcopy(i == 1 ? H5T_STD_U32BE : H5T_STD_I64LE),
                       .rank = 1,
                       .shape = {5},
                       .chunk = {i == 0 ? 0 : CHUNK, 5},
                       .properties = H5Pcreate(H5P_DATASET_CREATE)};

      H5Tset_size(m.type, i < 2 ? 3 : 5);
      H5Dclose(make_in(file, names[i], &m));
    }
    H5Fclose(file);
  }
  written();
  for (int i = 0; i < 3; i++)
    check_field(&f, names[i], own[i], "H5Dread: its elements do not fill their bytes in a usual way");
  end(&f);
}

/* Arrays of three numbers, arrays of arrays, and enumerations; their dimensions are the last ones of a row. */
static void arrays_and_enumerations(void)
{
  const hsize_t three = 3, two[2] = {2, 4};
  hid_t inner = H5Tarray_create2(H5T_STD_I16BE, 1, &three), outer = H5Tarray_create2(inner, 2, two);
  hid_t own_inner = H5Tarray_create2(H5T_NATIVE_INT16, 1, &three), own_outer = H5Tarray_create2(own_inner, 2, two);
  static const char *const names[] = {"contiguous", "chunked", "nested"};
  struct fixture f;
  mpisift_dataset *dataset;
  mpisift_source source;

  begin(&f);
  if (test_rank == 0) {
    hid_t file = create(&f);

    for (int i = 0; i < 3; i++) {
      struct made m = {.type = H5Tcopy(i == 2 ? outer : inner),
                       .rank = 1,
                       .shape = {5},
                       .chunk = {i == 0 ? 0 : CHUNK, 5},
                       .properties = H5Pcreate(H5P_DATASET_CREATE)};

      set_none(m.properties);
      if (i > 0)
        set_all(m.properties);
      H5Dclose(make_in(file, names[i], &m));
    }
    H5Fclose(file);
  }
  written();
  check_field(&f, names[0], own_inner, "pread");
  check_field(&f, names[1], own_inner, "pread");
  check_field(&f, names[2], own_outer, "pread");
  dataset = open_dataset(&f, NULL, &names[2], 1, 0);
  source = mpisift_dataset_source(dataset);
  CU_ASSERT(source.fields[0].type == MPISIFT_I16 && source.fields[0].ndim == 4);
  CU_ASSERT(source.fields[0].shape[0] == 5 && source.fields[0].shape[1] == 2 && source.fields[0].shape[2] == 4 &&
            source.fields[0].shape[3] == 3);
  mpisift_dataset_close(&dataset);
  H5Tclose(inner);
  H5Tclose(outer);
  H5Tclose(own_inner);
  H5Tclose(own_outer);
  end(&f);
}

/* Chunks that were never written hold the fill value; and a chunk may have been stored without its filters. */
static void write_holes(const char *path)
{
  const hsize_t dims[2] = {ROWS, 9}, chunk[2] = {CHUNK, 9};
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), space = H5Screate_simple(2, dims, NULL);
  hid_t properties = H5Pcreate(H5P_DATASET_CREATE), data;
  const float fill = 42;

  H5Pset_chunk(properties, 2, chunk);
  H5Pset_fill_value(properties, H5T_NATIVE_FLOAT, &fill);
  set_shuffle_deflate(properties);
  data = H5Dcreate2(file, "x", H5T_IEEE_F32LE, space, H5P_DEFAULT, properties, H5P_DEFAULT);
  for (hsize_t k = 1; k < 8; k += 3) {
    const hsize_t at[2] = {k * CHUNK, 0};
    void *values = random_bytes(CHUNK * 9 * sizeof(float));

    CU_ASSERT(H5Dwrite_chunk(data, H5P_DEFAULT, 3, at, CHUNK * 9 * sizeof(float), values) >= 0);
    free(values);
  }
  H5Dclose(data);
  H5Pclose(properties);
  H5Sclose(space);
  H5Fclose(file);
}

static void holes_and_skipped_filters(void)
{
  struct fixture f;

  begin(&f);
  if (test_rank == 0)
    write_holes(f.path);
  written();
  check_field(&f, "x", H5T_NATIVE_FLOAT, "pread");
  end(&f);
}

/* Twelve significant bits, a compact layout, the n-bit filter, rows in another file, nothing written. */
static void write_exotic(const char *path, const char *folder)
{
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  struct made m = {.type = H5Tcopy(H5T_STD_I32LE), .properties = H5Pcreate(H5P_DATASET_CREATE)};
  char other[160];
  hsize_t rows = ROWS;
  hid_t space = H5Screate_simple(1, &rows, NULL);

  H5Tset_precision(m.type, 12);
  H5Dclose(make_in(file, "bits", &m));
  m = (struct made){.type = H5Tcopy(H5T_STD_I32LE), .properties = H5Pcreate(H5P_DATASET_CREATE)};
  H5Pset_layout(m.properties, H5D_COMPACT);
  H5Dclose(make_in(file, "compact", &m));
  m = (struct made){.type = H5Tcopy(H5T_STD_I32LE), .properties = H5Pcreate(H5P_DATASET_CREATE), .chunk = {CHUNK}};
  H5Pset_nbit(m.properties);
  H5Dclose(make_in(file, "nbit", &m));
  m = (struct made){.type = H5Tcopy(H5T_STD_I32LE), .properties = H5Pcreate(H5P_DATASET_CREATE)};
  snprintf(other, sizeof other, "%s/other", folder);
  H5Pset_external(m.properties, other, 0, H5F_UNLIMITED);
  H5Dclose(make_in(file, "external", &m));
  H5Dclose(H5Dcreate2(file, "empty", H5T_STD_I32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  H5Sclose(space);
  H5Fclose(file);
}

static void left_to_hdf5(void)
{
  struct fixture f;
  char other[160];

  begin(&f);
  if (test_rank == 0)
    write_exotic(f.path, f.folder);
  written();
  check_field(&f, "bits", H5T_NATIVE_INT32, "H5Dread: its elements do not fill their bytes");
  check_field(&f, "compact", H5T_NATIVE_INT32, "H5Dread: its layout");
  check_field(&f, "nbit", H5T_NATIVE_INT32, "H5Dread: it has a filter");
  check_field(&f, "external", H5T_NATIVE_INT32, "H5Dread: its rows are in other files");
  check_field(&f, "empty", H5T_NATIVE_INT32, "H5Dread: it has no rows in the file");
  snprintf(other, sizeof other, "%s/other", f.folder);
  written();
  if (test_rank == 0)
    unlink(other);
  end(&f);
}

/* The program may have unwritten rows in its hands, which HDF5 alone knows of. */
static void open_for_writing(void)
{
  struct fixture f;
  char text[200];

  begin(&f);
  if (test_rank == 0) {
    struct made m = {.type = H5Tcopy(H5T_STD_I32LE), .properties = H5Pcreate(H5P_DATASET_CREATE), .chunk = {CHUNK}};
    hid_t file = create(&f);

    H5Dclose(make_in(file, "x", &m));
    CU_ASSERT_EQUAL(mpisift_dataset_explain(f.path, NULL, "x", text, sizeof text), MPISIFT_OK);
    CU_ASSERT_STRING_EQUAL(text, "H5Dread: its file is open for writing in this program");
    H5Fclose(file);
    CU_ASSERT_EQUAL(mpisift_dataset_explain(f.path, NULL, "x", text, sizeof text), MPISIFT_OK);
    CU_ASSERT_STRING_EQUAL(text, "pread");
  }
  written();
  end(&f);
}

/* HDF5 can store the last chunk, where it is not full, without its filters. */
static void an_unfiltered_last_chunk(void)
{
  struct fixture f;

  begin(&f);
  if (test_rank == 0) {
    struct made m = {.type = H5Tcopy(H5T_STD_I32LE), .properties = H5Pcreate(H5P_DATASET_CREATE)};
    hid_t access = H5Pcreate(H5P_FILE_ACCESS), file;

    H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_LATEST);
    file = H5Fcreate(f.path, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    H5Pset_deflate(m.properties, 1);
    H5Pset_chunk(m.properties, 1, (hsize_t[]){CHUNK});
    H5Pset_chunk_opts(m.properties, H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS);
    H5Dclose(make_in(file, "x", &m));
    H5Fclose(file);
    H5Pclose(access);
  }
  written();
  check_field(&f, "x", H5T_NATIVE_INT32, "H5Dread: its last chunk is stored without its filters");
  end(&f);
}

/* An order by blocks reads each chunk once. */
static void blocks_are_whole_chunks(void)
{
  static const int64_t chunks[] = {1, 7, 32, 250, 3000};

  for (int c = 0; c < 5; c++) {
    const struct field_spec specs[] = {{.name = "x", .type = MPISIFT_U8, .ndim = 1, .shape = {10}, .chunk = chunks[c]},
                                       {.name = "y", .type = MPISIFT_U8, .chunk = 64}};
    struct fixture f;
    mpisift_dataset *dataset;

    begin(&f);
    write_fields(&f, NULL, specs, 2, 40000);
    dataset = open_dataset(&f, NULL, NULL, 0, 0);
    CU_ASSERT_EQUAL(mpisift_dataset_source(dataset).block % chunks[c], 0);
    mpisift_dataset_close(&dataset);
    end(&f);
  }
}

/* Fields whose blocks differ in size, by far. */
static void fields_of_different_chunks(void)
{
  const struct field_spec specs[] = {
      {.name = "a", .type = MPISIFT_F32, .ndim = 1, .shape = {300}, .chunk = 8},
      {.name = "b", .type = MPISIFT_I64, .chunk = 1000, .deflate = true},
      {.name = "c", .type = MPISIFT_U8, .ndim = 1, .shape = {3}, .chunk = 0},
      {.name = "d", .type = MPISIFT_F64, .ndim = 1, .shape = {11}, .chunk = 75, .deflate = true}};
  static const size_t caches[] = {1, 50000, 400000, 0};
  struct fixture f;

  begin(&f);
  write_fields(&f, NULL, specs, 4, 3001);
  for (int c = 0; c < 4; c++) {
    mpisift_dataset *dataset = open_dataset(&f, NULL, NULL, 0, caches[c]);
    mpisift_source source = mpisift_dataset_source(dataset);

    for (int round = 0; round < 20; round++) {
      int64_t ids[200];

      for (int i = 0; i < 200; i++)
        ids[i] = (random_byte() * 251 + random_byte()) * 11 % source.n;
      CU_ASSERT_EQUAL(count_wrong(&source, 1 + round * 10, ids), 0);
    }
    mpisift_dataset_close(&dataset);
  }
  end(&f);
}

/* Few rows of a block wanted, again and again: rows come one by one, also across a change of mind. */
static void single_rows(void)
{
  const struct field_spec x = {.name = "x", .type = MPISIFT_F32, .big_endian = true, .ndim = 1, .shape = {100}};
  struct fixture f;
  mpisift_dataset *dataset;
  mpisift_source source;

  begin(&f);
  write_fields(&f, NULL, &x, 1, 20000);
  dataset = open_dataset(&f, NULL, NULL, 0, 200000);
  source = mpisift_dataset_source(dataset);
  for (int round = 0; round < 200; round++) {
    int64_t ids[50], first = random_byte() * 60;

    for (int i = 0; i < 50; i++)
      ids[i] = round % 100 < 50 ? ((int64_t)random_byte() * 65521 + random_byte()) % source.n : first + i;
    CU_ASSERT_EQUAL(count_wrong(&source, 50, ids), 0);
  }
  mpisift_dataset_close(&dataset);
  end(&f);
}

/* What there is to explain, and to refuse. */
static void explanations(void)
{
  const struct field_spec x = {.name = "x", .type = MPISIFT_F32};
  struct fixture f;
  char text[300];

  begin(&f);
  write_fields(&f, NULL, &x, 1, 20);
  check_reading(&f, "x", "pread");
  CU_ASSERT_EQUAL(mpisift_dataset_explain(f.path, NULL, "y", text, sizeof text), MPISIFT_ERR_IO);
  CU_ASSERT_PTR_NOT_NULL(strstr(text, "no field y"));
  CU_ASSERT_EQUAL(mpisift_dataset_explain(NULL, NULL, "x", text, sizeof text), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_dataset_explain(f.path, NULL, NULL, text, sizeof text), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_dataset_explain(f.path, NULL, "x", NULL, 10), MPISIFT_ERR_ARG);
  end(&f);
}

TEST_MAIN("reading", {"types and filters", types_and_filters}, {"new format", new_format}, {"user block", user_block},
          {"arrays and enumerations", arrays_and_enumerations}, {"odd integers", odd_integers},
          {"holes and skipped filters", holes_and_skipped_filters}, {"left to HDF5", left_to_hdf5},
          {"open for writing", open_for_writing}, {"an unfiltered last chunk", an_unfiltered_last_chunk},
          {"blocks are whole chunks", blocks_are_whole_chunks},
          {"fields of different chunks", fields_of_different_chunks}, {"single rows", single_rows},
          {"explanations", explanations})
