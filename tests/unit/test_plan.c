/* Plans of batches, run as every rank: all samples arrive, no more move than must, and all ranks plan alike. */
#include <stdlib.h>
#include <string.h>

#include "core/plan.h"
#include "draw.h"
#include "testing.h"

/* A batch: who holds each slot, and the node of each rank. */
struct batch {
  int64_t ranks, n;
  int *node;
  uint32_t *owner;
  struct msift_ring owners;
  struct msift_memory memory;
  struct msift_error error;
};

/* All ranks' plans of a batch. */
struct plans {
  struct batch *batch;
  struct msift_plan *of;
};

static struct batch batch_new(int64_t ranks, int64_t n, int64_t nodes, struct draw *d)
{
  struct batch b = {.ranks = ranks, .n = n};

  b.node = malloc((size_t)ranks * sizeof *b.node);
  b.owner = malloc((size_t)(n + 1) * sizeof *b.owner);
  CU_ASSERT_FATAL(b.node != NULL && b.owner != NULL);
  for (int64_t r = 0; r < ranks; r++)
    b.node[r] = (int)draw_below(d, nodes) * 3;
  return b;
}

/* A queue like the pool's, of n owners and some more behind them, that wraps around at its end: a few oldest ones have
 * been popped. */
static void fill_queue(struct batch *b, struct draw *d)
{
  int64_t behind = draw_below(d, 5), popped;

  b->owners = (struct msift_ring){.size = sizeof(uint32_t)};
  CU_ASSERT_EQUAL(msift_ring_reserve(&b->owners, &b->memory, &b->error, b->n + behind + 1), MPISIFT_OK);
  popped = draw_below(d, b->owners.capacity);
  for (int64_t i = 0; i < popped; i++)
    memset(msift_ring_push(&b->owners), 0xff, sizeof(uint32_t));
  msift_ring_pop(&b->owners, popped);
  for (int64_t i = 0; i < b->n + behind; i++)
    memcpy(msift_ring_push(&b->owners), i < b->n ? &b->owner[i] : &(uint32_t){0}, sizeof(uint32_t));
}

static void batch_free(struct batch *b)
{
  msift_ring_destroy(&b->owners, &b->memory);
  CU_ASSERT_EQUAL(b->memory.blocks, 0);
  CU_ASSERT_EQUAL(b->error.status, MPISIFT_OK);
  free(b->node);
  free(b->owner);
}

static struct plans plans_new(struct batch *b, int64_t row_capacity)
{
  struct plans p = {b, calloc((size_t)b->ranks, sizeof *p.of)};

  CU_ASSERT_PTR_NOT_NULL_FATAL(p.of);
  for (int64_t r = 0; r < b->ranks; r++)
    CU_ASSERT_EQUAL_FATAL(msift_plan_init(&p.of[r], &b->memory, &b->error, b->ranks, r, b->node, row_capacity),
                          MPISIFT_OK);
  return p;
}

static void plans_free(struct plans *p)
{
  for (int64_t r = 0; r < p->batch->ranks; r++)
    msift_plan_destroy(&p->of[r], &p->batch->memory);
  free(p->of);
}

static int64_t quota_of(const struct batch *b, int64_t rank)
{
  return b->n / b->ranks + (rank < b->n % b->ranks ? 1 : 0);
}

/* Fewest moves to meet the quotas of ranks, or where `by_node` is set, those that must cross nodes. */
static int64_t lower_bound(const struct batch *b, bool by_node)
{
  int64_t *surplus = calloc((size_t)(3 * b->ranks + 1), sizeof *surplus), moves = 0;

  CU_ASSERT_PTR_NOT_NULL_FATAL(surplus);
  for (int64_t i = 0; i < b->n; i++)
    surplus[by_node ? b->node[b->owner[i]] : (int64_t)b->owner[i]]++;
  for (int64_t r = 0; r < b->ranks; r++)
    surplus[by_node ? b->node[r] : r] -= quota_of(b, r);
  for (int64_t k = 0; k <= 3 * b->ranks; k++)
    moves += surplus[k] > 0 ? surplus[k] : 0;
  free(surplus);
  return moves;
}

