#include "core/counts.h"

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
  const struct msift_counts *counts;
  uint64_t most;
  bool beside; /* nodes beside those that hold much are split too */
  bool full;   /* there are no splits left */
};

/* Losses below a key, or where it lies inside an old bin, below that bin. */
static uint64_t below(const struct fit *f, int64_t key)
{
  if (key < 0)
    return 0;
  return key > UINT32_MAX ? f->counts->total : msift_counts_below(f->counts, msift_bin(f->old, (uint32_t)key));
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

static void add_siblings(struct fit *f, const int16_t *nodes, int n, int64_t key, int shift, int16_t *to);

/* Split `node` of the old partition, over the keys from one on, into parts of 2^shift keys. */
static int add_split(struct fit *f, int node, int64_t key, int shift)
{
  int split = f->bins->n_splits;

  f->full = f->full || split == MSIFT_BINS_SPLITS;
  if (f->full)
    return 0;
  f->bins->n_splits++;
  if (node < 0)
    add_siblings(f, f->old->split[~node], MSIFT_BINS_FAN, key, shift, f->bins->split[split]);
  else /* what was one bin gives bins: how its losses spread is not known */
    for (int i = 0; i < MSIFT_BINS_FAN; i++)
      f->bins->split[split][i] = (int16_t)add_bin(f->bins, (uint32_t)(key + ((int64_t)i << shift)));
  return ~split;
}

/* Nodes of 2^shift keys each, one behind the other, for those of the old partition. One is split where it holds much,
 * or one beside it twice as much: losses that drift come to bins beside those that they fill, and find them split. */
static void add_siblings(struct fit *f, const int16_t *nodes, int n, int64_t key, int shift, int16_t *to)
{
  int64_t keys = INT64_C(1) << shift;
  uint64_t a = below(f, key - keys), b = below(f, key), c = below(f, key + keys), d;

  for (int i = 0; i < n; i++, key += keys, a = b, b = c, c = d) {
    bool crowded;

    d = below(f, key + 2 * keys);
    crowded = c - b > f->most || (f->beside && (b - a > 2 * f->most || d - c > 2 * f->most));
    to[i] = (int16_t)(crowded && shift > 0 ? add_split(f, nodes[i], key, shift - 4) : add_bin(f->bins, (uint32_t)key));
  }
}

static bool build(struct fit *f, uint64_t most, bool beside)
{
  f->bins->n = f->bins->n_splits = 0;
  f->most = most;
  f->beside = beside;
  f->full = false;
  add_siblings(f, f->old->root, MSIFT_BINS_ROOT, 0, 24, f->bins->root);
  return !f->full;
}

uint64_t msift_bins_fit(struct msift_bins *bins, const struct msift_bins *old, const struct msift_counts *counts,
                        uint64_t most)
{
  struct fit f = {.bins = bins, .old = old, .counts = counts};

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
