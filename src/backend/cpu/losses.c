#include "backend/cpu/losses.h"

#include <config.h>
#include <string.h>

/* A case of a switch over mpisift_type: n labels, `step` apart. */
#define LOAD(TYPE, T)                                                                                                  \
  case TYPE:                                                                                                           \
    for (int i = 0; i < n; i++)                                                                                        \
      to[i] = ((const T *)labels->data)[first + i * step];                                                             \
    break

static void load_labels(const mpisift_values *labels, int64_t first, int64_t step, int n, int64_t *to)
{
  switch ((int)labels->type) {
    LOAD(MPISIFT_U8, uint8_t);
    LOAD(MPISIFT_U16, uint16_t);
    LOAD(MPISIFT_I32, int32_t);
    LOAD(MPISIFT_I64, int64_t);
  }
}

/* Rows that follow one another and count, with their labels. */
struct run {
  int64_t first;
  int n;
  int64_t labels[MSIFT_ROWS];
};

/* The labels of the next rows: of many samples of one row, or of one sample. */
static void begin_run(const struct msift_losses *job, int64_t rows, struct run *run)
{
  const int64_t tokens = job->spec.tokens, stride = job->targets.stride;
  int64_t token = run->first % tokens, most = tokens == 1 ? rows - run->first : tokens - token;

  run->n = most < MSIFT_ROWS ? (int)most : MSIFT_ROWS;
  load_labels(&job->targets, run->first / tokens * stride + token, tokens == 1 ? stride : 1, run->n, run->labels);
}

/* The next rows that count, from a row on; none where that row does not. */
static mpisift_status next_run(const struct msift_losses *job, int64_t rows, bool labelled, struct run *run,
                               struct msift_error *error)
{
  const int64_t columns = job->columns;
  int n = 0;

  if (!labelled) {
    run->n = rows - run->first < MSIFT_ROWS ? (int)(rows - run->first) : MSIFT_ROWS;
    return MPISIFT_OK;
  }
  begin_run(job, rows, run);
  while (n < run->n && (uint64_t)run->labels[n] < (uint64_t)columns)
    n++;
  if (job->spec.ignore)
    for (int i = 0; i <= n && i < run->n; i++)
      if (run->labels[i] == job->spec.ignore_index)
        n = run->n = i;
  if (n < run->n)
    return msift_error_set(error, MPISIFT_ERR_DATA, "the label of row %lld is %lld, outside of [0, %lld)",
                           (long long)(run->first + n), (long long)run->labels[n], (long long)columns);
  return MPISIFT_OK;
}

static float is_correct(float margin)
{
  return margin > 0 ? 1 : 0;
}

static void copy_scores(const struct run *run, bool labelled, const struct msift_row_scores *from,
                        const mpisift_scores *to)
{
  size_t bytes = (size_t)run->n * sizeof(float);

  if (to->loss != NULL)
    memcpy(to->loss + run->first, from->loss, bytes);
  if (to->bound != NULL)
    memcpy(to->bound + run->first, from->bound, bytes);
  if (to->confidence != NULL)
    memcpy(to->confidence + run->first, from->confidence, bytes);
  if (to->entropy != NULL)
    memcpy(to->entropy + run->first, from->entropy, bytes);
  if (to->margin != NULL)
    memcpy(to->margin + run->first, from->margin, bytes);
  for (int i = 0; i < run->n && to->correct != NULL; i++)
    to->correct[run->first + i] = is_correct(from->margin[i]);
  for (int i = 0; i < run->n && to->group != NULL && labelled; i++)
    to->group[run->first + i] = (int32_t)run->labels[i];
}

enum { LOSS, BOUND, CONFIDENCE, ENTROPY, MARGIN, CORRECT, SCORES };

/* A sample's tokens so far, added up one after the other. */
struct sample {
  double sums[SCORES];
  int64_t tokens;
};

static void add_token(struct sample *sample, const struct msift_row_scores *from, int i, bool more)
{
  sample->tokens++;
  sample->sums[LOSS] += (double)from->loss[i];
  if (!more)
    return;
  sample->sums[BOUND] += (double)from->bound[i];
  sample->sums[CONFIDENCE] += (double)from->confidence[i];
  sample->sums[ENTROPY] += (double)from->entropy[i];
  sample->sums[MARGIN] += (double)from->margin[i];
  sample->sums[CORRECT] += (double)is_correct(from->margin[i]);
}

static void put_sample(const struct sample *sample, mpisift_reduction reduction, int64_t i, const mpisift_scores *to)
{
  float *const places[SCORES] = {to->loss, to->bound, to->confidence, to->entropy, to->margin, to->correct};
  double tokens = sample->tokens > 0 ? (double)sample->tokens : 1;

  for (int k = 0; k < SCORES; k++)
    if (places[k] != NULL)
      places[k][i] = (float)(sample->sums[k] / (reduction == MPISIFT_SUM && k <= BOUND ? 1 : tokens));
  if (to->group != NULL)
    to->group[i] = 0;
}

/* A row that counts, or does not: `from` is NULL. */
static void take_row(const struct msift_losses *job, int64_t row, const struct msift_row_scores *from, int i, bool more,
                     struct sample *sample, const mpisift_scores *to)
{
  if (from != NULL)
    add_token(sample, from, i, more);
  if ((row + 1) % job->spec.tokens != 0)
    return;
  put_sample(sample, job->spec.reduction, row / job->spec.tokens, to);
  *sample = (struct sample){0};
}

mpisift_status msift_cpu_losses_with(const struct msift_kernels *kernels, const struct msift_losses *job,
                                     const mpisift_scores *scores, struct msift_error *error)
{
  bool labelled = msift_is_label_type(job->targets.type);
  bool more = scores->bound != NULL || scores->confidence != NULL || scores->entropy != NULL ||
              scores->margin != NULL || scores->correct != NULL;
  int64_t rows = job->n * job->spec.tokens;
  struct msift_row_scores from;
  struct sample sample = {0};
  struct run run = {0};

  while (run.first < rows) {
    MSIFT_TRY(next_run(job, rows, labelled, &run, error));
    if (run.n > 0)
      kernels->score(job, run.first, run.n, labelled ? run.labels : NULL, more, &from);
    if (job->spec.tokens == 1)
      copy_scores(&run, labelled, &from, scores);
    for (int i = 0; i < run.n && job->spec.tokens > 1; i++)
      take_row(job, run.first + i, &from, i, more, &sample, scores);
    run.first += run.n;
    if (run.n == 0)
      take_row(job, run.first++, NULL, 0, more, &sample, scores);
  }
  return MPISIFT_OK;
}

mpisift_status msift_cpu_losses(const struct msift_losses *job, const mpisift_scores *scores, struct msift_error *error)
{
  return msift_cpu_losses_with(msift_kernels()[0], job, scores, error);
}
