#include "core/plan.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static mpisift_status new_counts(struct msift_memory *memory, struct msift_error *error, int64_t n, int64_t **counts)
{
  *counts = msift_alloc(memory, error, n, sizeof **counts);
  return *counts == NULL ? error->status : MPISIFT_OK;
}

static mpisift_status allocate(struct msift_plan *p, struct msift_memory *memory, struct msift_error *error)
{
  MSIFT_TRY(new_counts(memory, error, p->ranks, &p->by_node));
  MSIFT_TRY(new_counts(memory, error, p->ranks, &p->node));
  MSIFT_TRY(new_counts(memory, error, p->ranks, &p->held));
  MSIFT_TRY(new_counts(memory, error, p->ranks, &p->quota));
  MSIFT_TRY(new_counts(memory, error, p->ranks, &p->given));
  MSIFT_TRY(new_counts(memory, error, p->ranks, &p->taken));
  MSIFT_TRY(new_counts(memory, error, p->ranks, &p->incoming));
  MSIFT_TRY(msift_resize(memory, error, &p->transfers, p->ranks, sizeof *p->transfers));
  return msift_resize(memory, error, &p->rows, p->row_capacity, sizeof *p->rows);
}

struct place {
  int node;
  int64_t rank;
};

static int by_node_then_rank(const void *a, const void *b)
{
  const struct place *x = a, *y = b;

  if (x->node != y->node)
    return x->node < y->node ? -1 : 1;
  return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static mpisift_status sort_by_node(struct msift_plan *p, struct msift_memory *memory, struct msift_error *error,
                                   const int *node)
{
  struct place *places = msift_alloc(memory, error, p->ranks, sizeof *places);

  if (places == NULL)
    return error->status;
  for (int64_t r = 0; r < p->ranks; r++)
    places[r] = (struct place){node[r], r};
  qsort(places, (size_t)p->ranks, sizeof *places, by_node_then_rank);
  for (int64_t r = 0; r < p->ranks; r++) {
    p->by_node[r] = places[r].rank;
    p->node[r] = node[r];
  }
  msift_free(memory, &places);
  return MPISIFT_OK;
}

mpisift_status msift_plan_init(struct msift_plan *p, struct msift_memory *memory, struct msift_error *error,
                               int64_t ranks, int64_t rank, const int *node, int64_t row_capacity)
{
  memset(p, 0, sizeof *p);
  p->ranks = ranks;
  p->rank = rank;
  p->row_capacity = row_capacity;
  MSIFT_TRY(allocate(p, memory, error));
  return sort_by_node(p, memory, error, node);
}

void msift_plan_destroy(struct msift_plan *p, struct msift_memory *memory)
{
  msift_free(memory, &p->by_node);
  msift_free(memory, &p->node);
  msift_free(memory, &p->held);
  msift_free(memory, &p->quota);
  msift_free(memory, &p->given);
  msift_free(memory, &p->taken);
  msift_free(memory, &p->incoming);
  msift_free(memory, &p->transfers);
  msift_free(memory, &p->rows);
}

/* The owners of slots from one on, up to where the queue wraps around; *end: the first slot behind them, at most n. All
 * time of planning goes into walks through the owners. */
static const uint32_t *owners_from(const struct msift_ring *owners, int64_t slot, int64_t n, int64_t *end)
{
  int64_t wrap = owners->capacity - owners->first;

  *end = slot < wrap && wrap < n ? wrap : n;
  return msift_ring_at(owners, slot);
}

static void count_held(struct msift_plan *p, const struct msift_ring *owners, int64_t n)
{
  int64_t *held = p->held;

  memset(held, 0, (size_t)p->ranks * sizeof *held);
  for (int64_t begin = 0, end; begin < n; begin = end) {
    const uint32_t *owner = owners_from(owners, begin, n, &end);

    for (int64_t i = 0; i < end - begin; i++)
      held[owner[i]]++;
  }
}

static void set_quotas(struct msift_plan *p, int64_t n)
{
  p->moved = 0;
  p->n_transfers = 0;
  for (int64_t r = 0; r < p->ranks; r++) {
    p->quota[r] = msift_quota(n, p->ranks, r);
    p->given[r] = p->taken[r] = 0;
    p->incoming[r] = -1;
    p->moved += p->held[r] > p->quota[r] ? p->held[r] - p->quota[r] : 0;
  }
}

static void add_transfer(struct msift_plan *p, int64_t from, int64_t to, int64_t n)
{
  p->transfers[p->n_transfers] = (struct msift_transfer){from, to, p->quota[from] + p->given[from], n, p->taken[to]};
  if (to == p->rank)
    p->incoming[from] = p->n_transfers;
  p->given[from] += n;
  p->taken[to] += n;
  p->n_transfers++;
}

/* Match what is left of surplus and deficit among by_node[begin, end). */
static void match(struct msift_plan *p, int64_t begin, int64_t end)
{
  int64_t giver = begin, taker = begin;

  while (giver < end && taker < end) {
    int64_t from = p->by_node[giver], to = p->by_node[taker];
    int64_t surplus = p->held[from] - p->quota[from] - p->given[from];
    int64_t deficit = p->quota[to] - p->held[to] - p->taken[to];

    if (surplus > 0 && deficit > 0)
      add_transfer(p, from, to, surplus < deficit ? surplus : deficit);
    giver += surplus <= deficit || surplus <= 0;
    taker += deficit <= surplus || deficit <= 0;
  }
}

static void match_nodes(struct msift_plan *p)
{
  for (int64_t begin = 0, end; begin < p->ranks; begin = end) {
    for (end = begin + 1; end < p->ranks && p->node[p->by_node[end]] == p->node[p->by_node[begin]]; end++)
      continue;
    match(p, begin, end);
  }
  match(p, 0, p->ranks);
}

/* Pick this rank's rows among slots [begin, end) with their owners, in the order of slots, and count all samples seen
 * in p->held. */
static struct msift_row *pick_among(const struct msift_plan *p, const uint32_t *owner, int64_t begin, int64_t end,
                                    struct msift_row *row)
{
  int64_t mine = p->quota[p->rank], *held = p->held;

  for (int64_t slot = begin; slot < end; slot++, owner++) {
    int64_t index = held[*owner]++, via = p->incoming[*owner];

    if (*owner == p->rank && index < mine) {
      *row++ = (struct msift_row){slot, -1, index};
    } else if (via >= 0) {
      const struct msift_transfer *t = &p->transfers[via];
      if (index >= t->first && index < t->first + t->n)
        *row++ = (struct msift_row){slot, via, index - t->first};
    }
  }
  return row;
}

static void pick_rows(struct msift_plan *p, const struct msift_ring *owners, int64_t n)
{
  struct msift_row *row = p->rows;

  memset(p->held, 0, (size_t)p->ranks * sizeof *p->held);
  for (int64_t begin = 0, end; begin < n; begin = end) {
    const uint32_t *owner = owners_from(owners, begin, n, &end);

    row = pick_among(p, owner, begin, end, row);
  }
  p->n_rows = row - p->rows;
}

void msift_plan_make(struct msift_plan *p, const struct msift_ring *owners, int64_t n)
{
  count_held(p, owners, n);
  set_quotas(p, n);
  match_nodes(p);
  pick_rows(p, owners, n);
}
