/* Policies and their thresholds: what is kept on average. */
#include <float.h>

#include "sifter.h"

static const double betas[] = {0.1, 0.25, 0.5, 1, 2, 3, 10, 100};
static const double keeps[] = {0.01, 0.1, 0.25, 0.5, 0.9, 1};

enum { BETAS = sizeof betas / sizeof betas[0], KEEPS = sizeof keeps / sizeof keeps[0], WINDOW = 4096, N = 20000 };

/* A window of a distribution, for a policy of a strength; the generator is left where the window begins. */
static struct sifter *filled(const char *policy, double strength, bool exact, int shape, struct draw *d)
{
  struct sifter *s = sifter_new((struct sifter_kind){policy, WINDOW, exact, 0});

  s->config.beta = s->config.keep = strength;
  CU_ASSERT_EQUAL(s->decider.policy->rule->check(&s->config, &s->error), MPISIFT_OK);
  *d = (struct draw){(uint64_t)(100 * shape + 1) + (uint64_t)(1000 * strength)};
  sifter_learn_draws(s, &(struct draw){d->state}, draw_shape(shape), WINDOW);
  return s;
}

/* Of new losses, by the binomial error; and of the window's own, exactly. */
static void check_share(struct sifter *s, struct draw d, int shape, double share)
{
  struct draw fresh = {d.state + 7};

  CU_ASSERT_EQUAL(s->decider.share, share);
  CU_ASSERT_DOUBLE_EQUAL(sifter_mean_probability(s, d, draw_shape(shape)), share, 1e-9);
  CU_ASSERT(sifter_within((double)sifter_count_kept(s, &fresh, draw_shape(shape), N), N, share, 5));
}

static void relative_keeps_its_share(void)
{
  for (int k = 0; k < 2 * DRAW_SHAPES; k++)
    for (int b = 0; b < BETAS; b++) {
      struct draw d;
      struct sifter *s = filled("relative", betas[b], k % 2 == 1, k / 2, &d);

      check_share(s, d, k / 2, 1 / (1 + betas[b]));
      sifter_free(s);
    }
}

/* Ties across the line included. */
static void top_keeps_its_share(void)
{
  for (int k = 0; k < 2 * DRAW_SHAPES; k++)
    for (int b = 0; b < KEEPS; b++) {
      struct draw d;
      struct sifter *s = filled("top", keeps[b], k % 2 == 1, k / 2, &d);

      check_share(s, d, k / 2, keeps[b]);
      sifter_free(s);
    }
}

/* The sharp rules where losses do not tie: a threshold differs from them by no more than a bin is wide. */
static void thresholds_follow_percentiles(void)
{
  for (int exact = 0; exact <= 1; exact++) {
    struct draw d;
    struct sifter *s = filled("relative", 2, exact, 0, &d);
    static float losses[WINDOW];
    double most = 0;

    for (int i = 0; i < WINDOW; i++)
      losses[i] = draw_lognormal(&d);
    for (int i = 0; i < WINDOW; i += 7) {
      double below = 0, p = msift_probability(msift_decider_threshold(&s->decider, losses[i]));

      for (int j = 0; j < WINDOW; j++)
        below += losses[j] < losses[i];
      most = fmax(most, fabs(p - pow((below + 0.5) / WINDOW, 2)));
    }
    CU_ASSERT(most < (exact ? 1e-7 : 0.005));
    sifter_free(s);
  }
}

/* The midpoint rule, fine enough for every beta. */
static double integrate(double beta, double low, double high)
{
  enum { STEPS = 4000 };
  double sum = 0;

  for (int i = 0; i < STEPS; i++)
    sum += pow(low + (high - low) * (i + 0.5) / STEPS, beta);
  return sum / STEPS;
}

static double power(double beta, double low, double high)
{
  const struct msift_terms terms = {.strength = beta};

  return msift_rule_relative.probability(&terms, 0, (struct msift_place){low, high});
}

