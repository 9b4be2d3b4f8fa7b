/* One loss history on several simulated ranks, which exchange sums as the library does, with all that was scored. */
#ifndef MPISIFT_FLEET_H
#define MPISIFT_FLEET_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/history.h"
#include "draw.h"
#include "testing.h"

/* How candidates are spread over ranks. */
enum spread { SPREAD_EVEN, SPREAD_RUNS, SPREAD_ONE, SPREAD_RANDOM, SPREADS };

struct scored {
  int64_t order, place;
  float loss;
  int32_t group;
};

struct fleet {
  int ranks;
  enum spread spread;
  struct msift_history *on; /* [ranks] */
  struct msift_memory memory;
  struct msift_error error;
  struct scored *scored; /* good losses, ascending in order; those long gone are forgotten */
  int64_t n, capacity, end, length;
  int64_t oldest;   /* first order that is in the window */
  struct draw draw; /* of groups */
};

struct fleet_kind {
  int ranks;
  int64_t length;
  bool exact;
  int64_t groups;
  enum spread spread;
};

static inline struct fleet *fleet_new(struct fleet_kind kind)
{
  struct fleet *f = calloc(1, sizeof *f);

  CU_ASSERT_PTR_NOT_NULL_FATAL(f);
  f->ranks = kind.ranks;
  f->spread = kind.spread;
  f->length = kind.length;
  f->oldest = -kind.length;
  f->draw.state = 1;
  f->on = calloc((size_t)kind.ranks, sizeof *f->on);
  CU_ASSERT_PTR_NOT_NULL_FATAL(f->on);
  for (int r = 0; r < kind.ranks; r++)
    CU_ASSERT_EQUAL(msift_history_init(&f->on[r], &f->memory, &f->error, kind.length, kind.exact, kind.groups),
                    MPISIFT_OK);
  return f;
}

static inline void fleet_free(struct fleet *f)
{
  for (int r = 0; r < f->ranks; r++)
    msift_history_destroy(&f->on[r], &f->memory);
  CU_ASSERT_EQUAL(f->memory.blocks, 0);
  CU_ASSERT_EQUAL(f->error.status, MPISIFT_OK);
  free(f->on);
  free(f->scored);
  free(f);
}

static inline int fleet_scorer(const struct fleet *f, int64_t i)
{
  switch (f->spread) {
  case SPREAD_EVEN:
    return (int)(i % f->ranks);
  case SPREAD_RUNS:
    return (int)(i / 5 % 3 == 0 ? 0 : i % f->ranks);
  case SPREAD_RANDOM:
    return (int)((uint64_t)i * UINT64_C(0x9e3779b97f4a7c15) >> 40) % f->ranks;
  default:
    return f->ranks - 1;
  }
}

