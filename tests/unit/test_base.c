/* What everything stands on: errors, status texts, types, counted memory, rings, slices of batches. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/ring.h"
#include "draw.h"
#include "testing.h"

static void first_cause_wins(void)
{
  struct msift_error error = {0};

  CU_ASSERT_EQUAL(msift_error_set(&error, MPISIFT_ERR_IO, "file %s, row %d", "a.h5", 7), MPISIFT_ERR_IO);
  CU_ASSERT_STRING_EQUAL(error.text, "file a.h5, row 7");
  CU_ASSERT_EQUAL(msift_error_set(&error, MPISIFT_ERR_ARG, "later"), MPISIFT_ERR_IO);
  CU_ASSERT_EQUAL(error.status, MPISIFT_ERR_IO);
  CU_ASSERT_STRING_EQUAL(error.text, "file a.h5, row 7");
  msift_error_clear(&error);
  CU_ASSERT_EQUAL(error.status, MPISIFT_OK);
  CU_ASSERT_STRING_EQUAL(error.text, "");
  CU_ASSERT_EQUAL(msift_error_set(&error, MPISIFT_ERR_DATA, "next"), MPISIFT_ERR_DATA);
  CU_ASSERT_STRING_EQUAL(error.text, "next");
}

static void prefixes(void)
{
  struct msift_error error = {0};

  msift_error_set(&error, MPISIFT_ERR_IO, "100 %% of %s", "it");
  msift_error_prefix(&error, "rank %d: ", 3);
  CU_ASSERT_STRING_EQUAL(error.text, "rank 3: 100 % of it");
  msift_error_prefix(&error, "%s: ", "open");
  CU_ASSERT_STRING_EQUAL(error.text, "open: rank 3: 100 % of it");
  CU_ASSERT_EQUAL(error.status, MPISIFT_ERR_IO);
}

/* Whatever the lengths, the text ends inside its buffer and begins as asked. */
static void long_texts_are_cut(void)
{
  char text[2 * MSIFT_TEXT + 1];
  int64_t wrong = 0;

  memset(text, 'x', sizeof text);
  for (size_t n = 0; n < 2 * MSIFT_TEXT; n += 5) {
    struct msift_error error = {0};
    size_t kept;

    text[n] = '\0';
    msift_error_set(&error, MPISIFT_ERR_IO, "%s", text);
    kept = strnlen(error.text, sizeof error.text);
    wrong += kept != (n < MSIFT_TEXT ? n : MSIFT_TEXT - 1);
    msift_error_prefix(&error, "rank 12: ");
    kept = strnlen(error.text, sizeof error.text);
    wrong += kept != (n + 9 < MSIFT_TEXT ? n + 9 : MSIFT_TEXT - 1) || strncmp(error.text, "rank 12: ", 9) != 0;
    msift_error_prefix(&error, "%s", text);
    wrong += strnlen(error.text, sizeof error.text) >= MSIFT_TEXT;
    text[n] = 'x';
  }
  CU_ASSERT_EQUAL(wrong, 0);
}

static mpisift_status fails_after(int *calls, mpisift_status status)
{
  ++*calls;
  return status;
}

static mpisift_status try_twice(int *calls, mpisift_status first)
{
  MSIFT_TRY(fails_after(calls, first));
  MSIFT_TRY(fails_after(calls, MPISIFT_OK));
  return MPISIFT_END_OF_EPOCH;
}

static void try_returns_early(void)
{
  int calls = 0;

  CU_ASSERT_EQUAL(try_twice(&calls, MPISIFT_ERR_MPI), MPISIFT_ERR_MPI);
  CU_ASSERT_EQUAL(calls, 1);
  CU_ASSERT_EQUAL(try_twice(&calls, MPISIFT_OK), MPISIFT_END_OF_EPOCH);
  CU_ASSERT_EQUAL(calls, 3);
}