static void probability_is_the_mean_of_powers(void)
{
  struct draw d = {UINT64_C(77)};
  int64_t wrong = 0;

  for (int b = 0; b < BETAS; b++)
    for (int i = 0; i < 60; i++) {
      double low = i % 5 == 0 ? 0 : draw_unit(&d), width = pow(10, -6 * draw_unit(&d));
      double high = i % 7 == 0 ? 1 : fmin(1, low + width), expected = integrate(betas[b], low, high);
      double p = power(betas[b], low, high);

      wrong += !(fabs(p - expected) <= 1e-4 * expected + 1e-6) || p < 0 || p > 1;
      wrong += fabs(power(betas[b], low, low) - pow(low, betas[b])) > 1e-12;
    }
  CU_ASSERT_EQUAL(wrong, 0);
  CU_ASSERT_EQUAL(power(2, 0, 0), 0);
  CU_ASSERT_EQUAL(power(2, 1, 1), 1);
}

static void random_keeps_its_share(void)
{
  for (int k = 0; k < KEEPS; k++) {
    struct sifter *s = sifter_new((struct sifter_kind){"random", 10, false, 0});
    uint64_t threshold;
    int64_t kept = 0;

    s->config.keep = keeps[k];
    msift_decider_refresh(&s->decider, 0, 0);
    CU_ASSERT_EQUAL(s->decider.share, keeps[k]);
    threshold = msift_decider_threshold(&s->decider, NAN);
    CU_ASSERT_DOUBLE_EQUAL(msift_probability(threshold), keeps[k], 1e-7);
    for (int64_t id = 0; id < N; id++)
      kept += msift_accept(5, 2, id, threshold);
    CU_ASSERT(sifter_within((double)kept, N, keeps[k], 5));
    CU_ASSERT(isnan(msift_decider_value_at(&s->decider, 0.5)));
    sifter_free(s);
  }
}

static void all_keeps_everything(void)
{
  struct sifter *s = sifter_new((struct sifter_kind){"all", 10, false, 0});
  int64_t kept = 0;

  CU_ASSERT_EQUAL(s->decider.share, 1);
  CU_ASSERT_EQUAL(msift_decider_threshold(&s->decider, NAN), MSIFT_CERTAIN);
  for (int64_t id = 0; id < 10000; id++)
    kept += msift_accept(3, id % 5, id, msift_decider_threshold(&s->decider, 1));
  CU_ASSERT_EQUAL(kept, 10000);
  sifter_free(s);
}

/* The factor c for which the sum of min(1, c x) is the share `keep` of n, by bisection. */
static double water_level(const float *losses, int64_t n, double keep)
{
  double low = -200, high = 200;

  for (int step = 0; step < 100; step++) {
    double middle = (low + high) / 2, sum = 0;

    for (int64_t i = 0; i < n; i++)
      sum += fmin(1, exp(middle) * (double)losses[i]);
    *(sum < keep * (double)n ? &low : &high) = middle;
  }
  return exp(low);
}

static void check_importance(struct sifter *s, const float *losses, double keep, double tolerance)
{
  double c = water_level(losses, WINDOW, keep), sum = 0, error = 0;

  for (int i = 0; i < WINDOW; i++) {
    double p = (double)msift_decider_threshold(&s->decider, losses[i]) * 0x1p-32;

    sum += p / WINDOW;
    error += fabs(p - fmin(1, c * (double)losses[i])) / WINDOW;
  }
  CU_ASSERT_DOUBLE_EQUAL(sum, keep, tolerance * keep);
  CU_ASSERT(error <= tolerance * keep);
}

/* By bins the factor is found from their middles; exactly, it is the factor. */
static void importance_is_proportional(void)
{
  static const draw_fn draws[] = {draw_lognormal, draw_exponential, draw_pareto, draw_bimodal, draw_equal};
  static float losses[WINDOW];

  for (int k = 0; k < 10; k++)
    for (int j = 0; j < KEEPS; j++) {
      bool exact = k % 2 == 1;
      struct sifter *s = sifter_new((struct sifter_kind){"importance", WINDOW, exact, 0});
      struct draw d = {(uint64_t)(1 + 10 * k + j)}, again = d;

      s->config.keep = keeps[j];
      sifter_learn_draws(s, &d, draws[k / 2], WINDOW);
      for (int i = 0; i < WINDOW; i++)
        losses[i] = draws[k / 2](&again);
      check_importance(s, losses, keeps[j], exact ? 1e-8 : 0.01);
      sifter_free(s);
    }
}

