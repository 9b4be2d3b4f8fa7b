#!/bin/sh
# mpisift info, and what all commands share.
. "$(dirname "$0")/tap.sh"

works "--version" "$MPISIFT" --version
same "is one line" "mpisift" "$(cut -d' ' -f1 out)"
works "--help" "$MPISIFT" --help
for command in convert info train; do
  same "help lists $command" 1 "$(grep -c "^  $command " out)"
done
for command in convert info; do
  "$MPISIFT" $command --help >text 2>err
  same "$command --help" "0 usage: mpisift $command" "$? $(head -1 text | cut -d' ' -f1-3)"
done
refuses 2 "no command given" "$MPISIFT"
refuses 2 "unknown command 'nosuch'; the commands are:" "$MPISIFT" nosuch
refuses 2 "unknown option '--nosuch'; the commands are:" "$MPISIFT" --nosuch
if [ -w /dev/full ]; then
  "$MPISIFT" --help 2>err >/dev/full
  same "a full disk behind standard output" "1 mpisift: cannot write to standard output" "$? $(cat err)"
fi

# The data set that comes with the project; counts as its source publishes them, over both groups.
works "shuttle.h5" "$MPISIFT" info "$data/shuttle.h5"
cp out shuttle.txt
same "rows" "/test: 8700 rows /train: 49300 rows" "$(echo $(grep -E '^/(test|train): ' shuttle.txt))"
same "class counts" "0 45586 1 50 2 171 3 8903 4 3267 5 10 6 13" \
  "$(echo $(awk '$4 == "%" { n[$1] += $2 } END { for (k in n) print k, n[k] }' shuttle.txt | sort))"
same "shares add up to 1" "200" "$(awk '$4 == "%" { s += $3 } END { printf "%.0f", s }' shuttle.txt)"
same "types, chunks and filters" "2 2" \
  "$(grep -c 'x: float32 \[9\], chunked \[4096, 9\], shuffle, deflate' shuttle.txt) $(grep -c 'y: uint8, chunked \[4096\]' shuttle.txt)"
same "licence" 1 "$(grep -c '@licence: CC BY 4.0' shuttle.txt)"
same "is below 1 MB" 1 "$(($(size "$data/shuttle.h5") < 1000000))"
works "one group" "$MPISIFT" info "$data/shuttle.h5" test
same "only that" "/test: 8700 rows" "$(grep -E '^/(test|train): ' out)"
works "one group, with its slash" "$MPISIFT" info "$data/shuttle.h5" /test

works "--json" "$MPISIFT" info --json "$data/shuttle.h5"
cp out shuttle.json
for text in '"name": "/train", "rows": 49300, ' '"name": "x", "type": "float32", "usable": true, "rows": 8700, "shape": \[9\], "layout": "chunked", "chunk": \[4096, 9\], "filters": \["shuffle", "deflate [1-9]"\], "raw_bytes": 313200, ' \
  '"classes": \[{"label": 0, "count": [0-9]*, "share": 0.78' '"licence": "CC BY 4.0"'; do
  grep -q "$text" shuttle.json
  result $? "JSON has $text"
done
if command -v python3 >/dev/null; then
  works "the JSON is valid" python3 -c 'import json; json.load(open("shuttle.json"))'
else
  skip "the JSON is valid" "no python3"
fi

printf '1,2,0\n' >one.csv
"$MPISIFT" convert one.h5 one.csv --attr 'note=a "quote" \ and
a line' >out 2>err
works "attributes with special characters" "$MPISIFT" info one.h5
same "print on one line" 1 "$(grep -c 'a "quote" . and?a line' out)"
works "and as JSON" "$MPISIFT" info one.h5 --json
grep -q 'a \\"quote\\" \\\\ and\\u000aa line' out
result $? "escaped"
awk 'BEGIN { for (i = 0; i < 200; i++) print i % 100 "," i % 101 }' >many.csv
"$MPISIFT" convert many.h5 many.csv >out 2>err
works "more than 100 labels" "$MPISIFT" info many.h5
same "are not listed" 0 "$(grep -c label out)"
"$MPISIFT" convert many.h5 --force --label 1 many.csv >out 2>err
works "100 labels" "$MPISIFT" info many.h5
same "are listed" 100 "$(grep -c '1.00 %' out)"

