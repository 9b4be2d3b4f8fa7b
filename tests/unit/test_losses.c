/* Losses against sums in long double: kinds, types, shapes, targets and weights, with the kernels of each instruction
 * set that this processor has. A result may be 2 units in the last place of float32 away, of the loss and of what a
 * row's logits, rounded once when the largest is subtracted, make of it: loss + sum p |x − max|. */
#include <float.h>
#include <math.h>
#include <mpisift/mpisift.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/losses.h"
#include "draw.h"
#include "exact_losses.h"
#include "testing.h"

enum { ROWS = 70, MOST = 2600, GAP = 3 };

static unsigned char logits[ROWS * (MOST + GAP) * sizeof(double)], targets[ROWS * (MOST + GAP) * sizeof(double)];
static float class_weights[MOST], pos_weights[MOST];
static float found[5][ROWS], correct[ROWS];
static long double x[EXACT_MOST], y[EXACT_MOST];
static const mpisift_type float_types[] = {MPISIFT_F32, MPISIFT_F64, MPISIFT_F16, MPISIFT_BF16};

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

static mpisift_scores all_scores(void)
{
  return (mpisift_scores){.loss = found[0],
                          .bound = found[1],
                          .confidence = found[2],
                          .entropy = found[3],
                          .margin = found[4],
                          .correct = correct};
}

/* One row of a case, and its result. */
static long double check_row(const struct msift_losses *job, int64_t i, int64_t label, bool more)
{
  struct exact_row r = {&job->spec, job->columns, label, x, y};
  const struct exact_found of_row = {found[0][i], found[1][i], found[2][i], found[3][i], found[4][i], correct[i]};

  for (int64_t c = 0; c < job->columns; c++) {
    x[c] = exact_value(job->logits.type, job->logits.data, i * job->logits.stride + c);
    y[c] = label < 0 ? exact_value(job->targets.type, job->targets.data, i * job->targets.stride + c) : 0;
  }
  return exact_error(&r, &of_row, job->logits.type == MPISIFT_F64, more, 0.51L);
}

/* All rows of a case, with all kernels. Returns the largest error, by what is allowed. */
static long double check_job(struct msift_losses *job, const int32_t *labels)
{
  bool more = msift_has_softmax(job->spec.kind, labels != NULL);
  mpisift_scores all = all_scores();
  long double worst = 0;

  if (!more)
    all = (mpisift_scores){.loss = found[0]};
  for (const struct msift_kernels *const *k = msift_kernels(); *k != NULL; k++) {
    struct msift_error error = {0};
    float alone[ROWS];

    CU_ASSERT_EQUAL(msift_cpu_losses_with(*k, job, &(mpisift_scores){.loss = alone}, &error), MPISIFT_OK);
    CU_ASSERT_EQUAL(msift_cpu_losses_with(*k, job, &all, &error), MPISIFT_OK);
    CU_ASSERT_EQUAL(memcmp(alone, found[0], (size_t)job->n * sizeof *alone), 0);
    for (int64_t i = 0; i < job->n; i++)
      worst = fmaxl(worst, check_row(job, i, labels != NULL ? labels[i] : -1, more));
  }
  return worst;
}

/* Rows of very different size, spoilt between them. Targets are shares, or signs. */
static void draw_case(struct draw *d, struct msift_losses *job, bool signs)
{
  static const double scales[] = {1e-3, 1, 10, 1e4};

  for (int64_t i = 0; i < job->n; i++)
    for (int64_t c = 0; c < job->columns + GAP; c++) {
      bool gap = c >= job->columns;

      exact_put(job->logits.type, logits, i * job->logits.stride + c,
                gap ? (double)NAN : scales[i % 4] * draw_normal(d));
      exact_put(job->targets.type, targets, i * job->targets.stride + c,
                gap     ? (double)NAN
                : signs ? (draw_below(d, 2) == 0 ? -1 : 1)
                        : (draw_below(d, 3) == 0 ? 0 : draw_unit(d)));
    }
}

