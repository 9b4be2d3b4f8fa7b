/* What waiting for the slowest rank costs: the time of a step where each rank fills its own batch, and with global
 * batches. Simulated; the first is computed as well, and compared.
 *
 * The model, in forward passes of one sample: scoring a candidate costs 1, training on a sample 3; candidates are
 * accepted independently with probability `keep`; P ranks are equally fast and end each step together; communication
 * costs nothing. A step takes 3 B for training, and for scoring, where
 *
 *   own, by one    each rank scores candidate after candidate until it has B: the largest number of all ranks
 *   own, by batch  each rank scores B candidates at a time until it has B, and keeps what is over for its next batch
 *   global         rounds of ceil(P B / keep) candidates, dealt to the ranks in turn, are scored until all ranks
 *                  together have P B; what is over stays for the next batch
 *   padded         as global, but rounds are 2 % larger, as after an epoch that kept less, and the score callback
 * spends time on padding: B rows at a time, the last of them filled up
 *
 * Full training takes 3 B / keep for the same candidates: `saved` compares with it. `lost` is the share of the accepted
 * samples of an epoch that is not trained where each rank fills its own batch and the epoch, of 100 steps, ends when
 * the first rank cannot; with global batches it is carried over. */
#include <math.h>
#include <stdio.h>

#include "unit/draw.h"

enum { STEPS = 500, EPOCH = 100, MAX_RANKS = 512 };

struct job {
  int64_t ranks, batch;
  double keep;
  struct draw draw;
};

static int64_t accepted(struct job *j, int64_t candidates)
{
  int64_t sum = 0;

  for (int64_t i = 0; i < candidates; i++)
    sum += draw_unit(&j->draw) < j->keep;
  return sum;
}

/* Mean time of scoring where each rank scores `piece` candidates at a time for its own batch. */
static double own(struct job *j, int64_t piece)
{
  int64_t over[MAX_RANKS] = {0}, time = 0;

  for (int64_t step = 0; step < STEPS; step++) {
    int64_t most = 0;

    for (int64_t r = 0; r < j->ranks; r++) {
      int64_t scored = 0;

      for (; over[r] < j->batch; scored += piece)
        over[r] += accepted(j, piece);
      over[r] -= j->batch;
      most = scored > most ? scored : most;
    }
    time += most;
  }
  return (double)time / STEPS;
}

/* The mean of own(j, 1): of the largest of P numbers of trials until the B-th success, from their distribution. */
static double expected_own(const struct job *j)
{
  double probability = pow(j->keep, (double)j->batch), below = 0, mean = 0;

  for (int64_t k = 0; k < j->batch || below < 1 - 1e-12; k++) {
    if (k >= j->batch) {
      below += probability;
      probability *= (1 - j->keep) * (double)k / (double)(k + 1 - j->batch);
    }
    mean += 1 - pow(below, (double)j->ranks);
  }
  return mean;
}

/* With global batches; rows are scored `piece` at a time, padding included. */
static double global(struct job *j, double size, int64_t piece)
{
  int64_t n = j->ranks * j->batch, round = (int64_t)ceil(size * (double)n / j->keep), pooled = 0, time = 0;
  int64_t share = (round + j->ranks - 1) / j->ranks, rows = (share + piece - 1) / piece * piece;

  for (int64_t step = 0; step < STEPS; step++) {
    for (; pooled < n; time += rows)
      pooled += accepted(j, round);
    pooled -= n;
  }
  return (double)time / STEPS;
}

static double lost(struct job *j)
{
  int64_t sum = 0, steps = INT64_MAX;

  for (int64_t r = 0; r < j->ranks; r++) {
    int64_t n = accepted(j, (int64_t)((double)(EPOCH * j->batch) / j->keep));

    sum += n;
    steps = n / j->batch < steps ? n / j->batch : steps;
  }
  return 1 - (double)(steps * j->ranks * j->batch) / (double)sum;
}

static void print(const struct job *j, const char *name, double scoring)
{
  double time = scoring + 3 * (double)j->batch, full = 3 * (double)j->batch / j->keep;

  printf("%5d  %5d  %4.2f  %-14s  %7.1f  %7.1f  %6.1f\n", (int)j->ranks, (int)j->batch, j->keep, name, time, full,
         100 * (1 - time / full));
}

/* Returns whether simulations and computations agree. */
static int compare(struct job j)
{
  double expected = expected_own(&j), simulated = own(&j, 1), together = global(&j, 1, 1);

  print(&j, "own, computed", expected);
  print(&j, "own, by one", simulated);
  print(&j, "own, by batch", own(&j, j.batch));
  print(&j, "global, padded", global(&j, 1.02, j.batch));
  print(&j, "global", together);
  printf("%5d  %5d  %4.2f  own: lost %.1f %%\n", (int)j.ranks, (int)j.batch, j.keep, 100 * lost(&j));
  return fabs(simulated / expected - 1) < 0.01 && fabs(together * j.keep / (double)j.batch - 1) < 0.01;
}

int main(void)
{
  int good = 1;

  printf("ranks  batch  keep  what               time     full  saved%%\n");
  for (double keep = 0.25; keep <= 0.5; keep *= 2) {
    good &= compare((struct job){4, 32, keep, {1}});
    good &= compare((struct job){64, 256, keep, {2}});
    good &= compare((struct job){512, 32, keep, {3}});
  }
  return !good;
}
