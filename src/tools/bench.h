/* The benchmarks of `mpisift bench`. A new one is a file bench_NAME.c, which defines its struct benchmark and may
 * include headers of the library's inside, and a line in the list of bench.c. */
#ifndef MSIFT_TOOLS_BENCH_H
#define MSIFT_TOOLS_BENCH_H

#include <mpisift/mpisift.h>
#include <stdbool.h>
#include <stdint.h>

enum { BENCH_MAX_OPTIONS = 12, BENCH_MAX_FIGURES = 192, BENCH_MAX_KEY = 48 };

/* An option with a number or a text; its name, with '_' for '-', is a key of the JSON too. */
typedef struct bench_option {
  const char *name, *placeholder;
  double initial, min, max;
  bool real; /* any number; else whole ones only */
  const char *help;
  const char *text; /* initial; an option with a text has no number */
} bench_option;

/* A result: a key of the JSON object and a line of the table. */
typedef struct bench_figure {
  char key[BENCH_MAX_KEY];
  double value;
  const char *what;
} bench_figure;

/* A benchmark that runs. */
typedef struct bench_job {
  MPI_Comm comm; /* all ranks */
  int rank, ranks;
  mpisift_ctx *ctx;
  double values[BENCH_MAX_OPTIONS]; /* of the options, in their order */
  const char *texts[BENCH_MAX_OPTIONS];
  int n_figures;
  bench_figure figures[BENCH_MAX_FIGURES];
} bench_job;

typedef struct benchmark {
  const char *name, *summary;
  bench_option options[BENCH_MAX_OPTIONS + 1]; /* the last has no name */
  int (*run)(bench_job *job);                  /* on all ranks; returns an enum tool_exit, the same on all */
} benchmark;

extern const benchmark bench_decide, bench_exchange, bench_history, bench_indices, bench_losses, bench_plan, bench_read,
    bench_step;

/* Add a figure. The key is PREFIX_NAME, or NAME where the prefix is ""; `what` is borrowed. Rank 0's value counts. */
void bench_put(bench_job *job, const char *prefix, const char *name, double value, const char *what);

/* Print an error on rank 0. Returns TOOL_FAILURE. */
int bench_fail(const bench_job *job, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Whether all ranks say so. */
bool bench_all(const bench_job *job, bool mine);

/* Wait for all ranks, so that no late one is waited for in what is timed; then the time, of msift_seconds(). */
double bench_start(const bench_job *job);

/* Replace each of n samples by the largest of all ranks; or by the smallest, which of a collective call is that of the
 * rank that came last, and so without waiting for ranks. */
void bench_slowest(const bench_job *job, double *samples, int64_t n);
void bench_quickest(const bench_job *job, double *samples, int64_t n);

/* Median of n >= 1 samples. Sorts them. */
double bench_median(double *samples, int64_t n);

/* Median of the ratios a[i] / b[i], for which there is room in `ratios`. Samples taken one after the other share the
 * moods of the machine; their ratios vary less than the ratio of medians. */
double bench_ratio(const double *a, const double *b, int64_t n, double *ratios);

#endif
