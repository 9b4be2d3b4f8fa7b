/* Sources that convert the fields of others: arrays, files of rows, data sets and callbacks, indexed and streams, read
 * directly and through a loader; and every error by its name, the same on all ranks. */
#include "row_files.h"

#include <hdf5.h>
#include <math.h>

enum { N = 500, WIDTH = 3 };

static const mpisift_field fields[] = {
    {"image", MPISIFT_U8, 1, {WIDTH}}, {"label", MPISIFT_U16, 0, {0}}, {"weight", MPISIFT_F64, 0, {0}}};
static const mpisift_conversion conversions[] = {{"label", MPISIFT_I32, 0, 0}, {"image", MPISIFT_F32, 1 / 256.0, -0.5}};

/* A world of samples: what element e of each field of a sample is. */
static uint8_t image(int64_t id, int e)
{
  return (uint8_t)(id * 7 + e * 100);
}

static uint16_t label(int64_t id)
{
  return (uint16_t)(65535 - id * 31);
}

static void write_sample(int64_t id, int64_t i, void *const *dst)
{
  for (int e = 0; e < WIDTH; e++)
    ((uint8_t *)dst[0])[i * WIDTH + e] = image(id, e);
  ((uint16_t *)dst[1])[i] = label(id);
  ((double *)dst[2])[i] = (double)id / 3;
}

/* Elements of converted samples that are not what they should be. */
static int64_t count_wrong(int64_t n, const int64_t *ids, void *const *data)
{
  int64_t wrong = 0;

  for (int64_t i = 0; i < n; i++) {
    for (int e = 0; e < WIDTH; e++)
      wrong += ((float *)data[0])[i * WIDTH + e] != (float)image(ids[i], e) / 256 - 0.5f;
    wrong += ((int32_t *)data[1])[i] != label(ids[i]) || ((double *)data[2])[i] != (double)ids[i] / 3;
  }
  return wrong;
}

struct store {
  mpisift_ctx *ctx;
  int64_t next, end;  /* of this rank's stream */
  int64_t fail_after; /* calls; 0: none fails */
  int64_t bad_id;     /* its label is 0 and its weight NaN; −1: none */
  int epochs;
};

static int failing(struct store *s)
{
  if (s->fail_after == 0 || --s->fail_after > 0)
    return 0;
  mpisift_explain(s->ctx, "the store is closed");
  return 5;
}

static int read_store(void *user, int64_t n, const int64_t *ids, void *const *dst)
{
  struct store *s = user;

  for (int64_t i = 0; i < n; i++) {
    write_sample(ids[i], i, dst);
    if (ids[i] == s->bad_id)
      ((double *)dst[2])[i] = NAN;
  }
  return failing(s);
}

static int pull_store(void *user, int64_t want, int64_t *got, int64_t *ids, void *const *dst)
{
  struct store *s = user;

  if (failing(s))
    return 5;
  for (*got = 0; *got < want && s->next < s->end; ++*got) {
    ids[*got] = s->next * test_size + test_rank;
    write_sample(ids[*got], *got, dst);
    if (s->next++ == s->bad_id)
      ((double *)dst[2])[*got] = NAN;
  }
  return 0;
}

static int begin_store(void *user, int64_t epoch)
{
  struct store *s = user;

  (void)epoch;
  s->next = 0;
  s->epochs++;
  return 0;
}

static mpisift_source store_source(struct store *s)
{
  return (mpisift_source){.user = s, .n = N, .block = 7, .n_fields = 3, .fields = fields, .read = read_store};
}

static mpisift_source stream_source(struct store *s)
{
  return (mpisift_source){
      .user = s, .n = -1, .n_fields = 3, .fields = fields, .pull = pull_store, .begin_epoch = begin_store};
}

static mpisift_convert *convert(const struct fixture *f, const mpisift_source *source, const mpisift_conversion *list,
                                int n)
{
  mpisift_convert *made = NULL;

  CU_ASSERT_EQUAL_FATAL(mpisift_convert_create(f->ctx, source, list, n, &made), MPISIFT_OK);
  return made;
}

