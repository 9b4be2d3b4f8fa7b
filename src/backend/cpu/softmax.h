/* Sums over a row's softmax, once in float and once in double: included with REAL, LANES, MASK and LOWEST defined. */

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define OF(name) JOIN(REAL, name)
#define VREAL_(real) v##real
#define VREAL2(real) VREAL_(real)
#define VREAL VREAL2(REAL)

/* Copy a tile of at most TILE values and find the largest. What is missing is −infinity. Returns the vectors. */
INLINE int OF(take)(const REAL *x, int n, VREAL *kept, REAL *top)
{
  VREAL most[4] = {OF(set)(LOWEST), OF(set)(LOWEST), OF(set)(LOWEST), OF(set)(LOWEST)};
  int whole = n / LANES, v = 0;

  for (; v + 4 <= whole; v += 4)
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
      kept[v + k] = OF(load)(x + (v + k) * LANES);
      most[k] = OF(max)(kept[v + k], most[k]);
    }
  for (; v * LANES < n; v++) {
    kept[v] = v < whole ? OF(load)(x + v * LANES) : OF(part)(x + v * LANES, n - v * LANES, -INFINITY);
    most[0] = OF(max)(kept[v], most[0]);
  }
  *top = OF(largest)(OF(max)(OF(max)(most[0], most[1]), OF(max)(most[2], most[3])));
  return v;
}

/* Take the label out of a tile. If it was the largest, another one is. */
INLINE void OF(leave_out)(VREAL *kept, int vectors, int label, REAL *top)
{
  const VREAL none = OF(set)(-INFINITY), least = OF(set)(LOWEST);
  VREAL *at = &kept[label / LANES], most[2] = {least, least};
  REAL value = (*at)[label % LANES];

  *at = OF(select)((MASK)(OF(lanes)() == label % LANES), none, *at);
  if (!(value >= *top))
    return;
  for (int v = 0; v < vectors; v++)
    most[v % 2] = OF(max)(kept[v], most[v % 2]);
  *top = OF(largest)(OF(max)(most[0], most[1]));
}

/* Take a larger top for the sums so far. */
INLINE void OF(raise)(struct rows *r, int i, double top)
{
  double rise = top - r->top[i], factor;

  factor = r->top[i] <= (double)LOWEST ? 0 : double_exp(double_set(-rise))[0];
  r->moment[i] = factor > 0 ? (r->moment[i] - rise * r->sum[i]) * factor : 0;
  r->squares[i] *= factor * factor;
  r->sum[i] *= factor;
  r->top[i] = top;
}

/* Add a tile to row i. `label` is its place in the tile; −1: it is in another one. Meanwhile what comes `next` in
 * memory, `step` bytes for each vector, comes closer: memory's latency is then hidden behind the exponentials. */
INLINE void OF(tile)(const REAL *x, int n, int label, const char *next, int step, const bool more, struct rows *r,
                     int i)
{
  VREAL kept[TILE / LANES], sum = {0}, squares = {0}, moment = {0};
  REAL top;
  int vectors = OF(take)(x, n, kept, &top);

  if (label >= 0)
    OF(leave_out)(kept, vectors, label, &top);
  if ((double)top > r->top[i])
    OF(raise)(r, i, (double)top);
  top = (REAL)r->top[i];
#pragma GCC unroll 4
  for (int v = 0; v < vectors; v++) {
    VREAL d = kept[v] - top, e = OF(exp)(d);

    __builtin_prefetch(next + v * step);
    sum += e;
    if (more) {
      squares += e * e;
      moment += e * OF(max)(OF(set)(-87), d);
    }
  }
  r->sum[i] += OF(total)(sum);
  if (more) {
    r->squares[i] += OF(total)(squares);
    r->moment[i] += OF(total)(moment);
  }
}

/* A term of each row in a lane. */
INLINE void OF(add_term)(VREAL d, const bool more, VREAL *sum, VREAL *squares, VREAL *moment)
{
  VREAL e = OF(exp)(d);

  *sum += e;
  if (more) {
    *squares += e * e;
    *moment += e * OF(max)(OF(set)(-87), d);
  }
}

