/* The kept samples of an epoch as batches: cuts add up, every seat is taken, and as few as can be leave their lane's
 * rank. */
#include <stdlib.h>
#include <string.h>

#include "core/picks.h"
#include "core/plan.h"
#include "draw.h"
#include "testing.h"

static void check_cut(int64_t total, int64_t batch, mpisift_end end, int64_t most)
{
  struct msift_cut c = msift_cut_make(total, batch, end, most);
  int64_t full = total / batch, rest = total % batch, all = full + (end == MPISIFT_FLUSH && rest > 0);

  CU_ASSERT_EQUAL(c.trained + c.carried + c.dropped, total);
  CU_ASSERT_EQUAL(c.steps, all < most ? all : most);
  CU_ASSERT_EQUAL(c.trained, all <= most && end == MPISIFT_FLUSH ? total : c.steps * batch);
  CU_ASSERT_EQUAL(c.carried, end == MPISIFT_CARRY && full <= most ? rest : 0);
}

static void cuts(void)
{
  for (int64_t total = 0; total <= 50; total++)
    for (int64_t batch = 1; batch <= 12; batch++)
      for (int64_t most = 0; most <= 20; most += 4) {
        check_cut(total, batch, MPISIFT_CARRY, most);
        check_cut(total, batch, MPISIFT_FLUSH, most);
        check_cut(total, batch, MPISIFT_DROP, most);
      }
  check_cut(INT64_C(3000000000007), 64, MPISIFT_CARRY, INT64_MAX);
}

/* Samples away from home, when quotas are met: at least what each lane's rank has too many. */
static int64_t fewest_moves(const struct msift_pick *picks, int64_t n, int64_t ranks)
{
  int64_t moves = 0;

  for (int64_t r = 0; r < ranks; r++) {
    int64_t held = 0;

    for (int64_t i = 0; i < n; i++)
      held += picks[i].lane % ranks == r;
    moves += held > msift_quota(n, ranks, r) ? held - msift_quota(n, ranks, r) : 0;
  }
  return moves;
}

static void seats(void)
{
  enum { MOST = 64, RANKS = 9 };
  struct msift_pick picks[MOST] = {{0}};
  int64_t room[RANKS], taken[RANKS];
  int32_t seats_of[MOST];
  struct draw d = {5};

  for (int trial = 0; trial < 2000; trial++) {
    int64_t ranks = 1 + trial % RANKS, n = draw_below(&d, MOST + 1), lanes = ranks * (1 + draw_below(&d, 4)), moved = 0;

    memset(taken, 0, sizeof taken);
    for (int64_t i = 0; i < n; i++)
      picks[i].lane = trial % 3 == 0 ? 0 : draw_below(&d, lanes);
    msift_seat(picks, n, ranks, room, seats_of);
    for (int64_t i = 0; i < n; i++) {
      taken[seats_of[i]]++;
      moved += seats_of[i] != picks[i].lane % ranks;
    }
    for (int64_t r = 0; r < ranks; r++)
      CU_ASSERT_EQUAL(taken[r], msift_quota(n, ranks, r));
    CU_ASSERT_EQUAL(moved, fewest_moves(picks, n, ranks));
  }
}

TEST_MAIN("picks", {"cuts", cuts}, {"seats", seats})
