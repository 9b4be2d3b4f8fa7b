#!/bin/sh
# mpisift info on files that are made to do harm, and on ones with bytes changed anywhere: it tells what there is, or ends
# with one line that says what is wrong; it does not crash or hang.
hostile=$PWD/tests/tools/hostile
. "$(dirname "$0")/tap.sh"
# With sanitizers HDF5's crashes shall be crashes, too; reports of our own code count.
export ASAN_OPTIONS="$ASAN_OPTIONS:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_abort=0:allocator_may_return_null=1:abort_on_error=1"

"$hostile" make >out 2>err
result $? "hostile files"
works "groups that hold themselves" "$MPISIFT" info circle.h5
same "are shown once" "/: 50 rows" "$(grep '^/' out)"
refuses 1 "cannot read '/nowhere' of 'dangling.h5'" "$MPISIFT" info dangling.h5
works "huge, empty and text fields" "$MPISIFT" info huge.h5
same "are told apart" "4 3" "$(grep -c '^  [a-z]*: ' out) $(grep -c 'not a field for training' out)"
# Opening a pipe waits for its other end.
start=$(date +%s)
refuses 1 "'pipe.h5': HDF5 got no further for 1 s; is the file damaged" "$MPISIFT" info --timeout 1 pipe.h5
took=$(($(date +%s) - start))
same "in seconds: $took" yes "$([ $took -lt 10 ] && echo yes)"
works "where the end of children is ignored" timeout 20 env --ignore-signal=CHLD "$MPISIFT" info circle.h5
refuses 2 "timeout '0' is not a number of seconds from 1" "$MPISIFT" info --timeout 0 huge.h5

# Bytes changed: in all of a file, and of those that lie between the data, in its structure.
bad=0 refused=0 crashed=0
head -c 12000 "$data/shuttle.h5" >head.bin
tail -c +12001 "$data/shuttle.h5" >rest.bin
for seed in $(seq 1 "${FLIPS:-120}"); do
  if [ $((seed % 2)) -eq 0 ]; then
    "$hostile" flip "$seed" 3 circle.h5 flipped.h5
  else
    "$hostile" flip "$seed" 20 head.bin flipped.bin && cat flipped.bin rest.bin >flipped.h5
  fi
  "$MPISIFT" info --timeout 5 flipped.h5 >out 2>err
  status=$?
  case $status in
  0) [ -s err ] && bad=$((bad + 1)) ;;
  1)
    refused=$((refused + 1))
    [ "$(grep -c '^mpisift: ' err)" -eq 1 ] || bad=$((bad + 1))
    grep -qE '^ +#[01] .*/src/(tools|io)/' err && bad=$((bad + 1))
    grep -q 'ended by a crash\|no further' err && crashed=$((crashed + 1))
    ;;
  *) bad=$((bad + 1)) ;;
  esac
  [ $bad -eq 0 ] || break
done
result $bad "bytes changed by ${seed} seeds: $refused files are refused, HDF5 fails on $crashed of them"
same "some of them are refused" yes "$([ $refused -gt 10 ] && echo yes)"
finish
