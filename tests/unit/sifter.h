/* A decider with its history, on one rank, for the tests of policies and modifiers. */
#ifndef MPISIFT_SIFTER_H
#define MPISIFT_SIFTER_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/decide.h"
#include "draw.h"
#include "testing.h"

struct sifter {
  mpisift_config config;
  struct msift_history history;
  struct msift_decider decider;
  struct msift_memory memory;
  struct msift_error error;
};

struct sifter_kind {
  const char *policy;
  int64_t length;
  bool exact;
  int64_t groups;
};

/* Settings other than the kind are set in the config, and hold from the next refresh on. */
static inline struct sifter *sifter_new(struct sifter_kind kind)
{
  struct sifter *s = calloc(1, sizeof *s);
  const struct msift_policy *policy;

  CU_ASSERT_PTR_NOT_NULL_FATAL(s);
  mpisift_config_init(&s->config, sizeof s->config);
  s->config.policy = kind.policy;
  s->config.groups = kind.groups;
  policy = msift_policy_find(kind.policy, &s->error);
  CU_ASSERT_PTR_NOT_NULL_FATAL(policy);
  CU_ASSERT_EQUAL(msift_history_init(&s->history, &s->memory, &s->error, kind.length, kind.exact, kind.groups),
                  MPISIFT_OK);
  msift_decider_init(&s->decider, policy, &s->config, &s->history);
  return s;
}

static inline void sifter_free(struct sifter *s)
{
  msift_history_destroy(&s->history, &s->memory);
  CU_ASSERT_EQUAL(s->memory.blocks, 0);
  CU_ASSERT_EQUAL(s->error.status, MPISIFT_OK);
  free(s);
}

/* One round. Without groups, all are of group 0. */
static inline void sifter_learn(struct sifter *s, const float *values, const int32_t *groups, int64_t n)
{
  const struct msift_history_round round = {n, false};
  uint32_t *words = calloc((size_t)msift_history_words(&s->history, n) + 1, sizeof *words);

  CU_ASSERT_PTR_NOT_NULL_FATAL(words);
  CU_ASSERT_EQUAL(msift_history_reserve(&s->history, &s->memory, &s->error, round, n), MPISIFT_OK);
  msift_history_begin(&s->history, round, words);
  for (int64_t i = 0; i < n; i++) {
    uint32_t key = msift_key(values[i]);
    int16_t bin = (int16_t)msift_bin(&s->history.bins, key);
    struct msift_seen seen = {s->history.end + i, key, groups == NULL ? 0 : groups[i], bin};

    msift_history_add(&s->history, round, 1, &seen, words);
  }
  msift_history_commit(&s->history, round, n, words);
  msift_decider_refresh(&s->decider, 0, 0);
  free(words);
}

/* As many rounds as it takes bins to settle. */
static inline void sifter_learn_draws(struct sifter *s, struct draw *d, draw_fn draw, int64_t n)
{
  float *values = malloc((size_t)n * sizeof *values);

  CU_ASSERT_PTR_NOT_NULL_FATAL(values);
  for (int64_t i = 0; i < n; i++)
    values[i] = draw(d);
  sifter_learn(s, values, NULL, n);
  for (int i = 0; i < 6; i++)
    sifter_learn(s, values, NULL, 0);
  free(values);
}

/* Mean probability over the window's own values, which a copy of the generator draws again. */
static inline double sifter_mean_probability(struct sifter *s, struct draw again, draw_fn draw)
{
  double sum = 0;

  for (int64_t i = 0; i < s->history.length; i++)
    sum += (double)msift_decider_threshold(&s->decider, draw(&again)) * 0x1p-32;
  return sum / (double)s->history.length;
}

/* Decide rounds of 200 by the values before them, as a loader does. */
static inline int64_t sifter_count_kept(struct sifter *s, struct draw *d, draw_fn draw, int64_t n)
{
  enum { ROUND = 200 };
  float values[ROUND];
  int64_t kept = 0;

  for (int64_t id = 0; id < n; id += ROUND) {
    for (int64_t i = 0; i < ROUND; i++) {
      values[i] = draw(d);
      kept += msift_accept(7, 1, id + i, msift_decider_threshold(&s->decider, values[i]));
    }
    sifter_learn(s, values, NULL, ROUND);
  }
  return kept;
}

/* Whether a count of n trials agrees with a probability, by so many standard errors. */
static inline int sifter_within(double count, double n, double p, double errors)
{
  return fabs(count - n * p) <= errors * sqrt(n * p * (1 - p));
}

#endif
