/* Several HDF5 files, and virtual ones, as one data set: rows against the values written, in the order of the files,
 * with few and many files open; and errors that name the file. */
#include "part_files.h"

static void files_in_a_row(void)
{
  static const int64_t rows[] = {100, 1, 37, 2000, 64};
  static const size_t caches[] = {0, 1, 4000};
  struct parts p;

  for (hsize_t chunk = 0; chunk < 50; chunk += 16) {
    begin_parts(&p, 5, rows, chunk);
    for (int c = 0; c < 3; c++) {
      mpisift_dataset *dataset = open_parts(&p, caches[c]);
      mpisift_source source = mpisift_dataset_source(dataset);

      check_rows(&source, 2202);
      mpisift_dataset_close(&dataset);
      CU_ASSERT_PTR_NULL(dataset);
    }
    end_parts(&p);
  }
}

/* By a pattern, in the order of the names; a file of that very name comes first. */
static void patterns(void)
{
  struct parts p;
  mpisift_dataset *dataset = NULL;
  mpisift_source source;
  char odd[160];
  const char *lists[2];

  begin_parts(&p, 12, NULL, 0);
  CU_ASSERT_EQUAL_FATAL(mpisift_dataset_open(p.f.ctx, p.pattern, NULL, NULL, 0, 0, &dataset), MPISIFT_OK);
  source = mpisift_dataset_source(dataset);
  check_rows(&source, p.n_rows);
  mpisift_dataset_close(&dataset);
  snprintf(odd, sizeof odd, "%s/part-[0].h5", p.f.folder);
  refuse_as(&p.f, odd, NULL, NULL, 0, MPISIFT_ERR_IO, "no file matches");
  lists[0] = p.paths[0];
  snprintf(odd, sizeof odd, "%s/part-0[1-9].h5", p.f.folder);
  lists[1] = odd;
  CU_ASSERT_EQUAL_FATAL(mpisift_dataset_open_files(p.f.ctx, lists, 2, "/", NULL, 0, NULL, &dataset), MPISIFT_OK);
  source = mpisift_dataset_source(dataset);
  check_rows(&source, 245);
  mpisift_dataset_close(&dataset);
  snprintf(odd, sizeof odd, "%s/part-*.h5", p.f.folder);
  if (test_rank == 0)
    write_part(odd, 0, 3, 0);
  written();
  CU_ASSERT_EQUAL_FATAL(mpisift_dataset_open(p.f.ctx, odd, NULL, NULL, 0, 0, &dataset), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_dataset_source(dataset).n, 3);
  mpisift_dataset_close(&dataset);
  written();
  if (test_rank == 0)
    unlink(odd);
  end_parts(&p);
}

static int64_t open_now(void)
{
  return (int64_t)H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_FILE);
}

/* Opening leaves no file open; reading opens what it needs. */
static void few_are_open(void)
{
  struct parts p;
  mpisift_dataset *dataset;
  mpisift_source source;
  const int64_t ids[] = {0, 1, 25};

  begin_parts(&p, MOST, NULL, 0);
  dataset = open_parts(&p, 0);
  source = mpisift_dataset_source(dataset);
  CU_ASSERT_EQUAL(open_now(), 0);
  CU_ASSERT_EQUAL(wrong_numbers(&source, 3, ids), 0);
  CU_ASSERT_EQUAL(open_now(), 2);
  check_rows(&source, p.n_rows);
  CU_ASSERT_EQUAL(open_now(), MOST);
  mpisift_dataset_close(&dataset);
  end_parts(&p);
}

