# MPISIFT_CHECK_CUDA
# ------------------
# Optional CUDA runtime >= 11.5: auto | yes | no | DIR.  Guess when not asked,
# stop when an explicit request cannot be met.  Only cudart is linked, never
# libcuda, so that login nodes without a driver can build.
AC_DEFUN([MPISIFT_CHECK_CUDA],
[AC_ARG_WITH([cuda],
  [AS_HELP_STRING([--with-cuda@<:@=DIR@:>@], [CUDA Toolkit: auto, yes, no or its prefix @<:@auto@:>@])],
  [], [with_cuda=auto])
AS_CASE([$with_cuda], [auto|yes|no|/*], [],
  [AC_MSG_ERROR([--with-cuda=$with_cuda is not an absolute path: give auto, yes, no or the toolkit's prefix])])
mpisift_have_cuda=no
CUDA_CPPFLAGS=; CUDA_LIBS=; mpisift_cuda_rpath=
AS_IF([test "$with_cuda" != no], [MPISIFT_CUDA_SEARCH])
AS_CASE([$with_cuda:$mpisift_have_cuda], [auto:*|no:*|*:yes], [],
  [AC_MSG_ERROR([--with-cuda=$with_cuda was given, but the CUDA runtime (cuda_runtime_api.h and
  libcudart, 11.5 or newer) is not there; looked in:$mpisift_cuda_tried.
  Install the CUDA Toolkit and give its prefix, or configure --without-cuda.
  config.log has the compiler's words])])
AS_IF([test "$mpisift_have_cuda" = yes],
  [AC_DEFINE([HAVE_CUDA], [1], [Define if the CUDA backend is built])])
AC_ARG_VAR([NVCC], [CUDA compiler])
AC_ARG_VAR([NVCCFLAGS], [CUDA compiler flags @<:@-O3 -lineinfo@:>@])
AC_ARG_VAR([NVCC_GENCODE], [CUDA targets @<:@-arch=all-major@:>@, such as -arch=native])
mpisift_have_nvcc=no
AS_IF([test "$mpisift_have_cuda" = yes], [MPISIFT_PROG_NVCC])
AS_IF([test "$mpisift_have_nvcc" = yes],
  [AC_DEFINE([HAVE_NVCC], [1], [Define if kernels for CUDA devices are built])])
AM_CONDITIONAL([HAVE_NVCC], [test "$mpisift_have_nvcc" = yes])
AC_SUBST([CUDA_CPPFLAGS])
AC_SUBST([CUDA_LIBS])
AC_SUBST([with_cuda])
AM_CONDITIONAL([HAVE_CUDA], [test "$mpisift_have_cuda" = yes])
])

# Try the prefix the user named, or else each place a toolkit is usually in.
AC_DEFUN([MPISIFT_CUDA_SEARCH],
[AS_CASE([$with_cuda], [/*], [mpisift_cuda_prefixes=$with_cuda],
  [AC_PATH_PROG([mpisift_nvcc], [nvcc])
   mpisift_cuda_prefixes="$CUDA_HOME"
   AS_IF([test -n "$mpisift_nvcc"],
     [mpisift_nvcc=`readlink -f "$mpisift_nvcc"`
      mpisift_cuda_prefixes="$mpisift_cuda_prefixes `AS_DIRNAME([$mpisift_nvcc]) | sed 's,/bin$,,'`"])
   mpisift_cuda_prefixes="$mpisift_cuda_prefixes /usr/local/cuda /usr"])
mpisift_cuda_tried=
for mpisift_cuda in $mpisift_cuda_prefixes; do
  mpisift_cuda_tried="$mpisift_cuda_tried $mpisift_cuda"
  MPISIFT_CUDA_PROBE
  test "$mpisift_have_cuda" = yes && break
done])

# /usr is on the compiler's own paths and must not be repeated in front of them.
AC_DEFUN([MPISIFT_CUDA_PROBE],
[AS_IF([test "$mpisift_cuda" = /usr], [CUDA_CPPFLAGS=; CUDA_LIBS=-lcudart; mpisift_cuda_rpath=],
  [AS_IF([test -d "$mpisift_cuda/lib64"], [mpisift_cuda_lib=$mpisift_cuda/lib64],
     [mpisift_cuda_lib=$mpisift_cuda/lib])
   CUDA_CPPFLAGS="-isystem $mpisift_cuda/include"
   CUDA_LIBS="-L$mpisift_cuda_lib -lcudart"; mpisift_cuda_rpath="-Wl,-rpath,$mpisift_cuda_lib"])
mpisift_save_CPPFLAGS=$CPPFLAGS; mpisift_save_LIBS=$LIBS
CPPFLAGS="$CPPFLAGS $CUDA_CPPFLAGS"; LIBS="$CUDA_LIBS $LIBS"
AC_MSG_CHECKING([for the CUDA runtime in $mpisift_cuda])
dnl The header may lie on the compiler's paths too, but this prefix is asked about.
AS_IF([test -f "$mpisift_cuda/include/cuda_runtime_api.h"], [
AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <cuda_runtime_api.h>
#if CUDART_VERSION < 11050
#error "CUDA is too old"
#endif]], [[int n; return cudaGetDeviceCount(&n) == cudaSuccess;]])],
  [mpisift_have_cuda=yes])])
AS_IF([test "$mpisift_have_cuda" = no], [CUDA_CPPFLAGS=; CUDA_LIBS=; mpisift_cuda_rpath=])
AC_MSG_RESULT([$mpisift_have_cuda])
CPPFLAGS=$mpisift_save_CPPFLAGS; LIBS=$mpisift_save_LIBS])

# The compiler of the toolkit whose runtime was found, if it is there and works; without it there are no kernels, but
# page-locked memory.
AC_DEFUN([MPISIFT_PROG_NVCC],
[AC_PATH_PROG([NVCC], [nvcc], [], [$mpisift_cuda/bin$PATH_SEPARATOR$PATH])
: ${NVCCFLAGS="-O3 -lineinfo"}
: ${NVCC_GENCODE="-arch=all-major"}
AS_IF([test -n "$NVCC"],
  [AC_MSG_CHECKING([whether $NVCC compiles a kernel])
cat >conftest.cu <<'_CU'
__global__ void fill(float *x) { x[[threadIdx.x]] = 1.f; }
extern "C" void launch(float *x) { fill<<<1, 32>>>(x); }
_CU
   AS_IF([AC_RUN_LOG([$NVCC $NVCC_GENCODE $NVCCFLAGS -c -o conftest.$OBJEXT conftest.cu])],
     [AC_MSG_RESULT([yes]); mpisift_have_nvcc=yes; CUDA_LIBS="$CUDA_LIBS -lstdc++"],
     [AC_MSG_RESULT([no])
      AC_MSG_WARN([nvcc failed, see config.log: often a host compiler that it does not take.
  Set NVCC_PREPEND_FLAGS='-ccbin g++-12', or NVCC_GENCODE])])
   rm -f conftest.cu conftest.$OBJEXT])])
