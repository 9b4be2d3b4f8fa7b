#!/bin/sh
# The shared library exports exactly the functions that the public headers declare. Speaks TAP.
: "${CC:=mpicc}" "${NM:=nm}" "${srcdir:=.}"
library=.libs/libmpisift.so
[ -f $library ] || { echo "1..0 # SKIP $library was not built"; exit; }
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
# shellcheck disable=SC2086  # lists of options
cat "$srcdir"/include/mpisift/*.h | $CC -E -P -x c -I"$srcdir/include" -Iinclude $MPI_CFLAGS - |
  grep -oE '\bmpisift_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u >"$dir/declared"
$NM -D --defined-only $library | awk '{ print $NF }' | sort -u >"$dir/exported"

# none NAME FILE: the file is empty.
count=0
none() {
  count=$((count + 1))
  if [ -s "$2" ]; then
    sed 's/^/# /' "$2"
    printf 'not '
  fi
  echo "ok $count - $1"
}

comm -23 "$dir/declared" "$dir/exported" >"$dir/hidden"
comm -13 "$dir/declared" "$dir/exported" >"$dir/extra"
none "what is declared is exported" "$dir/hidden"
none "what is exported is declared" "$dir/extra"
[ -s "$dir/declared" ] || echo "Bail out! no declaration found in the public headers"
echo "1..$count"
