#include "core/history.h"

#include <stdlib.h>

/* Bins of more than this share of the window are split. */
enum { SPLIT_SHARE = 512 };

/* All are fitted again where one has grown to three times that: the place of a loss then errs by less than 1/341 of the
 * window, and what bins hold by chance does not have them fitted in every round. To twice that in the smallest windows,
 * in which three losses are more. */
static uint64_t crowd_limit(uint64_t most)
{
  return most == 1 ? 2 : 3 * most;
}

mpisift_status msift_history_init(struct msift_history *h, struct msift_memory *memory, struct msift_error *error,
                                  int64_t length, bool exact, int64_t groups)
{
  memset(h, 0, sizeof *h);
  h->length = length;
  h->exact = exact;
  h->groups = groups;
  h->coarse = 1;
  h->seen.size = h->window.size = sizeof(struct msift_seen);
  msift_bins_init(&h->bins);
  h->in_group = msift_alloc(memory, error, groups, sizeof *h->in_group);
  return h->in_group == NULL ? error->status : MPISIFT_OK;
}

void msift_history_destroy(struct msift_history *h, struct msift_memory *memory)
{
  msift_ring_destroy(&h->seen, memory);
  msift_ring_destroy(&h->window, memory);
  msift_free(memory, &h->in_group);
  msift_free(memory, &h->sorted);
  msift_free(memory, &h->merged);
  msift_free(memory, &h->changes);
}

