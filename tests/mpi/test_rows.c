/* Plain files of rows as sources: every layout against the bytes written, and every error by its name, the same on all
 * ranks. Bytes are told from the file and the place in it. */
#include "row_files.h"

#include <fcntl.h>
#include <sys/stat.h>

/* Byte at a place of a file. */
static unsigned char byte_at(int file, int64_t place)
{
  uint64_t x = (uint64_t)(place + 1) * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)file * 1000003;

  return (unsigned char)(x >> 40 ^ x >> 17);
}

static void write_file(const struct fixture *f, int file, int64_t size)
{
  unsigned char *bytes = malloc((size_t)size + 1);

  for (int64_t i = 0; i < size; i++)
    bytes[i] = byte_at(file, i);
  write_bytes(f->path[file], bytes, (size_t)size);
  free(bytes);
}

/* Bytes of a field of `bytes` bytes that differ from those of a file from a place on; elements of more than one byte
 * are turned round. */
static int64_t count_in_row(const unsigned char *field, int file, int64_t place, int64_t bytes, int64_t element)
{
  int64_t wrong = 0;

  for (int64_t first = 0; first < bytes; first += element)
    for (int64_t b = 0; b < element; b++)
      wrong += field[first + b] != byte_at(file, place + first + element - 1 - b);
  return wrong;
}

/* Bytes that differ from what the layout says; `swapped`: elements are turned round. −1 where reading fails. `lengths`:
 * rows of each file. */
static int64_t count_wrong(const mpisift_row_files *files, const mpisift_source *s, const int64_t *lengths, int64_t n,
                           const int64_t *ids, bool swapped)
{
  void *dst[MPISIFT_MAX_FIELDS];
  int64_t wrong = 0, behind = 0;

  for (int k = 0; k < s->n_fields; k++)
    dst[k] = malloc((size_t)n * mpisift_field_bytes(&s->fields[k]));
  wrong = s->read(s->user, n, ids, dst) != 0 ? -1 : 0;
  for (int k = 0; k < s->n_fields; k++) {
    int64_t bytes = (int64_t)mpisift_field_bytes(&s->fields[k]);
    int64_t element = swapped ? (int64_t)mpisift_type_size(s->fields[k].type) : 1;
    int64_t offset = files->offsets == NULL ? behind : files->offsets[k];

    for (int64_t i = 0; i < n && wrong >= 0; i++) {
      int64_t row = ids[i];
      int file = 0;

      for (; row >= lengths[file]; file++)
        row -= lengths[file];
      wrong += count_in_row((unsigned char *)dst[k] + i * bytes, file, files->header + row * files->stride + offset,
                            bytes, element);
    }
    behind += bytes;
    free(dst[k]);
  }
  return wrong;
}

/* Rows by chance, in order, backwards, and doubled, another choice on each rank. */
static void check_rows(const mpisift_row_files *files, const mpisift_source *s, const int64_t *lengths, bool swapped)
{
  enum { MOST = 200 };
  uint64_t state = (uint64_t)test_rank * 77 + 1;
  int64_t ids[MOST];

  for (int way = 0; way < 5; way++) {
    for (int64_t i = 0; i < MOST; i++) {
      state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
      ids[i] = way == 0   ? (int64_t)(state >> 33) % s->n
               : way == 1 ? (test_rank + i) % s->n
               : way == 2 ? s->n - 1 - i % s->n
               : way == 3 ? i / 2 % s->n
                          : (i / 7 * 11 + i % 7) % s->n;
    }
    CU_ASSERT_EQUAL(count_wrong(files, s, lengths, MOST, ids, swapped), 0);
    CU_ASSERT_EQUAL(count_wrong(files, s, lengths, 1, ids + way, swapped), 0);
  }
}

