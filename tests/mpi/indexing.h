/* What the tests of index plans share: losses that follow from id and epoch, an oracle that plans in one process by
 * plain loops over all samples, and the comparison of a plan with it. */
#ifndef MPISIFT_TESTS_INDEXING_H
#define MPISIFT_TESTS_INDEXING_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <mpisift/mpisift.h>

#include "core/decide.h"
#include "core/order.h"
#include "testing.h"

struct index_world {
  const char *name;
  mpisift_config config;
  int64_t n, block;
  int ranks;        /* replicas */
  int missing, bad; /* one in so many reports never comes, or is bad; 0: none */
  bool confident;   /* confidences are reported */
  bool insane;      /* some of them are NaN or below 0 */
};

static inline struct index_world index_world_make(const char *name, const char *policy)
{
  struct index_world w = {.name = name, .n = 500, .block = 7, .ranks = test_size};

  mpisift_config_init(&w.config, sizeof w.config);
  w.config.policy = policy;
  w.config.global_batch_size = 24;
  w.config.epochs = 5;
  w.config.seed = 11;
  w.config.bad_loss_share = 1;
  w.config.weights_applied = true;
  return w;
}

static inline uint64_t index_hash(int64_t id, int64_t epoch, int use)
{
  return msift_mix((uint64_t)id * 131 + (uint64_t)epoch * 7919 + (uint64_t)use + 17) >> 8;
}

/* Of few values, so that a bin holds one: places are exact. */
static inline float index_loss(const struct index_world *w, int64_t id, int64_t epoch)
{
  if (w->bad > 0 && index_hash(id, epoch, 2) % (uint64_t)w->bad == 0)
    return id % 2 == 0 ? NAN : -1;
  return 0.25F * (float)(1 + index_hash(id, epoch, 1) % 12);
}

static inline bool index_comes(const struct index_world *w, int64_t id, int64_t epoch)
{
  return w->missing == 0 || index_hash(id, epoch, 3) % (uint64_t)w->missing != 0;
}

static inline float index_confidence(const struct index_world *w, int64_t id, int64_t epoch)
{
  uint64_t hash = index_hash(id, epoch, 4);

  if (w->insane && hash % 7 == 0)
    return id % 2 == 0 ? NAN : -1;
  return (float)(hash % 1000) / 1000;
}

/* A sample in a sequence, as the oracle expects it. */
struct index_sample {
  int64_t id, drawn;
  double probability, weight;
  float loss;
  bool sifted;
};

enum { INDEX_MOST = 4000, INDEX_GROUPS = 5 };

struct index_sequence {
  struct index_sample at[INDEX_MOST];
  int64_t n;
};

struct index_oracle {
  const struct index_world *w;
  /* the table */
  double smoothed[INDEX_MOST];
  float loss[INDEX_MOST], confidence[INDEX_MOST];
  double share; /* that the last plan kept in which anything was judged; 0: there was none */
  /* batches given out and not yet in the table, one sample after the other; what a loader scored is in none */
  int64_t id[4 * INDEX_MOST], trained[4 * INDEX_MOST], serial_of[4 * INDEX_MOST], n_open;
  int64_t epoch, serial, steps;
  struct index_sequence carried, train, refresh; /* train: of this epoch, carried ones first */
  mpisift_index_epoch now;
};

static inline void oracle_open(struct index_oracle *o, const struct index_world *w)
{
  memset(o, 0, sizeof *o);
  o->w = w;
  for (int64_t id = 0; id < w->n; id++)
    o->smoothed[id] = o->loss[id] = o->confidence[id] = NAN;
}

static inline void oracle_update(struct index_oracle *o, int64_t id, int64_t epoch)
{
  const mpisift_config *c = &o->w->config;
  double loss = (double)index_loss(o->w, id, epoch), before = isnan(o->smoothed[id]) ? loss : o->smoothed[id];

  o->confidence[id] = o->w->confident ? index_confidence(o->w, id, epoch) : NAN;
  if (o->w->confident && !(o->confidence[id] > 0))
    o->confidence[id] = 0;
  if (!(loss >= 0)) {
    o->smoothed[id] = o->loss[id] = NAN;
    o->now.bad++;
    return;
  }
  o->smoothed[id] = (double)(float)(c->loss_smoothing * before + (1 - c->loss_smoothing) * loss);
  o->loss[id] = (float)(o->smoothed[id] + c->loss_difference * (loss - before));
}

