/* Policies, thresholds and acceptance: what is kept, on average and sample by sample. */
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "core/decide.h"
#include "core/random.h"
#include "draw.h"
#include "testing.h"

typedef float (*draw_fn)(struct draw *d);

/* A decider with its history, on one rank. */
struct sifter {
  mpisift_config config;
  struct msift_history history;
  struct msift_decider decider;
  struct msift_memory memory;
  struct msift_error error;
};

static struct sifter *sifter_new(const char *policy, double beta, int64_t length)
{
  struct sifter *s = calloc(1, sizeof *s);
  const struct msift_policy *p;

  CU_ASSERT_PTR_NOT_NULL_FATAL(s);
  mpisift_config_init(&s->config, sizeof s->config);
  s->config.beta = beta;
  s->config.policy = policy;
  p = msift_policy_find(policy, &s->error);
  CU_ASSERT_PTR_NOT_NULL_FATAL(p);
  CU_ASSERT_EQUAL(p->check(&s->config, &s->error), MPISIFT_OK);
  msift_history_init(&s->history, length);
  msift_decider_init(&s->decider, p, &s->config, &s->history);
  return s;
}

static void sifter_free(struct sifter *s)
{
  msift_history_destroy(&s->history, &s->memory);
  CU_ASSERT_EQUAL(s->memory.blocks, 0);
  CU_ASSERT_EQUAL(s->error.status, MPISIFT_OK);
  free(s);
}

static void sifter_learn(struct sifter *s, const float *losses, int64_t n)
{
  uint32_t changes[MSIFT_BINS] = {0};
  struct msift_seen *seen = malloc((size_t)n * sizeof *seen);
  struct msift_scale finer;
  int64_t end = s->history.end + n;

  CU_ASSERT_PTR_NOT_NULL_FATAL(seen);
  for (int64_t i = 0; i < n; i++)
    seen[i] = (struct msift_seen){s->history.end + i, losses[i]};
  msift_history_changes(&s->history, seen, n, end, changes);
  CU_ASSERT_EQUAL(msift_ring_reserve(&s->history.seen, &s->memory, &s->error, n), MPISIFT_OK);
  msift_history_commit(&s->history, seen, n, end, changes);
  if (msift_history_zoom(&s->history, &finer)) {
    memset(changes, 0, sizeof changes);
    msift_history_recount(&s->history, &finer, changes);
    msift_history_rescale(&s->history, &finer, changes);
  }
  msift_decider_refresh(&s->decider);
  free(seen);
}

static void sifter_learn_draws(struct sifter *s, struct draw *d, draw_fn draw, int64_t n)
{
  float *losses = malloc((size_t)n * sizeof *losses);

  CU_ASSERT_PTR_NOT_NULL_FATAL(losses);
  for (int64_t i = 0; i < n; i++)
    losses[i] = draw(d);
  sifter_learn(s, losses, n);
  free(losses);
}

static const double betas[] = {0.1, 0.25, 0.5, 1, 2, 3, 10, 100};
static const draw_fn distributions[] = {draw_lognormal, draw_equal, draw_zeros, draw_ties};

enum { BETAS = sizeof betas / sizeof betas[0], DISTRIBUTIONS = sizeof distributions / sizeof distributions[0] };

/* Decide rounds of 200 by the losses before them, as a loader does. */
static int64_t count_kept(struct sifter *s, struct draw *d, draw_fn draw, int64_t n, uint64_t seed)
{
  enum { ROUND = 200 };
  float losses[ROUND];
  int64_t kept = 0;

  for (int64_t id = 0; id < n; id += ROUND) {
    for (int64_t i = 0; i < ROUND; i++) {
      losses[i] = draw(d);
      kept += msift_accept(seed, 1, id + i, msift_decider_threshold(&s->decider, losses[i]));
    }
    sifter_learn(s, losses, ROUND);
  }
  return kept;
}

static int within(double count, double n, double p, double errors)
{
  return fabs(count - n * p) <= errors * sqrt(n * p * (1 - p));
}

