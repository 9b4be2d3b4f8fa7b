/* What the tests of loaders and sifters on a device share: scores computed in the order of a stream, and batches that
 * are copied there and looked at when the run is over, when what came too early or too late shows. */
#ifndef MPISIFT_TESTS_ON_DEVICE_H
#define MPISIFT_TESTS_ON_DEVICE_H

#include <cuda_runtime_api.h>
#include <mpisift/cuda.h>

#include "../mpi/loading.h"

static inline int have_device(void)
{
  int n = 0;

  return cudaGetDeviceCount(&n) == cudaSuccess && n > 0;
}

static inline void *new_pinned(size_t bytes)
{
  void *block = NULL;

  CU_ASSERT_EQUAL_FATAL(cudaMallocHost(&block, bytes > 0 ? bytes : 1), cudaSuccess);
  return block;
}

static inline void download(void *to, const void *from, size_t bytes, cudaStream_t stream)
{
  CU_ASSERT_EQUAL(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream), cudaSuccess);
}

static inline void upload(void *to, const void *from, size_t bytes, cudaStream_t stream)
{
  CU_ASSERT_EQUAL(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream), cudaSuccess);
}

/* A call of a score callback, kept until its work is done: ids come down, a function of the host makes the scores in
 * the order of the stream, and they go up. */
struct scoring {
  struct world *w;
  mpisift_score_fn score;
  mpisift_batch candidates;
  mpisift_scores scores;
  int64_t *ids;
  float *values; /* [4][n]: as mpisift_scores has them first */
  struct scoring *before;
};

struct scorer {
  struct world *w;
  mpisift_score_fn score; /* on the host */
  cudaStream_t stream;
  struct scoring *last;
};

static inline void CUDART_CB make_scores(void *user)
{
  struct scoring *s = user;

  s->candidates.ids = s->ids;
  s->score(s->w, &s->candidates, &s->scores);
}

static inline void *part(struct scoring *s, const void *wanted, int k)
{
  return wanted == NULL ? NULL : s->values + k * s->candidates.n;
}

static inline int score_later(void *user, const mpisift_batch *candidates, const mpisift_scores *scores)
{
  struct scorer *scorer = user;
  struct scoring *s = calloc(1, sizeof *s);
  size_t n = (size_t)candidates->n;

  *s = (struct scoring){.w = scorer->w, .score = scorer->score, .candidates = *candidates, .before = scorer->last};
  scorer->last = s;
  s->ids = new_pinned(n * sizeof *s->ids);
  s->values = new_pinned(4 * n * sizeof *s->values);
  s->scores = (mpisift_scores){.loss = part(s, scores->loss, 0),
                               .bound = part(s, scores->bound, 1),
                               .confidence = part(s, scores->confidence, 2),
                               .group = part(s, scores->group, 3)};
  download(s->ids, candidates->ids, n * sizeof *s->ids, scorer->stream);
  CU_ASSERT_EQUAL(cudaLaunchHostFunc(scorer->stream, make_scores, s), cudaSuccess);
  upload(scores->loss, s->scores.loss, n * sizeof(float), scorer->stream);
  if (scores->bound != NULL)
    upload(scores->bound, s->scores.bound, n * sizeof(float), scorer->stream);
  if (scores->confidence != NULL)
    upload(scores->confidence, s->scores.confidence, n * sizeof(float), scorer->stream);
  if (scores->group != NULL)
    upload(scores->group, s->scores.group, n * sizeof(int32_t), scorer->stream);
  return 0;
}

static inline void scorer_free(struct scorer *scorer)
{
  CU_ASSERT_EQUAL(cudaStreamSynchronize(scorer->stream), cudaSuccess);
  for (struct scoring *s = scorer->last, *before; s != NULL; s = before) {
    before = s->before;
    cudaFreeHost(s->ids);
    cudaFreeHost(s->values);
    free(s);
  }
}

