/* What a softmax cross-entropy cannot do without, for bench_losses.c. bench_bare.c is compiled once for each
 * instruction set that the library's kernels are. */
#ifndef MSIFT_TOOLS_BENCH_BARE_H
#define MSIFT_TOOLS_BENCH_BARE_H

#include <stdint.h>

struct bare {
  const char *name; /* of the kernels that it goes with */
  double (*read)(const float *x, int64_t n);
  /* Of each row: its largest value, and the sum of exp(x − largest), all in float32. */
  void (*pass)(const float *x, int64_t rows, int64_t columns, float *sums);
};

extern const struct bare bare_base, bare_avx2, bare_avx512;

#endif
