/* Per-sample losses against loops in long double. */
#include <math.h>
#include <mpisift/mpisift.h>
#include <stdlib.h>
#include <string.h>

#include "draw.h"
#include "testing.h"

/* Single precision rounds to 6e-8; exponentials in it add a few times that. The difference of two logits, below 88
 * where it counts, is rounded too before it is an exponent. */
#define TOLERANCE 4e-7
#define EXPONENT_TOLERANCE 4e-6

enum { ROWS = 64, COLUMNS = 37, STRIDE = 41 };

static float logits[ROWS * STRIDE], targets[ROWS * STRIDE], losses[ROWS];

static mpisift_ctx *open_context(void)
{
  mpisift_team team = {MPI_COMM_WORLD, MPI_COMM_NULL, 0};
  mpisift_ctx *ctx = NULL;

  CU_ASSERT_EQUAL_FATAL(mpisift_open(&team, NULL, NULL, 0, &ctx), MPISIFT_OK);
  return ctx;
}

static void close_context(mpisift_ctx *ctx)
{
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* Rows of very different size; the gap between rows must not be read. */
static void draw_rows(struct draw *d, int64_t columns)
{
  static const double scales[] = {1e-4, 1, 10, 1e4};

  for (int64_t i = 0; i < ROWS; i++)
    for (int64_t c = 0; c < STRIDE; c++) {
      logits[i * STRIDE + c] = c < columns ? (float)(scales[i % 4] * draw_normal(d)) : NAN;
      targets[i * STRIDE + c] = c < columns ? (float)draw_unit(d) : NAN;
    }
}

static long double exact_cross_entropy(const float *x, int64_t classes, int64_t label)
{
  long double most = x[0], sum = 0;

  for (int64_t c = 1; c < classes; c++)
    most = x[c] > most ? x[c] : most;
  for (int64_t c = 0; c < classes; c++)
    sum += x[c] == most ? 0 : expl(x[c] - most);
  for (int64_t c = 0, ties = -1; c < classes; c++) {
    ties += x[c] == most;
    sum += x[c] == most && ties > 0 ? 1 : 0;
  }
  return most - x[label] + log1pl(sum);
}

static int64_t count_off(int64_t classes, const int64_t *labels)
{
  int64_t off = 0;

  for (int64_t i = 0; i < ROWS; i++) {
    long double exact = exact_cross_entropy(logits + i * STRIDE, classes, labels[i]);

    double tolerance = exact < 1 ? EXPONENT_TOLERANCE : TOLERANCE;

    off += !(fabsl(losses[i] - exact) <= tolerance * exact + 1e-44L);
  }
  return off;
}

/* The same labels in each type that is taken. */
static void check_label_types(mpisift_ctx *ctx, int64_t classes, const int64_t *labels)
{
  uint8_t bytes[ROWS];
  uint16_t shorts[ROWS];
  int32_t ints[ROWS];
  const struct {
    mpisift_type type;
    const void *labels;
  } kinds[] = {{MPISIFT_U8, bytes}, {MPISIFT_U16, shorts}, {MPISIFT_I32, ints}, {MPISIFT_I64, labels}};

  for (int i = 0; i < ROWS; i++) {
    bytes[i] = (uint8_t)labels[i];
    shorts[i] = (uint16_t)labels[i];
    ints[i] = (int32_t)labels[i];
  }
  for (int k = 0; k < 4; k++) {
    memset(losses, 0xff, sizeof losses);
    CU_ASSERT_EQUAL(mpisift_cross_entropy(ctx, ROWS, classes, STRIDE, logits, kinds[k].type, kinds[k].labels, losses),
                    MPISIFT_OK);
    CU_ASSERT_EQUAL(count_off(classes, labels), 0);
  }
}

static void cross_entropy(void)
{
  static const int64_t classes[] = {1, 2, 10, COLUMNS};
  mpisift_ctx *ctx = open_context();
  struct draw d = {UINT64_C(5)};
  int64_t labels[ROWS];

  for (int k = 0; k < 4; k++) {
    draw_rows(&d, classes[k]);
    for (int i = 0; i < ROWS; i++)
      labels[i] = draw_below(&d, classes[k]);
    check_label_types(ctx, classes[k], labels);
  }
  close_context(ctx);
}

static void many_classes(void)
{
  enum { CLASSES = 70000 };
  mpisift_ctx *ctx = open_context();
  float *x = malloc(CLASSES * sizeof *x), loss;
  struct draw d = {UINT64_C(6)};
  uint16_t label = 65535;

  CU_ASSERT_PTR_NOT_NULL_FATAL(x);
  for (int c = 0; c < CLASSES; c++)
    x[c] = (float)draw_normal(&d);
  CU_ASSERT_EQUAL(mpisift_cross_entropy(ctx, 1, CLASSES, CLASSES, x, MPISIFT_U16, &label, &loss), MPISIFT_OK);
  CU_ASSERT(fabsl(loss - exact_cross_entropy(x, CLASSES, label)) <= TOLERANCE * 20);
  free(x);
  close_context(ctx);
}

/* What float32 can hold: no overflow to infinity, no NaN, and the right label of a sure model costs nothing. */
static void large_logits(void)
{
  mpisift_ctx *ctx = open_context();
  const float x[] = {1e4F, -1e4F, 0, 1e4F, -1e4F, 0, 3e38F, -3e38F, 0, -1e4F, -1e4F, -1e4F};
  const int32_t labels[] = {0, 1, 0, 2};
  float found[4];

  CU_ASSERT_EQUAL(mpisift_cross_entropy(ctx, 4, 3, 3, x, MPISIFT_I32, labels, found), MPISIFT_OK);
  CU_ASSERT_EQUAL(found[0], 0);
  CU_ASSERT_EQUAL(found[1], 2e4F);
  CU_ASSERT_EQUAL(found[2], 0);
  CU_ASSERT_DOUBLE_EQUAL(found[3], log(3), 1e-6);
  close_context(ctx);
}

/* Losses far below the resolution of floats near 1 stay apart: the percentile of easy samples depends on it. */
static void tiny_losses_keep_their_order(void)
{
  enum { GAPS = 85 };
  mpisift_ctx *ctx = open_context();
  float x[GAPS][2], found[GAPS];
  uint8_t labels[GAPS] = {0};
  int64_t wrong = 0;

  for (int i = 0; i < GAPS; i++) {
    x[i][0] = (float)(i + 1);
    x[i][1] = 0;
  }
  CU_ASSERT_EQUAL(mpisift_cross_entropy(ctx, GAPS, 2, 2, x[0], MPISIFT_U8, labels, found), MPISIFT_OK);
  for (int i = 0; i < GAPS; i++) {
    double exact = log1p(exp(-(i + 1)));

    wrong += !(found[i] > 0) || (i > 0 && !(found[i] < found[i - 1]));
    wrong += !(fabs(found[i] - exact) <= TOLERANCE * exact);
  }
  CU_ASSERT_EQUAL(wrong, 0);
  close_context(ctx);
}

/* Bad logits give losses that the loader can see are bad, not plausible ones. */
static void bad_logits(void)
{
  mpisift_ctx *ctx = open_context();
  const float x[] = {0, NAN, 1, NAN, 0, 1, INFINITY, 0, 1, INFINITY, INFINITY, 0};
  const uint8_t labels[] = {0, 1, 1, 0};
  float found[4];

  CU_ASSERT_EQUAL(mpisift_cross_entropy(ctx, 4, 3, 3, x, MPISIFT_U8, labels, found), MPISIFT_OK);
  for (int i = 0; i < 4; i++)
    CU_ASSERT(!isfinite(found[i]));
  close_context(ctx);
}

static long double exact_bce(const float *x, const float *y, int64_t columns)
{
  long double sum = 0;

  for (int64_t c = 0; c < columns; c++)
    sum += (x[c] > 0 ? x[c] : 0) - (long double)x[c] * y[c] + log1pl(expl(-fabsl(x[c])));
  return sum / columns;
}

static long double exact_mse(const float *x, const float *y, int64_t columns)
{
  long double sum = 0;

  for (int64_t c = 0; c < columns; c++)
    sum += ((long double)x[c] - y[c]) * ((long double)x[c] - y[c]);
  return sum / columns;
}

static void means_over_columns(void)
{
  static const int64_t columns[] = {1, 3, COLUMNS};
  mpisift_ctx *ctx = open_context();
  struct draw d = {UINT64_C(8)};
  float squares[ROWS];

  for (int k = 0; k < 3; k++) {
    int64_t n = columns[k], off = 0;

    draw_rows(&d, n);
    CU_ASSERT_EQUAL(mpisift_bce_with_logits(ctx, ROWS, n, STRIDE, logits, targets, losses), MPISIFT_OK);
    CU_ASSERT_EQUAL(mpisift_mse(ctx, ROWS, n, STRIDE, logits, targets, squares), MPISIFT_OK);
    for (int i = 0; i < ROWS; i++) {
      const float *x = logits + i * STRIDE, *y = targets + i * STRIDE;
      long double bce = exact_bce(x, y, n), mse = exact_mse(x, y, n);

      off += !(fabsl(losses[i] - bce) <= TOLERANCE * bce) || !(fabsl(squares[i] - mse) <= TOLERANCE * mse);
    }
    CU_ASSERT_EQUAL(off, 0);
  }
  close_context(ctx);
}

/* A sure and right model has the loss of its last doubts, also where that is far below 1. */
static void tiny_bce(void)
{
  mpisift_ctx *ctx = open_context();
  int64_t wrong = 0;

  for (int k = 1; k < 80; k++) {
    const float x[] = {(float)k, (float)-k}, y[] = {1, 0};
    double exact = log1p(exp(-k));
    float loss;

    CU_ASSERT_EQUAL(mpisift_bce_with_logits(ctx, 1, 2, 2, x, y, &loss), MPISIFT_OK);
    wrong += !(fabs(loss - exact) <= TOLERANCE * exact);
  }
  CU_ASSERT_EQUAL(wrong, 0);
  close_context(ctx);
}

static void check_bad_label(mpisift_ctx *ctx, mpisift_type type, const void *labels, const char *row, const char *label)
{
  CU_ASSERT_EQUAL(mpisift_cross_entropy(ctx, ROWS, 10, STRIDE, logits, type, labels, losses), MPISIFT_ERR_DATA);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), row));
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), label));
}