/* Keys of a sorted window below a key; with `equal`, those equal to it too. */
static int64_t count_below(const struct msift_history *h, uint32_t key, bool equal)
{
  int64_t low = 0, high = (int64_t)h->total;

  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (h->sorted[middle] < key || (equal && h->sorted[middle] == key))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

struct msift_place msift_history_bin_place(const struct msift_history *h, int bin)
{
  double total = (double)h->total;
  int64_t below = (int64_t)msift_counts_below(&h->counts, bin); /* numbers with a sign convert to double at once */

  return (struct msift_place){(double)below / total, (double)(below + (int64_t)h->counts.in[bin]) / total};
}

struct msift_place msift_history_place(const struct msift_history *h, uint32_t key)
{
  double total = (double)h->total;

  if (!h->exact)
    return msift_history_bin_place(h, msift_bin(&h->bins, key));
  return (struct msift_place){(double)count_below(h, key, false) / total, (double)count_below(h, key, true) / total};
}

int64_t msift_history_words(const struct msift_history *h, int64_t places)
{
  return h->groups + (h->exact ? places : msift_counts_words(h->refitting ? &h->next : &h->bins));
}

int64_t msift_history_most_words(int64_t places, bool exact, int64_t groups)
{
  return groups + (exact ? places : MSIFT_BINS_MAX);
}

static mpisift_status reserve_sorted(struct msift_history *h, struct msift_memory *memory, struct msift_error *error,
                                     int64_t n)
{
  if (n <= h->sorted_capacity)
    return MPISIFT_OK;
  MSIFT_TRY(msift_resize(memory, error, &h->sorted, n + n / 2, sizeof *h->sorted));
  MSIFT_TRY(msift_resize(memory, error, &h->merged, n + n / 2, sizeof *h->merged));
  MSIFT_TRY(msift_resize(memory, error, &h->changes, n + n / 2, sizeof *h->changes));
  h->sorted_capacity = n + n / 2;
  return MPISIFT_OK;
}

mpisift_status msift_history_reserve(struct msift_history *h, struct msift_memory *memory, struct msift_error *error,
                                     struct msift_history_round round, int64_t n)
{
  MSIFT_TRY(msift_ring_reserve(&h->seen, memory, error, n));
  if (!h->exact)
    return MPISIFT_OK;
  MSIFT_TRY(msift_ring_reserve(&h->window, memory, error, round.places));
  return reserve_sorted(h, memory, error, h->window.n + round.places);
}

static struct msift_seen *seen_at(const struct msift_ring *ring, int64_t i)
{
  return msift_ring_at(ring, i);
}

/* Losses at the head of a ring that leave the window: orders ascend. Looked for from the head on, since these are few
 * and soon needed, and the others are not. */
static int64_t expired(const struct msift_ring *ring, int64_t oldest)
{
  int64_t low = 0, high = 0;

  for (; high < ring->n && seen_at(ring, high)->order < oldest; high = 2 * high + 1)
    low = high + 1;
  high = high < ring->n ? high : ring->n;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (seen_at(ring, middle)->order < oldest)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* Count the losses that go, by their bins. */
static void count_gone(const struct msift_history *h, int64_t gone, uint32_t *words)
{
  for (int64_t i = 0; i < gone; i++)
    words[seen_at(&h->seen, i)->bin]--;
}

/* Find the bins of losses anew, and count by these. */
static void count_anew(struct msift_history *h, int64_t begin, int64_t end, uint32_t *words)
{
  for (int64_t i = begin; i < end; i++) {
    struct msift_seen *seen = seen_at(&h->seen, i);

    seen->bin = (int16_t)msift_bin(&h->next, seen->key);
    words[seen->bin]++;
  }
}

int64_t msift_history_gone(const struct msift_history *h, struct msift_history_round round)
{
  return expired(&h->seen, msift_history_oldest(h, round));
}

void msift_history_begin(struct msift_history *h, struct msift_history_round round, uint32_t *words)
{
  int64_t gone = msift_history_gone(h, round);

  h->staged = 0;
  for (int64_t i = 0; i < gone && h->groups > 0; i++)
    words[seen_at(&h->seen, i)->group]--;
  if (h->refitting)
    count_anew(h, gone, h->seen.n, words + h->groups);
  else if (!h->exact)
    count_gone(h, gone, words + h->groups);
}

/* Of those of a round longer than the window, the first does not come into it. */
static int64_t count_old(const struct msift_history *h, struct msift_history_round round, int64_t n,
                         const struct msift_seen *seen)
{
  int64_t old = 0, oldest = msift_history_oldest(h, round);

  while (old < n && seen[old].order < oldest)
    old++;
  return old;
}

static void stage(struct msift_history *h, int64_t n, const struct msift_seen *seen)
{
  for (int64_t i = 0, run; i < n; i += run) {
    int64_t at = h->seen.n + h->staged + i;

    run = msift_ring_run(&h->seen, at, n - i);
    memcpy(msift_ring_at(&h->seen, at), seen + i, (size_t)run * sizeof *seen);
  }
  h->staged += n;
}

void msift_history_add(struct msift_history *h, struct msift_history_round round, int64_t n,
                       const struct msift_seen *seen, uint32_t *words)
{
  uint32_t *in_bins = words + h->groups;
  int64_t old = count_old(h, round, n, seen), end = h->end;

  stage(h, n, seen);
  for (int64_t i = old; i < n && h->groups > 0; i++)
    words[seen[i].group]++;
  if (h->exact)
    for (int64_t i = 0; i < n; i++)
      in_bins[seen[i].order - end] = seen[i].key;
  else if (h->refitting)
    count_anew(h, h->seen.n + h->staged - n + old, h->seen.n + h->staged, in_bins);
  else
    for (int64_t i = old; i < n; i++)
      in_bins[seen[i].bin]++;
}

void msift_history_note(struct msift_history *h, int64_t n, const int64_t *positions, int64_t begin)
{
  for (h->staged = 0; h->staged < n; h->staged++)
    *(struct msift_seen *)msift_ring_at(&h->seen, h->seen.n + h->staged) =
        (struct msift_seen){.order = h->end + positions[h->staged] - begin};
}

static int64_t signed_word(uint32_t word)
{
  return (int32_t)word;
}

/* Words are changes of the counts, or by new bins the counts themselves. */
static void commit_counts(struct msift_history *h, const uint32_t *words)
{
  uint64_t most;

  if (h->refitting) {
    h->bins = h->next;
    h->refits++;
    memset(&h->counts, 0, sizeof h->counts);
  }
  h->total = msift_counts_foresee(&h->counts, &h->bins, words);
  most = h->total > SPLIT_SHARE ? h->total / SPLIT_SHARE : 1;
  h->refitting = msift_counts_change(&h->counts, &h->bins, words, h->coarse * crowd_limit(most));
  if (h->refitting)
    h->coarse = msift_bins_fit(&h->next, &h->bins, &h->counts, most) / most;
}

static int compare_keys(const void *a, const void *b)
{
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

  return x < y ? -1 : x > y;
}

/* Merge sorted keys that come into the sorted window, from which others go. */
static void merge(struct msift_history *h, const uint32_t *come, int64_t n_come, const uint32_t *go, int64_t n_go)
{
  int64_t n = 0, c = 0, g = 0;
  uint32_t *sorted = h->sorted;

  for (int64_t i = 0; i < (int64_t)h->total; i++) {
    if (g < n_go && go[g] == sorted[i]) {
      g++;
      continue;
    }
    while (c < n_come && come[c] < sorted[i])
      h->merged[n++] = come[c++];
    h->merged[n++] = sorted[i];
  }
  while (c < n_come)
    h->merged[n++] = come[c++];
  h->total = (uint64_t)n;
  h->sorted = h->merged;
  h->merged = sorted;
}

static int64_t order_at(const struct msift_history *h, struct msift_history_round round, int64_t candidates,
                        int64_t place)
{
  return h->end + (round.sparse ? place * candidates / round.places : place);
}

/* The words are the round's keys; 0 is no finite number's: there is no loss. */
static void commit_keys(struct msift_history *h, struct msift_history_round round, int64_t candidates,
                        const uint32_t *words)
{
  int64_t oldest = msift_history_oldest(h, round), gone = expired(&h->window, oldest), n_come = 0;
  uint32_t *go = h->changes, *come = h->changes + gone;

  for (int64_t i = 0; i < gone; i++)
    go[i] = seen_at(&h->window, i)->key;
  msift_ring_pop(&h->window, gone);
  for (int64_t place = 0; place < round.places; place++) {
    struct msift_seen seen = {.order = order_at(h, round, candidates, place), .key = words[place]};

    if (seen.key == 0 || seen.order < oldest)
      continue;
    memcpy(msift_ring_push(&h->window), &seen, sizeof seen);
    come[n_come++] = seen.key;
  }
  qsort(go, (size_t)gone, sizeof *go, compare_keys);
  qsort(come, (size_t)n_come, sizeof *come, compare_keys);
  merge(h, come, n_come, go, gone);
}

/* The candidates of a sparse round move together: it takes no more places in the window than it has candidates. */
static void settle(struct msift_history *h, struct msift_history_round round, int64_t candidates)
{
  for (int64_t i = 0; i < h->staged && candidates < round.places; i++) {
    struct msift_seen *seen = msift_ring_at(&h->seen, h->seen.n + i);

    seen->order = order_at(h, round, candidates, seen->order - h->end);
  }
  h->seen.n += h->staged;
  h->staged = 0;
}

void msift_history_commit(struct msift_history *h, struct msift_history_round round, int64_t candidates,
                          const uint32_t *words)
{
  settle(h, round, candidates);
  msift_ring_pop(&h->seen, expired(&h->seen, msift_history_oldest(h, round)));
  for (int64_t g = 0; g < h->groups; g++)
    h->in_group[g] += (uint64_t)signed_word(words[g]);
  if (h->exact)
    commit_keys(h, round, candidates, words + h->groups);
  else
    commit_counts(h, words + h->groups);
  h->end += round.sparse ? candidates : round.places;
}
