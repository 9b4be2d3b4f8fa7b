/* Rows on their way from their inputs into the parts of a data set. */
#ifndef MSIFT_TOOLS_TRANSFER_H
#define MSIFT_TOOLS_TRANSFER_H

#include "tools/choice.h"
#include "tools/series.h"
#include "tools/writer.h"

extern const char *const part_names[N_PARTS];

/* Where the labels are that a choice needs: of the field y. */
typedef struct label_source {
  int n; /* inputs, [n]; 0: labels are not needed */
  char *const *arguments;
  const input_csv_options *csv;
} label_source;

/* Read the labels and count them for the plan. Prints its errors with tool_error(), as does transfer_copy(). */
bool transfer_count(choice_plan *plan, const label_source *labels);

/* Copy all rows of a series to the group of the same name or, where the plan splits, to the groups of its parts. */
bool transfer_copy(series *from, const choice_plan *plan, const label_source *labels, writer *w,
                   const writer_options *storage);

#endif