static struct msift_losses make_job(mpisift_loss spec, int64_t columns, mpisift_type logit_type,
                                    mpisift_type target_type)
{
  struct msift_losses job = {.spec = spec, .n = columns > 100 ? 4 : columns > 33 ? 9 : ROWS, .columns = columns};

  job.spec.tokens = 1;
  job.spec.huber_delta = spec.huber_delta == 0 ? 1 : spec.huber_delta;
  job.spec.focal_gamma = spec.focal_gamma == 0 ? 2 : spec.focal_gamma;
  job.logits = (mpisift_values){logits, logit_type, columns + GAP};
  job.targets = (mpisift_values){targets, target_type, columns + GAP};
  return job;
}

static const int64_t shapes[] = {1, 2, 3, 10, 16, 17, 32, 33, 64, 100, 1025, 2600};

enum { SHAPES = sizeof shapes / sizeof *shapes };

static void check_labels(mpisift_loss spec)
{
  struct draw d = {UINT64_C(5)};
  int32_t labels[ROWS];
  long double worst = 0;

  for (int t = 0; t < 4; t++)
    for (int k = 0; k < SHAPES; k++) {
      struct msift_losses job = make_job(spec, shapes[k], float_types[t], MPISIFT_F32);

      draw_case(&d, &job, false);
      for (int i = 0; i < ROWS; i++)
        labels[i] = (int32_t)draw_below(&d, shapes[k]);
      job.targets = (mpisift_values){labels, MPISIFT_I32, 1};
      worst = fmaxl(worst, check_job(&job, labels));
    }
  if (!(worst <= 1))
    fprintf(stderr, "kind %d with labels: %.3Lg of what is allowed\n", (int)spec.kind, worst);
  CU_ASSERT(worst <= 1);
}

static void check_rows(mpisift_loss spec)
{
  struct draw d = {UINT64_C(6)};
  long double worst = 0;

  for (int t = 0; t < 4; t++)
    for (int k = 0; k < SHAPES; k++) {
      struct msift_losses job = make_job(spec, shapes[k], float_types[t], float_types[(t + k) % 4]);

      draw_case(&d, &job, spec.kind == MPISIFT_HINGE);
      worst = fmaxl(worst, check_job(&job, NULL));
    }
  if (!(worst <= 1))
    fprintf(stderr, "kind %d with rows: %.3Lg of what is allowed\n", (int)spec.kind, worst);
  CU_ASSERT(worst <= 1);
}

static void draw_weights(void)
{
  struct draw d = {UINT64_C(7)};

  for (int c = 0; c < MOST; c++) {
    class_weights[c] = c % 5 == 0 ? 0 : (float)(4 * draw_unit(&d));
    pos_weights[c] = (float)(4 * draw_unit(&d));
  }
}

static void labels(void)
{
  check_labels((mpisift_loss){0});
  check_labels((mpisift_loss){.kind = MPISIFT_NLL});
  check_labels((mpisift_loss){.kind = MPISIFT_FOCAL});
  check_labels((mpisift_loss){.kind = MPISIFT_FOCAL, .focal_gamma = 0.5});
  check_labels((mpisift_loss){.kind = MPISIFT_HINGE});
}

static void rows(void)
{
  for (int kind = MPISIFT_CROSS_ENTROPY; kind <= MPISIFT_HINGE; kind++)
    if (kind != MPISIFT_NLL)
      check_rows((mpisift_loss){.kind = (mpisift_loss_kind)kind});
  check_rows((mpisift_loss){.kind = MPISIFT_HUBER, .huber_delta = 0.25});
  check_rows((mpisift_loss){.kind = MPISIFT_FOCAL, .focal_gamma = 3});
}

static void weights_and_smoothing(void)
{
  draw_weights();
  check_labels((mpisift_loss){.class_weights = class_weights});
  check_labels((mpisift_loss){.label_smoothing = 0.1});
  check_labels((mpisift_loss){.label_smoothing = 1, .class_weights = class_weights});
  check_labels((mpisift_loss){.kind = MPISIFT_NLL, .class_weights = class_weights});
  check_labels((mpisift_loss){.kind = MPISIFT_FOCAL, .class_weights = class_weights});
  check_labels((mpisift_loss){.kind = MPISIFT_HINGE, .class_weights = class_weights});
  check_rows((mpisift_loss){.label_smoothing = 0.2});
  for (int kind = MPISIFT_CROSS_ENTROPY; kind <= MPISIFT_HINGE; kind++)
    if (kind != MPISIFT_NLL)
      check_rows(
          (mpisift_loss){.kind = (mpisift_loss_kind)kind, .class_weights = class_weights, .pos_weights = pos_weights});
}