/* Reports of all batches but the last report_lag. */
static inline void oracle_settle(struct index_oracle *o)
{
  int64_t left = 0;

  for (int64_t i = 0; i < o->n_open; i++) {
    if (o->serial_of[i] >= o->serial - o->w->config.report_lag) {
      o->id[left] = o->id[i], o->trained[left] = o->trained[i], o->serial_of[left++] = o->serial_of[i];
    } else if (index_comes(o->w, o->id[i], o->trained[i])) {
      o->now.reported++;
      oracle_update(o, o->id[i], o->trained[i]);
    } else {
      o->now.unreported++;
    }
  }
  o->n_open = left;
}

/* Shares of known losses below a loss, and up to it; and whether it is below their mean. */
static inline void oracle_place(const struct index_oracle *o, float loss, double *low, double *high, bool *below)
{
  int64_t n = 0, less = 0, up_to = 0;
  double sum = 0;

  for (int64_t id = 0; id < o->w->n; id++)
    if (!isnan(o->loss[id])) {
      n++;
      less += o->loss[id] < loss;
      up_to += o->loss[id] <= loss;
      sum += floor((double)o->loss[id] * 0x1p24 + 0.5);
    }
  *low = (double)less / (double)n;
  *high = (double)up_to / (double)n;
  *below = floor((double)loss * 0x1p24 + 0.5) < floor(sum / (double)n);
}

/* The part of [low, high] below a line. */
static inline double part_below(double low, double high, double line)
{
  return fmin(1, fmax(0, (line - low) / (high - low)));
}

/* Beta or keep, where the epoch begins. */
static inline double oracle_strength(const struct index_oracle *o, double value)
{
  const mpisift_config *c = &o->w->config;
  const mpisift_schedule *s = &c->schedule;
  double z, u = c->step_budget > 0 ? (double)o->steps / (double)c->step_budget : (double)o->epoch / (double)c->epochs;

  for (int i = 0; i < s->n; i++) {
    if (u < s->at[i])
      return value;
    value = s->value[i];
    if (s->shape == MPISIFT_STEPS || i + 1 == s->n || u >= s->at[i + 1])
      continue;
    z = (u - s->at[i]) / (s->at[i + 1] - s->at[i]);
    return value + (s->value[i + 1] - value) * (s->shape == MPISIFT_LINEAR ? z : (1 - cos(z * acos(-1))) / 2);
  }
  return value;
}

/* f k N / N_g, with N known losses, N_g of the class. */
static inline double oracle_class_floor(const struct index_oracle *o, int64_t id)
{
  const mpisift_config *c = &o->w->config;
  double n = 0, n_of = 0, share = o->share > 0 ? o->share : 1 / (1 + c->beta);

  for (int64_t i = 0; i < o->w->n; i++)
    if (!isnan(o->loss[i])) {
      n++;
      n_of += i % INDEX_GROUPS == id % INDEX_GROUPS;
    }
  return c->class_floor > 0 ? c->class_floor * share * n / n_of : 0;
}

/* The policy's probability, for a known loss; below 0: an outlier. */
static inline double oracle_probability(const struct index_oracle *o, int64_t id)
{
  const mpisift_config *c = &o->w->config;
  double low, high, p, e = oracle_strength(o, c->beta) + 1, keep = oracle_strength(o, c->keep);
  bool below;

  if (strcmp(c->policy, "all") == 0)
    return 1;
  if (c->coverage_epochs > 0 && (msift_mix((uint64_t)id + 1) % (uint64_t)c->coverage_epochs + (uint64_t)o->epoch) %
                                        (uint64_t)c->coverage_epochs ==
                                    0)
    return 1;
  if (strcmp(c->policy, "random") == 0)
    return fmax(keep, c->floor);
  oracle_place(o, o->loss[id], &low, &high, &below);
  if (c->outlier_share > 0 && low >= 1 - c->outlier_share)
    return -1;
  if (strcmp(c->policy, "stale_relative") == 0)
    p = (pow(high, e) - pow(low, e)) / (e * (high - low));
  else if (strcmp(c->policy, "hide") == 0)
    p = o->confidence[id] < c->move_back ? 1 : 1 - part_below(low, high, 1 - keep);
  else if (c->prune_quantile > 0)
    p = 1 - (1 - keep) * part_below(low, high, c->prune_quantile);
  else
    p = below ? keep : 1;
  return fmin(1, fmax(fmax(p, c->floor), oracle_class_floor(o, id)));
}

