/* What the tests of the sifter share: candidates whose scores and contents follow from the id, spread over ranks in
 * several ways, an oracle that decides on them and cuts the batches in one process, and a run compared with it. */
#ifndef MPISIFT_TESTS_PUSHING_H
#define MPISIFT_TESTS_PUSHING_H

#include "loading.h"

/* Places of a push with positions; candidates of a rank without; pushes an epoch. */
enum { SPAN = 90, MOST = 40, PUSHES = 14, MAX_RANKS = 16, PLACES = MOST * MAX_RANKS, MAX_EPOCHS = 5 };
enum { TOKENS = 7, FRAMES = 3, FRAME = 2, ALL_FIELDS = 4 };
enum spread { ROUND_ROBIN, ONE_RANK, SCATTERED, IN_BLOCKS, SPREADS };

static const mpisift_field push_fields[ALL_FIELDS] = {
    {"x", MPISIFT_F32, 1, {WIDTH}},
    {"y", MPISIFT_I16, 0, {0}},
    {"tokens", MPISIFT_I32, 1, {TOKENS}},
    {"frames", MPISIFT_F32, 2, {FRAMES, FRAME}},
};
static const bool push_padded[ALL_FIELDS] = {false, false, true, true};

struct pushing {
  struct world w;
  mpisift_team team;
  bool positioned, numbered; /* positions are given; ids are not */
  enum spread spread;
  mpisift_type type; /* of the losses */
  int n_fields;      /* of push_fields; the last two are padded */
  int me;            /* number of this replica */
};

struct candidate {
  int64_t id, position;
  float loss, bound, confidence, reference;
  int rank;
  int32_t group;
};

/* What is decided, by epoch, push and position. */
struct decided {
  bool known, accepted;
  float probability, weight;
};

struct push_oracle {
  struct oracle o;
  double last_share;
  uint64_t id_hash;
  int64_t rounds;
  struct decided decided[MAX_EPOCHS][PUSHES][PLACES];
};

static inline struct pushing pushing_make(const char *name, int64_t global_batch)
{
  struct pushing p = {.w = world_make(name, -1, global_batch),
                      .team = {MPI_COMM_WORLD, MPI_COMM_NULL, 0},
                      .positioned = true,
                      .type = MPISIFT_F32,
                      .n_fields = 2,
                      .me = test_rank};

  p.w.narrow = 1;
  return p;
}

/* What a loss is as a number of a type. Exact for losses of the world, which are far from underflow. */
static inline float rounded(mpisift_type type, float loss)
{
  int digits = type == MPISIFT_F16 ? 11 : type == MPISIFT_BF16 ? 8 : 24, exponent;
  float mantissa = frexpf(loss, &exponent);

  return isnan(loss) ? loss : ldexpf(floorf(ldexpf(mantissa, digits)), exponent - digits);
}

/* A rounded loss as element i of an array of its type. */
static inline void put_loss(mpisift_type type, float loss, void *losses, int64_t i)
{
  uint32_t word;
  int exponent;

  memcpy(&word, &loss, sizeof word);
  if (type == MPISIFT_F32)
    ((float *)losses)[i] = loss;
  else if (type == MPISIFT_F64)
    ((double *)losses)[i] = (double)loss * (1 + 1e-10);
  else if (type == MPISIFT_BF16)
    ((uint16_t *)losses)[i] = (uint16_t)(word >> 16);
  else if (isnan(loss))
    ((uint16_t *)losses)[i] = 0x7e00;
  else
    ((uint16_t *)losses)[i] = (uint16_t)(frexpf(loss, &exponent) * 2048 - 1024 + (float)(1024 * (exponent + 14)));
}

static inline struct candidate push_candidate(const struct pushing *p, int64_t id, int64_t epoch, int64_t position,
                                              int rank)
{
  return (struct candidate){.id = id,
                            .position = position,
                            .loss = rounded(p->type, world_loss(&p->w, id, epoch)),
                            .bound = world_bound(id, epoch),
                            .confidence = world_confidence(id, epoch),
                            .reference = (float)world_reference(&p->w, id),
                            .rank = rank,
                            .group = (int32_t)(id % WORLD_GROUPS)};
}

