/* What the tests of the loader share: a data set whose content and losses follow from the id, an oracle that finds the
 * global batches in a plain loop in one process, and the comparison of a loader with it. */
#ifndef MPISIFT_TESTS_LOADING_H
#define MPISIFT_TESTS_LOADING_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <mpisift/mpisift.h>

#include "core/decide.h"
#include "core/order.h"
#include "core/random.h"
#include "testing.h"

enum { FIELDS = 2, WIDTH = 3, WORLD_GROUPS = 5 };

/* A sample as the oracle expects it in a batch. */
struct sample {
  int64_t id, epoch;
  float loss, probability, weight;
  int rank; /* that scored it */
};

struct samples {
  struct sample *at;
  int64_t n, capacity;
};

struct world {
  const char *name;
  mpisift_config config;
  int64_t n, block;
  int ranks;       /* replicas */
  int64_t bad_mod; /* ids divisible by it have a NaN loss; 0: none */
  int flat;        /* all losses are equal */
  int narrow;      /* reference losses are float32, not float64 */
};

static inline float world_loss(const struct world *w, int64_t id, int64_t epoch)
{
  uint64_t bits = msift_mix((uint64_t)id * 977 + (uint64_t)epoch + 5);

  if (w->bad_mod > 0 && id % w->bad_mod == 0)
    return NAN;
  return w->flat ? 1.0f : expf(4 * (float)((double)(bits >> 11) * 0x1p-53) - 2);
}

/* The other scores. */
static inline double unit(int64_t id, int64_t epoch, int use)
{
  return (double)(msift_mix((uint64_t)id * 31 + (uint64_t)epoch * 7 + (uint64_t)use) >> 11) * 0x1p-53;
}

static inline float world_bound(int64_t id, int64_t epoch)
{
  return (float)(2 * unit(id, epoch, 1));
}

static inline float world_confidence(int64_t id, int64_t epoch)
{
  return (float)unit(id, epoch, 2);
}

static inline double world_reference(const struct world *w, int64_t id)
{
  return w->narrow ? (double)(float)(3 * unit(id, 0, 3)) : 3 * unit(id, 0, 3);
}

/* What a policy goes by. */
static inline float world_measure(const struct world *w, const struct msift_policy *policy, int64_t id, int64_t epoch,
                                  float loss)
{
  switch (policy->measure) {
  case MSIFT_MEASURE_BOUND:
    return isfinite(loss) ? world_bound(id, epoch) : NAN;
  case MSIFT_MEASURE_UNCERTAINTY:
    return isfinite(loss) ? (float)(1 - (double)world_confidence(id, epoch)) : NAN;
  case MSIFT_MEASURE_REDUCIBLE:
    return isfinite(loss) ? (float)((double)loss - world_reference(w, id)) : NAN;
  default:
    return loss;
  }
}

static inline float field_value(int64_t id, int k)
{
  return (float)(id * 10 + k);
}

static const mpisift_field world_fields[FIELDS] = {
    {"x", MPISIFT_F32, 1, {WIDTH}},
    {"y", MPISIFT_I16, 0, {0}},
};

static inline int world_read(void *user, int64_t n, const int64_t *ids, void *const *dst)
{
  (void)user;
  for (int64_t i = 0; i < n; i++) {
    for (int k = 0; k < WIDTH; k++)
      ((float *)dst[0])[i * WIDTH + k] = field_value(ids[i], k);
    ((int16_t *)dst[1])[i] = (int16_t)(ids[i] % 1000);
  }
  return 0;
}

static inline int world_score(void *user, const mpisift_batch *candidates, const mpisift_scores *scores)
{
  for (int64_t i = 0; i < candidates->n; i++) {
    scores->loss[i] = i < candidates->valid ? world_loss(user, candidates->ids[i], candidates->epoch) : NAN;
    if (scores->bound != NULL)
      scores->bound[i] = world_bound(candidates->ids[i], candidates->epoch);
    if (scores->confidence != NULL)
      scores->confidence[i] = world_confidence(candidates->ids[i], candidates->epoch);
    if (scores->group != NULL)
      scores->group[i] = (int32_t)(candidates->ids[i] % WORLD_GROUPS);
  }
  return 0;
}

