/* Agreements: what failed on one rank is an error on all, before any acts on what followed. Losses reported by the user
 * travel along. */
#include <string.h>

#include "api/loader.h"

mpisift_status msift_tell_failure(mpisift_loader *l)
{
  if (l->failure_told) {
    msift_error_set(&l->ctx->error, l->failure.status, "%s", l->failure.text);
    msift_error_clear(&l->failure);
    l->failure_told = false;
  }
  return msift_team_agree(&l->ctx->team, &l->ctx->error);
}

void msift_agreement_put(mpisift_loader *l, uint32_t *words)
{
  l->failure_told = l->failure.status != MPISIFT_OK;
  words[MSIFT_WORD_FAILED] = l->failure_told;
  l->reported_told = l->reported;
  l->report_sum_told = l->report_sum;
  words[MSIFT_WORD_REPORTED] = l->reported;
  for (int i = 0; i < 4; i++)
    words[MSIFT_WORD_REPORT_SUM + i] = (uint32_t)((uint64_t)l->report_sum >> 16 * i & 0xffff);
}

mpisift_status msift_agreement_take(mpisift_loader *l, const uint32_t *words)
{
  uint64_t sum = 0;

  if (words[MSIFT_WORD_FAILED] > 0)
    return msift_tell_failure(l);
  for (int i = 0; i < 4; i++)
    sum += (uint64_t)words[MSIFT_WORD_REPORT_SUM + i] << 16 * i;
  l->run.reported += words[MSIFT_WORD_REPORTED];
  l->run.report_sum += (double)(int64_t)sum / MSIFT_REPORT_ONE;
  l->reported -= l->reported_told;
  l->report_sum -= l->report_sum_told;
  l->agreed = true;
  return MPISIFT_OK;
}

mpisift_status msift_agreement_post(mpisift_loader *l)
{
  double begin = msift_range_begin(l->ctx, "mpisift agree");

  memset(l->agreement_words, 0, sizeof l->agreement_words);
  msift_agreement_put(l, l->agreement_words);
  msift_reduction_begin(&l->agreement, &l->ctx->team, l->config.pipeline_depth > 0, &l->ctx->error);
  l->run.seconds[MSIFT_WAIT] += msift_range_end(l->ctx) - begin;
  return l->ctx->error.status;
}

mpisift_status msift_agreement_end(mpisift_loader *l)
{
  double begin = msift_range_begin(l->ctx, "mpisift agree");
  mpisift_status status = msift_reduction_end(&l->agreement, &l->ctx->team, &l->ctx->error);

  l->run.seconds[MSIFT_WAIT] += msift_range_end(l->ctx) - begin;
  MSIFT_TRY(status);
  return msift_agreement_take(l, l->agreement_words);
}