/* Write files of so many rows, open and read them. */
static void check_layout(mpisift_row_files files, const int64_t *lengths, int64_t extra, bool swapped)
{
  struct fixture f;
  mpisift_rows *rows;
  mpisift_source source;
  int64_t n = 0, row = files.row > 0 ? files.row : files.stride;

  begin(&f);
  files.paths = f.paths;
  for (int i = 0; i < files.n_paths; i++) {
    write_file(&f, i, files.header + (lengths[i] - 1) * files.stride + row + extra);
    n += lengths[i];
  }
  rows = open_rows(&f, &files);
  source = mpisift_rows_source(rows);
  CU_ASSERT_EQUAL(source.n, n);
  CU_ASSERT_EQUAL(source.n_fields, files.n_fields);
  CU_ASSERT(source.block >= 1 && source.block <= n);
  for (int k = 0; k < files.n_fields; k++)
    CU_ASSERT_STRING_EQUAL(source.fields[k].name, files.fields[k].name);
  check_rows(&files, &source, lengths, swapped);
  CU_ASSERT_EQUAL(f.logged[0] != '\0', test_rank == 0 && extra > 0 && row > files.stride);
  mpisift_rows_close(&rows);
  CU_ASSERT_PTR_NULL(rows);
  end(&f);
}

static const mpisift_field one[] = {{"x", MPISIFT_U16, 1, {10}}};
static const mpisift_field three[] = {
    {"a", MPISIFT_F64, 0, {0}}, {"b", MPISIFT_U8, 2, {3, 5}}, {"c", MPISIFT_I32, 1, {2}}};
static const int64_t one_file[] = {137}, files_of_rows[] = {1, 40, 7, 90};

static void dense(void)
{
  check_layout((mpisift_row_files){.n_paths = 1, .stride = 20, .n_fields = 1, .fields = one}, one_file, 0, false);
  check_layout((mpisift_row_files){.n_paths = 1, .header = 13, .stride = 20, .n_fields = 1, .fields = one}, one_file, 0,
               false);
}

static void several_files(void)
{
  check_layout((mpisift_row_files){.n_paths = 4, .header = 5, .stride = 20, .n_fields = 1, .fields = one},
               files_of_rows, 0, false);
  check_layout((mpisift_row_files){.n_paths = 4, .stride = 31, .n_fields = 3, .fields = three}, files_of_rows, 0,
               false);
}

/* Rows that overlap by little and by much, with a tail that fills no row. */
static void overlap(void)
{
  static const int64_t strides[] = {18, 10, 2, 1};

  for (int i = 0; i < 4; i++) {
    mpisift_row_files files = {
        .n_paths = 4, .header = 4, .stride = strides[i], .row = 20, .n_fields = 1, .fields = one};

    check_layout(files, files_of_rows, 0, false);
    check_layout(files, files_of_rows, strides[i] - 1, false);
  }
}

/* Inputs and targets: the same tokens, one apart. */
static void fields_overlap(void)
{
  const mpisift_field pair[] = {{"x", MPISIFT_U16, 1, {8}}, {"y", MPISIFT_U16, 1, {8}}};
  const int64_t offsets[] = {0, 2};
  mpisift_row_files files = {.n_paths = 4, .stride = 16, .row = 18, .n_fields = 2, .fields = pair, .offsets = offsets};

  check_layout(files, files_of_rows, 0, false);
  check_layout(files, files_of_rows, 5, false);
}

/* Bytes of no field: before, between and behind fields, small and large; the last row may lack its gap. */
static void gaps(void)
{
  const int64_t offsets[] = {24, 3, 40};
  mpisift_row_files files = {.n_paths = 1, .stride = 60, .row = 50, .n_fields = 3, .fields = three, .offsets = offsets};

  check_layout(files, one_file, 0, false);
  check_layout(files, one_file, 10, false);
  files.stride = files.row = 9000;
  check_layout(files, one_file, 0, false);
  files.n_fields = 1;
  check_layout(files, one_file, 0, false);
  files.stride = files.row = 40;
  check_layout(files, one_file, 0, false);
}

