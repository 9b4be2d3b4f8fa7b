# MPISIFT_CHECK_HDF5
# ------------------
# Require parallel HDF5 >= 1.10 built with this MPI.  Search order:
#   1. HDF5_CFLAGS/HDF5_LIBS in the environment   2. --with-hdf5=DIR
#   3. pkg-config: hdf5-openmpi | hdf5-mpich | hdf5
#   4. the compiler's own paths (modules, Spack: CPATH, LIBRARY_PATH)
# h5pcc is not parsed: Debian's prints static archives and a private -l list.
AC_DEFUN([MPISIFT_CHECK_HDF5],
[AC_ARG_WITH([hdf5],
  [AS_HELP_STRING([--with-hdf5=DIR], [parallel HDF5 prefix (default: pkg-config, then compiler paths)])],
  [], [with_hdf5=auto])
AC_ARG_VAR([HDF5_CFLAGS], [C flags for parallel HDF5])
AC_ARG_VAR([HDF5_LIBS], [linker flags for parallel HDF5])
mpisift_hdf5_from="HDF5_CFLAGS/HDF5_LIBS"
mpisift_hdf5_rpath=
AS_IF([test -n "$HDF5_LIBS"], [],
  [AS_CASE([$with_hdf5],
    [auto|yes], [MPISIFT_HDF5_PKG_CONFIG],
    [/*], [AS_IF([test ! -f "$with_hdf5/include/hdf5.h"],
             [AC_MSG_ERROR([--with-hdf5=$with_hdf5 was given, but $with_hdf5/include/hdf5.h
  is not there: give the prefix of a parallel HDF5])])
           HDF5_CFLAGS="-isystem $with_hdf5/include"
           HDF5_LIBS="-L$with_hdf5/lib -lhdf5"; mpisift_hdf5_rpath="-Wl,-rpath,$with_hdf5/lib"
           mpisift_hdf5_from=$with_hdf5],
    [no], [AC_MSG_ERROR([mpisift cannot be built without HDF5: leave out --without-hdf5])],
    [AC_MSG_ERROR([--with-hdf5=$with_hdf5 is not an absolute path: give the prefix that holds include/hdf5.h])])])
mpisift_save_CPPFLAGS=$CPPFLAGS; mpisift_save_LIBS=$LIBS
CPPFLAGS="$CPPFLAGS $HDF5_CFLAGS $MPI_CFLAGS"; LIBS="$HDF5_LIBS $MPI_LIBS $LIBS"
MPISIFT_HDF5_PROBE
AC_CHECK_FUNCS([H5Dchunk_iter H5Pset_file_locking])
CPPFLAGS=$mpisift_save_CPPFLAGS; LIBS=$mpisift_save_LIBS
AC_SUBST([with_hdf5])
])

# The pkg-config module is named after the MPI on Debian, and plain elsewhere.
AC_DEFUN([MPISIFT_HDF5_PKG_CONFIG],
[AS_IF([test "$mpisift_open_mpi" = yes], [mpisift_pcs="hdf5-openmpi hdf5"], [mpisift_pcs="hdf5-mpich hdf5"])
mpisift_hdf5_pc=
for mpisift_pc in $mpisift_pcs; do
  dnl Debian's hdf5.pc is of one MPI, and a program with two MPIs would link.
  AS_CASE([$mpisift_open_mpi:`$PKG_CONFIG --libs $mpisift_pc 2>/dev/null`], [no:*openmpi*|yes:*mpich*], [continue])
  PKG_CHECK_EXISTS([$mpisift_pc >= 1.10], [mpisift_hdf5_pc=$mpisift_pc; break])
done
AS_IF([test -n "$mpisift_hdf5_pc"],
  [HDF5_CFLAGS=`$PKG_CONFIG --cflags $mpisift_hdf5_pc | sed 's/-I */-isystem /g'`
   HDF5_LIBS=`$PKG_CONFIG --libs $mpisift_hdf5_pc`
   mpisift_hdf5_from="pkg-config $mpisift_hdf5_pc"],
  [HDF5_CFLAGS=; HDF5_LIBS=-lhdf5; mpisift_hdf5_from="compiler paths"])])

AC_DEFUN([MPISIFT_HDF5_PROBE],
[AC_MSG_CHECKING([for hdf5.h ($mpisift_hdf5_from)])
AC_PREPROC_IFELSE([AC_LANG_SOURCE([[#include <hdf5.h>]])],
  [AC_MSG_RESULT([yes])],
  [AC_MSG_RESULT([no])
   AC_MSG_ERROR([hdf5.h not found.  Debian/Ubuntu: apt install libhdf5-openmpi-dev,
  or with MPICH libhdf5-mpich-dev; modules: module load hdf5/<version>-mpi; else --with-hdf5=/prefix])])
AC_MSG_CHECKING([whether HDF5 is parallel])
AC_PREPROC_IFELSE([AC_LANG_SOURCE([[#include <hdf5.h>
#ifndef H5_HAVE_PARALLEL
#error serial
#endif]])],
  [AC_MSG_RESULT([yes])],
  [AC_MSG_RESULT([no])
   AC_MSG_ERROR([the HDF5 found via $mpisift_hdf5_from is the serial one; point
  --with-hdf5 at a build made with --enable-parallel])])
AC_MSG_CHECKING([whether parallel HDF5 links with this MPI])
AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <hdf5.h>]],
  [[return H5Pset_fapl_mpio(0, MPI_COMM_WORLD, MPI_INFO_NULL) < 0;]])],
  [AC_MSG_RESULT([yes])],
  [AC_MSG_RESULT([no])
   AC_MSG_ERROR([H5Pset_fapl_mpio does not link; header and library may come
  from different builds (flags: $HDF5_CFLAGS $HDF5_LIBS)])])])
