/* Rounds counted and decided by a device, word for word and bit for bit what core/decide.h and core/history.h make of
 * the same losses: every policy, each modifier and all pairs of them, with and without positions, through fillings of
 * the window, refittings of its bins and rounds longer than it. */
#include "device.h"

#ifdef HAVE_NVCC
#include <float.h>

#include "../unit/sifter.h"

enum { MOST = 1000, WINDOW = 160, RING = 2 * MOST + 7, GROUPS = 5, PLACES = 2 * MOST, HOLDER = 3 };
enum { MODIFIERS = 6, ALL_MODIFIERS = (1 << MODIFIERS) - 1, SHAPES = 6 };

/* A round's candidates. */
static int64_t ids[MOST];
static int32_t places[MOST], classes[MOST];
static float losses[MOST], bounds[MOST], confidences[MOST], references[MOST];
static double wide_references[MOST];

/* Words of the header, of the history, and of the map. */
enum { BAD, OUTLIERS, ACCEPTED, FAILED, HEADER };
struct result {
  uint8_t accepted[MOST];
  float probabilities[MOST], weights[MOST];
  int32_t kept[MOST];
  int64_t n_kept;
  uint32_t header[HEADER], changes[MSIFT_BINS_MAX + GROUPS], map[PLACES];
  struct msift_device_findings findings;
};
static struct result expected, found;

/* A run of rounds, on the host and on the device. */
struct run {
  struct sifter *s;
  struct draw draw;
  int shape;
  bool positioned, wide, alone; /* alone: all places of a round are this rank's */
  struct msift_history_round round;
  int64_t n, epoch;
  bool scored, sifting;

  struct msift_device_window window;
  uint32_t keys[RING]; /* what the device's ring is to hold */
  int32_t groups[RING];
  int64_t orders[RING], n_seen, gone;
};

static float draw_loss(struct run *r)
{
  static const float odd[] = {NAN, INFINITY, -INFINITY, -1, -0.0F, 0, 1e-42F, FLT_MAX, FLT_MIN, -1e-42F};
  int64_t k = draw_below(&r->draw, 60);

  switch (r->shape) {
  case 0:
    return draw_lognormal(&r->draw);
  case 1:
    return k < 10 ? odd[k] : draw_ties(&r->draw);
  case 2:
    return draw_equal(&r->draw);
  case 3:
    return k < 10 ? odd[k] : draw_cluster_and_tail(&r->draw);
  case 4:
    return draw_zeros(&r->draw);
  default:
    return NAN;
  }
}

static void draw_round(struct run *r)
{
  int32_t place = -1;

  for (int64_t i = 0; i < r->n; i++) {
    place += 1 + (int32_t)(r->alone ? 0 : draw_below(&r->draw, 2));
    places[i] = place;
    ids[i] = (int64_t)draw_bits(&r->draw);
    losses[i] = draw_loss(r);
    bounds[i] = draw_loss(r);
    confidences[i] = (float)(draw_below(&r->draw, 50) == 0 ? 1.5 : draw_unit(&r->draw));
    wide_references[i] = draw_below(&r->draw, 50) == 0 ? 1e300 : draw_normal(&r->draw);
    references[i] = (float)wide_references[i];
    classes[i] = (int32_t)draw_below(&r->draw, GROUPS);
  }
  r->round = (struct msift_history_round){place + 1 + (r->alone ? 0 : 5), false};
}

static enum msift_device_measure measure_of(const struct run *r)
{
  switch (r->s->decider.policy->measure) {
  case MSIFT_MEASURE_BOUND:
    return MSIFT_DEVICE_BOUND;
  case MSIFT_MEASURE_UNCERTAINTY:
    return MSIFT_DEVICE_UNCERTAINTY;
  case MSIFT_MEASURE_REDUCIBLE:
    return MSIFT_DEVICE_REDUCIBLE;
  default:
    return MSIFT_DEVICE_LOSS;
  }
}

static bool in_range(float value, float most)
{
  return value >= 0 && value <= most;
}

