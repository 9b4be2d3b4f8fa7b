#!/bin/sh
# run-mpi.sh PROGRAM: run PROGRAM at each rank count that fits its folder; one
# TAP line a run.  Exit status 77 of the program means "skipped".
#   MPISIFT_NP       rank counts [1 2 3 4 8]; tests/unit, scale and examples have their own
#   MPISIFT_GPU_NP   those of tests/gpu [1 2 4]
#   MPISIFT_TIMEOUT  seconds after which a run has failed [120]
#   MPISIFT_WRAP     command put before the program, such as valgrind (needs LIBTOOL)
#   MPISIFT_YIELD    library to preload where ranks outnumber the cores (see yield.c)
#   MPIEXEC          launcher [mpiexec]
. "$(dirname "$0")/../scripts/mpi-env.sh"
program=$1 srcdir=${srcdir:-.}
limit=${MPISIFT_TIMEOUT:-120}
case $program in
*tests/unit/* | *tests/scale/*) counts=1 ;;
*tests/gpu/*) counts=${MPISIFT_GPU_NP:-1 2 4} ;;
*examples/*) counts="1 4" ;;
*) counts=${MPISIFT_NP:-1 2 3 4 8} ;;
esac
wrap=${MPISIFT_WRAP:+${LIBTOOL:-libtool} --mode=execute $MPISIFT_WRAP}

run() {
  yield=
  [ "$1" -le "$(nproc)" ] || yield=${MPISIFT_YIELD:+env LD_PRELOAD=$MPISIFT_YIELD}
  # shellcheck disable=SC2086  # launcher, wrapper and preloading are command lines
  timeout -k 10 "$limit" ${MPIEXEC:-mpiexec} -n "$1" $yield $wrap "$program" </dev/null 2>&1
}

# The lines that the head comment of an example promises for "mpirun -n 4".
promised() {
  awk 'sub(/^ \* Output: */, "") { on = 1 }
    on { last = sub(/ *\*\/$/, ""); sub(/^ \* */, ""); if ($0 != "") print; if (last) exit }' "$srcdir/$program.c"
}

# shellcheck disable=SC2086  # a list
set -- $counts
echo "1..$#"
i=0
for np in "$@"; do
  i=$((i + 1))
  output=$(run "$np")
  status=$?
  case $program:$np:$status in
  *examples/*:4:0) missing=$(promised | grep -vxF -e "$output") && status="0, but no line '$missing'" ;;
  esac
  [ "$status" = 0 ] || printf '%s\n' "$output" | sed 's/^/# /'
  case $status in
  0) echo "ok $i - np=$np" ;;
  77) echo "ok $i - np=$np # SKIP" ;;
  124 | 137) echo "not ok $i - np=$np (no end after $limit s)" ;;
  *) echo "not ok $i - np=$np (exit $status)" ;;
  esac
done
