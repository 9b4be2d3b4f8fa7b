/* The ids of a rank's positions, as msift_order_id() has them: at less cost, as each lane's window is computed at a
 * time, when it is entered. */
#ifndef MSIFT_CORE_WALK_H
#define MSIFT_CORE_WALK_H

#include "base/memory.h"
#include "core/order.h"

struct msift_walk {
  int64_t ranks;
  int64_t epoch;               /* of what is held */
  int64_t window;              /* ids of a lane that are held; 0: none */
  int64_t n_lanes;             /* of this rank */
  int64_t *ids, *held;         /* [n_lanes][window]; [n_lanes]: which window, or −1 */
  struct msift_rounds *blocks; /* NULL: too many */
};

/* Make room, for orders that differ in their epoch only; once is enough. */
mpisift_status msift_walk_reserve(struct msift_walk *walk, const struct msift_order *order, int64_t ranks, int64_t rank,
                                  struct msift_memory *memory, struct msift_error *error);
void msift_walk_destroy(struct msift_walk *walk, struct msift_memory *memory);

/* The id at a position of this rank. */
int64_t msift_walk_id(struct msift_walk *walk, const struct msift_order *order, int64_t position);

#endif
