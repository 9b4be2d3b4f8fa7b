/* Losses of samples from losses of tokens: against sums in order, however sequences are cut. */
#include <math.h>
#include <mpisift/mpisift.h>
#include <string.h>

#include "draw.h"
#include "testing.h"

enum { N = 11, TOKENS = 23, STRIDE = 29 };

static float losses[N * STRIDE], found[N];
static double wide[N * STRIDE];
static uint16_t halves[N * STRIDE], bfloats[N * STRIDE];
static int32_t labels[N * STRIDE];
static uint8_t mask[N * STRIDE];
static mpisift_token_sum sums[N];

static mpisift_ctx *open_context(void)
{
  mpisift_team team = {MPI_COMM_WORLD, MPI_COMM_NULL, 0};
  mpisift_ctx *ctx = NULL;

  CU_ASSERT_EQUAL_FATAL(mpisift_open(&team, NULL, NULL, 0, &ctx), MPISIFT_OK);
  return ctx;
}

/* Multiples of 1/8 below 8, which every type holds; NaN where nothing counts, and behind the rows. Sample 4 has nothing
 * that counts. */
static void draw_tokens(void)
{
  struct draw d = {UINT64_C(21)};

  for (int i = 0; i < N * STRIDE; i++) {
    bool counts = i % STRIDE < TOKENS && i / STRIDE != 4 && draw_below(&d, 4) > 0;
    int eighths = (int)draw_below(&d, 64);
    float value = (float)eighths / 8;
    uint32_t bits;

    losses[i] = counts ? value : NAN;
    wide[i] = (double)losses[i];
    memcpy(&bits, &losses[i], sizeof bits);
    bfloats[i] = (uint16_t)(bits >> 16);
    halves[i] = (uint16_t)(!counts ? 0x7e00U : eighths == 0 ? 0 : ((bits >> 23) - 112) << 10 | (bits >> 13 & 1023));
    labels[i] = counts ? (int32_t)draw_below(&d, 100) : -100;
    mask[i] = counts;
  }
}

static float expected(int i, bool sum)
{
  double total = 0;
  int count = 0;

  for (int t = i * STRIDE; t < i * STRIDE + TOKENS; t++)
    if (mask[t]) {
      total += (double)losses[t];
      count++;
    }
  return (float)(sum || count == 0 ? total : total / count);
}

static int64_t count_off(bool sum)
{
  int64_t off = 0;

  for (int i = 0; i < N; i++)
    off += found[i] != expected(i, sum);
  return off;
}

