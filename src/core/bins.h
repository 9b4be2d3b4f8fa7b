/* A partition of the floats into bins that follow the losses.
 *
 * A float's bits, rearranged to a key, grow with the float, so bins are equal on every machine and need no logarithm.
 * There are 256 bins of 2^24 keys, two octaves each. A bin that holds much is split into 16 bins, and these again, down
 * to single floats: wherever the losses lie, and however close together, few of them share a bin. */
#ifndef MSIFT_CORE_BINS_H
#define MSIFT_CORE_BINS_H

#include <stdint.h>
#include <string.h>

enum {
  MSIFT_BINS_ROOT = 256,
  MSIFT_BINS_FAN = 16,
  MSIFT_BINS_SPLITS = 512,
  MSIFT_BINS_MAX = MSIFT_BINS_ROOT + MSIFT_BINS_SPLITS * (MSIFT_BINS_FAN - 1)
};

struct msift_bins {
  int n, n_splits;
  int16_t root[MSIFT_BINS_ROOT];                    /* >= 0: a bin; below: the split ~x */
  int16_t split[MSIFT_BINS_SPLITS][MSIFT_BINS_FAN]; /* likewise */
  int16_t top[MSIFT_BINS_ROOT * MSIFT_BINS_FAN];    /* root and the splits below it, looked up at once */
  uint32_t first[MSIFT_BINS_MAX + 1];               /* smallest key of each bin; bins ascend */
};

/* The key of a float; that of −0 is that of 0. No finite number has key 0. */
static inline uint32_t msift_key(float value)
{
  uint32_t bits;

  value += 0.0F;
  memcpy(&bits, &value, sizeof bits);
  return bits ^ (-(bits >> 31) | UINT32_C(0x80000000));
}

/* The float of a key. */
float msift_key_float(uint32_t key);

/* The bin of a key. */
static inline int msift_bin(const struct msift_bins *bins, uint32_t key)
{
  int bin = bins->top[key >> 20];

  for (int shift = 16; bin < 0; shift -= 4)
    bin = bins->split[~bin][key >> shift & (MSIFT_BINS_FAN - 1)];
  return bin;
}

/* Whether a bin can be split: it has more than one key. */
static inline int msift_bin_splits(const struct msift_bins *bins, int bin)
{
  return bins->first[bin + 1] - bins->first[bin] != 1;
}

/* Where most losses are before any is known: 128 bins an octave from 2^-9 to 2^7. */
void msift_bins_init(struct msift_bins *bins);

struct msift_counts;

/* Fit bins to counts by other bins: those of more than `most` losses, and those beside one of twice as many, are split
 * once; other splits are undone. Where splits do not suffice, those beside go without, and where that does not help,
 * `most` is doubled; returns it as used. */
uint64_t msift_bins_fit(struct msift_bins *bins, const struct msift_bins *old, const struct msift_counts *counts,
                        uint64_t most);

#endif