/* The measure of a candidate, NaN if a score is no good, which *score is then. */
static float measure(const struct run *r, int64_t i, double *score)
{
  float value;

  *score = (double)losses[i];
  if (!in_range(losses[i], FLT_MAX))
    return NAN;
  switch (measure_of(r)) {
  case MSIFT_DEVICE_BOUND:
    *score = (double)bounds[i];
    return in_range(bounds[i], FLT_MAX) ? bounds[i] : NAN;
  case MSIFT_DEVICE_UNCERTAINTY:
    *score = (double)confidences[i];
    return in_range(confidences[i], 1) ? 1 - confidences[i] : NAN;
  case MSIFT_DEVICE_REDUCIBLE:
    *score = r->wide ? wide_references[i] : (double)references[i];
    value = (float)((double)losses[i] - *score);
    return isfinite(value) ? value : NAN;
  default:
    return losses[i];
  }
}

static void keep_fault(int64_t i, double score)
{
  expected.header[BAD]++;
  if (expected.findings.bad_row >= 0)
    return;
  expected.findings.bad_row = i;
  expected.findings.bad_value = score;
  expected.findings.bad_loss = losses[i];
}

static int32_t group_of(int64_t i)
{
  if (classes[i] >= 0 && classes[i] < GROUPS)
    return classes[i];
  expected.header[FAILED] = 1;
  if (expected.findings.bad_group_row < 0) {
    expected.findings.bad_group_row = i;
    expected.findings.bad_group = classes[i];
  }
  return 0;
}

/* Whether a scored candidate is good; into the history, and to the end of the ring. */
static bool record(struct run *r, int64_t i, struct msift_candidate *c)
{
  struct msift_history *h = &r->s->history;
  int64_t at = (r->n_seen + i) % RING;
  double score;

  c->value = measure(r, i, &score);
  r->orders[at] = h->end + places[i];
  r->keys[at] = 0;
  r->groups[at] = 0;
  if (isnan(c->value)) {
    keep_fault(i, score);
    return false;
  }
  c->group = h->groups > 0 ? group_of(i) : 0;
  msift_candidates_find(1, c, h);
  r->keys[at] = c->key;
  r->groups[at] = c->group;
  msift_history_add(h, r->round, 1, &(struct msift_seen){h->end + places[i], c->key, c->group, c->bin},
                    expected.changes);
  return true;
}

static void decide_on_host(struct run *r)
{
  struct sifter *s = r->s;

  memset(&expected, 0, sizeof expected);
  memset(&expected.findings, 0xff, sizeof expected.findings);
  if (r->scored)
    msift_history_begin(&s->history, r->round, expected.changes);
  for (int64_t i = 0; i < r->n; i++) {
    struct msift_candidate c = {.id = ids[i]};
    bool good = !r->scored || record(r, i, &c);
    struct msift_verdict v = !good        ? (struct msift_verdict){.weight = 1}
                             : r->sifting ? msift_decide(&s->decider, &c, r->epoch)
                                          : msift_accept_all();

    expected.accepted[i] = msift_accept(s->config.seed, r->epoch, ids[i], v.threshold);
    expected.probabilities[i] = msift_probability(v.threshold);
    expected.weights[i] = v.weight;
    expected.header[OUTLIERS] += v.outlier;
    expected.header[ACCEPTED] += expected.accepted[i];
    if (expected.accepted[i])
      expected.kept[expected.n_kept++] = (int32_t)i;
    if (r->positioned)
      expected.map[places[i]] += 2 * HOLDER + expected.accepted[i];
    else
      expected.map[places[i] / 32] |= (uint32_t)expected.accepted[i] << places[i] % 32;
  }
}

static uint64_t threshold_of(double p)
{
  return p >= 1 ? MSIFT_CERTAIN : p > 0 ? (uint64_t)llround(p * 0x1p32) : 0;
}

