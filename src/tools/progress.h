/* What rank 0 says while a job runs: a line now and then on standard error, and on a terminal a line that is rewritten.
 */
#ifndef MSIFT_TOOLS_PROGRESS_H
#define MSIFT_TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct job_progress {
  bool speaks;    /* this rank is 0 */
  FILE *terminal; /* NULL: none */
  double started, shown;
  double total, done; /* work of the job; the unit is the caller's */
  int width;          /* of the line on the terminal */
} job_progress;

typedef struct progress_state {
  const char *what;      /* such as "sifted, seed 3/10" */
  int64_t epoch, epochs; /* epochs = 0: their number is not known */
  double loss;           /* NaN: none yet */
  double keep;
  double work; /* of this arm, up to now */
} progress_state;

void progress_open(job_progress *progress, int rank);
void progress_close(job_progress *progress);

/* The work begins. */
void progress_begin(job_progress *progress, double total);

/* True where a state would be shown now; rate-limited, so that states are gathered only then. */
bool progress_due(const job_progress *progress);
void progress_show(job_progress *progress, const progress_state *state);

/* Count the work as done, and print the line; it stays. */
void progress_line(job_progress *progress, double work, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Take the rewritten line away. */
void progress_clear(job_progress *progress);

/* Print an error on rank 0. Returns TOOL_FAILURE. */
int progress_fail(job_progress *progress, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
