/* A sifter on a device decides, and forms batches, bit for bit as one in host memory. */
#include <config.h>

#include "../testing.h"

#ifdef HAVE_NVCC
#include <stddef.h>

#include "../mpi/pushing.h"
#include "on_device.h"

static cudaStream_t stream;

/* A push on the host, and its copy on the device as the sifter there gets it; looked at when the run is over. */
struct twin {
  struct pushed *host, *found; /* page-locked */
  unsigned char *device;
  const void *records[ALL_FIELDS];
  mpisift_candidates candidates;
  mpisift_decisions decisions;
};

#define AT(twin, member) ((void *)((twin)->device + offsetof(struct pushed, member)))

static struct twin twin_make(const struct pushing *p, int64_t epoch, int64_t push, int64_t base)
{
  struct twin t = {.host = new_pinned(sizeof *t.host), .found = new_pinned(sizeof *t.found)};

  push_part(p, epoch, push, base, t.host);
  CU_ASSERT_EQUAL_FATAL(cudaMalloc((void **)&t.device, sizeof *t.host), cudaSuccess);
  upload(t.device, t.host, sizeof *t.host, stream);
  t.records[0] = AT(&t, x);
  t.records[1] = AT(&t, y);
  t.candidates = t.host->candidates;
  t.candidates.losses = AT(&t, losses);
  t.candidates.bounds = AT(&t, bounds);
  t.candidates.confidences = AT(&t, confidences);
  t.candidates.groups = AT(&t, groups);
  t.candidates.references = AT(&t, references);
  t.decisions = (mpisift_decisions){AT(&t, accepted), AT(&t, probabilities), AT(&t, weights)};
  return t;
}

static void twin_end(struct twin *t)
{
  const struct pushed *a = t->host, *b = t->found;

  CU_ASSERT(same_bytes(a->accepted, b->accepted, a->n, sizeof a->accepted[0]));
  CU_ASSERT(same_bytes(a->probabilities, b->probabilities, a->n, sizeof a->probabilities[0]));
  CU_ASSERT(same_bytes(a->weights, b->weights, a->n, sizeof a->weights[0]));
  cudaFree(t->device);
  cudaFreeHost(t->host);
  cudaFreeHost(t->found);
}

struct pair {
  struct pushing p;
  mpisift_ctx *ctx;
  mpisift_sifter *host, *device;
  struct archive on_host, on_device;
  struct twin twins[MAX_EPOCHS * PUSHES];
  int64_t n, base;
};

static mpisift_status take_both(struct pair *r)
{
  mpisift_batch a, b;
  mpisift_status status;

  for (;;) {
    status = mpisift_sifter_next(r->host, &a);
    CU_ASSERT_EQUAL_FATAL(mpisift_sifter_next(r->device, &b), status);
    CU_ASSERT(same_stats(mpisift_sifter_stats(r->host, MPISIFT_RUN), mpisift_sifter_stats(r->device, MPISIFT_RUN)));
    if (status != MPISIFT_OK)
      return status;
    archive_add(&r->on_host, batch_copy(&a, 0, stream));
    archive_add(&r->on_device, batch_copy(&b, 1, stream));
  }
}

static void push_both(struct pair *r, int64_t epoch, int64_t k)
{
  struct twin *t = &r->twins[r->n++];
  struct candidate all[PLACES];

  *t = twin_make(&r->p, epoch, k, r->base);
  t->candidates.records = t->records;
  CU_ASSERT_EQUAL_FATAL(mpisift_sifter_push(r->host, &t->host->candidates, &t->host->decisions), MPISIFT_OK);
  CU_ASSERT_EQUAL_FATAL(mpisift_sifter_push(r->device, &t->candidates, &t->decisions), MPISIFT_OK);
  download(t->found, t->device, sizeof *t->found, stream);
  if (push_list(&r->p, epoch, k, r->base, all) > 0)
    r->base += r->p.positioned ? SPAN : MOST * r->p.w.ranks;
}

static struct pair *pair_open(const struct pushing *p, mpisift_transport transport)
{
  struct pair *r = calloc(1, sizeof *r);
  mpisift_pushes pushes = pushes_of(p);
  mpisift_device device;

  mpisift_device_init(&device, sizeof device);
  device.stream = stream;
  device.transport = transport;
  r->p = *p;
  CU_ASSERT_EQUAL_FATAL(mpisift_open(&r->p.team, NULL, NULL, 0, &r->ctx), MPISIFT_OK);
  CU_ASSERT_EQUAL_FATAL(mpisift_sifter_create(r->ctx, &p->w.config, &pushes, &r->host), MPISIFT_OK);
  CU_ASSERT_EQUAL_FATAL(mpisift_sifter_create_cuda(r->ctx, &p->w.config, &pushes, &device, &r->device), MPISIFT_OK);
  return r;
}

static void pair_close(struct pair *r)
{
  int64_t wrong = 0;

  CU_ASSERT_EQUAL(cudaStreamSynchronize(stream), cudaSuccess);
  for (int64_t k = 0; k < r->n; k++)
    twin_end(&r->twins[k]);
  CU_ASSERT_EQUAL_FATAL(r->on_host.n, r->on_device.n);
  for (int64_t k = 0; k < r->on_host.n; k++)
    wrong += !same_batch(&r->on_host.at[k], &r->on_device.at[k]);
  CU_ASSERT_EQUAL(wrong, 0);
  archive_free(&r->on_host);
  archive_free(&r->on_device);
  CU_ASSERT_EQUAL(mpisift_sifter_destroy(&r->host), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_sifter_destroy(&r->device), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&r->ctx), MPISIFT_OK);
  free(r);
}

