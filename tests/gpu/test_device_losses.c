/* The CUDA kernels against sums in long double and the CPU's kernels: with a device, or a stand-in for the CUDA
 * runtime. Without either only the error is tested, and the rest is skipped. */
#include <config.h>

#include <float.h>
#include <math.h>
#include <mpisift/cuda.h>
#include <stdlib.h>
#include <string.h>

#include "../testing.h"
#include "../unit/draw.h"
#include "../unit/exact_losses.h"

#ifdef HAVE_NVCC
#include <cuda_runtime_api.h>

static int have_device(void)
{
  int n = 0;

  return cudaGetDeviceCount(&n) == cudaSuccess && n > 0;
}
#else
static int have_device(void)
{
  return 0;
}
#endif

static mpisift_ctx *open_context(void)
{
  mpisift_team team = {MPI_COMM_WORLD, MPI_COMM_NULL, 0};
  mpisift_ctx *ctx = NULL;

  CU_ASSERT_EQUAL_FATAL(mpisift_open(&team, NULL, NULL, 0, &ctx), MPISIFT_OK);
  return ctx;
}

static void without_a_device(void)
{
  static const float logits[2];
  static const uint8_t label;
  mpisift_ctx *ctx = open_context();
  mpisift_values x = {.data = logits}, y = {.data = &label, .type = MPISIFT_U8};
  float loss;
  mpisift_scores scores = {.loss = &loss};

  CU_ASSERT_EQUAL(mpisift_losses_cuda(ctx, NULL, 1, 2, x, y, &scores, NULL), MPISIFT_ERR_DEVICE);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "mpisift_losses_cuda"));
  CU_ASSERT_EQUAL(mpisift_token_losses_cuda(ctx, NULL, 1, x, y, NULL, &loss, NULL), MPISIFT_ERR_DEVICE);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "mpisift_token_losses_cuda"));
  CU_ASSERT_EQUAL(mpisift_losses_cuda(ctx, NULL, 1, 0, x, y, &scores, NULL), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

#ifdef HAVE_NVCC
#define ULP ((long double)FLT_EPSILON)

enum { ROWS = 5, MOST = 2200, GAP = 3, SCORES = 6 };

static double logits[ROWS * (MOST + GAP)], targets[ROWS * (MOST + GAP)];
static float weights[MOST], found[SCORES][ROWS], expected[SCORES][ROWS];
static int32_t labels[ROWS];
static long double x[EXACT_MOST], y[EXACT_MOST];
static cudaStream_t stream;

static void *to_device(const void *from, size_t bytes)
{
  void *to = NULL;

  CU_ASSERT_EQUAL_FATAL(cudaMalloc(&to, bytes), cudaSuccess);
  CU_ASSERT_EQUAL(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream), cudaSuccess);
  return to;
}

static void from_device(void *to, void *from, size_t bytes)
{
  CU_ASSERT_EQUAL(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream), cudaSuccess);
  CU_ASSERT_EQUAL(cudaStreamSynchronize(stream), cudaSuccess);
  CU_ASSERT_EQUAL(cudaFree(from), cudaSuccess);
}

struct call {
  mpisift_loss loss;
  int64_t n, rows, columns;
  mpisift_values x, y; /* on the host */
  bool labels, more;
};

static size_t bytes_of(const mpisift_values *values, int64_t rows, int64_t columns)
{
  return (size_t)((rows - 1) * values->stride + columns) * mpisift_type_size(values->type);
}