/* The vocabulary of a language model, in each label type that holds its indices. */
static void many_classes(void)
{
  enum { CLASSES = 50257, N = 3 };
  float *many = malloc(N * CLASSES * sizeof *many);
  struct draw d = {UINT64_C(8)};
  const int64_t longs[N] = {0, 31007, CLASSES - 1};
  const int32_t ints[N] = {0, 31007, CLASSES - 1};
  const uint16_t shorts[N] = {0, 31007, CLASSES - 1};
  const mpisift_values kinds[] = {{longs, MPISIFT_I64, 1}, {ints, MPISIFT_I32, 1}, {shorts, MPISIFT_U16, 1}};

  CU_ASSERT_PTR_NOT_NULL_FATAL(many);
  for (int i = 0; i < N * CLASSES; i++)
    many[i] = (float)((i / CLASSES + 1) * draw_normal(&d));
  for (int k = 0; k < 3; k++) {
    struct msift_losses job = {.spec = {.tokens = 1}, .n = N, .columns = CLASSES, .targets = kinds[k]};

    job.logits = (mpisift_values){many, MPISIFT_F32, CLASSES};
    CU_ASSERT(check_job(&job, ints) <= 1);
  }
  free(many);
}

static mpisift_status score(mpisift_ctx *ctx, mpisift_loss spec, int64_t n, int64_t columns, const float *rows_,
                            mpisift_type type, const void *labels_)
{
  mpisift_scores all = all_scores();

  memset(found, 0x55, sizeof found);
  memset(correct, 0x55, sizeof correct);
  return mpisift_losses(ctx, &spec, n, columns, (mpisift_values){.data = rows_},
                        (mpisift_values){.data = labels_, .type = type}, &all);
}

/* What float32 can hold: no overflow to infinity, no NaN, and the right label of a sure model costs nothing. */
static void large_logits(void)
{
  mpisift_ctx *ctx = open_context();
  const float large[] = {1e4F, -1e4F, 0, 1e4F, -1e4F, 0, 3e38F, -3e38F, 0, -1e4F, -1e4F, -1e4F};
  const int32_t right[] = {0, 1, 0, 2};

  CU_ASSERT_EQUAL(score(ctx, (mpisift_loss){0}, 4, 3, large, MPISIFT_I32, right), MPISIFT_OK);
  CU_ASSERT_EQUAL(found[0][0], 0);
  CU_ASSERT_EQUAL(found[0][1], 2e4F);
  CU_ASSERT_EQUAL(found[0][2], 0);
  CU_ASSERT_DOUBLE_EQUAL(found[0][3], log(3), 1e-6);
  CU_ASSERT(found[3][0] == 0 && found[2][0] == 1 && found[4][1] == -2e4F);
  close_context(ctx);
}

/* Losses far below the resolution of floats near 1 stay apart: the percentile of easy samples depends on it. */
static void tiny_losses_keep_their_order(void)
{
  enum { GAPS = 70 };
  mpisift_ctx *ctx = open_context();
  float pairs[GAPS][2], wide[GAPS][40];
  uint8_t zeros[GAPS] = {0};
  int64_t wrong = 0;

  for (int i = 0; i < GAPS; i++) {
    pairs[i][0] = wide[i][0] = (float)(i + 15);
    pairs[i][1] = 0;
    for (int c = 1; c < 40; c++)
      wide[i][c] = c == 1 ? 0 : -INFINITY;
  }
  for (int k = 0; k < 2; k++) {
    const float *from = k == 0 ? pairs[0] : wide[0];

    CU_ASSERT_EQUAL(score(ctx, (mpisift_loss){0}, GAPS, k == 0 ? 2 : 40, from, MPISIFT_U8, zeros), MPISIFT_OK);
    for (int i = 0; i < GAPS; i++) {
      double exact = log1p(exp(-(i + 15)));

      wrong += !(found[0][i] > 0) || (i > 0 && !(found[0][i] < found[0][i - 1]));
      wrong += !(fabs(found[0][i] - exact) <= FLT_EPSILON * exact);
    }
  }
  CU_ASSERT_EQUAL(wrong, 0);
  close_context(ctx);
}