static inline bool oracle_sifts(const struct index_oracle *o, int64_t position)
{
  const mpisift_config *c = &o->w->config;
  int64_t delay = c->sift_delay - (c->repeat_delay_per_epoch ? 0 : o->steps);
  double at = ((double)o->epoch + (double)position / (double)o->w->n) / (double)c->epochs;

  if (position + o->carried.n < delay * c->global_batch_size || (o->epoch + 1) % c->sift_every != 0)
    return false;
  return c->full_data_tail == 0 || at < 1 - c->full_data_tail - 1e-12;
}

static inline bool oracle_refreshes(const struct index_oracle *o, int64_t id)
{
  const mpisift_config *c = &o->w->config;
  uint64_t draw = msift_random(c->seed, MSIFT_STREAM_REFRESH, (uint64_t)o->epoch, (uint64_t)id);

  return c->refresh_every > 0 && (o->epoch + 1) % c->refresh_every == 0 && o->epoch + 1 != c->epochs &&
         (double)(draw >> 11) * 0x1p-53 < c->refresh_share;
}

static inline double oracle_weight(const struct index_oracle *o, const struct index_sample *s, double share)
{
  const mpisift_config *c = &o->w->config;
  bool policy = c->weights == MPISIFT_WEIGHTS_POLICY, soft = strcmp(c->policy, "soft_prune") == 0;
  double weight = c->weights == MPISIFT_WEIGHTS_UNBIASED ? 1 / s->probability : share / s->probability;

  if (!s->sifted || (policy && !soft))
    return 1;
  return c->weight_clip > 0 ? fmin(weight, c->weight_clip) : weight;
}

/* All positions in their order. */
static inline void oracle_choose(struct index_oracle *o)
{
  const struct index_world *w = o->w;
  const mpisift_config *c = &w->config;
  int64_t lanes = c->lanes > 0 ? c->lanes : 240, sifted = 0;
  struct msift_order order =
      msift_order_make(w->n, w->block, lanes < w->n ? lanes : w->n, c->window, c->shuffle, c->seed, o->epoch);
  double sum = 0;
  bool judged = false;

  o->train = o->carried;
  o->refresh.n = 0;
  for (int64_t q = 0; q < w->n; q++) {
    struct index_sample s = {.id = msift_order_id(&order, q), .drawn = o->epoch, .probability = 1};
    bool unknown = isnan(o->loss[s.id]), blind = strcmp(c->policy, "random") == 0 || strcmp(c->policy, "all") == 0;

    s.loss = o->loss[s.id];
    s.sifted = oracle_sifts(o, q);
    o->now.unknown += unknown;
    judged |= s.sifted && (blind || !unknown);
    if (s.sifted && (blind || !unknown))
      s.probability = oracle_probability(o, s.id);
    o->now.outliers += s.probability < 0;
    s.probability = fmax(s.probability, 0);
    sifted += s.sifted;
    sum += s.sifted ? s.probability : 0;
    if (msift_accept(c->seed, o->epoch, s.id, (uint64_t)llround(s.probability * 0x1p32)))
      o->train.at[o->train.n++] = s;
    else if (oracle_refreshes(o, s.id))
      o->refresh.at[o->refresh.n++] = s;
  }
  o->now.share = sifted > 0 ? sum / (double)sifted : 1;
  o->share = judged ? o->now.share : o->share;
  for (int64_t i = o->carried.n; i < o->train.n; i++)
    o->train.at[i].weight = oracle_weight(o, &o->train.at[i], o->now.share);
}

