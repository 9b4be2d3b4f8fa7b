#!/bin/sh
# doc/errors.md names every field of the configuration that a message of the library names. Speaks TAP.
: "${srcdir:=.}"
cd "$srcdir" || exit 1
count=0

# Fields in messages: spelt out behind a quote, or given by name to a check. The list of settings to compare is not one.
fields() {
  find src/api src/backend src/core -name '*.c' -exec grep -hE '"' {} + | grep -vE '^ *\{"config\.' |
    grep -oE '"[^"]*config\.[a-z_]+|(at_least|check_share)\("[a-z_]+' | grep -oE '[a-z_]+$' | sort -u
}

for field in $(fields); do
  count=$((count + 1))
  if ! sed -n '/^## Messages/,$p' doc/errors.md | grep -qE "(config\.|\`)$field\b"; then
    printf 'not '
  fi
  echo "ok $count - config.$field"
done
count=$((count + 1))
[ $count -gt 20 ] || printf 'not '
echo "ok $count - the messages were found"
echo "1..$count"
