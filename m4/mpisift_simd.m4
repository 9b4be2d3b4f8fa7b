# MPISIFT_CHECK_SIMD
# ------------------
# Plain loops become vector instructions where that takes a test at run time,
# too: GCC's -O2 leaves these. The loss kernels are compiled once for CC's own target and, on x86-64, once
# each for AVX2 and AVX-512; the processor decides which run.
AC_DEFUN([MPISIFT_CHECK_SIMD],
[AVX2_CFLAGS="-mavx2 -mfma"
AVX512_CFLAGS="-mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma"
mpisift_save_CFLAGS=$CFLAGS; CFLAGS="$CFLAGS $AVX512_CFLAGS"
AC_CACHE_CHECK([whether $CC compiles for AVX2 and AVX-512], [mpisift_cv_x86_kernels],
  [AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <immintrin.h>]],
    [[__m512 v = _mm512_setzero_ps();
      return __builtin_cpu_supports("avx512dq") && _mm512_reduce_add_ps(v) > 0;]])],
    [mpisift_cv_x86_kernels=yes], [mpisift_cv_x86_kernels=no])])
CFLAGS=$mpisift_save_CFLAGS
AS_IF([test "$mpisift_cv_x86_kernels" = yes],
  [AC_DEFINE([HAVE_X86_KERNELS], [1], [Define if loss kernels for AVX2 and AVX-512 are built])])
VECTOR_CFLAGS="-ftree-vectorize -fvect-cost-model=dynamic"
mpisift_save_CFLAGS=$CFLAGS; CFLAGS="$CFLAGS $VECTOR_CFLAGS -Werror"
AC_CACHE_CHECK([whether $CC knows $VECTOR_CFLAGS], [mpisift_cv_vector_cflags],
  [AC_COMPILE_IFELSE([AC_LANG_SOURCE([[extern int mpisift_probe;]])],
    [mpisift_cv_vector_cflags=yes], [mpisift_cv_vector_cflags=no])])
CFLAGS=$mpisift_save_CFLAGS
AS_IF([test "$mpisift_cv_vector_cflags" = no], [VECTOR_CFLAGS=])
AC_SUBST([VECTOR_CFLAGS])
AC_SUBST([AVX2_CFLAGS])
AC_SUBST([AVX512_CFLAGS])
AM_CONDITIONAL([X86_KERNELS], [test "$mpisift_cv_x86_kernels" = yes])])
