/* What share of a device's bandwidth its kernels achieve: bench_device [--tiny].
 *
 * For each kernel the bytes that it has to move are divided by its time, and by what a plain copy on the same device
 * moves in the same run. Times are medians of REPEATS, of several calls each. With --tiny each kernel runs once on few
 * rows and is not timed, as on a stand-in for the CUDA runtime. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_NVCC
#include <cuda_runtime_api.h>

#include "../unit/draw.h"
#include "backend/device.h"
#include "core/bins.h"
#include "core/pool.h"

enum { REPEATS = 9, CALLS = 5, BLOCK = 1 << 20, ACCEPT = 4 };

static const struct msift_device *const dev = &msift_device_cuda;
static struct msift_memory memory;
static struct msift_error error;
static struct msift_device_bins bins;
static cudaStream_t queue;
static bool tiny;
static double copied; /* bytes a second */

static void need(bool good, const char *what)
{
  if (good)
    return;
  fprintf(stderr, "bench_device: %s: %s\n", what, error.status != MPISIFT_OK ? error.text : "CUDA failed");
  exit(1);
}

static void *blocks[32];
static int n_blocks;

static void *room(int64_t n, size_t size)
{
  void *block = dev->allocate(&memory, &error, n, size);

  need(block != NULL, "memory");
  return blocks[n_blocks++] = block;
}

static void release_blocks(void)
{
  while (n_blocks > 0)
    dev->release(&memory, blocks[--n_blocks]);
}

/* A block of the host's as often as it takes. */
static void *tiled(const void *block, size_t block_bytes, int64_t n, size_t size)
{
  size_t bytes = (size_t)n * size;
  unsigned char *to = room(n, size);

  for (size_t at = 0; at < bytes; at += block_bytes)
    need(cudaMemcpy(to + at, block, bytes - at < block_bytes ? bytes - at : block_bytes, cudaMemcpyHostToDevice) ==
             cudaSuccess,
         "an upload");
  return to;
}

static void *ascending(int64_t n)
{
  int32_t *all = malloc((size_t)n * sizeof *all);
  void *to;

  need(all != NULL, "host memory");
  for (int64_t i = 0; i < n; i++)
    all[i] = (int32_t)i;
  to = tiled(all, (size_t)n * sizeof *all, n, sizeof *all);
  free(all);
  return to;
}

/* Items of so many bytes: 2^29 bytes of them, or few. */
static int64_t items(size_t bytes)
{
  int64_t n = (tiny ? 20000 : INT64_C(1) << 29) / (int64_t)bytes;

  return n < 1 ? 1 : tiny && n > 100 ? 100 : n;
}

typedef mpisift_status (*call_fn)(void *job);

static int by_size(const void *a, const void *b)
{
  float x = *(const float *)a, y = *(const float *)b;

  return x < y ? -1 : x > y;
}