static void choose_law(const struct run *r, struct msift_device_terms *terms)
{
  struct msift_decider *d = &r->s->decider;
  const struct msift_history *h = d->history;
  static uint64_t by_bin[MSIFT_BINS_MAX];

  terms->law = MSIFT_LAW_CONSTANT;
  if (d->policy->rule == &msift_rule_absolute) {
    terms->law = MSIFT_LAW_AT_LEAST;
    terms->parameter = r->s->config.threshold;
  } else if (!msift_policy_measures(d->policy)) {
    terms->constant = msift_decider_threshold(d, 0);
  } else if (d->policy->rule == &msift_rule_proportional) {
    terms->law = isnan(d->terms.scale) ? MSIFT_LAW_CONSTANT : MSIFT_LAW_PROPORTIONAL;
    terms->constant = threshold_of(d->terms.strength);
    terms->parameter = d->terms.scale;
  } else if (h->total == 0) {
    terms->constant = MSIFT_CERTAIN;
  } else {
    terms->law = MSIFT_LAW_BY_BIN;
    for (int b = 0; b < h->bins.n; b++)
      by_bin[b] = msift_decider_threshold(d, msift_key_float(h->bins.first[b]));
    terms->by_bin = up(by_bin, (size_t)h->bins.n * sizeof *by_bin);
  }
}

static struct msift_device_terms terms_of(const struct run *r)
{
  const mpisift_config *config = &r->s->config;
  struct msift_decider *d = &r->s->decider;
  const struct msift_history *h = d->history;
  mpisift_weights kind = config->weights;
  struct msift_device_terms terms = {.floor = threshold_of(config->floor),
                                     .coverage_epochs = (uint64_t)config->coverage_epochs,
                                     .epoch = (uint64_t)r->epoch,
                                     .clip = config->weight_clip,
                                     .accept_key = msift_accept_key(config->seed, r->epoch).v[0]};
  uint8_t outliers[MSIFT_BINS_MAX];
  uint64_t by_group[GROUPS];

  choose_law(r, &terms);
  kind = kind == MPISIFT_WEIGHTS_POLICY && d->policy->rule->weighted ? MPISIFT_WEIGHTS_NORMALIZED : kind;
  terms.weighted = kind != MPISIFT_WEIGHTS_POLICY;
  terms.factor = kind == MPISIFT_WEIGHTS_NORMALIZED ? d->share : 1;
  if (h->total == 0 || !msift_policy_measures(d->policy))
    return terms;
  for (int b = 0; b < h->bins.n; b++)
    outliers[b] = msift_history_bin_place(h, b).low >= 1 - config->outlier_share;
  if (config->outlier_share > 0)
    terms.outliers = up(outliers, (size_t)h->bins.n);
  for (int g = 0; g < h->groups; g++)
    by_group[g] = threshold_of(
        h->in_group[g] > 0 ? config->class_floor * d->share * (double)h->total / (double)h->in_group[g] : 1);
  if (config->class_floor > 0)
    terms.by_group = up(by_group, (size_t)h->groups * sizeof *by_group);
  return terms;
}

static struct msift_device_bins up_bins(const struct msift_bins *bins)
{
  return (struct msift_device_bins){bins->n, up(bins->top, sizeof bins->top),
                                    up(bins->split, (size_t)bins->n_splits * sizeof bins->split[0])};
}

/* What is in the ring and no longer in the window. */
static void expire(struct run *r)
{
  int64_t oldest = msift_history_oldest(&r->s->history, r->round);

  while (r->gone < r->n_seen && r->orders[r->gone % RING] < oldest)
    r->gone++;
}

/* What goes, and in a refitting what stays: as msift_history_begin() has it. */
static void count_on_device(struct run *r, struct msift_device_count job)
{
  const struct msift_history *h = &r->s->history;
  int64_t before = r->gone;

  expire(r);
  job.first = before % RING;
  job.n = r->gone - before;
  job.change = UINT32_MAX;
  job.in_groups = true;
  job.in_bins = !h->refitting;
  CU_ASSERT_EQUAL(dev->count(&job, queue, &error), MPISIFT_OK);
  job.first = r->gone % RING;
  job.n = r->n_seen - r->gone;
  job.change = 1;
  job.in_groups = false;
  job.in_bins = true;
  if (h->refitting)
    CU_ASSERT_EQUAL(dev->count(&job, queue, &error), MPISIFT_OK);
}

static struct msift_device_round job_of(const struct run *r)
{
  const struct msift_history *h = &r->s->history;
  size_t n = (size_t)r->n;

