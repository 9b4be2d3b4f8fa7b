#!/bin/sh
# installcheck.sh EXAMPLE.c: build and run an example the way a user would,
# with pkg-config and nothing else.
set -e
dir=$(mktemp -d "${TMPDIR:-/tmp}/mpisift-installcheck.XXXXXX")
trap 'rm -rf "$dir"' EXIT
flags=$($PKG_CONFIG --cflags --libs mpisift)
libdir=$($PKG_CONFIG --variable=libdir mpisift)
# shellcheck disable=SC2086  # lists of options
$CC "$1" -o "$dir/example" $flags -lm -Wl,-rpath,"$libdir"
MPISIFT_NP="1 4" sh "$(dirname "$0")/run-mpi.sh" "$dir/example" | tee "$dir/tap"
if grep -q '^not ok' "$dir/tap"; then exit 1; fi
