/* HDF5 data sets as sources: every type and layout against the values written, and every error by its name, the same
 * on all ranks. Rank 0 writes the files. */
#include "h5_files.h"

static void refuse_field(const struct fixture *f, const char *name, mpisift_status status, const char *word)
{
  refuse_as(f, f->path, NULL, &name, 1, status, word);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f->ctx), name));
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f->ctx), f->path));
}

/* Read as a rank of its own: rows by chance, many at once, in both directions. */
static void check_rows(const mpisift_source *s)
{
  enum { MOST = 60 };
  uint64_t state = (uint64_t)test_rank * 77 + 1;
  int64_t ids[MOST];

  for (int round = 0; round < 6; round++) {
    int64_t n = 1 + round * 9;

    for (int64_t i = 0; i < n; i++) {
      state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
      ids[i] = (int64_t)(state >> 33) % s->n;
    }
    CU_ASSERT_EQUAL(count_wrong(s, n, ids), 0);
  }
  for (int64_t i = 0; i < MOST; i++)
    ids[i] = i % 2 == 0 ? s->n - 1 - i % s->n : i % s->n;
  CU_ASSERT_EQUAL(count_wrong(s, MOST, ids), 0);
}

static const struct field_spec *specs_of_all_types(bool big_endian, int64_t chunk, bool deflate)
{
  static const char *const names[] = {"t00", "t01", "t02", "t03", "t04", "t05",
                                      "t06", "t07", "t08", "t09", "t10", "t11"};
  static const int64_t shapes[4][3] = {{0}, {31}, {7, 9}, {3, 5, 4}};
  static struct field_spec specs[N_TYPES];

  for (int t = 0; t < N_TYPES; t++) {
    specs[t] = (struct field_spec){.name = names[t],
                                   .type = (mpisift_type)t,
                                   .big_endian = big_endian,
                                   .ndim = t % 4,
                                   .chunk = chunk == 0 ? 0 : chunk + t % 3,
                                   .deflate = deflate};
    memcpy(specs[t].shape, shapes[t % 4], sizeof shapes[0]);
  }
  return specs;
}

static void check_fields(const mpisift_source *s, const struct field_spec *specs, int64_t n)
{
  CU_ASSERT_EQUAL(s->n, n);
  CU_ASSERT(s->block >= 1 && s->block <= n);
  CU_ASSERT_EQUAL_FATAL(s->n_fields, N_TYPES);
  for (int t = 0; t < N_TYPES; t++) {
    CU_ASSERT_STRING_EQUAL(s->fields[t].name, specs[t].name);
    CU_ASSERT_EQUAL(s->fields[t].type, specs[t].type);
    CU_ASSERT_EQUAL(s->fields[t].ndim, specs[t].ndim);
    CU_ASSERT_EQUAL(memcmp(s->fields[t].shape, specs[t].shape, (size_t)specs[t].ndim * sizeof(int64_t)), 0);
  }
}

/* The fields of a file under caches of one block, of a few, and of all. */
static void check_file(bool big_endian, int64_t chunk, bool deflate, int64_t n)
{
  static const size_t caches[] = {1, 300000, 0};
  const struct field_spec *specs = specs_of_all_types(big_endian, chunk, deflate);
  struct fixture f;

  begin(&f);
  write_fields(&f, "train", specs, N_TYPES, n);
  for (int c = 0; c < 3; c++) {
    mpisift_dataset *dataset = open_dataset(&f, "/train", NULL, 0, caches[c]);
    mpisift_source source = mpisift_dataset_source(dataset);

    check_fields(&source, specs, n);
    check_rows(&source);
    mpisift_dataset_close(&dataset);
    CU_ASSERT_PTR_NULL(dataset);
  }
  end(&f);
}

static void contiguous(void)
{
  check_file(false, 0, false, 211);
  check_file(true, 0, false, 211);
}

static void chunked(void)
{
  check_file(false, 7, false, 211);
  check_file(true, 97, false, 211);
}

static void deflated(void)
{
  check_file(false, 13, true, 211);
  check_file(true, 64, true, 128);
}

static void few_rows(void)
{
  check_file(false, 0, false, 1);
  check_file(false, 50, true, 3);
}