static void byte_orders(void)
{
  const uint16_t probe = 1;
  bool little = *(const unsigned char *)&probe == 1;
  mpisift_row_files files = {.n_paths = 4, .stride = 31, .n_fields = 3, .fields = three};

  files.order = little ? MPISIFT_BIG_ENDIAN : MPISIFT_LITTLE_ENDIAN;
  check_layout(files, files_of_rows, 0, true);
  files.order = little ? MPISIFT_LITTLE_ENDIAN : MPISIFT_BIG_ENDIAN;
  check_layout(files, files_of_rows, 0, false);
  files = (mpisift_row_files){.n_paths = 1, .stride = 10, .row = 20, .n_fields = 1, .fields = one};
  files.order = little ? MPISIFT_BIG_ENDIAN : MPISIFT_LITTLE_ENDIAN;
  check_layout(files, one_file, 0, true);
}

/* Rows of which the buffer holds few or one. */
static void large_rows(void)
{
  const mpisift_field wide[] = {{"a", MPISIFT_U8, 1, {300000}}, {"b", MPISIFT_U8, 1, {100000}}};
  const mpisift_field wider[] = {{"a", MPISIFT_U8, 1, {1200000}}, {"b", MPISIFT_U8, 0, {0}}};
  const int64_t lengths[] = {5, 2};

  check_layout((mpisift_row_files){.n_paths = 2, .stride = 400000, .n_fields = 2, .fields = wide}, lengths, 0, false);
  check_layout((mpisift_row_files){.n_paths = 1, .stride = 1200001, .n_fields = 2, .fields = wider}, lengths, 0, false);
}

/* More files than are kept open. */
static void many_files(void)
{
  int64_t lengths[MOST_FILES];

  for (int i = 0; i < MOST_FILES; i++)
    lengths[i] = 1 + i % 3;
  check_layout((mpisift_row_files){.n_paths = MOST_FILES, .stride = 20, .n_fields = 1, .fields = one}, lengths, 0,
               false);
}

static void blocks(void)
{
  struct fixture f;
  mpisift_row_files files = {.n_paths = 1, .stride = 20, .n_fields = 1, .fields = one};
  static const int64_t asked[] = {0, 1, 50, 1000000}, wanted[] = {52428, 1, 50, 60000};

  begin(&f);
  files.paths = f.paths;
  write_file(&f, 0, 60000 * 20);
  for (int i = 0; i < 4; i++) {
    mpisift_rows *rows;

    files.block = asked[i];
    rows = open_rows(&f, &files);
    CU_ASSERT_EQUAL(mpisift_rows_source(rows).block, wanted[i]);
    mpisift_rows_close(&rows);
  }
  end(&f);
}

/* The description, its fields and names may go after opening. */
static void description_is_copied(void)
{
  struct fixture f;
  char name[] = "field", path[128];
  mpisift_field field = {name, MPISIFT_U16, 1, {10}};
  const char *paths[] = {path};
  mpisift_row_files files = {.paths = paths, .n_paths = 1, .stride = 20, .n_fields = 1, .fields = &field}, copy;
  mpisift_rows *rows;
  mpisift_source source;

  begin(&f);
  write_file(&f, 0, 137 * 20);
  memcpy(path, f.path[0], sizeof path);
  rows = open_rows(&f, &files);
  copy = files;
  memset(path, 0, sizeof path);
  memset(name, 0, sizeof name);
  memset(&files, 0, sizeof files);
  field.type = MPISIFT_F64;
  source = mpisift_rows_source(rows);
  CU_ASSERT_STRING_EQUAL(source.fields[0].name, "field");
  check_rows(&copy, &source, one_file, false);
  CU_ASSERT_EQUAL(mpisift_close(&f.ctx), MPISIFT_ERR_STATE);
  mpisift_rows_close(&rows);
  mpisift_rows_close(&rows);
  mpisift_rows_close(NULL);
  end(&f);
}

static void refuse(const struct fixture *f, const mpisift_row_files *files, mpisift_status wanted, const char *word)
{
  mpisift_rows *rows = (void *)(uintptr_t)f;

  check_refusal(f, mpisift_rows_open(f->ctx, files, &rows), wanted, word);
  CU_ASSERT_PTR_NULL(rows);
}