/* The call on the device, into found. */
static void run_device(mpisift_ctx *ctx, const struct call *c)
{
  int64_t target_rows = c->labels ? c->n : c->rows, width = c->labels ? c->rows / c->n : c->columns;
  mpisift_loss loss = c->loss;
  mpisift_values on_x = c->x, on_y = c->y;
  float *out = to_device(found, sizeof found), *w = NULL;
  mpisift_scores scores = {.loss = out};

  on_x.data = to_device(c->x.data, bytes_of(&c->x, c->rows, c->columns));
  on_y.data = to_device(c->y.data, bytes_of(&c->y, target_rows, width));
  if (loss.class_weights != NULL || loss.pos_weights != NULL)
    w = to_device(weights, sizeof weights);
  loss.class_weights = loss.class_weights != NULL ? w : NULL;
  loss.pos_weights = loss.pos_weights != NULL ? w : NULL;
  if (c->more)
    scores = (mpisift_scores){out, out + ROWS, out + 2 * ROWS, NULL, out + 3 * ROWS, out + 4 * ROWS, out + 5 * ROWS};
  CU_ASSERT_EQUAL(mpisift_losses_cuda(ctx, &loss, c->n, c->columns, on_x, on_y, &scores, stream), MPISIFT_OK);
  from_device(found, out, sizeof found);
  cudaFree((void *)(uintptr_t)on_x.data);
  cudaFree((void *)(uintptr_t)on_y.data);
  cudaFree(w);
}

static void run_host(mpisift_ctx *ctx, const struct call *c)
{
  mpisift_scores scores = {.loss = expected[0]};

  if (c->more)
    scores = (mpisift_scores){expected[0], expected[1], expected[2], NULL, expected[3], expected[4], expected[5]};
  CU_ASSERT_EQUAL(mpisift_losses(ctx, &c->loss, c->n, c->columns, c->x, c->y, &scores), MPISIFT_OK);
}

static void draw_call(struct draw *d, const struct call *c, bool signs)
{
  static const double scales[] = {1, 10, 1e4, 1e-2};

  for (int64_t i = 0; i < c->rows; i++)
    for (int64_t k = 0; k < c->columns; k++) {
      exact_put(c->x.type, logits, i * c->x.stride + k, scales[i % 4] * draw_normal(d));
      if (!c->labels)
        exact_put(c->y.type, targets, i * c->y.stride + k,
                  signs ? (draw_below(d, 2) == 0 ? -1 : 1) : (draw_below(d, 3) == 0 ? 0 : draw_unit(d)));
    }
  for (int64_t i = 0; i < c->rows; i++)
    labels[i] = (int32_t)draw_below(d, c->columns);
}

/* The largest error of a row, by what is allowed. */
static long double check_row(const struct call *c, int64_t i)
{
  struct exact_row r = {&c->loss, c->columns, c->labels ? labels[i] : -1, x, y};
  const struct exact_found of_row = {found[0][i], found[1][i], found[2][i], found[3][i], found[4][i], found[5][i]};

  for (int64_t k = 0; k < c->columns; k++) {
    x[k] = exact_value(c->x.type, logits, i * c->x.stride + k);
    y[k] = c->labels ? 0 : exact_value(c->y.type, targets, i * c->y.stride + k);
  }
  return exact_error(&r, &of_row, c->x.type == MPISIFT_F64, c->more, 1);
}

static void check_call(mpisift_ctx *ctx, struct draw *d, mpisift_loss loss, bool with_labels, int64_t columns, int t)
{
  static const mpisift_type types[] = {MPISIFT_F32, MPISIFT_F64, MPISIFT_F16, MPISIFT_BF16};
  struct call c = {loss, ROWS, ROWS, columns, {logits, types[t % 4], columns + t % GAP}, {0}, with_labels, false};
  long double worst = 0, apart = 0;

  c.y = with_labels ? (mpisift_values){labels, MPISIFT_I32, 1}
                    : (mpisift_values){targets, types[(t + columns) % 4], columns + 1};
  c.more = loss.kind <= MPISIFT_KL && (loss.kind != MPISIFT_FOCAL || with_labels);
  draw_call(d, &c, loss.kind == MPISIFT_HINGE);
  run_device(ctx, &c);
  run_host(ctx, &c);
  for (int64_t i = 0; i < ROWS; i++) {
    worst = fmaxl(worst, check_row(&c, i));
    apart = fmaxl(apart, fabsl(found[0][i] - expected[0][i]) / (4 * ULP * fabsl(expected[0][i]) + 1e-5L));
  }
  if (!(worst <= 1 && apart <= 1))
    fprintf(stderr, "kind %d, %d columns, type %d: %.3Lg of what is allowed, %.3Lg from the CPU\n", (int)loss.kind,
            (int)columns, t % 4, worst, apart);
  CU_ASSERT(worst <= 1 && apart <= 1);
}