/* A copy of a batch in page-locked memory: of one on a device, complete when the stream has come there. */
static inline mpisift_batch batch_copy(const mpisift_batch *b, int on_device, cudaStream_t stream)
{
  const void *from[MPISIFT_MAX_FIELDS + 6] = {b->ids, b->slots, b->epochs, b->losses, b->probabilities, b->weights};
  size_t bytes[MPISIFT_MAX_FIELDS + 6] = {8, 8, 8, 4, 4, 4};
  void *to[MPISIFT_MAX_FIELDS + 6];
  mpisift_batch copy = *b;

  for (int f = 0; f < b->n_fields; f++) {
    from[6 + f] = b->data[f];
    bytes[6 + f] = mpisift_field_bytes(&b->fields[f]);
  }
  for (int k = 0; k < 6 + b->n_fields; k++) {
    to[k] = new_pinned((size_t)b->n * bytes[k]);
    if (on_device && b->n > 0)
      download(to[k], from[k], (size_t)b->n * bytes[k], stream);
    else
      memcpy(to[k], from[k], (size_t)b->n * bytes[k]);
  }
  copy.ids = to[0];
  copy.slots = to[1];
  copy.epochs = to[2];
  copy.losses = to[3];
  copy.probabilities = to[4];
  copy.weights = to[5];
  memcpy(copy.data, to + 6, (size_t)b->n_fields * sizeof to[0]);
  return copy;
}

static inline void batch_free(mpisift_batch *b)
{
  const void *blocks[6] = {b->ids, b->slots, b->epochs, b->losses, b->probabilities, b->weights};

  for (int k = 0; k < 6; k++)
    cudaFreeHost((void *)(uintptr_t)blocks[k]);
  for (int f = 0; f < b->n_fields; f++)
    cudaFreeHost(b->data[f]);
}

static inline int same_bytes(const void *a, const void *b, int64_t n, size_t size)
{
  return memcmp(a, b, (size_t)n * size) == 0;
}

/* Two batches in host memory are the same, bit for bit. */
static inline int same_batch(const mpisift_batch *a, const mpisift_batch *b)
{
  int same = a->n == b->n && a->valid == b->valid && a->global_n == b->global_n && a->serial == b->serial &&
             a->epoch == b->epoch && a->n_fields == b->n_fields;

  if (!same)
    return 0;
  same = same_bytes(a->ids, b->ids, a->n, 8) && same_bytes(a->slots, b->slots, a->n, 8) &&
         same_bytes(a->epochs, b->epochs, a->n, 8) && same_bytes(a->losses, b->losses, a->n, 4) &&
         same_bytes(a->probabilities, b->probabilities, a->n, 4) && same_bytes(a->weights, b->weights, a->n, 4);
  for (int f = 0; f < a->n_fields; f++)
    same &= same_bytes(a->data[f], b->data[f], a->n, mpisift_field_bytes(&a->fields[f]));
  return same;
}

/* Batches of a run, in order. */
struct archive {
  mpisift_batch *at;
  int64_t n, capacity;
};

static inline void archive_add(struct archive *a, mpisift_batch batch)
{
  if (a->n == a->capacity) {
    a->capacity = 2 * a->capacity + 64;
    a->at = realloc(a->at, (size_t)a->capacity * sizeof *a->at);
  }
  a->at[a->n++] = batch;
}

static inline void archive_free(struct archive *a)
{
  for (int64_t k = 0; k < a->n; k++)
    batch_free(&a->at[k]);
  free(a->at);
}

/* NCCL wants a device for each rank: where there are fewer, a sifter that does nothing tells whether it minds. */
static inline int nccl_can(void)
{
  mpisift_pushes pushes = {.max_candidates = 1};
  mpisift_sifter *sifter = NULL;
  mpisift_ctx *ctx = open_world();
  mpisift_config config;
  mpisift_device device;
  mpisift_status status;
  int n = 0;

  cudaGetDeviceCount(&n);
  mpisift_config_init(&config, sizeof config);
  mpisift_device_init(&device, sizeof device);
  device.transport = MPISIFT_TRANSPORT_NCCL;
  status = mpisift_sifter_create_cuda(ctx, &config, &pushes, &device, &sifter);
  CU_ASSERT(status == MPISIFT_OK || (status == MPISIFT_ERR_DEVICE && n < test_size));
  CU_ASSERT_EQUAL(mpisift_sifter_destroy(&sifter), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
  return status == MPISIFT_OK;
}

/* What two loaders counted, times aside. */
static inline int same_stats(mpisift_stats a, mpisift_stats b)
{
  return a.steps == b.steps && a.rounds == b.rounds && a.candidates == b.candidates && a.scored == b.scored &&
         a.accepted == b.accepted && a.sifted_out == b.sifted_out && a.rejected == b.rejected &&
         a.outliers == b.outliers && a.trained == b.trained && a.dropped == b.dropped && a.carried_in == b.carried_in &&
         a.carried_out == b.carried_out && a.pooled == b.pooled && a.moved == b.moved &&
         a.moved_bytes == b.moved_bytes && a.refits == b.refits && a.id_hash == b.id_hash &&
         memcmp(a.threshold_loss, b.threshold_loss, sizeof a.threshold_loss) == 0;
}

#endif