/* With room for few, the one that was read longest ago gives way. */
static void the_oldest_is_closed(void)
{
  struct parts p;
  struct msift_files files;
  const struct msift_reading reading = {0};
  struct msift_memory memory = {0};
  struct msift_error error = {0};
  const char *names[] = {"id", "x"};
  const int64_t ids[] = {0, 21, 43, 2, 25, 800, 0, 41};
  int32_t id[8], x[8 * WIDTH];
  void *dst[] = {id, x};

  begin_parts(&p, MOST, NULL, 16);
  CU_ASSERT_EQUAL_FATAL(msift_files_open(&files, p.paths, MOST, "/", names, 2, &reading, NULL, &memory, &error),
                        MPISIFT_OK);
  for (files.max_open = 1; files.max_open < 5; files.max_open++) {
    CU_ASSERT_EQUAL(msift_files_read(&files, 8, ids, dst, &memory, &error), MPISIFT_OK);
    CU_ASSERT(files.n_open <= files.max_open);
    for (int i = 0; i < 8; i++)
      CU_ASSERT(x[i * WIDTH + 3] == value_of(ids[i], 3));
  }
  msift_files_close(&files, &memory);
  CU_ASSERT_EQUAL_FATAL(msift_files_open(&files, p.paths, MOST, "/", names, 2, &reading, NULL, &memory, &error),
                        MPISIFT_OK);
  files.max_open = 2;
  for (int i = 0; i < 4; i++) /* the cache holds one block */
    CU_ASSERT_EQUAL(msift_files_read(&files, 1, &(const int64_t[]){0, 21, 0, 43}[i], dst, &memory, &error), MPISIFT_OK);
  CU_ASSERT(files.files[0].open != NULL && files.files[1].open == NULL && files.files[2].open != NULL);
  msift_files_close(&files, &memory);
  CU_ASSERT_EQUAL(memory.blocks, 0);
  end_parts(&p);
}

static void refuse_files(const struct parts *p, mpisift_status status, const char *file, const char *word)
{
  mpisift_dataset *dataset = NULL;
  const char *error;

  CU_ASSERT_EQUAL(mpisift_dataset_open_files(p->f.ctx, p->paths, p->n, NULL, NULL, 0, NULL, &dataset), status);
  CU_ASSERT_PTR_NULL(dataset);
  error = mpisift_error(p->f.ctx);
  CU_ASSERT_PTR_NOT_NULL(strstr(error, file));
  CU_ASSERT_PTR_NOT_NULL(strstr(error, word));
  CU_ASSERT(same_everywhere(error));
}

/* Rewrite a part with fields of chosen widths and type. */
static void write_other(const char *path, const char *name, hid_t type, int rank, const hsize_t *dims)
{
  if (test_rank == 0) {
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), space = H5Screate_simple(rank, dims, NULL);

    H5Dclose(H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(space);
    write_numbers(file, "id", 0, (int64_t)dims[0], 1, 0, false);
    H5Fclose(file);
  }
  written();
}

static void parts_that_do_not_fit(void)
{
  struct parts p;

  begin_parts(&p, 3, NULL, 0);
  write_other(p.path[2], "x", H5T_STD_I32LE, 2, (const hsize_t[]){9, 6});
  refuse_files(&p, MPISIFT_ERR_DATA, p.path[2], "field x is int32 [6] a sample, but int32 [5]");
  write_other(p.path[2], "x", H5T_STD_I32LE, 1, (const hsize_t[]){9});
  refuse_files(&p, MPISIFT_ERR_DATA, p.path[2], "field x is int32 a sample, but int32 [5]");
  write_other(p.path[1], "x", H5T_IEEE_F32LE, 2, (const hsize_t[]){9, WIDTH});
  refuse_files(&p, MPISIFT_ERR_DATA, p.path[1], "field x is float32 [5] a sample, but int32 [5]");
  write_other(p.path[1], "z", H5T_IEEE_F32LE, 2, (const hsize_t[]){9, WIDTH});
  refuse_files(&p, MPISIFT_ERR_IO, p.path[1], "no field x");
  write_other(p.path[1], "x", H5T_IEEE_F32LE, 2, (const hsize_t[]){0, WIDTH});
  refuse_files(&p, MPISIFT_ERR_DATA, p.path[1], "no rows");
  if (test_rank == 0)
    unlink(p.path[1]);
  written();
  refuse_files(&p, MPISIFT_ERR_IO, p.path[1], "no such file");
  end_parts(&p);
}

static void wrong_arguments(void)
{
  struct parts p;
  mpisift_dataset *dataset = NULL;
  const char *second_is_null[] = {p.path[0], NULL};

  begin_parts(&p, 2, NULL, 0);
  CU_ASSERT_EQUAL(mpisift_dataset_open_files(p.f.ctx, NULL, 1, NULL, NULL, 0, NULL, &dataset), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_dataset_open_files(p.f.ctx, p.paths, 0, NULL, NULL, 0, NULL, &dataset), MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(p.f.ctx), "n_paths is 0"));
  CU_ASSERT_EQUAL(mpisift_dataset_open_files(p.f.ctx, second_is_null, 2, NULL, NULL, 0, NULL, &dataset),
                  MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(p.f.ctx), "path 1 is NULL"));
  CU_ASSERT_EQUAL(mpisift_dataset_open_files(p.f.ctx, p.paths, 2, NULL, NULL, 0, NULL, NULL), MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NULL(dataset);
  end_parts(&p);
}