/* Read a converted source as a rank of its own, in calls that grow and shrink. */
static void check_reading(const mpisift_source *s)
{
  float images[N * WIDTH];
  int32_t labels[N];
  double weights[N];
  void *dst[] = {images, labels, weights};
  int64_t ids[N];

  CU_ASSERT(s->n == N && s->n_fields == 3 && s->fields[0].type == MPISIFT_F32 && s->fields[1].type == MPISIFT_I32 &&
            s->fields[2].type == MPISIFT_F64 && s->fields[0].shape[0] == WIDTH);
  for (int64_t n = 1; n <= N; n = n * 3 + 1 + test_rank) {
    for (int64_t i = 0; i < n; i++)
      ids[i] = (i * 13 + test_rank) % N;
    CU_ASSERT_EQUAL(s->read(s->user, n, ids, dst), 0);
    CU_ASSERT_EQUAL(count_wrong(n, ids, dst), 0);
    CU_ASSERT_EQUAL(s->read(s->user, 1, ids, dst), 0);
    CU_ASSERT_EQUAL(count_wrong(1, ids, dst), 0);
  }
}

static mpisift_loader *make_loader(const struct fixture *f, const mpisift_source *source, int64_t epochs)
{
  mpisift_config config;
  mpisift_loader *loader = NULL;

  mpisift_config_init(&config, sizeof config);
  config.policy = "all";
  config.global_batch_size = 24;
  config.epochs = epochs;
  config.end_of_epoch = MPISIFT_FLUSH;
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(f->ctx, &config, source, NULL, NULL, &loader), MPISIFT_OK);
  return loader;
}

/* Take all batches of an epoch. Returns their samples on all ranks. */
static int64_t take_epoch(const struct fixture *f, mpisift_loader *loader)
{
  mpisift_batch b;
  mpisift_status status;
  int64_t taken = 0;

  for (; (status = mpisift_loader_next(loader, &b)) == MPISIFT_OK; taken += b.n)
    CU_ASSERT_EQUAL(count_wrong(b.n, b.ids, b.data), 0);
  CU_ASSERT_EQUAL(status, MPISIFT_END_OF_EPOCH);
  CU_ASSERT_STRING_EQUAL(mpisift_error(f->ctx), "");
  MPI_Allreduce(MPI_IN_PLACE, &taken, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
  return taken;
}

/* A source, converted: read, and through a loader. */
static void check_source(const struct fixture *f, const mpisift_source *source)
{
  mpisift_convert *converted = convert(f, source, conversions, 2);
  mpisift_source s = mpisift_convert_source(converted);
  mpisift_loader *loader;

  CU_ASSERT_EQUAL(s.block, source->block);
  check_reading(&s);
  loader = make_loader(f, &s, 1);
  CU_ASSERT_EQUAL(take_epoch(f, loader), N);
  mpisift_loader_destroy(&loader);
  mpisift_convert_destroy(&converted);
  CU_ASSERT_PTR_NULL(converted);
}

/* All samples as columns. */
static void fill_columns(void *const *columns)
{
  for (int64_t id = 0; id < N; id++)
    write_sample(id, id, columns);
}

static uint8_t images[N * WIDTH];
static uint16_t labels[N];
static double weights[N];
static void *const columns[] = {images, labels, weights};

static void of_arrays(void)
{
  const mpisift_arrays arrays = {N, 3, fields, (const void *const *)columns};
  mpisift_source source = mpisift_arrays_source(&arrays);
  struct fixture f;

  begin(&f);
  fill_columns(columns);
  check_source(&f, &source);
  end(&f);
}

static void of_callbacks(void)
{
  struct store store = {.bad_id = -1};
  mpisift_source source = store_source(&store);
  struct fixture f;

  begin(&f);
  check_source(&f, &source);
  end(&f);
}

static void of_rows(void)
{
  enum { ROW = 16 }; /* bytes, of which three are a gap */
  static unsigned char bytes[N * ROW];
  const int64_t offsets[] = {0, 6, 8};
  mpisift_row_files files = {.n_paths = 1, .stride = ROW, .n_fields = 3, .fields = fields, .offsets = offsets};
  mpisift_rows *rows;
  mpisift_source source;
  struct fixture f;

  begin(&f);
  fill_columns(columns);
  for (int64_t id = 0; id < N; id++) {
    memcpy(bytes + id * ROW, images + id * WIDTH, WIDTH);
    memcpy(bytes + id * ROW + 6, labels + id, 2);
    memcpy(bytes + id * ROW + 8, weights + id, 8);
  }
  write_bytes(f.path[0], bytes, sizeof bytes);
  files.paths = f.paths;
  rows = open_rows(&f, &files);
  source = mpisift_rows_source(rows);
  check_source(&f, &source);
  mpisift_rows_close(&rows);
  end(&f);
}

static void write_column(hid_t file, const char *name, hid_t type, int rank, const void *data)
{
  const hsize_t dims[] = {N, WIDTH};
  hid_t space = H5Screate_simple(rank, dims, NULL);
  hid_t column = H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);

  H5Dwrite(column, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data);
  H5Dclose(column);
  H5Sclose(space);
}