static inline void oracle_cut(struct index_oracle *o)
{
  const mpisift_config *c = &o->w->config;
  int64_t batch = c->global_batch_size, all = o->train.n, trained;

  o->now.steps = all / batch + (c->end_of_epoch == MPISIFT_FLUSH && all % batch > 0);
  if (c->step_budget > 0 && o->now.steps > c->step_budget - o->steps)
    o->now.steps = c->step_budget - o->steps;
  trained = o->now.steps * batch < all ? o->now.steps * batch : all;
  o->carried.n = 0;
  if (c->end_of_epoch == MPISIFT_CARRY && o->now.steps == all / batch)
    for (int64_t i = trained; i < all; i++)
      o->carried.at[o->carried.n++] = o->train.at[i];
  o->now.carried_out = o->carried.n;
  o->now.dropped = all - trained - o->carried.n;
  o->train.n = trained;
}

/* Blocks of ids of which none is accepted. */
static inline int64_t oracle_empty_blocks(const struct index_oracle *o)
{
  int64_t empty = 0;

  for (int64_t b = 0; b * o->w->block < o->w->n; b++) {
    bool used = false;

    for (int64_t i = 0; i < o->train.n; i++)
      used |= o->train.at[i].drawn == o->epoch && o->train.at[i].id / o->w->block == b;
    empty += !used;
  }
  return empty;
}

static inline void oracle_begin(struct index_oracle *o)
{
  o->now = (mpisift_index_epoch){.epoch = o->epoch, .candidates = o->w->n, .carried_in = o->carried.n};
  oracle_settle(o);
  oracle_choose(o);
  o->now.blocks_empty = oracle_empty_blocks(o);
  o->now.accepted = o->train.n - o->now.carried_in;
  o->now.sifted_out = o->w->n - o->now.accepted - o->now.outliers;
  oracle_cut(o);
  o->now.refresh_steps = (o->refresh.n + o->w->config.global_batch_size - 1) / o->w->config.global_batch_size;
}

/* Batch k of a sequence has been given out. */
static inline void oracle_give(struct index_oracle *o, const struct index_sequence *s, int64_t k)
{
  int64_t batch = o->w->config.global_batch_size;

  for (int64_t i = k * batch; i < (k + 1) * batch && i < s->n; i++) {
    o->id[o->n_open] = s->at[i].id;
    o->trained[o->n_open] = o->epoch;
    o->serial_of[o->n_open++] = o->serial;
  }
  o->serial++;
}

/* A sequence has been scored by a loader, for the next plan whatever the lag. */
static inline void oracle_score(struct index_oracle *o, const struct index_sequence *s)
{
  for (int64_t i = 0; i < s->n; i++) {
    o->id[o->n_open] = s->at[i].id;
    o->trained[o->n_open] = o->epoch;
    o->serial_of[o->n_open++] = INT64_MIN;
  }
}

static inline mpisift_ctx *open_indexing(void)
{
  mpisift_team team = {MPI_COMM_WORLD, MPI_COMM_NULL, 0};
  mpisift_ctx *ctx = NULL;

  CU_ASSERT_EQUAL(mpisift_open(&team, NULL, NULL, 0, &ctx), MPISIFT_OK);
  return ctx;
}

/* A run of a plan beside the oracle. */
struct index_run {
  struct index_world w;
  mpisift_status (*report)(struct index_run *r, int64_t serial, int64_t first, int64_t n, const mpisift_scores *scores,
                           int64_t stride); /* in place of that of host memory; NULL: none */
  struct index_oracle *o;
  mpisift_ctx *ctx;
  mpisift_indices *x;
  struct index_given {
    int64_t serial, epoch, valid, ids[64];
  } late[64];       /* batches whose reports are due, by serial modulo */
  int64_t reported; /* batches below have been */
};

