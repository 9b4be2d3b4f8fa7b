#!/bin/sh
# The library's own code on a simulated cluster: SimGrid's SMPI runs all ranks
# in one process, on the network of cluster.xml.
usage() {
  cat <<'EOT'
usage: tests/scale/smpi.sh [-w] [RANKS...]

Runs tests/scale/batches on a simulated cluster with 8 ranks a node, and
compares the digest of all global batches with those of one and of three ranks
under the ordinary MPI, for two policies and both pipeline depths. RANKS is
256 unless given; 1024 take some minutes.

  -w  weak scaling instead: 32 samples of 3 kB a rank and step, no comparison

Columns: the policy, pipeline depth, ranks, steps, the digest; then of a step:
samples moved in % of the batch, messages, bytes of these, bytes that a rank
adds to reductions, and microseconds, which on the simulated cluster are those
of the network alone. The status is 77 where smpicc (package libsimgrid-dev)
is not installed. BUILD is the build folder with the ordinary program
[build/check], MPIEXEC the ordinary launcher [mpiexec].
EOT
}

weak=no
case $1 in
-w) weak=yes && shift ;;
-*) usage && exit ;;
esac
cd "$(dirname "$0")/../.." || exit 1
. scripts/mpi-env.sh
: "${BUILD:=build/check}" "${MPIEXEC:=mpiexec}"
command -v smpicc >/dev/null && command -v smpirun >/dev/null || {
  echo "smpi.sh: SKIPPED, smpicc is missing: install libsimgrid-dev" >&2
  exit 77
}
[ -x "$BUILD/tests/scale/batches" ] || {
  echo "smpi.sh: there is no $BUILD/tests/scale/batches: run scripts/check, or set BUILD" >&2
  exit 1
}
[ $# -gt 0 ] || set -- 256
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

# All but files, CUDA and NCCL, with an empty config.h. Blocks are malloc's own, whose size is asked for.
build() {
  : >"$dir/config.h"
  awk 'BEGIN { for (r = 0; r < 8192; r++) print "node" int(r / 8) }' >"$dir/hosts"
  sources=$(find src/base src/core src/comm src/api src/backend/backend.c src/backend/cpu -name '*.c' ! -name nccl.c \
    ! -exec grep -q '#include "io/' {} ';' -print)
  # shellcheck disable=SC2086  # a list
  smpicc -DON_SMPI -DSMPI_NO_OVERRIDE_MALLOC -DKERNELS=msift_kernels_base -DKERNELS_NAME='"base"' -std=gnu11 -O2 -I"$dir" -Iinclude \
    -I"$BUILD/include" -Isrc tests/scale/batches.c $sources -Wl,-Bsymbolic -o "$dir/batches" -lm
}

simulate() {
  ranks=$1
  shift
  smpirun -np "$ranks" -platform tests/scale/cluster.xml -hostfile "$dir/hosts" --log=root.thresh:warning \
    --cfg=smpi/simulate-computation:no --cfg=network/model:CM02 --cfg=smpi/coll-selector:mpich "$dir/batches" "$@"
}

# compare POLICY RANKS...: all runs have the same digest.
compare() {
  policy=$1
  shift
  {
    echo "ordinary MPI:"
    for ranks in 1 3; do
      $MPIEXEC -n "$ranks" "$BUILD/tests/scale/batches" -p "$policy" || status=1
    done
    echo "simulated:"
    for ranks in "$@"; do
      simulate "$ranks" -p "$policy" || status=1
      simulate "$ranks" -p "$policy" -d 1 || status=1
    done
  } >"$dir/runs"
  cat "$dir/runs"
  [ "$(awk 'NF > 5 { print $5 }' "$dir/runs" | sort -u | wc -l)" -eq 1 ] || {
    echo "smpi.sh: the digests of policy $policy differ" >&2
    status=1
  }
}

build || exit 1
status=0
echo "policy    depth  ranks  steps  digest            moved%  messages      bytes    reduced        us"
if [ $weak = yes ]; then
  for ranks in "$@"; do
    simulate "$ranks" -g $((32 * ranks)) -n $((768 * ranks)) -e 1 -b 3072 || status=1
  done
else
  compare relative "$@"
  compare random "$@"
fi
exit $status
