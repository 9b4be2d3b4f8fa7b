/* digest: one line for each of some worlds, with a hash of all that must not depend on the number of ranks: the global
 * batches, the decisions on pushed candidates, the counts, and the history, as the thresholds show it at the end of
 * each epoch. tests/digest.sh compares the lines of several numbers of ranks. */
#include <inttypes.h>

#include "pushing.h"

/* A sum of hashes, so that it does not matter which rank adds what. */
struct digest {
  uint64_t sum;
};

static void add(struct digest *d, const uint64_t *words, int n)
{
  uint64_t hash = 0;

  for (int i = 0; i < n; i++)
    hash = msift_mix(hash * 31 + words[i] + 1);
  d->sum += hash;
}

static uint64_t bits(double value)
{
  uint64_t word;

  memcpy(&word, &value, sizeof word);
  return isnan(value) ? 0 : word;
}

/* Every sample, with its place in the run. */
static void add_batch(struct digest *d, const mpisift_batch *b)
{
  for (int64_t i = 0; i < b->valid; i++)
    add(d,
        (const uint64_t[]){(uint64_t)b->serial, (uint64_t)b->epoch, (uint64_t)b->global_n, (uint64_t)b->slots[i],
                           (uint64_t)b->ids[i], (uint64_t)b->epochs[i], bits((double)b->losses[i]),
                           bits((double)b->probabilities[i]), bits((double)b->weights[i])},
        9);
}

/* What all ranks know, added once. */
static void add_stats(struct digest *d, const mpisift_stats *s, int64_t epoch)
{
  if (test_rank == 0)
    add(d,
        (const uint64_t[]){(uint64_t)epoch, (uint64_t)s->steps, (uint64_t)s->rounds, (uint64_t)s->candidates,
                           (uint64_t)s->scored, (uint64_t)s->accepted, (uint64_t)s->rejected, (uint64_t)s->outliers,
                           (uint64_t)s->trained, (uint64_t)s->carried_out, (uint64_t)s->refits, s->id_hash,
                           bits(s->threshold_loss[0]), bits(s->threshold_loss[1]), bits(s->threshold_loss[2])},
        15);
}

