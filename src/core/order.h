/* The order of an epoch, woven from lanes.
 *
 * The permuted blocks of the data set, one after the other, are cut into `lanes` equal runs (± 1 sample); each lane
 * shuffles its samples inside a window of a few blocks. Position q belongs to lane q mod lanes, and lane l to rank
 * l mod ranks. So any rank computes any position, and the order does not depend on the number of ranks. */
#ifndef MSIFT_CORE_ORDER_H
#define MSIFT_CORE_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/permutation.h"

struct msift_order {
  int64_t n, block, lanes, window; /* samples; samples a block; lanes; samples a window */
  bool shuffle;
  uint64_t seed;
  int64_t epoch;
  struct msift_permutation blocks;
  int64_t short_at; /* place of the data set's last, maybe short, block in the permuted order */
};

/* block: samples cheap to read together; made smaller where the data set has too few blocks for the lanes. */
struct msift_order msift_order_make(int64_t n, int64_t block, int64_t lanes, int64_t window, bool shuffle,
                                    uint64_t seed, int64_t epoch);

/* The id at a position, 0 <= position < n. */
int64_t msift_order_id(const struct msift_order *order, int64_t position);

/* The same, with the rounds of the blocks' permutation, or NULL. */
int64_t msift_order_id_tabled(const struct msift_order *order, const struct msift_rounds *rounds, int64_t position);

/* The ids at indices [w * window, (w + 1) * window) of a lane, or as far as that goes: index i of a lane is at position
 * i * lanes + lane. Of an order with windows. */
void msift_order_window(const struct msift_order *order, const struct msift_rounds *rounds, int64_t lane, int64_t w,
                        int64_t *ids);

/* Positions of ids: cheaply, where these come in turn, as those of a block and of a window share most of the work. */
struct msift_finder {
  const struct msift_order *order;
  bool tabled, window_tabled;      /* whether there are rounds of the blocks, and of the window */
  int64_t block, begin;            /* of the last id; and the place where it begins */
  int64_t lane, w;                 /* of the last id: its window */
  struct msift_permutation window; /* and the shuffle there */
  struct msift_rounds of_blocks, of_window;
};

void msift_finder_make(struct msift_finder *finder, const struct msift_order *order);
int64_t msift_finder_position(struct msift_finder *finder, int64_t id); /* 0 <= id < n */

/* Which of the first `end` positions belong to a rank: their number. Positions [a, b) hold count(b) − count(a). */
int64_t msift_lane_count(int64_t lanes, int64_t ranks, int64_t rank, int64_t end);

/* The largest such number over all ranks for positions [begin, end): every rank scores as often as that one. */
int64_t msift_lane_count_max(int64_t lanes, int64_t ranks, int64_t begin, int64_t end);

/* The next position >= position that belongs to a rank. */
int64_t msift_lane_next(int64_t lanes, int64_t ranks, int64_t rank, int64_t position);

#endif
