/* A loader on a device gives, bit for bit, the batches of one in host memory. */
#include <config.h>

#include "../testing.h"

#ifdef HAVE_NVCC
#include "aware_mpi.h"
#include "on_device.h"

static cudaStream_t stream;
static mpisift_transport transport;

static mpisift_device device_of(void)
{
  mpisift_device device;

  mpisift_device_init(&device, sizeof device);
  device.stream = stream;
  device.transport = transport;
  return device;
}

/* Samples with a reference loss. */
static int read_rows(void *user, int64_t n, const int64_t *ids, void *const *dst)
{
  const struct world *w = user;

  for (int64_t i = 0; i < n; i++)
    if (w->narrow)
      ((float *)dst[FIELDS])[i] = (float)world_reference(w, ids[i]);
    else
      ((double *)dst[FIELDS])[i] = world_reference(w, ids[i]);
  return world_read(user, n, ids, dst);
}

static mpisift_source source_with_references(struct world *w)
{
  static mpisift_field fields[FIELDS + 1];
  mpisift_source source = world_source(w);

  memcpy(fields, world_fields, sizeof world_fields);
  fields[FIELDS] = (mpisift_field){.name = "reference_loss", .type = w->narrow ? MPISIFT_F32 : MPISIFT_F64};
  source.n_fields = FIELDS + 1;
  source.fields = fields;
  source.read = read_rows;
  return source;
}

/* A stream of samples whose length differs between ranks and epochs. */
struct tap {
  struct world w;
  int64_t pulled, left;
};

static int tap_begin(void *user, int64_t epoch)
{
  struct tap *t = user;

  t->left = 70 + 31 * (test_rank % 3) + 10 * epoch;
  return 0;
}

static int tap_pull(void *user, int64_t want, int64_t *got, int64_t *ids, void *const *dst)
{
  struct tap *t = user;

  *got = want < t->left ? want : t->left;
  t->left -= *got;
  for (int64_t i = 0; i < *got; i++)
    ids[i] = test_rank + test_size * t->pulled++;
  return *got > 0 ? world_read(&t->w, *got, ids, dst) : 0;
}

static mpisift_source tap_source(struct tap *t)
{
  mpisift_source source = world_source(&t->w);

  source.user = t;
  source.n = -1;
  source.pull = tap_pull;
  source.begin_epoch = tap_begin;
  return source;
}

static void compare_archives(const struct world *w, const struct archive *a, const struct archive *b)
{
  int64_t wrong = 0;

  CU_ASSERT_EQUAL_FATAL(a->n, b->n);
  for (int64_t k = 0; k < a->n; k++)
    wrong += !same_batch(&a->at[k], &b->at[k]);
  if (wrong > 0)
    printf("%s: %lld of %lld batches differ\n", w->name, (long long)wrong, (long long)a->n);
  CU_ASSERT_EQUAL(wrong, 0);
  CU_ASSERT(a->n > 0);
}

/* Runs both in step, for so many steps at most; the batches are looked at when all is over. */
static void run_pair(struct world *w, mpisift_loader *host, mpisift_loader *device, int64_t steps)
{
  struct archive on_host = {0}, on_device = {0};
  mpisift_batch a, b;
  mpisift_status status;

  do {
    status = mpisift_loader_next(host, &a);
    CU_ASSERT_EQUAL_FATAL(mpisift_loader_next(device, &b), status);
    CU_ASSERT(same_stats(mpisift_loader_stats(host, MPISIFT_RUN), mpisift_loader_stats(device, MPISIFT_RUN)));
    if (status == MPISIFT_OK) {
      archive_add(&on_host, batch_copy(&a, 0, stream));
      archive_add(&on_device, batch_copy(&b, 1, stream));
    }
    CU_ASSERT_EQUAL(status < 0 ? status : MPISIFT_ERR_STATE, MPISIFT_ERR_STATE); /* the run is over */
  } while (status >= 0 && --steps > 0);
  CU_ASSERT_EQUAL(cudaStreamSynchronize(stream), cudaSuccess);
  compare_archives(w, &on_host, &on_device);
  archive_free(&on_host);
  archive_free(&on_device);
}

static void run(struct world w, int depth, int streams)
{
  struct tap taps[2] = {{.w = w}, {.w = w}};
  struct scorer scorer = {.w = &w, .score = world_score, .stream = stream};
  mpisift_source source = streams ? tap_source(&taps[0]) : source_with_references(&w);
  mpisift_source other = streams ? tap_source(&taps[1]) : source;
  mpisift_device device = device_of();
  mpisift_loader *a = NULL, *b = NULL;
  mpisift_ctx *ctx = open_world();
  mpisift_status status;

  w.config.pipeline_depth = depth;
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(ctx, &w.config, &source, world_score, &w, &a), MPISIFT_OK);
  status = mpisift_loader_create_cuda(ctx, &w.config, &other, score_later, &scorer, &device, &b);
  if (status != MPISIFT_OK)
    printf("%s\n", mpisift_error(ctx));
  CU_ASSERT_EQUAL_FATAL(status, MPISIFT_OK);
  run_pair(&w, a, b, w.config.epochs > 0 ? INT64_MAX : 40);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&a), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&b), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
  scorer_free(&scorer);
}

static void run_both(struct world w)
{
  run(w, 0, 0);
  run(w, 1, 0);
}

static struct world small(const char *name)
{
  struct world w = world_make(name, 300, 24);