static void bad_files(void)
{
  struct fixture f;
  mpisift_row_files files = {.n_paths = 2, .header = 8, .stride = 20, .n_fields = 1, .fields = one};
  const char *folder[2];

  begin(&f);
  files.paths = f.paths;
  write_file(&f, 0, 8 + 5 * 20);
  refuse(&f, &files, MPISIFT_ERR_IO, f.path[1]);
  folder[0] = f.path[0];
  folder[1] = f.folder;
  files.paths = folder;
  refuse(&f, &files, MPISIFT_ERR_IO, "not a regular file");
  if (test_rank == 0)
    CU_ASSERT_EQUAL(mkfifo(f.path[1], 0600), 0);
  MPI_Barrier(MPI_COMM_WORLD);
  files.paths = f.paths;
  refuse(&f, &files, MPISIFT_ERR_IO, "not a regular file");
  MPI_Barrier(MPI_COMM_WORLD);
  if (test_rank == 0)
    unlink(f.path[1]);
  for (int size = 0; size <= 27; size += 9) {
    write_file(&f, 1, size);
    refuse(&f, &files, MPISIFT_ERR_DATA, "hold no row of 20 bytes behind a header of 8");
  }
  write_file(&f, 1, 8 + 5 * 20 + 7);
  refuse(&f, &files, MPISIFT_ERR_DATA, "the last 7 bytes, behind row 4, are no whole row");
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f.ctx), f.path[1]));
  end(&f);
}

static void bad_layout(void)
{
  static const struct {
    int64_t header, stride, row, block;
    const char *word;
  } bad[] = {{-1, 20, 0, 0, "header is -1"},
             {0, 0, 0, 0, "stride 0"},
             {0, -20, 0, 0, "stride -20"},
             {0, 20, -1, 0, "row -1"},
             {0, 20, 0, -1, "block -1"},
             {0, 20, 19, 0, "does not lie in a row of 19"},
             {0, 19, 0, 0, "field x of 20 bytes at offset 0 does not lie in a row of 19 bytes"},
             {INT64_MAX, 20, 0, 0, "hold no row"},
             {0, INT64_MAX, 0, 0, "hold no row"},
             {0, 20, INT64_MAX, 0, "hold no row"}};
  static const int64_t offsets[] = {-1, 1, INT64_MAX, INT64_MIN};
  struct fixture f;
  mpisift_row_files files = {.n_paths = 1, .n_fields = 1, .fields = one};

  begin(&f);
  files.paths = f.paths;
  write_file(&f, 0, 200);
  for (int i = 0; i < 10; i++) {
    files.header = bad[i].header;
    files.stride = bad[i].stride;
    files.row = bad[i].row;
    files.block = bad[i].block;
    refuse(&f, &files, i < 7 ? MPISIFT_ERR_ARG : MPISIFT_ERR_DATA, bad[i].word);
  }
  files = (mpisift_row_files){.paths = f.paths, .n_paths = 1, .stride = 20, .n_fields = 1, .fields = one};
  for (int i = 0; i < 4; i++) {
    files.offsets = &offsets[i];
    refuse(&f, &files, MPISIFT_ERR_ARG, "field x of 20 bytes at offset");
  }
  files.offsets = NULL;
  files.order = (mpisift_byte_order)3;
  refuse(&f, &files, MPISIFT_ERR_ARG, "files.order is 3");
  end(&f);
}