/* Each giver gives away a run that begins behind its quota, each taker fills its places in a row; both without a gap.
 */
static int64_t wrong_transfers(const struct batch *b, const struct msift_plan *p)
{
  int64_t *given = calloc((size_t)b->ranks, sizeof *given), *taken = calloc((size_t)b->ranks, sizeof *taken);
  int64_t wrong = p->n_transfers > b->ranks - 1, moved = 0, crossed = 0;

  CU_ASSERT_FATAL(given != NULL && taken != NULL);
  for (int64_t t = 0; t < p->n_transfers; t++) {
    const struct msift_transfer *x = &p->transfers[t];

    wrong += x->n < 1 || x->from == x->to;
    wrong += x->first != quota_of(b, x->from) + given[x->from] || x->place != taken[x->to];
    given[x->from] += x->n;
    taken[x->to] += x->n;
    moved += x->n;
    crossed += b->node[x->from] != b->node[x->to] ? x->n : 0;
  }
  wrong += moved != p->moved || moved != lower_bound(b, false) || crossed != lower_bound(b, true);
  free(given);
  free(taken);
  return wrong;
}

/* The rows of a rank: ascending, its quota of them, each from who holds it. Marks the slots it gets. */
static int64_t wrong_rows(const struct batch *b, const struct msift_plan *p, unsigned char *met)
{
  int64_t wrong = p->n_rows != quota_of(b, p->rank), *seen = calloc((size_t)b->ranks, sizeof *seen), slot = 0;

  CU_ASSERT_PTR_NOT_NULL_FATAL(seen);
  for (int64_t i = 0; i < p->n_rows; i++) {
    const struct msift_row *row = &p->rows[i];
    const struct msift_transfer *x = row->transfer < 0 ? NULL : &p->transfers[row->transfer];
    int64_t first = x == NULL ? 0 : x->first;

    if (row->slot < slot || row->slot >= b->n || row->transfer >= p->n_transfers || met[row->slot]++) {
      wrong++;
      continue;
    }
    for (; slot < row->slot; slot++)
      seen[b->owner[slot]]++;
    wrong += b->owner[slot] != (x == NULL ? p->rank : x->from) || (x != NULL && x->to != p->rank);
    wrong += seen[b->owner[slot]] != first + row->index || (x != NULL && row->index >= x->n);
    seen[b->owner[slot++]]++;
  }
  free(seen);
  return wrong;
}

/* Plan as every rank, `stride` apart, and check what they get. */
static int64_t wrong_plans(const struct plans *p, int64_t stride)
{
  const struct batch *b = p->batch;
  unsigned char *met = calloc((size_t)(b->n + 1), 1);
  int64_t wrong = 0;

  CU_ASSERT_PTR_NOT_NULL_FATAL(met);
  for (int64_t r = 0; r < b->ranks; r += stride) {
    struct msift_plan *plan = &p->of[r];

    msift_plan_make(plan, &b->owners, b->n);
    wrong += wrong_rows(b, plan, met);
    wrong += plan->n_transfers != p->of[0].n_transfers || plan->moved != p->of[0].moved ||
             memcmp(plan->transfers, p->of[0].transfers, (size_t)plan->n_transfers * sizeof *plan->transfers) != 0;
  }
  wrong += wrong_transfers(b, &p->of[0]);
  for (int64_t slot = 0; slot < b->n && stride == 1; slot++)
    wrong += met[slot] != 1;
  free(met);
  return wrong;
}

static int64_t wrong_batch(struct batch *b, struct draw *d)
{
  struct plans p = plans_new(b, (b->n + b->ranks - 1) / b->ranks);
  int64_t wrong;

  fill_queue(b, d);
  wrong = wrong_plans(&p, 1);
  plans_free(&p);
  return wrong;
}