/* Seconds of a call. */
static double time_calls(call_fn call, void *job)
{
  float times[REPEATS];
  cudaEvent_t begin, end;

  need(cudaEventCreate(&begin) == cudaSuccess && cudaEventCreate(&end) == cudaSuccess, "events");
  for (int r = 0; r < REPEATS; r++) {
    cudaEventRecord(begin, queue);
    for (int k = 0; k < CALLS; k++)
      need(call(job) == MPISIFT_OK, "a kernel");
    cudaEventRecord(end, queue);
    need(cudaEventSynchronize(end) == cudaSuccess && cudaEventElapsedTime(&times[r], begin, end) == cudaSuccess,
         "a kernel");
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  qsort(times, REPEATS, sizeof times[0], by_size);
  return (double)times[REPEATS / 2] / 1e3 / CALLS;
}

static double measure(const char *name, int64_t n, double bytes_each, call_fn call, void *job)
{
  double seconds, speed;

  need(call(job) == MPISIFT_OK, name);
  need(dev->synchronize(queue, &error) == MPISIFT_OK, name);
  if (tiny) {
    printf("%-34s %9lld × %9.1f bytes: ran\n", name, (long long)n, bytes_each);
    release_blocks();
    return 0;
  }
  seconds = time_calls(call, job);
  speed = (double)n * bytes_each / seconds;
  printf("%-34s %9lld × %9.1f bytes %9.1f us %7.0f GB/s", name, (long long)n, bytes_each, seconds * 1e6, speed / 1e9);
  if (copied > 0)
    printf(" %5.2f of a copy", speed / copied);
  printf("\n");
  release_blocks();
  return speed;
}

struct copy_job {
  void *to, *from;
  size_t bytes;
};

static mpisift_status call_copy(void *job)
{
  const struct copy_job *c = job;

  return dev->copy(c->to, c->from, c->bytes, queue, &error);
}

static void bench_copy(void)
{
  int64_t n = items(1);
  struct copy_job job = {room(n, 1), room(n, 1), (size_t)n};

  copied = measure("a copy", n, 2, call_copy, &job);
}

struct losses_job {
  struct msift_losses job;
  mpisift_scores scores;
};

static mpisift_status call_losses(void *job)
{
  const struct losses_job *l = job;

  return dev->losses(&l->job, &l->scores, queue, &error);
}

/* A normal number whose bits are those of two in bfloat16. */
static float normal_pair(struct draw *r)
{
  float values[2] = {(float)draw_normal(r), (float)draw_normal(r)};
  uint32_t bits[2];

  memcpy(bits, values, sizeof bits);
  bits[0] = (bits[0] & 0xffff0000) | bits[1] >> 16;
  memcpy(values, bits, sizeof bits);
  return values[0];
}

static void bench_loss(const char *name, mpisift_type type, int64_t columns, bool more)
{
  static float logits[BLOCK];
  static int32_t labels[BLOCK];
  size_t size = mpisift_type_size(type);
  int64_t n = items(size * (size_t)columns);
  struct draw r = {UINT64_C(61)};
  struct losses_job l = {.job = {.n = n, .columns = columns}};

  for (int64_t i = 0; i < BLOCK; i++) {
    logits[i] = normal_pair(&r);
    labels[i] = (int32_t)draw_below(&r, columns);
  }
  l.job.spec = (mpisift_loss){.tokens = 1, .huber_delta = 1, .focal_gamma = 2};
  l.job.logits = (mpisift_values){tiled(logits, sizeof logits, n * columns, size), type, columns};
  l.job.targets = (mpisift_values){tiled(labels, sizeof labels, n, sizeof *labels), MPISIFT_I32, 1};
  l.scores.loss = room(n, sizeof(float));
  l.scores.bound = more ? room(n, sizeof(float)) : NULL;
  measure(name, n, (double)columns * (double)size + (more ? 12 : 8), call_losses, &l);
}

static mpisift_status call_tokens(void *job)
{
  return dev->tokens(job, queue, &error);
}

static void bench_tokens(void)
{
  static float losses[BLOCK];
  int64_t tokens = tiny ? 100 : 4096, n = items(8 * (size_t)tokens);
  struct msift_tokens job = {.n = n};

  job.spec = (mpisift_loss){.tokens = tokens, .ignore = true, .ignore_index = -100};
  job.tokens = (mpisift_values){tiled(losses, sizeof losses, n * tokens, sizeof *losses), MPISIFT_F32, tokens};
  job.labels = (mpisift_values){room(n * tokens, 4), MPISIFT_I32, tokens};
  job.losses = room(n, sizeof(float));
  measure("tokens, float32 and int32 labels", n, 8 * (double)tokens + 4, call_tokens, &job);
}

static struct msift_device_bins up_bins(void)
{
  struct msift_bins host;
  struct msift_device_bins on;

  msift_bins_init(&host);
  on = (struct msift_device_bins){host.n, tiled(host.top, sizeof host.top, sizeof host.top, 1),
                                  tiled(host.split, sizeof host.split, sizeof host.split, 1)};
  n_blocks = 0; /* they stay to the end */
  return on;
}

static void draw_losses(float *losses, uint32_t *keys, bool ties)
{
  struct draw r = {UINT64_C(62)};

  for (int64_t i = 0; i < BLOCK; i++) {
    losses[i] = ties ? draw_zeros(&r) : draw_lognormal(&r);
    keys[i] = msift_key(losses[i]);
  }
}

static float losses[BLOCK];
static uint32_t keys[BLOCK];

static mpisift_status call_count(void *job)
{
  return dev->count(job, queue, &error);
}

static void bench_count(const char *name, bool ties)
{
  int64_t n = items(4);
  struct msift_device_count job = {.n = n, .change = 1, .bins = bins, .in_bins = true};

  draw_losses(losses, keys, ties);
  job.window = (struct msift_device_window){tiled(keys, sizeof keys, n, sizeof *keys), NULL, n};
  job.words = room(MSIFT_BINS_MAX, sizeof *job.words);
  measure(name, n, 4, call_count, &job);
}

struct decide_job {
  struct msift_device_round round;
  void *scratch;
  size_t scratch_bytes;
};

static mpisift_status call_decide(void *job)
{
  const struct decide_job *d = job;

  return dev->decide(&d->round, d->scratch, d->scratch_bytes, queue, &error);
}

/* Of a scored round that accepts one in ACCEPT: ids, places and losses in; flags twice, probabilities, weights and keys
 * out; and the rows accepted. */
static void bench_decide(const char *name, int64_t n, bool ties)
{
  static uint64_t by_bin[MSIFT_BINS_MAX];
  static int64_t ids[BLOCK];
  struct decide_job d = {.round = {.n = n, .scored = true, .sifting = true, .bins = bins}};
  struct msift_device_round *r = &d.round;
  uint32_t *header = room(4, sizeof *header);

  draw_losses(losses, keys, ties);
  for (int64_t i = 0; i < BLOCK; i++)
    ids[i] = i;
  for (int b = 0; b < MSIFT_BINS_MAX; b++)
    by_bin[b] = (UINT64_C(1) << 32) / ACCEPT;
  r->ids = tiled(ids, sizeof ids, n, sizeof *ids);
  r->places = ascending(n);
  r->losses = tiled(losses, sizeof losses, n, sizeof *losses);
  r->terms = (struct msift_device_terms){.law = MSIFT_LAW_BY_BIN, .accept_key = 7};
  r->terms.by_bin = tiled(by_bin, sizeof by_bin, MSIFT_BINS_MAX, sizeof *by_bin);
  r->window = (struct msift_device_window){room(n, sizeof(uint32_t)), NULL, n};
  r->accepted = room(n, 1);
  r->probabilities = room(n, sizeof(float));
  r->weights = room(n, sizeof(float));
  r->kept = room(n, sizeof *r->kept);
  r->n_kept = room(1, sizeof *r->n_kept);
  r->changes = room(MSIFT_BINS_MAX, sizeof *r->changes);
  r->map = room(n / 32 + 1, sizeof *r->map);
  r->bad = header;
  r->outliers = header + 1;
  r->accepted_count = header + 2;
  r->failed = header + 3;
  r->findings = room(1, sizeof *r->findings);
  need(dev->fill(r->findings, 0xff, sizeof *r->findings, queue, &error) == MPISIFT_OK, "findings");
  d.scratch_bytes = dev->decide_scratch(n);
  d.scratch = room((int64_t)d.scratch_bytes, 1);
  measure(name, n, 8 + 4 + 4 + 2 + 4 + 4 + 4 + 4.0 / ACCEPT + 1.0 / 8, call_decide, &d);
}

static size_t record_bytes(const struct msift_device_rows *rows)
{
  size_t bytes = sizeof(struct msift_tag);

  for (int f = 0; f < rows->n_fields; f++)
    bytes += rows->bytes[f];
  return (bytes + 15) / 16 * 16;
}

/* A field, and a label of 4 bytes behind it, or in front. */
static struct msift_device_rows make_rows(int64_t n, size_t bytes, bool label_first)
{
  struct msift_device_rows rows = {.n_fields = 2};

  rows.bytes[label_first] = bytes;
  rows.bytes[!label_first] = 4;
  for (int f = 0; f < 2; f++)
    rows.fields[f] = room(n, rows.bytes[f]);
  return rows;
}

static mpisift_status call_pack(void *job)
{
  return dev->pack(job, queue, &error);
}

static void bench_pack(const char *name, size_t bytes, bool label_first)
{
  int64_t n = items(2 * bytes);
  struct msift_device_pack job = {.n = n, .capacity = n};

  job.from = make_rows(n, bytes, label_first);
  job.rows = ascending(n);
  job.ids = room(n, sizeof *job.ids);
  job.losses = room(n, sizeof(float));
  job.probabilities = room(n, sizeof(float));
  job.weights = room(n, sizeof(float));
  job.record_bytes = record_bytes(&job.from);
  job.records = room(n, job.record_bytes);
  measure(name, n, 2 * (double)(bytes + 4) + 4 + 20 + sizeof(struct msift_tag), call_pack, &job);
}

static mpisift_status call_scatter(void *job)
{
  return dev->scatter(job, queue, &error);
}

static void bench_scatter(const char *name, size_t bytes, bool label_first)
{
  int64_t n = items(2 * bytes);
  struct msift_device_scatter job = {.n = n, .n_padded = n};
  const unsigned char **sources = malloc((size_t)n * sizeof *sources), *records;
  size_t size;

  need(sources != NULL, "host memory");
  job.to = make_rows(n, bytes, label_first);
  size = record_bytes(&job.to);
  records = room(n, size);
  for (int64_t i = 0; i < n; i++)
    sources[i] = records + (size_t)(n - 1 - i) * size;
  job.sources = tiled(sources, (size_t)n * sizeof *sources, n, sizeof *sources);
  free((void *)sources);
  job.slots = room(n, sizeof *job.slots);
  job.ids = room(n, sizeof *job.ids);
  job.to_slots = room(n, sizeof *job.ids);
  job.epochs = room(n, sizeof *job.ids);
  job.losses = room(n, sizeof(float));
  job.probabilities = room(n, sizeof(float));
  job.weights = room(n, sizeof(float));
  job.id_hash = room(1, sizeof *job.id_hash);
  measure(name, n, 2 * (double)(bytes + 4) + 16 + sizeof(struct msift_tag) + 8 + 36, call_scatter, &job);
}

static void bench_all(void)
{
  bench_copy();
  bench_loss("losses, float32, 10 classes", MPISIFT_F32, 10, false);
  bench_loss("losses, float32, 1000 classes", MPISIFT_F32, 1000, false);
  bench_loss("  the same, with bounds", MPISIFT_F32, 1000, true);
  bench_loss("losses, float32, 50257 classes", MPISIFT_F32, 50257, false);
  bench_loss("losses, bfloat16, 50257 classes", MPISIFT_BF16, 50257, false);
  bench_tokens();
  bench_count("count", false);
  bench_count("count, 3 in 10 tied", true);
  bench_decide("decide", items(32), false);
  bench_decide("decide, 3 in 10 tied", items(32), true);
  bench_decide("decide, a round of 16384", tiny ? 100 : 16384, false);
  bench_pack("pack, 784 bytes and a label", 784, false);
  bench_pack("pack, a label and 785 bytes", 785, true);
  bench_pack("pack, 150528 bytes and a label", 150528, false);
  bench_scatter("scatter, 784 bytes and a label", 784, false);
  bench_scatter("scatter, a label and 785 bytes", 785, true);
  bench_scatter("scatter, 150528 bytes and a label", 150528, false);
}

int main(int argc, char **argv)
{
  struct cudaDeviceProp properties;
  int device;

  tiny = argc == 2 && strcmp(argv[1], "--tiny") == 0;
  if (argc > 1 && !tiny) {
    fprintf(stderr, "usage: bench_device [--tiny]\n");
    return 2;
  }
  if (dev->get(&device, &error) != MPISIFT_OK) {
    printf("SKIPPED: %s\n", error.text);
    return 77;
  }
  need(cudaGetDeviceProperties(&properties, device) == cudaSuccess, "the device");
  need(cudaStreamCreate(&queue) == cudaSuccess, "a stream");
  printf("%s, %d multiprocessors\n", properties.name, properties.multiProcessorCount);
  bins = up_bins();
  bench_all();
  dev->release(&memory, bins.top);
  dev->release(&memory, bins.split);
  cudaStreamDestroy(queue);
  return 0;
}
#else
int main(void)
{
  printf("SKIPPED: built without nvcc\n");
  return 77;
}
#endif
