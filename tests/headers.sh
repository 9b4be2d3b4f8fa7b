#!/bin/sh
# Each public header compiles alone, without a warning, as C11 and as C++17. Speaks TAP.
: "${CC:=mpicc}" "${srcdir:=.}"
options="-fsyntax-only -pedantic -Wall -Wextra -Wundef -Werror -I$srcdir/include -Iinclude $MPI_CFLAGS"
headers=$(cd "$srcdir/include" && echo mpisift/*.h)
count=0

# compile LANGUAGE STANDARD OPTION...: standard input.
compile() {
  language=$1 standard=$2
  shift 2
  # shellcheck disable=SC2086  # lists of options
  $CC -x "$language" -std="$standard" $options "$@" - 2>&1
}

# check HEADER LANGUAGE STANDARD OPTION...
check() {
  header=$1
  shift
  count=$((count + 1))
  if output=$(printf '#include <%s>\nint main(void) { return 0; }\n' "$header" | compile "$@"); then
    echo "ok $count - $header as $2"
  else
    printf '%s\n' "$output" | sed 's/^/# /'
    echo "not ok $count - $header as $2"
  fi
}

for header in $headers; do check "$header" c c11; done
if echo 'int main() { return 0; }' | compile c++ c++17 >/dev/null; then
  for header in $headers; do check "$header" c++ c++17 -DOMPI_SKIP_MPICXX; done
else
  count=$((count + 1))
  echo "ok $count - headers as c++17 # SKIP $CC compiles no C++"
fi
echo "1..$count"