static void relative_keeps_its_share(void)
{
  enum { N = 20000, WINDOW = 4096 };

  for (int k = 0; k < DISTRIBUTIONS; k++)
    for (int b = 0; b < BETAS; b++) {
      struct sifter *s = sifter_new("relative", betas[b], WINDOW);
      struct draw d = {(uint64_t)(100 * k + b + 1)};
      double share = 1 / (1 + betas[b]);

      CU_ASSERT_EQUAL(s->decider.policy->keep(&s->config), share);
      sifter_learn_draws(s, &d, distributions[k], WINDOW);
      CU_ASSERT(within((double)count_kept(s, &d, distributions[k], N, 7), N, share, 5));
      sifter_free(s);
    }
}

/* Over the history's own losses the mean probability is exactly 1/(1 + beta), ties or not. */
static void mean_probability_is_exact(void)
{
  enum { WINDOW = 3000 };

  for (int k = 0; k < DISTRIBUTIONS; k++)
    for (int b = 0; b < BETAS; b++) {
      struct sifter *s = sifter_new("relative", betas[b], WINDOW);
      struct draw d = {(uint64_t)(100 * k + b + 1)}, again = d;
      double sum = 0;

      sifter_learn_draws(s, &d, distributions[k], WINDOW);
      for (int i = 0; i < WINDOW; i++)
        sum += (double)msift_decider_threshold(&s->decider, distributions[k](&again)) * 0x1p-32;
      CU_ASSERT_DOUBLE_EQUAL(sum / WINDOW, 1 / (1 + betas[b]), 1e-9);
      sifter_free(s);
    }
}