/* Each status has a text of its own, every other number one too. */
static void status_texts(void)
{
  static const int others[] = {3, 4, 100, -12, -13, INT_MAX, INT_MIN};
  const char *unknown = mpisift_strerror((mpisift_status)77);
  int64_t wrong = 0;

  CU_ASSERT_FATAL(unknown != NULL && unknown[0] != '\0');
  for (int s = MPISIFT_ERR_USER; s <= MPISIFT_MORE; s++) {
    const char *text = mpisift_strerror((mpisift_status)s);

    wrong += text == NULL || text[0] == '\0' || strcmp(text, unknown) == 0;
    for (int t = MPISIFT_ERR_USER; t < s; t++)
      wrong += strcmp(text, mpisift_strerror((mpisift_status)t)) == 0;
  }
  CU_ASSERT_EQUAL(wrong, 0);
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
    CU_ASSERT_STRING_EQUAL(mpisift_strerror((mpisift_status)others[i]), unknown);
}

static void types(void)
{
  static const struct {
    mpisift_type type;
    size_t size;
    const char *name;
  } known[] = {{MPISIFT_F32, 4, "float32"},   {MPISIFT_F64, 8, "float64"}, {MPISIFT_F16, 2, "float16"},
               {MPISIFT_BF16, 2, "bfloat16"}, {MPISIFT_U8, 1, "uint8"},    {MPISIFT_I8, 1, "int8"},
               {MPISIFT_U16, 2, "uint16"},    {MPISIFT_I16, 2, "int16"},   {MPISIFT_U32, 4, "uint32"},
               {MPISIFT_I32, 4, "int32"},     {MPISIFT_U64, 8, "uint64"},  {MPISIFT_I64, 8, "int64"}};

  for (int i = 0; i < 12; i++) {
    CU_ASSERT_EQUAL(mpisift_type_size(known[i].type), known[i].size);
    CU_ASSERT_STRING_EQUAL(mpisift_type_name(known[i].type), known[i].name);
  }
  CU_ASSERT_EQUAL(mpisift_type_size((mpisift_type)12), 0);
  CU_ASSERT_EQUAL(mpisift_type_size((mpisift_type)-1), 0);
  CU_ASSERT_EQUAL(mpisift_type_size((mpisift_type)INT_MAX), 0);
  CU_ASSERT_PTR_NOT_NULL(mpisift_type_name((mpisift_type)12));
  CU_ASSERT_PTR_NOT_NULL(mpisift_type_name((mpisift_type)-1));
}

static void field_bytes(void)
{
  const mpisift_field scalar = {"label", MPISIFT_I64, 0, {7, 7}};
  const mpisift_field image = {"image", MPISIFT_F32, 3, {3, 32, 31}};
  const mpisift_field deep = {"deep", MPISIFT_U16, 8, {1, 2, 3, 4, 5, 6, 7, 8}};
  const mpisift_field large = {"large", MPISIFT_F64, 2, {100000, 100000}};

  CU_ASSERT_EQUAL(mpisift_field_bytes(&scalar), 8);
  CU_ASSERT_EQUAL(mpisift_field_bytes(&image), 4 * 3 * 32 * 31);
  CU_ASSERT_EQUAL(mpisift_field_bytes(&deep), 2 * 40320);
  CU_ASSERT_EQUAL(mpisift_field_bytes(&large), (size_t)80000000000);
}

