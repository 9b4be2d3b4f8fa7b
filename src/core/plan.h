/* Who gives which samples of a batch to whom: computed by every rank from the same global queue, without a message.
 *
 * A rank that holds more of the batch than its quota keeps its oldest samples and gives the others away; surplus and
 * deficit are matched greedily, inside a node first. So the samples moved are as few as can be, in at most ranks − 1
 * messages. */
#ifndef MSIFT_CORE_PLAN_H
#define MSIFT_CORE_PLAN_H

#include <stdint.h>

#include "base/ring.h"

struct msift_transfer {
  int64_t from, to;
  int64_t first; /* place among the giver's own samples of the batch */
  int64_t n;
  int64_t place; /* where the taker puts them among all that it receives */
};

struct msift_row {
  int64_t slot;     /* place in the global batch */
  int64_t transfer; /* by which the sample comes; −1: it is this rank's own */
  int64_t index;    /* among the rank's own samples of the batch, or inside the transfer */
};

struct msift_plan {
  int64_t ranks, rank;
  int64_t *by_node;                 /* [ranks]: ranks, those of one node together */
  int64_t *node;                    /* [ranks] */
  int64_t *held;                    /* [ranks]: samples of the batch each rank holds */
  int64_t *quota;                   /* [ranks] */
  int64_t *given;                   /* [ranks]: of a rank's surplus, already matched */
  int64_t *taken;                   /* [ranks]: of a rank's deficit, already matched */
  int64_t *incoming;                /* [ranks]: the transfer from each rank to this one, or −1 */
  struct msift_transfer *transfers; /* [ranks] */
  struct msift_row *rows;           /* [row_capacity]: this rank's batch, slots ascending */
  int64_t n_transfers, n_rows, row_capacity, moved;
};

/* node[r]: any number that ranks of one node share. row_capacity: the largest quota. */
mpisift_status msift_plan_init(struct msift_plan *plan, struct msift_memory *memory, struct msift_error *error,
                               int64_t ranks, int64_t rank, const int *node, int64_t row_capacity);
void msift_plan_destroy(struct msift_plan *plan, struct msift_memory *memory);

/* The share of rank r of n samples: as equal as can be, ranks with one more first. */
static inline int64_t msift_quota(int64_t n, int64_t ranks, int64_t r)
{
  return n / ranks + (r < n % ranks);
}

/* Plan a batch of n samples; item i of `owners` (uint32_t) is the rank that holds the sample of slot i. */
void msift_plan_make(struct msift_plan *plan, const struct msift_ring *owners, int64_t n);

#endif