/* Classes that cannot be have −infinity; a label among them costs infinitely much, and so does a row of nothing else.
 */
static void impossible_classes(void)
{
  mpisift_ctx *ctx = open_context();
  const float masked[] = {-INFINITY, 1, 1, 1, 1, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, 2, -INFINITY};
  const uint16_t right[] = {1, 2, 0, 1};
  float shares[] = {0, 0.5F, 0.5F, 0.5F, 0.5F, 0, 1, 0, 0, 0, 1, 0};

  CU_ASSERT_EQUAL(score(ctx, (mpisift_loss){0}, 4, 3, masked, MPISIFT_U16, right), MPISIFT_OK);
  CU_ASSERT_DOUBLE_EQUAL(found[0][0], log(2), 1e-7);
  CU_ASSERT_DOUBLE_EQUAL(found[3][0], log(2), 1e-7);
  CU_ASSERT(found[0][1] == INFINITY && found[4][1] == -INFINITY && correct[1] == 0);
  CU_ASSERT(found[0][2] == INFINITY && isnan(found[1][2]) && isnan(found[3][2]) && correct[2] == 0);
  CU_ASSERT(found[0][3] == 0 && found[1][3] == 0 && found[4][3] == INFINITY && correct[3] == 1);
  CU_ASSERT_EQUAL(score(ctx, (mpisift_loss){0}, 4, 3, masked, MPISIFT_F32, shares), MPISIFT_OK);
  CU_ASSERT_DOUBLE_EQUAL(found[0][0], log(2), 1e-7);
  CU_ASSERT_DOUBLE_EQUAL(found[0][1], log(2), 1e-7);
  CU_ASSERT(found[0][2] == INFINITY && found[0][3] == 0);
  CU_ASSERT_EQUAL(score(ctx, (mpisift_loss){.label_smoothing = 0.1}, 4, 3, masked, MPISIFT_U16, right), MPISIFT_OK);
  for (int i = 0; i < 4; i++)
    CU_ASSERT_EQUAL(found[0][i], INFINITY);
  close_context(ctx);
}

/* Bad logits give losses that the loader can see are bad, not plausible ones; wherever they are in a row. */
static void bad_logits(void)
{
  static const float bad[] = {NAN, INFINITY};
  static const int64_t columns[] = {1, 3, 40, 1500};
  mpisift_ctx *ctx = open_context();
  float row[1500];
  int64_t plausible = 0;

  for (int b = 0; b < 2; b++)
    for (int k = 0; k < 4; k++)
      for (int64_t at = 0; at < columns[k]; at += 1 + columns[k] / 20)
        for (int32_t label = 0; label < columns[k]; label += 1 + (int32_t)columns[k] / 20) {
          memset(row, 0, sizeof row);
          row[at] = bad[b];
          CU_ASSERT_EQUAL(score(ctx, (mpisift_loss){0}, 1, columns[k], row, MPISIFT_I32, &label), MPISIFT_OK);
          plausible += isfinite(found[0][0]) || (columns[k] > 1 && (isfinite(found[1][0]) || isfinite(found[3][0])));
        }
  CU_ASSERT_EQUAL(plausible, 0);
  for (int kind = MPISIFT_KL; kind <= MPISIFT_HINGE; kind++) {
    const float nan[] = {1, NAN, 0}, goal[] = {1, 0, 0};
    mpisift_scores only = {.loss = found[0]};

    CU_ASSERT_EQUAL(mpisift_losses(ctx, &(mpisift_loss){.kind = (mpisift_loss_kind)kind}, 1, 3,
                                   (mpisift_values){.data = nan}, (mpisift_values){.data = goal}, &only),
                    MPISIFT_OK);
    CU_ASSERT(!isfinite(found[0][0]));
  }
  close_context(ctx);
}

