# MPISIFT_CHECK_NCCL
# ------------------
# Optional NCCL >= 2.14, of the same prefix as CUDA or of its own: auto | yes |
# no | DIR.  Guess when not asked, stop when an explicit request cannot be met.
AC_DEFUN([MPISIFT_CHECK_NCCL],
[AC_REQUIRE([MPISIFT_CHECK_CUDA])dnl
AC_ARG_WITH([nccl],
  [AS_HELP_STRING([--with-nccl@<:@=DIR@:>@], [NCCL: auto, yes, no or its prefix @<:@auto@:>@])],
  [], [with_nccl=auto])
AS_CASE([$with_nccl], [auto|yes|no|/*], [],
  [AC_MSG_ERROR([--with-nccl=$with_nccl is not an absolute path: give auto, yes, no or NCCL's prefix])])
mpisift_have_nccl=no
NCCL_CPPFLAGS=; NCCL_LIBS=; mpisift_nccl_rpath=; mpisift_nccl_tried=
AS_IF([test "$with_nccl" != no && test "$mpisift_have_cuda" = yes], [MPISIFT_NCCL_SEARCH])
AS_CASE([$with_nccl:$mpisift_have_nccl:$mpisift_have_cuda], [auto:*|no:*|*:yes:*], [],
  [*:no], [AC_MSG_ERROR([--with-nccl=$with_nccl was given, but NCCL needs the CUDA runtime, which is not
  there: give --with-cuda=DIR, or leave out --with-nccl])],
  [AC_MSG_ERROR([--with-nccl=$with_nccl was given, but NCCL (nccl.h and libnccl, 2.14 or newer) is not
  there; looked in:$mpisift_nccl_tried.
  Install it (Debian and Ubuntu, from NVIDIA's packages: apt install libnccl-dev) and give its
  prefix, or configure --without-nccl.  config.log has the compiler's words])])
AS_IF([test "$mpisift_have_nccl" = yes],
  [AC_DEFINE([HAVE_NCCL], [1], [Define if batches can travel by NCCL])])
AC_SUBST([NCCL_CPPFLAGS])
AC_SUBST([NCCL_LIBS])
AC_SUBST([with_nccl])
AM_CONDITIONAL([HAVE_NCCL], [test "$mpisift_have_nccl" = yes])
])

# Try the prefix the user named, or else each place NCCL is usually in.
AC_DEFUN([MPISIFT_NCCL_SEARCH],
[AS_CASE([$with_nccl], [/*], [mpisift_nccl_prefixes=$with_nccl],
  [mpisift_nccl_prefixes="$NCCL_HOME $mpisift_cuda /usr"])
for mpisift_nccl in $mpisift_nccl_prefixes; do
  mpisift_nccl_tried="$mpisift_nccl_tried $mpisift_nccl"
  MPISIFT_NCCL_PROBE
  test "$mpisift_have_nccl" = yes && break
done])

# CUDA's prefix is on the command line already, and /usr must not be repeated.
AC_DEFUN([MPISIFT_NCCL_PROBE],
[NCCL_LIBS=-lnccl
AS_IF([test -f "$mpisift_nccl/lib64/libnccl.so"], [mpisift_nccl_lib=$mpisift_nccl/lib64],
  [mpisift_nccl_lib=$mpisift_nccl/lib])
AS_CASE([$mpisift_nccl], [/usr|"$mpisift_cuda"], [],
  [NCCL_CPPFLAGS="-isystem $mpisift_nccl/include"
   NCCL_LIBS="-L$mpisift_nccl_lib -lnccl"; mpisift_nccl_rpath="-Wl,-rpath,$mpisift_nccl_lib"])
mpisift_save_CPPFLAGS=$CPPFLAGS; mpisift_save_LIBS=$LIBS
CPPFLAGS="$CPPFLAGS $NCCL_CPPFLAGS $CUDA_CPPFLAGS"; LIBS="$NCCL_LIBS $CUDA_LIBS $LIBS"
AC_MSG_CHECKING([for NCCL in $mpisift_nccl])
dnl Both may lie on the compiler's paths too, but this prefix is asked about. /usr has folders of its own for libraries.
AS_IF([test -f "$mpisift_nccl/include/nccl.h" &&
       { test "$mpisift_nccl" = /usr || test -f "$mpisift_nccl_lib/libnccl.so"; }], [
AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <nccl.h>
#if NCCL_VERSION_CODE < NCCL_VERSION(2, 14, 0)
#error "NCCL is too old"
#endif]], [[return ncclGetLastError(0) == 0 || ncclGroupEnd() == ncclInProgress;]])],
  [mpisift_have_nccl=yes])])
AS_IF([test "$mpisift_have_nccl" = no], [NCCL_CPPFLAGS=; NCCL_LIBS=; mpisift_nccl_rpath=])
AC_MSG_RESULT([$mpisift_have_nccl])
CPPFLAGS=$mpisift_save_CPPFLAGS; LIBS=$mpisift_save_LIBS])

# MPISIFT_CHECK_CUDA_AWARE: whether MPI can be asked if it takes device memory; it is asked when a program runs.
AC_DEFUN([MPISIFT_CHECK_CUDA_AWARE],
[mpisift_save_CPPFLAGS=$CPPFLAGS; mpisift_save_LIBS=$LIBS
CPPFLAGS="$CPPFLAGS $MPI_CFLAGS"; LIBS="$MPI_LIBS $LIBS"
AC_CHECK_HEADERS([mpi-ext.h], [], [], [[#include <mpi.h>]])
AC_CHECK_FUNCS([MPIX_Query_cuda_support])
CPPFLAGS=$mpisift_save_CPPFLAGS; LIBS=$mpisift_save_LIBS])

# MPISIFT_CHECK_CUBLAS: for the example that trains on GPUs; the library does without.
AC_DEFUN([MPISIFT_CHECK_CUBLAS],
[AC_REQUIRE([MPISIFT_CHECK_NCCL])dnl
mpisift_have_cublas=no; CUBLAS_LIBS=
AS_IF([test "$mpisift_have_nvcc:$mpisift_have_nccl" = yes:yes],
  [mpisift_save_CPPFLAGS=$CPPFLAGS; mpisift_save_LIBS=$LIBS
   CPPFLAGS="$CPPFLAGS $CUDA_CPPFLAGS"; LIBS="-lcublas $CUDA_LIBS $LIBS"
   AC_MSG_CHECKING([for cuBLAS])
   AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <cublas_v2.h>]],
     [[cublasHandle_t handle; return cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS;]])],
     [mpisift_have_cublas=yes; CUBLAS_LIBS=-lcublas])
   AC_MSG_RESULT([$mpisift_have_cublas])
   CPPFLAGS=$mpisift_save_CPPFLAGS; LIBS=$mpisift_save_LIBS])
AC_SUBST([CUBLAS_LIBS])
AM_CONDITIONAL([HAVE_CUBLAS], [test "$mpisift_have_cublas" = yes])])
