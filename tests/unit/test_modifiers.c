/* What works with every policy: schedules, coverage, outlier guard, class floor, floor and weights, and which of them
 * decides where two of them would. */
#include "core/schedule.h"
#include "sifter.h"

enum { N = 60000, WINDOW = 4000, CLASSES = 3 };

static mpisift_schedule shaped(mpisift_shape shape)
{
  return (mpisift_schedule){.shape = shape, .n = 3, .at = {0.25, 0.5, 0.75}, .value = {2, 6, 1}};
}

/* Initially 10; cosines go from 2 to 6 as 4 - 2 cos and from 6 to 1 as 3.5 + 2.5 cos. */
static void schedules(void)
{
  static const double at[] = {0, 0.125, 0.2499, 0.25, 0.3125, 0.375, 0.5, 0.625, 0.6875, 0.75, 0.9, 1};
  static const double values[][12] = {{10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10},
                                      {10, 10, 10, 2, 2, 2, 6, 6, 6, 1, 1, 1},
                                      {10, 10, 10, 2, 3, 4, 6, 3.5, 2.25, 1, 1, 1},
                                      {10, 10, 10, 2, 4 - M_SQRT2, 4, 6, 3.5, 3.5 - 1.25 * M_SQRT2, 1, 1, 1}};
  static const mpisift_shape shapes[] = {MPISIFT_CONSTANT, MPISIFT_STEPS, MPISIFT_LINEAR, MPISIFT_COSINE};

  for (int k = 0; k < 4; k++) {
    mpisift_schedule s = shaped(shapes[k]);

    for (int i = 0; i < 12; i++)
      CU_ASSERT_DOUBLE_EQUAL(msift_schedule_value(&s, 10, at[i]), values[k][i], 1e-12);
  }
  for (int k = 1; k < 4; k++) {
    mpisift_schedule s = {.shape = shapes[k], .n = 1, .at = {0}, .value = {3}};

    CU_ASSERT_EQUAL(msift_schedule_value(&s, 10, 0), 3);
    CU_ASSERT_EQUAL(msift_schedule_value(&s, 10, 1), 3);
  }
}

static void schedules_drive_policies(void)
{
  struct sifter *s = sifter_new((struct sifter_kind){"random", 10, false, 0});

  s->config.keep = 0.9;
  s->config.schedule = (mpisift_schedule){.shape = MPISIFT_LINEAR, .n = 2, .at = {0.5, 1}, .value = {0.8, 0.2}};
  msift_decider_refresh(&s->decider, 0.25, 0);
  CU_ASSERT_EQUAL(s->decider.share, 0.9);
  msift_decider_refresh(&s->decider, 0.75, 0);
  CU_ASSERT_DOUBLE_EQUAL(s->decider.share, 0.5, 1e-12);
  CU_ASSERT_DOUBLE_EQUAL(msift_probability(msift_decider_threshold(&s->decider, 0)), 0.5, 1e-9);
  sifter_free(s);
  s = sifter_new((struct sifter_kind){"relative", 10, false, 0});
  s->config.schedule = (mpisift_schedule){.shape = MPISIFT_STEPS, .n = 1, .at = {0.5}, .value = {3}};
  sifter_learn_draws(s, &(struct draw){7}, draw_equal, 10);
  CU_ASSERT_EQUAL(msift_decider_threshold(&s->decider, draw_equal(NULL)), MSIFT_CERTAIN / 2);
  msift_decider_refresh(&s->decider, 0.5, 0);
  CU_ASSERT_EQUAL(s->decider.share, 0.25);
  CU_ASSERT_EQUAL(msift_decider_threshold(&s->decider, draw_equal(NULL)), MSIFT_CERTAIN / 4);
  sifter_free(s);
}

