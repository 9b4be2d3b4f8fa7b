/* Pool and plan of up to 8192 virtual ranks in one process, over the steps of a run: every accepted sample is delivered
 * once, every rank gets its quota, no more moves than must, and what waits is bounded. test_plan has the plans of all
 * ranks for single batches. Run by hand it prints a table. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "core/plan.h"
#include "core/pool.h"
#include "draw.h"
#include "testing.h"

/* Who is accepted: by chance; by chance at rates from 0 to 2 keep, by rank; all candidates of one rank; all of every
 * eighth round, and none of the others. */
enum kind { INDEPENDENT, SKEWED, ONE_RANK, BURSTS };

struct job {
  enum kind kind;
  int64_t ranks, batch; /* batch: samples a rank and step */
  double keep;
  int64_t steps;
  int64_t lanes;            /* 0: as many as ranks */
  int64_t n, round;         /* of all ranks */
  struct msift_pool *pools; /* owners: of pools[0] */
  struct msift_plan plan;
  struct draw draw;
  struct msift_memory memory;
  struct msift_error error;
  int64_t candidates, rounds, accepted, trained, moved, messages, most_messages, most_pooled, wrong;
  uint64_t sum_in, sum_out; /* squares of the positions of accepted and of delivered samples */
  double seconds;           /* of the fastest plan of a rank */
};

static int is_accepted(struct job *j, int64_t rank)
{
  switch (j->kind) {
  case SKEWED:
    return draw_unit(&j->draw) < 2 * j->keep * (double)rank / (double)(j->ranks - 1);
  case ONE_RANK:
    return rank == j->ranks / 2;
  case BURSTS:
    return j->rounds % 8 == 7;
  default:
    return draw_unit(&j->draw) < j->keep;
  }
}

/* A round as the loader makes it: none begins while the pool holds a batch; position q belongs to lane q mod L, lane l
 * to rank l mod P. */
static void run_round(struct job *j)
{
  struct msift_ring *owners = &j->pools[0].owners;
  int64_t before = owners->n;

  j->wrong += before >= j->n;
  j->wrong += msift_ring_reserve(owners, &j->memory, &j->error, j->round) != MPISIFT_OK;
  for (int64_t i = 0; i < j->round; i++, j->candidates++) {
    uint32_t rank = (uint32_t)(j->candidates % j->lanes % j->ranks);
    struct msift_ring *records = &j->pools[rank].records;

    if (!is_accepted(j, rank))
      continue;
    memcpy(msift_ring_push(owners), &rank, sizeof rank);
    j->wrong += msift_ring_reserve(records, &j->memory, &j->error, 1) != MPISIFT_OK;
    memcpy(msift_ring_push(records), &j->candidates, sizeof j->candidates);
    j->sum_in += (uint64_t)j->candidates * (uint64_t)j->candidates;
  }
  j->rounds++;
  j->accepted += owners->n - before;
  j->most_pooled = owners->n > j->most_pooled ? owners->n : j->most_pooled;
}

/* Deliver `n` samples of a rank from its `first`-th on. */
static void deliver(struct job *j, int64_t rank, int64_t first, int64_t n)
{
  const struct msift_ring *records = &j->pools[rank].records;

  for (int64_t i = first; i < first + n; i++) {
    uint64_t position = *(const uint64_t *)msift_ring_at(records, i);

    j->sum_out += position * position;
  }
  j->trained += n;
}

/* Carry out the plan on all ranks' records. held, got: [ranks], zero at first. */
static void exchange(struct job *j, int64_t *held, int64_t *got)
{
  const struct msift_plan *p = &j->plan;
  int64_t least = 0;

  for (int64_t i = 0; i < j->n; i++)
    held[*(const uint32_t *)msift_ring_at(&j->pools[0].owners, i)]++;
  for (int64_t r = 0; r < j->ranks; r++) {
    got[r] = held[r] < j->batch ? held[r] : j->batch;
    deliver(j, r, 0, got[r]);
    least += held[r] - got[r];
  }
  for (int64_t t = 0; t < p->n_transfers; t++) {
    const struct msift_transfer *x = &p->transfers[t];

    j->wrong += x->first + x->n > held[x->from];
    deliver(j, x->from, x->first, x->n);
    got[x->to] += x->n;
  }
  for (int64_t r = 0; r < j->ranks; r++) {
    j->wrong += got[r] != j->batch;
    msift_ring_pop(&j->pools[r].records, held[r]);
  }
  j->wrong += p->moved != least || p->n_transfers > j->ranks - 1;
}