/* A sure and right model has the loss of its last doubts, also where that is far below 1. */
static void tiny_bce(void)
{
  mpisift_ctx *ctx = open_context();
  int64_t wrong = 0;

  for (int k = 1; k < 80; k++) {
    const float pair[] = {(float)k, (float)-k}, goal[] = {1, 0};
    double exact = log1p(exp(-k));

    CU_ASSERT_EQUAL(mpisift_losses(ctx, &(mpisift_loss){.kind = MPISIFT_BCE}, 1, 2, (mpisift_values){.data = pair},
                                   (mpisift_values){.data = goal}, &(mpisift_scores){.loss = found[0]}),
                    MPISIFT_OK);
    wrong += !(fabs((double)found[0][0] - exact) <= FLT_EPSILON / 2 * exact * 1.01);
  }
  CU_ASSERT_EQUAL(wrong, 0);
  close_context(ctx);
}

/* Rows do not depend on their neighbours: cut in any way, they give the same bits. */
static void cut_in_any_way(void)
{
  static const int64_t columns[] = {10, 40, 1500};
  mpisift_ctx *ctx = open_context();
  struct draw d = {UINT64_C(11)};
  int32_t right[ROWS];
  float whole[5][ROWS];

  for (int k = 0; k < 3; k++) {
    struct msift_losses job = make_job((mpisift_loss){0}, columns[k], MPISIFT_F32, MPISIFT_F32);
    const float *from = (const float *)(const void *)logits;

    job.n = ROWS;
    draw_case(&d, &job, false);
    for (int i = 0; i < ROWS; i++)
      right[i] = (int32_t)draw_below(&d, columns[k]);
    for (int64_t piece = ROWS; piece > 0; piece = piece * 2 / 5) {
      for (int64_t i = 0; i < ROWS; i += piece) {
        mpisift_scores part = {found[0] + i, found[1] + i, found[2] + i, NULL, found[3] + i, found[4] + i, NULL};

        CU_ASSERT_EQUAL(mpisift_losses(ctx, NULL, piece < ROWS - i ? piece : ROWS - i, columns[k],
                                       (mpisift_values){from + i * job.logits.stride, MPISIFT_F32, job.logits.stride},
                                       (mpisift_values){.data = right + i, .type = MPISIFT_I32}, &part),
                        MPISIFT_OK);
      }
      if (piece == ROWS)
        memcpy(whole, found, sizeof whole);
      CU_ASSERT_EQUAL(memcmp(whole, found, sizeof whole), 0);
    }
  }
  close_context(ctx);
}

/* Sequences: what counts is reduced, over strided labels; what does not is left out. */
static void sequences(void)
{
  enum { N = 20, TOKENS = 7, CLASSES = 12, STRIDE = 9 };
  static float rows_[N * TOKENS * CLASSES], tokens[6][N * TOKENS];
  mpisift_ctx *ctx = open_context();
  struct draw d = {UINT64_C(12)};
  int64_t right[N * STRIDE], dense[N * TOKENS];
  mpisift_scores each = {tokens[0], tokens[1], tokens[2], NULL, tokens[3], tokens[4], tokens[5]}, all = all_scores();

  for (int i = 0; i < N * TOKENS * CLASSES; i++)
    rows_[i] = (float)draw_normal(&d);
  for (int i = 0; i < N * STRIDE; i++)
    right[i] = i % STRIDE >= TOKENS ? 99 : i / STRIDE == 3 || draw_below(&d, 3) == 0 ? -100 : draw_below(&d, CLASSES);
  for (int i = 0; i < N * TOKENS; i++)
    dense[i] = right[i / TOKENS * STRIDE + i % TOKENS];
  CU_ASSERT_EQUAL(mpisift_losses(ctx, &(mpisift_loss){.ignore = true, .ignore_index = -100}, N * TOKENS, CLASSES,
                                 (mpisift_values){.data = rows_}, (mpisift_values){dense, MPISIFT_I64, 0}, &each),
                  MPISIFT_OK);
  for (int sum = 0; sum < 2; sum++) {
    mpisift_loss spec = {.tokens = TOKENS, .reduction = sum ? MPISIFT_SUM : MPISIFT_MEAN, .ignore = true};

    spec.ignore_index = -100;
    CU_ASSERT_EQUAL(mpisift_losses(ctx, &spec, N, CLASSES, (mpisift_values){.data = rows_},
                                   (mpisift_values){right, MPISIFT_I64, STRIDE}, &all),
                    MPISIFT_OK);
    for (int i = 0; i < N; i++)
      for (int k = 0; k < 6; k++) {
        double total = 0, count = 0;

        for (int t = i * TOKENS; t < (i + 1) * TOKENS; t++) {
          CU_ASSERT(dense[t] != -100 || tokens[k][t] == 0);
          total += (double)tokens[k][t];
          count += dense[t] != -100;
        }
        total /= count == 0 || (sum && k < 2) ? 1 : count;
        CU_ASSERT_EQUAL((k < 5 ? found[k] : correct)[i], (float)total);
      }
  }
  close_context(ctx);
}

