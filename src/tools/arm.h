/* One training run: one arm with one seed and one learning rate. */
#ifndef MSIFT_TOOLS_ARM_H
#define MSIFT_TOOLS_ARM_H

#include <mpisift/mpisift.h>
#include <stdbool.h>
#include <stdint.h>

#include "tools/data.h"
#include "tools/mlp.h"
#include "tools/options.h"
#include "tools/progress.h"

/* What all runs share. */
typedef struct trainer {
  const train_options *options;
  data_set *data;
  mlp net;
  float *losses, *confidences; /* [net.max_rows] */
  MPI_Comm comm;               /* the gradients' own */
  job_progress *progress;
} trainer;

typedef struct arm_plan {
  int arm;
  uint64_t seed;
  double rate;
  int64_t epochs; /* of candidates; 0: train `steps` steps instead */
  int64_t steps;
  double keep;      /* share of candidates to train on, for ARM_RANDOM */
  const char *what; /* for the progress line */
} arm_plan;

typedef struct arm_result {
  bool diverged; /* the loss became infinite or NaN; the rest is then of no use */
  double rate;
  int64_t candidates, accepted, steps, trained;
  double cost;                        /* forward passes of one sample: a trained sample is 3, a scored one 1 */
  double wall_s;                      /* largest of the ranks */
  double score_s, sift_s, exchange_s; /* mean of the ranks */
  data_errors errors;
} arm_result;

/* Rows that a rank has at once, at most: its share of a batch, or of a round of candidates. */
int64_t arm_max_rows(const train_options *options, int ranks);

/* Share of the candidates that the sifted arm is expected to keep. */
double arm_expected_keep(const train_options *options);

/* Let the library check the configuration before hours of training come to it. Collective; prints errors and returns an
 * enum tool_exit, the same on all ranks. */
int arm_check(trainer *run, const mpisift_source *source, int arm);

/* Train from the start on `source`, and evaluate on `judge`. Collective; as arm_check(). */
int arm_run(trainer *run, const mpisift_source *source, const mpisift_source *judge, const arm_plan *plan,
            arm_result *result);

#endif