static inline int rank_of(const struct pushing *p, int64_t push, int64_t position)
{
  switch (p->spread) {
  case ONE_RANK:
    return (int)(push % p->w.ranks);
  case SCATTERED:
    return (int)(msift_mix((uint64_t)(push * SPAN + position)) % (uint64_t)p->w.ranks);
  case IN_BLOCKS:
    return (int)(position * p->w.ranks / SPAN);
  default:
    return (int)(position % p->w.ranks);
  }
}

/* Some pushes are empty, and some have one candidate. */
static inline bool occupied(int64_t push, int64_t position)
{
  return push % 7 == 5 ? false : push % 7 == 2 ? position == 17 : msift_mix((uint64_t)(push * SPAN + position)) % 8 > 0;
}

static inline int64_t rank_count(int64_t push, int rank)
{
  return push % 7 == 5 ? 0 : (int64_t)(msift_mix((uint64_t)(push * 64 + rank + 1)) % (MOST + 1)) * (rank % 4 != 3);
}

/* The candidates of a push, of all ranks, in order. `base`: positions of the run before this push. */
static inline int64_t push_list(const struct pushing *p, int64_t epoch, int64_t push, int64_t base,
                                struct candidate *all)
{
  int64_t n = 0, places = p->positioned ? SPAN : MOST * p->w.ranks;

  for (int64_t q = 0; q < places; q++) {
    int rank = p->positioned ? rank_of(p, push, q) : (int)(q % p->w.ranks);
    bool there = p->positioned ? occupied(push, q) : q / p->w.ranks < rank_count(push, rank);

    if (there)
      all[n++] = push_candidate(p, p->numbered ? base + q : push * PLACES + q, epoch, q, rank);
  }
  return n;
}

/* Decide on a push and put it into the history. */
static inline void oracle_push(const struct pushing *p, struct push_oracle *po, struct deciding *d,
                               const struct candidate *all, int64_t n, struct msift_history_round round, int64_t epoch,
                               bool sifting, struct decided *decided)
{
  const struct msift_policy *policy = d->decider.policy;
  bool scored = msift_policy_scored(policy);
  uint32_t *words = calloc((size_t)msift_history_words(&d->history, round.places), sizeof *words);

  if (scored) {
    msift_history_reserve(&d->history, &d->memory, &d->error, round, n);
    msift_history_begin(&d->history, round, words);
  }
  for (int64_t i = 0; i < n; i++) {
    const struct candidate *c = &all[i];
    struct msift_candidate candidate = {
        .id = c->id, .value = world_measure(&p->w, policy, c->id, epoch, c->loss), .group = c->group};
    struct msift_verdict v = {.weight = 1};
    bool bad = scored && isnan(candidate.value), accepted;

    if (scored && !bad) {
      msift_candidates_find(1, &candidate, &d->history);
      msift_history_add(&d->history, round, 1,
                        &(struct msift_seen){d->history.end + c->position, candidate.key, c->group, candidate.bin},
                        words);
    }
    if (!bad)
      v = sifting ? msift_decide(&d->decider, &candidate, epoch) : msift_accept_all();
    accepted = !bad && msift_accept(p->w.config.seed, epoch, c->id, v.threshold);
    decided[c->position] = (struct decided){true, accepted, msift_probability(v.threshold), v.weight};
    po->o.rejected += bad;
    po->o.outliers += v.outlier;
    po->id_hash += msift_mix((uint64_t)c->id + 1);
    if (accepted)
      samples_add(&po->o.accepted, (struct sample){c->id, epoch, scored ? c->loss : NAN, msift_probability(v.threshold),
                                                   v.weight, c->rank});
  }
  po->o.candidates += n;
  po->rounds++;
  if (scored) {
    msift_history_commit(&d->history, round, n, words);
  }
  free(words);
}

/* Whether the next step is to be sifted. */
static inline bool oracle_sifts(const struct pushing *p, const struct deciding *d, int64_t step, int64_t step_of_epoch,
                                int64_t epoch)
{
  const mpisift_config *c = &p->w.config;
  bool scores = msift_policy_scored(d->decider.policy);

  return (c->repeat_delay_per_epoch ? step_of_epoch : step) >= c->sift_delay && step % c->sift_every == 0 &&
         !(c->full_data_tail > 0 && (double)epoch / (double)c->epochs >= 1 - c->full_data_tail) &&
         (!scores || msift_history_full(&d->history));
}