/* Whether all ranks are in the same call: a forward pass that communicates would hang or mix rows else. */
static inline int called_together(int64_t call, MPI_Comm comm)
{
  int64_t most[2] = {call, -call};

  MPI_Allreduce(MPI_IN_PLACE, most, 2, MPI_INT64_T, MPI_MAX, comm);
  return most[0] == -most[1];
}

static inline mpisift_source world_source(struct world *w)
{
  return (mpisift_source){
      .user = w, .n = w->n, .block = w->block, .n_fields = FIELDS, .fields = world_fields, .read = world_read};
}

static inline struct world world_make(const char *name, int64_t n, int64_t global_batch)
{
  struct world w = {.name = name, .n = n, .block = 1, .ranks = test_size};

  mpisift_config_init(&w.config, sizeof w.config);
  w.config.beta = 2;
  w.config.global_batch_size = global_batch;
  w.config.loss_history_length = 200;
  w.config.epochs = 3;
  w.config.seed = 42;
  return w;
}

static inline void samples_add(struct samples *s, struct sample sample)
{
  if (s->n == s->capacity) {
    s->capacity = 2 * s->capacity + 64;
    s->at = realloc(s->at, (size_t)s->capacity * sizeof *s->at);
  }
  s->at[s->n++] = sample;
}

/* The oracle: rounds and epochs in one process. `accepted` is the run's sequence, cut[k] the end of batch k in it. */
struct oracle {
  struct samples accepted;
  struct samples cuts; /* id: end of the batch; epoch: in which it is trained */
  int64_t carried, dropped, rejected, outliers, candidates, scored;
};

struct deciding {
  struct msift_memory memory;
  struct msift_error error;
  struct msift_history history;
  struct msift_decider decider;
};

static inline void oracle_round(const struct world *w, struct oracle *o, struct deciding *d,
                                const struct msift_order *order, int64_t lanes, int64_t begin, int64_t end, int scored,
                                int sifting)
{
  const struct msift_history_round round = {end - begin, false};
  uint32_t *words = calloc((size_t)msift_history_words(&d->history, end - begin), sizeof *words);

  if (scored) {
    msift_history_reserve(&d->history, &d->memory, &d->error, round, end - begin);
    msift_history_begin(&d->history, round, words);
  }
  for (int64_t q = begin; q < end; q++) {
    struct sample s = {.id = msift_order_id(order, q), .epoch = order->epoch, .rank = (int)(q % lanes % w->ranks)};
    struct msift_candidate candidate = {.id = s.id, .group = (int32_t)(s.id % WORLD_GROUPS)};
    struct msift_verdict verdict;

    s.loss = scored ? world_loss(w, s.id, s.epoch) : NAN;
    candidate.value = world_measure(w, d->decider.policy, s.id, s.epoch, s.loss);
    if (scored && !isfinite(s.loss)) {
      o->rejected++;
      continue;
    }
    if (scored) {
      msift_candidates_find(1, &candidate, &d->history);
      msift_history_add(&d->history, round, 1,
                        &(struct msift_seen){d->history.end + q - begin, candidate.key, candidate.group, candidate.bin},
                        words);
    }
    verdict = sifting ? msift_decide(&d->decider, &candidate, s.epoch) : msift_accept_all();
    s.probability = msift_probability(verdict.threshold);
    s.weight = verdict.weight;
    o->outliers += verdict.outlier;
    if (msift_accept(w->config.seed, s.epoch, s.id, verdict.threshold))
      samples_add(&o->accepted, s);
  }
  o->candidates += end - begin;
  if (scored) {
    o->scored += end - begin;
    msift_history_commit(&d->history, round, end - begin, words);
  }
  free(words);
}

static inline void oracle_cut(struct oracle *o, int64_t end, int64_t epoch)
{
  samples_add(&o->cuts, (struct sample){.id = end, .epoch = epoch});
}

static inline int64_t last_cut(const struct oracle *o)
{
  return o->cuts.n == 0 ? 0 : o->cuts.at[o->cuts.n - 1].id;
}