static void of_a_data_set(void)
{
  static const char *const names[] = {"image", "label", "weight"};
  mpisift_dataset *dataset = NULL;
  mpisift_source source;
  struct fixture f;

  begin(&f);
  fill_columns(columns);
  if (test_rank == 0) {
    hid_t file = H5Fcreate(f.path[0], H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);

    write_column(file, "image", H5T_NATIVE_UINT8, 2, images);
    write_column(file, "label", H5T_NATIVE_UINT16, 1, labels);
    write_column(file, "weight", H5T_NATIVE_DOUBLE, 1, weights);
    H5Fclose(file);
  }
  MPI_Barrier(MPI_COMM_WORLD);
  CU_ASSERT_EQUAL_FATAL(mpisift_dataset_open(f.ctx, f.path[0], NULL, names, 3, 0, &dataset), MPISIFT_OK);
  source = mpisift_dataset_source(dataset);
  check_source(&f, &source);
  mpisift_dataset_close(&dataset);
  end(&f);
}

/* Streams of other lengths on each rank, in two epochs. */
static void of_a_stream(void)
{
  struct store store = {.end = 50 + 20 * test_rank, .bad_id = -1};
  mpisift_source source = stream_source(&store), s;
  mpisift_convert *converted;
  mpisift_loader *loader;
  struct fixture f;
  int64_t all = store.end;

  begin(&f);
  MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
  converted = convert(&f, &source, conversions, 2);
  s = mpisift_convert_source(converted);
  CU_ASSERT(s.n == -1 && s.read == NULL);
  loader = make_loader(&f, &s, 2);
  CU_ASSERT_EQUAL(take_epoch(&f, loader), all);
  CU_ASSERT_EQUAL(take_epoch(&f, loader), all);
  CU_ASSERT_EQUAL(store.epochs, 2);
  mpisift_loader_destroy(&loader);
  mpisift_convert_destroy(&converted);
  end(&f);
}

/* A source that is converted may be converted again. */
static void twice(void)
{
  const mpisift_conversion again = {"label", MPISIFT_F64, 2, 1};
  struct store store = {.bad_id = -1};
  mpisift_source source = store_source(&store), s;
  mpisift_convert *first, *second;
  struct fixture f;
  double found[2];
  float skip[2 * WIDTH];
  double also[2];
  void *dst[] = {skip, found, also};

  begin(&f);
  first = convert(&f, &source, conversions, 2);
  s = mpisift_convert_source(first);
  second = convert(&f, &s, &again, 1);
  s = mpisift_convert_source(second);
  CU_ASSERT_EQUAL(s.read(s.user, 2, (const int64_t[]){3, 400}, dst), 0);
  CU_ASSERT(found[0] == 2.0 * label(3) + 1 && found[1] == 2.0 * label(400) + 1);
  mpisift_convert_destroy(&second);
  mpisift_convert_destroy(&first);
  end(&f);
}

