/* What 32 bits do not count: a message of more than 2 GiB, and more than 2^31 samples. */
#include <sys/mman.h>

#include "api/loader.h"
#include "comm/exchange.h"
#include "loading.h"

/* Records of a message of 2.2 GiB; the first and the last word of each tell which it is. */
enum { RECORD = (1 << 20) + 24, RECORDS = 2250, WORDS = RECORD / 8 };

/* Memory that takes none before it is written. */
static uint64_t *map_message(void)
{
  void *at =
      mmap(NULL, (size_t)RECORD * RECORDS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

  CU_ASSERT_FATAL(at != MAP_FAILED);
  return at;
}

static void put_records(uint64_t *message)
{
  for (uint64_t i = 0; i < RECORDS; i++)
    message[i * WORDS] = message[(i + 1) * WORDS - 1] = ~i;
}

static int64_t wrong_records(const uint64_t *message)
{
  int64_t wrong = 0;

  for (uint64_t i = 0; i < RECORDS; i++)
    wrong += message[i * WORDS] != ~i || message[(i + 1) * WORDS - 1] != ~i || message[i * WORDS + WORDS / 2] != 0;
  return wrong;
}

/* From the first rank to the last, at few ranks: it is the same at many, and takes seconds. */
static void message_beyond_2_gib(void)
{
  const mpisift_team asked = {MPI_COMM_WORLD, MPI_COMM_NULL, 0};
  struct msift_memory memory = {0};
  struct msift_error error = {0};
  struct msift_exchange exchange = {0};
  struct msift_team team;
  bool moves = test_size == 2 || test_size == 3, sends = test_rank == 0, receives = test_rank == test_size - 1;
  uint64_t *message = map_message();

  CU_ASSERT_EQUAL_FATAL(msift_team_open(&team, &asked, &memory, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL_FATAL(msift_exchange_open(&exchange, &team, RECORD, &memory, &error), MPISIFT_OK);
  if (moves && sends) {
    put_records(message);
    CU_ASSERT_EQUAL(msift_exchange_send(&exchange, message, RECORDS, test_size - 1, &error), MPISIFT_OK);
  } else if (moves && receives) {
    CU_ASSERT_EQUAL(msift_exchange_receive(&exchange, message, RECORDS, 0, &error), MPISIFT_OK);
  }
  CU_ASSERT_EQUAL(msift_exchange_end(&exchange, &error), MPISIFT_OK);
  if (moves && receives)
    CU_ASSERT_EQUAL(wrong_records(message), 0);
  msift_exchange_close(&exchange, &memory);
  msift_team_close(&team, &memory);
  munmap(message, (size_t)RECORD * RECORDS);
}

enum { BATCH = 40, STEPS = 30, CANDIDATES = 6 * BATCH * STEPS };

static int read_ids(void *user, int64_t n, const int64_t *ids, void *const *dst)
{
  (void)user;
  memcpy(dst[0], ids, (size_t)n * sizeof *ids);
  return 0;
}

/* The ids that an epoch accepts from a position on. */
static int64_t accepted_from(const mpisift_loader *l, int64_t position, int64_t *ids)
{
  const struct msift_order order =
      msift_order_make(l->source.n, l->source.block, l->lanes, l->config.window, true, l->config.seed, l->epoch);
  int64_t n = 0;

  for (int64_t q = position; q < position + CANDIDATES; q++) {
    int64_t id = msift_order_id(&order, q);

    if (msift_accept(l->config.seed, l->epoch, id, MSIFT_CERTAIN / 4))
      ids[n++] = id;
  }
  return n;
}

static void check_ids(const mpisift_batch *b, const int64_t *expected)
{
  const int64_t *content = b->data[0];
  int64_t wrong = 0;

  for (int64_t i = 0; i < b->n; i++)
    wrong += b->ids[i] != expected[b->slots[i]] || content[i] != b->ids[i];
  CU_ASSERT(wrong == 0 && b->n > 0 && b->global_n == BATCH);
}

/* In the middle of an epoch, where the loader is put by hand: to get there would take hours. */
static void batches_from(int64_t n, int64_t block, int64_t position)
{
  const mpisift_field field = {.name = "id", .type = MPISIFT_I64};
  const mpisift_source source = {.n = n, .block = block, .n_fields = 1, .fields = &field, .read = read_ids};
  int64_t *expected = malloc(CANDIDATES * sizeof *expected), large = 0;
  mpisift_ctx *ctx = open_world();
  mpisift_loader *loader = NULL;
  mpisift_config config;
  mpisift_batch b;

  mpisift_config_init(&config, sizeof config);
  config.policy = "random";
  config.keep = 0.25;
  config.global_batch_size = BATCH;
  CU_ASSERT_PTR_NOT_NULL_FATAL(expected);
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(ctx, &config, &source, NULL, NULL, &loader), MPISIFT_OK);
  msift_epoch_begin(loader);
  loader->position = position;
  CU_ASSERT_FATAL(accepted_from(loader, position, expected) >= BATCH * STEPS);
  for (int64_t step = 0; step < STEPS; step++) {
    CU_ASSERT_EQUAL_FATAL(mpisift_loader_next(loader, &b), MPISIFT_OK);
    check_ids(&b, expected + step * BATCH);
    for (int64_t i = 0; i < b.n; i++)
      large += b.ids[i] > INT32_MAX;
  }
  CU_ASSERT(large > 0 && loader->position > position);
  CU_ASSERT_DOUBLE_EQUAL(mpisift_loader_fraction(loader), (double)position / (double)n, 1e-6);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
  free(expected);
}

static void more_samples_than_2_31(void)
{
  batches_from((INT64_C(3) << 31) + 77, 1, (INT64_C(1) << 32) + 12345);
  batches_from((INT64_C(3) << 31) + 77, 64, (INT64_C(1) << 31) - 100);
  batches_from((INT64_C(1) << 44) + 1, 1000, (INT64_C(1) << 43) + 1);
}

TEST_MAIN("large", {"a message beyond 2 GiB", message_beyond_2_gib}, {"more samples than 2^31", more_samples_than_2_31})