static void labels_out_of_range(void)
{
  mpisift_ctx *ctx = open_context();
  struct draw d = {UINT64_C(9)};
  uint8_t bytes[ROWS] = {0};
  uint16_t shorts[ROWS] = {0};
  int32_t ints[ROWS] = {0};
  int64_t longs[ROWS] = {0};

  draw_rows(&d, 10);
  bytes[17] = 10;
  shorts[18] = 65535;
  ints[19] = -1;
  longs[ROWS - 1] = (INT64_C(1) << 32) + 3;
  check_bad_label(ctx, MPISIFT_U8, bytes, "row 17 ", " 10");
  check_bad_label(ctx, MPISIFT_U16, shorts, "row 18 ", " 65535");
  check_bad_label(ctx, MPISIFT_I32, ints, "row 19 ", " -1");
  check_bad_label(ctx, MPISIFT_I64, longs, "row 63 ", " 4294967299");
  close_context(ctx);
}

static void wrong_label_types(void)
{
  static const mpisift_type types[] = {MPISIFT_F32, MPISIFT_F64, MPISIFT_F16, MPISIFT_BF16,
                                       MPISIFT_I8,  MPISIFT_I16, MPISIFT_U32, MPISIFT_U64};
  mpisift_ctx *ctx = open_context();
  int64_t labels[ROWS] = {0};

  for (int k = 0; k < 8; k++) {
    CU_ASSERT_EQUAL(mpisift_cross_entropy(ctx, ROWS, 10, STRIDE, logits, types[k], labels, losses), MPISIFT_ERR_ARG);
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), mpisift_type_name(types[k])));
  }
  CU_ASSERT_EQUAL(mpisift_cross_entropy(ctx, ROWS, 10, STRIDE, logits, (mpisift_type)99, labels, losses),
                  MPISIFT_ERR_ARG);
  close_context(ctx);
}