static void types_and_reductions(void)
{
  const mpisift_values kinds[] = {{losses, MPISIFT_F32, STRIDE},
                                  {wide, MPISIFT_F64, STRIDE},
                                  {halves, MPISIFT_F16, STRIDE},
                                  {bfloats, MPISIFT_BF16, STRIDE}};
  mpisift_ctx *ctx = open_context();

  draw_tokens();
  for (int k = 0; k < 4; k++)
    for (int sum = 0; sum < 2; sum++)
      for (int masked = 0; masked < 2; masked++) {
        mpisift_loss loss = {.tokens = TOKENS, .reduction = sum ? MPISIFT_SUM : MPISIFT_MEAN, .ignore = true};
        mpisift_values which = {labels, MPISIFT_I32, STRIDE};

        loss.ignore_index = masked ? 0 : -100;
        if (masked)
          which = (mpisift_values){mask, MPISIFT_U8, STRIDE};
        memset(found, 0x55, sizeof found);
        CU_ASSERT_EQUAL(mpisift_token_losses(ctx, &loss, N, kinds[k], which, NULL, found), MPISIFT_OK);
        CU_ASSERT_EQUAL(count_off(sum), 0);
      }
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* Each micro-step brings some tokens of all samples. */
static void micro_steps(void)
{
  mpisift_ctx *ctx = open_context();

  draw_tokens();
  for (int piece = 1; piece <= TOKENS; piece += 3) {
    memset(sums, 0, sizeof sums);
    for (int t = 0; t < TOKENS; t += piece) {
      mpisift_loss loss = {.tokens = piece < TOKENS - t ? piece : TOKENS - t, .ignore = true, .ignore_index = -100};
      mpisift_values tokens = {losses + t, MPISIFT_F32, STRIDE}, which = {labels + t, MPISIFT_I32, STRIDE};
      float *to = t + piece < TOKENS ? NULL : found;

      CU_ASSERT_EQUAL(mpisift_token_losses(ctx, &loss, N, tokens, which, sums, to), MPISIFT_OK);
    }
    CU_ASSERT_EQUAL(count_off(false), 0);
  }
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

/* What mpisift_losses() makes of the logits itself. */
static void as_from_logits(void)
{
  enum { CLASSES = 9 };
  static float logits[N * TOKENS * CLASSES], each[N * TOKENS], whole[N];
  mpisift_ctx *ctx = open_context();
  struct draw d = {UINT64_C(22)};
  mpisift_loss loss = {.ignore = true, .ignore_index = 3};
  mpisift_values tokens = {.data = each}, which = {labels, MPISIFT_I32, 0}, x = {.data = logits};

  for (int i = 0; i < N * TOKENS * CLASSES; i++)
    logits[i] = (float)draw_normal(&d);
  for (int i = 0; i < N * TOKENS; i++)
    labels[i] = (int32_t)draw_below(&d, CLASSES);
  CU_ASSERT_EQUAL(mpisift_losses(ctx, &loss, N * TOKENS, CLASSES, x, which, &(mpisift_scores){.loss = each}),
                  MPISIFT_OK);
  loss.tokens = TOKENS;
  CU_ASSERT_EQUAL(mpisift_losses(ctx, &loss, N, CLASSES, x, which, &(mpisift_scores){.loss = whole}), MPISIFT_OK);
  CU_ASSERT_EQUAL(mpisift_token_losses(ctx, &loss, N, tokens, which, NULL, found), MPISIFT_OK);
  CU_ASSERT_EQUAL(memcmp(whole, found, sizeof whole), 0);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

static void bad_arguments(void)
{
  mpisift_ctx *ctx = open_context();
  const mpisift_values tokens = {.data = losses}, which = {.data = mask, .type = MPISIFT_U8}, none = {.data = NULL};
  const mpisift_values integers = {.data = labels, .type = MPISIFT_I32}, narrow = {losses, MPISIFT_F32, 2};
  const mpisift_loss two = {.tokens = 2, .ignore = true}, three = {.tokens = 3}, negative = {.tokens = -1},
                     unknown = {.reduction = (mpisift_reduction)7};

  CU_ASSERT_EQUAL(mpisift_token_losses(ctx, &two, -1, tokens, which, NULL, found), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_token_losses(ctx, &two, 1, integers, which, NULL, found), MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "tokens of type int32"));
  CU_ASSERT_EQUAL(mpisift_token_losses(ctx, &two, 1, tokens, tokens, NULL, found), MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "labels of type float32"));
  CU_ASSERT_EQUAL(mpisift_token_losses(ctx, &three, 1, narrow, none, NULL, found), MPISIFT_ERR_ARG);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), "stride"));
  CU_ASSERT_EQUAL(mpisift_token_losses(ctx, &negative, 1, tokens, which, NULL, found), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_token_losses(ctx, &unknown, 1, tokens, which, NULL, found), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_token_losses(ctx, &two, 1, none, which, NULL, found), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_token_losses(ctx, &two, 1, tokens, none, NULL, found), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_token_losses(ctx, &two, 1, tokens, which, NULL, NULL), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_token_losses(NULL, &two, 1, tokens, which, NULL, found), MPISIFT_ERR_ARG);
  CU_ASSERT_EQUAL(mpisift_token_losses(ctx, NULL, 0, none, none, NULL, NULL), MPISIFT_OK);
  CU_ASSERT_STRING_EQUAL(mpisift_error(ctx), "");
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

TEST_MAIN("tokens", {"types and reductions", types_and_reductions}, {"micro-steps", micro_steps},
          {"as from logits", as_from_logits}, {"bad arguments", bad_arguments})