/* Names in any order, some only, with a path below the group. */
static void fields_by_name(void)
{
  static const char *const names[] = {"t09", "t00", "t03"};
  static const char *const below[] = {"train/t04"};
  struct fixture f;
  mpisift_dataset *dataset;
  mpisift_source source;

  begin(&f);
  write_fields(&f, "train", specs_of_all_types(false, 0, false), N_TYPES, 50);
  dataset = open_dataset(&f, "train", names, 3, 0);
  source = mpisift_dataset_source(dataset);
  CU_ASSERT_EQUAL_FATAL(source.n_fields, 3);
  for (int i = 0; i < 3; i++)
    CU_ASSERT_STRING_EQUAL(source.fields[i].name, names[i]);
  CU_ASSERT(source.fields[0].type == MPISIFT_I32 && source.fields[1].type == MPISIFT_F32);
  check_rows(&source);
  mpisift_dataset_close(&dataset);
  dataset = open_dataset(&f, NULL, below, 1, 0);
  source = mpisift_dataset_source(dataset);
  CU_ASSERT(source.n_fields == 1 && source.fields[0].type == MPISIFT_U8);
  check_rows(&source);
  mpisift_dataset_close(&dataset);
  end(&f);
}

/* Beside data sets a group may hold groups, named types and links to nowhere. */
static void write_clutter(const char *path)
{
  const struct field_spec x = {.name = "x", .type = MPISIFT_F32};
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), type = H5Tcopy(H5T_STD_I32LE);

  write_field(file, &x, 20);
  H5Gclose(H5Gcreate2(file, "group", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  H5Tcommit2(file, "type", type, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_soft("/nowhere", file, "dangling", H5P_DEFAULT, H5P_DEFAULT);
  H5Tclose(type);
  H5Fclose(file);
}

static void other_objects_are_passed_over(void)
{
  struct fixture f;
  mpisift_dataset *dataset;
  mpisift_source source;

  begin(&f);
  if (test_rank == 0)
    write_clutter(f.path);
  written();
  dataset = open_dataset(&f, NULL, NULL, 0, 0);
  source = mpisift_dataset_source(dataset);
  CU_ASSERT(source.n_fields == 1 && strcmp(source.fields[0].name, "x") == 0);
  check_rows(&source);
  mpisift_dataset_close(&dataset);
  refuse_field(&f, "dangling", MPISIFT_ERR_IO, "field");
  refuse_field(&f, "group", MPISIFT_ERR_IO, "field");
  refuse_as(&f, f.path, "group", NULL, 0, MPISIFT_ERR_DATA, "holds no data sets");
  refuse_as(&f, f.path, "x", NULL, 0, MPISIFT_ERR_IO, "no group x");
  end(&f);
}

/* An enumeration, as Python writes booleans, of a base type. */
static void write_enum(hid_t file, const char *name, hid_t base)
{
  hsize_t rows = 100;
  hid_t type = H5Tenum_create(base), native, space = H5Screate_simple(1, &rows, NULL), data;
  int64_t values[100];

  for (int64_t member = 0; member < 251; member++) {
    char member_name[16];
    int64_t value = element_value(MPISIFT_I8, member, 0);

    snprintf(member_name, sizeof member_name, "m%d", (int)member);
    H5Tconvert(H5T_NATIVE_INT64, base, 1, &value, NULL, H5P_DEFAULT);
    H5Tenum_insert(type, member_name, &value);
  }
  native = H5Tget_native_type(type, H5T_DIR_ASCEND);
  data = H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  for (int64_t i = 0; i < 100; i++)
    values[i] = element_value(MPISIFT_I8, i, 0);
  H5Tconvert(H5T_NATIVE_INT64, H5Tget_size(native) == 1 ? H5T_NATIVE_INT8 : H5T_NATIVE_INT16, 100, values, NULL,
             H5P_DEFAULT);
  H5Dwrite(data, native, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
  H5Dclose(data);
  H5Tclose(native);
  H5Tclose(type);
  H5Sclose(space);
}

/* Twelve significant bits in an integer of four bytes, as the n-bit filter likes them. */
static void reduced_precision(void)
{
  struct fixture f;
  mpisift_dataset *dataset = NULL;
  int32_t values[100], got[100];
  int64_t ids[100];
  void *dst[1] = {got};
  mpisift_source source;

  begin(&f);
  for (int i = 0; i < 100; i++) {
    values[i] = i * 20 - 999;
    ids[i] = 99 - i;
  }
  if (test_rank == 0) {
    hsize_t rows = 100;
    hid_t file = H5Fcreate(f.path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), type = H5Tcopy(H5T_STD_I32LE);
    hid_t space = H5Screate_simple(1, &rows, NULL), data;

    H5Tset_precision(type, 12);
    data = H5Dcreate2(file, "t", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dwrite(data, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    H5Dclose(data);
    H5Sclose(space);
    H5Tclose(type);
    H5Fclose(file);
  }
  MPI_Barrier(MPI_COMM_WORLD);
  CU_ASSERT_EQUAL_FATAL(mpisift_dataset_open(f.ctx, f.path, NULL, NULL, 0, 0, &dataset), MPISIFT_OK);
  source = mpisift_dataset_source(dataset);
  CU_ASSERT_EQUAL(source.fields[0].type, MPISIFT_I32);
  CU_ASSERT_EQUAL(source.read(source.user, 100, ids, dst), 0);
  for (int i = 0; i < 100; i++)
    CU_ASSERT_EQUAL(got[i], values[99 - i]);
  mpisift_dataset_close(&dataset);
  end(&f);
}

static void enumerations(void)
{
  static const char *const names[] = {"bytes", "words"};
  struct fixture f;
  mpisift_dataset *dataset;
  mpisift_source source;
  int64_t wrong = 0;

  begin(&f);
  if (test_rank == 0) {
    hid_t file = H5Fcreate(f.path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);

    write_enum(file, names[0], H5T_STD_I8LE);
    write_enum(file, names[1], H5T_STD_I16BE);
    H5Fclose(file);
  }
  written();
  dataset = open_dataset(&f, NULL, names, 2, 0);
  source = mpisift_dataset_source(dataset);
  CU_ASSERT(source.fields[0].type == MPISIFT_I8 && source.fields[1].type == MPISIFT_I16);
  for (int64_t id = 0; id < 100; id++) {
    int8_t byte = 0;
    int16_t word = 0;
    void *dst[] = {&byte, &word};

    wrong += source.read(source.user, 1, &id, dst) != 0;
    wrong += byte != element_value(MPISIFT_I8, id, 0) || word != byte;
  }
  CU_ASSERT_EQUAL(wrong, 0);
  mpisift_dataset_close(&dataset);
  end(&f);
}

/* Overwrite the file with the first `size` bytes of itself, or with other bytes. */
static void replace_file(const struct fixture *f, const void *bytes, size_t size)
{
  written();
  if (test_rank == 0) {
    FILE *file = fopen(f->path, "wb");

    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(fwrite(bytes, 1, size, file), size);
    CU_ASSERT_EQUAL(fclose(file), 0);
  }
  written();
}

static void not_hdf5(void)
{
  struct fixture f;

  begin(&f);
  refuse_as(&f, f.path, NULL, NULL, 0, MPISIFT_ERR_IO, f.path);
  refuse_as(&f, f.folder, NULL, NULL, 0, MPISIFT_ERR_IO, f.folder);
  replace_file(&f, "no HDF5 here\n", 13);
  refuse_as(&f, f.path, NULL, NULL, 0, MPISIFT_ERR_IO, "not an HDF5 file");
  refuse_as(&f, "", NULL, NULL, 0, MPISIFT_ERR_IO, "");
  end(&f);
}

static void truncated(void)
{
  const struct field_spec x = {.name = "x", .type = MPISIFT_F32, .ndim = 1, .shape = {16}, .chunk = 10};
  struct fixture f;
  char bytes[40000];
  size_t size = 0;

  begin(&f);
  write_fields(&f, NULL, &x, 1, 300);
  if (test_rank == 0) {
    FILE *file = fopen(f.path, "rb");

    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    CU_ASSERT(size > 19200 && size < sizeof bytes);
  }
  MPI_Bcast(&size, sizeof size, MPI_BYTE, 0, MPI_COMM_WORLD);
  for (size_t cut = 0; cut < size; cut += cut < 200 ? 11 : size / 7) {
    replace_file(&f, bytes, cut);
    refuse_as(&f, f.path, NULL, NULL, 0, MPISIFT_ERR_IO, f.path);
  }
  replace_file(&f, bytes, size - 1);
  refuse_as(&f, f.path, NULL, NULL, 0, MPISIFT_ERR_IO, "truncated");
  end(&f);
}

static void missing_parts(void)
{
  static const char *const names[] = {"t01", "t99", "t02"};
  struct fixture f;

  begin(&f);
  write_fields(&f, "train", specs_of_all_types(false, 0, false), N_TYPES, 20);
  refuse_as(&f, f.path, "/test", NULL, 0, MPISIFT_ERR_IO, "/test");
  refuse_as(&f, f.path, "/train/deep", NULL, 0, MPISIFT_ERR_IO, "/train/deep");
  refuse_as(&f, f.path, "/train", names, 3, MPISIFT_ERR_IO, "t99");
  refuse_as(&f, f.path, NULL, NULL, 0, MPISIFT_ERR_DATA, "holds no data sets");
  end(&f);
}

static void wrong_arguments(void)
{
  static const char *const names[] = {"t01", NULL};
  struct fixture f;
  mpisift_dataset *dataset = NULL;

  begin(&f);
  write_fields(&f, NULL, specs_of_all_types(false, 0, false), N_TYPES, 20);
  refuse_as(&f, NULL, NULL, NULL, 0, MPISIFT_ERR_ARG, "path");
  refuse_as(&f, f.path, NULL, names, 0, MPISIFT_ERR_ARG, "n_names");
  refuse_as(&f, f.path, NULL, names, -1, MPISIFT_ERR_ARG, "n_names");
  refuse_as(&f, f.path, NULL, names, 17, MPISIFT_ERR_ARG, "n_names");
  refuse_as(&f, f.path, NULL, names, 2, MPISIFT_ERR_ARG, "names[1]");
  CU_ASSERT_EQUAL(mpisift_dataset_open(f.ctx, f.path, NULL, NULL, 0, 0, NULL), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_dataset_open(NULL, f.path, NULL, NULL, 0, 0, &dataset), MPISIFT_ERR_ARG);
  mpisift_dataset_close(&dataset);
  mpisift_dataset_close(NULL);
  end(&f);
}

/* Where only one rank fails, all do, and know which. */
static void one_rank_sees_no_file(void)
{
  const struct field_spec x = {.name = "x", .type = MPISIFT_F32};
  struct fixture f;
  char other[160], rank[32] = "";

  begin(&f);
  write_fields(&f, NULL, &x, 1, 20);
  snprintf(other, sizeof other, "%s/other.h5", f.folder);
  for (int r = 0; r < test_size; r++) {
    if (test_size > 1)
      snprintf(rank, sizeof rank, "rank %d: ", r);
    refuse_as(&f, test_rank == r ? other : f.path, NULL, NULL, 0, MPISIFT_ERR_IO, rank);
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f.ctx), other));
    refuse_as(&f, test_rank == r ? NULL : f.path, NULL, NULL, 0, MPISIFT_ERR_ARG, rank);
  }
  end(&f);
}

static void lengths_differ(void)
{
  const struct field_spec x = {.name = "x", .type = MPISIFT_F32}, y = {.name = "y", .type = MPISIFT_U8};
  struct fixture f;

  begin(&f);
  if (test_rank == 0) {
    hid_t file = H5Fcreate(f.path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);

    write_field(file, &x, 20);
    write_field(file, &y, 21);
    H5Fclose(file);
  }
  written();
  refuse_as(&f, f.path, NULL, NULL, 0, MPISIFT_ERR_DATA, "field y has 21 rows, but field x has 20");
  end(&f);
}

static void too_many_fields(void)
{
  struct fixture f;
  static const char *const names[] = {"f00", "f01", "f02", "f03", "f04", "f05", "f06", "f07", "f08",
                                      "f09", "f10", "f11", "f12", "f13", "f14", "f15", "f16"};
  struct field_spec specs[17];

  for (int i = 0; i < 17; i++)
    specs[i] = (struct field_spec){.name = names[i], .type = MPISIFT_U8};
  begin(&f);
  write_fields(&f, NULL, specs, 17, 5);
  refuse_as(&f, f.path, NULL, NULL, 0, MPISIFT_ERR_DATA, "16");
  write_fields(&f, NULL, specs, 16, 5);
  for (int i = 0; i < 2; i++) {
    mpisift_dataset *dataset = open_dataset(&f, NULL, NULL, 0, 0);
    mpisift_source source = mpisift_dataset_source(dataset);

    CU_ASSERT_EQUAL(source.n_fields, 16);
    check_rows(&source);
    mpisift_dataset_close(&dataset);
  }
  end(&f);
}

/* An empty data set of a type and shape; takes the type. */
static void write_odd(hid_t file, const char *name, hid_t type, int rank, const hsize_t *dims)
{
  hid_t space = rank < 0 ? H5Screate(H5S_NULL) : H5Screate_simple(rank, dims, NULL);
  hid_t properties = H5Pcreate(H5P_DATASET_CREATE), data;
  const hsize_t chunk[10] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

  if (rank > 0 && dims[0] > 0 && dims[rank - 1] > 0)
    H5Pset_chunk(properties, rank, chunk); /* nothing is stored */
  data = H5Dcreate2(file, name, type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
  H5Dclose(data);
  H5Pclose(properties);
  H5Sclose(space);
  H5Tclose(type);
}

static void write_odd_types(hid_t file)
{
  const hsize_t rows = 10;
  hid_t text = H5Tcopy(H5T_C_S1), variable = H5Tcopy(H5T_C_S1), pair = H5Tcreate(H5T_COMPOUND, 8);

  H5Tset_size(text, 12);
  H5Tset_size(variable, H5T_VARIABLE);
  H5Tinsert(pair, "a", 0, H5T_STD_I32LE);
  H5Tinsert(pair, "b", 4, H5T_IEEE_F32LE);
  write_odd(file, "string", text, 1, &rows);
  write_odd(file, "variable string", variable, 1, &rows);
  write_odd(file, "compound", pair, 1, &rows);
  write_odd(file, "variable length", H5Tvlen_create(H5T_STD_I32LE), 1, &rows);
  write_odd(file, "opaque", H5Tcreate(H5T_OPAQUE, 4), 1, &rows);
  write_odd(file, "bits", H5Tcopy(H5T_STD_B32LE), 1, &rows);
  write_odd(file, "long double", H5Tcopy(H5T_NATIVE_LDOUBLE), 1, &rows);
  write_odd(file, "reference", H5Tcopy(H5T_STD_REF_OBJ), 1, &rows);
}

static void unsupported_types(void)
{
  static const char *const names[] = {"string", "variable string", "compound", "variable length", "opaque",
                                      "bits",   "long double",     "reference"};
  struct fixture f;

  begin(&f);
  if (test_rank == 0) {
    hid_t file = H5Fcreate(f.path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);

    write_odd_types(file);
    H5Fclose(file);
  }
  written();
  for (int i = 0; i < 8; i++)
    refuse_field(&f, names[i], MPISIFT_ERR_DATA, "unsupported type");
  end(&f);
}

static const struct odd_shape {
  const char *name;
  int rank;
  hsize_t dims[10];
  const char *word;
} odd_shapes[] = {{"no rows", 2, {0, 4}, "no rows"},
                  {"no width", 3, {10, 4, 0}, "dimension 2"},
                  {"scalar", 0, {0}, "dimensions"},
                  {"null", -1, {0}, "dimensions"},
                  {"ten dimensions", 10, {2, 1, 1, 1, 1, 1, 1, 1, 1, 1}, "10 dimensions"},
                  {"wide", 2, {2, UINT64_C(1) << 31}, "2147483648"},
                  {"large", 3, {2, 65536, 65536}, "2 GiB"}};

static void unsupported_shapes(void)
{
  enum { SHAPES = sizeof odd_shapes / sizeof odd_shapes[0] };
  struct fixture f;

  begin(&f);
  if (test_rank == 0) {
    hid_t file = H5Fcreate(f.path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);

    for (int i = 0; i < SHAPES; i++)
      write_odd(file, odd_shapes[i].name, H5Tcopy(H5T_STD_U8LE), odd_shapes[i].rank, odd_shapes[i].dims);
    H5Fclose(file);
  }
  written();
  for (int i = 0; i < SHAPES; i++)
    refuse_field(&f, odd_shapes[i].name, MPISIFT_ERR_DATA, odd_shapes[i].word);
  end(&f);
}

TEST_MAIN("dataset", {"contiguous", contiguous}, {"chunked", chunked}, {"deflated", deflated}, {"few rows", few_rows},
          {"fields by name", fields_by_name}, {"other objects are passed over", other_objects_are_passed_over},
          {"enumerations", enumerations}, {"reduced precision", reduced_precision}, {"not HDF5", not_hdf5},
          {"truncated", truncated}, {"missing parts", missing_parts}, {"wrong arguments", wrong_arguments},
          {"one rank sees no file", one_rank_sees_no_file}, {"lengths differ", lengths_differ},
          {"too many fields", too_many_fields}, {"unsupported types", unsupported_types},
          {"unsupported shapes", unsupported_shapes})