/* Before bins are fitted, losses from 128 to 512 share one, and count as 320. */
static void importance_by_a_wide_bin(void)
{
  struct sifter *s = sifter_new((struct sifter_kind){"importance", WINDOW, false, 0});
  struct draw d = {UINT64_C(4)};
  static float losses[WINDOW];

  for (int i = 0; i < WINDOW; i++)
    losses[i] = (float)(128 + 384 * draw_unit(&d));
  s->config.keep = 0.25;
  sifter_learn(s, losses, NULL, WINDOW);
  for (int i = 0; i < WINDOW; i += 100) {
    double p = (double)msift_decider_threshold(&s->decider, losses[i]) * 0x1p-32;

    CU_ASSERT_DOUBLE_EQUAL(p, 0.25 * (double)losses[i] / 320, 1e-9);
  }
  sifter_free(s);
}

/* A loss that dwarfs all others is sure to be kept, and leaves them their share. */
static void importance_with_a_huge_loss(void)
{
  static float losses[WINDOW];

  for (int k = 0; k < 6; k++) {
    struct sifter *s = sifter_new((struct sifter_kind){k < 3 ? "importance" : "importance_bound", WINDOW, k % 2, 0});
    struct draw d = {(uint64_t)(1 + k)};

    for (int i = 0; i < WINDOW; i++)
      losses[i] = i == 1000 ? FLT_MAX : i == 7 ? 1e20F : draw_lognormal(&d);
    for (int i = 0; i < 7; i++)
      sifter_learn(s, losses, NULL, i == 0 ? WINDOW : 0);
    check_importance(s, losses, 0.5, 0.02);
    sifter_free(s);
  }
}

/* Where fewer than the share are above zero, these are all kept; where none is, the share is kept blindly. */
static void importance_of_zeros(void)
{
  for (int exact = 0; exact <= 1; exact++) {
    struct sifter *s = sifter_new((struct sifter_kind){"importance", WINDOW, exact, 0});
    struct draw d = {UINT64_C(3)};

    s->config.keep = 0.9;
    sifter_learn_draws(s, &d, draw_zeros, WINDOW);
    CU_ASSERT_EQUAL(msift_decider_threshold(&s->decider, 0), 0);
    CU_ASSERT_EQUAL(msift_decider_threshold(&s->decider, 0.01F), MSIFT_CERTAIN);
    sifter_learn_draws(s, &d, draw_zero, WINDOW);
    CU_ASSERT_DOUBLE_EQUAL(msift_probability(msift_decider_threshold(&s->decider, 0)), 0.9, 1e-7);
    s->config.keep = 0.25;
    CU_ASSERT(sifter_within((double)sifter_count_kept(s, &d, draw_zero, N), N, 0.25, 20));
    sifter_free(s);
  }
}

