/* The target of a row that is more than a label and its weight. */
#ifndef MSIFT_BACKEND_CPU_TARGET_H
#define MSIFT_BACKEND_CPU_TARGET_H

#include "backend/cpu/rows.h"

/* The class of the largest target takes the label's part. */
static int64_t largest_target(const struct msift_losses *job, int64_t row)
{
  const char *targets = row_of(&job->targets, row);
  double y[TILE], most = -INFINITY;
  int64_t label = 0;

  for (int64_t first = 0; first < job->columns; first += TILE) {
    int n = piece(job->columns, first);

    to_doubles(job->targets.type, element(job->targets.type, targets, first), n, y);
    for (int i = 0; i < n; i++)
      if (y[i] > most) {
        most = y[i];
        label = first + i;
      }
  }
  return label;
}

struct target_tile {
  double x[TILE], y[TILE], weights[TILE];
};

/* Classes from `first` on; `at` is the label's place among them, if it is one. */
static void load_target(const struct msift_losses *job, int64_t row, bool given, int64_t first, int n, int at,
                        struct target_tile *tile)
{
  to_doubles(job->logits.type, element(job->logits.type, row_of(&job->logits, row), first), n, tile->x);
  load_weights(job->spec.class_weights, first, n, tile->weights);
  if (!given)
    to_doubles(job->targets.type, element(job->targets.type, row_of(&job->targets, row), first), n, tile->y);
  else
    memset(tile->y, 0, sizeof tile->y);
  if (given && at >= 0)
    tile->y[at] = 1;
}

/* Of y log y; 0 for y = 0. */
static double self_information(const struct target_tile *tile, int n)
{
  vdouble sum = {0}, zero = {0};

  for (int i = 0; i < n; i += DOUBLES) {
    vdouble y = double_load(tile->y + i);
    vdouble information = y * double_log(double_max(y, double_set(DBL_MIN)));

    sum += double_load(tile->weights + i) * double_select((vlong)(y > zero), information, zero);
  }
  return double_total(sum);
}

/* Add n classes from `first` on to row i of `rows`. `given`: the label is the target. A class without weight may have
 * −infinity. */
static void add_target(const struct msift_losses *job, int64_t row, int64_t label, bool given, int64_t first, int n,
                       struct rows *rows, int i)
{
  const double spread = job->spec.label_smoothing / (double)job->columns, kept = 1 - job->spec.label_smoothing;
  int at = label >= first && label < first + n ? (int)(label - first) : -1;
  vdouble rest = {0}, dot = {0}, zero = {0};
  struct target_tile tile;

  load_target(job, row, given, first, n, at, &tile);
  if (job->spec.kind == MPISIFT_KL)
    rows->self[i] += self_information(&tile, n);
  if (at >= 0) {
    rows->label[i] = tile.weights[at] * (kept * tile.y[at] + spread);
    tile.weights[at] = 0;
  }
  for (int k = 0; k < n; k += DOUBLES) {
    vdouble t = double_load(tile.weights + k) * (kept * double_load(tile.y + k) + spread);

    rest += t;
    dot += double_select((vlong)(t == zero), zero, t * double_load(tile.x + k));
  }
  rows->rest[i] += double_total(rest);
  rows->dot[i] += double_total(dot);
}

#endif
