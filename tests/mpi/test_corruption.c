/* Data sets that fail while they are read, or while memory is short: an error each, no crash, no noise, and all that
 * was readable still is. */
#include <fcntl.h>

#include "api/context.h"
#include "h5_files.h"

enum { ROWS = 1000, CHUNK = 256, WIDTH = 64 }; /* a block is a chunk of 64 KiB */

static const struct field_spec deflated = {
    .name = "x", .type = MPISIFT_F32, .ndim = 1, .shape = {WIDTH}, .chunk = CHUNK, .deflate = true};

/* Where a chunk lies in the file. */
static void find_chunk(const char *path, hsize_t index, haddr_t *at, hsize_t *size)
{
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), data = H5Dopen2(file, "x", H5P_DEFAULT);
  hid_t space = H5Dget_space(data);
  hsize_t offset[2];
  unsigned mask;

  CU_ASSERT(H5Dget_chunk_info(data, space, index, offset, &mask, at, size) >= 0);
  CU_ASSERT_EQUAL(offset[0], index * CHUNK);
  H5Sclose(space);
  H5Dclose(data);
  H5Fclose(file);
}

/* Flip bytes of a chunk's deflate stream, from some part of it on. */
static void flip_bytes(const char *path, hsize_t chunk, int eighths)
{
  unsigned char bytes[8];
  haddr_t at;
  hsize_t size;
  int file;

  find_chunk(path, chunk, &at, &size);
  at += size * (hsize_t)eighths / 8;
  file = open(path, O_RDWR);
  CU_ASSERT_EQUAL(pread(file, bytes, sizeof bytes, (off_t)at), sizeof bytes);
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] ^= 0xa5;
  CU_ASSERT_EQUAL(pwrite(file, bytes, sizeof bytes, (off_t)at), sizeof bytes);
  CU_ASSERT_EQUAL(close(file), 0);
}

/* A file whose chunk 2 is damaged. */
static void write_damaged(const struct fixture *f, int eighths)
{
  write_fields(f, NULL, &deflated, 1, ROWS);
  if (test_rank == 0)
    flip_bytes(f->path, 2, eighths);
  written();
}

static void check_damage(const struct fixture *f, size_t cache_bytes)
{
  static const int64_t good[] = {0, 300, 999, 511, 768}, bad[] = {5, 2 * CHUNK + 9};
  mpisift_dataset *dataset = open_dataset(f, NULL, NULL, 0, cache_bytes);
  mpisift_source source = mpisift_dataset_source(dataset);

  CU_ASSERT_EQUAL(source.block, CHUNK);
  for (int again = 0; again < 3; again++) {
    CU_ASSERT_EQUAL(count_wrong(&source, 5, good), 0);
    CU_ASSERT_EQUAL(count_wrong(&source, 2, bad), -1);
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f->ctx), f->path));
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f->ctx), "field x"));
    CU_ASSERT_EQUAL(count_wrong(&source, 1, bad), 0);
  }
  mpisift_dataset_close(&dataset);
}

static void damaged_chunk(void)
{
  struct fixture f;

  begin(&f);
  for (int eighths = 0; eighths < 8; eighths += 3) {
    write_damaged(&f, eighths);
    check_damage(&f, 1);
    check_damage(&f, 3 * CHUNK * WIDTH * sizeof(float));
    check_damage(&f, 0);
  }
  end(&f);
}

/* The loader tells all ranks what one of them found. */
static void damage_under_a_loader(void)
{
  struct fixture f;
  mpisift_dataset *dataset;
  mpisift_source source;
  mpisift_config config;
  mpisift_loader *loader = NULL;
  mpisift_batch batch;
  mpisift_status status = MPISIFT_OK;

  begin(&f);
  write_damaged(&f, 4);
  dataset = open_dataset(&f, NULL, NULL, 0, 0);
  source = mpisift_dataset_source(dataset);
  mpisift_config_init(&config, sizeof config);
  config.policy = "all";
  config.global_batch_size = 100;
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(f.ctx, &config, &source, NULL, NULL, &loader), MPISIFT_OK);
  for (int step = 0; step < 10 && status == MPISIFT_OK; step++)
    status = mpisift_loader_next(loader, &batch);
  CU_ASSERT_EQUAL(status, MPISIFT_ERR_IO);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f.ctx), f.path));
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f.ctx), "field x"));
  CU_ASSERT(same_everywhere(mpisift_error(f.ctx)));
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  mpisift_dataset_close(&dataset);
  end(&f);
}

