/* The global loss history: an integer histogram over the bit patterns of non-negative floats.
 *
 * A float's bits, read as an integer, grow with the float, so bins are equal on every machine and need no logarithm.
 * The histogram starts with 64 bins an octave over 2^-40 to 2^24 and zooms in where a bin holds too much of the window.
 * Counts are global and identical on all ranks; the raw losses of the window stay on the rank that scored them. */
#ifndef MSIFT_CORE_HISTORY_H
#define MSIFT_CORE_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ring.h"

/* Bins in the order of losses: zero, what lies between zero and the scale, 4096 of the scale, what lies above it. */
enum { MSIFT_BIN_ZERO, MSIFT_BIN_BELOW, MSIFT_BIN_FIRST, MSIFT_BIN_ABOVE = MSIFT_BIN_FIRST + 4096, MSIFT_BINS };

struct msift_scale {
  uint32_t base; /* key of the lower edge of the first bin of the scale */
  int shift;     /* keys a bin, as a power of two */
};

struct msift_seen {
  int64_t order; /* place in the sequence of all scored candidates */
  float loss;
};

struct msift_history {
  int64_t length;    /* the window: so many scored candidates */
  int64_t end;       /* candidates scored so far, of all ranks */
  int64_t zoomed_at; /* `end` at the last zoom */
  struct msift_scale scale;
  uint64_t below[MSIFT_BINS + 1]; /* losses of the window in bins before b; below[MSIFT_BINS] is their total */
  struct msift_ring seen;         /* of msift_seen: this rank's losses of the window, ascending in order */
};

void msift_history_init(struct msift_history *history, int64_t length);
void msift_history_destroy(struct msift_history *history, struct msift_memory *memory);

static inline bool msift_history_full(const struct msift_history *history)
{
  return history->end >= history->length;
}

/* The bin of a finite loss >= 0. */
int msift_scale_bin(const struct msift_scale *scale, float loss);
/* The smallest loss of a bin. */
float msift_scale_edge(const struct msift_scale *scale, int bin);

/* Add to changes[MSIFT_BINS] what this rank's n new losses, and the expiry of its old ones, change when `end` becomes
 * new_end. Sums of the changes of all ranks, modulo 2^32, go to msift_history_commit(). */
void msift_history_changes(const struct msift_history *history, const struct msift_seen *added, int64_t n,
                           int64_t new_end, uint32_t *changes);

/* Take over the global changes and this rank's new losses, for which room was reserved in `seen`. */
void msift_history_commit(struct msift_history *history, const struct msift_seen *added, int64_t n, int64_t new_end,
                          const uint32_t *changes);

/* Whether another scale would serve better: finer, where a bin holds more than 1 % of the window, or centred, where the
 * losses come near an end of the scale. At most once a turnover of the window. */
bool msift_history_zoom(const struct msift_history *history, struct msift_scale *finer);

/* Add this rank's losses of the window, by another scale, to counts[MSIFT_BINS]. */
void msift_history_recount(const struct msift_history *history, const struct msift_scale *scale, uint32_t *counts);

/* Take over a scale and the global counts by it. */
void msift_history_rescale(struct msift_history *history, const struct msift_scale *scale, const uint32_t *counts);

#endif
