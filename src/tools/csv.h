/* CSV files of numbers with an integer label: fields x (float32, the other columns) and y (the label). */
#ifndef MSIFT_TOOLS_CSV_H
#define MSIFT_TOOLS_CSV_H

#include "tools/input.h"

/* Reads and checks all of the file, so that the rows and the label's type are known, and goes back to its start. */
bool csv_open(input *in, const input_csv_options *options);

#endif
