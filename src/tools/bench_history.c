/* mpisift bench history: how far the history's percentiles are from those of the sorted window. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/history.h"
#include "core/random.h"
#include "tools/bench.h"
#include "tools/tool.h"

enum { WINDOW, QUERIES, SEED };

/* A sequence of random numbers. */
typedef struct draws {
  uint64_t seed, at;
} draws;

/* In (0, 1). */
static double unit(draws *d)
{
  return ((double)(msift_random(d->seed, MSIFT_STREAM_SAMPLE, 0, d->at++) >> 12) + 0.5) * 0x1p-52;
}

static double normal(draws *d)
{
  double radius = sqrt(-2 * log(unit(d)));

  return radius * cos(6.283185307179586 * unit(d));
}

static double lognormal(draws *d, double t)
{
  (void)t;
  return exp(normal(d));
}

static double exponential(draws *d, double t)
{
  (void)t;
  return -log(unit(d));
}

static double bimodal(draws *d, double t)
{
  (void)t;
  return fabs(unit(d) < 0.5 ? 0.05 + 0.02 * normal(d) : 4 + normal(d));
}

static double pareto(draws *d, double t)
{
  (void)t;
  return pow(unit(d), -1 / 1.1);
}

static double near_zero(draws *d, double t)
{
  (void)t;
  return 1e-9 * exp(2 * normal(d));
}

static double zeros(draws *d, double t)
{
  return unit(d) < 0.3 ? 0 : exponential(d, t);
}

static double ties(draws *d, double t)
{
  return unit(d) < 0.5 ? 2.302585 : lognormal(d, t);
}

static double equal(draws *d, double t)
{
  (void)d;
  (void)t;
  return 6.9077553;
}

static double high_cluster(draws *d, double t)
{
  (void)t;
  return 6.91 + 0.1 * normal(d);
}

static double low_cluster(draws *d, double t)
{
  (void)t;
  return 2.30 + 0.02 * normal(d);
}

static double tight_cluster(draws *d, double t)
{
  (void)t;
  return 2.30 + 0.0005 * normal(d);
}

static double cluster_and_tail(draws *d, double t)
{
  return unit(d) < 0.7 ? tight_cluster(d, t) : exp(3 * normal(d));
}

static double signed_normal(draws *d, double t)
{
  (void)t;
  return normal(d);
}

/* From the first losses of a classifier of 1,000 classes, all alike, to a spread around a small one. */
static double drift(draws *d, double t)
{
  return 6.91 * pow(0.03 / 6.91, t) * exp((0.0145 + 0.985 * t) * normal(d));
}

/* t: progress of the training, in [0, 1). */
typedef struct distribution {
  const char *name, *what;
  double (*draw)(draws *d, double t);
  bool drifts;
} distribution;

static const distribution distributions[] = {
    {"lognormal", "exp N(0, 1)", lognormal, false},
    {"exponential", "mean 1", exponential, false},
    {"bimodal", "|N(0.05, 0.02)| and |N(4, 1)|", bimodal, false},
    {"pareto", "index 1.1", pareto, false},
    {"near_zero", "1e-9 exp N(0, 2)", near_zero, false},
    {"zeros", "30 % zeros, else exponential", zeros, false},
    {"ties", "50 % ties, else lognormal", ties, false},
    {"equal", "all equal", equal, false},
    {"high_cluster", "N(6.91, 0.1)", high_cluster, false},
    {"low_cluster", "N(2.30, 0.02)", low_cluster, false},
    {"tight_cluster", "N(2.30, 0.0005)", tight_cluster, false},
    {"cluster_and_tail", "70 % N(2.30, 0.0005), else exp N(0, 3)", cluster_and_tail, false},
    {"signed", "N(0, 1)", signed_normal, false},
    {"drift", "from N(6.91, 0.1) to 0.03 exp N(0, 1) in 500 rounds", drift, true},
};

enum { N_DISTRIBUTIONS = sizeof distributions / sizeof *distributions };
enum { ROUNDS = 500, LOOKS = 50 };

/* A history beside all that it has seen. */
typedef struct subject {
  const distribution *of;
  int64_t window, round, n; /* losses of the window and of a round; so far */
  float *losses;            /* [n]: a whole run's */
  float *sorted;            /* [window] */
  uint32_t *words;
  struct msift_history history;
  struct msift_memory memory;
  struct msift_error error;
  draws draws;
  double worst;
  int most_bins;
} subject;

static int rounds_of(const subject *s)
{
  int64_t needed = 2 * s->window / s->round; /* to fill the window, and to turn it over */

  return s->of->drifts || needed > ROUNDS ? ROUNDS : (int)needed;
}

static bool create(subject *s)
{
  s->losses = malloc((size_t)(s->round * (rounds_of(s) + 1)) * sizeof *s->losses);
  s->sorted = malloc((size_t)s->window * sizeof *s->sorted);
  s->words = malloc(MSIFT_BINS_MAX * sizeof *s->words);
  return s->losses && s->sorted && s->words &&
         msift_history_init(&s->history, &s->memory, &s->error, s->window, false, 0) == MPISIFT_OK;
}

