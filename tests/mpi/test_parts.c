/* Several files that are read by threads, through one cache: rows against the values written, and memory against the
 * formula of doc/dataset.md. */
#include "core/order.h"
#include "part_files.h"

/* Rows of many files at a time, announced or not, with chunks of another size in each file. */
static void threads_change_nothing(void)
{
  static const int64_t rows[] = {400, 9000, 1, 5000, 12000};
  static const size_t caches[] = {1, 300000, 1000000, SIZE_MAX};
  enum { CALL = 500 };
  int64_t ids[CALL];
  struct parts p;

  for (int deflate = 0; deflate < 2; deflate++) {
    begin_parts_of(&p, 5, rows, 700, 300, deflate);
    for (int k = 0; k < 16; k++) {
      mpisift_dataset *dataset = open_threaded_parts(&p, caches[k / 4], k % 4);
      mpisift_source source = mpisift_dataset_source(dataset);

      CU_ASSERT_EQUAL(source.prefetch != NULL, k % 4 > 0);
      for (int64_t call = 0; call < 12; call++) {
        for (int64_t i = 0; i < CALL; i++)
          ids[i] = (call * CALL / 2 + i) * (call % 3 == 2 ? 1 : 7919) % p.n_rows;
        if (source.prefetch != NULL && call % 4 != 3)
          source.prefetch(source.user, CALL - 50 * call % 3, ids);
        CU_ASSERT_EQUAL(wrong_numbers(&source, CALL, ids), 0);
      }
      mpisift_dataset_close(&dataset);
    }
    end_parts(&p);
  }
}

/* Files that are closed while readers have blocks of them to do. */
static void threads_with_few_open(void)
{
  enum { CALL = 300 };
  struct parts p;
  struct msift_files files;
  const struct msift_reading reading = {.cache_bytes = 100000, .threads = 2, .prefetch = INT64_MAX};
  struct msift_memory memory = {0};
  struct msift_error error = {0};
  static int32_t id[CALL], x[CALL * WIDTH];
  void *dst[] = {id, x};
  int64_t ids[CALL], wrong = 0;

  begin_parts_of(&p, MOST, NULL, 8, 1, true);
  CU_ASSERT_EQUAL_FATAL(msift_files_open(&files, p.paths, MOST, "/", NULL, 0, &reading, NULL, &memory, &error),
                        MPISIFT_OK);
  for (int64_t call = 0; call < 60; call++) {
    files.max_open = 1 + (int)(call % 5);
    for (int64_t i = 0; i < CALL; i++)
      ids[i] = (call + i) * 7919 % p.n_rows;
    if (call % 3 > 0)
      msift_files_prefetch(&files, CALL, ids, &memory);
    CU_ASSERT_EQUAL(msift_files_read(&files, CALL, ids, dst, &memory, &error), MPISIFT_OK);
    for (int64_t i = 0; i < CALL; i++)
      wrong += id[i] != value_of(ids[i], 0) || x[i * WIDTH + 4] != value_of(ids[i], 4);
  }
  CU_ASSERT_EQUAL(wrong, 0);
  msift_files_close(&files, &memory);
  CU_ASSERT_EQUAL(memory.blocks, 0);
  CU_ASSERT_EQUAL(memory.bytes, 0);
  end_parts(&p);
}

/* Read or announce the first rows of blocks. Returns how many blocks were begun for it. */
static int64_t touch_blocks(struct msift_files *files, bool read, int n, const int64_t *blocks)
{
  struct msift_memory memory = {0};
  struct msift_error error = {0};
  int64_t ids[8], before = files->caches[0].n_begun;
  int32_t x[8 * WIDTH];
  void *dst[] = {x};

  files->caches[0].seconds = 1; /* quick ones are not begun ahead */
  for (int i = 0; i < n; i++)
    ids[i] = blocks[i] * files->caches[0].rows;
  if (read) {
    CU_ASSERT_EQUAL(msift_files_read(files, n, ids, dst, &memory, &error), MPISIFT_OK);
  } else {
    msift_files_prefetch(files, n, ids, &memory);
  }
  return files->caches[0].n_begun - before;
}