static void bad_arguments(void)
{
  const mpisift_field bad[] = {{NULL, MPISIFT_U8, 0, {0}},
                               {"x", (mpisift_type)99, 0, {0}},
                               {"x", MPISIFT_U8, 1, {0}},
                               {"x", MPISIFT_U8, 9, {1}},
                               {"x", MPISIFT_F64, 2, {INT64_MAX, INT64_MAX}}};
  const char *null[] = {NULL};
  struct fixture f;
  mpisift_row_files files = {.n_paths = 1, .stride = 20, .n_fields = 1, .fields = one}, other;
  mpisift_rows *rows = NULL;

  begin(&f);
  write_file(&f, 0, 200);
  refuse(&f, NULL, MPISIFT_ERR_ARG, "files is NULL");
  refuse(&f, &files, MPISIFT_ERR_ARG, "paths is NULL");
  files.paths = null;
  refuse(&f, &files, MPISIFT_ERR_ARG, "files.paths[0] is NULL");
  files.paths = f.paths;
  other = files;
  other.n_paths = 0;
  refuse(&f, &other, MPISIFT_ERR_ARG, "n_paths is 0");
  other = files;
  other.n_fields = 0;
  refuse(&f, &other, MPISIFT_ERR_ARG, "n_fields is 0");
  other = files;
  other.n_fields = 17;
  refuse(&f, &other, MPISIFT_ERR_ARG, "n_fields is 17");
  other = files;
  other.fields = NULL;
  refuse(&f, &other, MPISIFT_ERR_ARG, "files.fields");
  for (int i = 0; i < 5; i++) {
    other = files;
    other.fields = &bad[i];
    refuse(&f, &other, MPISIFT_ERR_ARG, "");
  }
  CU_ASSERT_EQUAL(mpisift_rows_open(f.ctx, &files, NULL), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_rows_open(NULL, &files, &rows), MPISIFT_ERR_ARG);
  end(&f);
}

/* Where only one rank fails, or sees another file, all do, and know. */
static void ranks_differ(void)
{
  struct fixture f;
  char rank[32] = "";
  const char *other[1];
  mpisift_row_files files = {.n_paths = 1, .stride = 20, .n_fields = 1, .fields = one};

  begin(&f);
  write_file(&f, 0, 200);
  write_file(&f, 1, 220);
  for (int r = 0; r < test_size; r++) {
    if (test_size > 1)
      snprintf(rank, sizeof rank, "rank %d: ", r);
    other[0] = f.path[test_rank == r ? 2 : 0];
    files.paths = other;
    refuse(&f, &files, MPISIFT_ERR_IO, rank);
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f.ctx), f.path[2]));
    other[0] = f.path[test_rank == r ? 1 : 0];
    if (test_size > 1)
      refuse(&f, &files, MPISIFT_ERR_ARG, "the number of rows in the files differs between ranks");
    other[0] = f.path[0];
    files.block = test_rank == r ? 2 : 1;
    if (test_size > 1)
      refuse(&f, &files, MPISIFT_ERR_ARG, "files.block differs between ranks");
  }
  end(&f);
}

/* A file that shrinks between opening and reading: what is left is read, the first row that is not is named. */
static void shrunk(void)
{
  struct fixture f;
  mpisift_row_files files = {.n_paths = 2, .header = 4, .stride = 20, .row = 20, .n_fields = 1, .fields = one};
  int64_t ids[40];
  uint16_t x[40][10];
  void *dst[] = {x};

  begin(&f);
  files.paths = f.paths;
  for (int i = 0; i < 40; i++)
    ids[i] = i;
  for (int stride = 10; stride <= 20; stride += 10) {
    mpisift_rows *rows;
    mpisift_source source;

    files.stride = stride;
    write_file(&f, 0, 4 + 19 * stride + 20);
    write_file(&f, 1, 4 + 19 * stride + 20);
    rows = open_rows(&f, &files);
    source = mpisift_rows_source(rows);
    write_file(&f, 1, 4 + 7 * stride + 15);
    CU_ASSERT_EQUAL(source.read(source.user, 27, ids, dst), 0);
    CU_ASSERT_EQUAL(source.read(source.user, 40, ids, dst), MPISIFT_ERR_IO);
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f.ctx), "row 7 cannot be read"));
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f.ctx), f.path[1]));
    MPI_Barrier(MPI_COMM_WORLD);
    mpisift_rows_close(&rows);
  }
  end(&f);
}

struct seen {
  int64_t rows, wrong, sum;
};