static void bad_arguments(void)
{
  mpisift_ctx *ctx = open_context();
  const float *x = logits, *y = targets;
  const uint8_t labels[ROWS] = {0};
  const struct {
    int64_t n, columns, stride;
  } bad[] = {{ROWS, 10, 9}, {ROWS, 0, 10}, {ROWS, -1, 10}, {-1, 10, 10}};

  for (int k = 0; k < 4; k++) {
    int64_t n = bad[k].n, columns = bad[k].columns, stride = bad[k].stride;

    CU_ASSERT_EQUAL(mpisift_cross_entropy(ctx, n, columns, stride, x, MPISIFT_U8, labels, losses), MPISIFT_ERR_ARG);
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "mpisift_cross_entropy"));
    CU_ASSERT_EQUAL(mpisift_bce_with_logits(ctx, n, columns, stride, x, y, losses), MPISIFT_ERR_ARG);
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "mpisift_bce_with_logits"));
    CU_ASSERT_EQUAL(mpisift_mse(ctx, n, columns, stride, x, y, losses), MPISIFT_ERR_ARG);
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "mpisift_mse"));
  }
  CU_ASSERT_EQUAL(mpisift_cross_entropy(ctx, 1, 2, 2, NULL, MPISIFT_U8, labels, losses), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_cross_entropy(ctx, 1, 2, 2, x, MPISIFT_U8, NULL, losses), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_cross_entropy(ctx, 1, 2, 2, x, MPISIFT_U8, labels, NULL), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_bce_with_logits(ctx, 1, 2, 2, NULL, y, losses), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_mse(ctx, 1, 2, 2, x, NULL, losses), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_mse(NULL, 1, 2, 2, x, y, losses), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_bce_with_logits(NULL, 1, 2, 2, x, y, losses), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_cross_entropy(NULL, 1, 2, 2, x, MPISIFT_U8, labels, losses), MPISIFT_ERR_ARG);
  close_context(ctx);
}