/* Copies on local disks that are not the same. */
static void ranks_see_other_files(void)
{
  struct parts p;
  mpisift_dataset *dataset = NULL;
  const char *paths[3];

  begin_parts(&p, 3, NULL, 0);
  memcpy(paths, p.paths, sizeof paths);
  if (test_rank == 1)
    paths[1] = p.paths[2];
  CU_ASSERT_EQUAL(mpisift_dataset_open_files(p.f.ctx, paths, 2, NULL, NULL, 0, NULL, &dataset),
                  test_size > 1 ? MPISIFT_ERR_ARG : MPISIFT_OK);
  CU_ASSERT_EQUAL(strstr(mpisift_error(p.f.ctx), "number of rows in the files differs") != NULL, test_size > 1);
  mpisift_dataset_close(&dataset);
  CU_ASSERT_EQUAL(mpisift_dataset_open_files(p.f.ctx, p.paths, test_rank == 1 ? 2 : 3, NULL, NULL, 0, NULL, &dataset),
                  test_size > 1 ? MPISIFT_ERR_ARG : MPISIFT_OK);
  CU_ASSERT_EQUAL(strstr(mpisift_error(p.f.ctx), "number of files differs") != NULL, test_size > 1);
  mpisift_dataset_close(&dataset);
  end_parts(&p);
}

/* What was there when it was looked into is not when it is read. */
static void files_that_change(void)
{
  struct parts p;
  mpisift_dataset *dataset;
  mpisift_source source;
  int64_t last;

  begin_parts(&p, 3, NULL, 0);
  last = p.n_rows - 1;
  dataset = open_parts(&p, 0);
  source = mpisift_dataset_source(dataset);
  if (test_rank == 0)
    write_part(p.path[2], 0, 7, 0);
  written();
  CU_ASSERT_EQUAL(wrong_numbers(&source, 1, &last), -1);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(p.f.ctx), p.path[2]));
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(p.f.ctx), "22 rows when it was opened first, and has 7 now"));
  written();
  if (test_rank == 0)
    unlink(p.path[2]);
  written();
  CU_ASSERT_EQUAL(wrong_numbers(&source, 1, &last), -1);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(p.f.ctx), "no such file"));
  written();
  if (test_rank == 0)
    write_part(p.path[2], 41, 22, 0); /* as it was, but nobody can tell */
  written();
  CU_ASSERT_EQUAL(wrong_numbers(&source, 1, &last), -1);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(p.f.ctx), "the file has changed since it was opened first"));
  mpisift_dataset_close(&dataset);
  end_parts(&p);
}

static void memory_runs_out(void)
{
  struct parts p;
  int64_t failures = 0, before;

  begin_parts(&p, 3, NULL, 0);
  before = p.f.ctx->memory.blocks;
  for (int64_t k = 1; k < 100; k++) {
    mpisift_dataset *dataset = NULL;
    mpisift_status status;

    p.f.ctx->memory.fail_after = test_rank == (int)k % test_size ? k : 0;
    status = mpisift_dataset_open(p.f.ctx, p.pattern, NULL, NULL, 0, 0, &dataset);
    p.f.ctx->memory.fail_after = 0;
    mpisift_dataset_close(&dataset);
    CU_ASSERT_EQUAL(p.f.ctx->memory.blocks, before);
    if (status == MPISIFT_OK)
      break;
    CU_ASSERT_EQUAL(status, MPISIFT_ERR_MEMORY);
    failures++;
  }
  CU_ASSERT(failures > 10 && failures < 99);
  end_parts(&p);
}