static void print(const char *kind, const char *name, struct digest d)
{
  MPI_Allreduce(MPI_IN_PLACE, &d.sum, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
  if (test_rank == 0)
    printf("digest %s, %s: %016" PRIx64 "\n", kind, name, d.sum);
}

/* Losses of training, for policies that go by stale ones. */
static void report(const struct world *w, mpisift_loader *loader, const mpisift_batch *b)
{
  float losses[64];

  for (int64_t i = 0; i < b->valid; i++)
    losses[i] = world_loss(w, b->ids[i], b->epoch);
  CU_ASSERT_EQUAL(mpisift_loader_report(loader, b->serial, 0, b->valid, losses), MPISIFT_OK);
}

static void digest_loader(struct world w, int depth)
{
  mpisift_source source = world_source(&w);
  mpisift_ctx *ctx = open_world();
  mpisift_loader *loader = NULL;
  struct digest d = {0};
  mpisift_batch batch;

  w.config.pipeline_depth = depth;
  CU_ASSERT_EQUAL_FATAL(mpisift_loader_create(ctx, &w.config, &source, world_score, &w, &loader), MPISIFT_OK);
  for (int64_t epoch = 0; epoch < w.config.epochs; epoch++) {
    mpisift_status status;
    mpisift_stats stats;

    while ((status = mpisift_loader_next(loader, &batch)) == MPISIFT_OK) {
      add_batch(&d, &batch);
      report(&w, loader, &batch);
    }
    CU_ASSERT_EQUAL_FATAL(status, MPISIFT_END_OF_EPOCH);
    stats = mpisift_loader_stats(loader, MPISIFT_EPOCH);
    add_stats(&d, &stats, epoch);
  }
  print(depth == 0 ? "loader" : "pipeline", w.name, d);
  CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

static void add_decisions(struct digest *d, const struct pushed *part, int64_t epoch, int64_t push)
{
  for (int64_t i = 0; i < part->n; i++)
    add(d,
        (const uint64_t[]){(uint64_t)epoch, (uint64_t)push, (uint64_t)part->positions[i], (uint64_t)part->accepted[i],
                           bits((double)part->probabilities[i]), bits((double)part->weights[i])},
        6);
}

static mpisift_status add_batches(struct digest *d, mpisift_sifter *sifter)
{
  mpisift_status status;
  mpisift_batch batch;

  while ((status = mpisift_sifter_next(sifter, &batch)) == MPISIFT_OK)
    add_batch(d, &batch);
  return status;
}

static void digest_epoch(const struct pushing *p, mpisift_sifter *sifter, int64_t epoch, struct digest *d)
{
  static struct pushed part;
  mpisift_stats stats;

  for (int64_t k = 0; k < PUSHES; k++) {
    push_part(p, epoch, k, 0, &part);
    CU_ASSERT_EQUAL_FATAL(mpisift_sifter_push(sifter, &part.candidates, &part.decisions), MPISIFT_OK);
    add_decisions(d, &part, epoch, k);
    CU_ASSERT_EQUAL_FATAL(add_batches(d, sifter), MPISIFT_MORE);
  }
  CU_ASSERT_EQUAL(mpisift_sifter_end_epoch(sifter), MPISIFT_OK);
  CU_ASSERT_EQUAL_FATAL(add_batches(d, sifter), MPISIFT_END_OF_EPOCH);
  stats = mpisift_sifter_stats(sifter, MPISIFT_EPOCH);
  add_stats(d, &stats, epoch);
}

static void digest_sifter(struct world w, enum spread spread)
{
  struct pushing p = pushing_make(w.name, 24);
  mpisift_pushes pushes;
  mpisift_ctx *ctx = open_world();
  mpisift_sifter *sifter = NULL;
  struct digest d = {0};

  p.w = w;
  p.spread = spread;
  p.n_fields = ALL_FIELDS;
  pushes = pushes_of(&p);
  CU_ASSERT_EQUAL_FATAL(mpisift_sifter_create(ctx, &p.w.config, &pushes, &sifter), MPISIFT_OK);
  for (int64_t epoch = 0; epoch < w.config.epochs; epoch++)
    digest_epoch(&p, sifter, epoch, &d);
  print(spread == ROUND_ROBIN ? "sifter" : "scattered", w.name, d);
  CU_ASSERT_EQUAL(mpisift_sifter_destroy(&sifter), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

static void digest_world(struct world w)
{
  digest_loader(w, 0);
  digest_loader(w, 1);
  digest_sifter(w, ROUND_ROBIN);
  digest_sifter(w, SCATTERED);
}

/* Policies that sifters do not have. */
static void digest_stale(const char *policy)
{
  struct world w = world_make(policy, 1500, 24);

  w.config.policy = policy;
  w.config.weights_applied = true;
  w.config.refresh_every = 2;
  digest_loader(w, 0);
  digest_loader(w, 1);
}

static void digest_worlds(void)
{
  struct world w = world_make("relative, carried over", 1500, 24);

  digest_world(w);
  w.name = "relative, flushed";
  w.config.end_of_epoch = MPISIFT_FLUSH;
  digest_world(w);
  w.name = "exact history";
  w.config.exact_history = true;
  digest_world(w);
  w.name = "class floor";
  w.config.groups = WORLD_GROUPS;
  w.config.class_floor = 0.15;
  digest_world(w);
  w.name = "schedule";
  w.config.exact_history = false;
  w.config.schedule = (mpisift_schedule){MPISIFT_LINEAR, 2, {0.3, 0.9}, {2, 5}};
  digest_world(w);
  w = world_make("top", 1500, 29);
  w.config.policy = "top";
  digest_world(w);
  w.name = "importance";
  w.config.policy = "importance_bound";
  w.config.weights_applied = true;
  digest_world(w);
  digest_stale("stale_relative");
  digest_stale("soft_prune");
  digest_stale("hide");
}

TEST_MAIN("digest", {"digests", digest_worlds})
