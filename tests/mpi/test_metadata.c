/* What rank 0 has learnt of a file is told to the others, which then read it without HDF5. */
#include "h5_files.h"

enum { ROWS = 400 };

static const struct field_spec specs[] = {
    {.name = "a", .type = MPISIFT_F32, .ndim = 1, .shape = {40}, .chunk = 13, .deflate = true},
    {.name = "b", .type = MPISIFT_I64, .big_endian = true},
    {.name = "c", .type = MPISIFT_U16, .ndim = 1, .shape = {7}, .chunk = 50},
    {.name = "d", .type = MPISIFT_I32, .chunk = 50, .nbit = true}}; /* the last is left to HDF5 */

static bool hdf5_has_files(void)
{
  return H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_FILE) > 0;
}

static void check_rows(const mpisift_source *s)
{
  int64_t ids[ROWS];

  CU_ASSERT_EQUAL_FATAL(s->n, ROWS);
  for (int64_t i = 0; i < ROWS; i++)
    ids[i] = (i * 7 + test_rank) % ROWS;
  CU_ASSERT_EQUAL(count_wrong(s, ROWS, ids), 0);
}

/* Only what HDF5 has to read is opened with it by all ranks. */
static void one_rank_asks_hdf5(void)
{
  for (int n = 3; n <= 4; n++) {
    mpisift_dataset *dataset;
    mpisift_source source;
    struct fixture f;

    begin(&f);
    write_fields(&f, NULL, specs, n, ROWS);
    dataset = open_dataset(&f, NULL, NULL, 0, 0);
    source = mpisift_dataset_source(dataset);
    CU_ASSERT_EQUAL(source.n_fields, n);
    CU_ASSERT_EQUAL(hdf5_has_files(), test_rank == 0 || n == 4);
    check_rows(&source);
    mpisift_dataset_close(&dataset);
    end(&f);
  }
}

static void copy_file(const char *from, const char *to)
{
  char command[1200];

  snprintf(command, sizeof command, "cp %s %s", from, to);
  CU_ASSERT_EQUAL_FATAL(system(command), 0);
}

/* A rank that has a copy of its own learns itself what is in it. */
static void ranks_have_copies(void)
{
  mpisift_dataset *dataset;
  mpisift_source source;
  struct fixture f;
  char copy[512];

  begin(&f);
  write_fields(&f, NULL, specs, 3, ROWS);
  snprintf(copy, sizeof copy, "%s.%d", f.path, test_rank);
  copy_file(f.path, copy);
  CU_ASSERT_EQUAL_FATAL(mpisift_dataset_open(f.ctx, copy, NULL, NULL, 0, 0, &dataset), MPISIFT_OK);
  source = mpisift_dataset_source(dataset);
  CU_ASSERT(hdf5_has_files());
  check_rows(&source);
  mpisift_dataset_close(&dataset);
  unlink(copy);
  end(&f);
}

/* What the last rank asks for is not what rank 0 tells of. */
static void ranks_ask_for_different_fields(void)
{
  const char *names[] = {"a", test_rank > 0 && test_rank == test_size - 1 ? "b" : "c"};
  mpisift_dataset *dataset = NULL;
  mpisift_status status;
  struct fixture f;

  begin(&f);
  write_fields(&f, NULL, specs, 3, ROWS);
  status = mpisift_dataset_open(f.ctx, f.path, NULL, names, 2, 0, &dataset);
  CU_ASSERT_EQUAL(status, test_size > 1 ? MPISIFT_ERR_ARG : MPISIFT_OK);
  mpisift_dataset_close(&dataset);
  end(&f);
}

/* A call that is wrong on one rank only takes part in what the others communicate. */
static void one_rank_asks_wrongly(void)
{
  const char *a = "a";

  for (int rank = 0; rank < test_size; rank++) {
    mpisift_dataset *dataset = NULL;
    struct fixture f;

    begin(&f);
    write_fields(&f, NULL, specs, 3, ROWS);
    CU_ASSERT_EQUAL(mpisift_dataset_open(f.ctx, f.path, NULL, &a, test_rank == rank ? 99 : 1, 0, &dataset),
                    MPISIFT_ERR_ARG);
    CU_ASSERT_EQUAL(mpisift_dataset_open(f.ctx, f.path, NULL, &a, 1, 0, test_rank == rank ? NULL : &dataset),
                    MPISIFT_ERR_ARG);
    CU_ASSERT_PTR_NULL(dataset);
    end(&f);
  }
}

TEST_MAIN("metadata", {"one rank asks HDF5", one_rank_asks_hdf5}, {"ranks have copies", ranks_have_copies},
          {"ranks ask for different fields", ranks_ask_for_different_fields},
          {"one rank asks wrongly", one_rank_asks_wrongly})