static inline void oracle_push_epoch(const struct pushing *p, struct push_oracle *po, struct deciding *d, int64_t epoch,
                                     int64_t *base)
{
  const mpisift_config *c = &p->w.config;
  int64_t batch = c->global_batch_size, kept = 0, sifted = 0, cuts = po->o.cuts.n, before = po->o.accepted.n;
  int64_t places = p->positioned ? SPAN : MOST * p->w.ranks;
  struct candidate all[PLACES];

  for (int64_t k = 0; k < PUSHES; k++) {
    int64_t n = push_list(p, epoch, k, *base, all), had = po->o.accepted.n;
    struct msift_history_round round = {places, true};
    int64_t step = p->n_fields > 0 ? po->o.cuts.n : had / batch;
    bool sifting = oracle_sifts(p, d, step, p->n_fields > 0 ? step - cuts : (had - before) / batch, epoch);

    if (n == 0)
      continue;
    if (sifting)
      msift_decider_refresh(&d->decider, c->epochs > 0 ? (double)epoch / (double)c->epochs : 0,
                            oracle_share(c, po->last_share, kept, sifted));
    oracle_push(p, po, d, all, n, round, epoch, sifting, po->decided[epoch][k]);
    sifted += sifting ? n : 0;
    kept += sifting ? po->o.accepted.n - had : 0;
    *base += places;
    while (p->n_fields > 0 && po->o.accepted.n - last_cut(&po->o) >= batch)
      oracle_cut(&po->o, last_cut(&po->o) + batch, epoch);
  }
  po->last_share = oracle_last_share(c, po->last_share, kept, sifted);
  if (p->n_fields > 0 && c->end_of_epoch == MPISIFT_FLUSH && po->o.accepted.n > last_cut(&po->o))
    oracle_cut(&po->o, po->o.accepted.n, epoch);
  if (p->n_fields > 0 && c->end_of_epoch == MPISIFT_DROP) {
    po->o.dropped += po->o.accepted.n - last_cut(&po->o);
    po->o.accepted.n = last_cut(&po->o);
  }
}

static inline struct push_oracle *oracle_pushes(const struct pushing *p, int64_t epochs)
{
  const mpisift_config *c = &p->w.config;
  struct push_oracle *po = calloc(1, sizeof *po);
  struct deciding *d = calloc(1, sizeof *d);
  int64_t base = 0;

  msift_history_init(&d->history, &d->memory, &d->error, c->loss_history_length, c->exact_history, c->groups);
  msift_decider_init(&d->decider, msift_policy_find(c->policy, &d->error), c, &d->history);
  for (int64_t e = 0; e < epochs; e++)
    oracle_push_epoch(p, po, d, e, &base);
  po->o.carried = p->n_fields > 0 ? po->o.accepted.n - last_cut(&po->o) : 0;
  msift_history_destroy(&d->history, &d->memory);
  free(d);
  return po;
}

static inline void push_oracle_free(struct push_oracle *po)
{
  oracle_free(&po->o);
  free(po);
}

static inline int64_t tokens_of(int64_t id)
{
  return (int64_t)(msift_mix((uint64_t)id + 77) % (TOKENS + 1));
}

static inline int64_t frames_of(int64_t id)
{
  return (int64_t)(msift_mix((uint64_t)id + 99) % (FRAMES + 1));
}

/* Candidates of a rank, with all memory that they need. Padding behind the lengths is rubbish, which must not come
 * out again. */
struct pushed {
  int64_t n, ids[PLACES], positions[PLACES], tokens_n[PLACES], frames_n[PLACES];
  double losses[PLACES]; /* of any type */
  float bounds[PLACES], confidences[PLACES], references[PLACES];
  int32_t groups[PLACES];
  float x[PLACES][WIDTH], frames[PLACES][FRAMES][FRAME];
  int16_t y[PLACES];
  int32_t tokens[PLACES][TOKENS];
  const void *records[ALL_FIELDS];
  const int64_t *lengths[ALL_FIELDS];
  bool accepted[PLACES];
  float probabilities[PLACES], weights[PLACES];
  mpisift_candidates candidates;
  mpisift_decisions decisions;
};

