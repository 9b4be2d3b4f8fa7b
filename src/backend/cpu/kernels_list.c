#include <config.h>

#include "backend/cpu/kernels.h"

extern const struct msift_kernels msift_kernels_base;

#ifdef HAVE_X86_KERNELS
extern const struct msift_kernels msift_kernels_avx2, msift_kernels_avx512;

static const struct msift_kernels *const kernels[] = {&msift_kernels_avx512, &msift_kernels_avx2, &msift_kernels_base,
                                                      NULL};

const struct msift_kernels *const *msift_kernels(void)
{
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
    return kernels + 2;
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                 __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")
             ? kernels
             : kernels + 1;
}
#else
static const struct msift_kernels *const kernels[] = {&msift_kernels_base, NULL};

const struct msift_kernels *const *msift_kernels(void)
{
  return kernels;
}
#endif