/* The first scored one that is in the window. */
static inline int64_t fleet_window(const struct fleet *f)
{
  int64_t low = 0, high = f->n;

  while (low < high) {
    int64_t middle = (low + high) / 2;

    if (f->scored[middle].order < f->oldest)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static inline void fleet_reserve(struct fleet *f, int64_t n)
{
  int64_t first = fleet_window(f);

  if (f->n + n <= f->capacity)
    return;
  if (first < f->n)
    memmove(f->scored, f->scored + first, (size_t)(f->n - first) * sizeof *f->scored);
  f->n -= first;
  f->capacity = 2 * (f->n + n);
  f->scored = realloc(f->scored, (size_t)f->capacity * sizeof *f->scored);
  CU_ASSERT_PTR_NOT_NULL_FATAL(f->scored);
}

/* Losses of a round by place; NAN: a bad loss, or a place that stayed empty. Those of a sparse round move together. */
static inline void fleet_append(struct fleet *f, struct msift_history_round round, int64_t candidates,
                                const float *losses)
{
  int64_t groups = f->on[0].groups;

  fleet_reserve(f, round.places);
  for (int64_t place = 0; place < round.places; place++)
    if (!isnan(losses[place]))
      f->scored[f->n++] = (struct scored){f->end + (round.sparse ? place * candidates / round.places : place), place,
                                          losses[place], groups > 0 ? (int32_t)draw_below(&f->draw, groups) : 0};
}

/* What a rank has of the round that begins with the scored one `begin`. */
struct fleet_share {
  struct msift_seen *seen;
  int64_t n;
};

static inline void fleet_share(const struct fleet *f, int rank, int64_t begin, struct fleet_share *share)
{
  share->n = 0;
  for (int64_t i = begin; i < f->n; i++) {
    const struct scored *s = &f->scored[i];

    if (fleet_scorer(f, f->end + s->place) != rank)
      continue;
    share->seen[share->n++] = (struct msift_seen){f->end + s->place, msift_key(s->loss), s->group, 0};
  }
}

/* Every rank's words on its own, then their sum. */
static inline void fleet_exchange(struct fleet *f, struct msift_history_round round, int64_t candidates, int64_t begin,
                                  struct fleet_share *share)
{
  int64_t n = msift_history_words(&f->on[0], round.places);
  uint32_t *words = calloc((size_t)n + 1, sizeof *words), *sums = calloc((size_t)n + 1, sizeof *sums);

  CU_ASSERT_FATAL(words != NULL && sums != NULL);
  CU_ASSERT(n <= msift_history_most_words(round.places, f->on[0].exact, f->on[0].groups));
  for (int r = 0; r < f->ranks; r++) {
    CU_ASSERT_EQUAL_FATAL(msift_history_words(&f->on[r], round.places), n);
    memset(words, 0, (size_t)n * sizeof *words);
    fleet_share(f, r, begin, share);
    CU_ASSERT_EQUAL_FATAL(msift_history_reserve(&f->on[r], &f->memory, &f->error, round, share->n), MPISIFT_OK);
    msift_history_begin(&f->on[r], round, words);
    for (int64_t i = 0; i < share->n; i++) {
      share->seen[i].bin = (int16_t)msift_bin(&f->on[r].bins, share->seen[i].key);
      msift_history_add(&f->on[r], round, 1, &share->seen[i], words);
    }
    for (int64_t i = 0; i < n; i++)
      sums[i] += words[i];
  }
  for (int r = 0; r < f->ranks; r++)
    msift_history_commit(&f->on[r], round, candidates, sums);
  free(sums);
  free(words);
}

/* What a sparse round pushes out of the window goes with the next. */
static inline void fleet_any_round(struct fleet *f, struct msift_history_round round, int64_t candidates,
                                   const float *losses)
{
  struct fleet_share share = {.seen = malloc((size_t)(round.places + 1) * sizeof *share.seen)};
  int64_t begin;

  CU_ASSERT_PTR_NOT_NULL_FATAL(share.seen);
  fleet_reserve(f, round.places);
  begin = f->n;
  fleet_append(f, round, candidates, losses);
  fleet_exchange(f, round, candidates, begin, &share);
  f->oldest = f->end + (round.sparse ? 0 : round.places) - f->length;
  f->end += round.sparse ? candidates : round.places;
  free(share.seen);
}

static inline void fleet_round(struct fleet *f, const float *losses, int64_t n)
{
  fleet_any_round(f, (struct msift_history_round){n, false}, n, losses);
}

/* Score n losses of a distribution in rounds of up to `most`. */
static inline void fleet_feed(struct fleet *f, struct draw *d, draw_fn draw, int64_t n, int64_t most)
{
  float *losses = malloc((size_t)most * sizeof *losses);

  CU_ASSERT_PTR_NOT_NULL_FATAL(losses);
  while (n > 0) {
    int64_t round = most - draw_below(d, 1 + most / 4);

    round = round < n ? round : n;
    for (int64_t i = 0; i < round; i++)
      losses[i] = draw(d);
    fleet_round(f, losses, round);
    n -= round;
  }
  free(losses);
}

static inline int fleet_compare(const void *a, const void *b)
{
  float x = *(const float *)a, y = *(const float *)b;

  return x < y ? -1 : x > y;
}

/* The oracle: the good losses of the window, sorted. */
static inline float *fleet_sorted(const struct fleet *f, int64_t *n)
{
  int64_t first = fleet_window(f);
  float *window = malloc((size_t)(f->n - first + 1) * sizeof *window);

  CU_ASSERT_PTR_NOT_NULL_FATAL(window);
  *n = f->n - first;
  for (int64_t i = 0; i < *n; i++)
    window[i] = f->scored[first + i].loss;
  qsort(window, (size_t)*n, sizeof *window, fleet_compare);
  return window;
}

#endif
