/* The options of `mpisift train`. */
#ifndef MSIFT_TOOLS_OPTIONS_H
#define MSIFT_TOOLS_OPTIONS_H

#include <mpisift/mpisift.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "tools/mlp.h"

/* The arms, in the order in which they run: a budget is known only after the arms that set it. */
enum { ARM_FULL, ARM_SIFTED, ARM_SHORTENED, ARM_RANDOM, N_ARMS };
extern const char *const arm_names[N_ARMS];

/* What the program knows of a policy: the option that says how much it keeps, and whether it needs reference losses. */
typedef struct policy_facts {
  const char *name;
  enum { SET_BY_NOTHING, SET_BY_BETA, SET_BY_KEEP, SET_BY_THRESHOLD } set_by;
  bool reference;
} policy_facts;

enum { OPTIONS_MAX_RATES = 32, OPTIONS_MAX_GROUP = 256 };

typedef struct train_options {
  const char *file;         /* the first of */
  const char *const *files; /* [n_files] */
  int n_files;
  const char *test_data; /* NULL: the test group is in the same files */
  const char *json;      /* NULL: none; "-": standard output */
  const char *policy, *train_group, *test_group, *x, *y, *reference;
  bool arms[N_ARMS];
  int64_t seeds, folds, epochs, sift_epochs, history, sift_delay, coverage, refresh, batch, pipeline_depth, threads,
      prefetch, cache;
  double beta, keep, threshold, momentum, weight_decay, clip, warmup;
  double floor, class_floor, outliers, full_tail;
  mpisift_schedule schedule;
  const char *schedule_text; /* as typed; NULL: there is none */
  int n_hidden, hidden[MLP_MAX_HIDDEN];
  int n_rates;
  double rates[OPTIONS_MAX_RATES];
  char loss_group[OPTIONS_MAX_GROUP]; /* where losses are written, with */
  const char *loss_field;             /* NULL: nowhere */
  bool force, unlocked;
  bool wall_budget;
  bool help;
} train_options;

/* Read the command line; argv[0] is the command's name. Texts are borrowed from argv. On false, message says what is
 * wrong. Never prints. */
bool options_parse(int argc, char **argv, train_options *options, char *message, size_t size);

/* Of the policy asked for; of one that the library does not know either, nothing. */
const policy_facts *options_policy(const train_options *options);

void options_help(FILE *to);

#endif
