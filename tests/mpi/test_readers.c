/* Threads that read ahead: the same rows with any number of them, and what they meet is told by the call that wants the
 * rows. Files are damaged, cut and changed while they are read, and memory runs out. */
#include <fcntl.h>
#include <sys/file.h>

#include "api/context.h"
#include "h5_files.h"

enum { ROWS = 2000, CHUNK = 64, WIDTH = 256 }; /* a block is a chunk of 64 KiB */

static const struct field_spec deflated = {
    .name = "x", .type = MPISIFT_F32, .ndim = 1, .shape = {WIDTH}, .chunk = CHUNK, .deflate = true};

static uint64_t state = 1;

static int64_t draw(int64_t n)
{
  state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (int64_t)((state >> 33) % (uint64_t)n);
}

static void draw_ids(int64_t n, int64_t n_ids, int64_t *ids)
{
  for (int64_t i = 0; i < n_ids; i++)
    ids[i] = draw(n);
}

/* Reads that were announced, in full, in part, wrongly or not at all. */
static int64_t wrong_in_rounds(const mpisift_source *s)
{
  enum { MOST = 150 };
  int64_t next[MOST], ids[MOST], wrong = 0;

  draw_ids(s->n, MOST, next);
  for (int round = 0; round < 40; round++) {
    int64_t n = 1 + draw(MOST);

    memcpy(ids, next, sizeof ids);
    wrong += count_wrong(s, n, ids) != 0;
    draw_ids(s->n, MOST, next);
    if (s->prefetch != NULL && draw(4) > 0)
      s->prefetch(s->user, 1 + draw(MOST), next);
    if (draw(5) == 0)
      draw_ids(s->n, MOST, next);
  }
  return wrong;
}

/* Fields of all kinds of blocks, and one that is left to HDF5. */
static const struct field_spec mixed[] = {
    {.name = "a", .type = MPISIFT_F32, .ndim = 1, .shape = {100}, .chunk = CHUNK},
    {.name = "b", .type = MPISIFT_I64, .chunk = 700, .deflate = true},
    {.name = "c", .type = MPISIFT_U16, .big_endian = true, .ndim = 1, .shape = {30}},
    {.name = "d", .type = MPISIFT_F64, .ndim = 1, .shape = {11}, .chunk = 75, .deflate = true},
    {.name = "e", .type = MPISIFT_U8, .ndim = 2, .shape = {4, 4}, .chunk = 100, .deflate = true}};

static void same_rows(void)
{
  static const size_t caches[] = {1, 120000, 600000, SIZE_MAX};
  struct fixture f;

  begin(&f);
  write_fields(&f, NULL, mixed, 5, ROWS);
  for (int threads = 0; threads < 5; threads += 1 + threads / 2)
    for (int c = 0; c < 4; c++) {
      mpisift_dataset *dataset = open_threaded(&f, threads, caches[c]);
      mpisift_source source = mpisift_dataset_source(dataset);

      CU_ASSERT_EQUAL(source.prefetch != NULL, threads > 0);
      CU_ASSERT_EQUAL(wrong_in_rounds(&source), 0);
      mpisift_dataset_close(&dataset);
    }
  end(&f);
}

/* Closed while the queue is full. */
static void close_at_once(void)
{
  struct fixture f;
  int64_t ids[ROWS];

  begin(&f);
  write_fields(&f, NULL, &deflated, 1, ROWS);
  draw_ids(ROWS, ROWS, ids);
  for (int i = 0; i < 20; i++) {
    mpisift_dataset *dataset = open_threaded(&f, 2, 0);
    mpisift_source source = mpisift_dataset_source(dataset);

    source.prefetch(source.user, 1 + draw(ROWS), ids);
    if (i % 2 == 0)
      CU_ASSERT_EQUAL(count_wrong(&source, 3, ids), 0);
    mpisift_dataset_close(&dataset);
  }
  end(&f);
}