  w.config.loss_history_length = 100;
  w.config.epochs = 2;
  return w;
}

static void carries(void)
{
  run_both(small("carry"));
}

static void other_ends(void)
{
  struct world w = small("flush");

  w.config.end_of_epoch = MPISIFT_FLUSH;
  run(w, 0, 0);
  w.name = "flush, padded";
  w.config.global_batch_size = 29;
  w.config.pad_last_batch = w.config.weights_applied = true;
  run_both(w);
  w.name = "drop";
  w.config.pad_last_batch = false;
  w.config.end_of_epoch = MPISIFT_DROP;
  run_both(w);
}

static void policies(void)
{
  static const char *const names[] = {"top", "importance", "importance_bound", "uncertainty", "reducible", "random"};
  struct world w = small("all");

  w.config.policy = "all";
  w.config.shuffle = false;
  run(w, 0, 0);
  w.config.shuffle = true;
  w.config.weights_applied = true;
  w.config.keep = 0.3;
  for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
    w.name = w.config.policy = names[k];
    w.narrow = k % 2;
    run(w, (int)k % 2, 0);
  }
  w.name = w.config.policy = "reducible_top";
  w.narrow = 1;
  run(w, 0, 0);
  w.name = w.config.policy = "absolute";
  w.config.threshold = 1.5;
  run(w, 1, 0);
}

static void modifiers(void)
{
  struct world w = small("modifiers");

  w.config.coverage_epochs = 3;
  w.config.outlier_share = 0.05;
  w.config.floor = 0.1;
  w.config.weights = MPISIFT_WEIGHTS_UNBIASED;
  w.config.weights_applied = true;
  w.config.weight_clip = 5;
  run(w, 0, 0);
  w.config.weights = MPISIFT_WEIGHTS_NORMALIZED;
  w.config.weight_clip = 0;
  w.config.sift_every = 2;
  w.config.full_data_tail = 0.3;
  run(w, 1, 0);
  w.name = "classes";
  w.config.sift_every = 1;
  w.config.groups = WORLD_GROUPS;
  w.config.class_floor = 0.15;
  w.config.schedule = (mpisift_schedule){MPISIFT_LINEAR, 2, {0.3, 0.9}, {2, 5}};
  run_both(w);
}

/* What is counted of the history: delays, bad losses, fits of bins, and rounds longer than the window. */
static void histories(void)
{
  struct world w = small("delay");

  w.config.sift_delay = 7;
  w.config.repeat_delay_per_epoch = true;
  run(w, 0, 0);
  w = small("bad");
  w.bad_mod = 11;
  w.config.bad_loss_share = 0.3;
  w.config.groups = WORLD_GROUPS;
  w.config.class_floor = 0.15;
  run_both(w);
  w.name = "flat";
  w.flat = 1;
  run(w, 0, 0);
  w = small("short window");
  w.config.loss_history_length = 20;
  w.config.groups = WORLD_GROUPS;
  w.config.class_floor = 0.1;
  run_both(w);
}

static void pieces_and_lanes(void)
{
  struct world w = small("blocks");

  w.block = 16;
  w.config.lanes = 12;
  w.config.score_batch_size = 5;
  run_both(w);
}

static void small_data(void)
{
  struct world w = small("5 samples");

  w.n = 5;
  w.config.end_of_epoch = MPISIFT_FLUSH;
  w.config.loss_history_length = 4;
  w.config.epochs = 4;
  run_both(w);
}

static void never_ends(void)
{
  struct world w = small("endless");

  w.config.epochs = 0;
  run_both(w);
}

static void streams(void)
{
  run(small("streams"), 0, 1);
  run(small("streams"), 1, 1);
}

/* Worlds in which samples wait, move and are padded. */
static void some_worlds(void)
{
  struct world w = small("carry");

  run_both(w);
  w.config.end_of_epoch = MPISIFT_FLUSH;
  w.config.global_batch_size = 29;
  w.config.groups = WORLD_GROUPS;
  w.config.class_floor = 0.15;
  run_both(w);
  run(w, 0, 1);
}

static void by_aware_mpi(void)
{
  transport = MPISIFT_TRANSPORT_CUDA_AWARE;
  aware = true;
  some_worlds();
  CU_ASSERT(aware_messages > 0 || test_size == 1);
  aware = false;
  transport = MPISIFT_TRANSPORT_HOST;
}

static void by_nccl(void)
{
#ifdef HAVE_NCCL
  transport = MPISIFT_TRANSPORT_NCCL;
  if (nccl_can())
    some_worlds();
  transport = MPISIFT_TRANSPORT_HOST;
#endif
  CU_PASS("or this build has no NCCL, or there are too few devices");
}

static int setup(void)
{
  return cudaStreamCreate(&stream) == cudaSuccess;
}

static const test_case tests[] = {{"carry", carries},         {"other ends", other_ends},
                                  {"policies", policies},     {"modifiers", modifiers},
                                  {"histories", histories},   {"pieces and lanes", pieces_and_lanes},
                                  {"small data", small_data}, {"endless", never_ends},
                                  {"streams", streams},       {"CUDA-aware MPI", by_aware_mpi},
                                  {"NCCL", by_nccl}};

int main(int argc, char **argv)
{
  if (have_device() && setup())
    return test_main(argc, argv, "device loader", tests, sizeof tests / sizeof tests[0]);
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