/* No block is read twice that was held when it was announced, or announced before others. The cache holds four. */
static void announced_blocks_stay(void)
{
  enum { ROWS = 70000, CHUNK = 4096 };
  const struct msift_reading reading = {
      .cache_bytes = 4 * (CHUNK * WIDTH * sizeof(int32_t) + 64), .threads = 1, .prefetch = INT64_MAX};
  const char *x = "x";
  struct msift_memory memory = {0};
  struct msift_error error = {0};
  struct msift_files files;
  struct parts p;

  begin_parts(&p, 1, (const int64_t[]){ROWS}, CHUNK);
  CU_ASSERT_EQUAL_FATAL(msift_files_open(&files, p.paths, 1, "/", &x, 1, &reading, NULL, &memory, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(files.caches[0].max_cached, 4);
  CU_ASSERT_EQUAL(touch_blocks(&files, true, 4, (const int64_t[]){0, 1, 2, 3}), 4);
  CU_ASSERT_EQUAL(touch_blocks(&files, false, 4, (const int64_t[]){4, 5, 0, 1}), 2); /* 0 and 1 are the oldest */
  CU_ASSERT_EQUAL(touch_blocks(&files, false, 3, (const int64_t[]){6, 7, 8}), 0);    /* there is no room left */
  CU_ASSERT_EQUAL(touch_blocks(&files, true, 4, (const int64_t[]){1, 5, 0, 4}), 0);
  CU_ASSERT_EQUAL(touch_blocks(&files, false, 2, (const int64_t[]){6, 7}), 2);
  CU_ASSERT_EQUAL(touch_blocks(&files, false, 4, (const int64_t[]){8, 9, 10, 11}), 2);
  CU_ASSERT_EQUAL(touch_blocks(&files, true, 2, (const int64_t[]){6, 7}), 0);
  CU_ASSERT(touch_blocks(&files, false, 4, (const int64_t[]){1, 2, 3, 4}) >= 3); /* but what is being read just now */
  msift_files_close(&files, &memory);
  end_parts(&p);
}

/* Blocks read in an epoch of one lane, which shuffles among eight. */
static int64_t read_epoch(struct msift_files *files, int64_t epoch)
{
  enum { CALL = 500 };
  struct msift_memory memory = {0};
  struct msift_error error = {0};
  const struct msift_order order = msift_order_make(files->n, files->caches[0].rows, 1, 8, true, 3, epoch);
  int64_t ids[CALL], before = files->caches[0].n_begun;
  static int32_t x[CALL * WIDTH];
  void *dst[] = {x};

  for (int64_t at = 0, n; at < files->n; at += n) {
    n = files->n - at < CALL ? files->n - at : CALL;
    for (int64_t i = 0; i < n; i++)
      ids[i] = msift_order_id(&order, at + i);
    CU_ASSERT_EQUAL_FATAL(msift_files_read(files, n, ids, dst, &memory, &error), MPISIFT_OK);
  }
  return files->caches[0].n_begun - before;
}

/* What is held when an epoch begins is not read again, but for little that gives way too soon. */
static void epochs_share_blocks(void)
{
  enum { ROWS = 560000, CHUNK = 4096, HELD = 100 };
  const struct msift_reading reading = {.cache_bytes = HELD * (CHUNK * WIDTH * sizeof(int32_t) + 64)};
  const char *x = "x";
  struct msift_memory memory = {0};
  struct msift_error error = {0};
  struct msift_files files;
  struct parts p;

  begin_parts(&p, 1, (const int64_t[]){ROWS}, CHUNK);
  CU_ASSERT_EQUAL_FATAL(msift_files_open(&files, p.paths, 1, "/", &x, 1, &reading, NULL, &memory, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(files.caches[0].rows, CHUNK);
  CU_ASSERT(files.caches[0].max_cached >= HELD - 1 && files.caches[0].n_blocks > HELD + 30);
  for (int64_t epoch = 0; epoch < 4; epoch++) {
    int64_t begun = read_epoch(&files, epoch), missing = files.caches[0].n_blocks - HELD;

    CU_ASSERT(begun >= (epoch == 0 ? files.caches[0].n_blocks : 1) && begun <= (epoch == 0 ? begun : 2 * missing));
  }
  msift_files_close(&files, &memory);
  end_parts(&p);
}

/* Bytes that a data set has taken once all rows have been read. */
static int64_t taken(const struct parts *p, size_t cache_bytes, int threads)
{
  const struct msift_memory *memory = &p->f.ctx->memory;
  int64_t before = memory->bytes, bytes;
  mpisift_dataset *dataset = open_threaded_parts(p, cache_bytes, threads);
  mpisift_source source = mpisift_dataset_source(dataset);

  check_rows(&source, p->n_rows);
  bytes = memory->bytes - before;
  mpisift_dataset_close(&dataset);
  CU_ASSERT_EQUAL(memory->bytes, before);
  return bytes;
}

/* The formula of doc/dataset.md: of 12 files as of one, whatever the number of threads. */
static void memory_is_bounded(void)
{
  enum { FILES = 12, ROWS = 20000, CHUNK = 4096 };
  const int64_t chunk = CHUNK * WIDTH * sizeof(int32_t), scratch = 2 * (chunk + chunk / 8 + 4096) + 64 + 10240;
  struct parts p;
  int64_t rows[FILES];

  for (int i = 0; i < FILES; i++)
    rows[i] = ROWS;
  begin_parts_of(&p, FILES, rows, CHUNK, 0, true);
  for (int threads = 0; threads < 4; threads += 1 + threads)
    for (int64_t blocks = 1; blocks < 40; blocks *= 3) {
      int64_t cache = blocks * (chunk + chunk / WIDTH + 128) + (1 + threads) * scratch;
      int64_t other = 40 * p.n_rows + FILES * (int64_t)(sizeof(struct msift_file) + sizeof(struct msift_dataset)) +
                      (int64_t)sizeof(struct msift_files) + FILES * 5 * (2 * 16 + 8) + 150 * 2 * blocks +
                      4096 * (2 * blocks + 50); /* a page for what is allocated by pages */
      int64_t bytes = taken(&p, (size_t)cache, threads);

      CU_ASSERT(bytes <= cache + other);
      CU_ASSERT(bytes >= cache - (1 + threads) * 20000);
    }
  end_parts(&p);
}

TEST_MAIN("parts", {"threads change nothing", threads_change_nothing}, {"threads with few open", threads_with_few_open},
          {"announced blocks stay", announced_blocks_stay}, {"epochs share blocks", epochs_share_blocks},
          {"memory is bounded", memory_is_bounded})