static inline void put_record(struct pushed *out, int64_t i, int64_t id)
{
  for (int k = 0; k < WIDTH; k++)
    out->x[i][k] = field_value(id, k);
  out->y[i] = (int16_t)(id % 1000);
  out->tokens_n[i] = tokens_of(id);
  out->frames_n[i] = frames_of(id);
  for (int k = 0; k < TOKENS; k++)
    out->tokens[i][k] = k < tokens_of(id) ? (int32_t)(id * 10 + k + 1) : -7;
  for (int k = 0; k < FRAMES * FRAME; k++)
    out->frames[i][k / FRAME][k % FRAME] = k / FRAME < frames_of(id) ? (float)(id + k + 1) : NAN;
}

/* This rank's part of a push; scattered candidates come in descending order of positions. */
static inline void push_part(const struct pushing *p, int64_t epoch, int64_t push, int64_t base, struct pushed *out)
{
  struct candidate all[PLACES];
  int64_t n = push_list(p, epoch, push, base, all);

  memset(out, 0, sizeof *out);
  for (int64_t i = 0; i < n; i++) {
    const struct candidate *c = &all[p->spread == SCATTERED && p->positioned ? n - 1 - i : i];
    int64_t k = out->n;

    if (c->rank != p->me)
      continue;
    out->ids[k] = c->id;
    out->positions[k] = c->position;
    put_loss(p->type, c->loss, out->losses, k);
    out->bounds[k] = c->bound;
    out->confidences[k] = c->confidence;
    out->references[k] = c->reference;
    out->groups[k] = c->group;
    put_record(out, k, c->id);
    out->n++;
  }
  memcpy(out->records, (const void *const[]){out->x, out->y, out->tokens, out->frames}, sizeof out->records);
  memcpy(out->lengths, (const int64_t *const[]){NULL, NULL, out->tokens_n, out->frames_n}, sizeof out->lengths);
  out->candidates = (mpisift_candidates){.n = out->n,
                                         .ids = p->numbered ? NULL : out->ids,
                                         .positions = p->positioned ? out->positions : NULL,
                                         .losses = out->losses,
                                         .loss_type = p->type,
                                         .bounds = out->bounds,
                                         .confidences = out->confidences,
                                         .groups = out->groups,
                                         .references = out->references,
                                         .records = out->records,
                                         .lengths = p->n_fields > 2 ? out->lengths : NULL};
  out->decisions = (mpisift_decisions){out->accepted, out->probabilities, out->weights};
}

static inline mpisift_pushes pushes_of(const struct pushing *p)
{
  return (mpisift_pushes){.max_candidates = p->positioned ? SPAN : MOST,
                          .max_span = p->positioned ? SPAN : 0,
                          .n_fields = p->n_fields,
                          .fields = push_fields,
                          .padded = p->n_fields > 2 ? push_padded : NULL};
}

/* Rows of a batch or slice whose padded fields are as they were pushed, with zeros behind. */
static inline int64_t equal_padded(const mpisift_batch *b)
{
  int64_t good = 0;

  for (int64_t i = 0; i < b->valid; i++) {
    const int32_t *tokens = (const int32_t *)b->data[2] + i * TOKENS;
    const float *frames = (const float *)b->data[3] + i * FRAMES * FRAME;
    int64_t id = b->ids[i];
    bool same = b->lengths[2][i] == tokens_of(id) && b->lengths[3][i] == frames_of(id);

    for (int k = 0; k < TOKENS; k++)
      same &= tokens[k] == (k < tokens_of(id) ? (int32_t)(id * 10 + k + 1) : 0);
    for (int k = 0; k < FRAMES * FRAME; k++)
      same &= frames[k] == (k / FRAME < frames_of(id) ? (float)(id + k + 1) : 0);
    good += same;
  }
  return good;
}