/* The share that the last epoch kept, in which enough candidates came to tell; 0: unknown. */
static inline double oracle_last_share(const mpisift_config *c, double last, int64_t kept, int64_t sifted)
{
  if (sifted < c->global_batch_size)
    return last;
  return c->schedule.shape == MPISIFT_CONSTANT ? (double)kept / (double)sifted : 0;
}

/* The share kept of late, which weights and class floors go by; 0: what the policy expects. */
static inline double oracle_share(const mpisift_config *c, double last, int64_t kept, int64_t sifted)
{
  double before = last > 0 ? (double)c->loss_history_length : 0;

  if (c->schedule.shape != MPISIFT_CONSTANT || (double)sifted + before < (double)c->global_batch_size)
    return 0;
  return ((double)kept + last * before) / ((double)sifted + before);
}

/* The round size that keeps a batch, by the share of an epoch before or else the policy. */
static inline int64_t oracle_round_size(const struct world *w, struct deciding *d, int64_t epoch, double last)
{
  const mpisift_config *c = &w->config;

  msift_decider_refresh(&d->decider, (double)epoch / (double)c->epochs, last);
  return c->global_batch_size * (int64_t)fmin(128, floor(1 / d->decider.share + 0.5));
}

/* Runs so many epochs. Lanes as the loader derives them. */
static inline struct oracle oracle_run(const struct world *w, int64_t epochs)
{
  const mpisift_config *c = &w->config;
  struct oracle o = {0};
  struct deciding *d = calloc(1, sizeof *d);
  const struct msift_policy *policy = msift_policy_find(c->policy, &d->error);
  int64_t batch = c->global_batch_size, lanes = c->lanes > 0 ? c->lanes : 240, kept = 0, sifted = 0;
  double last = 0;

  lanes = lanes < w->n ? lanes : w->n;
  msift_history_init(&d->history, &d->memory, &d->error, c->loss_history_length, c->exact_history, c->groups);
  msift_decider_init(&d->decider, policy, c, &d->history);
  for (int64_t e = 0; e < epochs; e++) {
    struct msift_order order = msift_order_make(w->n, w->block, lanes, c->window, c->shuffle, c->seed, e);
    int64_t size, before = o.cuts.n;

    last = oracle_last_share(c, last, kept, sifted);
    size = oracle_round_size(w, d, e, last);
    kept = sifted = 0;
    for (int64_t begin = 0, end; begin < w->n; begin = end) {
      int64_t formed = c->repeat_delay_per_epoch ? o.cuts.n - before : o.cuts.n, had = o.accepted.n;
      int64_t delay = c->sift_delay > formed ? c->sift_delay - formed : 0;
      int paused = o.cuts.n % c->sift_every != 0 ||
                   (c->full_data_tail > 0 &&
                    ((double)e + (double)begin / (double)w->n) / (double)c->epochs >= 1 - c->full_data_tail);
      int full = msift_history_full(&d->history);
      int scores = msift_policy_scored(policy), sifting = delay == 0 && !paused && (!scores || full);
      int filling = delay > 0 ? delay <= (c->loss_history_length + batch - 1) / batch : !full;
      int scored = scores && (sifting || filling);
      double share = oracle_share(c, last, kept, sifted);

      end = begin + (sifting ? size : batch);
      end = end < w->n ? end : w->n;
      if (sifting)
        msift_decider_refresh(&d->decider, ((double)e + (double)begin / (double)w->n) / (double)c->epochs, share);
      oracle_round(w, &o, d, &order, lanes, begin, end, scored, sifting);
      if (sifting) {
        sifted += end - begin;
        kept += o.accepted.n - had;
      }
      while (o.accepted.n - last_cut(&o) >= batch)
        oracle_cut(&o, last_cut(&o) + batch, e);
    }
    if (c->end_of_epoch == MPISIFT_FLUSH && o.accepted.n > last_cut(&o))
      oracle_cut(&o, o.accepted.n, e);
    if (c->end_of_epoch == MPISIFT_DROP) {
      o.dropped += o.accepted.n - last_cut(&o);
      o.accepted.n = last_cut(&o);
    }
  }
  o.carried = o.accepted.n - last_cut(&o);
  msift_history_destroy(&d->history, &d->memory);
  free(d);
  return o;
}