static inline mpisift_status report_rows(struct index_run *r, int64_t serial, int64_t first, int64_t n, float *losses,
                                         float *confidences, int32_t *groups)
{
  const mpisift_scores scores = {.loss = losses, .confidence = confidences, .group = groups};

  if (r->report != NULL)
    return r->report(r, serial, first, n, &scores, 2);
  if (!r->w.confident)
    return mpisift_indices_report(r->x, serial, first, n, losses, 2);
  return mpisift_indices_report_scores(r->x, serial, first, n, &scores, 2);
}

/* In every second element, in pieces between the reports that are missing. */
static inline void report_batch(struct index_run *r, const struct index_given *b)
{
  float losses[256], confidences[256];
  int32_t groups[256];

  for (int64_t i = 0; i < b->valid; i++) {
    losses[2 * i] = index_loss(&r->w, b->ids[i], b->epoch);
    confidences[2 * i] = index_confidence(&r->w, b->ids[i], b->epoch);
    groups[2 * i] = (int32_t)(b->ids[i] % INDEX_GROUPS);
    losses[2 * i + 1] = confidences[2 * i + 1] = 1e9F;
    groups[2 * i + 1] = -7;
  }
  for (int64_t i = 0, n; i < b->valid; i += n) {
    for (n = 0; i + n < b->valid && index_comes(&r->w, b->ids[i + n], b->epoch);)
      n++;
    CU_ASSERT_EQUAL(report_rows(r, b->serial, i, n, losses + 2 * i, confidences + 2 * i, groups + 2 * i), MPISIFT_OK);
    n += i + n < b->valid;
  }
}

/* Reports come as late as they may, or at once, as rank and batch have it. */
static inline void report_due(struct index_run *r)
{
  for (; r->reported < r->o->serial; r->reported++) {
    bool must = r->reported < r->o->serial - r->w.config.report_lag;

    if (!must && (r->reported + test_rank) % 3 != 0)
      return;
    report_batch(r, &r->late[r->reported % 64]);
  }
}