static inline void check_padded(const struct pushing *p, const mpisift_batch *b)
{
  mpisift_batch slice = mpisift_batch_slice(b, 1, b->n);
  int64_t rubbish = 0;

  CU_ASSERT_EQUAL(b->n_fields, p->n_fields);
  CU_ASSERT(b->lengths[0] == NULL && b->lengths[1] == NULL);
  if (p->n_fields == 2)
    return;
  CU_ASSERT_EQUAL(equal_padded(b), b->valid);
  CU_ASSERT_EQUAL(equal_padded(&slice), slice.valid);
  for (int64_t i = b->valid; i < b->n; i++)
    rubbish += b->lengths[2][i] != 0 || b->lengths[3][i] != 0 || ((const int32_t *)b->data[2])[i * TOKENS] != 0;
  CU_ASSERT_EQUAL(rubbish, 0);
}

static inline void check_decisions(const struct pushed *part, const struct decided *decided)
{
  int64_t wrong = 0;

  for (int64_t i = 0; i < part->n; i++) {
    const struct decided *d = &decided[part->positions[i]];

    wrong += !d->known || part->accepted[i] != d->accepted || part->probabilities[i] != d->probability ||
             part->weights[i] != d->weight;
  }
  CU_ASSERT_EQUAL(wrong, 0);
}

/* A run in progress. */
struct push_run {
  struct pushing p;
  mpisift_ctx *ctx;
  mpisift_sifter *sifter;
  struct push_oracle *po;
  struct pushed *part;
  int64_t k, base; /* batches taken; positions used */
};

static inline struct push_run push_open(const struct pushing *p)
{
  struct push_run r = {.p = *p, .part = malloc(sizeof *r.part)};
  mpisift_pushes pushes = pushes_of(p);

  r.po = oracle_pushes(p, p->w.config.epochs > 0 ? p->w.config.epochs : 3);
  CU_ASSERT_EQUAL_FATAL(mpisift_open(&r.p.team, NULL, NULL, 0, &r.ctx), MPISIFT_OK);
  CU_ASSERT_EQUAL_FATAL(mpisift_sifter_create(r.ctx, &p->w.config, &pushes, &r.sifter), MPISIFT_OK);
  return r;
}

static inline void push_close(struct push_run *r)
{
  CU_ASSERT_EQUAL(mpisift_sifter_destroy(&r->sifter), MPISIFT_OK);
  CU_ASSERT_PTR_NULL(r->sifter);
  CU_ASSERT_EQUAL(mpisift_close(&r->ctx), MPISIFT_OK);
  push_oracle_free(r->po);
  free(r->part);
}

/* Take what is ready; returns MORE, END_OF_EPOCH or an error. */
static inline mpisift_status take_batches(struct push_run *r)
{
  mpisift_batch batch;
  mpisift_status status;

  while ((status = mpisift_sifter_next(r->sifter, &batch)) == MPISIFT_OK) {
    CU_ASSERT_FATAL(r->k < r->po->o.cuts.n);
    check_batch(&r->p.w, &r->po->o, r->k++, &batch, r->p.me);
    if (r->p.team.replica == MPI_COMM_NULL)
      check_slots(&batch, MPI_COMM_WORLD);
    check_padded(&r->p, &batch);
  }
  return status;
}

/* Push number k of an epoch, and check what is decided. */
static inline void push_one(struct push_run *r, int64_t epoch, int64_t k)
{
  struct candidate all[PLACES];
  mpisift_status status;

  push_part(&r->p, epoch, k, r->base, r->part);
  status = mpisift_sifter_push(r->sifter, &r->part->candidates, &r->part->decisions);
  if (status != MPISIFT_OK)
    fprintf(stderr, "%s: %s\n", r->p.w.name, mpisift_error(r->ctx));
  CU_ASSERT_EQUAL_FATAL(status, MPISIFT_OK);
  check_decisions(r->part, r->po->decided[epoch][k]);
  if (push_list(&r->p, epoch, k, r->base, all) > 0)
    r->base += r->p.positioned ? SPAN : MOST * r->p.w.ranks;
}

static inline void push_epoch(struct push_run *r, int64_t epoch)
{
  for (int64_t k = 0; k < PUSHES; k++) {
    push_one(r, epoch, k);
    CU_ASSERT_EQUAL(take_batches(r), MPISIFT_MORE);
  }
  CU_ASSERT_EQUAL(mpisift_sifter_end_epoch(r->sifter), MPISIFT_OK);
  CU_ASSERT_EQUAL(take_batches(r), MPISIFT_END_OF_EPOCH);
}

#endif