/* The user's own calls of HDF5, of this file too, between ours and while threads read. */
static void beside_hdf5(void)
{
  struct fixture f;
  mpisift_dataset *dataset;
  mpisift_source source;
  int64_t ids[300], wrong = 0;
  float rows[CHUNK][WIDTH];

  begin(&f);
  write_fields(&f, NULL, &deflated, 1, ROWS);
  dataset = open_threaded(&f, 2, 200000);
  source = mpisift_dataset_source(dataset);
  for (int round = 0; round < 30; round++) {
    hid_t file, data, space, memory;
    hsize_t start[2] = {(hsize_t)draw(ROWS - CHUNK), 0}, count[2] = {CHUNK, WIDTH};

    draw_ids(ROWS, 300, ids);
    source.prefetch(source.user, 300, ids);
    file = H5Fopen(f.path, H5F_ACC_RDONLY, H5P_DEFAULT);
    data = H5Dopen2(file, "x", H5P_DEFAULT);
    space = H5Dget_space(data);
    memory = H5Screate_simple(2, count, NULL);
    H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL);
    CU_ASSERT(H5Dread(data, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, rows) >= 0);
    for (int i = 0; i < CHUNK * WIDTH; i++)
      wrong +=
          rows[i / WIDTH][i % WIDTH] != (float)element_value(MPISIFT_F32, (int64_t)start[0] + i / WIDTH, i % WIDTH);
    H5Sclose(memory);
    H5Sclose(space);
    H5Dclose(data);
    H5Fclose(file);
    CU_ASSERT_EQUAL(count_wrong(&source, 300, ids), 0);
  }
  CU_ASSERT_EQUAL(wrong, 0);
  mpisift_dataset_close(&dataset);
  end(&f);
}

/* Overwrite bytes of the file, on rank 0. */
static void patch(const struct fixture *f, off_t at, const void *bytes, size_t n)
{
  written();
  if (test_rank == 0) {
    int file = open(f->path, O_RDWR);

    CU_ASSERT_EQUAL(pwrite(file, bytes, n, at), (ssize_t)n);
    close(file);
  }
  written();
}

/* Where the file has the k-th chunk's entry of its index, of the first format: size, filters, place, address. Nodes are
 * leaves here. */
static off_t find_entry(const struct fixture *f, int k)
{
  static unsigned char bytes[4 << 20];
  int file = open(f->path, O_RDONLY);
  ssize_t n = pread(file, bytes, sizeof bytes, 0);
  off_t found = -1;

  close(file);
  for (ssize_t at = 0; at + 24 < n && found < 0; at++)
    if (memcmp(bytes + at, "TREE\1\0", 6) == 0)
      found = at + 24 + 40 * k;
  CU_ASSERT_FATAL(found >= 0);
  return found;
}

static void refuse_rows(const struct fixture *f, const mpisift_source *s, int64_t id, const char *word)
{
  CU_ASSERT_EQUAL(count_wrong(s, 1, &id), -1);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f->ctx), f->path));
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f->ctx), "field x: rows "));
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f->ctx), word));
  if (strstr(mpisift_error(f->ctx), word) == NULL)
    fprintf(stderr, "# '%s' is not in '%s'\n", word, mpisift_error(f->ctx));
}

/* What a thread or the caller meets in chunk 2, announced or not; the others are as good as before. */
static void check_damage(const struct fixture *f, const char *word)
{
  static const int64_t all[] = {5, 100, 2 * CHUNK + 1, 300, 1999, 2 * CHUNK, 1000};
  static const int64_t good[] = {5, 100, 300, 1999, 1000};

  for (int threads = 0; threads < 3; threads++)
    for (int cache = 0; cache < 2; cache++) {
      mpisift_dataset *dataset = open_threaded(f, threads, cache == 0 ? 1 : 0);
      mpisift_source source = mpisift_dataset_source(dataset);

      for (int again = 0; again < 4; again++) {
        if (threads > 0 && again % 2 == 0)
          source.prefetch(source.user, 7, all);
        refuse_rows(f, &source, all[2], word);
        CU_ASSERT_EQUAL(count_wrong(&source, 7, all), -1);
        CU_ASSERT_EQUAL(count_wrong(&source, 5, good), 0);
      }
      mpisift_dataset_close(&dataset);
    }
}

static void damaged_bytes(void)
{
  struct fixture f;
  uint64_t address = 0;
  int file;

  begin(&f);
  write_fields(&f, NULL, &deflated, 1, ROWS);
  file = open(f.path, O_RDONLY);
  CU_ASSERT_EQUAL(pread(file, &address, 8, find_entry(&f, 2) + 32), 8);
  close(file);
  patch(&f, (off_t)address + 60, "\xa5\x5a\xa5\x5a\xa5\x5a", 6);
  check_damage(&f, "does not decompress");
  end(&f);
}

