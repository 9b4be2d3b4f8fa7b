/* What becomes of each row of a group's inputs: the part it goes to, how often, and with which label. Rows are decided
 * on one by one, in their order, from the seed and their number, so that every reading of them decides alike. */
#ifndef MSIFT_TOOLS_CHOICE_H
#define MSIFT_TOOLS_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

/* The groups of a split. What the others do not take is for training. */
enum { PART_TRAIN, PART_TEST, PART_HOLDOUT, N_PARTS };

typedef struct choice_options {
  int64_t wanted[N_PARTS]; /* rows of the parts but PART_TRAIN; all 0: no split */
  int64_t seed;
  /* Of the training rows, for experiments: */
  double imbalance;   /* class k of K keeps imbalance^(-k / (K - 1)) of its rows; 1: all */
  double duplicates;  /* copies beside a row, on average */
  double label_noise; /* share of the rows that get another class's label, copies along with them */
} choice_options;

typedef struct choice_class {
  int64_t label;
  int64_t rows, wanted; /* that are to come, and of these those that are kept */
} choice_class;

/* The numbers of a group, which come before its rows. */
typedef struct choice_plan {
  choice_options options;
  bool injects;          /* imbalance, duplicates or noise go into this group */
  int64_t rows;          /* of the inputs */
  int n_classes;         /* of the training rows; 0: labels do not matter */
  choice_class *classes; /* [n_classes], by label */
  int64_t kept, copies;  /* training rows, and copies beside them */
  int64_t noisy;         /* of the kept */
} choice_plan;

/* The rows that are to come. */
typedef struct choice {
  const choice_plan *plan;
  uint64_t row, left, wanted[N_PARTS];
  choice_class *classes;
  uint64_t kept, copies, noisy;
} choice;

typedef struct fate {
  int part;
  int64_t times; /* the row is written; 0: it is left out */
  bool is_relabelled;
  int64_t label; /* then */
} fate;

/* Functions that fail print their errors with tool_error(). */

/* Whether labels take part in the choice. */
bool choice_needs_labels(const choice_options *options);

/* `injects`: whether the group's rows are trained on. If labels are needed, choice_count() takes those of all rows. */
void choice_plan_begin(choice_plan *plan, const choice_options *options, int64_t rows, bool injects);
bool choice_count(choice_plan *plan, choice *counting, int64_t label);
bool choice_plan_end(choice_plan *plan);
void choice_plan_release(choice_plan *plan);

/* Rows that are written to a part. */
int64_t choice_rows(const choice_plan *plan, int part);

/* From the first row on. The plan is borrowed. */
bool choice_begin(choice *c, const choice_plan *plan);
bool choice_next(choice *c, int64_t label, fate *f);
void choice_end(choice *c);

#endif