/* A failure of the source below is told in its own words, and the call can be repeated. */
static void source_fails(void)
{
  struct store store = {.bad_id = -1, .fail_after = test_rank == test_size - 1 ? 2 : 0};
  mpisift_source source = store_source(&store), s;
  mpisift_convert *converted;
  mpisift_loader *loader;
  mpisift_batch b;
  mpisift_status status;
  int64_t taken = 0;
  struct fixture f;

  begin(&f);
  store.ctx = f.ctx;
  converted = convert(&f, &source, conversions, 2);
  s = mpisift_convert_source(converted);
  loader = make_loader(&f, &s, 1);
  for (; (status = mpisift_loader_next(loader, &b)) == MPISIFT_OK; taken += b.n)
    ;
  check_refusal(&f, status, MPISIFT_ERR_CALLBACK, "the store is closed");
  MPI_Allreduce(MPI_IN_PLACE, &taken, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
  CU_ASSERT_EQUAL(taken + take_epoch(&f, loader), N);
  mpisift_loader_destroy(&loader);
  mpisift_convert_destroy(&converted);
  end(&f);
}

/* A value that does not fit fails on all ranks, and the message names it: once it is repaired, all goes on. */
static void value_out_of_range(void)
{
  const mpisift_conversion scaled = {"weight", MPISIFT_I32, 3, 0};
  struct store store = {.bad_id = 123};
  mpisift_source source = store_source(&store), s;
  mpisift_convert *converted;
  mpisift_loader *loader;
  mpisift_batch b;
  mpisift_status status;
  int64_t taken = 0;
  struct fixture f;

  begin(&f);
  converted = convert(&f, &source, &scaled, 1);
  s = mpisift_convert_source(converted);
  loader = make_loader(&f, &s, 1);
  for (; (status = mpisift_loader_next(loader, &b)) == MPISIFT_OK; taken += b.n)
    for (int64_t i = 0; i < b.n; i++)
      CU_ASSERT_EQUAL(((int32_t *)b.data[2])[i], b.ids[i]);
  check_refusal(&f, status, MPISIFT_ERR_DATA,
                "field weight of sample 123, element 0: nan × 3 + 0 does not fit in int32");
  store.bad_id = -1;
  for (; (status = mpisift_loader_next(loader, &b)) == MPISIFT_OK; taken += b.n)
    ;
  CU_ASSERT_EQUAL(status, MPISIFT_END_OF_EPOCH);
  MPI_Allreduce(MPI_IN_PLACE, &taken, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
  CU_ASSERT_EQUAL(taken, N);
  mpisift_loader_destroy(&loader);
  mpisift_convert_destroy(&converted);
  end(&f);
}

/* Read directly, the text is that of the read. */
static void integer_out_of_range(void)
{
  const mpisift_conversion stretched = {"image", MPISIFT_I64, 1e17, 0};
  struct store store = {.bad_id = -1};
  mpisift_source source = store_source(&store), s;
  mpisift_convert *converted;
  mpisift_status status;
  struct fixture f;
  int64_t wide[2 * WIDTH];
  uint16_t narrow[2];
  double also[2];

  begin(&f);
  converted = convert(&f, &source, &stretched, 1);
  s = mpisift_convert_source(converted);
  status = (mpisift_status)s.read(s.user, 2, (const int64_t[]){0, 1}, (void *const[]){wide, narrow, also});
  check_refusal(&f, status, MPISIFT_ERR_DATA,
                "field image of sample 0, element 1: 100 × 1e+17 + 0 does not fit in int64");
  mpisift_convert_destroy(&converted);
  end(&f);
}

/* In a stream too; it goes on behind. */
static void stream_value_out_of_range(void)
{
  const mpisift_conversion whole = {"weight", MPISIFT_I64, 3, 0};
  struct store store = {.end = 200, .bad_id = test_rank == 0 ? 100 : -1};
  mpisift_source source = stream_source(&store), s;
  mpisift_convert *converted;
  mpisift_loader *loader;
  mpisift_batch b;
  mpisift_status status;
  struct fixture f;

  begin(&f);
  converted = convert(&f, &source, &whole, 1);
  s = mpisift_convert_source(converted);
  loader = make_loader(&f, &s, 1);
  while ((status = mpisift_loader_next(loader, &b)) == MPISIFT_OK)
    ;
  check_refusal(&f, status, MPISIFT_ERR_DATA, "field weight of sample");
  while ((status = mpisift_loader_next(loader, &b)) == MPISIFT_OK)
    for (int64_t i = 0; i < b.n; i++)
      CU_ASSERT_EQUAL(((int64_t *)b.data[2])[i], b.ids[i]);
  CU_ASSERT_EQUAL(status, MPISIFT_END_OF_EPOCH);
  mpisift_loader_destroy(&loader);
  mpisift_convert_destroy(&converted);
  end(&f);
}

static void refuse(const struct fixture *f, const mpisift_source *source, const mpisift_conversion *list, int n,
                   mpisift_status wanted, const char *word)
{
  mpisift_convert *made = (void *)(uintptr_t)f;

  check_refusal(f, mpisift_convert_create(f->ctx, source, list, n, &made), wanted, word);
  CU_ASSERT_PTR_NULL(made);
}

static void bad_arguments(void)
{
  static const struct {
    mpisift_conversion conversion;
    const char *word;
  } bad[] = {{{NULL, MPISIFT_F32, 1, 0}, "no field 'NULL'"},
             {{"colour", MPISIFT_F32, 1, 0}, "the source has no field 'colour'"},
             {{"label", MPISIFT_F16, 1, 0}, "float16 is not possible"},
             {{"label", MPISIFT_U8, 1, 0}, "uint8 is not possible"},
             {{"label", (mpisift_type)77, 1, 0}, "unknown type is not possible"},
             {{"label", MPISIFT_F32, INFINITY, 0}, "scale is inf"},
             {{"label", MPISIFT_F32, 1, NAN}, "offset nan"}};
  const mpisift_conversion same[] = {{"label", MPISIFT_F32, 1, 0}, {"label", MPISIFT_F64, 1, 0}};
  struct store store = {.bad_id = -1};
  mpisift_source source = store_source(&store), empty = source;
  mpisift_convert *made = NULL;
  struct fixture f;

  begin(&f);
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    refuse(&f, &source, &bad[i].conversion, 1, MPISIFT_ERR_ARG, bad[i].word);
  refuse(&f, &source, same, 2, MPISIFT_ERR_ARG, "conversions[1]: field label is converted already");
  refuse(&f, NULL, conversions, 2, MPISIFT_ERR_ARG, "source");
  refuse(&f, &source, NULL, 2, MPISIFT_ERR_ARG, "conversions is NULL");
  refuse(&f, &source, conversions, 0, MPISIFT_ERR_ARG, "their number is 0");
  empty.n = 0;
  refuse(&f, &empty, conversions, 2, MPISIFT_ERR_DATA, "there are no samples");
  empty = source;
  empty.read = NULL;
  refuse(&f, &empty, conversions, 2, MPISIFT_ERR_ARG, "needs read");
  CU_ASSERT_EQUAL(mpisift_convert_create(f.ctx, &source, conversions, 2, NULL), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_convert_create(NULL, &source, conversions, 2, &made), MPISIFT_ERR_ARG);
  mpisift_convert_destroy(&made);
  mpisift_convert_destroy(NULL);
  end(&f);
}

static void ranks_differ(void)
{
  mpisift_conversion mine = {"label", MPISIFT_F32, 1, 0};
  struct store store = {.bad_id = -1};
  mpisift_source source = store_source(&store);
  mpisift_convert *made;
  struct fixture f;

  begin(&f);
  made = convert(&f, &source, &mine, 1);
  CU_ASSERT_EQUAL(mpisift_close(&f.ctx), MPISIFT_ERR_STATE);
  mpisift_convert_destroy(&made);
  for (int r = 0; r < test_size && test_size > 1; r++) {
    mine.scale = test_rank == r ? 2 : 1;
    refuse(&f, &source, &mine, 1, MPISIFT_ERR_ARG, "scale or offset of conversions differs between ranks");
    mine.scale = 1;
    mine.type = test_rank == r ? MPISIFT_F64 : MPISIFT_F32;
    refuse(&f, &source, &mine, 1, MPISIFT_ERR_ARG, "source.fields or conversions differs between ranks");
    mine.type = MPISIFT_F32;
    source.n = test_rank == r ? N - 1 : N;
    refuse(&f, &source, &mine, 1, MPISIFT_ERR_ARG, "source.n differs between ranks");
    source.n = N;
  }
  end(&f);
}

TEST_MAIN("conversion", {"of arrays", of_arrays}, {"of callbacks", of_callbacks}, {"of rows", of_rows},
          {"of a data set", of_a_data_set}, {"of a stream", of_a_stream}, {"twice", twice},
          {"source fails", source_fails}, {"value out of range", value_out_of_range},
          {"integer out of range", integer_out_of_range}, {"stream value out of range", stream_value_out_of_range},
          {"bad arguments", bad_arguments}, {"ranks differ", ranks_differ})