static inline void check_rows_of(struct index_run *r, const struct index_sequence *s, int64_t k, bool scored,
                                 const mpisift_batch *b)
{
  int64_t batch = r->w.config.global_batch_size, begin = k * batch, wrong = 0, sums[2] = {0, b->valid};
  int64_t n = s->n - begin < batch ? s->n - begin : batch;

  CU_ASSERT_EQUAL(b->serial, r->o->serial);
  CU_ASSERT_EQUAL(b->epoch, r->o->epoch);
  CU_ASSERT_EQUAL(b->global_n, n);
  for (int64_t i = 0; i < b->valid; i++) {
    const struct index_sample *e = &s->at[begin + b->slots[i]];

    sums[0] += b->slots[i];
    wrong += b->slots[i] < 0 || b->slots[i] >= n || (i > 0 && b->slots[i] <= b->slots[i - 1]) || b->ids[i] != e->id ||
             b->epochs[i] != e->drawn || memcmp(&b->losses[i], &e->loss, sizeof e->loss) != 0;
    wrong += fabs((double)b->probabilities[i] - (scored ? 0 : e->probability)) > 1e-6;
    wrong += fabs((double)b->weights[i] - (scored ? 0 : e->weight)) > 1e-5 * e->weight;
  }
  for (int64_t i = b->valid; i < b->n; i++)
    wrong += b->ids[i] != -1 || b->weights[i] != 0 || b->slots[i] != -1;
  CU_ASSERT_EQUAL(wrong, 0);
  MPI_Allreduce(MPI_IN_PLACE, sums, 2, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
  if (r->w.ranks == test_size) {
    CU_ASSERT_EQUAL(sums[1], n);
    CU_ASSERT_EQUAL(sums[0], n * (n - 1) / 2);
  }
}

static inline void check_epoch(const mpisift_index_epoch *e, const mpisift_index_epoch *o)
{
  CU_ASSERT_EQUAL(e->epoch, o->epoch);
  CU_ASSERT_EQUAL(e->steps, o->steps);
  CU_ASSERT_EQUAL(e->refresh_steps, o->refresh_steps);
  CU_ASSERT_EQUAL(e->candidates, o->candidates);
  CU_ASSERT_EQUAL(e->accepted, o->accepted);
  CU_ASSERT_EQUAL(e->sifted_out, o->sifted_out);
  CU_ASSERT_EQUAL(e->outliers, o->outliers);
  CU_ASSERT_EQUAL(e->unknown, o->unknown);
  CU_ASSERT_EQUAL(e->carried_in, o->carried_in);
  CU_ASSERT_EQUAL(e->carried_out, o->carried_out);
  CU_ASSERT_EQUAL(e->dropped, o->dropped);
  CU_ASSERT_EQUAL(e->blocks_empty, o->blocks_empty);
  CU_ASSERT_EQUAL(e->reported, o->reported);
  CU_ASSERT_EQUAL(e->bad, o->bad);
  CU_ASSERT_EQUAL(e->unreported, o->unreported);
  CU_ASSERT_DOUBLE_EQUAL(e->share, o->share, 1e-6);
  CU_ASSERT_EQUAL(e->learning_rate_factor, (double)o->candidates / (double)o->accepted);
}

static inline void index_open(struct index_run *r, const struct index_world *w)
{
  memset(r, 0, sizeof *r);
  r->w = *w;
  r->o = malloc(sizeof *r->o);
  oracle_open(r->o, &r->w);
  r->ctx = open_indexing();
  CU_ASSERT_EQUAL(mpisift_indices_create(r->ctx, &r->w.config, w->n, w->block, &r->x), MPISIFT_OK);
}

static inline void index_close(struct index_run *r)
{
  CU_ASSERT_EQUAL(mpisift_indices_destroy(&r->x), MPISIFT_OK);
  CU_ASSERT_PTR_NULL(r->x);
  CU_ASSERT_EQUAL(mpisift_close(&r->ctx), MPISIFT_OK);
  free(r->o);
}

/* Batch k that was given out. */
static inline void index_take(struct index_run *r, const struct index_sequence *s, int64_t k, bool scored,
                              const mpisift_batch *b)
{
  int64_t n = s->n - k * r->w.config.global_batch_size;
  struct index_given *late;

  n = n < r->w.config.global_batch_size ? n : r->w.config.global_batch_size;
  if (r->w.ranks == test_size) {
    int64_t quota = n / r->w.ranks + (test_rank < n % r->w.ranks);

    CU_ASSERT_EQUAL(b->valid, quota);
    CU_ASSERT(b->n == quota || (b->n > quota && k == (s->n - 1) / r->w.config.global_batch_size));
  }
  check_rows_of(r, s, k, scored, b);
  oracle_give(r->o, s, k);
  late = &r->late[b->serial % 64];
  *late = (struct index_given){.serial = b->serial, .epoch = b->epoch, .valid = b->valid};
  memcpy(late->ids, b->ids, (size_t)b->valid * sizeof *b->ids);
  report_due(r);
}

static inline void index_begin(struct index_run *r)
{
  mpisift_index_epoch epoch;

  report_due(r);
  oracle_begin(r->o);
  CU_ASSERT_EQUAL(mpisift_indices_begin_epoch(r->x, r->w.n, &epoch), MPISIFT_OK);
  check_epoch(&epoch, &r->o->now);
}

static inline void index_batches(struct index_run *r)
{
  mpisift_batch b;

  for (int64_t k = 0; k < r->o->now.steps; k++) {
    CU_ASSERT_EQUAL_FATAL(mpisift_indices_next(r->x, &b), MPISIFT_OK);
    index_take(r, &r->o->train, k, false, &b);
    r->o->steps++;
  }
  CU_ASSERT_EQUAL(mpisift_indices_next(r->x, &b), MPISIFT_END_OF_EPOCH);
  for (int64_t k = 0; k < r->o->now.refresh_steps; k++) {
    CU_ASSERT_EQUAL_FATAL(mpisift_indices_refresh(r->x, &b), MPISIFT_OK);
    index_take(r, &r->o->refresh, k, true, &b);
  }
  CU_ASSERT_EQUAL(mpisift_indices_refresh(r->x, &b), MPISIFT_END_OF_EPOCH);
  r->o->epoch++;
}

#endif
