#include "core/picks.h"

#include "core/plan.h"

struct msift_cut msift_cut_make(int64_t total, int64_t batch, mpisift_end end, int64_t most)
{
  int64_t all = end == MPISIFT_FLUSH ? (total + batch - 1) / batch : total / batch, left;
  struct msift_cut cut = {.steps = all < most ? all : most};

  cut.trained = cut.steps * batch < total ? cut.steps * batch : total;
  left = total - cut.trained;
  if (end == MPISIFT_CARRY && cut.steps == all)
    cut.carried = left;
  else
    cut.dropped = left;
  return cut;
}

void msift_seat(const struct msift_pick *picks, int64_t n, int64_t ranks, int64_t *room, int32_t *seats)
{
  int64_t next = 0;

  for (int64_t r = 0; r < ranks; r++)
    room[r] = msift_quota(n, ranks, r);
  for (int64_t i = 0; i < n; i++) {
    int64_t home = picks[i].lane % ranks;

    seats[i] = room[home] > 0 ? (int32_t)home : -1;
    room[home] -= room[home] > 0;
  }
  for (int64_t i = 0; i < n; i++) {
    if (seats[i] >= 0)
      continue;
    while (room[next] == 0)
      next++;
    seats[i] = (int32_t)next;
    room[next]--;
  }
}
