#include "backend/cpu/kernels.h"

#include "backend/cpu/columns.h"
#include "backend/cpu/finish.h"
#include "backend/cpu/target.h"

#define REAL float
#define LANES FLOATS
#define MASK vint
#define LOWEST -FLT_MAX
#include "backend/cpu/softmax.h"
#define REAL double
#define LANES DOUBLES
#define MASK vlong
#define LOWEST -DBL_MAX
#include "backend/cpu/softmax.h"

/* Where the tile after one that begins at `first` is. */
INLINE const char *following(const struct msift_losses *job, int64_t row, int64_t first)
{
  const bool last = first + TILE >= job->columns;

  if (last && row + 1 < job->n * job->spec.tokens)
    return row_of(&job->logits, row + 1);
  return element(job->logits.type, row_of(&job->logits, row), last ? first : first + TILE);
}

/* A row in one pass over its logits, tile by tile. */
INLINE void sum_row(const struct msift_losses *job, int64_t row, int64_t label, bool given, bool spread,
                    const bool more, struct rows *rows, int i)
{
  const mpisift_type type = job->logits.type;
  const char *x = row_of(&job->logits, row);
  float floats[TILE];

  rows->sum[i] = rows->squares[i] = rows->moment[i] = 0;
  rows->top[i] = type == MPISIFT_F64 ? -DBL_MAX : (double)-FLT_MAX;
  for (int64_t first = 0; first < job->columns; first += TILE) {
    int n = piece(job->columns, first), at = label >= first && label < first + n ? (int)(label - first) : -1;
    const char *tile = element(type, x, first), *next = following(job, row, first);

    if (type == MPISIFT_F64)
      double_tile((const void *)tile, n, at, next, VECTOR, more, rows, i);
    else if (type == MPISIFT_F32)
      float_tile((const void *)tile, n, at, next, VECTOR, more, rows, i);
    else {
      to_floats(type, tile, n, floats);
      float_tile(floats, n, at, next, VECTOR / 2, more, rows, i);
    }
    if (spread)
      add_target(job, row, label, given, first, n, rows, i);
  }
}

INLINE void sum_rows(const struct msift_losses *job, int64_t first, int n, const int64_t *labels, bool given,
                     bool spread, const bool more, struct rows *rows)
{
  const mpisift_type type = job->logits.type;
  const float *weights = job->spec.class_weights;

  for (int i = 0; i < MSIFT_ROWS; i++)
    rows->label[i] = 1;
  for (int i = 0; i < n && weights != NULL; i++)
    rows->label[i] = (double)weights[labels[i]];
  if (job->columns > NARROW)
    for (int i = 0; i < n; i++) {
      rows->logit[i] = to_double(type, element(type, row_of(&job->logits, first + i), labels[i]));
      sum_row(job, first + i, labels[i], given, spread, more, rows, i);
    }
  else if (type == MPISIFT_F64)
    double_narrow(job, first, n, labels, more, rows);
  else
    float_narrow(job, first, n, labels, more, rows);
  for (int i = 0; i < n && job->columns <= NARROW && spread; i++)
    add_target(job, first + i, labels[i], given, 0, (int)job->columns, rows, i);
}

static void score_softmax(const struct msift_losses *job, int64_t first, int n, const int64_t *labels, bool more,
                          struct msift_row_scores *scores)
{
  bool given = labels != NULL, spread = !given || job->spec.label_smoothing > 0;
  int64_t largest[MSIFT_ROWS];
  struct rows rows;

  if (n < MSIFT_ROWS || spread)
    memset(&rows, 0, sizeof rows);
  for (int i = 0; i < n && !given; i++)
    largest[i] = largest_target(job, first + i);
  labels = given ? labels : largest;
  if (more)
    sum_rows(job, first, n, labels, given, spread, true, &rows);
  else
    sum_rows(job, first, n, labels, given, spread, false, &rows);
  put_losses(job, &rows, n, spread, scores->loss);
  if (more)
    put_others(&rows, n, scores);
}

static void score_nll(const struct msift_losses *job, int64_t first, int n, const int64_t *labels, float *loss)
{
  const float *weights = job->spec.class_weights;

  for (int i = 0; i < n; i++) {
    const char *x = row_of(&job->logits, first + i);
    double logit = to_double(job->logits.type, element(job->logits.type, x, labels[i]));

    loss[i] = (float)-(logit * (weights != NULL ? (double)weights[labels[i]] : 1));
  }
}

static void score(const struct msift_losses *job, int64_t first, int n, const int64_t *labels, bool more,
                  struct msift_row_scores *scores)
{
  if (!msift_has_softmax(job->spec.kind, labels != NULL))
    score_columns(job, first, n, labels, scores->loss);
  else if (more || job->spec.kind != MPISIFT_NLL)
    score_softmax(job, first, n, labels, more, scores);
  if (job->spec.kind == MPISIFT_NLL)
    score_nll(job, first, n, labels, scores->loss);
}

const struct msift_kernels KERNELS = {KERNELS_NAME, score};