/* What there is to go wrong in HDF5: opening, finding, reading. */
static void provoke(const struct fixture *f)
{
  static const char *const missing[] = {"nothing"};
  mpisift_dataset *dataset = NULL;

  refuse_as(f, "/no/such/file.h5", NULL, NULL, 0, MPISIFT_ERR_IO, "/no/such/file.h5");
  refuse_as(f, "/dev/null", NULL, NULL, 0, MPISIFT_ERR_IO, "/dev/null");
  refuse_as(f, f->path, "/group", NULL, 0, MPISIFT_ERR_IO, "/group");
  refuse_as(f, f->path, NULL, missing, 1, MPISIFT_ERR_IO, "nothing");
  check_damage(f, 1);
  dataset = open_dataset(f, NULL, NULL, 0, 0);
  mpisift_dataset_close(&dataset);
}

static void errors_are_silent(void)
{
  struct fixture f;
  int saved, file;
  char name[160];

  begin(&f);
  write_damaged(&f, 4);
  snprintf(name, sizeof name, "%s/stderr.%d", f.folder, test_rank);
  file = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
  fflush(stderr);
  saved = dup(STDERR_FILENO);
  CU_ASSERT_FATAL(file >= 0 && saved >= 0 && dup2(file, STDERR_FILENO) >= 0);
  provoke(&f);
  fflush(stderr);
  dup2(saved, STDERR_FILENO);
  CU_ASSERT_EQUAL(lseek(file, 0, SEEK_END), 0);
  close(file);
  close(saved);
  unlink(name);
  end(&f);
}

static int reported;

static herr_t count_report(hid_t stack, void *data)
{
  (void)stack;
  ++*(int *)data;
  return 0;
}

static herr_t count_old_report(void *data)
{
  ++*(int *)data;
  return 0;
}

/* The user's own handler neither hears of our errors nor is lost. */
static void handlers_survive(void)
{
  struct fixture f;
  H5E_auto2_t first, handler = NULL;
  void *first_data, *data = NULL;

  begin(&f);
  write_damaged(&f, 4);
  H5Eget_auto2(H5E_DEFAULT, &first, &first_data);
  H5Eset_auto2(H5E_DEFAULT, count_report, &reported);
  provoke(&f);
  CU_ASSERT(H5Eget_auto2(H5E_DEFAULT, &handler, &data) >= 0);
  CU_ASSERT(handler == count_report && data == &reported && reported == 0);
  CU_ASSERT(H5Dopen2(-1, "x", H5P_DEFAULT) < 0);
  CU_ASSERT_EQUAL(reported, 1);
  H5Eset_auto2(H5E_DEFAULT, first, first_data);
  reported = 0;
  end(&f);
}

/* The same for a handler set by the first version of that function, which the second cannot tell. */
static void old_handlers_survive(void)
{
  struct fixture f;
  H5E_auto2_t first;
  H5E_auto1_t handler = NULL;
  void *first_data, *data = NULL;

  begin(&f);
  write_damaged(&f, 4);
  H5Eget_auto2(H5E_DEFAULT, &first, &first_data);
  H5Eset_auto1(count_old_report, &reported);
  provoke(&f);
  CU_ASSERT(H5Eget_auto1(&handler, &data) >= 0);
  CU_ASSERT(handler == count_old_report && data == &reported && reported == 0);
  H5Eset_auto1(NULL, NULL);
  provoke(&f);
  CU_ASSERT(H5Eget_auto1(&handler, &data) >= 0 && handler == NULL);
  H5Eset_auto2(H5E_DEFAULT, first, first_data);
  reported = 0;
  end(&f);
}

/* Rows 0, 100, 200 … of the file, which lie in all its blocks. */
static int64_t wrong_in_all_blocks(const mpisift_source *source)
{
  int64_t wrong = 0;

  for (int64_t id = 0; id < source->n; id += 100)
    wrong += count_wrong(source, 1, &id) != 0;
  return wrong;
}

/* A data set that fits the cache is read once: damage done later is not seen. */
static void reads_once(void)
{
  struct fixture f;
  mpisift_dataset *dataset;
  mpisift_source source;

  begin(&f);
  write_fields(&f, NULL, &deflated, 1, 6 * ROWS); /* more than HDF5 itself keeps */
  dataset = open_dataset(&f, NULL, NULL, 0, 0);
  source = mpisift_dataset_source(dataset);
  CU_ASSERT_EQUAL(wrong_in_all_blocks(&source), 0);
  written();
  if (test_rank == 0)
    flip_bytes(f.path, 2, 4);
  written();
  CU_ASSERT_EQUAL(wrong_in_all_blocks(&source), 0);
  mpisift_dataset_close(&dataset);
  end(&f);
}