static void look(const mpisift_batch *b, struct seen *seen)
{
  for (int64_t i = 0; i < b->valid; i++) {
    for (int64_t k = 0; k < 20; k++)
      seen->wrong += ((unsigned char *)b->data[0])[i * 20 + k] != byte_at(0, 4 + b->ids[i] * 16 + k);
    seen->sum += b->ids[i];
    seen->rows++;
  }
}

/* An epoch of overlapping rows through a loader: each row once, with its own bytes. */
static void through_a_loader(void)
{
  struct fixture f;
  struct seen seen = {0};
  mpisift_row_files files = {.n_paths = 1, .header = 4, .stride = 16, .row = 20, .n_fields = 1, .fields = one};
  mpisift_config config;
  mpisift_loader *loader;
  mpisift_rows *rows;
  mpisift_source source;
  mpisift_batch b;

  begin(&f);
  files.paths = f.paths;
  write_file(&f, 0, 4 + 999 * 16 + 20);
  rows = open_rows(&f, &files);
  source = mpisift_rows_source(rows);
  mpisift_config_init(&config, sizeof config);
  config.policy = "all";
  config.global_batch_size = 24;
  config.end_of_epoch = MPISIFT_FLUSH;
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(f.ctx, &config, &source, NULL, NULL, &loader), MPISIFT_OK);
  while (mpisift_loader_next(loader, &b) == MPISIFT_OK)
    look(&b, &seen);
  CU_ASSERT_STRING_EQUAL(mpisift_error(f.ctx), "");
  MPI_Allreduce(MPI_IN_PLACE, &seen, 3, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
  CU_ASSERT(seen.rows == 1000 && seen.wrong == 0 && seen.sum == 999 * 500);
  mpisift_loader_destroy(&loader);
  mpisift_rows_close(&rows);
  end(&f);
}

/* A file that shrinks under a loader is one error on all ranks; once it is whole again, the call is repeated. */
static void shrunk_under_a_loader(void)
{
  struct fixture f;
  mpisift_row_files files = {.n_paths = 1, .stride = 20, .n_fields = 1, .fields = one};
  mpisift_config config;
  mpisift_loader *loader;
  mpisift_rows *rows;
  mpisift_source source;
  mpisift_batch b;
  int64_t trained = 0;
  mpisift_status status;

  begin(&f);
  files.paths = f.paths;
  write_file(&f, 0, 240 * 20);
  rows = open_rows(&f, &files);
  source = mpisift_rows_source(rows);
  mpisift_config_init(&config, sizeof config);
  config.policy = "all";
  config.global_batch_size = 24;
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(f.ctx, &config, &source, NULL, NULL, &loader), MPISIFT_OK);
  write_file(&f, 0, 0);
  status = mpisift_loader_next(loader, &b);
  check_refusal(&f, status, MPISIFT_ERR_IO, "the file has become shorter");
  write_file(&f, 0, 240 * 20);
  for (; (status = mpisift_loader_next(loader, &b)) == MPISIFT_OK; trained += b.n)
    CU_ASSERT_EQUAL(((unsigned char *)b.data[0])[1], byte_at(0, b.ids[0] * 20 + 1));
  CU_ASSERT_EQUAL(status, MPISIFT_END_OF_EPOCH);
  MPI_Allreduce(MPI_IN_PLACE, &trained, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
  CU_ASSERT_EQUAL(trained, 240);
  mpisift_loader_destroy(&loader);
  mpisift_rows_close(&rows);
  end(&f);
}

TEST_MAIN("rows", {"dense", dense}, {"several files", several_files}, {"overlap", overlap},
          {"fields overlap", fields_overlap}, {"gaps", gaps}, {"byte orders", byte_orders}, {"large rows", large_rows},
          {"many files", many_files}, {"blocks", blocks}, {"description is copied", description_is_copied},
          {"bad files", bad_files}, {"bad layout", bad_layout}, {"bad arguments", bad_arguments},
          {"ranks differ", ranks_differ}, {"shrunk", shrunk}, {"through a loader", through_a_loader},
          {"shrunk under a loader", shrunk_under_a_loader})