/* Sizes and addresses that cannot be. */
static void wrong_sizes(void)
{
  static const struct {
    uint32_t size;
    const char *word;
  } sizes[] = {{UINT32_C(0x7fffffff), "wrong size or place"},
               {UINT32_C(0xffffffff), "wrong size or place"},
               {20, "does not decompress"}};
  const uint64_t beyond = UINT64_C(1) << 40;
  struct fixture f;

  begin(&f);
  for (int i = 0; i < 3; i++) {
    write_fields(&f, NULL, &deflated, 1, ROWS);
    patch(&f, find_entry(&f, 2), &sizes[i].size, 4);
    check_damage(&f, sizes[i].word);
  }
  write_fields(&f, NULL, &deflated, 1, ROWS);
  patch(&f, find_entry(&f, 2) + 32, &beyond, 8);
  check_damage(&f, "wrong size or place");
  end(&f);
}

static void unfiltered_sizes(void)
{
  const struct field_spec plain = {.name = "x", .type = MPISIFT_F32, .ndim = 1, .shape = {WIDTH}, .chunk = CHUNK};
  const uint32_t size = CHUNK * WIDTH * sizeof(float) - 1;
  struct fixture f;

  begin(&f);
  write_fields(&f, NULL, &plain, 1, ROWS);
  patch(&f, find_entry(&f, 2), &size, 4);
  check_damage(&f, "wrong size");
  end(&f);
}

static void wrong_checksum(void)
{
  hsize_t dims[2] = {ROWS, WIDTH}, chunk[2] = {CHUNK, WIDTH};
  uint64_t address = 0;
  struct fixture f;
  int file;

  begin(&f);
  if (test_rank == 0) {
    hid_t created = H5Fcreate(f.path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t space = H5Screate_simple(2, dims, NULL), properties = H5Pcreate(H5P_DATASET_CREATE), data;
    float *values = malloc(ROWS * WIDTH * sizeof *values);

    for (int i = 0; i < ROWS * WIDTH; i++)
      values[i] = (float)element_value(MPISIFT_F32, i / WIDTH, i % WIDTH);
    H5Pset_chunk(properties, 2, chunk);
    H5Pset_fletcher32(properties);
    data = H5Dcreate2(created, "x", H5T_IEEE_F32LE, space, H5P_DEFAULT, properties, H5P_DEFAULT);
    H5Dwrite(data, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    free(values);
    H5Dclose(data);
    H5Pclose(properties);
    H5Sclose(space);
    H5Fclose(created);
  }
  written();
  file = open(f.path, O_RDONLY);
  CU_ASSERT_EQUAL(pread(file, &address, 8, find_entry(&f, 2) + 32), 8);
  close(file);
  patch(&f, (off_t)address + 1000, "\x01\x02\x03", 3);
  check_damage(&f, "checksum");
  end(&f);
}

/* What is held stays good; what is not held says why it cannot be had. */
static void check_change(const struct field_spec *spec, bool shorter)
{
  static const int64_t held[] = {3, 701}, others[] = {1500, 1999};
  struct fixture f;

  begin(&f);
  for (int threads = 0; threads < 3; threads += 2) {
    mpisift_dataset *dataset;
    mpisift_source source;

    write_fields(&f, NULL, spec, 1, ROWS);
    dataset = open_threaded(&f, threads, 0);
    source = mpisift_dataset_source(dataset);
    CU_ASSERT_EQUAL(count_wrong(&source, 2, held), 0);
    usleep(20000); /* a time that differs */
    if (!shorter)
      patch(&f, 0, "\x89", 1);
    written();
    if (test_rank == 0 && shorter)
      CU_ASSERT_EQUAL(truncate(f.path, 300000), 0);
    written();
    if (threads > 0)
      source.prefetch(source.user, 2, others);
    refuse_rows(&f, &source, others[0], "changed since it was opened");
    refuse_rows(&f, &source, others[1], "changed since it was opened");
    CU_ASSERT_EQUAL(count_wrong(&source, 2, held), 0);
    mpisift_dataset_close(&dataset);
    written();
  }
  end(&f);
}

static void files_that_change(void)
{
  const struct field_spec plain = {.name = "x", .type = MPISIFT_F32, .ndim = 1, .shape = {1000}};

  check_change(&deflated, true);
  check_change(&deflated, false);
  check_change(&plain, true);
  check_change(&plain, false);
}

/* The loader tells all ranks what one rank's thread met. */
static void change_under_a_loader(void)
{
  struct fixture f;
  mpisift_dataset *dataset;
  mpisift_source source;
  mpisift_config config;
  mpisift_loader *loader = NULL;
  mpisift_batch batch;
  mpisift_status status = MPISIFT_OK;

  begin(&f);
  write_fields(&f, NULL, &deflated, 1, ROWS);
  dataset = open_threaded(&f, 2, 60000);
  source = mpisift_dataset_source(dataset);
  mpisift_config_init(&config, sizeof config);
  config.policy = "all";
  config.global_batch_size = 100;
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(f.ctx, &config, &source, NULL, NULL, &loader), MPISIFT_OK);
  for (int step = 0; step < 3; step++)
    CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_OK);
  usleep(20000);
  patch(&f, 0, "\x89", 1);
  for (int step = 0; step < 16 && status == MPISIFT_OK; step++)
    status = mpisift_loader_next(loader, &batch);
  CU_ASSERT_EQUAL(status, MPISIFT_ERR_IO);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f.ctx), "changed since"));
  CU_ASSERT(same_everywhere(mpisift_error(f.ctx)));
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  mpisift_dataset_close(&dataset);
  end(&f);
}