static void check_bad_label(mpisift_ctx *ctx, mpisift_type type, const void *bad, const char *row, const char *label)
{
  CU_ASSERT_EQUAL(score(ctx, (mpisift_loss){0}, ROWS, 10, (const float *)(const void *)logits, type, bad),
                  MPISIFT_ERR_DATA);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), row));
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), label));
}

static void labels_out_of_range(void)
{
  mpisift_ctx *ctx = open_context();
  uint8_t bytes[ROWS] = {0};
  uint16_t shorts[ROWS] = {0};
  int32_t ints[ROWS] = {0};
  int64_t longs[ROWS] = {0};

  bytes[17] = 10;
  shorts[18] = 65535;
  ints[19] = -1;
  longs[ROWS - 1] = (INT64_C(1) << 32) + 3;
  check_bad_label(ctx, MPISIFT_U8, bytes, "row 17 ", " 10");
  check_bad_label(ctx, MPISIFT_U16, shorts, "row 18 ", " 65535");
  check_bad_label(ctx, MPISIFT_I32, ints, "row 19 ", " -1");
  check_bad_label(ctx, MPISIFT_I64, longs, "row 69 ", " 4294967299");
  close_context(ctx);
}

struct bad_call {
  const char *text;
  mpisift_loss spec;
  int64_t n, columns;
  mpisift_type logit_type, target_type;
  int64_t logit_stride, target_stride;
};

