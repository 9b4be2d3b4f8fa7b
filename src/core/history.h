/* The global loss history: how many of the last losses of all ranks lie below a loss.
 *
 * Counts by bins (see bins.h) are global and identical on all ranks; the losses of the window stay on the rank that
 * scored them. Where losses crowd in a bin, the bins are fitted to them: ranks then send counts of the whole window in
 * place of changes, so that this takes no message of its own. An exact history sends the losses themselves, and every
 * rank holds all of the window. What is recorded need not be a loss; negative values have their places too. */
#ifndef MSIFT_CORE_HISTORY_H
#define MSIFT_CORE_HISTORY_H

#include <stdbool.h>

#include "base/ring.h"
#include "core/counts.h"

struct msift_seen {
  int64_t order; /* place in the sequence of all scored candidates, ascending */
  uint32_t key;  /* of the loss */
  int32_t group; /* class; 0 where there are none */
  int16_t bin;   /* of the loss, in the history's bins; of no matter to an exact history */
};

struct msift_history {
  int64_t length; /* the window: so many scored candidates */
  int64_t end;    /* candidates scored so far, of all ranks */
  uint64_t total; /* losses in the window; bad ones are not in it */
  int64_t groups, refits;
  uint64_t *in_group;     /* [groups]: losses of the window by class */
  struct msift_ring seen; /* of msift_seen: this rank's losses of the window, and behind them */
  int64_t staged;         /* so many of the round under way */

  struct msift_bins bins, next;
  bool refitting;             /* the next round counts by `next` */
  uint64_t coarse;            /* power of two: 1, or more where there are too few splits */
  struct msift_counts counts; /* of the window's losses, by `bins` */

  bool exact;
  struct msift_ring window; /* exact: of msift_seen: the window's losses of all ranks */
  uint32_t *sorted;         /* exact: [total]: its keys, ascending; */
  uint32_t *merged;         /* the same with the next round, */
  uint32_t *changes;        /* and what comes and goes with that; all have sorted_capacity */
  int64_t sorted_capacity;
};

/* A round of the history: candidates at some or all of `places` places. How many a sparse round has, such as one of
 * streams that have ended, is known only when it is over: what it pushes out of the window goes with the next round. */
struct msift_history_round {
  int64_t places;
  bool sparse;
};

mpisift_status msift_history_init(struct msift_history *history, struct msift_memory *memory, struct msift_error *error,
                                  int64_t length, bool exact, int64_t groups);
void msift_history_destroy(struct msift_history *history, struct msift_memory *memory);

static inline bool msift_history_full(const struct msift_history *history)
{
  return history->end >= history->length;
}

/* Shares of the window's losses below a key, and below or equal to it: to its bin, unless the history is exact. The
 * history is not empty. */
struct msift_place {
  double low, high;
};
struct msift_place msift_history_place(const struct msift_history *history, uint32_t key);
struct msift_place msift_history_bin_place(const struct msift_history *history, int bin);

/* The first order that is in the window after a round. */
static inline int64_t msift_history_oldest(const struct msift_history *history, struct msift_history_round round)
{
  return history->end + (round.sparse ? 0 : round.places) - history->length;
}

/* Words of the changes of a round, and the most there can be. */
int64_t msift_history_words(const struct msift_history *history, int64_t places);
int64_t msift_history_most_words(int64_t places, bool exact, int64_t groups);

/* Make room for a commit of n losses of this rank. */
mpisift_status msift_history_reserve(struct msift_history *history, struct msift_memory *memory,
                                     struct msift_error *error, struct msift_history_round round, int64_t n);

/* The changes of a round, in words that are zero at first: what its passing takes from the window, or where bins are
 * refitted what it leaves there, and then what this rank's candidates add. Sums of the words of all ranks, modulo 2^32,
 * go to msift_history_commit(); until then a round may begin again. */
void msift_history_begin(struct msift_history *history, struct msift_history_round round, uint32_t *words);

/* seen: [n], of this rank's next candidates, in ascending order, which is end + place in the round. There is room. */
void msift_history_add(struct msift_history *history, struct msift_history_round round, int64_t n,
                       const struct msift_seen *seen, uint32_t *words);

/* For a window whose keys are kept and counted elsewhere, on a device. How many of this rank's oldest losses the
 * round's passing takes from the window; and in place of msift_history_begin() and _add(): note the orders of this
 * rank's n candidates, whose places are positions − begin, ascending. Bad ones are among them. There is room. */
int64_t msift_history_gone(const struct msift_history *history, struct msift_history_round round);
void msift_history_note(struct msift_history *history, int64_t n, const int64_t *positions, int64_t begin);

/* Take over the global changes, and what this rank has added. candidates: of all ranks, in a sparse round. */
void msift_history_commit(struct msift_history *history, struct msift_history_round round, int64_t candidates,
                          const uint32_t *words);

#endif