static void refuse_schedule(mpisift_schedule s, const char *text)
{
  struct msift_error error = {0};

  CU_ASSERT_EQUAL(msift_schedule_check(&s, &error), MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NOT_NULL(strstr(error.text, text));
}

static void bad_schedules(void)
{
  mpisift_schedule good = shaped(MPISIFT_COSINE), s;
  struct msift_error error = {0};

  CU_ASSERT_EQUAL(msift_schedule_check(&good, &error), MPISIFT_OK);
  s = good, s.n = 0;
  refuse_schedule(s, "schedule.n");
  s.n = MPISIFT_MAX_POINTS + 1;
  refuse_schedule(s, "schedule.n");
  s = good, s.shape = (mpisift_shape)9;
  refuse_schedule(s, "schedule.shape");
  s = good, s.at[0] = -0.1;
  refuse_schedule(s, "schedule.at[0]");
  s = good, s.at[2] = 1.1;
  refuse_schedule(s, "schedule.at[2]");
  s = good, s.at[1] = s.at[0];
  refuse_schedule(s, "schedule.at[1]");
  s = good, s.at[1] = NAN;
  refuse_schedule(s, "schedule.at[1]");
}

/* Each sample in one of k epochs, whatever its loss, and about as many in each. */
static void coverage(void)
{
  struct sifter *s = sifter_new((struct sifter_kind){"top", 10, true, 0});
  static const float losses[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};

  sifter_learn(s, losses, NULL, 10);
  for (int64_t k = 1; k <= 7; k += 2) {
    int64_t in_first = 0, wrong = 0;

    s->config.coverage_epochs = k;
    for (int64_t id = 0; id < 5000; id++) {
      const struct msift_candidate low = {.id = id, .value = 1};
      int64_t epochs = 0;

      for (int64_t epoch = 0; epoch < k; epoch++)
        epochs += msift_decide(&s->decider, &low, epoch).threshold == MSIFT_CERTAIN;
      wrong += epochs != 1;
      in_first += msift_decide(&s->decider, &low, k).threshold == MSIFT_CERTAIN;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(k == 1 ? in_first == 5000 : sifter_within((double)in_first, 5000, 1 / (double)k, 5));
  }
  sifter_free(s);
}

/* The highest share and no others; losses that tie across the line are spared. */
static void outliers(void)
{
  for (int k = 0; k < 2 * DRAW_SHAPES; k++) {
    struct sifter *s = sifter_new((struct sifter_kind){"reducible", WINDOW, k % 2 == 1, 0});
    struct draw d = {(uint64_t)(k + 1)}, again = d;
    int64_t marked = 0, spared_above = 0;
    float least = INFINITY;

    s->config.outlier_share = 0.05;
    sifter_learn_draws(s, &d, draw_shape(k / 2), WINDOW);
    for (int pass = 0; pass < 2; pass++) {
      d = again;
      for (int i = 0; i < WINDOW; i++) {
        const struct msift_candidate c = {.id = i, .value = draw_shape(k / 2)(&d)};
        struct msift_verdict v = msift_decide(&s->decider, &c, 0);

        marked += pass == 0 && v.outlier && v.threshold == 0;
        least = v.outlier ? fminf(least, c.value) : least;
        spared_above += pass == 1 && !v.outlier && c.value >= least;
      }
    }
    CU_ASSERT(marked <= WINDOW / 20 && (marked >= WINDOW / 25 || (k / 2 >= 5 && k / 2 <= 8)));
    CU_ASSERT_EQUAL(spared_above, 0);
    sifter_free(s);
  }
}

/* Candidates of three classes; those of the first are `rare` of all, and have the lowest losses. */
struct stream {
  struct draw draw;
  double rare;
};

static struct msift_candidate next_candidate(struct stream *stream, int64_t id)
{
  double u = draw_unit(&stream->draw);
  int32_t group = u < stream->rare ? 0 : u < 0.5 ? 1 : 2;
  float value = group == 0 ? (float)(1e-3 * draw_unit(&stream->draw)) : 0.1F + draw_lognormal(&stream->draw);

  return (struct msift_candidate){.id = id, .value = value, .group = group};
}

/* Rounds as a loader makes them, each by the share that those before kept. */
static void count_classes(double class_floor, double rare, bool exact, int64_t kept[CLASSES])
{
  enum { ROUND = 200 };
  struct sifter *s = sifter_new((struct sifter_kind){"relative", WINDOW, exact, CLASSES});
  struct stream stream = {{UINT64_C(77)}, rare};
  int64_t all = 0;

  s->config.beta = 2;
  s->config.class_floor = class_floor;
  kept[0] = kept[1] = kept[2] = 0;
  for (int64_t id = -2 * WINDOW; id < N; id += ROUND) {
    float values[ROUND];
    int32_t groups[ROUND];

    msift_decider_refresh(&s->decider, 0, id > 0 ? (double)all / (double)id : 0);
    for (int64_t i = 0; i < ROUND; i++) {
      struct msift_candidate c = next_candidate(&stream, id + i);
      int accepted = id >= 0 && msift_accept(5, 0, c.id, msift_decide(&s->decider, &c, 0).threshold);

      values[i] = c.value;
      groups[i] = c.group;
      kept[c.group] += accepted;
      all += accepted;
    }
    sifter_learn(s, values, groups, ROUND);
  }
  sifter_free(s);
}

/* The first class gets its floor, up to all it has, and the others lose nothing for it. */
static void class_floors(void)
{
  for (int k = 0; k < 4; k++) {
    int64_t with[CLASSES], without[CLASSES], all;
    double rare = k < 2 ? 0.05 : 0.01, floor = 0.1;

    count_classes(0, rare, k % 2, without);
    count_classes(floor, rare, k % 2, with);
    all = with[0] + with[1] + with[2];
    CU_ASSERT((double)without[0] < 0.002 * (double)all);
    CU_ASSERT(k < 2 ? sifter_within((double)with[0], (double)all, floor, 5)
                    : sifter_within((double)with[0], N, rare, 5));
    CU_ASSERT(with[1] >= without[1] && with[2] >= without[2]);
    CU_ASSERT((double)with[1] < 1.05 * (double)without[1] && (double)with[2] < 1.05 * (double)without[2]);
  }
}

/* A class that the window does not hold is accepted, and one that has no candidates harms nobody. */
static void unseen_classes(void)
{
  struct sifter *s = sifter_new((struct sifter_kind){"top", 4, true, CLASSES});
  static const float losses[] = {1, 2, 3, 4};
  static const int32_t groups[] = {1, 1, 1, 1};
  struct msift_candidate c = {.id = 1, .value = 1, .group = 0};

  s->config.class_floor = 0.25;
  CU_ASSERT_EQUAL(msift_decide(&s->decider, &c, 0).threshold, MSIFT_CERTAIN); /* nothing is known yet */
  sifter_learn(s, losses, groups, 4);
  CU_ASSERT_EQUAL(msift_decide(&s->decider, &c, 0).threshold, MSIFT_CERTAIN);
  c.group = 1;
  CU_ASSERT_EQUAL(msift_decide(&s->decider, &c, 0).threshold, MSIFT_CERTAIN / 8);
  sifter_free(s);
}

/* Sums over a stream of candidates, and weighted over those accepted. */
struct estimate {
  double candidates, accepted, weight, value, weighted, variance;
};

static struct estimate estimate(struct sifter *s, struct draw d, uint64_t seed)
{
  struct estimate e = {0};

  for (int64_t id = 0; id < N; id++) {
    float loss = draw_lognormal(&d);
    struct msift_verdict v = msift_decide(&s->decider, &(struct msift_candidate){.id = id, .value = loss}, 0);
    double p = msift_probability(v.threshold), value = sin((double)loss) + (double)loss;

    e.candidates++;
    e.value += value;
    e.variance += value * value * (1 - p) / p;
    if (!msift_accept(seed, 0, id, v.threshold))
      continue;
    e.accepted++;
    e.weight += (double)v.weight;
    e.weighted += (double)v.weight * value;
  }
  return e;
}

static struct sifter *weighing(const char *policy, mpisift_weights weights, bool exact, struct draw *d)
{
  struct sifter *s = sifter_new((struct sifter_kind){policy, WINDOW, exact, 0});

  s->config.floor = 0.05;
  s->config.weights = weights;
  *d = (struct draw){UINT64_C(7)};
  sifter_learn_draws(s, d, draw_lognormal, WINDOW);
  return s;
}

static const char *const policies[] = {"relative", "top", "importance"};

/* With 1/p the weighted sum over accepted samples is that over candidates, within its standard error. */
static void unbiased_weights(void)
{
  for (int k = 0; k < 6; k++) {
    struct draw d;
    struct sifter *s = weighing(policies[k / 2], MPISIFT_WEIGHTS_UNBIASED, k % 2, &d);
    struct estimate e = estimate(s, d, 11);

    CU_ASSERT_DOUBLE_EQUAL(e.weighted, e.value, 4 * sqrt(e.variance));
    CU_ASSERT(sqrt(e.variance) < 0.02 * e.value);
    sifter_free(s);
  }
}

/* With k/p weights are 1 on average, and the mean over accepted samples is that over candidates. */
static void normalized_weights(void)
{
  for (int k = 0; k < 6; k++) {
    struct draw d;
    struct sifter *s = weighing(policies[k / 2], MPISIFT_WEIGHTS_NORMALIZED, k % 2, &d);
    struct estimate e = estimate(s, d, 11);
    double mean = e.value / e.candidates, error = sqrt(e.variance) / e.candidates + 0.01 * mean;

    msift_decider_refresh(&s->decider, 0, e.accepted / e.candidates);
    e = estimate(s, d, 12);
    CU_ASSERT_DOUBLE_EQUAL(e.weight / e.accepted, 1, 0.03);
    CU_ASSERT_DOUBLE_EQUAL(e.weighted / e.accepted, mean, 3 * error);
    sifter_free(s);
  }
}

static void kinds_of_weights(void)
{
  static const struct {
    const char *policy;
    mpisift_weights weights;
    double clip, weight;
  } cases[] = {
      {"random", MPISIFT_WEIGHTS_POLICY, 0, 1},           {"random", MPISIFT_WEIGHTS_UNBIASED, 0, 4},
      {"random", MPISIFT_WEIGHTS_NORMALIZED, 0, 1},       {"random", MPISIFT_WEIGHTS_UNBIASED, 3, 3},
      {"random", MPISIFT_WEIGHTS_UNBIASED, 5, 4},         {"random", MPISIFT_WEIGHTS_POLICY, 1, 1},
      {"importance", MPISIFT_WEIGHTS_POLICY, 0, 0.5},     {"importance", MPISIFT_WEIGHTS_POLICY, 0.25, 0.25},
      {"importance", MPISIFT_WEIGHTS_UNBIASED, 0, 2},     {"importance", MPISIFT_WEIGHTS_UNBIASED, 1.5, 1.5},
      {"importance", MPISIFT_WEIGHTS_NORMALIZED, 0, 0.5},
  };
  static const float losses[] = {1, 1, 1, 1, 1, 1, 2, 2}; /* sum 10: of a quarter, 2, a loss of 2 has p = 0.4 */

  for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
    struct sifter *s = sifter_new((struct sifter_kind){cases[k].policy, 8, true, 0});
    double expected = cases[k].weight * (strcmp(cases[k].policy, "random") == 0 ? 1 : 1.25);
    float weight;

    s->config.keep = 0.25;
    s->config.weights = cases[k].weights;
    s->config.weight_clip = cases[k].clip;
    sifter_learn(s, losses, NULL, 8);
    weight = msift_decide(&s->decider, &(struct msift_candidate){.value = 2}, 0).weight;
    CU_ASSERT_DOUBLE_EQUAL(weight, cases[k].clip > 0 ? fmin(expected, cases[k].clip) : expected, 1e-6);
    sifter_free(s);
  }
  CU_ASSERT(msift_accept_all().threshold == MSIFT_CERTAIN && msift_accept_all().weight == 1);
}

/* One of a pair decides. The window has the losses 1 to 1000, ten of the second class: by the policy, q^1, a loss k has
 * p = (k - 0.5)/1000, so that 5 is next to never accepted and 996 nearly always. */
enum { COVERAGE = 1, GUARD = 2, CLASS = 4, FLOOR = 8, HIGH_FLOOR = 16, WEIGHTS = 32 };

static const double low = 0.0045, high = 0.9955, by_class = 0.25, by_floor = 0.125, by_high_floor = 0.5;

struct pair {
  int set;
  bool covered;
  float value;
  int32_t group;
  double p;
};

static struct msift_verdict decide(const struct pair *pair)
{
  struct sifter *s = sifter_new((struct sifter_kind){"relative", 1000, true, 2});
  struct msift_candidate c = {.value = pair->value, .group = pair->group};
  struct msift_verdict v;
  float losses[1000];
  int32_t groups[1000];

  for (int i = 0; i < 1000; i++) {
    losses[i] = (float)(i + 1);
    groups[i] = i % 100 == 4;
  }
  sifter_learn(s, losses, groups, 1000);
  s->config.coverage_epochs = 2; /* alone: finds an id that is covered, or is not */
  while ((msift_decide(&s->decider, &c, 0).threshold == MSIFT_CERTAIN) != pair->covered)
    c.id++;
  s->config.coverage_epochs = pair->set & COVERAGE ? 2 : 0;
  s->config.outlier_share = pair->set & GUARD ? 0.01 : 0;
  s->config.class_floor = pair->set & CLASS ? 0.005 : 0; /* 0.005 x 0.5 x 1000 / 10 = 0.25 */
  s->config.floor = pair->set & HIGH_FLOOR ? by_high_floor : pair->set & FLOOR ? by_floor : 0;
  s->config.weights = pair->set & WEIGHTS ? MPISIFT_WEIGHTS_UNBIASED : MPISIFT_WEIGHTS_POLICY;
  v = msift_decide(&s->decider, &c, 0);
  sifter_free(s);
  return v;
}

static void precedence(void)
{
  static const struct pair pairs[] = {
      /* policy, with each */
      {0, false, 5, 1, low},
      {COVERAGE, true, 5, 1, 1},
      {COVERAGE, false, 5, 1, low},
      {GUARD, false, 5, 1, low},
      {GUARD, false, 996, 1, 0},
      {CLASS, false, 5, 1, by_class},
      {CLASS, false, 996, 1, high},
      {FLOOR, false, 5, 1, by_floor},
      {FLOOR, false, 996, 1, high},
      {WEIGHTS, false, 5, 1, low},
      {WEIGHTS, false, 996, 1, high},
      /* coverage, with each of those that follow */
      {COVERAGE | GUARD, true, 996, 1, 1},
      {COVERAGE | GUARD, false, 996, 1, 0},
      {COVERAGE | CLASS, true, 5, 1, 1},
      {COVERAGE | CLASS, false, 5, 1, by_class},
      {COVERAGE | FLOOR, true, 5, 1, 1},
      {COVERAGE | FLOOR, false, 5, 1, by_floor},
      {COVERAGE | WEIGHTS, true, 5, 1, 1},
      {COVERAGE | WEIGHTS, false, 5, 1, low},
      /* the outlier guard */
      {GUARD | CLASS, false, 996, 1, 0},
      {GUARD | CLASS, false, 5, 1, by_class},
      {GUARD | FLOOR, false, 996, 1, 0},
      {GUARD | FLOOR, false, 5, 1, by_floor},
      {GUARD | WEIGHTS, false, 996, 1, 0},
      {GUARD | WEIGHTS, false, 5, 1, low},
      /* the class floor */
      {CLASS | FLOOR, false, 5, 1, by_class},
      {CLASS | FLOOR, false, 5, 0, by_floor},
      {CLASS | HIGH_FLOOR, false, 5, 1, by_high_floor},
      {CLASS | WEIGHTS, false, 5, 1, by_class},
      /* the floor */
      {FLOOR | WEIGHTS, false, 5, 1, by_floor},
      /* and all */
      {COVERAGE | GUARD | CLASS | FLOOR | WEIGHTS, true, 996, 1, 1},
      {COVERAGE | GUARD | CLASS | FLOOR | WEIGHTS, false, 996, 1, 0},
      {COVERAGE | GUARD | CLASS | FLOOR | WEIGHTS, false, 5, 1, by_class},
      {COVERAGE | GUARD | CLASS | HIGH_FLOOR | WEIGHTS, false, 5, 1, by_high_floor},
  };

  for (size_t k = 0; k < sizeof pairs / sizeof pairs[0]; k++) {
    struct msift_verdict v = decide(&pairs[k]);
    bool outlier = pairs[k].p == 0;

    CU_ASSERT_DOUBLE_EQUAL((double)v.threshold * 0x1p-32, pairs[k].p, 1e-9);
    CU_ASSERT_EQUAL(v.outlier, outlier);
    CU_ASSERT_DOUBLE_EQUAL(v.weight, pairs[k].set & WEIGHTS && !outlier ? 1 / pairs[k].p : 1, 1e-4);
  }
}

TEST_MAIN("modifiers", {"schedules", schedules}, {"schedules drive policies", schedules_drive_policies},
          {"bad schedules", bad_schedules}, {"coverage", coverage}, {"outliers", outliers},
          {"class floors", class_floors}, {"unseen classes", unseen_classes}, {"unbiased weights", unbiased_weights},
          {"normalized weights", normalized_weights}, {"kinds of weights", kinds_of_weights},
          {"precedence", precedence})
