#!/bin/sh
# check.sh TEST...: what `make check-gpu` does, in the build folder. The tests run on the GPUs of this machine; then, one
# rank each, under compute-sanitizer, if it is there: all of them under memcheck, and those of kernels under its other
# tools. What did not run is said. The status is 0 if tests ran and none failed.
#   MAKE              make
#   NVCC              beside which compute-sanitizer is looked for, after PATH
#   MPISIFT_GPU_NP    rank counts
all=$*
kernels=
for test in "$@"; do
  case $test in */test_device*) kernels="$kernels $test" ;; esac
done
passed=0 failed=0 skipped=0
log=tests/gpu/check-gpu.log
PATH=$PATH:$(dirname "${NVCC:-/}")

say() { printf '== %s\n' "$*"; }

# results WORD: how many tests of the last run had it, by automake's summary.
results() {
  awk -v word="$1:" '/^Testsuite summary/ { on = 1 } on && $1 == "#" && $2 == word { n = $3 } END { print n + 0 }' $log
}

# run TITLE TESTS ARGUMENT...: the tests by make, with arguments of its own.
run() {
  title=$1 tests=$2
  shift 2
  say "$title"
  "${MAKE:-make}" check-TESTS VERBOSE=1 TESTS="$tests" "$@" >$log 2>&1
  grep -E '^(PASS|FAIL|SKIP|ERROR): ' $log
  passed=$((passed + $(results PASS)))
  failed=$((failed + $(results FAIL) + $(results ERROR)))
  skipped=$((skipped + $(results SKIP)))
  if [ "$(($(results FAIL) + $(results ERROR)))" -gt 0 ]; then cat $log; fi
  # shellcheck disable=SC2086  # a list
  for test in $tests; do grep -h '^# SKIPPED' "$test.log" 2>/dev/null; done | sort -u
}

# sanitize TOOL TESTS: errors of CUDA's functions are the tests' own, who provoke them.
sanitize() {
  run "compute-sanitizer, $1" "$2" TIMEOUT=1800 GPU_NP=1 \
    WRAP="compute-sanitizer --tool $1 --error-exitcode 9 --report-api-errors no"
}

run "GPU tests" "$all"
if [ "$passed" -eq 0 ]; then
  say "NOTHING RAN on a GPU: see the lines that begin with SKIPPED; nvidia-smi lists the devices of this machine"
  exit 1
fi
if command -v compute-sanitizer >/dev/null; then
  sanitize memcheck "$all"
  for tool in racecheck initcheck synccheck; do sanitize $tool "$kernels"; done
else
  say "SKIPPED: compute-sanitizer is not in PATH, nor beside ${NVCC:-nvcc}; it comes with the CUDA Toolkit"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