/* In [0, 2^32] and ascending with the loss, for any loss, also such as the history never saw. */
static void thresholds_are_in_range(void)
{
  static const float losses[] = {-FLT_MAX, -1e9F, -3, -1e-20F, 0,   0x1p-149F, 1e-30F, 1e-12F, 1e-3F,
                                 0.5F,     1,     2,  7,       100, 1e7F,      1e30F,  FLT_MAX};
  static const char *const policies[] = {"reducible", "reducible_top", "importance"};

  for (int k = 0; k < 6 * DRAW_SHAPES; k++) {
    struct draw d;
    struct sifter *s = filled(policies[k / 2 % 3], 0.25, k % 2, k / 6, &d);
    uint64_t last = 0;
    int64_t wrong = 0;

    for (size_t i = 0; i < sizeof losses / sizeof losses[0]; i++) {
      uint64_t threshold = msift_decider_threshold(&s->decider, losses[i]);

      wrong += threshold > MSIFT_CERTAIN || threshold < last;
      last = threshold;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    sifter_free(s);
  }
}

/* What goes by percentiles accepts; what goes by the loss itself need not know of others. */
static void an_empty_history_accepts(void)
{
  static const char *const policies[] = {"relative", "top", "absolute", "importance"};
  static const uint64_t low[] = {MSIFT_CERTAIN, MSIFT_CERTAIN, 0, MSIFT_CERTAIN / 2};
  static const uint64_t high[] = {MSIFT_CERTAIN, MSIFT_CERTAIN, MSIFT_CERTAIN, MSIFT_CERTAIN / 2};

  for (int k = 0; k < 8; k++) {
    struct sifter *s = sifter_new((struct sifter_kind){policies[k / 2], 100, k % 2, 0});

    s->config.threshold = 1;
    CU_ASSERT_EQUAL(msift_decider_threshold(&s->decider, 0), low[k / 2]);
    CU_ASSERT_EQUAL(msift_decider_threshold(&s->decider, 5), high[k / 2]);
    CU_ASSERT(isnan(msift_decider_value_at(&s->decider, 0.5)));
    sifter_free(s);
  }
}

/* After a refresh the thresholds are those of the present history. */
static void refreshes(void)
{
  for (int exact = 0; exact <= 1; exact++) {
    struct sifter *s = sifter_new((struct sifter_kind){"relative", 4, exact, 0});
    float low[] = {1, 2, 3, 4}, high[] = {100, 200, 300, 400};

    sifter_learn(s, high, NULL, 4);
    CU_ASSERT_EQUAL(msift_decider_threshold(&s->decider, 50), 0);
    sifter_learn(s, low, NULL, 4);
    CU_ASSERT_EQUAL(msift_decider_threshold(&s->decider, 50), MSIFT_CERTAIN);
    sifter_free(s);
  }
}

static void absolute_looks_at_the_loss(void)
{
  for (int exact = 0; exact <= 1; exact++) {
    struct sifter *s = sifter_new((struct sifter_kind){"absolute", 1000, exact, 0});
    struct draw d = {UINT64_C(5)};

    s->config.threshold = 1.2345;
    sifter_learn_draws(s, &d, draw_lognormal, 1000);
    CU_ASSERT_EQUAL(msift_decider_threshold(&s->decider, 1.2344F), 0);
    CU_ASSERT_EQUAL(msift_decider_threshold(&s->decider, 1.2346F), MSIFT_CERTAIN);
    CU_ASSERT_DOUBLE_EQUAL(msift_decider_value_at(&s->decider, 0.5), 1.2345, 0.02);
    sifter_free(s);
  }
}

/* Of a lognormal loss. */
static double percentile(double loss)
{
  return (1 + erf(log(loss) / sqrt(2))) / 2;
}

/* From the loss named on, and not below it, the window's losses reach the probability. */
static void check_value_at(struct sifter *s, struct draw again, double p)
{
  double named = msift_decider_value_at(&s->decider, p);
  int64_t wrong = 0;

  for (int64_t i = 0; i < s->history.length; i++) {
    float loss = draw_lognormal(&again);

    wrong += ((double)msift_decider_threshold(&s->decider, loss) * 0x1p-32 >= p) != ((double)loss >= named);
  }
  CU_ASSERT_EQUAL(wrong, 0);
  CU_ASSERT_DOUBLE_EQUAL(percentile(named), pow(p, 1 / s->config.beta), 0.03);
}

static void loss_at_probability(void)
{
  for (int k = 0; k < 2 * BETAS; k++) {
    struct sifter *s = sifter_new((struct sifter_kind){"relative", 5000, k % 2, 0});
    struct draw d = {UINT64_C(21)}, again = d;

    s->config.beta = betas[k / 2];
    sifter_learn_draws(s, &d, draw_lognormal, 4999);
    CU_ASSERT(isnan(msift_decider_value_at(&s->decider, 0.5)));
    sifter_learn_draws(s, &d, draw_lognormal, 1);
    check_value_at(s, again, 0.1);
    check_value_at(s, again, 0.5);
    check_value_at(s, again, 0.9);
    CU_ASSERT(isnan(msift_decider_value_at(&s->decider, 1.1)));
    sifter_free(s);
  }
}

/* The first bin of numbers, or loss of an exact history, from which on a probability is reached. */
static double first_value_at(struct sifter *s, double p)
{
  const struct msift_history *h = &s->history;
  int64_t n = h->exact ? (int64_t)h->total : h->bins.n;

  for (int64_t i = 0; i < n; i++) {
    float value = msift_key_float(h->exact ? h->sorted[i] : h->bins.first[i]);
    if (isfinite(value) && (double)msift_decider_threshold(&s->decider, value) * 0x1p-32 >= p)
      return (double)value;
  }
  return NAN;
}

static void loss_at_probability_is_the_first(void)
{
  static const char *const names[] = {"relative", "top", "importance", "reducible", "uncertainty"};
  int64_t wrong = 0;

  for (int k = 0; k < 10; k++) {
    struct sifter *s = sifter_new((struct sifter_kind){names[k / 2], 3000, k % 2, 0});
    struct draw d = {UINT64_C(8)};

    sifter_learn_draws(s, &d, draw_lognormal, 3000);
    for (int p = 1; p <= 100; p++) {
      double first = first_value_at(s, 0.01 * p), found = msift_decider_value_at(&s->decider, 0.01 * p);

      wrong += first != found && !(isnan(first) && isnan(found));
    }
    sifter_free(s);
  }
  CU_ASSERT_EQUAL(wrong, 0);
}

static uint64_t threshold_at(struct sifter *s, double p)
{
  s->config.keep = p;
  msift_decider_refresh(&s->decider, 0, 0);
  return msift_decider_threshold(&s->decider, 1);
}

/* Thresholds are the nearest integers, halves away from zero, at halves and right beside them too. */
static void thresholds_are_rounded(void)
{
  struct sifter *s = sifter_new((struct sifter_kind){"random", 100, false, 0});
  struct draw d = {UINT64_C(5)};
  int64_t wrong = 0;

  for (int i = 0; i < 20000; i++) {
    double half = ((double)draw_below(&d, INT64_C(1) << (1 + i % 32)) + 0.5) * 0x1p-32;
    const double p[] = {half, nextafter(half, 0), nextafter(half, 1), half + draw_unit(&d) * 0x1p-32};

    for (int k = 0; k < 4; k++)
      wrong += p[k] < 1 && threshold_at(s, p[k]) != (uint64_t)llround(p[k] * 0x1p32);
  }
  CU_ASSERT_EQUAL(wrong, 0);
  CU_ASSERT_EQUAL(threshold_at(s, nextafter(0.5, 0) * 0x1p-32), 0);
  CU_ASSERT_EQUAL(threshold_at(s, 1), MSIFT_CERTAIN);
  sifter_free(s);
}

static void refuse(const char *policy, double value, const char *field)
{
  struct msift_error error = {0};
  const struct msift_policy *p = msift_policy_find(policy, &error);
  mpisift_config config;

  CU_ASSERT_PTR_NOT_NULL_FATAL(p);
  mpisift_config_init(&config, sizeof config);
  config.beta = config.keep = config.threshold = value;
  CU_ASSERT_EQUAL(p->rule->check(&config, &error), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(error.status, MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NOT_NULL(strstr(error.text, field));
}

static void bad_settings(void)
{
  static const double no_beta[] = {0, -1, NAN, INFINITY, -INFINITY}, no_keep[] = {0, -0.1, 1.5, NAN, INFINITY};
  static const double no_threshold[] = {-0.1, NAN, INFINITY, -INFINITY};
  static const char *const by_keep[] = {"random", "top", "reducible_top", "importance", "importance_bound"};
  static const char *const by_beta[] = {"relative", "reducible", "uncertainty"};
  struct msift_error error = {0};
  mpisift_config config;

  for (int i = 0; i < 5; i++) {
    for (int k = 0; k < 3; k++)
      refuse(by_beta[k], no_beta[i], "beta");
    for (int k = 0; k < 5; k++)
      refuse(by_keep[k], no_keep[i], "keep");
  }
  for (int i = 0; i < 4; i++)
    refuse("absolute", no_threshold[i], "threshold");
  mpisift_config_init(&config, sizeof config);
  config.beta = config.keep = NAN; /* not looked at by "all" */
  CU_ASSERT_EQUAL(msift_rule_all.check(&config, &error), MPISIFT_OK);
}

static const struct {
  const char *name;
  enum msift_measure measure;
  const struct msift_rule *rule;
  enum msift_strength strength;
} policies[] = {
    {"relative", MSIFT_MEASURE_LOSS, &msift_rule_relative, MSIFT_STRENGTH_BETA},
    {"top", MSIFT_MEASURE_LOSS, &msift_rule_top, MSIFT_STRENGTH_KEEP},
    {"absolute", MSIFT_MEASURE_LOSS, &msift_rule_absolute, MSIFT_STRENGTH_NONE},
    {"reducible", MSIFT_MEASURE_REDUCIBLE, &msift_rule_relative, MSIFT_STRENGTH_BETA},
    {"reducible_top", MSIFT_MEASURE_REDUCIBLE, &msift_rule_top, MSIFT_STRENGTH_KEEP},
    {"importance", MSIFT_MEASURE_LOSS, &msift_rule_proportional, MSIFT_STRENGTH_KEEP},
    {"importance_bound", MSIFT_MEASURE_BOUND, &msift_rule_proportional, MSIFT_STRENGTH_KEEP},
    {"uncertainty", MSIFT_MEASURE_UNCERTAINTY, &msift_rule_relative, MSIFT_STRENGTH_BETA},
    {"random", MSIFT_MEASURE_NOTHING, &msift_rule_random, MSIFT_STRENGTH_KEEP},
    {"all", MSIFT_MEASURE_NOTHING, &msift_rule_all, MSIFT_STRENGTH_NONE},
};

enum { POLICIES = sizeof policies / sizeof policies[0] };

static void names(void)
{
  struct msift_error error = {0};

  for (int i = 0; i < POLICIES; i++) {
    const struct msift_policy *p = msift_policy_find(policies[i].name, &error);

    CU_ASSERT_PTR_NOT_NULL_FATAL(p);
    CU_ASSERT_STRING_EQUAL(p->name, policies[i].name);
    CU_ASSERT_EQUAL(p->measure, policies[i].measure);
    CU_ASSERT_PTR_EQUAL(p->rule, policies[i].rule);
    CU_ASSERT_EQUAL(p->rule->strength, policies[i].strength);
    CU_ASSERT_EQUAL(msift_policy_scored(p), i < POLICIES - 2);
    CU_ASSERT_EQUAL(p->rule->weighted, p->rule == &msift_rule_proportional);
    CU_ASSERT_EQUAL(error.status, MPISIFT_OK);
  }
}

static void unknown_names(void)
{
  struct msift_error error = {0};

  CU_ASSERT_PTR_NULL(msift_policy_find("relativ", &error));
  CU_ASSERT_EQUAL(error.status, MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "'relativ'"));
  for (int i = 0; i < POLICIES; i++)
    CU_ASSERT_PTR_NOT_NULL(strstr(strchr(error.text, ';'), policies[i].name));
  msift_error_clear(&error);
  CU_ASSERT_PTR_NULL(msift_policy_find("", &error));
  CU_ASSERT_EQUAL(error.status, MPISIFT_ERR_ARG);
}

TEST_MAIN("policy", {"relative keeps its share", relative_keeps_its_share},
          {"top keeps its share", top_keeps_its_share}, {"random keeps its share", random_keeps_its_share},
          {"all keeps everything", all_keeps_everything},
          {"thresholds follow percentiles", thresholds_follow_percentiles},
          {"probability is the mean of powers", probability_is_the_mean_of_powers},
          {"importance is proportional", importance_is_proportional},
          {"importance by a wide bin", importance_by_a_wide_bin},
          {"importance with a huge loss", importance_with_a_huge_loss}, {"importance of zeros", importance_of_zeros},
          {"absolute looks at the loss", absolute_looks_at_the_loss},
          {"thresholds are in range", thresholds_are_in_range}, {"an empty history accepts", an_empty_history_accepts},
          {"refreshes", refreshes}, {"loss at a probability", loss_at_probability},
          {"loss at a probability is the first", loss_at_probability_is_the_first},
          {"thresholds are rounded", thresholds_are_rounded}, {"bad settings", bad_settings}, {"names", names},
          {"unknown names", unknown_names})