/* Ways to hold a batch: evenly dealt, by chance, skewed, on few ranks, in runs. */
static uint32_t draw_owner(struct draw *d, int kind, int64_t ranks, int64_t slot)
{
  switch (kind) {
  case 0:
    return (uint32_t)(slot % ranks);
  case 1:
    return (uint32_t)draw_below(d, ranks);
  case 2:
    return (uint32_t)((double)ranks * pow(draw_unit(d), 4));
  case 3:
    return (uint32_t)(ranks - 1 - draw_below(d, ranks < 3 ? ranks : 3));
  default:
    return (uint32_t)(slot / 7 % ranks);
  }
}

enum { KINDS = 5 };

static struct batch draw_batch(struct draw *d, int64_t ranks, int64_t n, int kind)
{
  struct batch b = batch_new(ranks, n, 1 + draw_below(d, ranks), d);

  for (int64_t i = 0; i < n; i++)
    b.owner[i] = draw_owner(d, kind, ranks, i);
  return b;
}

static void random_batches(void)
{
  struct draw d = {UINT64_C(2024)};

  for (int trial = 0; trial < 2000; trial++) {
    int64_t ranks = trial % 10 == 9 ? 1 + draw_below(&d, 64) : 1 + draw_below(&d, 12);
    struct batch b = draw_batch(&d, ranks, draw_below(&d, 8 * ranks + 2), trial % KINDS);

    CU_ASSERT_EQUAL(wrong_batch(&b, &d), 0);
    batch_free(&b);
  }
}

static void one_rank_holds_everything(void)
{
  struct draw d = {UINT64_C(4)};

  for (int64_t ranks = 1; ranks <= 64; ranks += 9)
    for (int64_t holder = 0; holder < ranks; holder += 3) {
      struct batch b = batch_new(ranks, 3 * ranks + 1, 1 + draw_below(&d, ranks), &d);

      for (int64_t i = 0; i < b.n; i++)
        b.owner[i] = (uint32_t)holder;
      CU_ASSERT_EQUAL(wrong_batch(&b, &d), 0);
      batch_free(&b);
    }
}

static void many_ranks(void)
{
  struct draw d = {UINT64_C(512)};

  for (int kind = 1; kind < KINDS; kind += 2) {
    struct batch b = draw_batch(&d, 512, 1027, kind);

    CU_ASSERT_EQUAL(wrong_batch(&b, &d), 0);
    batch_free(&b);
  }
}

/* Only some of so many ranks plan. */
static void very_many_ranks(void)
{
  struct draw d = {UINT64_C(8192)};
  struct batch b = draw_batch(&d, 8192, 20000, 2);
  struct plans p = {&b, calloc(8192, sizeof *p.of)};

  CU_ASSERT_PTR_NOT_NULL_FATAL(p.of);
  fill_queue(&b, &d);
  for (int64_t r = 0; r < b.ranks; r += 256)
    CU_ASSERT_EQUAL_FATAL(msift_plan_init(&p.of[r], &b.memory, &b.error, b.ranks, r, b.node, 3), MPISIFT_OK);
  CU_ASSERT_EQUAL(wrong_plans(&p, 256), 0);
  plans_free(&p);
  batch_free(&b);
}

/* One plan serves all steps of a run: sizes and owners change, nothing of the last batch stays. */
static void plans_are_made_again(void)
{
  struct draw d = {UINT64_C(6)};
  struct batch b = draw_batch(&d, 7, 60, 1);
  struct plans p = plans_new(&b, 9);

  for (int step = 0; step < 200; step++) {
    b.n = draw_below(&d, 61);
    for (int64_t i = 0; i < b.n; i++)
      b.owner[i] = draw_owner(&d, step % KINDS, b.ranks, i);
    fill_queue(&b, &d);
    CU_ASSERT_EQUAL(wrong_plans(&p, 1), 0);
    msift_ring_destroy(&b.owners, &b.memory);
  }
  plans_free(&p);
  batch_free(&b);
}

/* The fewest moves over all ways to deal the slots by quotas, tried one by one. */
static int64_t fewest_moves(const struct batch *b, int64_t slot, int64_t *got)
{
  int64_t fewest = b->n;

  if (slot == b->n)
    return 0;
  for (int64_t r = 0; r < b->ranks; r++) {
    int64_t moves;

    if (got[r] == quota_of(b, r))
      continue;
    got[r]++;
    moves = (b->owner[slot] != r) + fewest_moves(b, slot + 1, got);
    got[r]--;
    fewest = moves < fewest ? moves : fewest;
  }
  return fewest;
}

