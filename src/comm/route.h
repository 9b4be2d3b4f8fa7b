/* Records in bulk from every leader to every other: once an epoch, not in a step. */
#ifndef MSIFT_COMM_ROUTE_H
#define MSIFT_COMM_ROUTE_H

#include "comm/team.h"

/* Bytes of a message: more travel in several, as MPI counts in ints. */
enum { MSIFT_MESSAGE_MOST = 1 << 30 };

/* Tell every leader how many records it will get: counts by rank, [size]. Collective over the leaders, as all below;
 * no-ops on other ranks. */
mpisift_status msift_route_counts(const struct msift_team *team, const int64_t *sent, int64_t *received,
                                  struct msift_error *error);

/* Move records of `size` bytes, those for (from) a lower rank first, in messages of at most `most` bytes. */
mpisift_status msift_route(const struct msift_team *team, size_t size, size_t most, const void *send,
                           const int64_t *sent, void *receive, const int64_t *received, struct msift_error *error);

/* Of the values, at least 0, of all lower ranks: the sum, 0 on the lowest; the largest, −1 there. */
mpisift_status msift_route_sum_before(const struct msift_team *team, int64_t value, int64_t *sum,
                                      struct msift_error *error);
mpisift_status msift_route_most_before(const struct msift_team *team, int64_t value, int64_t *most,
                                       struct msift_error *error);

/* All leaders' items of 8 bytes, those of a lower rank first; counts and the places where they begin are by rank. */
mpisift_status msift_route_gather(const struct msift_team *team, const int64_t *items, const int *counts,
                                  const int *begins, int64_t *all, struct msift_error *error);

#endif
