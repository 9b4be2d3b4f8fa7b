#!/bin/sh
# The sources are formatted as .clang-format says. Other major versions of
# clang-format lay out some lines differently, so only this one counts. Speaks TAP.
version=14
: "${srcdir:=.}"
for formatter in clang-format-$version clang-format ''; do
  $formatter --version 2>/dev/null | grep -q "version $version\." && break
done
[ -n "$formatter" ] || { echo "1..0 # SKIP clang-format $version is not installed"; exit; }
cd "$srcdir" || exit 1
echo "1..1"
if output=$(find include src examples tests \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' \) -exec "$formatter" --dry-run -Werror {} + 2>&1); then
  echo "ok 1 - formatted"
else
  printf '%s\n' "$output" | sed 's/^/# /'
  echo "not ok 1 - formatted: try $formatter -i"
fi
