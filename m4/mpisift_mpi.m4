# MPISIFT_PROG_MPICC
# ------------------
# Choose CC.  A user's CC or MPICC wins; otherwise the first MPI wrapper in
# PATH; otherwise a plain compiler, which MPISIFT_CHECK_MPI then completes.
AC_DEFUN([MPISIFT_PROG_MPICC],
[AC_BEFORE([$0], [AC_PROG_CC])dnl
AC_ARG_VAR([MPICC], [MPI C compiler wrapper, used when CC is unset])
AC_ARG_VAR([MPIEXEC], [MPI launcher for `make check' (e.g. mpiexec, srun)])
AS_IF([test -z "$CC"],
  [AC_CHECK_PROGS([MPICC], [mpicc mpiicx mpiicc])
   AS_IF([test -n "$MPICC"], [CC=$MPICC])])
AC_PROG_CC
AS_CASE([$ac_cv_prog_cc_c11], [no],
  [AC_MSG_ERROR([$CC is not a C11 compiler: set CC to one, e.g. CC=mpicc])])
])

# MPISIFT_CHECK_MPI
# -----------------
# Require MPI >= 3.0 in C.  Sets MPI_CFLAGS, MPI_LIBS (empty with a wrapper),
# MPI_PC (pkg-config module, maybe empty), mpisift_open_mpi (yes, no) and MPIEXEC.
AC_DEFUN([MPISIFT_CHECK_MPI],
[AC_CACHE_CHECK([whether $CC compiles and links MPI], [mpisift_cv_mpi_cc],
  [MPISIFT_MPI_LINK([mpisift_cv_mpi_cc=yes], [mpisift_cv_mpi_cc=no])])
MPI_PC=
AS_IF([test "$mpisift_cv_mpi_cc" = no],
  [for mpisift_pc in ompi-c mpich mpi-c; do
     PKG_CHECK_EXISTS([$mpisift_pc], [MPI_PC=$mpisift_pc; break])
   done
   AS_IF([test -z "$MPI_PC"],
     [AC_MSG_ERROR([no MPI found.  Debian/Ubuntu: apt install libopenmpi-dev openmpi-bin;
  else put mpicc in PATH, set MPICC=, or set PKG_CONFIG_PATH to the folder
  that holds ompi-c.pc or mpich.pc])])
   PKG_CHECK_MODULES([MPI], [$MPI_PC])
   mpisift_save_CFLAGS=$CFLAGS; mpisift_save_LIBS=$LIBS
   CFLAGS="$CFLAGS $MPI_CFLAGS"; LIBS="$MPI_LIBS $LIBS"
   MPISIFT_MPI_LINK([], [AC_MSG_ERROR([pkg-config module $MPI_PC does not link MPI 3.0; see config.log])])
   CFLAGS=$mpisift_save_CFLAGS; LIBS=$mpisift_save_LIBS])
AC_SUBST([MPI_CFLAGS])
AC_SUBST([MPI_LIBS])
AC_SUBST([MPI_PC])
MPISIFT_OPEN_MPI
MPISIFT_PROG_MPIEXEC
])

# Which MPI it is decides on the HDF5 that goes with it; and all others are
# taken to spin where they wait, see tests/yield.c.
AC_DEFUN([MPISIFT_OPEN_MPI],
[mpisift_save_CPPFLAGS=$CPPFLAGS; CPPFLAGS="$CPPFLAGS $MPI_CFLAGS"
AC_CACHE_CHECK([whether MPI is Open MPI], [mpisift_cv_open_mpi],
  [AC_PREPROC_IFELSE([AC_LANG_SOURCE([[#include <mpi.h>
#ifndef OPEN_MPI
#error not Open MPI
#endif]])], [mpisift_cv_open_mpi=yes], [mpisift_cv_open_mpi=no])])
CPPFLAGS=$mpisift_save_CPPFLAGS
mpisift_open_mpi=$mpisift_cv_open_mpi
AM_CONDITIONAL([OPEN_MPI], [test "$mpisift_open_mpi" = yes])])

# The launcher that goes with the compiler: of its suffix (mpicc.mpich,
# mpiexec.mpich) and from its folder, if there, and else the first in PATH.
# Only `make check' needs one: never fail configure for it.
AC_DEFUN([MPISIFT_PROG_MPIEXEC],
[set dummy $CC
mpisift_cc=`command -v "$[2]"`
AS_CASE([$mpisift_cc:$MPI_PC],
  [*/mpicc.*:*], [mpisift_suffix=.`AS_ECHO(["$mpisift_cc"]) | sed 's,.*/mpicc.,,'`],
  [*:mpich], [mpisift_suffix=.mpich],
  [*:ompi-c], [mpisift_suffix=.openmpi],
  [mpisift_suffix=])
AS_IF([test -z "$MPIEXEC"],
  [AC_PATH_PROGS([MPIEXEC], [mpiexec$mpisift_suffix mpirun$mpisift_suffix mpiexec mpirun srun], [false],
     [`AS_DIRNAME([${mpisift_cc:-.}])`$PATH_SEPARATOR$PATH])])])

AC_DEFUN([MPISIFT_MPI_LINK],
[AC_LINK_IFELSE([AC_LANG_PROGRAM([[
#include <mpi.h>
#if MPI_VERSION < 3
#error "MPI 3.0 or newer is required"
#endif]], [[MPI_Request r; return MPI_Ibarrier(MPI_COMM_WORLD, &r);]])],
  [$1], [$2])])