static void run_step(struct job *j)
{
  int64_t *counts;
  double begin;

  while (j->pools[0].owners.n < j->n)
    run_round(j);
  counts = calloc((size_t)(2 * j->ranks), sizeof *counts);
  CU_ASSERT_PTR_NOT_NULL_FATAL(counts);
  begin = msift_seconds();
  msift_plan_make(&j->plan, &j->pools[0].owners, j->n);
  j->seconds = fmin(j->seconds, msift_seconds() - begin);
  exchange(j, counts, counts + j->ranks);
  msift_ring_pop(&j->pools[0].owners, j->n);
  j->moved += j->plan.moved;
  j->messages += j->plan.n_transfers;
  j->most_messages = j->plan.n_transfers > j->most_messages ? j->plan.n_transfers : j->most_messages;
  free(counts);
}

static void open_job(struct job *j)
{
  int *node = malloc((size_t)j->ranks * sizeof *node);

  j->n = j->ranks * j->batch;
  j->seconds = INFINITY;
  j->lanes = j->lanes > 0 ? j->lanes : j->ranks;
  j->round = (int64_t)ceil((double)j->n / j->keep);
  j->draw.state = (uint64_t)(j->ranks * 1000 + j->batch);
  j->pools = calloc((size_t)j->ranks, sizeof *j->pools);
  CU_ASSERT_FATAL(node != NULL && j->pools != NULL);
  j->pools[0].owners.size = sizeof(uint32_t);
  for (int64_t r = 0; r < j->ranks; r++) {
    node[r] = (int)(r / 8);
    j->pools[r].records.size = sizeof(int64_t);
  }
  CU_ASSERT_EQUAL_FATAL(msift_plan_init(&j->plan, &j->memory, &j->error, j->ranks, 0, node, j->batch), MPISIFT_OK);
  free(node);
}

/* What is left in the pool counts as delivered for the sums. */
static void close_job(struct job *j)
{
  int64_t left = 0;

  for (int64_t r = 0; r < j->ranks; r++) {
    left += j->pools[r].records.n;
    deliver(j, r, 0, j->pools[r].records.n);
    msift_ring_destroy(&j->pools[r].records, &j->memory);
  }
  CU_ASSERT_EQUAL(left, j->pools[0].owners.n);
  CU_ASSERT_EQUAL(j->trained, j->accepted);
  CU_ASSERT_EQUAL(j->trained - left, j->steps * j->n);
  CU_ASSERT_EQUAL(j->sum_in, j->sum_out);
  msift_ring_destroy(&j->pools[0].owners, &j->memory);
  msift_plan_destroy(&j->plan, &j->memory);
  free(j->pools);
  CU_ASSERT_EQUAL(j->memory.blocks, 0);
  CU_ASSERT_EQUAL(j->wrong, 0);
}

/* The share that moves where acceptance is independent: with b the binomial distribution of B/keep candidates,
 * (1 - keep) b(B) by de Moivre, which is sqrt((1 - keep) / (2 pi B)) for large B; and as the ranks' numbers add up to
 * the batch, sqrt(1 - 1/P) of it. */
static double expected_share(const struct job *j)
{
  double m = (double)j->batch / j->keep, b = (double)j->batch;
  double log_b = lgamma(m + 1) - lgamma(b + 1) - lgamma(m - b + 1) + b * log(j->keep) + (m - b) * log(1 - j->keep);

  return (1 - j->keep) * exp(log_b) * sqrt(1 - 1 / (double)j->ranks);
}

static double normal_share(const struct job *j)
{
  return 0.399 * sqrt((1 - j->keep) / (double)j->batch) * sqrt(1 - 1 / (double)j->ranks);
}