static void allocations_are_counted(void)
{
  struct msift_memory memory = {0};
  struct msift_error error = {0};
  unsigned char *block = msift_alloc(&memory, &error, 100, 8), *empty = msift_alloc(&memory, &error, 0, 8);
  double *array = NULL;
  int64_t used = 0;

  CU_ASSERT_FATAL(block != NULL && empty != NULL);
  CU_ASSERT_EQUAL(memory.blocks, 2);
  for (int i = 0; i < 800; i++)
    used += block[i];
  CU_ASSERT_EQUAL(used, 0);
  CU_ASSERT_EQUAL(msift_resize(&memory, &error, &array, 3, sizeof *array), MPISIFT_OK);
  CU_ASSERT_EQUAL(memory.blocks, 3);
  array[2] = 2.5;
  CU_ASSERT_EQUAL(msift_resize(&memory, &error, &array, 5000, sizeof *array), MPISIFT_OK);
  CU_ASSERT(array[2] == 2.5 && memory.blocks == 3);
  array[4999] = 1;
  msift_free(&memory, &array);
  CU_ASSERT_PTR_NULL(array);
  msift_free(&memory, &array); /* NULL: nothing to do */
  msift_free(&memory, &block);
  msift_free(&memory, &empty);
  CU_ASSERT_EQUAL(memory.blocks, 0);
  CU_ASSERT_EQUAL(error.status, MPISIFT_OK);
}

/* With fail_after = k the k-th allocation fails, of either kind, and no other. */
static void allocations_fail_on_demand(void)
{
  for (int k = 1; k <= 6; k++) {
    struct msift_memory memory = {.fail_after = k};
    struct msift_error error = {0};
    int *blocks[6] = {NULL};

    for (int i = 0; i < 6; i++) {
      bool failed;

      msift_error_clear(&error);
      if (i % 2 == 0)
        failed = (blocks[i] = msift_alloc(&memory, &error, 4, sizeof(int))) == NULL;
      else
        failed = msift_resize(&memory, &error, &blocks[i], 4, sizeof(int)) != MPISIFT_OK;
      CU_ASSERT_EQUAL(failed, i + 1 == k);
      CU_ASSERT_EQUAL(error.status, failed ? MPISIFT_ERR_MEMORY : MPISIFT_OK);
      CU_ASSERT_EQUAL(blocks[i] == NULL, failed);
    }
    CU_ASSERT_EQUAL(memory.blocks, 5);
    for (int i = 0; i < 6; i++)
      msift_free(&memory, &blocks[i]);
    CU_ASSERT_EQUAL(memory.blocks, 0);
  }
}

static void a_failed_resize_keeps_the_array(void)
{
  struct msift_memory memory = {0};
  struct msift_error error = {0};
  int *array = NULL, *before;

  CU_ASSERT_EQUAL(msift_resize(&memory, &error, &array, 2, sizeof *array), MPISIFT_OK);
  array[1] = 42;
  before = array;
  memory.fail_after = 1;
  CU_ASSERT_EQUAL(msift_resize(&memory, &error, &array, 1000, sizeof *array), MPISIFT_ERR_MEMORY);
  CU_ASSERT(array == before && array[1] == 42 && memory.blocks == 1);
  CU_ASSERT_STRING_NOT_EQUAL(error.text, "");
  msift_free(&memory, &array);
  CU_ASSERT_EQUAL(memory.blocks, 0);
}

/* More bytes than there can be, or fewer than none. */
static void impossible_sizes(void)
{
  static const int64_t counts[] = {INT64_MAX, INT64_MAX / 4, INT64_C(1) << 61, -1, INT64_MIN};

  for (int k = 0; k < 5; k++) {
    struct msift_memory memory = {0};
    struct msift_error error = {0};
    int64_t *array = NULL;

    CU_ASSERT_PTR_NULL(msift_alloc(&memory, &error, counts[k], 16));
    CU_ASSERT_EQUAL(error.status, MPISIFT_ERR_MEMORY);
    msift_error_clear(&error);
    CU_ASSERT_EQUAL(msift_resize(&memory, &error, &array, counts[k], 16), MPISIFT_ERR_MEMORY);
    CU_ASSERT(array == NULL && memory.blocks == 0);
  }
}

struct item {
  int64_t value;
  char filler[5];
};

