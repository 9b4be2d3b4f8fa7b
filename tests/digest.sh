#!/bin/sh
# What is accepted, the history and the global batches are the same for any number of ranks. Speaks TAP.
. "$(dirname "$0")/../scripts/mpi-env.sh"
program=tests/mpi/digest
[ -x $program ] || { echo "1..0 # SKIP $program was not built"; exit; }
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

# digest RANKS: the lines of a run.
digest() {
  # shellcheck disable=SC2086  # the launcher is a command line
  timeout -k 10 "${MPISIFT_TIMEOUT:-120}" ${MPIEXEC:-mpiexec} -n "$1" $program </dev/null >"$dir/out" 2>&1 &&
    grep '^digest ' "$dir/out"
}

# result STATUS NAME: a result line, with what the run said if it failed.
count=0
result() {
  count=$((count + 1))
  [ "$1" -eq 0 ] || sed 's/^/# /' "$dir/out"
  [ "$1" -eq 0 ] || printf 'not '
  echo "ok $count - $2"
}

digest 1 >"$dir/wanted" && [ "$(wc -l <"$dir/wanted")" -eq 34 ]
result $? "np=1 has digests"
# Depth 0 and 1 agree, as do spreads of candidates; else digests differ.
[ "$(sed 's/.*: //' "$dir/wanted" | sort -u | wc -l)" -eq 17 ]
result $? "they tell worlds apart"
for np in 2 3 4 5 7 8; do
  digest "$np" >"$dir/got" && diff "$dir/wanted" "$dir/got" >>"$dir/out"
  result $? "np=$np has the same"
done
echo "1..$count"