/* Each allocation of opening fails once, on one rank. */
static void memory_runs_out_in_opening(void)
{
  struct fixture f;
  int64_t failures = 0, before;
  mpisift_reading reading;

  begin(&f);
  write_fields(&f, NULL, mixed, 5, ROWS);
  before = f.ctx->memory.blocks;
  mpisift_reading_init(&reading, sizeof reading);
  reading.threads = 3;
  for (int64_t k = 1; k < 100; k++) {
    mpisift_dataset *dataset = NULL;
    mpisift_status status;

    f.ctx->memory.fail_after = test_rank == (int)k % test_size ? k : 0;
    status = mpisift_dataset_open_files(f.ctx, (const char *const[]){f.path}, 1, NULL, NULL, 0, &reading, &dataset);
    f.ctx->memory.fail_after = 0;
    mpisift_dataset_close(&dataset);
    CU_ASSERT_EQUAL(f.ctx->memory.blocks, before);
    if (status == MPISIFT_OK)
      break;
    CU_ASSERT_EQUAL(status, MPISIFT_ERR_MEMORY);
    CU_ASSERT(same_everywhere(mpisift_error(f.ctx)));
    failures++;
  }
  CU_ASSERT(failures >= 15 && failures < 90);
  end(&f);
}

/* Any allocation of reading fails; what was announced and not read is read then. */
static void memory_runs_out_in_reading(void)
{
  struct fixture f;
  int64_t ids[200];

  begin(&f);
  write_fields(&f, NULL, mixed, 5, ROWS);
  for (int threads = 0; threads < 3; threads += 2) {
    mpisift_dataset *dataset = open_threaded(&f, threads, 0);
    mpisift_source source = mpisift_dataset_source(dataset);
    int64_t failed = 0;

    draw_ids(ROWS, 200, ids);
    for (int64_t k = 1; k < 100; k++) {
      int64_t wrong;

      f.ctx->memory.fail_after = k % 3 + 1;
      if (threads > 0 && k % 2 == 0)
        source.prefetch(source.user, 200, ids);
      wrong = count_wrong(&source, 200, ids);
      f.ctx->memory.fail_after = 0;
      CU_ASSERT(wrong == 0 || (wrong == -1 && strstr(mpisift_error(f.ctx), "allocate") != NULL));
      failed += wrong != 0;
    }
    CU_ASSERT(failed >= 1);
    CU_ASSERT_EQUAL(count_wrong(&source, 200, ids), 0);
    mpisift_dataset_close(&dataset);
  }
  end(&f);
}