/* The loader's batches are those of one file with the same rows. */
static void batches_are_those_of_one_file(void)
{
  enum { BATCH = 48, STEPS = 12 };
  struct parts p;
  static int64_t ids[2][STEPS * BATCH];
  static const int64_t rows[] = {320, 160, 480, 64};

  begin_parts(&p, 4, rows, 16);
  if (test_rank == 0)
    write_part(p.f.path, 0, p.n_rows, 16);
  written();
  for (int several = 0; several < 2; several++) {
    mpisift_dataset *dataset = several ? open_parts(&p, 0) : open_dataset(&p.f, NULL, NULL, 0, 0);
    mpisift_source source = mpisift_dataset_source(dataset);
    mpisift_loader *loader = NULL;
    mpisift_config config;
    mpisift_batch batch;

    mpisift_config_init(&config, sizeof config);
    config.policy = "all";
    config.global_batch_size = BATCH;
    config.lanes = 24;
    CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(p.f.ctx, &config, &source, NULL, NULL, &loader), MPISIFT_OK);
    for (int s = 0; s < STEPS; s++) {
      CU_ASSERT_EQUAL_FATAL(mpisift_loader_next(loader, &batch), MPISIFT_OK);
      for (int64_t i = 0; i < batch.n; i++) {
        ids[several][s * BATCH + i] = batch.ids[i];
        CU_ASSERT_EQUAL(((const int32_t *)batch.data[1])[i * WIDTH + 2], value_of(batch.ids[i], 2));
      }
    }
    mpisift_loader_destroy(&loader);
    mpisift_dataset_close(&dataset);
  }
  CU_ASSERT_EQUAL(memcmp(ids[0], ids[1], sizeof ids[0]), 0);
  end_parts(&p);
}

/* A virtual data set over the parts, whose names are as given. */
static void write_virtual(const struct parts *p, const char *const *names)
{
  hid_t file = H5Fcreate(p->f.path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);

  for (int field = 0; field < 2; field++) {
    hsize_t width = field == 0 ? 1 : WIDTH, dims[2] = {(hsize_t)p->n_rows, width}, start[2] = {0, 0};
    hid_t space = H5Screate_simple(2, dims, NULL), properties = H5Pcreate(H5P_DATASET_CREATE);

    for (int i = 0; i < p->n; i++) {
      hsize_t count[2] = {(hsize_t)p->rows[i], width};
      hid_t part = H5Screate_simple(2, count, NULL);

      H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL);
      H5Pset_virtual(properties, space, names[i], field == 0 ? "id" : "x", part);
      H5Sclose(part);
      start[0] += count[0];
    }
    H5Sselect_all(space);
    H5Dclose(H5Dcreate2(file, field == 0 ? "id" : "x", H5T_STD_I32LE, space, H5P_DEFAULT, properties, H5P_DEFAULT));
    H5Pclose(properties);
    H5Sclose(space);
  }
  H5Fclose(file);
}

static void virtual_data_sets(void)
{
  static const int64_t rows[] = {2000, 1, 3000, 64};
  static const char *const beside[] = {"part-00.h5", "part-01.h5", "part-02.h5", "part-03.h5"};
  struct parts p;

  begin_parts(&p, 4, rows, 1000);
  for (int relative = 0; relative < 2; relative++) {
    mpisift_dataset *dataset;
    mpisift_source source;

    written();
    if (test_rank == 0)
      write_virtual(&p, relative ? beside : p.paths);
    written();
    dataset = open_dataset(&p.f, NULL, NULL, 0, 0);
    source = mpisift_dataset_source(dataset);
    CU_ASSERT(source.block >= 1000);
    check_rows(&source, p.n_rows);
    mpisift_dataset_close(&dataset);
  }
  written();
  if (test_rank == 0)
    CU_ASSERT_EQUAL(rename(p.path[2], p.path[1]), 0);
  written();
  refuse_as(&p.f, p.f.path, NULL, NULL, 0, MPISIFT_ERR_IO, "field id is virtual, and its part in part-02.h5");
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(p.f.ctx), p.f.path));
  end_parts(&p);
}

TEST_MAIN("files", {"files in a row", files_in_a_row}, {"patterns", patterns}, {"few are open", few_are_open},
          {"the oldest is closed", the_oldest_is_closed}, {"parts that do not fit", parts_that_do_not_fit},
          {"wrong arguments", wrong_arguments}, {"ranks see other files", ranks_see_other_files},
          {"files that change", files_that_change}, {"memory runs out", memory_runs_out},
          {"batches are those of one file", batches_are_those_of_one_file}, {"virtual data sets", virtual_data_sets})
