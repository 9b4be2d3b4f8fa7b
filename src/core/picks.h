/* The kept samples of an epoch as batches: where the sequence is cut, and who trains what. */
#ifndef MSIFT_CORE_PICKS_H
#define MSIFT_CORE_PICKS_H

#include <stdint.h>

#include <mpisift/mpisift.h>

/* A kept sample. */
struct msift_pick {
  int64_t at; /* position in the epoch; later its place in the sequence of kept samples, carried ones first */
  int64_t id, lane;
  float probability, weight, loss;
  int32_t epoch; /* in which it was drawn */
};

/* A sequence of kept samples in batches. */
struct msift_cut {
  int64_t steps;            /* batches, the last of which may be short */
  int64_t trained;          /* samples in these, the first of the sequence */
  int64_t carried, dropped; /* what is left */
};

/* Cut `total` samples into batches, at most `most` of them; what no batch takes then is dropped. */
struct msift_cut msift_cut_make(int64_t total, int64_t batch, mpisift_end end, int64_t most);

/* Seat the n samples of a batch: each on the rank of its lane, as long as that has room in its quota, and those of the
 * others, in their order, on the ranks with room left. So the samples away from their lane's rank are the fewest
 * possible. room: [ranks], to work in. */
void msift_seat(const struct msift_pick *picks, int64_t n, int64_t ranks, int64_t *room, int32_t *seats);

#endif