/* Returns the share moved. */
static double run(struct job j)
{
  static const char *const names[] = {"independent", "skewed", "one rank", "bursts"};
  static int lines;
  char expected[16] = "-";
  double share;

  open_job(&j);
  for (int64_t step = 0; step < j.steps; step++)
    run_step(&j);
  share = (double)j.moved / (double)(j.steps * j.n);
  if (lines++ == 0)
    printf("accepted     ranks  lanes  batch  keep  moved%%  expected  messages   most  pooled/batch  plan, us\n");
  if (j.kind == INDEPENDENT)
    snprintf(expected, sizeof expected, "%.2f", 100 * expected_share(&j));
  printf("%-11s  %5d  %5d  %5d  %4.2f  %6.2f  %8s  %8.1f  %5d  %12.2f  %8.0f\n", names[j.kind], (int)j.ranks,
         (int)j.lanes, (int)j.batch, j.keep, 100 * share, expected, (double)j.messages / (double)j.steps,
         (int)j.most_messages, (double)j.most_pooled / (double)j.n, 1e6 * j.seconds);
  CU_ASSERT(j.most_pooled <= j.n - 1 + j.round);
  close_job(&j);
  return share;
}

/* So many steps that chance moves the share by about 1 %. */
static struct job independent(int64_t ranks, int64_t batch, double keep)
{
  return (struct job){INDEPENDENT, ranks, batch, keep, .steps = 3 + 20000 / ranks};
}

static void moves_as_expected(void)
{
  static const int64_t ranks[] = {4, 32, 256, 2048, 8192};

  for (size_t i = 0; i < sizeof ranks / sizeof ranks[0]; i++)
    for (int64_t batch = 32; batch <= (ranks[i] > 256 ? 32 : 128); batch *= 4)
      for (double keep = 0.25; keep <= 0.5; keep *= 2) {
        struct job job = independent(ranks[i], batch, keep);
        double share = run(job);

        CU_ASSERT_DOUBLE_EQUAL(share / expected_share(&job), 1, 0.04);
        CU_ASSERT_DOUBLE_EQUAL(share / normal_share(&job), 1, 0.05);
      }
}

static void small_batches_move_as_expected(void)
{
  for (int64_t batch = 1; batch <= 16; batch *= 4) {
    struct job job = independent(512, batch, 0.25);

    CU_ASSERT_DOUBLE_EQUAL(run(job) / expected_share(&job), 1, 0.04);
  }
}

/* 240 lanes over 64 ranks: 48 ranks read four and 16 read three, and what the former have more moves too. */
static void uneven_lanes_move_more(void)
{
  double uneven = run((struct job){INDEPENDENT, 64, 256, 0.25, .steps = 300, .lanes = 240});
  double even = run((struct job){INDEPENDENT, 64, 256, 0.25, .steps = 300, .lanes = 256});

  CU_ASSERT(even < 0.03 && uneven > 0.05);
}

static void skewed_losses(void)
{
  run((struct job){SKEWED, 4, 32, 0.25, .steps = 100});
  run((struct job){SKEWED, 8192, 32, 0.25, .steps = 3});
}

/* One rank gives all the others theirs, in a message to each. */
static void one_rank_accepts_everything(void)
{
  for (int64_t ranks = 2; ranks <= 512; ranks *= 4) {
    double share = run((struct job){ONE_RANK, ranks, 3, 0.25, .steps = 5});

    CU_ASSERT_DOUBLE_EQUAL(share, 1 - 1 / (double)ranks, 1e-12);
  }
}

static void nothing_is_accepted_for_long(void)
{
  run((struct job){BURSTS, 8, 32, 0.3, .steps = 200});
  run((struct job){BURSTS, 8192, 8, 0.3, .steps = 8});
}

TEST_MAIN("scale", {"moves as expected", moves_as_expected},
          {"small batches move as expected", small_batches_move_as_expected},
          {"uneven lanes move more", uneven_lanes_move_more}, {"skewed losses", skewed_losses},
          {"one rank accepts everything", one_rank_accepts_everything},
          {"nothing is accepted for long", nothing_is_accepted_for_long})