/* A ring against a plain array that only grows: pushes, pops and reserves by chance, wrapping many times. */
static void rings_are_queues(void)
{
  enum { STEPS = 4000 };
  static int64_t plain[STEPS * 20];
  struct msift_ring ring = {.size = sizeof(struct item)};
  struct msift_memory memory = {0};
  struct msift_error error = {0};
  struct draw d = {UINT64_C(12)};
  int64_t begin = 0, end = 0, wrong = 0, wraps = 0;

  for (int step = 0; step < STEPS; step++) {
    int64_t push = draw_below(&d, 20), pop;

    CU_ASSERT_EQUAL(msift_ring_reserve(&ring, &memory, &error, push), MPISIFT_OK);
    wrong += ring.capacity < ring.n + push;
    for (int64_t i = 0; i < push; i++) {
      plain[end] = (int64_t)draw_bits(&d);
      memcpy(msift_ring_push(&ring), &(struct item){plain[end], "abcd"}, sizeof(struct item));
      end++;
    }
    wraps += ring.first + ring.n > ring.capacity;
    pop = draw_below(&d, step % 100 < 50 ? 15 : 25);
    pop = pop < end - begin ? pop : end - begin;
    for (int64_t i = begin; i < end; i++) {
      const struct item *item = msift_ring_at(&ring, i - begin);

      wrong += item->value != plain[i] || strcmp(item->filler, "abcd") != 0;
    }
    msift_ring_pop(&ring, pop);
    begin += pop;
    wrong += ring.n != end - begin;
  }
  CU_ASSERT_EQUAL(wrong, 0);
  CU_ASSERT(wraps > 100);
  msift_ring_destroy(&ring, &memory);
  CU_ASSERT_EQUAL(memory.blocks, 0);
}

static void a_failed_reserve_keeps_the_ring(void)
{
  struct msift_ring ring = {.size = sizeof(int)};
  struct msift_memory memory = {0};
  struct msift_error error = {0};

  CU_ASSERT_EQUAL(msift_ring_reserve(&ring, &memory, &error, 3), MPISIFT_OK);
  for (int i = 0; i < 3; i++)
    memcpy(msift_ring_push(&ring), &i, sizeof i);
  memory.fail_after = 1;
  CU_ASSERT_EQUAL(msift_ring_reserve(&ring, &memory, &error, 100), MPISIFT_ERR_MEMORY);
  CU_ASSERT(ring.n == 3 && *(const int *)msift_ring_at(&ring, 2) == 2);
  msift_error_clear(&error);
  CU_ASSERT_EQUAL(msift_ring_reserve(&ring, &memory, &error, INT64_MAX / 2), MPISIFT_ERR_MEMORY);
  CU_ASSERT(ring.n == 3 && *(const int *)msift_ring_at(&ring, 0) == 0);
  msift_ring_destroy(&ring, &memory);
  CU_ASSERT_EQUAL(memory.blocks, 0);
}

enum { ROWS = 10 };

/* A batch whose arrays say which row they are: element i of each is i. */
struct columns {
  float images[ROWS][6], losses[ROWS], probabilities[ROWS], weights[ROWS];
  int64_t labels[ROWS], ids[ROWS], slots[ROWS], epochs[ROWS];
};

static const mpisift_field batch_fields[] = {{"image", MPISIFT_F32, 2, {2, 3}}, {"label", MPISIFT_I64, 0, {0}}};

static mpisift_batch make_batch(struct columns *c, int64_t valid)
{
  mpisift_batch b = {.n = ROWS, .valid = valid, .global_n = 77, .serial = 5, .epoch = 2, .n_fields = 2};

  for (int i = 0; i < ROWS; i++) {
    c->images[i][0] = c->losses[i] = c->probabilities[i] = c->weights[i] = (float)i;
    c->labels[i] = c->ids[i] = c->slots[i] = c->epochs[i] = i;
  }
  b.fields = batch_fields;
  b.data[0] = c->images;
  b.data[1] = c->labels;
  b.ids = c->ids;
  b.slots = c->slots;
  b.epochs = c->epochs;
  b.losses = c->losses;
  b.probabilities = c->probabilities;
  b.weights = c->weights;
  return b;
}