static void no_rows(void)
{
  mpisift_ctx *ctx = open_context();

  CU_ASSERT_EQUAL(mpisift_cross_entropy(ctx, 0, 10, 10, NULL, MPISIFT_U8, NULL, NULL), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_bce_with_logits(ctx, 0, 10, 10, NULL, NULL, NULL), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_mse(ctx, 0, 10, 10, NULL, NULL, NULL), MPISIFT_OK);
  CU_ASSERT_STRING_EQUAL(mpisift_error(ctx), "");
  close_context(ctx);
}

/* An error's text goes away with the next call that succeeds. */
static void errors_are_cleared(void)
{
  mpisift_ctx *ctx = open_context();
  struct draw d = {UINT64_C(10)};

  draw_rows(&d, 2);
  CU_ASSERT_EQUAL(mpisift_mse(ctx, ROWS, 3, 2, logits, targets, losses), MPISIFT_ERR_ARG);
  CU_ASSERT_STRING_NOT_EQUAL(mpisift_error(ctx), "");
  CU_ASSERT_EQUAL(mpisift_mse(ctx, ROWS, 2, STRIDE, logits, targets, losses), MPISIFT_OK);
  CU_ASSERT_STRING_EQUAL(mpisift_error(ctx), "");
  close_context(ctx);
}

/* The other scores from one pass, against softmax in long double. */
static void other_scores(void)
{
  enum { N = 500, MOST = 12 };
  struct draw d = {UINT64_C(91)};
  mpisift_ctx *ctx = open_context();

  for (int i = 0; i < N; i++) {
    float x[MOST], loss, bound, confidence, alone;
    int64_t classes = 1 + draw_below(&d, MOST);
    uint8_t label = (uint8_t)draw_below(&d, classes);
    mpisift_scores all = {&loss, &bound, &confidence, NULL};
    long double sum = 0, norm = 0, most = 0;
    int32_t group = -1;

    all.group = &group;
    for (int64_t c = 0; c < classes; c++)
      x[c] = (float)(draw_normal(&d) * (i % 3 == 0 ? 30 : 2));
    for (int64_t c = 0; c < classes; c++)
      sum += expl((long double)x[c]);
    for (int64_t c = 0; c < classes; c++) {
      long double p = expl((long double)x[c]) / sum, wrong = c == label ? 0 : p;

      most = p > most ? p : most;
      norm += wrong * wrong;
    }
    norm += powl(1 - expl((long double)x[label]) / sum, 2);
    CU_ASSERT_EQUAL(mpisift_cross_entropy_scores(ctx, 1, classes, MOST, x, MPISIFT_U8, &label, &all), MPISIFT_OK);
    CU_ASSERT_EQUAL(mpisift_cross_entropy(ctx, 1, classes, MOST, x, MPISIFT_U8, &label, &alone), MPISIFT_OK);
    CU_ASSERT(loss == alone && group == label);
    CU_ASSERT(fabsl(bound - sqrtl(norm)) <= 1e-6L);
    CU_ASSERT(fabsl(confidence - most) <= 1e-6L);
  }
  close_context(ctx);
}

TEST_MAIN("losses", {"cross-entropy", cross_entropy}, {"other scores", other_scores}, {"many classes", many_classes},
          {"large logits", large_logits}, {"tiny losses keep their order", tiny_losses_keep_their_order},
          {"bad logits", bad_logits}, {"means over columns", means_over_columns},
          {"tiny binary cross-entropy", tiny_bce}, {"labels out of range", labels_out_of_range},
          {"wrong label types", wrong_label_types}, {"bad arguments", bad_arguments}, {"no rows", no_rows},
          {"errors are cleared", errors_are_cleared})
