# MPISIFT_WARNINGS: the warnings the sources are free of, where CC knows them.
AC_DEFUN([MPISIFT_WARNINGS],
[AC_ARG_ENABLE([werror],
  [AS_HELP_STRING([--enable-werror], [treat compiler warnings as errors (for developers)])],
  [], [enable_werror=no])
WARN_CFLAGS="-Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes"
WARN_CFLAGS="$WARN_CFLAGS -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wformat=2 -Wvla"
mpisift_save_CFLAGS=$CFLAGS
CFLAGS="$CFLAGS $WARN_CFLAGS -Werror"
AC_MSG_CHECKING([whether $CC knows the warning options])
AC_COMPILE_IFELSE([AC_LANG_SOURCE([[extern int mpisift_probe;]])],
  [AC_MSG_RESULT([yes])], [AC_MSG_RESULT([no]); WARN_CFLAGS=])
MPISIFT_STATUSES_WARNING
CFLAGS=$mpisift_save_CFLAGS
AS_IF([test "$enable_werror" != no], [WARN_CFLAGS="$WARN_CFLAGS -Werror"])
AC_SUBST([WARN_CFLAGS])])

# GCC takes MPICH's MPI_STATUSES_IGNORE, address 1, for an array that is too short.
AC_DEFUN([MPISIFT_STATUSES_WARNING],
[CFLAGS="$mpisift_save_CFLAGS $MPI_CFLAGS -Werror"
AC_MSG_CHECKING([whether MPI_STATUSES_IGNORE compiles without a warning])
AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[#include <mpi.h>]],
  [[MPI_Request r = MPI_REQUEST_NULL; return MPI_Waitall(1, &r, MPI_STATUSES_IGNORE);]])],
  [AC_MSG_RESULT([yes])],
  [AC_MSG_RESULT([no]); WARN_CFLAGS="$WARN_CFLAGS -Wno-stringop-overflow"])])

# MPISIFT_ENABLE_SANITIZERS: a variable of its own, so that no configure probe
# is itself instrumented.
AC_DEFUN([MPISIFT_ENABLE_SANITIZERS],
[AC_ARG_ENABLE([sanitizers],
  [AS_HELP_STRING([--enable-sanitizers@<:@=LIST@:>@], [-fsanitize=LIST @<:@address,undefined@:>@])],
  [], [enable_sanitizers=no])
AS_CASE([$enable_sanitizers], [no], [SAN_CFLAGS=],
  [yes], [SAN_CFLAGS="-fsanitize=address,undefined"],
  [SAN_CFLAGS="-fsanitize=$enable_sanitizers"])
AS_IF([test -n "$SAN_CFLAGS"],
  [SAN_CFLAGS="$SAN_CFLAGS -fno-sanitize-recover=all -fno-omit-frame-pointer"
   mpisift_save_CFLAGS=$CFLAGS; CFLAGS="$CFLAGS $SAN_CFLAGS"
   AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])], [],
     [AC_MSG_ERROR([$CC cannot link with $SAN_CFLAGS: install the sanitizers' libraries or leave out --enable-sanitizers])])
   CFLAGS=$mpisift_save_CFLAGS])
AC_SUBST([SAN_CFLAGS])])

# MPISIFT_ENABLE_FUZZ: targets for libFuzzer, which comes with clang.
AC_DEFUN([MPISIFT_ENABLE_FUZZ],
[AC_ARG_ENABLE([fuzz],
  [AS_HELP_STRING([--enable-fuzz], [for make fuzz; CC must be clang, such as OMPI_CC=clang ./configure])],
  [], [enable_fuzz=no])
FUZZ_LDFLAGS=
AS_IF([test "$enable_fuzz" != no],
  [SAN_CFLAGS="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
   FUZZ_LDFLAGS="-fsanitize=fuzzer"
   mpisift_save_CFLAGS=$CFLAGS; CFLAGS="$CFLAGS $SAN_CFLAGS $FUZZ_LDFLAGS"
   AC_LINK_IFELSE([AC_LANG_SOURCE([[int LLVMFuzzerTestOneInput(const char *data, unsigned long size);
int LLVMFuzzerTestOneInput(const char *data, unsigned long size) { return !data && size; }]])], [],
     [AC_MSG_ERROR([$CC cannot link with $FUZZ_LDFLAGS: install clang, and set OMPI_CC=clang or MPICH_CC=clang])])
   CFLAGS=$mpisift_save_CFLAGS])
AC_SUBST([FUZZ_LDFLAGS])
AM_CONDITIONAL([FUZZ], [test "$enable_fuzz" != no])])

# MPISIFT_RPATH: libtool drops -Wl,-rpath that comes through a convenience
# library, so the prefixes found are handed to each final link.
AC_DEFUN([MPISIFT_RPATH],
[AC_ARG_ENABLE([rpath],
  [AS_HELP_STRING([--disable-rpath], [do not record dependency folders in what is built (packagers)])])
RPATH_LDFLAGS=
AS_IF([test "$enable_rpath" != no], [RPATH_LDFLAGS="$mpisift_hdf5_rpath $mpisift_nccl_rpath $mpisift_cuda_rpath"])
AC_SUBST([RPATH_LDFLAGS])])

AC_DEFUN([MPISIFT_SUMMARY],
[AS_CASE([$with_cuda:$mpisift_have_cuda],
  [*:yes], [mpisift_cuda_says="$mpisift_cuda, kernels: $mpisift_have_nvcc"],
  [no:*], [mpisift_cuda_says="no (--without-cuda)"],
  [mpisift_cuda_says="no (not found; looked in:$mpisift_cuda_tried)"])
AS_CASE([$with_nccl:$mpisift_have_nccl:$mpisift_have_cuda],
  [*:yes:*], [mpisift_nccl_says=$mpisift_nccl],
  [no:*], [mpisift_nccl_says="no (--without-nccl)"],
  [*:no], [mpisift_nccl_says="no (needs CUDA)"],
  [mpisift_nccl_says="no (not found; looked in:$mpisift_nccl_tried)"])
AS_IF([test "$mpisift_have_cublas" = yes], [mpisift_cublas_says="yes (for an example)"],
  [mpisift_cublas_says="no (an example is not built: needs nvcc, NCCL and cuBLAS)"])
AS_CASE([$MPIEXEC], [false], [mpisift_mpiexec="no launcher found: make check needs MPIEXEC=..."],
  [mpisift_mpiexec="tests run with $MPIEXEC"])
AC_MSG_NOTICE([

  mpisift $PACKAGE_VERSION
    prefix       $prefix
    compiler     $CC
    flags        $CFLAGS $SAN_CFLAGS
    MPI          ${MPI_PC:-compiler wrapper}, $mpisift_mpiexec
    HDF5         $mpisift_hdf5_from
    filters      shuffle deflate (by $mpisift_deflate) Fletcher32 $mpisift_filters
    OpenBLAS     $OPENBLAS_LIBS
    CUDA         $mpisift_cuda_says
    NCCL         $mpisift_nccl_says
    cuBLAS       $mpisift_cublas_says
    CUnit        $mpisift_have_cunit

  Next: make && make check && make install && make installcheck])])
