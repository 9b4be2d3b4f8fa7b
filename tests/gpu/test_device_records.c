/* Samples packed into records and scattered to batches by a device, against memcpy on the host. */
#include "device.h"

#ifdef HAVE_NVCC
#include <math.h>
#include <stdlib.h>

#include "../unit/draw.h"
#include "core/pool.h"
#include "core/random.h"

enum { MOST_ROWS = 1000, MOST_BYTES = 1 << 20, SHAPES = 11 };

/* Bytes of fields, and where in memory the first of their arrays begin. */
struct shape {
  int n_fields;
  size_t bytes[4], begin[4], round_to;
  int64_t most; /* rows: a stand-in takes its time */
};

static const struct shape shapes[SHAPES] = {
    {0, {0}, {0}, 8, 257},
    {1, {1}, {0}, 8, 257},
    {1, {8}, {0}, 8, 1000},
    {2, {784, 1}, {0}, 8, 257},
    {2, {1, 784}, {0}, 8, 257},
    {2, {784, 4}, {0}, 16, 33},
    {4, {3, 5, 7, 2}, {0}, 8, 257},
    {4, {33, 16, 1, 64}, {1, 2, 3, 5}, 8, 33},
    {3, {130, 31, 250}, {2, 1, 7}, 16, 33},
    {2, {4099, 8}, {0}, 8, 33},
    {2, {3, 40003}, {0, 1}, 8, 2},
};
static const int64_t sizes[] = {0, 1, 31, 32, 33, 257, 1000};

/* A sample's columns and a batch's. */
static int64_t ids[MOST_ROWS], epochs[MOST_ROWS], slots[MOST_ROWS];
static float losses[MOST_ROWS], probabilities[MOST_ROWS], weights[MOST_ROWS];
static int32_t rows[MOST_ROWS];
static unsigned char *fields[4], expected[MOST_BYTES], found[MOST_BYTES];

static size_t record_bytes(const struct shape *s)
{
  size_t bytes = sizeof(struct msift_tag);

  for (int f = 0; f < s->n_fields; f++)
    bytes += s->bytes[f];
  return (bytes + s->round_to - 1) / s->round_to * s->round_to;
}

