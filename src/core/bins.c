#include "core/bins.h"

#include <stdbool.h>

float msift_key_float(uint32_t key)
{
  uint32_t bits = key ^ (((key >> 31) - 1) | UINT32_C(0x80000000));
  float value;

  memcpy(&value, &bits, sizeof value);
  return value;
}

/* A partition in the making. */
struct fit {
  struct msift_bins *bins;
  const struct msift_bins *old;
  const uint64_t *below;
  uint64_t most;
  bool beside; /* nodes beside those that hold much are split too */
  bool full;   /* there are no splits left */
};

/* Losses below a key, or where it lies inside an old bin, below that bin. */
static uint64_t below(const struct fit *f, int64_t key)
{
  if (key < 0)
    return 0;
  return f->below[key > UINT32_MAX ? f->old->n : msift_bin(f->old, (uint32_t)key)];
}

/* Whether a node, or one beside it, holds much. Losses that drift come to bins beside those that they fill, and find
 * them split. */
static bool crowded(const struct fit *f, int64_t key, int64_t keys)
{
  uint64_t a = below(f, key - keys), b = below(f, key), c = below(f, key + keys), d = below(f, key + 2 * keys);

  return c - b > f->most || (f->beside && (b - a > f->most || d - c > f->most));
}

/* The bins are complete: what ends them, and what is found at once. */
static void finish(struct msift_bins *bins)
{
  for (int i = 0; i < MSIFT_BINS_ROOT * MSIFT_BINS_FAN; i++) {
    int node = bins->root[i / MSIFT_BINS_FAN];

    bins->top[i] = (int16_t)(node < 0 ? bins->split[~node][i % MSIFT_BINS_FAN] : node);
  }
  bins->first[bins->n] = 0; /* one above the largest key */
}

static int add_bin(struct msift_bins *bins, uint32_t key)
{
  bins->first[bins->n] = key;
  return bins->n++;
}

static int add_split(struct fit *f, int node, uint32_t key, int shift);

/* The node over [key, key + 2^shift) of the new partition, for `node` of the old one. */
static int add_node(struct fit *f, int node, uint32_t key, int shift)
{
  return shift > 0 && crowded(f, key, INT64_C(1) << shift) ? add_split(f, node, key, shift - 4) : add_bin(f->bins, key);
}

static int add_split(struct fit *f, int node, uint32_t key, int shift)
{
  int split = f->bins->n_splits;

  f->full = f->full || split == MSIFT_BINS_SPLITS;
  if (f->full)
    return 0;
  f->bins->n_splits++;
  for (int i = 0; i < MSIFT_BINS_FAN; i++) {
    uint32_t part = key + ((uint32_t)i << shift);

    /* What was one bin gives bins: how its losses spread is not known. */
    f->bins->split[split][i] =
        (int16_t)(node < 0 ? add_node(f, f->old->split[~node][i], part, shift) : add_bin(f->bins, part));
  }
  return ~split;
}

static bool build(struct fit *f, uint64_t most, bool beside)
{
  f->bins->n = f->bins->n_splits = 0;
  f->most = most;
  f->beside = beside;
  f->full = false;
  for (int r = 0; r < MSIFT_BINS_ROOT && !f->full; r++)
    f->bins->root[r] = (int16_t)add_node(f, f->old->root[r], (uint32_t)r << 24, 24);
  return !f->full;
}

uint64_t msift_bins_fit(struct msift_bins *bins, const struct msift_bins *old, const uint64_t *below, uint64_t most)
{
  struct fit f = {.bins = bins, .old = old, .below = below};

  while (!build(&f, most, true) && !build(&f, most, false))
    most *= 2;
  finish(bins);
  return most;
}

/* Keys of 2^-9 and 2^7: exponents 118 and 134 of a float's eight bits, two of which make a bin of the root. */
enum { DENSE_BEGIN = 128 + 118 / 2, DENSE_END = 128 + 134 / 2 };

static int init_node(struct msift_bins *bins, uint32_t key, int shift, int depth)
{
  int split;

  if (depth == 0)
    return add_bin(bins, key);
  split = bins->n_splits++;
  for (int i = 0; i < MSIFT_BINS_FAN; i++)
    bins->split[split][i] = (int16_t)init_node(bins, key + ((uint32_t)i << shift), shift - 4, depth - 1);
  return ~split;
}

void msift_bins_init(struct msift_bins *bins)
{
  bins->n = bins->n_splits = 0;
  for (int r = 0; r < MSIFT_BINS_ROOT; r++)
    bins->root[r] = (int16_t)init_node(bins, (uint32_t)r << 24, 20, r >= DENSE_BEGIN && r < DENSE_END ? 2 : 0);
  finish(bins);
}