  return (struct msift_device_round){.n = r->n,
                                     .ids = up(ids, n * sizeof *ids),
                                     .places = up(places, n * sizeof *places),
                                     .scored = r->scored,
                                     .sifting = r->sifting,
                                     .measure = measure_of(r),
                                     .losses = up(losses, n * sizeof *losses),
                                     .bounds = up(bounds, n * sizeof *bounds),
                                     .confidences = up(confidences, n * sizeof *confidences),
                                     .references = r->wide ? up(wide_references, n * sizeof *wide_references)
                                                           : up(references, n * sizeof *references),
                                     .references_f64 = r->wide,
                                     .classes = up(classes, n * sizeof *classes),
                                     .groups = h->groups,
                                     .terms = terms_of(r),
                                     .window = r->window,
                                     .first = r->n_seen % RING,
                                     .bins = up_bins(&h->bins),
                                     .next = up_bins(&h->next),
                                     .refitting = h->refitting,
                                     .too_old = msift_history_oldest(h, r->round) - h->end};
}

static void decide_on_device(struct run *r)
{
  struct msift_device_round job = job_of(r);
  struct result *to = up(NULL, sizeof *to);
  size_t scratch_bytes = dev->decide_scratch(r->n);

  CU_ASSERT_EQUAL(
      dev->fill(to->header, 0, sizeof found.header + sizeof found.changes + sizeof found.map, queue, &error),
      MPISIFT_OK);
  CU_ASSERT_EQUAL(dev->fill(&to->findings, 0xff, sizeof found.findings, queue, &error), MPISIFT_OK);
  if (r->scored)
    count_on_device(r, (struct msift_device_count){.window = r->window,
                                                   .bins = r->s->history.refitting ? job.next : job.bins,
                                                   .groups = job.groups,
                                                   .words = to->changes});
  job.accepted = to->accepted;
  job.probabilities = to->probabilities;
  job.weights = to->weights;
  job.kept = to->kept;
  job.n_kept = &to->n_kept;
  job.changes = to->changes;
  job.map = to->map;
  job.holder = r->positioned ? HOLDER : 0;
  job.bad = to->header + BAD;
  job.outliers = to->header + OUTLIERS;
  job.accepted_count = to->header + ACCEPTED;
  job.failed = to->header + FAILED;
  job.findings = &to->findings;
  CU_ASSERT_EQUAL(dev->decide(&job, up(NULL, scratch_bytes), scratch_bytes, queue, &error), MPISIFT_OK);
  down(&found, to, sizeof found);
  release_ups();
}

#define CHECK_SAME(part, bytes) CU_ASSERT_EQUAL(memcmp(found.part, expected.part, bytes), 0)

static bool same_findings(void)
{
  const struct msift_device_findings *a = &found.findings, *b = &expected.findings;

  return a->bad_row == b->bad_row && memcmp(&a->bad_value, &b->bad_value, sizeof a->bad_value) == 0 &&
         memcmp(&a->bad_loss, &b->bad_loss, sizeof a->bad_loss) == 0 && a->bad_group_row == b->bad_group_row &&
         a->bad_group == b->bad_group;
}

static void check_round(const struct run *r)
{
  static uint32_t keys[RING];
  static int32_t groups[RING];
  size_t n = (size_t)r->n;

  CHECK_SAME(accepted, n);
  CHECK_SAME(probabilities, n * sizeof(float));
  CHECK_SAME(weights, n * sizeof(float));
  CU_ASSERT_EQUAL(found.n_kept, expected.n_kept);
  CHECK_SAME(kept, (size_t)expected.n_kept * sizeof(int32_t));
  CHECK_SAME(header, sizeof found.header);
  CHECK_SAME(changes, sizeof found.changes);
  CHECK_SAME(map, sizeof found.map);
  CU_ASSERT(same_findings());
  down(keys, r->window.keys, sizeof keys);
  down(groups, r->window.groups, sizeof groups);
  CU_ASSERT_EQUAL(memcmp(keys, r->keys, sizeof keys), 0);
  CU_ASSERT_EQUAL(memcmp(groups, r->groups, sizeof groups), 0);
}