static void bad_arguments(void)
{
  static const struct bad_call bad[] = {
      {"n is -1", {0}, -1, 3, MPISIFT_F32, MPISIFT_U8, 0, 0},
      {"columns 0", {0}, 2, 0, MPISIFT_F32, MPISIFT_U8, 0, 0},
      {"stride of logits is 2", {0}, 2, 3, MPISIFT_F32, MPISIFT_U8, 2, 0},
      {"stride of targets is 2", {0}, 2, 3, MPISIFT_F32, MPISIFT_F32, 3, 2},
      {"stride of targets is 4", {.tokens = 5}, 2, 3, MPISIFT_F32, MPISIFT_U8, 3, 4},
      {"loss.tokens is -1", {.tokens = -1}, 2, 3, MPISIFT_F32, MPISIFT_U8, 0, 0},
      {"logits of type int32", {0}, 2, 3, MPISIFT_I32, MPISIFT_U8, 0, 0},
      {"targets of type int8", {0}, 2, 3, MPISIFT_F32, MPISIFT_I8, 0, 0},
      {"targets of type unknown type", {0}, 2, 3, MPISIFT_F32, (mpisift_type)99, 0, 0},
      {"loss.kind is 99", {.kind = (mpisift_loss_kind)99}, 2, 3, MPISIFT_F32, MPISIFT_U8, 0, 0},
      {"loss.reduction 9", {.reduction = (mpisift_reduction)9}, 2, 3, MPISIFT_F32, MPISIFT_U8, 0, 0},
      {"labels: uint8", {.kind = MPISIFT_NLL}, 2, 3, MPISIFT_F32, MPISIFT_F32, 0, 0},
      {"floating-point type", {.kind = MPISIFT_MSE}, 2, 3, MPISIFT_F32, MPISIFT_U8, 0, 0},
      {"loss.ignore needs", {.ignore = true}, 2, 3, MPISIFT_F32, MPISIFT_F32, 0, 0},
      {"loss.label_smoothing is 2", {.label_smoothing = 2}, 2, 3, MPISIFT_F32, MPISIFT_U8, 0, 0},
      {"CROSS_ENTROPY only", {.kind = MPISIFT_NLL, .label_smoothing = 0.1}, 2, 3, MPISIFT_F32, MPISIFT_U8, 0, 0},
      {"loss.huber_delta is -1", {.huber_delta = -1}, 2, 3, MPISIFT_F32, MPISIFT_U8, 0, 0},
      {"loss.focal_gamma is nan", {.focal_gamma = NAN}, 2, 3, MPISIFT_F32, MPISIFT_U8, 0, 0},
      {"of a softmax", {.kind = MPISIFT_MSE}, 2, 3, MPISIFT_F32, MPISIFT_F32, 0, 0},
  };
  mpisift_ctx *ctx = open_context();
  mpisift_scores all = all_scores();

  for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
    const struct bad_call *b = &bad[k];
    mpisift_values from = {logits, b->logit_type, b->logit_stride}, to = {targets, b->target_type, b->target_stride};

    CU_ASSERT_EQUAL(mpisift_losses(ctx, &b->spec, b->n, b->columns, from, to, &all), MPISIFT_ERR_ARG);
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "mpisift_losses: "));
    if (strstr(mpisift_error(ctx), b->text) == NULL)
      fprintf(stderr, "'%s' says nothing of '%s'\n", mpisift_error(ctx), b->text);
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), b->text));
  }
  close_context(ctx);
}

static void missing_arrays(void)
{
  mpisift_ctx *ctx = open_context();
  int32_t group[2];
  const mpisift_values from = {.data = logits}, to = {.data = targets, .type = MPISIFT_U8}, none = {.data = NULL};
  const mpisift_scores loss = {.loss = found[0]}, groups = {.group = group};

  CU_ASSERT_EQUAL(mpisift_losses(ctx, NULL, 1, 2, none, to, &loss), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_losses(ctx, NULL, 1, 2, from, none, &loss), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_losses(ctx, NULL, 1, 2, from, to, &(mpisift_scores){0}), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_losses(ctx, NULL, 1, 2, from, to, NULL), MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "an array is NULL"));
  CU_ASSERT_EQUAL(mpisift_losses(NULL, NULL, 1, 2, from, to, &loss), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_losses(ctx, &(mpisift_loss){.tokens = 2}, 1, 2, from, to, &groups), MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "group"));
  memset(targets, 1, 2);
  CU_ASSERT_EQUAL(mpisift_losses(ctx, NULL, 2, 2, from, to, &groups), MPISIFT_OK);
  CU_ASSERT(group[0] == 1 && group[1] == 1);
  CU_ASSERT_EQUAL(mpisift_losses(ctx, NULL, 0, 2, none, none, NULL), MPISIFT_OK);
  CU_ASSERT_STRING_EQUAL(mpisift_error(ctx), "");
  close_context(ctx);
}

TEST_MAIN("losses", {"labels", labels}, {"rows", rows}, {"weights and smoothing", weights_and_smoothing},
          {"many classes", many_classes}, {"large logits", large_logits},
          {"tiny losses keep their order", tiny_losses_keep_their_order}, {"impossible classes", impossible_classes},
          {"bad logits", bad_logits}, {"tiny binary cross-entropy", tiny_bce}, {"cut in any way", cut_in_any_way},
          {"sequences", sequences}, {"labels out of range", labels_out_of_range}, {"bad arguments", bad_arguments},
          {"missing arrays", missing_arrays})