static inline void oracle_free(struct oracle *o)
{
  free(o->accepted.at);
  free(o->cuts.at);
}

/* Samples that have to move for a batch: the surplus over the quotas. */
static inline int64_t oracle_moves(const struct oracle *o, int64_t k, int ranks)
{
  int64_t begin = k == 0 ? 0 : o->cuts.at[k - 1].id, n = o->cuts.at[k].id - begin, moves = 0;

  for (int r = 0; r < ranks; r++) {
    int64_t held = 0, quota = n / ranks + (r < n % ranks);

    for (int64_t i = 0; i < n; i++)
      held += o->accepted.at[begin + i].rank == r;
    moves += held > quota ? held - quota : 0;
  }
  return moves;
}

static inline int64_t equal_count(const mpisift_batch *b)
{
  int64_t good = 0;

  for (int64_t i = 0; i < b->valid; i++) {
    const float *x = (const float *)b->data[0] + i * WIDTH;
    int same = ((const int16_t *)b->data[1])[i] == (int16_t)(b->ids[i] % 1000);

    for (int k = 0; k < WIDTH; k++)
      same &= x[k] == field_value(b->ids[i], k);
    good += same && (i == 0 || b->slots[i] > b->slots[i - 1]);
  }
  return good;
}

/* Whether batch k of the oracle is what the replicas got: every rank checks its own rows, and all slots are there. */
static inline void check_batch(const struct world *w, const struct oracle *o, int64_t k, const mpisift_batch *b,
                               int replica)
{
  int64_t begin = k == 0 ? 0 : o->cuts.at[k - 1].id, n = o->cuts.at[k].id - begin, wrong = 0;

  CU_ASSERT_EQUAL(b->serial, k);
  CU_ASSERT_EQUAL(b->epoch, o->cuts.at[k].epoch);
  CU_ASSERT_EQUAL(b->global_n, n);
  CU_ASSERT_EQUAL(b->valid, n / w->ranks + (replica < n % w->ranks));
  CU_ASSERT_EQUAL(equal_count(b), b->valid);
  for (int64_t i = 0; i < b->valid; i++) {
    const struct sample *s = &o->accepted.at[begin + b->slots[i]];

    wrong += b->slots[i] < 0 || b->slots[i] >= n || s->id != b->ids[i] || s->epoch != b->epochs[i] ||
             memcmp(&s->loss, &b->losses[i], sizeof s->loss) != 0 || s->probability != b->probabilities[i] ||
             s->weight != b->weights[i];
  }
  CU_ASSERT_EQUAL(wrong, 0);
  for (int64_t i = b->valid; i < b->n; i++)
    CU_ASSERT(b->ids[i] == -1 && b->weights[i] == 0 && ((const float *)b->data[0])[i * WIDTH] == 0);
}

/* All slots of the step are taken, each once. */
static inline void check_slots(const mpisift_batch *b, MPI_Comm comm)
{
  int64_t sums[3] = {0, b->valid, 0};

  for (int64_t i = 0; i < b->valid; i++)
    sums[0] += b->slots[i];
  MPI_Allreduce(MPI_IN_PLACE, sums, 2, MPI_INT64_T, MPI_SUM, comm);
  CU_ASSERT_EQUAL(sums[1], b->global_n);
  CU_ASSERT_EQUAL(sums[0], b->global_n * (b->global_n - 1) / 2);
}

static inline mpisift_ctx *open_world(void)
{
  mpisift_team team = {MPI_COMM_WORLD, MPI_COMM_NULL, 0};
  mpisift_ctx *ctx = NULL;

  CU_ASSERT_EQUAL(mpisift_open(&team, NULL, NULL, 0, &ctx), MPISIFT_OK);
  return ctx;
}

/* Whether all ranks have the same text. */
static inline int same_text(const char *text)
{
  char first[512] = "";
  int same;

  strncpy(first, text, sizeof first - 1);
  MPI_Bcast(first, sizeof first, MPI_CHAR, 0, MPI_COMM_WORLD);
  same = strcmp(first, text) == 0;
  MPI_Allreduce(MPI_IN_PLACE, &same, 1, MPI_INT, MPI_LAND, MPI_COMM_WORLD);
  return same;
}

#endif
