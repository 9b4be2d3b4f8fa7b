#!/bin/sh
# Dependencies run one way: api -> {io, comm, backend, core} -> base; the four
# in the middle do not include one another. Only comm communicates, only io
# sees HDF5, only backend/cuda sees CUDA, only comm/nccl.c sees NCCL, and the
# tools see the public API, all but the benchmarks, src/tools/bench*.c. Speaks TAP.
: "${CC:=cc}" "${srcdir:=.}"
cd "$srcdir" || exit 1
include='^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]'
hdf5="${include}(hdf5|H5)"
cuda="${include}(cuda|cu_|nccl)"
mpi_call='\bP?MPI_[A-Z][a-z][A-Za-z0-9_]*[[:space:]]*\('
count=0

# result RULE: nothing was found that breaks it.
result() {
  count=$((count + 1))
  if [ -s "$dir/found" ]; then
    sed 's/^/# /' "$dir/found"
    printf 'not '
  fi
  echo "ok $count - $1"
}

# forbid RULE PATTERN PLACE...: no line of the files or the folders' sources matches.
forbid() {
  rule=$1 pattern=$2
  shift 2
  find "$@" \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' \) -exec grep -nE "$pattern" /dev/null {} + >"$dir/found"
  result "$rule"
}

# The names with which a file calls MPI; comments and strings do not count.
mpi_calls() {
  $CC -x c -fpreprocessed -E -P -w "$1" | sed -E 's/"(\\.|[^"\\])*"//g' | grep -oE "$mpi_call" | tr -d ' (' | sort -u
}

# forbid_mpi RULE ALLOWED FOLDER...: no call of MPI but those that match ALLOWED.
forbid_mpi() {
  rule=$1 allowed=$2
  shift 2
  # shellcheck disable=SC2044  # no blanks in our names
  for file in $(find "$@" -name '*.[ch]'); do
    mpi_calls "$file" | grep -vxE "$allowed" | sed "s,^,$file: ,"
  done >"$dir/found"
  result "$rule"
}

dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
forbid "sources name headers from src/, not by '..'" "${include}[^>\"]*\.\./" src
forbid "base includes nothing above it" "${include}(core|backend|comm|io|api|tools)/" src/base
forbid "core includes base only" "${include}(backend|comm|io|api|tools)/" src/core
forbid "backend includes base only" "${include}(core|comm|io|api|tools)/" src/backend
forbid "comm includes base only" "${include}(core|backend|io|api|tools)/" src/comm
forbid "io includes base only" "${include}(core|backend|comm|api|tools)/" src/io
forbid "api does not include tools" "${include}tools/" src/api
# shellcheck disable=SC2046  # no blanks in our names
forbid "tools include public headers and their own, but for bench*.c" "${include}(base|core|backend|comm|io|api)/" \
  $(find src/tools -name '*.[ch]' ! -path 'src/tools/bench*.c')
forbid "only io sees HDF5" "$hdf5" include src/base src/core src/backend src/comm src/api
# shellcheck disable=SC2046  # no blanks in our names
forbid "only backend/cuda sees CUDA, and comm/nccl.c NCCL" "$cuda" include src/base src/core src/backend/*.[ch] \
  src/backend/cpu $(find src/comm -name '*.[ch]' ! -name nccl.c) src/io src/api src/tools
# shellcheck disable=SC2046  # no blanks in our names
forbid "kernels for devices see CUDA's headers and their own folder's" \
  '^#include ("(mpi|config|base|core|backend/[^c]|backend/cpu|comm|io|api)|<mpi)' $(find src -name '*.cu' -o -name '*.cuh')
forbid_mpi "only comm communicates" 'none' src/base src/core src/backend src/io
forbid_mpi "api asks MPI for its state only" 'MPI_(Initialized|Finalized|Query_thread|Is_thread_main)' src/api
echo "1..$count"