refuses 2 "no file given" "$MPISIFT" info
refuses 2 "too many arguments" "$MPISIFT" info one.h5 / again
refuses 2 "unknown option '--nosuch'" "$MPISIFT" info --nosuch one.h5
refuses 1 "cannot open 'missing.h5': No such file" "$MPISIFT" info missing.h5
refuses 1 "'.' is a directory, not an HDF5 file" "$MPISIFT" info .
refuses 1 "cannot read 'one.csv' as HDF5" "$MPISIFT" info one.csv
: >empty.h5
refuses 1 "cannot read 'empty.h5' as HDF5" "$MPISIFT" info empty.h5
head -c 100000 "$data/shuttle.h5" >short.h5
refuses 1 "cannot read 'short.h5' as HDF5 .*truncated" "$MPISIFT" info short.h5
refuses 1 "'one.h5' has no group '/nosuch'" "$MPISIFT" info one.h5 nosuch
refuses 1 "'one.h5' has a field, not a group, '/x'" "$MPISIFT" info one.h5 x
refuses 1 "'one.h5' has no group '/x/y'" "$MPISIFT" info one.h5 x/y

# Several files, as the one data set that they make.
awk 'BEGIN { for (i = 0; i < 300; i++) print i "," i % 3 }' >all.csv
head -100 all.csv >a.csv
sed -n '101,$p' all.csv >b.csv
"$MPISIFT" convert all.h5 all.csv --attr source=here >out 2>err
"$MPISIFT" convert part-1.h5 a.csv --attr source=here >out 2>err
"$MPISIFT" convert part-2.h5 b.csv --attr source=here >out 2>err
works "one file" "$MPISIFT" info all.h5
grep -v 'bytes stored\|^all.h5' out >all.txt
works "two files" "$MPISIFT" info part-1.h5 part-2.h5
same "are described together" "part-1.h5 and 1 more" "$(head -1 out)"
same "as the whole is" "$(cat all.txt)" "$(grep -v 'bytes stored\|^part-1' out)"
cp out two.txt
works "a pattern" "$MPISIFT" info 'part-*.h5' /
same "is the same" "$(cat two.txt)" "$(cat out)"
works "as JSON" "$MPISIFT" info --json 'part-*.h5'
grep -q '"file": "part-1.h5", "files": 2, .*' out && grep -q '"rows": 300' out
result $? "is a whole"
"$MPISIFT" convert part-2.h5 b.csv --attr source=there --force >out 2>err
works "attributes that differ" "$MPISIFT" info part-1.h5 part-2.h5
same "are told so" 1 "$(grep -c '@source: (differs between files)' out)"
awk '{ print $0 ",0" }' b.csv >c.csv
"$MPISIFT" convert part-3.h5 c.csv >out 2>err
refuses 1 "'part-3.h5': field 'x' of group '/' has another type or shape of a sample than in 'part-1.h5'" \
  "$MPISIFT" info 'part-*.h5'
"$MPISIFT" convert part-3.h5 b.csv train/=b.csv --force >out 2>err
works "groups of some files" "$MPISIFT" info 'part-*.h5'
same "are described, too" "/: 500 rows /train: 200 rows" "$(echo $(grep '^/' out))"
refuses 1 "no file matches 'nosuch-\*.h5'" "$MPISIFT" info 'nosuch-*.h5'
refuses 1 "cannot open 'nosuch.h5'" "$MPISIFT" info nosuch.h5 part-1.h5

# Bytes that are not what was written: the compressed labels of /train, which are read to be counted.
size=$(size "$data/shuttle.h5")
{
  head -c 3000 "$data/shuttle.h5"
  head -c "$((size - 6000))" /dev/zero | tr '\0' '\377'
  tail -c 3000 "$data/shuttle.h5"
} >damaged.h5
refuses 1 "cannot read '.*' of 'damaged.h5'" "$MPISIFT" info damaged.h5
same "without HDF5's own messages" 1 "$("$MPISIFT" info damaged.h5 2>&1 | wc -l | tr -d ' ')"

finish