static void run(struct pushing p, mpisift_transport transport)
{
  struct pair *r = pair_open(&p, transport);

  for (int64_t epoch = 0; epoch < p.w.config.epochs; epoch++) {
    for (int64_t k = 0; k < PUSHES; k++) {
      push_both(r, epoch, k);
      CU_ASSERT_EQUAL(take_both(r), MPISIFT_MORE);
    }
    CU_ASSERT_EQUAL(mpisift_sifter_end_epoch(r->host), MPISIFT_OK);
    CU_ASSERT_EQUAL(mpisift_sifter_end_epoch(r->device), MPISIFT_OK);
    CU_ASSERT_EQUAL(take_both(r), MPISIFT_END_OF_EPOCH);
  }
  CU_ASSERT(p.n_fields == 0 || r->on_host.n > 0);
  pair_close(r);
}

static struct pushing small(const char *name)
{
  struct pushing p = pushing_make(name, 24);

  p.w.config.loss_history_length = 100;
  p.w.config.epochs = 2;
  return p;
}

static void with_positions(void)
{
  struct pushing p = small("positions");

  run(p, MPISIFT_TRANSPORT_HOST);
  p.spread = ONE_RANK;
  p.numbered = true;
  p.w.config.end_of_epoch = MPISIFT_FLUSH;
  run(p, MPISIFT_TRANSPORT_HOST);
  p.spread = IN_BLOCKS;
  p.w.config.end_of_epoch = MPISIFT_DROP;
  run(p, MPISIFT_TRANSPORT_HOST);
}

static void without_positions(void)
{
  struct pushing p = small("no positions");

  p.positioned = false;
  run(p, MPISIFT_TRANSPORT_HOST);
}

static void decisions_only(void)
{
  struct pushing p = small("decisions");

  p.n_fields = 0;
  p.w.bad_mod = 13;
  p.w.config.bad_loss_share = 0.5;
  run(p, MPISIFT_TRANSPORT_HOST);
}

static void policies(void)
{
  static const char *const names[] = {"importance_bound", "uncertainty", "reducible", "random"};

  for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
    struct pushing p = small(names[k]);

    if (test_size > 1 && (k + (size_t)test_size / 2) % 2 == 1)
      continue; /* with as many ranks it is another's turn */

    p.w.config.policy = names[k];
    p.w.config.weights_applied = true;
    if (k < 3) {
      p.w.config.groups = WORLD_GROUPS;
      p.w.config.class_floor = 0.15;
    }
    run(p, MPISIFT_TRANSPORT_HOST);
  }
}

static void by_nccl(void)
{
#ifdef HAVE_NCCL
  if (nccl_can())
    run(small("NCCL"), MPISIFT_TRANSPORT_NCCL);
#endif
  CU_PASS("or this build has no NCCL");
}

/* A push that is refused on one rank is refused on all, and may be repeated as it should be. */
static void refused(struct pair *r, const mpisift_candidates *wrong, const mpisift_decisions *decisions,
                    const char *text)
{
  bool mine = test_rank == test_size - 1;

  CU_ASSERT_EQUAL(mpisift_sifter_push(r->device, mine ? wrong : &r->twins[0].candidates, mine ? decisions : NULL),
                  MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(r->ctx), text));
  CU_ASSERT(same_text(mpisift_error(r->ctx)));
}

static void wrong_memory(void)
{
  struct pushing p = small("memory");
  struct pair *r = pair_open(&p, MPISIFT_TRANSPORT_HOST);
  struct twin *t = &r->twins[0];
  mpisift_candidates c;

  *t = twin_make(&p, 0, 0, 0);
  t->candidates.records = t->records;
  c = t->candidates;
  c.losses = t->host->losses;
  refused(r, &c, NULL, "candidates.losses is page-locked host memory");
  c = t->candidates;
  c.records = t->host->records;
  refused(r, &c, NULL, "candidates.records[]");
  c = t->candidates;
  c.loss_type = MPISIFT_F64;
  refused(r, &c, NULL, "float32");
  c = t->candidates;
  c.ids = NULL;
  t->host->positions[1] = t->host->positions[0];
  refused(r, &c, NULL, "positions of a rank ascend");
  cudaFree(t->device);
  cudaFreeHost(t->host);
  cudaFreeHost(t->found);
  *t = (struct twin){0};
  push_both(r, 0, 0);
  CU_ASSERT_EQUAL(take_both(r), MPISIFT_MORE);
  refused(r, &r->twins[0].candidates, &r->twins[0].host->decisions, "decisions.accepted is page-locked host memory");
  pair_close(r);
}

static int setup(void)
{
  return cudaStreamCreate(&stream) == cudaSuccess;
}

static const test_case cases[] = {{"with positions", with_positions},
                                  {"without positions", without_positions},
                                  {"decisions only", decisions_only},
                                  {"policies", policies},
                                  {"NCCL", by_nccl},
                                  {"wrong memory", wrong_memory}};

int main(int argc, char **argv)
{
  if (have_device() && setup())
    return test_main(argc, argv, "device sifter", cases, sizeof cases / sizeof *cases);
  printf("SKIPPED: no CUDA device, and no stand-in for one\n");
  return 77;
}
#else
int main(void)
{
  printf("SKIPPED: this build has no nvcc\n");
  return 77;
}
#endif
