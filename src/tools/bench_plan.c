/* mpisift bench plan: how long planning a batch takes, for ranks that need not be there. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "core/plan.h"
#include "core/random.h"
#include "tools/bench.h"
#include "tools/tool.h"

enum { BATCH, REPEATS };

/* Accepted samples of a batch, held by ranks drawn at random: most hold too many or too few. */
typedef struct virtual_batch {
  int64_t ranks, n;
  int *node;
  struct msift_ring owners;
  struct msift_plan plan;
  struct msift_memory memory;
  struct msift_error error;
} virtual_batch;

enum { RANKS_OF_A_NODE = 8 };

static bool create(virtual_batch *b, int64_t ranks, int64_t n)
{
  *b = (virtual_batch){.ranks = ranks, .n = n, .owners.size = sizeof(uint32_t)};
  b->node = calloc((size_t)ranks, sizeof *b->node);
  if (!b->node || msift_ring_reserve(&b->owners, &b->memory, &b->error, n) != MPISIFT_OK)
    return false;
  for (int64_t r = 0; r < ranks; r++)
    b->node[r] = (int)(r / RANKS_OF_A_NODE);
  for (int64_t i = 0; i < n; i++)
    *(uint32_t *)msift_ring_push(&b->owners) = (uint32_t)(msift_mix((uint64_t)i + 1) % (uint64_t)ranks);
  return msift_plan_init(&b->plan, &b->memory, &b->error, ranks, ranks / 2, b->node, msift_quota(n, ranks, 0)) ==
         MPISIFT_OK;
}

static void destroy(virtual_batch *b)
{
  msift_plan_destroy(&b->plan, &b->memory);
  msift_ring_destroy(&b->owners, &b->memory);
  free(b->node);
}

/* What the ranks hold beyond their quotas has to move. */
static bool lower_bound(const virtual_batch *b, int64_t *bound)
{
  int64_t *held = calloc((size_t)b->ranks, sizeof *held);

  *bound = 0;
  for (int64_t i = 0; held && i < b->n; i++)
    held[*(const uint32_t *)msift_ring_at(&b->owners, i)]++;
  for (int64_t r = 0; held && r < b->ranks; r++) {
    int64_t surplus = held[r] - msift_quota(b->n, b->ranks, r);

    *bound += surplus > 0 ? surplus : 0;
  }
  free(held);
  return held != NULL;
}

static int measure(bench_job *job, virtual_batch *b, double *samples, int64_t repeats)
{
  char prefix[BENCH_MAX_KEY];
  int64_t bound;

  if (!lower_bound(b, &bound))
    return bench_fail(job, "out of memory");
  for (int64_t i = 0; i < repeats; i++) {
    double begin = msift_seconds();

    msift_plan_make(&b->plan, &b->owners, b->n);
    samples[i] = msift_seconds() - begin;
  }
  if (b->plan.moved != bound || b->plan.n_transfers >= b->ranks)
    return bench_fail(job, "the plan of %lld ranks moves %lld samples in %lld messages, but %lld in fewer than %lld do",
                      (long long)b->ranks, (long long)b->plan.moved, (long long)b->plan.n_transfers, (long long)bound,
                      (long long)b->ranks);
  snprintf(prefix, sizeof prefix, "ranks_%lld", (long long)b->ranks);
  bench_put(job, prefix, "plan_us", 1e6 * bench_median(samples, repeats), "making the plan, on each rank");
  bench_put(job, prefix, "moved_share", (double)bound / (double)b->n, "samples that move: the fewest possible");
  bench_put(job, prefix, "messages", (double)b->plan.n_transfers, "messages of all ranks");
  return TOOL_OK;
}

static int run(bench_job *job)
{
  int64_t repeats = (int64_t)job->values[REPEATS];
  double *samples = calloc((size_t)repeats, sizeof *samples);
  int code = samples ? TOOL_OK : bench_fail(job, "out of memory");

  for (int64_t ranks = 4; ranks <= 8192 && code == TOOL_OK && job->rank == 0; ranks *= 2) {
    virtual_batch b;

    code = create(&b, ranks, ranks * (int64_t)job->values[BATCH]) ? measure(job, &b, samples, repeats)
                                                                  : bench_fail(job, "out of memory");
    destroy(&b);
  }
  free(samples);
  MPI_Bcast(&code, 1, MPI_INT, 0, job->comm);
  return code;
}

const benchmark bench_plan = {
    .name = "plan",
    .summary = "planning the exchange of a batch, for 4 to 8192 virtual ranks",
    .options = {{"batch", "N", 32, 1, 1e5, false, "samples a rank and step"},
                {"repeats", "K", 31, 1, 1e6, false, "plans of which the median counts"}},
    .run = run,
};
