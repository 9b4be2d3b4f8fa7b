/* What the runs gave: statistics over seeds, the table, the JSON. */
#ifndef MSIFT_TOOLS_RESULTS_H
#define MSIFT_TOOLS_RESULTS_H

#include <stdbool.h>
#include <stdio.h>

#include "tools/arm.h"
#include "tools/data.h"
#include "tools/options.h"

typedef struct result_set {
  const train_options *options;
  int ranks, features, classes;
  int64_t rows, test_rows;
  arm_result *runs[N_ARMS]; /* [seeds]; NULL: the arm was not asked for */
} result_set;

/* Allocate for the arms of the options. */
bool results_create(result_set *found, const train_options *options, const data_set *data);
void results_destroy(result_set *found);

/* The table, and below it the differences between the arms, in words. */
void results_table(const result_set *found, FILE *to);

/* As json_write(). */
bool results_write_json(const result_set *found, const char *path, char *message, size_t size);

#endif