/* The cache holds as many blocks as its budget allows beside what decodes, two buffers for a chunk in each thread; and
 * one in any case. Each block takes a line more, to begin with one. */
static void cache_keeps_to_its_budget(void)
{
  const size_t chunk = CHUNK * WIDTH * sizeof(float), scratch = 2 * (chunk + chunk / 8 + 4096) + 64;
  struct fixture f;

  begin(&f);
  write_fields(&f, NULL, &deflated, 1, 3 * ROWS);
  for (int threads = 0; threads < 3; threads++)
    for (size_t blocks = 0; blocks < 4; blocks++) {
      size_t bytes = (size_t)(1 + threads) * scratch + blocks * (chunk + 64) + 1;
      mpisift_dataset *dataset = open_threaded(&f, threads, bytes);
      mpisift_source source = mpisift_dataset_source(dataset);
      int64_t before = f.ctx->memory.blocks + 2; /* lists of rows */

      CU_ASSERT_EQUAL(wrong_in_all_blocks(&source), 0);
      CU_ASSERT_EQUAL(f.ctx->memory.blocks - before, blocks == 0 ? 1 : (int64_t)blocks);
      mpisift_dataset_close(&dataset);
    }
  end(&f);
}

/* One rank's k-th allocation fails: all fail, and nothing stays behind. */
static void memory_runs_out_in_opening(void)
{
  struct fixture f;
  int64_t failures = 0, before;

  begin(&f);
  write_fields(&f, NULL, &deflated, 1, ROWS);
  before = f.ctx->memory.blocks;
  for (int64_t k = 1; k < 50; k++) {
    mpisift_dataset *dataset = NULL;
    mpisift_status status;

    f.ctx->memory.fail_after = test_rank == (int)k % test_size ? k : 0;
    status = mpisift_dataset_open(f.ctx, f.path, NULL, NULL, 0, 0, &dataset);
    f.ctx->memory.fail_after = 0;
    CU_ASSERT_EQUAL(dataset == NULL, status != MPISIFT_OK);
    mpisift_dataset_close(&dataset);
    CU_ASSERT_EQUAL(f.ctx->memory.blocks, before);
    if (status == MPISIFT_OK)
      break;
    CU_ASSERT_EQUAL(status, MPISIFT_ERR_MEMORY);
    CU_ASSERT(same_everywhere(mpisift_error(f.ctx)));
    failures++;
  }
  CU_ASSERT(failures >= 3 && failures < 49);
  end(&f);
}

static void memory_runs_out_in_reading(void)
{
  static const int64_t ids[] = {0, 300, 600, 900, 1};
  struct fixture f;
  mpisift_dataset *dataset;
  mpisift_source source;

  begin(&f);
  write_fields(&f, NULL, &deflated, 1, ROWS);
  dataset = open_dataset(&f, NULL, NULL, 0, 0);
  source = mpisift_dataset_source(dataset);
  for (int64_t k = 1; k <= 2; k++) {
    f.ctx->memory.fail_after = k;
    CU_ASSERT_EQUAL(count_wrong(&source, 5, ids), -1);
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f.ctx), "allocate"));
    f.ctx->memory.fail_after = 0;
  }
  CU_ASSERT_EQUAL(count_wrong(&source, 5, ids), 0);
  mpisift_dataset_close(&dataset);
  end(&f);
}

/* A context outlives what was made from it. */
static void close_waits_for_data_sets(void)
{
  struct fixture f;
  mpisift_dataset *first, *second;

  begin(&f);
  write_fields(&f, NULL, &deflated, 1, ROWS);
  first = open_dataset(&f, NULL, NULL, 0, 0);
  second = open_dataset(&f, NULL, NULL, 0, 0);
  CU_ASSERT_EQUAL(mpisift_close(&f.ctx), MPISIFT_ERR_STATE);
  mpisift_dataset_close(&first);
  CU_ASSERT_EQUAL(mpisift_close(&f.ctx), MPISIFT_ERR_STATE);
  CU_ASSERT_PTR_NOT_NULL_FATAL(f.ctx);
  mpisift_dataset_close(&second);
  end(&f);
}

TEST_MAIN("corruption", {"damaged chunk", damaged_chunk}, {"damage under a loader", damage_under_a_loader},
          {"errors are silent", errors_are_silent}, {"handlers survive", handlers_survive}, {"reads once", reads_once},
          {"cache keeps to its budget", cache_keeps_to_its_budget},
          {"memory runs out in opening", memory_runs_out_in_opening},
          {"memory runs out in reading", memory_runs_out_in_reading},
          {"close waits for data sets", close_waits_for_data_sets}, {"old handlers survive", old_handlers_survive})
