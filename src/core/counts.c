#include "core/counts.h"

enum { BLOCK = MSIFT_COUNTS_BLOCK };

static uint64_t signed_word(uint32_t word)
{
  return (uint64_t)(int64_t)(int32_t)word;
}

static void change_block(uint64_t *in, const uint32_t *changes)
{
  for (int i = 0; i < BLOCK; i++)
    in[i] += signed_word(changes[i]);
}

static uint64_t sum_block(const uint64_t *in)
{
  uint64_t sum = 0;

  for (int i = 0; i < BLOCK; i++)
    sum += in[i];
  return sum;
}

/* Whether one of a block's counts is larger: then a difference has a sign. */
static uint64_t exceeds(const uint64_t *in, uint64_t most)
{
  uint64_t signs = 0;

  for (int i = 0; i < BLOCK; i++)
    signs |= most - in[i];
  return signs >> 63;
}

void msift_counts_set(struct msift_counts *c, const struct msift_bins *bins, const uint64_t *in)
{
  memset(c, 0, sizeof *c);
  memcpy(c->in, in, (size_t)bins->n * sizeof *in);
  for (int k = 0; k < MSIFT_COUNTS_BLOCKS; k++)
    c->before[k + 1] = c->before[k] + sum_block(c->in + k * BLOCK);
  c->total = c->before[MSIFT_COUNTS_BLOCKS];
}

uint64_t msift_counts_foresee(const struct msift_counts *c, const struct msift_bins *bins, const uint32_t *changes)
{
  uint32_t sum = 0;

  for (int b = 0; b < bins->n; b++)
    sum += changes[b];
  return c->total + signed_word(sum);
}

bool msift_counts_change(struct msift_counts *c, const struct msift_bins *bins, const uint32_t *changes, uint64_t most)
{
  int blocks = msift_counts_words(bins) / BLOCK;
  uint64_t larger = 0, total = 0;

  for (int k = 0; k < blocks; k++) {
    uint64_t *in = c->in + k * BLOCK;

    change_block(in, changes + k * BLOCK);
    larger |= exceeds(in, most);
    c->before[k] = total;
    total += sum_block(in);
  }
  c->before[blocks] = c->total = total;
  return larger != 0 && msift_counts_crowd(c, bins, most);
}

bool msift_counts_crowd(const struct msift_counts *c, const struct msift_bins *bins, uint64_t most)
{
  for (int b = 0; b < bins->n; b++)
    if (c->in[b] > most && msift_bin_splits(bins, b))
      return true;
  return false;
}