/* The sharp rule q^beta where losses do not tie: a threshold differs from it by no more than a bin is wide. */
static void thresholds_follow_percentiles(void)
{
  enum { WINDOW = 4096 };
  struct sifter *s = sifter_new("relative", 2, WINDOW);
  struct draw d = {UINT64_C(8)}, again = d;
  static float losses[WINDOW];
  double most = 0;

  sifter_learn_draws(s, &d, draw_lognormal, WINDOW);
  for (int i = 0; i < WINDOW; i++)
    losses[i] = draw_lognormal(&again);
  for (int i = 0; i < WINDOW; i += 7) {
    double below = 0, p = msift_probability(msift_decider_threshold(&s->decider, losses[i]));

    for (int j = 0; j < WINDOW; j++)
      below += losses[j] < losses[i];
    most = fmax(most, fabs(p - pow(below / WINDOW, 2)));
  }
  CU_ASSERT(most < 0.02);
  sifter_free(s);
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

static void probability_is_the_mean_of_powers(void)
{
  const struct msift_policy *policy = &msift_policy_relative;
  struct draw d = {UINT64_C(77)};
  mpisift_config config;
  int64_t wrong = 0;

  mpisift_config_init(&config, sizeof config);
  for (int b = 0; b < BETAS; b++)
    for (int i = 0; i < 60; i++) {
      double low = i % 5 == 0 ? 0 : draw_unit(&d), width = pow(10, -6 * draw_unit(&d));
      double high = i % 7 == 0 ? 1 : fmin(1, low + width), expected, p;

      config.beta = betas[b];
      expected = integrate(config.beta, low, high);
      p = policy->probability(&config, 0, low, high);
      wrong += !(fabs(p - expected) <= 1e-4 * expected + 1e-6) || p < 0 || p > 1;
      wrong += fabs(policy->probability(&config, 0, low, low) - pow(low, config.beta)) > 1e-12;
    }
  CU_ASSERT_EQUAL(wrong, 0);
  CU_ASSERT_EQUAL(policy->probability(&config, 0, 0, 0), 0);
  CU_ASSERT_EQUAL(policy->probability(&config, 0, 1, 1), 1);
}

static void blind_policies(void)
{
  static const double keeps[] = {1e-3, 0.1, 0.5, 0.9, 1};
  enum { N = 20000 };

  for (int k = 0; k < 5; k++) {
    struct sifter *s = sifter_new("random", 1, 10);
    uint64_t threshold;
    int64_t kept = 0;

    s->config.keep = keeps[k];
    CU_ASSERT_EQUAL(s->decider.policy->keep(&s->config), keeps[k]);
    threshold = msift_decider_threshold(&s->decider, NAN);
    CU_ASSERT_DOUBLE_EQUAL(msift_probability(threshold), keeps[k], 1e-7);
    for (int64_t id = 0; id < N; id++)
      kept += msift_accept(5, 2, id, threshold);
    CU_ASSERT(within((double)kept, N, keeps[k], 5));
    CU_ASSERT(!s->decider.policy->scored && isnan(msift_decider_loss_at(&s->decider, 0.5)));
    sifter_free(s);
  }
}

static void all_keeps_everything(void)
{
  struct sifter *s = sifter_new("all", 1, 10);
  int64_t kept = 0;

  CU_ASSERT(!s->decider.policy->scored);
  CU_ASSERT_EQUAL(s->decider.policy->keep(&s->config), 1);
  CU_ASSERT_EQUAL(msift_decider_threshold(&s->decider, NAN), MSIFT_CERTAIN);
  for (int64_t id = 0; id < 10000; id++)
    kept += msift_accept(3, id % 5, id, msift_decider_threshold(&s->decider, 1));
  CU_ASSERT_EQUAL(kept, 10000);
  sifter_free(s);
}

/* In [0, 2^32] and ascending with the loss, for any loss, also such as the history never saw. */
static void thresholds_are_in_range(void)
{
  static const float losses[] = {0, 0x1p-149F, 1e-30F, 1e-12F, 1e-3F, 0.5F, 1, 2, 7, 100, 1e7F, 1e30F, FLT_MAX};

  for (int k = 0; k < DISTRIBUTIONS; k++)
    for (int b = 0; b < BETAS; b++) {
      struct sifter *s = sifter_new("relative", betas[b], 1000);
      struct draw d = {UINT64_C(3)};
      uint64_t last = 0;
      int64_t wrong = 0;

      sifter_learn_draws(s, &d, distributions[k], 1500);
      for (size_t i = 0; i < sizeof losses / sizeof losses[0]; i++) {
        uint64_t threshold = msift_decider_threshold(&s->decider, losses[i]);

        wrong += threshold > MSIFT_CERTAIN || threshold < last;
        last = threshold;
      }
      CU_ASSERT_EQUAL(wrong, 0);
      sifter_free(s);
    }
}

static void an_empty_history_accepts(void)
{
  struct sifter *s = sifter_new("relative", 3, 100);

  CU_ASSERT_EQUAL(msift_decider_threshold(&s->decider, 0), MSIFT_CERTAIN);
  CU_ASSERT_EQUAL(msift_decider_threshold(&s->decider, 5), MSIFT_CERTAIN);
  CU_ASSERT(isnan(msift_decider_loss_at(&s->decider, 0.5)));
  sifter_free(s);
}

/* After a refresh the thresholds are those of the present history. */
static void refreshes(void)
{
  struct sifter *s = sifter_new("relative", 1, 4);
  float low[] = {1, 2, 3, 4}, high[] = {100, 200, 300, 400};

  sifter_learn(s, high, 4);
  CU_ASSERT_EQUAL(msift_decider_threshold(&s->decider, 50), 0);
  sifter_learn(s, low, 4);
  CU_ASSERT_EQUAL(msift_decider_threshold(&s->decider, 50), MSIFT_CERTAIN);
  sifter_free(s);
}

/* Of a lognormal loss. */
static double percentile(double loss)
{
  return (1 + erf(log(loss) / sqrt(2))) / 2;
}

/* At the loss named the probability is reached, just below it is not. */
static void loss_at_probability(void)
{
  static const double probabilities[] = {0.1, 0.5, 0.9};

  for (int b = 0; b < BETAS; b++) {
    struct sifter *s = sifter_new("relative", betas[b], 5000);
    struct draw d = {UINT64_C(21)};

    sifter_learn_draws(s, &d, draw_lognormal, 4999);
    CU_ASSERT(isnan(msift_decider_loss_at(&s->decider, 0.5)));
    sifter_learn_draws(s, &d, draw_lognormal, 1);
    for (int k = 0; k < 3; k++) {
      float loss = (float)msift_decider_loss_at(&s->decider, probabilities[k]);
      uint64_t above = msift_decider_threshold(&s->decider, loss);
      uint64_t below = msift_decider_threshold(&s->decider, nextafterf(loss, 0));

      CU_ASSERT((double)above * 0x1p-32 >= probabilities[k]);
      CU_ASSERT(loss == 0 || (double)below * 0x1p-32 < probabilities[k]);
      CU_ASSERT_DOUBLE_EQUAL(percentile(loss), pow(probabilities[k], 1 / betas[b]), 0.03);
    }
    sifter_free(s);
  }
}

static void refuse(const char *policy, double beta, double keep, const char *field)
{
  struct msift_error error = {0};
  const struct msift_policy *p = msift_policy_find(policy, &error);
  mpisift_config config;

  CU_ASSERT_PTR_NOT_NULL_FATAL(p);
  mpisift_config_init(&config, sizeof config);
  config.beta = beta;
  config.keep = keep;
  CU_ASSERT_EQUAL(p->check(&config, &error), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(error.status, MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NOT_NULL(strstr(error.text, field));
}

static void bad_settings(void)
{
  struct msift_error error = {0};
  mpisift_config config;

  refuse("relative", 0, 0.5, "beta");
  refuse("relative", -1, 0.5, "beta");
  refuse("relative", NAN, 0.5, "beta");
  refuse("relative", INFINITY, 0.5, "beta");
  refuse("relative", -INFINITY, 0.5, "beta");
  refuse("random", 1, 0, "keep");
  refuse("random", 1, -0.1, "keep");
  refuse("random", 1, 1.5, "keep");
  refuse("random", 1, NAN, "keep");
  mpisift_config_init(&config, sizeof config);
  config.beta = config.keep = NAN; /* not looked at by "all" */
  CU_ASSERT_EQUAL(msift_policy_all.check(&config, &error), MPISIFT_OK);
}

static void unknown_name(void)
{
  static const char *const names[] = {"relative", "random", "all"};
  struct msift_error error = {0};

  for (int i = 0; i < 3; i++) {
    const struct msift_policy *p = msift_policy_find(names[i], &error);

    CU_ASSERT(p != NULL && strcmp(p->name, names[i]) == 0);
    CU_ASSERT_EQUAL(error.status, MPISIFT_OK);
  }
  CU_ASSERT_PTR_NULL(msift_policy_find("relativ", &error));
  CU_ASSERT_EQUAL(error.status, MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "'relativ'"));
  for (int i = 0; i < 3; i++)
    CU_ASSERT_PTR_NOT_NULL(strstr(strchr(error.text, ';'), names[i]));
  msift_error_clear(&error);
  CU_ASSERT_PTR_NULL(msift_policy_find("", &error));
  CU_ASSERT_EQUAL(error.status, MPISIFT_ERR_ARG);
}

static void acceptance_is_pure(void)
{
  int64_t wrong = 0;

  for (int64_t id = 0; id < 2000; id++)
    for (uint64_t t = 0; t <= MSIFT_CERTAIN; t += MSIFT_CERTAIN / 4) {
      bool first = msift_accept(1, 2, id, t);

      msift_accept(9, 9, 1999 - id, t);
      wrong += msift_accept(1, 2, id, t) != first;
      wrong += first && t < MSIFT_CERTAIN && !msift_accept(1, 2, id, t + MSIFT_CERTAIN / 4); /* ascends with t */
    }
  for (int64_t id = 0; id < 100000; id++)
    wrong += msift_accept(4, 0, id, 0) || !msift_accept(4, 0, id, MSIFT_CERTAIN);
  CU_ASSERT_EQUAL(wrong, 0);
}

/* Acceptance at a probability agrees with it alone and, where key parts differ, jointly with its square. */
static void acceptance_is_independent(void)
{
  enum { N = 40000 };

  for (int k = 1; k < 10; k += 4) {
    double p = 0.1 * k;
    uint64_t t = (uint64_t)(p * 0x1p32);
    int64_t alone = 0, ids = 0, epochs = 0, seeds = 0, swapped = 0, high = 0;

    for (int64_t i = 0; i < N; i++) {
      bool first = msift_accept(42, 3, i, t);

      alone += first;
      ids += first && msift_accept(42, 3, i + 1, t);
      epochs += first && msift_accept(42, 4, i, t);
      seeds += first && msift_accept(43, 3, i, t);
      swapped += first && i != 3 && msift_accept(42, i, 3, t);
      high += first && msift_accept(42, 3, i + (INT64_C(1) << 32), t);
    }
    CU_ASSERT(within((double)alone, N, p, 5));
    CU_ASSERT(within((double)ids, N, p * p, 5));
    CU_ASSERT(within((double)epochs, N, p * p, 5));
    CU_ASSERT(within((double)seeds, N, p * p, 5));
    CU_ASSERT(within((double)swapped, N, p * p, 5));
    CU_ASSERT(within((double)high, N, p * p, 5));
  }
}

/* The published known answer of Philox4x32-10 for key and counter 0, which a seed can ask for: the key is a mix of the
 * seed that has one fixed point at 0. */
static void random_numbers_are_philox(void)
{
  uint64_t zero = 0 - UINT64_C(0x9e3779b97f4a7c15);

  CU_ASSERT_EQUAL(msift_random(zero, MSIFT_STREAM_ACCEPT, 0, 0), UINT64_C(0xe169c58d6627e8d5));
  CU_ASSERT_NOT_EQUAL(msift_random(1, MSIFT_STREAM_ACCEPT, 2, 3), msift_random(1, MSIFT_STREAM_ORDER, 2, 3));
  CU_ASSERT_NOT_EQUAL(msift_random(1, MSIFT_STREAM_ACCEPT, 2, 3), msift_random(1, MSIFT_STREAM_ACCEPT, 3, 2));
  CU_ASSERT_NOT_EQUAL(msift_random(1, MSIFT_STREAM_ACCEPT, 2, 3), msift_random(2, MSIFT_STREAM_ACCEPT, 2, 3));
}

/* The share of `top` comes out for every distribution, ties across the line included. */
static void top_keeps_its_share(void)
{
  static const double shares[] = {0.1, 0.25, 0.5, 0.9};
  static const draw_fn draws[] = {draw_lognormal, draw_equal, draw_ties, draw_zeros};

  for (size_t k = 0; k < 4; k++)
    for (size_t j = 0; j < 4; j++) {
      struct sifter *s = sifter_new("top", 1, 4000);
      struct draw d = {(uint64_t)(10 * k + j + 1)}, again = d;
      double sum = 0;

      s->config.keep = shares[k];
      sifter_learn_draws(s, &d, draws[j], 4000);
      for (int i = 0; i < 4000; i++)
        sum += msift_probability(msift_decider_threshold(&s->decider, draws[j](&again)));
      CU_ASSERT_DOUBLE_EQUAL(sum / 4000, shares[k], 1e-6);
      CU_ASSERT_EQUAL(s->decider.policy->keep(&s->config), shares[k]);
      sifter_free(s);
    }
}

static void absolute_looks_at_the_loss(void)
{
  struct sifter *s = sifter_new("absolute", 1, 100);
  struct draw d = {UINT64_C(5)};

  s->config.threshold = 1.2345;
  sifter_learn_draws(s, &d, draw_lognormal, 100);
  CU_ASSERT_EQUAL(msift_decider_threshold(&s->decider, 1.2344F), 0);
  CU_ASSERT_EQUAL(msift_decider_threshold(&s->decider, 1.2346F), MSIFT_CERTAIN);
  CU_ASSERT_DOUBLE_EQUAL(msift_decider_loss_at(&s->decider, 0.5), 1.2345, 0.02);
  sifter_free(s);
}

/* Coverage beats outliers, outliers beat policy and floor, the floor raises the policy, and weights are of what
 * results. */
static void modifiers_have_an_order(void)
{
  struct sifter *s = sifter_new("relative", 3, 4000);
  struct draw d = {UINT64_C(6)};
  struct msift_verdict v;
  int64_t covered = 0;

  sifter_learn_draws(s, &d, draw_lognormal, 4000);
  s->config.floor = 0.25;
  s->config.unbiased_weights = true;
  v = msift_decide(&s->decider, 1e-3F, 1, 0);
  CU_ASSERT(v.threshold == MSIFT_CERTAIN / 4 && v.weight == 4 && !v.outlier);
  s->config.weight_clip = 2.5;
  CU_ASSERT_EQUAL(msift_decide(&s->decider, 1e-3F, 1, 0).weight, 2.5F);
  v = msift_decide(&s->decider, 1e3F, 1, 0);
  CU_ASSERT(v.threshold > MSIFT_CERTAIN / 100 * 99 && v.weight < 1.01F);
  s->config.outlier_share = 0.01;
  v = msift_decide(&s->decider, 1e3F, 1, 0);
  CU_ASSERT(v.threshold == 0 && v.outlier);
  CU_ASSERT(!msift_decide(&s->decider, 1, 1, 0).outlier);
  s->config.coverage_epochs = 3;
  for (int64_t id = 0; id < 3000; id++) {
    int epochs = 0;

    for (int64_t epoch = 0; epoch < 3; epoch++)
      epochs += msift_decide(&s->decider, 1e3F, id, epoch).threshold == MSIFT_CERTAIN;
    CU_ASSERT_EQUAL(epochs, 1);
    covered += msift_decide(&s->decider, 1e3F, id, 0).threshold == MSIFT_CERTAIN;
  }
  CU_ASSERT(covered > 850 && covered < 1150);
  sifter_free(s);
}

/* With weights 1/p the weighted sum over accepted samples is that over candidates, within its standard error. */
static void weights_are_unbiased(void)
{
  enum { N = 200000 };
  struct sifter *s = sifter_new("relative", 1, 4000);
  struct draw d = {UINT64_C(7)};
  double all = 0, weighted = 0, variance = 0;

  sifter_learn_draws(s, &d, draw_lognormal, 4000);
  s->config.floor = 0.05;
  s->config.unbiased_weights = true;
  for (int64_t id = 0; id < N; id++) {
    float loss = draw_lognormal(&d);
    struct msift_verdict v = msift_decide(&s->decider, loss, id, 0);
    double p = msift_probability(v.threshold), value = sin((double)loss) + loss;

    CU_ASSERT_DOUBLE_EQUAL(v.weight * p, 1, 1e-6);
    all += value;
    weighted += msift_accept(11, 0, id, v.threshold) ? (double)v.weight * value : 0;
    variance += value * value * (1 - p) / p;
  }
  CU_ASSERT_DOUBLE_EQUAL(weighted, all, 4 * sqrt(variance));
  CU_ASSERT(sqrt(variance) < 0.01 * all);
  sifter_free(s);
}

TEST_MAIN("policy", {"relative keeps its share", relative_keeps_its_share},
          {"mean probability is exact", mean_probability_is_exact},
          {"thresholds follow percentiles", thresholds_follow_percentiles},
          {"probability is the mean of powers", probability_is_the_mean_of_powers}, {"blind policies", blind_policies},
          {"all keeps everything", all_keeps_everything}, {"thresholds are in range", thresholds_are_in_range},
          {"an empty history accepts", an_empty_history_accepts}, {"refreshes", refreshes},
          {"loss at a probability", loss_at_probability}, {"bad settings", bad_settings},
          {"top keeps its share", top_keeps_its_share}, {"absolute looks at the loss", absolute_looks_at_the_loss},
          {"modifiers have an order", modifiers_have_an_order}, {"weights are unbiased", weights_are_unbiased},
          {"unknown name", unknown_name}, {"acceptance is pure", acceptance_is_pure},
          {"acceptance is independent", acceptance_is_independent},
          {"random numbers are Philox", random_numbers_are_philox})
