/* n things cut into runs that are as equal as can be, those with one more first. */
#ifndef MSIFT_CORE_RUNS_H
#define MSIFT_CORE_RUNS_H

#include <stdint.h>

/* Where run r of `runs` begins; r = runs: the end, n. */
static inline int64_t msift_run_begin(int64_t n, int64_t runs, int64_t r)
{
  int64_t longer = n % runs;

  return n / runs * r + (r < longer ? r : longer);
}

/* The run of thing i, 0 <= i < n. */
static inline int64_t msift_run_of(int64_t n, int64_t runs, int64_t i)
{
  int64_t length = n / runs, longer = n % runs, in_longer = longer * (length + 1);

  return i < in_longer ? i / (length + 1) : longer + (i - in_longer) / length;
}

#endif