static void refuse_reading(const struct fixture *f, const mpisift_reading *reading, const char *word)
{
  mpisift_dataset *dataset = (void *)(uintptr_t)f;

  CU_ASSERT_EQUAL(
      mpisift_dataset_open_files(f->ctx, (const char *const[]){f->path}, 1, NULL, NULL, 0, reading, &dataset),
      MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NULL(dataset);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f->ctx), word));
}

static void wrong_options(void)
{
  mpisift_reading good, reading;
  struct fixture f;

  begin(&f);
  write_fields(&f, NULL, &deflated, 1, 10);
  mpisift_reading_init(&good, sizeof good);
  CU_ASSERT(good.threads == -1 && good.prefetch == -1 && good.cache_bytes == 512 << 20 && !good.unlocked);
  reading = good;
  reading.size = 0;
  refuse_reading(&f, &reading, "reading.size");
  reading = good;
  reading.threads = 65;
  refuse_reading(&f, &reading, "reading.threads");
  reading.threads = -2;
  refuse_reading(&f, &reading, "reading.threads");
  reading = good;
  reading.prefetch = -2;
  refuse_reading(&f, &reading, "reading.prefetch");
  end(&f);
}

/* Another program has the file, and says so. HDF5 asks the environment first. */
static void locked_files(void)
{
  mpisift_dataset *dataset = NULL;
  mpisift_reading reading;
  struct fixture f;
  int file = -1;

  begin(&f);
  unsetenv("HDF5_USE_FILE_LOCKING");
  write_fields(&f, NULL, &deflated, 1, 200);
  if (test_rank == 0) {
    file = open(f.path, O_RDONLY);
    CU_ASSERT_EQUAL(flock(file, LOCK_EX), 0);
  }
  written();
  mpisift_reading_init(&reading, sizeof reading);
  CU_ASSERT_EQUAL(
      mpisift_dataset_open_files(f.ctx, (const char *const[]){f.path}, 1, NULL, NULL, 0, &reading, &dataset),
      MPISIFT_ERR_IO);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f.ctx), "unable to lock file"));
  reading.unlocked = true;
  CU_ASSERT_EQUAL(
      mpisift_dataset_open_files(f.ctx, (const char *const[]){f.path}, 1, NULL, NULL, 0, &reading, &dataset),
      MPISIFT_OK);
  mpisift_dataset_close(&dataset);
  written();
  if (test_rank == 0)
    close(file);
  end(&f);
}

static int warnings;

static void count_warning(void *user, int level, const char *text)
{
  (void)user;
  warnings += level == MPISIFT_LOG_WARNING && strstr(text, "field x: chunks are read again and again") != NULL;
}

/* Chunks of 64 rows, of which one row is wanted at a time, or all; said once, by one rank. */
static void wasteful_caches_are_told(void)
{
  struct fixture f;
  int64_t ids[CHUNK];

  begin(&f);
  f.ctx->hooks.log = count_warning;
  write_fields(&f, NULL, &deflated, 1, ROWS);
  for (int all = 1; all >= 0; all--) {
    mpisift_dataset *dataset = open_threaded(&f, 1, 400000);
    mpisift_source source = mpisift_dataset_source(dataset);

    for (int round = 0; round < 300; round++) {
      int64_t chunk = round % (ROWS / CHUNK);

      for (int64_t i = 0; i < CHUNK; i++)
        ids[i] = chunk * CHUNK + (all ? i : 7);
      CU_ASSERT_EQUAL(count_wrong(&source, all ? CHUNK : 1, ids), 0);
    }
    CU_ASSERT_EQUAL(warnings, !all && test_rank == 0);
    mpisift_dataset_close(&dataset);
  }
  end(&f);
}

TEST_MAIN("readers", {"same rows", same_rows}, {"close at once", close_at_once}, {"beside HDF5", beside_hdf5},
          {"damaged bytes", damaged_bytes}, {"wrong sizes", wrong_sizes}, {"unfiltered sizes", unfiltered_sizes},
          {"wrong checksum", wrong_checksum}, {"files that change", files_that_change},
          {"change under a loader", change_under_a_loader}, {"memory runs out in opening", memory_runs_out_in_opening},
          {"memory runs out in reading", memory_runs_out_in_reading}, {"wrong options", wrong_options},
          {"locked files", locked_files}, {"wasteful caches are told", wasteful_caches_are_told})