static void destroy(subject *s)
{
  msift_history_destroy(&s->history, &s->memory);
  free(s->losses);
  free(s->sorted);
  free(s->words);
}

/* One round of one rank: the changes it sends are the changes it gets. */
static bool feed(subject *s, double t)
{
  const struct msift_history_round round = {s->round, false};
  struct msift_history *h = &s->history;

  if (msift_history_reserve(h, &s->memory, &s->error, round, s->round) != MPISIFT_OK)
    return false;
  memset(s->words, 0, (size_t)msift_history_words(h, s->round) * sizeof *s->words);
  msift_history_begin(h, round, s->words);
  for (int64_t i = 0; i < s->round; i++) {
    float loss = s->losses[s->n + i] = (float)s->of->draw(&s->draws, t);
    uint32_t key = msift_key(loss);
    struct msift_seen seen = {h->end + i, key, 0, (int16_t)msift_bin(&h->bins, key)};

    msift_history_add(h, round, 1, &seen, s->words);
  }
  msift_history_commit(h, round, s->round, s->words);
  s->n += s->round;
  s->most_bins = h->bins.n > s->most_bins ? h->bins.n : s->most_bins;
  return true;
}

static int ascending(const void *a, const void *b)
{
  float x = *(const float *)a, y = *(const float *)b;

  return (x > y) - (x < y);
}

/* Losses of the sorted window below a loss; with `equal`, equal to it too. */
static int64_t count_below(const subject *s, float loss, bool equal_too)
{
  int64_t low = 0, high = s->window;

  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (s->sorted[middle] < loss || (equal_too && s->sorted[middle] == loss))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* Ask for the places of losses of the window, drawn at random. */
static void look(subject *s, int64_t queries)
{
  memcpy(s->sorted, s->losses + s->n - s->window, (size_t)s->window * sizeof *s->sorted);
  qsort(s->sorted, (size_t)s->window, sizeof *s->sorted, ascending);
  for (int64_t i = 0; i < queries; i++) {
    float loss = s->sorted[(int64_t)(unit(&s->draws) * (double)s->window)];
    struct msift_place place = msift_history_place(&s->history, msift_key(loss));
    double exact = (double)(count_below(s, loss, false) + count_below(s, loss, true)) / (2 * (double)s->window);

    s->worst = fmax(s->worst, fabs((place.low + place.high) / 2 - exact));
  }
}

/* A window's run: from when the window is full, it is looked at every few rounds. */
static bool run_window(subject *s, int64_t queries)
{
  int rounds = rounds_of(s), stride = (rounds + LOOKS - 1) / LOOKS;

  if (!create(s))
    return false;
  for (int r = 0; r < rounds; r++) {
    if (!feed(s, (double)r / rounds))
      return false;
    if (s->n >= s->window && (r + 1) % stride == 0)
      look(s, queries / LOOKS + 1);
  }
  return true;
}

static int measure(bench_job *job, const distribution *of, double *worst)
{
  static const int64_t all[] = {512, 4096, 65536, 1000000};
  int64_t one[] = {(int64_t)job->values[WINDOW]}, refits = 0;
  const int64_t *windows = one[0] > 0 ? one : all;
  double most = 0;
  int bins = 0;

  for (int w = 0; w < (one[0] > 0 ? 1 : 4); w++) {
    subject s = {.of = of, .window = windows[w], .draws = {(uint64_t)job->values[SEED], 0}};
    bool done;

    s.round = s.window < 8 ? 1 : s.window / 8 < 8192 ? s.window / 8 : 8192;
    done = run_window(&s, (int64_t)job->values[QUERIES]);
    destroy(&s);
    if (!done)
      return bench_fail(job, "out of memory; give a smaller --window");
    most = fmax(most, s.worst);
    bins = s.most_bins > bins ? s.most_bins : bins;
    refits += s.history.refits;
  }
  bench_put(job, of->name, "max_rank_error", most, of->what);
  bench_put(job, of->name, "bins", bins, "most bins, words of the round's reduction");
  bench_put(job, of->name, "refits", (double)refits, "times they were fitted, all windows");
  *worst = fmax(*worst, most);
  return TOOL_OK;
}

/* All ranks do the same, as rank 0 does for all. */
static int run_history(bench_job *job)
{
  double worst = 0;
  int code = TOOL_OK;

  for (int k = 0; k < N_DISTRIBUTIONS && code == TOOL_OK && job->rank == 0; k++)
    code = measure(job, &distributions[k], &worst);
  MPI_Bcast(&code, 1, MPI_INT, 0, job->comm);
  bench_put(job, "", "max_rank_error", worst, "of all distributions");
  return code;
}

const benchmark bench_history = {
    .name = "history",
    .summary = "the error of percentiles in the loss history, against the sorted window",
    .options = {{"window", "N", 0, 0, 1e8, false, "losses in the window; 0: each of 512, 4096, 65536 and 1000000"},
                {"queries", "N", 20000, 1, 1e9, false, "losses whose place is asked for, of a distribution and window"},
                {"seed", "S", 1, 0, 1e9, false, "of the losses"}},
    .run = run_history,
};
