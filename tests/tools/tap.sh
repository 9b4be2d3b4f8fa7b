# TAP for the tests of the program mpisift, which is $MPISIFT. Sourced: changes to a folder that is removed at the end.
: "${MPISIFT:?is the program to test}"
peak=$PWD/tests/tools/peak
data=$(cd "$(dirname "$0")/../../examples/data" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
count=0

# result STATUS NAME: a result line, with what the last command said if it failed.
result() {
  count=$((count + 1))
  if [ "$1" -eq 0 ]; then
    echo "ok $count - $2"
  else
    echo "not ok $count - $2"
    sed 's/^/# /' err
  fi
}

skip() {
  count=$((count + 1))
  echo "ok $count - $1 # SKIP $2"
}

# works NAME COMMAND...: the command succeeds and prints no error.
works() {
  name=$1
  shift
  "$@" >out 2>err && [ ! -s err ]
  result $? "$name"
}

# refuses STATUS PATTERN COMMAND...: the command exits with the status, and one line on standard error matches.
refuses() {
  status=$1 pattern=$2
  shift 2
  "$@" >out 2>err
  got=$?
  [ "$got" -eq "$status" ] || echo "status $got, not $status" >>err
  [ "$got" -eq "$status" ] && grep -q "^mpisift: .*$pattern" err && [ ! -s out ]
  result $? "refused: $pattern"
}

# same NAME WANTED GOT
same() {
  [ "$2" = "$3" ]
  same=$?
  printf 'wanted: %s\ngot:    %s\n' "$2" "$3" >err
  result $same "$1"
}

size() {
  wc -c <"$1" | tr -d ' '
}

# values FILE FIELD: its numbers, one a line.
values() {
  rm -f values.txt
  h5dump -y -w 1 -m '%.9g' -d "$2" -o values.txt "$1" >/dev/null 2>&1
  tr -d ' ' <values.txt | tr ',' '\n' | grep .
}

# bytes HEX...: these bytes.
bytes() {
  for byte in "$@"; do
    # shellcheck disable=SC2059
    printf "\\$(printf %03o "0x$byte")"
  done
}

# npy FILE DESCR SHAPE HEX...: a NumPy file, version 1, without its usual padding.
npy() {
  npy=$1 head="{'descr': '$2', 'fortran_order': False, 'shape': ($3), }"
  shift 3
  {
    bytes 93
    printf NUMPY
    bytes 01 00 "$(printf %02x ${#head})" 00
    printf %s "$head"
    bytes "$@"
  } >"$npy"
}

finish() {
  echo "1..$count"
}