/* A round of n candidates, committed on the host if no class was out of range. */
static void go_on(struct run *r, int64_t n, double share)
{
  struct sifter *s = r->s;
  bool scores = msift_policy_scored(s->decider.policy);

  r->n = n;
  r->epoch++;
  r->sifting = !scores || msift_history_full(&s->history);
  r->scored = scores;
  draw_round(r);
  CU_ASSERT_EQUAL(msift_history_reserve(&s->history, &s->memory, &s->error, r->round, n), MPISIFT_OK);
  msift_decider_refresh(&s->decider, 0, share);
  decide_on_host(r);
  decide_on_device(r);
  check_round(r);
  if (!r->scored)
    return;
  r->n_seen += n;
  expire(r); /* of a round longer than the window, what was not counted either */
  msift_history_commit(&s->history, r->round, r->round.places, expected.changes);
}

static struct run *begin_run(const char *policy, int modifiers, int shape)
{
  struct run *r = calloc(1, sizeof *r);
  mpisift_config *config;

  CU_ASSERT_PTR_NOT_NULL_FATAL(r);
  r->s = sifter_new((struct sifter_kind){policy, WINDOW, false, modifiers & 4 ? GROUPS : 0});
  r->draw = (struct draw){UINT64_C(51) + (uint64_t)(modifiers * SHAPES + shape)};
  r->shape = shape;
  r->positioned = shape % 2 == 1;
  r->wide = shape % 3 == 0;
  r->alone = shape % 4 < 2;
  config = &r->s->config;
  config->seed = 17;
  config->threshold = 1.25;
  config->keep = 0.3;
  config->beta = shape == 3 ? 2.5 : 2;
  config->coverage_epochs = modifiers & 1 ? 3 : 0;
  config->outlier_share = modifiers & 2 ? 0.1 : 0;
  config->class_floor = modifiers & 4 ? 0.15 : 0;
  config->floor = modifiers & 8 ? 0.2 : 0;
  config->weights = modifiers & 16 ? MPISIFT_WEIGHTS_NORMALIZED : MPISIFT_WEIGHTS_POLICY;
  if (modifiers & 32) {
    config->weights = MPISIFT_WEIGHTS_UNBIASED;
    config->weight_clip = 2;
  }
  memset(r->keys, 0x5a, sizeof r->keys);
  memset(r->groups, 0x5a, sizeof r->groups);
  r->window = (struct msift_device_window){dev->allocate(&memory, &error, RING, sizeof *r->keys),
                                           dev->allocate(&memory, &error, RING, sizeof *r->groups), RING};
  CU_ASSERT_FATAL(r->window.keys != NULL && r->window.groups != NULL);
  CU_ASSERT_EQUAL(dev->fill(r->window.keys, 0x5a, sizeof r->keys, queue, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(dev->fill(r->window.groups, 0x5a, sizeof r->groups, queue, &error), MPISIFT_OK);
  CU_ASSERT_EQUAL(dev->synchronize(queue, &error), MPISIFT_OK);
  return r;
}

static void end_run(struct run *r)
{
  dev->release(&memory, r->window.keys);
  dev->release(&memory, r->window.groups);
  sifter_free(r->s);
  free(r);
}

static const char *const policies[] = {"relative",  "top",         "absolute", "importance", "importance_bound",
                                       "reducible", "uncertainty", "random",   "all",        "reducible_top"};

enum { POLICIES = sizeof policies / sizeof *policies };

/* Sizes of all kinds, and losses of all kinds. Ranks share the policies, and what is below. */
static void all_policies(void)
{
  static const int64_t sizes[] = {257, 0, 33, 1, 257, 31, 32, 100};

  for (int p = test_rank; p < POLICIES; p += test_size)
    for (int shape = p % 2; shape < SHAPES; shape += 2) {
      struct run *r = begin_run(policies[p], 0, shape);

      for (int k = 0; k < 8; k++)
        go_on(r, sizes[k], 0);
      end_run(r);
    }
}

static void modifiers(void)
{
  for (int a = 0, k = 0; a < MODIFIERS; a++)
    for (int b = a; b < MODIFIERS; b++, k++) {
      struct run *r;

      if (k % test_size != test_rank)
        continue;
      r = begin_run(policies[k % POLICIES], 1 << a | 1 << b, k % 5);
      for (int round = 0; round < 3; round++)
        go_on(r, round == 0 ? 170 : 40, 0.4);
      end_run(r);
    }
  for (int p = test_rank; p < POLICIES; p += test_size) {
    struct run *r = begin_run(policies[p], ALL_MODIFIERS, 1);

    for (int round = 0; round < 3; round++)
      go_on(r, round == 0 ? 170 : 40, 0.4);
    end_run(r);
  }
}

/* Bins are refitted on the way, and rounds are longer than the window. */
static void long_rounds(void)
{
  for (int shape = 2; shape < 5; shape++) {
    struct run *r = begin_run("relative", 4, shape);

    for (int k = 0; k < 5; k++)
      go_on(r, k % 2 == 0 ? MOST : 40, 0);
    CU_ASSERT(shape == 2 || r->s->history.refits > 0);
    end_run(r);
  }
}

static void classes_out_of_range(void)
{
  struct run *r = begin_run("relative", 4, 0);
  struct msift_device_findings *f = &found.findings;

  go_on(r, 170, 0);
  r->n = 70;
  r->sifting = r->scored = true;
  draw_round(r);
  classes[69] = -1;
  classes[40] = GROUPS;
  losses[3] = NAN; /* its class does not count */
  classes[3] = 99;
  losses[50] = -1;
  CU_ASSERT_EQUAL(msift_history_reserve(&r->s->history, &r->s->memory, &r->s->error, r->round, r->n), MPISIFT_OK);
  msift_decider_refresh(&r->s->decider, 0, 0);
  decide_on_host(r);
  decide_on_device(r);
  check_round(r);
  CU_ASSERT(f->bad_row == 3 && f->bad_group_row == 40 && f->bad_group == GROUPS && found.header[FAILED] == 1);
  end_run(r);
}

/* More groups than there is shared memory for. */
static void many_groups(void)
{
  enum { MANY = 20000, N = 70 };
  uint32_t keys[N], *words = calloc(MANY, sizeof *words), *counted = calloc(MANY, sizeof *words);
  int32_t groups[N];
  struct msift_device_count job = {.first = 40, .n = N, .change = 3, .groups = MANY, .in_groups = true};

  CU_ASSERT_FATAL(words != NULL && counted != NULL);
  for (int i = 0; i < N; i++) {
    keys[i] = i % 5 == 0 ? 0 : 7;
    groups[i] = i % 3 == 0 ? MANY - 1 : i;
    words[groups[i]] += keys[i] == 0 ? 0 : 3;
  }
  job.window = (struct msift_device_window){up(keys, sizeof keys), up(groups, sizeof groups), N};
  job.words = up(counted, MANY * sizeof *words);
  CU_ASSERT_EQUAL(dev->count(&job, queue, &error), MPISIFT_OK);
  down(counted, job.words, MANY * sizeof *words);
  CU_ASSERT_EQUAL(memcmp(counted, words, MANY * sizeof *words), 0);
  release_ups();
  free(words);
  free(counted);
}

/* Too little scratch memory, as of a round smaller than the one that is decided. */
static void failed_launch(void)
{
  struct run *r = begin_run("random", 0, 0);
  struct msift_device_round job;
  struct result *to = up(NULL, sizeof *to);

  r->n = 1;
  draw_round(r);
  job = job_of(r);
  job.accepted = to->accepted;
  job.probabilities = to->probabilities;
  job.weights = to->weights;
  job.kept = to->kept;
  job.n_kept = &to->n_kept;
  job.map = to->map;
  job.bad = job.outliers = job.accepted_count = to->header;
  job.findings = &to->findings;
  CU_ASSERT_EQUAL(dev->decide(&job, up(NULL, 1), 1, queue, &error), MPISIFT_ERR_DEVICE);
  CU_ASSERT(told(MPISIFT_ERR_DEVICE, "deciding on the device failed"));
  CU_ASSERT_EQUAL(dev->synchronize(queue, &error), MPISIFT_OK);
  release_ups();
  end_run(r);
}

DEVICE_MAIN("device decisions", {"all policies", all_policies}, {"modifiers", modifiers}, {"long rounds", long_rounds},
            {"classes out of range", classes_out_of_range}, {"many groups", many_groups},
            {"failed launch", failed_launch})
#endif
