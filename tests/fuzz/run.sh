#!/bin/sh
# Lets fuzz targets run, each for a while: tests/fuzz/run.sh SECONDS PROGRAM..., as `make fuzz` does. Corpora, logs and inputs
# that fail stay beside the programs; PROGRAM FILE tries one of these again.
seconds=$1
shift

# Inputs that parse: without them a fuzzer takes long to find a header. The first byte says how the others are read.
convert_seeds() {
  printf ' a,b,y\n1,2,0\n3.5,-4e2,1\n' >"$1/csv"
  printf '\064"a";y\n"1";2\n' >"$1/quoted"
  printf '`1,2\n3,4\n5,70000\n' >"$1/twice"
  printf '\000\000\000\010\003\000\000\000\002\000\000\000\002\000\000\000\001\001\002\003\004' >"$1/idx"
  printf "\100\223NUMPY\001\000\072\000{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2)}\n12345678" >"$1/npy"
  { printf ' ' && printf '1,2\n3,4\n' | gzip -nc; } >"$1/gzip"
}

for program in "$@"; do
  corpus=$program.corpus
  mkdir -p "$corpus"
  case $program in *convert) convert_seeds "$corpus" ;; esac
  echo "$program, $seconds s"
  # What MPI leaves at its end is not looked for. Errors are printed for nobody.
  ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=$(case $program in *rows) echo 0 ;; *) echo 1 ;; esac)" \
    "$program" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -max_len=4096 -close_fd_mask=2 \
    -print_final_stats=1 -artifact_prefix="$program-" "$corpus" >"$program.log" 2>&1
  status=$?
  grep -aE 'number_of_executed_units|average_exec_per_sec|peak_rss' "$program.log"
  if [ $status -ne 0 ]; then
    grep -av '^#[0-9]' "$program.log" | tail -n 100
    echo "FAILED: $program, status $status" >&2
    exit 1
  fi
done