static const int64_t shapes[] = {1, 3, 10, 17, 33, 70, 300, 2200};

/* Ranks share what there is to check. */
static bool has_turn(int k)
{
  return k % test_size == test_rank;
}

static void check_kind(mpisift_loss loss, bool with_labels)
{
  mpisift_ctx *ctx = open_context();
  struct draw d = {UINT64_C(31)};

  for (int k = 0; k < 8; k++)
    for (int t = k % 2; t<(shapes[k] > 100 ? 2 : 4); t += shapes[k]> 100 ? 1 : 2)
      if (has_turn(k + t))
        check_call(ctx, &d, loss, with_labels, shapes[k], t + k);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

static void with_labels(void)
{
  struct draw d = {UINT64_C(32)};

  for (int c = 0; c < MOST; c++)
    weights[c] = c % 5 == 0 ? 0 : (float)draw_unit(&d);
  check_kind((mpisift_loss){0}, true);
  check_kind((mpisift_loss){.label_smoothing = 0.1, .class_weights = weights}, true);
  check_kind((mpisift_loss){.kind = MPISIFT_NLL, .class_weights = weights}, true);
  check_kind((mpisift_loss){.kind = MPISIFT_FOCAL}, true);
  check_kind((mpisift_loss){.kind = MPISIFT_HINGE}, true);
}

static void with_rows(void)
{
  for (int kind = MPISIFT_CROSS_ENTROPY; kind <= MPISIFT_HINGE; kind++)
    if (kind != MPISIFT_NLL)
      check_kind((mpisift_loss){.kind = (mpisift_loss_kind)kind,
                                .class_weights = kind % 2 == 0 ? weights : NULL,
                                .pos_weights = weights},
                 false);
}

/* Logits that are not numbers, or nothing but −infinity; labels that are no classes. The CPU agrees, but for what it
 * refuses. */
static void bad_rows(void)
{
  static const float row[ROWS][4] = {{0, NAN, 1, 2},
                                     {1, INFINITY, 0, 0},
                                     {-INFINITY, -INFINITY, -INFINITY, -INFINITY},
                                     {1, -INFINITY, 1, -INFINITY},
                                     {0, 0, 0, 0}};
  mpisift_ctx *ctx = open_context();
  struct call c = {{0}, ROWS, ROWS, 4, {row, MPISIFT_F32, 4}, {labels, MPISIFT_I32, 1}, true, true};

  for (int32_t label = 0; label < 4; label++) {
    for (int i = 0; i < ROWS; i++)
      labels[i] = label;
    run_device(ctx, &c);
    run_host(ctx, &c);
    for (int k = 0; k < SCORES; k++)
      for (int i = 0; i < ROWS; i++)
        CU_ASSERT(isnan(expected[k][i])
                      ? isnan(found[k][i])
                      : expected[k][i] == found[k][i] || fabsf(expected[k][i] - found[k][i]) <= 4 * FLT_EPSILON);
  }
  labels[1] = -1;
  labels[3] = 4;
  run_device(ctx, &c);
  CU_ASSERT(isnan(found[0][1]) && isnan(found[3][1]) && isnan(found[0][3]) && !isnan(found[0][4]));
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* A row's bits do not depend on where in memory, or in which call, it is. */
static void rows_alone(void)
{
  mpisift_ctx *ctx = open_context();
  struct draw d = {UINT64_C(33)};
  const float *from = (const float *)(const void *)logits;
  float whole[SCORES][ROWS];

  for (int64_t columns = 11; columns < MOST; columns = columns * 14 + 1) {
    struct call c = {{0}, ROWS, ROWS, columns, {logits, MPISIFT_F32, columns}, {labels, MPISIFT_I32, 1}, true, true};

    draw_call(&d, &c, false);
    run_device(ctx, &c);
    memcpy(whole, found, sizeof whole);
    for (int i = 0; i < ROWS; i++) {
      struct call one = c;

      one.n = one.rows = 1;
      one.x.data = from + i * columns;
      one.y.data = labels + i;
      run_device(ctx, &one);
      for (int k = 0; k < SCORES; k++)
        CU_ASSERT_EQUAL(memcmp(&found[k][0], &whole[k][i], sizeof(float)), 0);
    }
  }
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

static void sequences(void)
{
  enum { N = 2, TOKENS = 2, CLASSES = 7 };
  mpisift_ctx *ctx = open_context();
  struct draw d = {UINT64_C(34)};
  static const int32_t which[] = {3, -100, -100, -100};
  struct call c = {{.tokens = TOKENS, .ignore = true, .ignore_index = -100},
                   N,
                   N * TOKENS,
                   CLASSES,
                   {logits, MPISIFT_F32, CLASSES},
                   {which, MPISIFT_I32, TOKENS},
                   true,
                   true};

  draw_call(&d, &c, false);
  for (int sum = 0; sum < 2; sum++) {
    c.loss.reduction = sum ? MPISIFT_SUM : MPISIFT_MEAN;
    run_device(ctx, &c);
    run_host(ctx, &c);
    for (int k = 0; k < SCORES; k++) {
      CU_ASSERT(fabsf(found[k][0] - expected[k][0]) <= 8 * FLT_EPSILON * fmaxf(1, fabsf(expected[k][0])));
      CU_ASSERT(found[k][1] == 0 && expected[k][1] == 0);
    }
  }
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* The same bits as on the CPU, in micro-steps. */
static void tokens(void)
{
  enum { N = 3, TOKENS = 9, STEP = 3 };
  mpisift_ctx *ctx = open_context();
  struct draw d = {UINT64_C(35)};
  float each[N * TOKENS], host[N], device[N];
  uint8_t mask[N * TOKENS];
  mpisift_token_sum zero[N] = {{0}}, *sums = to_device(zero, sizeof zero);
  const mpisift_loss part = {.tokens = STEP, .ignore = true}, whole = {.tokens = TOKENS, .ignore = true};
  float *on_losses, *out = to_device(host, sizeof host);
  uint8_t *on_mask;

  for (int i = 0; i < N * TOKENS; i++) {
    mask[i] = i / TOKENS != 1 && draw_below(&d, 3) > 0;
    each[i] = mask[i] ? draw_lognormal(&d) : NAN;
  }
  on_losses = to_device(each, sizeof each);
  on_mask = to_device(mask, sizeof mask);
  for (int t = 0; t < TOKENS; t += STEP)
    CU_ASSERT_EQUAL(mpisift_token_losses_cuda(ctx, &part, N, (mpisift_values){on_losses + t, MPISIFT_F32, TOKENS},
                                              (mpisift_values){on_mask + t, MPISIFT_U8, TOKENS}, sums,
                                              t + STEP < TOKENS ? NULL : out, stream),
                    MPISIFT_OK);
  from_device(device, out, sizeof device);
  CU_ASSERT_EQUAL(mpisift_token_losses(ctx, &whole, N, (mpisift_values){.data = each},
                                       (mpisift_values){.data = mask, .type = MPISIFT_U8}, NULL, host),
                  MPISIFT_OK);
  CU_ASSERT_EQUAL(memcmp(host, device, sizeof host), 0);
  cudaFree(sums);
  cudaFree(on_losses);
  cudaFree(on_mask);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

static void put_label(mpisift_type type, void *to, int64_t i, int label)
{
  if (type == MPISIFT_U8)
    ((uint8_t *)to)[i] = (uint8_t)label;
  else if (type == MPISIFT_U16)
    ((uint16_t *)to)[i] = (uint16_t)label;
  else if (type == MPISIFT_I32)
    ((int32_t *)to)[i] = label;
  else
    ((int64_t *)to)[i] = label;
}

/* Labels of each type, their classes, and rows that do not count, as on the CPU: a row a sample, or summed over tokens.
 */
static void check_labels(mpisift_ctx *ctx, mpisift_type type, mpisift_type label_type, int64_t n_tokens)
{
  enum { CLASSES = 7 };
  int64_t n = ROWS / n_tokens;
  mpisift_loss loss = {
      .tokens = n_tokens, .reduction = MPISIFT_SUM, .ignore = true, .ignore_index = 2, .class_weights = weights};
  struct draw d = {UINT64_C(37) + (uint64_t)label_type};
  struct call c = {.rows = ROWS, .columns = CLASSES, .x = {logits, type, CLASSES}};
  const mpisift_values labels_of = {targets, label_type, n_tokens};
  int32_t host[ROWS] = {0}, device[ROWS], *groups = to_device(host, sizeof host);
  mpisift_scores scores = {.loss = expected[0], .group = n_tokens == 1 ? host : NULL};
  mpisift_values on_x = c.x, on_y = labels_of;
  float *out, *w;

  draw_call(&d, &c, false);
  for (int i = 0; i < ROWS; i++)
    put_label(label_type, targets, i, i % 3 == 1 ? 2 : (int)draw_below(&d, CLASSES));
  CU_ASSERT_EQUAL(mpisift_losses(ctx, &loss, n, CLASSES, c.x, labels_of, &scores), MPISIFT_OK);
  on_x.data = to_device(logits, bytes_of(&c.x, ROWS, CLASSES));
  on_y.data = to_device(targets, ROWS * mpisift_type_size(label_type));
  loss.class_weights = w = to_device(weights, CLASSES * sizeof *weights);
  scores = (mpisift_scores){.loss = out = to_device(expected, sizeof expected), .group = n_tokens == 1 ? groups : NULL};
  CU_ASSERT_EQUAL(mpisift_losses_cuda(ctx, &loss, n, CLASSES, on_x, on_y, &scores, stream), MPISIFT_OK);
  from_device(found, out, sizeof found);
  from_device(device, groups, sizeof device);
  CU_ASSERT(n_tokens > 1 || memcmp(host, device, sizeof host) == 0);
  for (int64_t i = 0; i < n; i++)
    CU_ASSERT(fabsf(found[0][i] - expected[0][i]) <= 1e-5F * fmaxf(1, fabsf(expected[0][i])));
  cudaFree((void *)(uintptr_t)on_x.data);
  cudaFree((void *)(uintptr_t)on_y.data);
  cudaFree(w);
}

static void label_types(void)
{
  static const mpisift_type types[] = {MPISIFT_F32, MPISIFT_F64, MPISIFT_F16, MPISIFT_BF16};
  static const mpisift_type label_types[] = {MPISIFT_I32, MPISIFT_U8, MPISIFT_I64, MPISIFT_U16};
  mpisift_ctx *ctx = open_context();

  for (int c = 0; c < MOST; c++)
    weights[c] = (float)(c + 1) / 4;
  for (int a = 0; a < 4; a++)
    for (int b = 0; b < 4; b++)
      if (has_turn(a + b))
        check_labels(ctx, types[a], label_types[b], (a + b) % 2 == 0 ? 1 : 2);
  for (int b = 0; b < 4; b++)
    check_labels(ctx, MPISIFT_F32, label_types[b], b % 2 == 0 ? 2 : 1);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* The same bits as on the CPU, of samples of so many tokens, whose arrays begin at element `begin`. */
static void check_tokens(mpisift_ctx *ctx, mpisift_type type, mpisift_type label_type, int64_t n_tokens, int64_t begin)
{
  enum { N = 3 };
  const mpisift_loss loss = {.tokens = n_tokens, .ignore = n_tokens % 3 != 0, .ignore_index = 2};
  int64_t stride = n_tokens + (n_tokens % 2 == 0 ? 0 : 3), all = begin + N * stride;
  size_t size = mpisift_type_size(type), label_size = mpisift_type_size(label_type);
  struct draw d = {UINT64_C(36) + (uint64_t)n_tokens};
  unsigned char *x_on, *y_on;
  float host[N] = {0}, device[N], *out = to_device(host, sizeof host);

  for (int64_t i = 0; i < all; i++) {
    exact_put(type, logits, i, fabs(draw_normal(&d)));
    put_label(label_type, targets, i, (int)draw_below(&d, 4));
  }
  x_on = to_device(logits, (size_t)all * size);
  y_on = to_device(targets, (size_t)all * label_size);
  CU_ASSERT_EQUAL(mpisift_token_losses_cuda(ctx, &loss, N, (mpisift_values){x_on + (size_t)begin * size, type, stride},
                                            (mpisift_values){y_on + (size_t)begin * label_size, label_type, stride},
                                            NULL, out, stream),
                  MPISIFT_OK);
  from_device(device, out, sizeof device);
  CU_ASSERT_EQUAL(mpisift_token_losses(
                      ctx, &loss, N, (mpisift_values){(unsigned char *)logits + (size_t)begin * size, type, stride},
                      (mpisift_values){(unsigned char *)targets + (size_t)begin * label_size, label_type, stride}, NULL,
                      host),
                  MPISIFT_OK);
  CU_ASSERT_EQUAL(memcmp(host, device, sizeof host), 0);
  cudaFree(x_on);
  cudaFree(y_on);
}

static void token_types(void)
{
  static const mpisift_type types[] = {MPISIFT_F32, MPISIFT_F64, MPISIFT_F16, MPISIFT_BF16};
  static const mpisift_type label_types[] = {MPISIFT_I32, MPISIFT_U8, MPISIFT_I64, MPISIFT_U16};
  static const int64_t lengths[] = {1, 7, 8, 9, 16, 24, 61};
  mpisift_ctx *ctx = open_context();

  for (int a = 0; a < 4; a++)
    for (int b = 0; b < 4; b++)
      for (int k = 0; k < 7; k++)
        if (has_turn(a + b + k))
          check_tokens(ctx, types[a], label_types[b], lengths[k], (a + b + k) % 3);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

static bool refused(mpisift_ctx *ctx, mpisift_status status, const char *text)
{
  return status == MPISIFT_ERR_ARG && strcmp(mpisift_error(ctx), text) == 0;
}

/* Host memory in place of the device's. */
static void host_pointers(void)
{
  static const float none[2];
  static const uint8_t label;
  mpisift_ctx *ctx = open_context();
  float *on = to_device(none, sizeof none), out, *pinned;
  const mpisift_loss weighted = {.class_weights = none};
  const mpisift_values logits_on = {.data = on}, labels_on = {.data = on, .type = MPISIFT_U8},
                       labels_off = {.data = &label, .type = MPISIFT_U8};
  mpisift_scores good = {.loss = on}, bad = {.loss = on};

  CU_ASSERT_EQUAL_FATAL(cudaMallocHost((void **)&pinned, sizeof *pinned), cudaSuccess);
  bad.margin = pinned;
  CU_ASSERT(refused(ctx, mpisift_losses_cuda(ctx, NULL, 1, 2, (mpisift_values){.data = none}, labels_on, &good, stream),
                    "mpisift_losses_cuda: logits is host memory that CUDA does not know; it must be memory of the "
                    "device, as of cudaMalloc"));
  CU_ASSERT(refused(ctx, mpisift_losses_cuda(ctx, &weighted, 1, 2, logits_on, labels_on, &good, stream),
                    "mpisift_losses_cuda: loss.class_weights is host memory that CUDA does not know; it must be memory "
                    "of the device, as of cudaMalloc"));
  CU_ASSERT(refused(ctx, mpisift_losses_cuda(ctx, NULL, 1, 2, logits_on, labels_on, &bad, stream),
                    "mpisift_losses_cuda: scores.margin is page-locked host memory; it must be memory of the device, "
                    "as of cudaMalloc"));
  CU_ASSERT(refused(ctx, mpisift_token_losses_cuda(ctx, NULL, 1, logits_on, labels_on, NULL, &out, stream),
                    "mpisift_token_losses_cuda: losses is host memory that CUDA does not know; it must be memory of "
                    "the device, as of cudaMalloc"));
  CU_ASSERT_EQUAL(mpisift_losses_cuda(ctx, NULL, 0, 2, (mpisift_values){.data = none}, labels_off, &good, stream),
                  MPISIFT_OK); /* of no rows, nothing is looked at */
  cudaFree(on);
  cudaFreeHost(pinned);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* A call that fails unasked is not taken for ours. */
static void errors_left_by_others(void)
{
  static const float zeros[3];
  mpisift_ctx *ctx = open_context();
  float *on = to_device(zeros, sizeof zeros);
  const mpisift_values x_on = {.data = on}, y_on = {.data = on + 1, .type = MPISIFT_U8};
  const mpisift_scores scores = {.loss = on + 2};

  for (int again = 0; again < 2; again++) {
    cudaSetDevice(-1);
    CU_ASSERT_EQUAL(mpisift_losses_cuda(ctx, NULL, 1, 1, x_on, y_on, &scores, stream), MPISIFT_ERR_DEVICE);
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "mpisift_losses_cuda: CUDA failed before"));
    CU_ASSERT_EQUAL(mpisift_losses_cuda(ctx, NULL, 1, 1, x_on, y_on, &scores, stream), MPISIFT_OK);
  }
  CU_ASSERT_EQUAL(cudaStreamSynchronize(stream), cudaSuccess);
  cudaFree(on);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* More rows than a launch has blocks for: an error that is told, and leaves nothing to be asked for. */
static void too_many_rows(void)
{
  static const float zeros[3];
  const int64_t many = INT64_C(1) << 40;
  mpisift_ctx *ctx = open_context();
  float *on = to_device(zeros, sizeof zeros);
  const mpisift_values x_on = {.data = on}, y_on = {.data = on + 1, .type = MPISIFT_U8};
  const mpisift_scores scores = {.loss = on + 2};

  CU_ASSERT_EQUAL(mpisift_losses_cuda(ctx, NULL, many, 1, x_on, y_on, &scores, stream), MPISIFT_ERR_DEVICE);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "mpisift_losses_cuda: launching a kernel failed"));
  CU_ASSERT_EQUAL(mpisift_token_losses_cuda(ctx, NULL, many, x_on, y_on, NULL, on + 2, stream), MPISIFT_ERR_DEVICE);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "mpisift_token_losses_cuda: launching a kernel failed"));
  CU_ASSERT_EQUAL(cudaGetLastError(), cudaSuccess);
  CU_ASSERT_EQUAL(cudaStreamSynchronize(stream), cudaSuccess);
  cudaFree(on);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

static const test_case on_device[] = {
    {"labels", with_labels},          {"rows", with_rows},
    {"bad rows", bad_rows},           {"alone", rows_alone},
    {"sequences", sequences},         {"tokens", tokens},
    {"token types", token_types},     {"label types", label_types},
    {"host pointers", host_pointers}, {"errors left by others", errors_left_by_others},
    {"too many rows", too_many_rows}};

static int test_device(int argc, char **argv)
{
  int failed;

  if (cudaStreamCreate(&stream) != cudaSuccess)
    return 1;
  failed = test_main(argc, argv, "device losses", on_device, sizeof on_device / sizeof *on_device);
  cudaStreamDestroy(stream);
  return failed;
}
#else
static int test_device(int argc, char **argv)
{
  return argv[argc] != NULL;
}
#endif

int main(int argc, char **argv)
{
  static const test_case without[] = {{"without a device", without_a_device}};

  if (have_device())
    return test_device(argc, argv);
  printf("SKIPPED: no CUDA device, no stand-in for one, or no nvcc: only the error is tested, not the kernels\n");
  return test_main(argc, argv, "device losses", without, 1) != 0 ? 1 : 77;
}