/* Sums of lanes, in double precision. */
INLINE void OF(store_sum)(double *to, const VREAL *parts)
{
  struct OF(wide) sum = {0};

#pragma GCC unroll 4
  for (int k = 0; k < 4; k++)
    OF(add)(&sum, parts[k]);
  OF(store)(to, sum);
}

/* Rows of at most NARROW columns, with a lane each: kept[c] are their values of a column, less their labels. */
INLINE void OF(sum_lanes)(const REAL (*kept)[MSIFT_ROWS], int columns, int at, const bool more, struct rows *r)
{
  VREAL top = OF(set)(LOWEST), sum[4] = {{0}}, squares[4] = {{0}}, moment[4] = {{0}}, tops[4] = {{0}};
  int c = 0;

  for (int k = 0; k < columns; k++)
    top = OF(max)(OF(load)(kept[k] + at), top);
  for (; c + 4 <= columns; c += 4)
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++)
      OF(add_term)(OF(load)(kept[c + k] + at) - top, more, &sum[k], &squares[k], &moment[k]);
  for (; c < columns; c++)
    OF(add_term)(OF(load)(kept[c] + at) - top, more, &sum[0], &squares[0], &moment[0]);
  tops[0] = top;
  OF(store_sum)(r->top + at, tops);
  OF(store_sum)(r->sum + at, sum);
  if (more) {
    OF(store_sum)(r->squares + at, squares);
    OF(store_sum)(r->moment + at, moment);
  }
}

/* `width` <= LANES values of each of n <= LANES rows, `stride` apart, as columns. Lanes without a row repeat the last.
 */
INLINE void OF(turn)(const REAL *x, int64_t stride, int n, const int width, REAL (*kept)[MSIFT_ROWS])
{
  VREAL square[LANES];

#pragma GCC unroll 16
  for (int i = 0; i < LANES; i++, x += i < n ? stride : 0)
    square[i] = width == LANES ? OF(load)(x) : OF(part)(x, width, 0);
  OF(transpose)(square);
#pragma GCC unroll 16
  for (int i = 0; i < LANES; i++)
    memcpy(kept[i], &square[i], sizeof square[i]);
}

/* n <= LANES rows from `first` on, with a lane each, as columns. */
INLINE void OF(turn_rows)(const struct msift_losses *job, int64_t first, int n, REAL (*kept)[MSIFT_ROWS])
{
  const int columns = (int)job->columns;
  const REAL *x = (const void *)row_of(&job->logits, first);
  int64_t stride = job->logits.stride;
  REAL rows[LANES][NARROW];
  int c = 0;

  if (job->logits.type == MPISIFT_F16 || job->logits.type == MPISIFT_BF16) {
    for (int i = 0; i < n; i++)
      to_floats(job->logits.type, row_of(&job->logits, first + i), columns, (float *)rows[i]);
    x = rows[0];
    stride = NARROW;
  }
  for (; c + LANES <= columns; c += LANES)
    OF(turn)(x + c, stride, n, LANES, kept + c);
  if (c < columns)
    OF(turn)(x + c, stride, n, columns - c, kept + c);
}

static void OF(narrow)(const struct msift_losses *job, int64_t first, int n, const int64_t *labels, const bool more,
                       struct rows *r)
{
  REAL kept[NARROW][MSIFT_ROWS];
  int columns = (int)job->columns;

  for (int i = 0; i < n; i += LANES)
    OF(turn_rows)(job, first + i, n - i < LANES ? n - i : LANES, (REAL(*)[MSIFT_ROWS]) & kept[0][i]);
  for (int i = 0; i < n; i++) {
    r->logit[i] = (double)kept[labels[i]][i];
    kept[labels[i]][i] = -INFINITY;
  }
  for (int i = 0; i < n; i += LANES)
    if (more)
      OF(sum_lanes)((const REAL(*)[MSIFT_ROWS])kept, columns, i, true, r);
    else
      OF(sum_lanes)((const REAL(*)[MSIFT_ROWS])kept, columns, i, false, r);
}

#undef JOIN_
#undef JOIN
#undef OF
#undef VREAL_
#undef VREAL2
#undef VREAL
#undef REAL
#undef LANES
#undef MASK
#undef LOWEST