/* Whether a slice's arrays begin at a row. */
static bool begins_at(const mpisift_batch *s, int64_t row)
{
  return ((const float *)s->data[0])[0] == (float)row && ((const int64_t *)s->data[1])[0] == row && s->ids[0] == row &&
         s->slots[0] == row && s->epochs[0] == row && s->losses[0] == (float)row && s->probabilities[0] == (float)row &&
         s->weights[0] == (float)row;
}

/* Every cut of a batch, also beyond its ends, against the rows that two ranges share. */
static void slices_are_clipped(void)
{
  struct columns c = {0};
  int64_t wrong = 0;

  for (int64_t valid = 0; valid <= ROWS; valid += 5) {
    mpisift_batch b = make_batch(&c, valid);

    for (int64_t first = -3; first < ROWS + 3; first++)
      for (int64_t n = 0; n < 2 * ROWS; n++) {
        mpisift_batch s = mpisift_batch_slice(&b, first, n);
        int64_t rows = 0, samples = 0, start = first < 0 ? 0 : first;

        for (int64_t i = first; i < first + n; i++) {
          rows += i >= 0 && i < ROWS;
          samples += i >= 0 && i < valid;
        }
        wrong += s.n != rows || s.valid != samples || (rows > 0 && !begins_at(&s, start));
        wrong += s.global_n != 77 || s.serial != 5 || s.epoch != 2 || s.n_fields != 2 || s.fields != batch_fields;
      }
  }
  CU_ASSERT_EQUAL(wrong, 0);
}

static void slices_of_extreme_ranges(void)
{
  struct columns c = {0};
  mpisift_batch b = make_batch(&c, 7);
  mpisift_batch rest = mpisift_batch_slice(&b, 4, INT64_MAX), none = mpisift_batch_slice(&b, INT64_MAX, 3);
  mpisift_batch negative = mpisift_batch_slice(&b, 2, -1), twice = mpisift_batch_slice(&rest, 2, 2);

  CU_ASSERT(rest.n == 6 && rest.valid == 3 && begins_at(&rest, 4));
  CU_ASSERT(none.n == 0 && none.valid == 0);
  CU_ASSERT(negative.n == 0 && negative.valid == 0);
  CU_ASSERT(twice.n == 2 && twice.valid == 1 && begins_at(&twice, 6));
}

/* Candidates have no outcome yet: these arrays stay NULL. */
static void slices_of_candidates(void)
{
  struct columns c = {0};
  mpisift_batch b = make_batch(&c, ROWS), s;

  b.slots = b.epochs = NULL;
  b.losses = b.probabilities = b.weights = NULL;
  s = mpisift_batch_slice(&b, 3, 4);
  CU_ASSERT(s.n == 4 && s.ids[0] == 3 && ((const int64_t *)s.data[1])[0] == 3);
  CU_ASSERT(s.slots == NULL && s.losses == NULL && s.probabilities == NULL && s.weights == NULL);
}

TEST_MAIN("base", {"first cause wins", first_cause_wins}, {"prefixes", prefixes},
          {"long texts are cut", long_texts_are_cut}, {"try returns early", try_returns_early},
          {"status texts", status_texts}, {"types", types}, {"field bytes", field_bytes},
          {"allocations are counted", allocations_are_counted},
          {"allocations fail on demand", allocations_fail_on_demand},
          {"a failed resize keeps the array", a_failed_resize_keeps_the_array}, {"impossible sizes", impossible_sizes},
          {"rings are queues", rings_are_queues}, {"a failed reserve keeps the ring", a_failed_reserve_keeps_the_ring},
          {"slices are clipped", slices_are_clipped}, {"slices of extreme ranges", slices_of_extreme_ranges},
          {"slices of candidates", slices_of_candidates})