static void draw_samples(struct draw *r, const struct shape *s, int64_t n)
{
  for (int64_t i = 0; i < n; i++) {
    ids[i] = (int64_t)draw_bits(r);
    losses[i] = draw_lognormal(r);
    probabilities[i] = (float)draw_unit(r);
    weights[i] = (float)draw_unit(r);
    slots[i] = draw_below(r, 1 << 20);
  }
  for (int64_t i = 0; i < n; i++)
    rows[i] = (int32_t)i;
  for (int64_t i = 0; i < n; i++) {
    int64_t k = i + draw_below(r, n - i);
    int32_t row = rows[i];

    rows[i] = rows[k];
    rows[k] = row;
  }
  for (int f = 0; f < s->n_fields; f++) {
    size_t bytes = s->begin[f] + (size_t)n * s->bytes[f];

    fields[f] = realloc(fields[f], bytes + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(fields[f]);
    for (size_t b = 0; b < bytes; b++)
      fields[f][b] = (unsigned char)draw_below(r, 256);
  }
}

/* Bytes behind `begin` others that nobody has written, which a stand-in does not let anybody read. */
static unsigned char *up_behind(size_t begin, const unsigned char *from, size_t bytes)
{
  unsigned char *to = NULL;

  CU_ASSERT_EQUAL_FATAL(cudaMalloc((void **)&to, begin + bytes + (bytes == 0)), cudaSuccess);
  CU_ASSERT_EQUAL(bytes > 0 ? cudaMemcpy(to + begin, from + begin, bytes, cudaMemcpyHostToDevice) : cudaSuccess,
                  cudaSuccess);
  memory.blocks++;
  ups[n_ups++] = to;
  return to + begin;
}

/* The fields on the device; those of a batch are not yet written. */
static struct msift_device_rows up_fields(const struct shape *s, int64_t n, bool written)
{
  struct msift_device_rows on = {.n_fields = s->n_fields};

  for (int f = 0; f < s->n_fields; f++) {
    size_t bytes = (size_t)n * s->bytes[f];

    on.fields[f] = written ? up_behind(s->begin[f], fields[f], bytes)
                           : (unsigned char *)up(NULL, s->begin[f] + bytes) + s->begin[f];
    on.bytes[f] = s->bytes[f];
  }
  return on;
}

static void write_record(const struct shape *s, int64_t row, int64_t epoch, bool scored, unsigned char *record)
{
  const struct msift_tag tag = {ids[row], epoch, scored ? losses[row] : NAN, probabilities[row], weights[row], 0};

  memcpy(record, &tag, sizeof tag);
  record += sizeof tag;
  for (int f = 0; f < s->n_fields; record += s->bytes[f++])
    memcpy(record, fields[f] + s->begin[f] + (size_t)row * s->bytes[f], s->bytes[f]);
}

/* Pack n rows into a ring in which they are at its end and its beginning. */
static void check_pack(struct draw *r, const struct shape *s, int64_t n, bool picked, bool scored)
{
  size_t size = record_bytes(s);
  int64_t capacity = n + 3, all = picked ? n + n / 2 : n, first = draw_below(r, capacity);
  struct msift_device_pack job = {.n = n, .epoch = 7, .first = first, .capacity = capacity, .record_bytes = size};

  all = all < MOST_ROWS ? all : MOST_ROWS;
  draw_samples(r, s, all);
  memset(expected, 0x5a, (size_t)capacity * size);
  for (int64_t i = 0; i < n; i++)
    write_record(s, picked ? rows[i] : i, 7, scored, expected + (size_t)((first + i) % capacity) * size);
  job.from = up_fields(s, all, true);
  job.ids = up(ids, (size_t)all * sizeof *ids);
  job.losses = scored ? up(losses, (size_t)all * sizeof *losses) : NULL;
  job.probabilities = up(probabilities, (size_t)all * sizeof *losses);
  job.weights = up(weights, (size_t)all * sizeof *losses);
  job.rows = picked ? up(rows, (size_t)n * sizeof *rows) : NULL;
  job.records = up(NULL, (size_t)capacity * size);
  CU_ASSERT_EQUAL(dev->pack(&job, queue, &error), MPISIFT_OK);
  down(found, job.records, (size_t)capacity * size);
  CU_ASSERT_EQUAL(memcmp(found, expected, (size_t)capacity * size), 0);
  release_ups();
}

static void pack(void)
{
  struct draw r = {UINT64_C(41)};

  for (int k = 0; k < SHAPES; k++)
    for (int i = 0; i < 7 && sizes[i] <= shapes[k].most; i++)
      check_pack(&r, &shapes[k], sizes[i], (i + k) % 2 == 0, (i + k) % 3 != 0);
}

static void check_column(const void *on, const void *column, size_t bytes)
{
  down(found, on, bytes);
  CU_ASSERT_EQUAL(memcmp(found, column, bytes), 0);
}

static void check_columns(const struct msift_device_scatter *job, int64_t n, int64_t rows_of_batch)
{
  uint64_t hash = 99, hash_found = 0;

  for (int64_t i = n; i < rows_of_batch; i++) {
    ids[i] = slots[i] = -1;
    epochs[i] = 5;
    losses[i] = probabilities[i] = weights[i] = 0;
  }
  for (int64_t i = 0; i < n; i++) {
    epochs[i] = 7;
    hash += msift_mix((uint64_t)ids[i] + 1);
  }
  check_column(job->ids, ids, (size_t)rows_of_batch * sizeof *ids);
  check_column(job->to_slots, slots, (size_t)rows_of_batch * sizeof *ids);
  check_column(job->epochs, epochs, (size_t)rows_of_batch * sizeof *ids);
  check_column(job->losses, losses, (size_t)rows_of_batch * sizeof *losses);
  check_column(job->probabilities, probabilities, (size_t)rows_of_batch * sizeof *losses);
  check_column(job->weights, weights, (size_t)rows_of_batch * sizeof *losses);
  down(&hash_found, job->id_hash, sizeof hash_found);
  CU_ASSERT_EQUAL(hash_found, hash);
}

/* Records come from two places, in any order. */
static void check_scatter(struct draw *r, const struct shape *s, int64_t n, int64_t padding)
{
  size_t size = record_bytes(s);
  int64_t all = n + padding;
  struct msift_device_scatter job = {.n = n, .n_padded = all, .padding_epoch = 5};
  const unsigned char *sources[MOST_ROWS + 1];
  const uint64_t before = 99;
  unsigned char *places[2];

  draw_samples(r, s, all);
  memset(expected, 0, (size_t)(n + 1) * size);
  for (int64_t i = 0; i < n; i++)
    write_record(s, i, 7, true, expected + (size_t)(n - 1 - i) * size);
  places[0] = up(expected, (size_t)(n + 1) * size);
  places[1] = up(expected, (size_t)(n + 1) * size);
  for (int64_t i = 0; i < n; i++)
    sources[i] = places[draw_below(r, 2)] + (size_t)(n - 1 - i) * size;
  job.sources = up(sources, (size_t)n * sizeof *sources);
  job.slots = up(slots, (size_t)n * sizeof *slots);
  job.to = up_fields(s, all + 1, false);
  job.ids = up(NULL, (size_t)all * sizeof *ids);
  job.to_slots = up(NULL, (size_t)all * sizeof *ids);
  job.epochs = up(NULL, (size_t)all * sizeof *ids);
  job.losses = up(NULL, (size_t)all * sizeof *losses);
  job.probabilities = up(NULL, (size_t)all * sizeof *losses);
  job.weights = up(NULL, (size_t)all * sizeof *losses);
  job.id_hash = up(&before, sizeof before);
  CU_ASSERT_EQUAL(dev->scatter(&job, queue, &error), MPISIFT_OK);
  check_columns(&job, n, all);
  for (int f = 0; f < s->n_fields; f++) {
    memset(fields[f] + s->begin[f] + (size_t)n * s->bytes[f], 0, (size_t)padding * s->bytes[f]);
    check_column(job.to.fields[f], fields[f] + s->begin[f], (size_t)all * s->bytes[f]);
    memset(expected, 0x5a, s->bytes[f]);
    check_column(job.to.fields[f] + (size_t)all * s->bytes[f], expected, s->bytes[f]);
  }
  release_ups();
}

static void scatter(void)
{
  struct draw r = {UINT64_C(42)};

  for (int k = 0; k < SHAPES; k++)
    for (int i = 0; i < 7 && sizes[i] <= shapes[k].most; i++)
      check_scatter(&r, &shapes[k], sizes[i], sizes[i] == MOST_ROWS ? 0 : (i + k) % 4);
}

/* Columns that nobody asked for, as in a batch of fields alone. */
static void fields_alone(void)
{
  const struct shape *s = &shapes[3];
  struct draw r = {UINT64_C(43)};
  struct msift_device_scatter job = {.n = 2, .n_padded = 2};
  const unsigned char *sources[2];
  unsigned char *records;

  draw_samples(&r, s, 2);
  for (int64_t i = 0; i < 2; i++)
    write_record(s, i, 7, true, expected + (size_t)i * record_bytes(s));
  records = up(expected, 2 * record_bytes(s));
  sources[0] = records;
  sources[1] = records + record_bytes(s);
  job.sources = up(sources, sizeof sources);
  job.to = up_fields(s, 2, false);
  CU_ASSERT_EQUAL(dev->scatter(&job, queue, &error), MPISIFT_OK);
  for (int f = 0; f < s->n_fields; f++)
    check_column(job.to.fields[f], fields[f], 2 * s->bytes[f]);
  release_ups();
}

/* More rows than a grid has blocks. */
static void failed_launch(void)
{
  struct msift_device_pack pack_job = {.n = INT64_MAX / 2, .capacity = INT64_MAX};
  struct msift_device_scatter scatter_job = {.n = INT64_MAX / 2, .n_padded = INT64_MAX / 2};

  CU_ASSERT_EQUAL(dev->pack(&pack_job, queue, &error), MPISIFT_ERR_DEVICE);
  CU_ASSERT(told(MPISIFT_ERR_DEVICE, "packing records on the device failed"));
  CU_ASSERT_EQUAL(dev->scatter(&scatter_job, queue, &error), MPISIFT_ERR_DEVICE);
  CU_ASSERT(told(MPISIFT_ERR_DEVICE, "making a batch on the device failed"));
  CU_ASSERT_EQUAL(cudaGetLastError(), cudaSuccess);
}

DEVICE_MAIN("device records", {"pack", pack}, {"scatter", scatter}, {"fields alone", fields_alone},
            {"failed launch", failed_launch})
#endif