static void no_plan_moves_less(void)
{
  struct draw d = {UINT64_C(9)};

  for (int trial = 0; trial < 300; trial++) {
    struct batch b = draw_batch(&d, 1 + draw_below(&d, 4), draw_below(&d, 8), 1 + trial % (KINDS - 1));
    int64_t got[4] = {0};

    CU_ASSERT_EQUAL(wrong_batch(&b, &d), 0);
    CU_ASSERT_EQUAL(lower_bound(&b, false), fewest_moves(&b, 0, got));
    batch_free(&b);
  }
}

/* By hand: rank 1 keeps its two oldest and gives the others, first to rank 3 on its node, then to rank 0. */
static void node_first_by_hand(void)
{
  static const uint32_t owner[] = {1, 1, 2, 1, 1, 2, 1, 3};
  struct draw d = {UINT64_C(1)};
  struct batch b = batch_new(4, 8, 1, &d);
  struct plans p;

  memcpy(b.owner, owner, sizeof owner);
  b.node[0] = b.node[2] = 0;
  b.node[1] = b.node[3] = 1;
  p = plans_new(&b, 2);
  fill_queue(&b, &d);
  CU_ASSERT_EQUAL(wrong_plans(&p, 1), 0);
  CU_ASSERT_EQUAL(p.of[0].n_transfers, 2);
  CU_ASSERT_EQUAL(p.of[0].transfers[0].to, 3);
  CU_ASSERT_EQUAL(p.of[0].transfers[0].n, 1);
  CU_ASSERT_EQUAL(p.of[0].transfers[1].to, 0);
  CU_ASSERT_EQUAL(p.of[0].transfers[1].n, 2);
  CU_ASSERT(p.of[1].rows[0].slot == 0 && p.of[1].rows[1].slot == 1);
  CU_ASSERT(p.of[0].rows[0].slot == 4 && p.of[0].rows[1].slot == 6);
  CU_ASSERT(p.of[3].rows[0].slot == 3 && p.of[3].rows[1].slot == 7);
  plans_free(&p);
  batch_free(&b);
}

static void quotas(void)
{
  int64_t wrong = 0;

  for (int64_t ranks = 1; ranks <= 40; ranks++)
    for (int64_t n = 0; n < 130; n++) {
      int64_t sum = 0;

      for (int64_t r = 0; r < ranks; r++) {
        sum += msift_quota(n, ranks, r);
        wrong += r > 0 && msift_quota(n, ranks, r) > msift_quota(n, ranks, r - 1);
      }
      wrong += sum != n || msift_quota(n, ranks, 0) - msift_quota(n, ranks, ranks - 1) > 1;
    }
  CU_ASSERT_EQUAL(wrong, 0);
}

/* Whichever allocation fails, what was there is released. */
static void allocations_fail(void)
{
  static const int node[] = {0, 0, 1, 1};
  struct msift_plan plan;
  int64_t failures = 0;

  for (int64_t k = 1; k < 100; k++) {
    struct msift_memory memory = {.fail_after = k};
    struct msift_error error = {0};
    mpisift_status status = msift_plan_init(&plan, &memory, &error, 4, 1, node, 8);

    msift_plan_destroy(&plan, &memory);
    CU_ASSERT_EQUAL(memory.blocks, 0);
    if (status == MPISIFT_OK)
      break;
    CU_ASSERT_EQUAL(status, MPISIFT_ERR_MEMORY);
    failures++;
  }
  CU_ASSERT(failures >= 9 && failures < 99);
}

TEST_MAIN("plan", {"random batches", random_batches}, {"one rank holds everything", one_rank_holds_everything},
          {"many ranks", many_ranks}, {"very many ranks", very_many_ranks},
          {"plans are made again", plans_are_made_again}, {"no plan moves less", no_plan_moves_less},
          {"node first, by hand", node_first_by_hand}, {"quotas", quotas}, {"allocations fail", allocations_fail})
