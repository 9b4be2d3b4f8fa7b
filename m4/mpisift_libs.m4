# MPISIFT_CHECK_RANDOM123: counter-based random numbers, headers only.
AC_DEFUN([MPISIFT_CHECK_RANDOM123],
[AC_CHECK_HEADER([Random123/philox.h], [],
  [AC_MSG_ERROR([Random123/philox.h not found.  Debian/Ubuntu: apt install librandom123-dev;
  else add the folder above Random123/ with CPPFLAGS=-I/folder])])])

# MPISIFT_CHECK_OPENBLAS: matrix products of `mpisift train'.
AC_DEFUN([MPISIFT_CHECK_OPENBLAS],
[PKG_CHECK_MODULES([OPENBLAS], [openblas], [],
  [AC_MSG_ERROR([OpenBLAS not found by pkg-config.  Debian/Ubuntu: apt install libopenblas-dev;
  else set OPENBLAS_CFLAGS and OPENBLAS_LIBS])])
OPENBLAS_CFLAGS=`AS_ECHO(["$OPENBLAS_CFLAGS"]) | sed 's/-I */-isystem /g'`])

# MPISIFT_CHECK_ZLIB: chunks of data sets, and gzipped input of `mpisift convert'.
AC_DEFUN([MPISIFT_CHECK_ZLIB],
[PKG_CHECK_MODULES([ZLIB], [zlib], [],
  [AC_MSG_ERROR([zlib not found by pkg-config.  Debian/Ubuntu: apt install zlib1g-dev;
  else set ZLIB_CFLAGS and ZLIB_LIBS])])])

# MPISIFT_CHECK_LIBDEFLATE: deflated chunks, in half the time of zlib.
AC_DEFUN([MPISIFT_CHECK_LIBDEFLATE],
[AC_ARG_WITH([libdeflate],
  [AS_HELP_STRING([--with-libdeflate], [decompress with libdeflate: auto, yes or no, which is with zlib @<:@auto@:>@])],
  [], [with_libdeflate=auto])
AC_SUBST([with_libdeflate])
mpisift_deflate=zlib
AS_IF([test "$with_libdeflate" != no],
  [PKG_CHECK_MODULES([LIBDEFLATE], [libdeflate], [mpisift_deflate=libdeflate
     AC_DEFINE([HAVE_LIBDEFLATE], [1], [Whether deflated chunks are decompressed with libdeflate.])], [:])])
AS_CASE([$with_libdeflate:$mpisift_deflate], [yes:zlib],
  [AC_MSG_ERROR([libdeflate not found by pkg-config.  Debian/Ubuntu: apt install libdeflate-dev;
  else set LIBDEFLATE_CFLAGS and LIBDEFLATE_LIBS, or give --without-libdeflate])])])

# MPISIFT_CHECK_FILTERS: chunks compressed with LZ4 or Zstandard, which HDF5 itself reads with plugins only.
AC_DEFUN([MPISIFT_CHECK_FILTERS],
[PKG_CHECK_MODULES([LZ4], [liblz4], [mpisift_filters=LZ4
   AC_DEFINE([HAVE_LZ4], [1], [Whether chunks can be decompressed with LZ4.])], [mpisift_filters=])
PKG_CHECK_MODULES([ZSTD], [libzstd], [mpisift_filters="$mpisift_filters Zstandard"
   AC_DEFINE([HAVE_ZSTD], [1], [Whether chunks can be decompressed with Zstandard.])], [:])])

# MPISIFT_CHECK_CUNIT: for the test programs only.
AC_DEFUN([MPISIFT_CHECK_CUNIT],
[PKG_CHECK_MODULES([CUNIT], [cunit >= 2.1], [mpisift_have_cunit=yes],
  [mpisift_have_cunit="no: make check runs the examples and scripts only (apt install libcunit1-dev)"])
AM_CONDITIONAL([HAVE_CUNIT], [test "$mpisift_have_cunit" = yes])])
